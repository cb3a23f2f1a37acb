"""What all command lines of the project share: the parser, the kinds of values, how a command ends."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from samplernn_theano.errors import SampleRNNError


def guarded(run: Callable[[], int]) -> int:
    """Run a command and return its exit code: an error becomes one line, Ctrl-C and SIGTERM a clean end."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run()
    except SampleRNNError as error:
        print(f"samplernn: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print(
            "samplernn: Out of memory; close other programs, or train with a smaller --batch_size or --dim.",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:  # the reader of our output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a name that is too long, a device that fails: whatever has no words of its own
        print(f"samplernn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("samplernn: Interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which knows flags by their whole name alone.

    Else `--frame_size` would be a short form of k_tier's `--frame_sizes`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments on one line, and exit."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options that say what computes."""
    parser.add_argument(
        "--backend", metavar="NAME", help="jax, numba or c (default: jax where installed, else numba)"
    )
    parser.add_argument("--threads", type=positive_int, help="at most so many threads (default: all cores)")


def add_precision(parser: argparse.ArgumentParser, default: str = "highest") -> None:
    """Give `parser` the option --precision."""
    parser.add_argument(
        "--precision",
        choices=("highest", "tf32", "bf16"),
        help=f"of the matrix products on a GPU, jax only (default: {default})",
    )


def add_devices(parser: argparse.ArgumentParser, default: str = "1") -> None:
    """Give `parser` the option --devices."""
    parser.add_argument(
        "--devices",
        type=positive_int,
        metavar="N",
        help=f"share every batch among N devices, jax only (default: {default})",
    )


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """Give `parser` the option --set NAME=VALUE."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"{what} (may be repeated)"
    )


def picture(word: str) -> Path:
    """The name of a picture to draw."""
    return _named(word, (".png", ".pdf", ".svg"))


def csv_file(word: str) -> Path:
    """The name of a table to write."""
    return _named(word, (".csv",))


def json_file(word: str) -> Path:
    """The name of a JSON file to write."""
    return _named(word, (".json",))


def _named(word: str, endings: tuple[str, ...]) -> Path:
    path = Path(word)
    if path.suffix not in endings:
        raise argparse.ArgumentTypeError(f"{word!r} does not end in {' or '.join(endings)}")
    return path


def positive(word: str) -> float:
    """A positive number."""
    return _number(word, float, "a positive number", lambda value: 0 < value < float("inf"))


def weight(word: str) -> float:
    """A number from 0 on."""
    return _number(word, float, "a number from 0 on", lambda value: 0 <= value < float("inf"))


def positive_int(word: str) -> int:
    """A positive whole number."""
    return _number(word, int, "a positive whole number", lambda value: value > 0)


def count(word: str) -> int:
    """A whole number from 0 on."""
    return _number(word, int, "a whole number from 0 on", lambda value: value >= 0)


def seed(word: str) -> int:
    """A seed that NumPy takes."""
    return _number(word, int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)


def duration(word: str) -> float:
    """A length of time in seconds, written as 23.5h, 90m, 30s, 2d, or 23:30:00."""
    seconds = 0.0
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d)", word):
        seconds = 3600 * int(found[1]) + 60 * int(found[2]) + int(found[3])
    elif found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", word):
        seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    if seconds > 0:
        return seconds
    raise argparse.ArgumentTypeError(f"{word!r} is no length of time such as 23.5h, 90m, 30s or 23:30:00")


def _number(word: str, kind: Any, what: str, fits: Callable[[Any], bool]) -> Any:
    try:
        value = kind(word)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{word!r} is not {what}")
    return value
