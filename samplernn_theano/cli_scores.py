"""The commands that score models: evaluate, compare."""

from typing import Any


def add_evaluate(commands: Any) -> None:
    """Give `commands` the command evaluate."""


def add_compare(commands: Any) -> None:
    """Give `commands` the command compare."""
