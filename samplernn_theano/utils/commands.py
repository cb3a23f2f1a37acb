"""Run a command: exit code, and errors as one line."""

import os
import signal
import sys
from collections.abc import Callable

from samplernn_theano.errors import SampleRNNError


def run_command(run: Callable[[], int]) -> int:
    """Run a command and return its exit code; an error is one line, Ctrl-C and SIGTERM end it cleanly."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run()
    except MemoryError:
        return _fail("Out of memory; close other programs, or train with a smaller --batch_size or --dim.")
    except BrokenPipeError:  # the reader of our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SampleRNNError, OSError) as error:  # OSError: a name that is too long, a device that fails
        return _fail(error)
    except KeyboardInterrupt:
        return _fail("Interrupted.", 128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: object, code: int = 2) -> int:
    print(f"samplernn: {message}", file=sys.stderr)
    return code
