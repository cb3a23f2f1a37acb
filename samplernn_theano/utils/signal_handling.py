"""Handling of Ctrl-C and SIGTERM by work that must end cleanly."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handle_signals(callback: Callable[[int], object], first_only: bool = True) -> Iterator[None]:
    """Call `callback` with the number of each SIGINT and SIGTERM until the block ends.

    With `first_only` a second Ctrl-C is left to the system, which kills this process at once. A second
    SIGTERM never is: the queue of a cluster sends several when a job reaches its time limit.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if first_only:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        callback(number)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, handle)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
