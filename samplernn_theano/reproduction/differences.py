"""The numbered differences between our experiments and the paper's, read from `files/differences.toml`.

Reports cite the numbers, so a number never changes its meaning.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.utils.toml_files import read_toml


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One entry of the list."""

    number: int
    title: str
    text: str
    """One to three sentences; code between backticks."""
    origin: str
    """"original": behaviour of the authors' code that a reader may not expect; "ours": a choice of ours."""
    applies: Sequence[str]
    """Patterns of the affected experiments, such as table1/*/three_tier."""
    scales: Sequence[str]


def read_differences(files: Path) -> list[Difference]:
    """Read all differences in the folder `files`, sorted by number."""
    return [Difference(**e) for e in read_toml(files / "differences.toml", {"difference"})["difference"]]


def applying(differences: Iterable[Difference], experiment: str, scale: str) -> list[Difference]:
    """The differences of an experiment (table1/music/three_tier) at a scale (paper)."""
    return [
        difference
        for difference in differences
        if scale in difference.scales
        and any(fnmatch.fnmatchcase(experiment, pattern) for pattern in difference.applies)
    ]
