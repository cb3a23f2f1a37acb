"""What the authors published, as `reproduce/published.toml` has it.

Nothing else in this package knows these numbers, so none can leak from the paper into what we measure.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.reproduction.entries import read_entries

NAME = "published.toml"

CERTAINTIES = ("text", "code", "memory")
"""Read in a stored copy of the source that is named; in the authors' code; known from memory, unverified."""

SPLITS = ("test", "valid")


@dataclass(frozen=True, kw_only=True)
class Number:
    """A published result.

    Attributes
    ----------
    cell : str
        The cell that shows it; "" where it belongs to none.
    what : str
        Such as "test NLL".
    split : str or None
        "test" or "valid"; None where it is no score of a split.
    value : float
    unit : str
        Such as "bits per sample".
    source : str
        Such as "paper, table 1".
    certainty : str
        One of `CERTAINTIES`.
    note : str
        What else a reader should know; "" for nothing.

    Raises
    ------
    ValueError
        If a value cannot be.
    """

    cell: str
    what: str
    split: str | None = None
    value: float
    unit: str
    source: str
    certainty: str
    note: str = ""

    def __post_init__(self) -> None:
        _check_text(self, ("cell", "note"), ("what", "unit", "source"))
        _check_certainty(self.certainty)
        if type(self.value) not in (int, float) or not math.isfinite(self.value):
            raise ValueError(f"value is {self.value!r}, not a number")
        if self.split is not None and self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}; write test or valid, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something published that is no result: how the numbers were made.

    Attributes
    ----------
    what : str
        Such as "learning rate".
    value : float or str
    unit : str
        "" for none.
    source, certainty, cell, note : str
        As of a `Number`.

    Raises
    ------
    ValueError
        If a value cannot be.
    """

    what: str
    value: float | str
    unit: str
    source: str
    certainty: str
    cell: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _check_text(self, ("unit", "cell", "note"), ("what", "source"))
        _check_certainty(self.certainty)
        if type(self.value) not in (int, float, str) or self.value == "":
            raise ValueError(f"value is {self.value!r}, neither a number nor text")


def numbers(folder: Path) -> list[Number]:
    """The published results, in the order of the file.

    Parameters
    ----------
    folder : Path
        The folder `reproduce`, where published.toml lies.

    Raises
    ------
    ReproductionError
        If the file is missing or malformed.
    """
    return read_entries(folder / NAME, "number", Number, ["fact"])


def facts(folder: Path) -> list[Fact]:
    """What is published on how the numbers were made, in the order of the file.

    Raises
    ------
    ReproductionError
        As `numbers`.
    """
    return read_entries(folder / NAME, "fact", Fact, ["number"])


def _check_text(entry: Number | Fact, may_be_empty: tuple[str, ...], filled: tuple[str, ...]) -> None:
    for name in may_be_empty + filled:
        value = getattr(entry, name)
        if not isinstance(value, str) or (name in filled and not value.strip()):
            raise ValueError(f"{name} is {value!r}, not text")


def _check_certainty(certainty: str) -> None:
    if certainty not in CERTAINTIES:
        raise ValueError(
            f"certainty is {certainty!r}; write {', '.join(CERTAINTIES[:-1])} or {CERTAINTIES[-1]}"
        )
