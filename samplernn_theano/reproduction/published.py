"""The published numbers, read from `files/published.toml`.

They occur nowhere else in this package, so none can leak from the paper into our results.
"""

from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.utils.toml_files import read_toml


@dataclass(frozen=True, kw_only=True)
class Number:
    """A published result."""

    experiment: str
    what: str
    """Such as "test NLL"."""
    split: str | None = None
    """"test" or "valid"; None if it is not a score."""
    value: float
    unit: str
    """Such as "bits per sample"."""
    source: str
    """Such as "paper, table 1"."""
    certainty: str
    """"text": read in the source; "code": read in the authors' code; "memory": unverified."""
    note: str = ""


def read_numbers(files: Path) -> list[Number]:
    """Read the published results in the folder `files`, in the order of the file."""
    return [Number(**entry) for entry in read_toml(files / "published.toml", {"number", "fact"})["number"]]
