"""Numbers and durations on a command line, checked as they are parsed."""

import argparse
import re
from collections.abc import Callable
from typing import Any


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
