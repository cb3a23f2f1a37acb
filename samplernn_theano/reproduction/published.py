"""The published numbers, and the numbered differences between our experiments and the paper's.

They are read from `files/published.toml` and `files/differences.toml`. The numbers occur nowhere else in this
package, so none can leak from the paper into our results.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from samplernn_theano.reproduction.experiments import FILES
from samplernn_theano.utils.toml_files import read_toml

BITS, NATS = "bits per sample", "nats per sample"

DOUBTED = "‡"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A published result."""

    experiment: str
    what: str  # such as "test NLL"
    split: str | None = None  # "test" or "valid"; None if it is not a score
    value: float
    unit: str  # such as "bits per sample"
    source: str  # such as "paper, table 1"
    certainty: str  # "text": read in the source; "code": read in the authors' code; "memory": unverified
    note: str = ""
    doubt: str = ""  # what is not known of it, and shown with it

    @property
    def mark(self) -> str:
        """The mark of a number with a doubt."""
        return DOUBTED if self.doubt else ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference from the paper. Reports cite its number, whose meaning never changes."""

    number: int
    title: str
    text: str  # one to three sentences; code between backticks
    origin: str  # "original": surprising behaviour of the authors' code; "ours": our choice
    applies: Sequence[str]  # patterns of the affected experiments, such as table1/*/three_tier
    scales: Sequence[str]


def read_numbers() -> list[Number]:
    """The published results, in the order of the file."""
    return [Number(**entry) for entry in read_toml(FILES / "published.toml", {"number", "fact"})["number"]]


def doubts(numbers: Iterable[Number]) -> str:
    """The mark of numbers with a doubt, and its meaning."""
    return f"{DOUBTED} {'; '.join(dict.fromkeys(number.doubt for number in numbers if number.doubt))}"


def read_differences() -> list[Difference]:
    """All differences, sorted by number."""
    found = read_toml(FILES / "differences.toml", {"difference"})
    return [Difference(**entry) for entry in found["difference"]]


def applying(differences: Iterable[Difference], experiment: str, scale: str) -> list[Difference]:
    """The differences of an experiment (table1/music/three_tier) at a scale (paper)."""
    return [
        difference
        for difference in differences
        if scale in difference.scales
        and any(fnmatch.fnmatchcase(experiment, pattern) for pattern in difference.applies)
    ]
