"""The numbered differences between our experiments and the paper's, read from `files/differences.toml`.

Reports cite the numbers, so a number never changes its meaning.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction.toml_entries import read_entries

NAME = "differences.toml"

ORIGINS = ("original", "ours")
"""Behaviour of the authors' code that we keep though a reader may not expect it; choices of ours."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One entry of the list.

    Attributes
    ----------
    number : int
        From 1 on.
    title, text : str
        A few words; one to three sentences.
    origin : str
        One of `ORIGINS`.
    applies : sequence of str
        Patterns of the affected experiments, such as table1/*/three_tier.
    scales : sequence of str
        The affected scales.

    Raises
    ------
    ValueError
        If a value is invalid.
    """

    number: int
    title: str
    text: str
    origin: str
    applies: Sequence[str]
    scales: Sequence[str]

    def __post_init__(self) -> None:
        for name in ("title", "text"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} is {value!r}, not text")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin is {self.origin!r}; write {' or '.join(ORIGINS)}")
        for name in ("applies", "scales"):
            value = getattr(self, name)
            if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
                raise ValueError(f"{name} is {value!r}; write a list of names")


def read_differences(folder: Path) -> list[Difference]:
    """Read all differences, sorted by number.

    Parameters
    ----------
    folder : Path
        The folder of differences.toml.

    Raises
    ------
    ReproductionError
        If the file is missing or malformed, or its numbers are not 1, 2, 3, ...
    """
    path = folder / NAME
    found = read_entries(path, "difference", Difference)
    for position, difference in enumerate(found, 1):
        if difference.number != position:
            raise ReproductionError(
                f"{path}: entry {position} has the number {difference.number!r}; number them 1, 2, 3, "
                "..., and add new ones at the end, for reports cite the numbers."
            )
    return found


def applying(differences: Iterable[Difference], experiment: str, scale: str) -> list[Difference]:
    """The differences of an experiment (table1/music/three_tier) at a scale (paper)."""
    return [
        difference
        for difference in differences
        if scale in difference.scales
        and any(fnmatch.fnmatchcase(experiment, pattern) for pattern in difference.applies)
    ]
