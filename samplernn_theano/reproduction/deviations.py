"""Why our numbers may differ from the published ones, as `reproduce/deviations.toml` lists it.

A report cites a deviation by its number, so a number never changes its meaning.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction.entries import read_entries

NAME = "deviations.toml"

WHOSE = ("original", "ours")
"""What the authors' code does and we keep, though a reader may not expect it; what is otherwise with us."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One entry of the list.

    Attributes
    ----------
    number : int
        From 1 on.
    title, text : str
        A few words; one to three sentences.
    whose : str
        One of `WHOSE`.
    applies : sequence of str
        Patterns of the cells that it concerns, such as table1/*/three_tier.
    scales : sequence of str
        The scales at which it does.

    Raises
    ------
    ValueError
        If a value cannot be.
    """

    number: int
    title: str
    text: str
    whose: str
    applies: Sequence[str]
    scales: Sequence[str]

    def __post_init__(self) -> None:
        for name in ("title", "text"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} is {value!r}, not text")
        if self.whose not in WHOSE:
            raise ValueError(f"whose is {self.whose!r}; write {' or '.join(WHOSE)}")
        for name in ("applies", "scales"):
            value = getattr(self, name)
            if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
                raise ValueError(f"{name} is {value!r}; write a list of names")


def deviations(folder: Path) -> list[Deviation]:
    """The whole list, by number.

    Parameters
    ----------
    folder : Path
        The folder `reproduce`, where deviations.toml lies.

    Raises
    ------
    ReproductionError
        If the file is missing or malformed, or its numbers are not 1, 2, 3, ...
    """
    path = folder / NAME
    found = read_entries(path, "deviation", Deviation)
    for position, deviation in enumerate(found, 1):
        if deviation.number != position:
            raise ReproductionError(
                f"{path}: deviation {deviation.number!r} stands in place {position}; number them 1, 2, 3 and "
                "so on, and add new ones at the end, for reports cite the numbers."
            )
    return found


def applying(deviations: Iterable[Deviation], cell: str, scale: str) -> list[Deviation]:
    """Those that concern a cell (table1/music/three_tier) at a scale (paper)."""
    return [
        deviation
        for deviation in deviations
        if scale in deviation.scales
        and any(fnmatch.fnmatchcase(cell, pattern) for pattern in deviation.applies)
    ]
