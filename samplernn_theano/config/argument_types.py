"""Types of command-line arguments: checked numbers and durations."""

import argparse
import re
from collections.abc import Callable
from typing import Any


def _number(kind: Callable[[str], Any], what: str, fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return parse


positive = _number(float, "a positive number", lambda value: 0 < value < float("inf"))
weight = _number(float, "a number of at least 0", lambda value: 0 <= value < float("inf"))
positive_int = _number(int, "a positive whole number below 2^63", lambda value: 0 < value < 2**63)
count = _number(int, "a whole number from 0 to 2^63 - 1", lambda value: 0 <= value < 2**63)
seed = _number(int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)


def duration(text: str) -> float:
    """A duration such as 23.5h, 90m, 30s, 2d or 23:30:00, in seconds."""
    seconds = 0.0
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d)", text):
        seconds = 3600 * int(found[1]) + 60 * int(found[2]) + int(found[3])
    elif found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    if seconds > 0:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 23.5h, 90m, 30s or 23:30:00")
