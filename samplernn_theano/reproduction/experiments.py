"""The paper's experiments, read from `files/experiments`: which model is trained on which data.

An experiment's file holds the difference from its base, another experiment:

    base = "table1/blizzard/three_tier"   # optional
    title = "..."                         # how the table names it
    family = "three_tier"
    data = "blizzard"
    splits = ["test"]                     # of the scores in the table
    basis = "ours: the number of updates" # paper, release or ours (see `Experiment`), and what of it
    retention = true                      # also measure information retention (default: false)
    [flags]                               # of `samplernn train FAMILY`: hyper-parameters, learning_rate
    seq_len = 128

An experiment whose training does not differ from its base's shares the run of its base.
"""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import ReproductionError
from samplernn_theano.utils.toml_files import read_toml

FILES = Path(__file__).parent / "files"
"""Experiments, scales, Snakefile and profiles, published numbers, differences from the paper."""

SETS = ("blizzard", "onomatopoeia", "music", "music_overlap", "huckleberry")
"""The paper's data sets. The clips of music_overlap are cut as the authors' script did when the paper was
written; huckleberry is of two readers."""

OURS = "†"
OURS_MEANS = "basis ours: the paper and the release say too little, and what they leave open is our choice"

LISTENING = "listening"  # prefix of the names of listening tests


@dataclass(frozen=True)
class Experiment:
    """A model that is trained and scored: one or more numbers of a table."""

    name: str  # such as table1/music/three_tier
    title: str  # the model's name in the table
    family: str
    data: str
    flags: Mapping[str, Any]  # options of `samplernn train FAMILY` that differ from the preset
    splits: Sequence[str]  # with a score in the table
    basis: str  # whose experiment it is: "paper", "release" or "ours", a colon, and what of it
    retention: bool  # True if information retention is measured
    run: str  # name of the experiment that is trained for this one, usually itself

    @property
    def mark(self) -> str:
        """The mark of a number that rests on our choice: neither paper nor release says enough."""
        return OURS if self.basis.startswith("ours:") else ""

    @property
    def marked_title(self) -> str:
        """The title with the mark."""
        return f"{self.title} {self.mark}".strip()


@dataclass(frozen=True)
class ListeningTest:
    """A listening test that compares the samples of some experiments (`systems`)."""

    name: str
    title: str
    systems: Sequence[str]
    leave_out_noise: bool = False


def read_experiments(files: Path = FILES) -> dict[str, Experiment]:
    """Read all experiments below `files`, by name."""
    keys = {"base", "title", "family", "data", "splits", "basis", "retention", "flags"}
    paths = {name: path for name, path in _paths(files).items() if not name.startswith(LISTENING)}
    texts = {name: read_toml(path, keys) for name, path in paths.items()}
    return {name: _resolve(name, texts) for name in texts}


def read_listening_tests(files: Path = FILES) -> dict[str, ListeningTest]:
    """Read all listening tests below `files`, by name."""
    known = read_experiments(files)
    tests = {}
    for name, path in _paths(files).items():
        if name.startswith(LISTENING):
            found = read_toml(path, {"title", "systems", "leave_out_noise"})
            _check_listening_test(path, found, known)
            tests[name] = ListeningTest(name, **found)
    return tests


def _check_listening_test(path: Path, found: Mapping[str, Any], known: Mapping[str, Experiment]) -> None:
    if lacking := [key for key in ("title", "systems") if key not in found]:
        raise ReproductionError(f"{path} lacks {lacking[0]}.")
    if unknown := [system for system in found["systems"] if system not in known]:
        raise ReproductionError(f"{path} names the unknown experiment {unknown[0]}.")
    titles = [known[system].title for system in found["systems"]]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise ReproductionError(
            f'{path} has two systems of the title "{twice[0]}", which votes could not tell apart; '
            "compare others, or give an experiment another title."
        )
    if len(titles) < 2:
        raise ReproductionError(f"{path} names fewer than two systems, which is nothing to compare.")


def _paths(files: Path) -> dict[str, Path]:
    top = files / "experiments"
    return {p.relative_to(top).with_suffix("").as_posix(): p for p in sorted(top.rglob("*.toml"))}


def _resolve(name: str, texts: Mapping[str, Mapping[str, Any]], derived: Sequence[str] = ()) -> Experiment:
    """Merge an experiment with its base; `derived` are the experiments based on it."""
    own = dict(texts[name])
    base = own.pop("base", None)
    if base is None:
        merged = {"retention": False, "flags": {}, **own}
        _check(name, merged)
        return Experiment(name=name, run=name, **merged)
    if base not in texts:
        raise ReproductionError(f"The base {base} of the experiment {name} does not exist.")
    if base in (name, *derived):
        raise ReproductionError(f"The base {base} of the experiment {name} is itself based on {name}.")
    found = _resolve(base, texts, [*derived, name])
    changes = own | {"flags": {**found.flags, **own.get("flags", {})}}
    experiment = replace(found, **changes, name=name, run=name)
    _check(name, vars(experiment))
    training = ("family", "data", "flags", "retention")
    same = all(getattr(experiment, key) == getattr(found, key) for key in training)
    return replace(experiment, run=found.run) if same else experiment


def _check(name: str, found: Mapping[str, Any]) -> None:
    if lacking := [key for key in ("title", "family", "data", "splits", "basis") if key not in found]:
        problem = f"lacks {lacking[0]}"
    elif found["family"] not in FAMILIES:
        problem = f"has the unknown family {found['family']}"
    elif found["data"] not in SETS:
        problem = f"has the unknown data set {found['data']}"
    elif not re.fullmatch("(paper|release|ours): .+", found["basis"]):
        problem = f'has the basis "{found["basis"]}", not "paper: WHAT", "release: WHAT" or "ours: WHAT"'
    else:
        known = {field.name for field in fields(FAMILIES[found["family"]])} | {"learning_rate"}
        if not (unknown := sorted(found["flags"].keys() - known)):
            return
        problem = f"has the flag {unknown[0]}, which {found['family']} does not have"
    raise ReproductionError(f"The experiment {name} {problem}.")


def select_experiments(patterns: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names among `known` that match a pattern: `all`, table1, table1/music, table3/*, or a full name."""
    names = list(known)
    chosen: set[str] = set()
    for pattern in patterns:
        stripped = pattern.strip("/")
        found = names if stripped == "all" else fnmatch.filter(names, stripped)
        found = found or fnmatch.filter(names, f"{stripped}/*")
        if not found:
            groups = {name.rsplit("/", n)[0] for name in names for n in (1, 2)}
            near = difflib.get_close_matches(stripped, [*names, *sorted(groups)], 1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else "; samplernn reproduce --list shows all."
            raise ReproductionError(f"There is no experiment {pattern}{hint}")
        chosen |= set(found)
    return [name for name in names if name in chosen]
