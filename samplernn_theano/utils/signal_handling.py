"""Ctrl-C and SIGTERM while something runs that must end well."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def caught(told: Callable[[int], object], first_only: bool = True) -> Iterator[None]:
    """Give the number of each SIGINT and SIGTERM to `told` until the block ends.

    Parameters
    ----------
    first_only : bool
        Leave a second Ctrl-C to the system: it kills this process at once. A second SIGTERM never does, for
        the queue of a cluster sends several when a job's time is up.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if first_only:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        told(number)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, handle)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
