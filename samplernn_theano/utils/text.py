"""Text: tables, durations and escaped control characters for a terminal, and JSON."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

MAX_DIGITS = 40
"""Of a whole number in JSON: enough for one of 128 bits, and few enough for a float."""


def say(message: str, file: TextIO | None = None) -> None:
    """Print what is only talk, by default on standard error: if it cannot be written, nothing ends."""
    file = file or sys.stderr
    encoding = getattr(file, "encoding", None) or "utf-8"
    text = escape_control_characters(message, keep="\n\t").encode(encoding, "backslashreplace")
    with suppress(OSError, ValueError):
        print(text.decode(encoding), file=file, flush=True)


def format_table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of a table; columns with the indices `right` are right-aligned."""
    cells = [[escape_control_characters(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(padded)).rstrip())
    return lines


def escape_control_characters(text: str, keep: str = "") -> str:
    """Escape control characters except `keep`, with which a foreign file could control the terminal."""
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def format_duration(seconds: float) -> str:
    """Format a duration, such as 12.3 s, 4.5 min or 6.78 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; ValueError if it is none, also if it is nested too deeply or has a huge number."""
    try:
        return json.loads(text, parse_int=_parse_integer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it has a whole number of {len(digits)} digits")
    return int(digits)
