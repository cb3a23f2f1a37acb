"""Run a command: exit code, errors as one line, and output that may go away."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from samplernn_theano.errors import SampleRNNError
from samplernn_theano.utils.files import os_error_message
from samplernn_theano.utils.text import escape_control_characters

LOST = "Standard output could not be written: {}."


def run_command(run: Callable[[], int], output_is_result: bool = False) -> int:
    """Run a command and return its exit code; an error is one line, Ctrl-C and SIGTERM end it cleanly.

    A standard output or error that cannot be written ends nothing: most of it is only talk. If it is the
    result, as that of --help is, that is an error in the end, unless its reader, such as `head`, wants no
    more of it.
    """
    with _output() as lost:
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            code = run()
            sys.stdout.flush()
            return code or (_fail(LOST.format(lost[0])) if output_is_result and lost else 0)
        except SystemExit as end:  # of --help and --version with code 0
            sys.stdout.flush()
            if lost and not end.code:
                return _fail(LOST.format(lost[0]))
            raise
        except MemoryError:
            return _fail(
                "Out of memory; close other programs, or train with a smaller --batch_size or --dim."
            )
        except OSError as error:  # a name that is too long, a device that fails
            return _fail(os_error_message(error))
        except SampleRNNError as error:
            return _fail(error)
        except KeyboardInterrupt:
            return _fail("Interrupted.", 128 + signal.SIGINT)
        finally:
            signal.signal(signal.SIGTERM, before)


def _fail(message: object, code: int = 2) -> int:
    print(f"samplernn: {escape_control_characters(str(message))}", file=sys.stderr)
    return code


class _Output:
    """A standard stream that never fails, and in which control characters are escaped."""

    def __init__(self, stream: TextIO, on_error: Callable[[Exception], object]) -> None:
        self._stream, self._on_error = stream, on_error
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character

    def write(self, text: str) -> int:
        self._attempt(self._stream.write, escape_control_characters(text, keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, operation: Callable[..., object], *arguments: str) -> None:
        try:
            operation(*arguments)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._on_error(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _output() -> Iterator[list[str]]:
    """Standard streams that never fail; yields the reasons why parts of standard output were lost."""
    lost: list[str] = []
    before = sys.stdout, sys.stderr
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # it is closed: the next file that is opened would get its number
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))
            lost += ["it is closed"] if name == "stdout" else []

    def on_error(error: Exception) -> None:
        if not (isinstance(error, OSError) and error.errno == errno.EPIPE):
            lost.append(getattr(error, "strerror", None) or str(error))

    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Output(streams[0], on_error), _Output(streams[1], lambda _: None)
    try:
        yield lost
    finally:
        for stream in streams:
            try:
                stream.flush()
            except (OSError, ValueError):  # Python would flush it again at its exit, and fail
                with suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.stdout, sys.stderr = before
