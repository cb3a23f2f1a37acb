"""The cells of the paper's tables: which model on which data, as the files below `reproduce/cells` say.

A cell's file holds the difference from its base, another cell:

    base = "table1/blizzard/three_tier"   # optional
    title = "..."                         # how the table names it
    family = "three_tier"
    data = "blizzard"
    splits = ["test"]                     # which scores the table shows
    retention = true                      # also measure information retention (default: false)
    [flags]                               # of `samplernn train FAMILY`: hyper-parameters, learning_rate
    seq_len = 128

A cell that changes nothing of its base's training shows its base's run.
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
"""The cells that are listening tests stand below this name."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a model that is trained and scored.

    Attributes
    ----------
    name : str
        Such as table1/music/three_tier.
    title : str
        As the table names the model.
    family, data : str
        Of models, and the data set.
    flags : mapping
        Values of `samplernn train FAMILY` in which it differs from the preset.
    splits : sequence of str
        Whose scores the table shows.
    retention : bool
        Whether information retention is measured.
    run : str
        The cell whose run this one shows: mostly itself.
    """

    name: str
    title: str
    family: str
    data: str
    flags: Mapping[str, Any]
    splits: Sequence[str]
    retention: bool
    run: str


@dataclass(frozen=True)
class ListeningTest:
    """A test in which people compare the sounds of some cells (`systems`)."""

    name: str
    title: str
    systems: Sequence[str]
    leave_out_noise: bool = False


# --- reading ------------------------------------------------------------------------------------------------


def read(files: Path) -> dict[str, Cell]:
    """All cells, by name, from the folder `files` (the checkout's `reproduce`).

    Raises
    ------
    ReproductionError
        If a file cannot be read, or says what cannot be.
    """
    texts = {
        name: read_toml(path, {"base", "title", "family", "data", "splits", "retention", "flags"})
        for name, path in _paths(files)
        if not name.startswith(LISTENING)
    }
    return {name: _cell(name, texts) for name in texts}


def listening_tests(files: Path) -> dict[str, ListeningTest]:
    """All listening tests, by name.

    Raises
    ------
    ReproductionError
        As `read`; or if a test names a cell that is not there.
    """
    known = read(files)
    tests = {}
    for name, path in _paths(files):
        if name.startswith(LISTENING):
            found = read_toml(path, {"title", "systems", "leave_out_noise"})
            for system in found.get("systems", []):
                if system not in known:
                    raise ReproductionError(f"{path} names the cell {system}, which is not there.")
            tests[name] = ListeningTest(name, **found)
    return tests


def _paths(files: Path) -> Iterable[tuple[str, Path]]:
    top = files / "cells"
    for path in sorted(top.rglob("*.toml")):
        yield path.relative_to(top).with_suffix("").as_posix(), path


def _cell(name: str, texts: Mapping[str, Mapping[str, Any]], upon: Sequence[str] = ()) -> Cell:
    """The cell `name`; `upon` are those that have it as a base, directly or not."""
    own = texts[name]
    if "base" not in own:
        merged: dict[str, Any] = {"retention": False, **own}
        merged.setdefault("flags", {})
        _check(name, merged)
        return Cell(name=name, run=name, **merged)
    if own["base"] not in texts:
        raise ReproductionError(f"The cell {name} has the base {own['base']}, which is not there.")
    if own["base"] in (name, *upon):
        raise ReproductionError(f"The cell {name} has the base {own['base']}, which has {name} as its own.")
    base = _cell(own["base"], texts, [*upon, name])
    merged = {field.name: getattr(base, field.name) for field in fields(base)}
    changes = {key: value for key, value in own.items() if key != "base"}
    merged |= changes | {"flags": {**base.flags, **changes.get("flags", {})}, "name": name}
    merged["run"] = name
    _check(name, merged)
    cell = Cell(**merged)
    training = ("family", "data", "flags", "retention")
    same = all(getattr(cell, key) == getattr(base, key) for key in training)
    return replace(cell, run=base.run) if same else cell


def _check(name: str, found: Mapping[str, Any]) -> None:
    for key in ("title", "family", "data", "splits"):
        if key not in found:
            raise ReproductionError(f"The cell {name} lacks {key}.")
    if found["family"] not in FAMILIES:
        raise ReproductionError(f"The cell {name} has the unknown family {found['family']}.")
    if found["data"] not in SETS:
        raise ReproductionError(f"The cell {name} has the unknown data set {found['data']}.")
    known = {field.name for field in fields(FAMILIES[found["family"]])} | {"learning_rate"}
    if unknown := sorted(found["flags"].keys() - known):
        raise ReproductionError(
            f"The cell {name} has the flag {unknown[0]}, which {found['family']} has not."
        )


# --- choosing -----------------------------------------------------------------------------------------------


def select(patterns: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names among `known` that a pattern means: `all`, table1, table1/music, table3/*, or a whole name.

    Raises
    ------
    ReproductionError
        If a pattern means none.
    """
    names = list(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        word = pattern.strip("/")
        found = [
            name
            for name in names
            if word == "all" or fnmatch.fnmatch(name, word) or fnmatch.fnmatch(name, f"{word}/*")
        ]
        if not found:
            groups = {name.rsplit("/", n)[0] for name in names for n in (1, 2)}
            near = difflib.get_close_matches(word, [*names, *sorted(groups)], 1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else "; samplernn reproduce --list names them all."
            raise ReproductionError(f"There is no cell {pattern}{hint}")
        chosen |= dict.fromkeys(found)
    return [name for name in names if name in chosen]
