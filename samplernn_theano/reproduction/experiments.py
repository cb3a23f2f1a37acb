"""The paper's experiments, read from `files/experiments`: which model is trained on which data.

An experiment's file holds the difference from its base, another experiment:

    base = "table1/blizzard/three_tier"   # optional
    title = "..."                         # how the table names it
    family = "three_tier"
    data = "blizzard"
    splits = ["test"]                     # of the scores in the table
    retention = true                      # also measure information retention (default: false)
    [flags]                               # of `samplernn train FAMILY`: hyper-parameters, learning_rate
    seq_len = 128

An experiment whose training does not differ from its base's shares the run of its base.
"""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import ReproductionError
from samplernn_theano.utils.toml_files import read_toml

SETS = ("blizzard", "onomatopoeia", "music", "huckleberry")
"""The paper's data sets; the last is of two readers."""

LISTENING = "listening"
"""Prefix of the names of listening tests."""


@dataclass(frozen=True)
class Experiment:
    """A model that is trained and scored: one or more numbers of a table."""

    name: str
    """Such as table1/music/three_tier."""
    title: str
    """The model's name in the table."""
    family: str
    data: str
    flags: Mapping[str, Any]
    """Options of `samplernn train FAMILY` that differ from the preset."""
    splits: Sequence[str]
    """Splits with a score in the table."""
    retention: bool
    """True if information retention is measured."""
    run: str
    """Name of the experiment that is trained for this one, usually itself."""


@dataclass(frozen=True)
class ListeningTest:
    """A listening test that compares the samples of some experiments (`systems`)."""

    name: str
    title: str
    systems: Sequence[str]
    leave_out_noise: bool = False


def read_experiments(files: Path) -> dict[str, Experiment]:
    """Read all experiments below `files`, by name."""
    texts = {
        name: read_toml(path, {"base", "title", "family", "data", "splits", "retention", "flags"})
        for name, path in _paths(files)
        if not name.startswith(LISTENING)
    }
    return {name: _resolve(name, texts) for name in texts}


def read_listening_tests(files: Path) -> dict[str, ListeningTest]:
    """Read all listening tests below `files`, by name."""
    known = read_experiments(files)
    tests = {}
    for name, path in _paths(files):
        if name.startswith(LISTENING):
            found = read_toml(path, {"title", "systems", "leave_out_noise"})
            for system in found.get("systems", []):
                if system not in known:
                    raise ReproductionError(f"{path} names the unknown experiment {system}.")
            tests[name] = ListeningTest(name, **found)
    return tests


def _paths(files: Path) -> Iterable[tuple[str, Path]]:
    top = files / "experiments"
    for path in sorted(top.rglob("*.toml")):
        yield path.relative_to(top).with_suffix("").as_posix(), path


def _resolve(name: str, texts: Mapping[str, Mapping[str, Any]], derived: Sequence[str] = ()) -> Experiment:
    """Merge an experiment with its base; `derived` are the experiments based on it."""
    own = texts[name]
    if "base" not in own:
        merged: dict[str, Any] = {"retention": False, **own}
        merged.setdefault("flags", {})
        _check(name, merged)
        return Experiment(name=name, run=name, **merged)
    if own["base"] not in texts:
        raise ReproductionError(f"The base {own['base']} of the experiment {name} does not exist.")
    if own["base"] in (name, *derived):
        raise ReproductionError(f"The base {own['base']} of the experiment {name} is itself based on {name}.")
    base = _resolve(own["base"], texts, [*derived, name])
    merged = {field.name: getattr(base, field.name) for field in fields(base)}
    changes = {key: value for key, value in own.items() if key != "base"}
    merged |= changes | {"flags": {**base.flags, **changes.get("flags", {})}, "name": name}
    merged["run"] = name
    _check(name, merged)
    experiment = Experiment(**merged)
    training = ("family", "data", "flags", "retention")
    same = all(getattr(experiment, key) == getattr(base, key) for key in training)
    return replace(experiment, run=base.run) if same else experiment


def _check(name: str, found: Mapping[str, Any]) -> None:
    for key in ("title", "family", "data", "splits"):
        if key not in found:
            raise ReproductionError(f"The experiment {name} lacks {key}.")
    if found["family"] not in FAMILIES:
        raise ReproductionError(f"The experiment {name} has the unknown family {found['family']}.")
    if found["data"] not in SETS:
        raise ReproductionError(f"The experiment {name} has the unknown data set {found['data']}.")
    known = {field.name for field in fields(FAMILIES[found["family"]])} | {"learning_rate"}
    if unknown := sorted(found["flags"].keys() - known):
        raise ReproductionError(
            f"The experiment {name} has the flag {unknown[0]}, which {found['family']} does not have."
        )


def select_experiments(patterns: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names among `known` that match a pattern: `all`, table1, table1/music, table3/*, or a full name."""
    names = list(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        stripped = pattern.strip("/")
        found = names if stripped == "all" else fnmatch.filter(names, stripped)
        found = found or fnmatch.filter(names, f"{stripped}/*")
        if not found:
            groups = {name.rsplit("/", n)[0] for name in names for n in (1, 2)}
            near = difflib.get_close_matches(stripped, [*names, *sorted(groups)], 1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else "; samplernn reproduce --list shows all."
            raise ReproductionError(f"There is no experiment {pattern}{hint}")
        chosen |= dict.fromkeys(found)
    return [name for name in names if name in chosen]
