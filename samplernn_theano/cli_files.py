"""The commands that tell what a file or a run is: inspect, show."""

from typing import Any


def add_inspect(commands: Any) -> None:
    """Give `commands` the command inspect."""


def add_show(commands: Any) -> None:
    """Give `commands` the command show."""
