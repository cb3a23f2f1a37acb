"""The command convert."""

from typing import Any


def add_convert(commands: Any) -> None:
    """Give `commands` the command convert."""
