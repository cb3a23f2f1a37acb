"""The published numbers, read from `files/published.toml`.

They occur nowhere else in this package, so none can leak from the paper into our results.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.reproduction.toml_entries import read_entries

NAME = "published.toml"

CERTAINTIES = ("text", "code", "memory")
"""Read in the named source; read in the authors' code; from memory, unverified."""

SPLITS = ("test", "valid")


@dataclass(frozen=True, kw_only=True)
class Number:
    """A published result.

    Attributes
    ----------
    experiment : str
        Name of the experiment; "" for none.
    what : str
        Such as "test NLL".
    split : str or None
        "test" or "valid"; None if it is not a score.
    value : float
    unit : str
        Such as "bits per sample".
    source : str
        Such as "paper, table 1".
    certainty : str
        One of `CERTAINTIES`.
    note : str
        A remark; "" for none.

    Raises
    ------
    ValueError
    If a value is invalid.
    """

    experiment: str
    what: str
    split: str | None = None
    value: float
    unit: str
    source: str
    certainty: str
    note: str = ""

    def __post_init__(self) -> None:
        _check_text(self, ("experiment", "note"), ("what", "unit", "source"))
        _check_certainty(self.certainty)
        if type(self.value) not in (int, float) or not math.isfinite(self.value):
            raise ValueError(f"value is {self.value!r}, not a number")
        if self.split is not None and self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}; write test or valid, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A published detail of the experiments.

    Attributes
    ----------
    what : str
        Such as "learning rate".
    value : float or str
    unit : str
        "" for none.
    source, certainty, experiment, note : str
        As of a `Number`.

    Raises
    ------
    ValueError
    If a value is invalid.
    """

    what: str
    value: float | str
    unit: str
    source: str
    certainty: str
    experiment: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _check_text(self, ("unit", "experiment", "note"), ("what", "source"))
        _check_certainty(self.certainty)
        if type(self.value) not in (int, float, str) or self.value == "":
            raise ValueError(f"value is {self.value!r}, neither a number nor text")


def read_numbers(folder: Path) -> list[Number]:
    """Read the published results, in the order of the file.

    Parameters
    ----------
    folder : Path
        The folder of published.toml.

    Raises
    ------
    ReproductionError
        If the file is missing or malformed.
    """
    return read_entries(folder / NAME, "number", Number, ["fact"])


def read_facts(folder: Path) -> list[Fact]:
    """Read the published details of the experiments, in the order of the file.

    Raises
    ------
    ReproductionError
        As `read_numbers`.
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
