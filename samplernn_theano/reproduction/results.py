"""What a workflow has left in its folder so far: records of steps, logs, sounds. Nothing is written.

A record may be missing, half of what it should be, or that of a process which was killed: whatever cannot be
read counts as not there.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.utils.files import is_locked

STEPS = ("train", "evaluate", "generate", "retention")
"""Of a cell, in their order."""

STATUSES = ("not run", "running", "stopped", "failed", "done")

PAPER = "paper"
"""The scale of the authors' experiment."""

ENOUGH = 0.95
"""Of the time of the authors' training: from there on, ours counts as long as theirs."""


@dataclass(frozen=True)
class Attempt:
    """A cell, trained with one seed.

    Attributes
    ----------
    cell : str
    seed : int
    steps : mapping of a name in `STEPS` to its record
        Only of steps that were begun.
    log : sequence of dict
        Of the training.
    settings : mapping
        Of the training.
    sounds : sequence of Path
        Generated, in the order of their names.
    """

    cell: str
    seed: int
    steps: Mapping[str, Mapping[str, Any]]
    log: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    sounds: Sequence[Path]

    def status(self, step: str) -> str:
        """One of `STATUSES`."""
        return str(self.steps[step]["status"]) if step in self.steps else "not run"

    def result(self, step: str) -> Mapping[str, Any]:
        """What a step that is done has found, or nothing."""
        found = self.steps.get(step, {}).get("result")
        return found if self.status(step) == "done" and isinstance(found, dict) else {}

    @property
    def planned_scale(self) -> str:
        """The scale of the workflow that trained it."""
        return text(self.steps.get("train", {}).get("scale"))

    @property
    def scale(self) -> str:
        """What the training came to, on which all numbers rest: "paper" only if it took the paper's time."""
        if self.planned_scale != PAPER:
            return self.planned_scale
        family = FAMILIES.get(text(self.settings.get("family")))
        seconds = number(self.result("train").get("train_seconds"))
        if family is not None and seconds is not None and seconds >= ENOUGH * 60 * family.max_minutes:
            return PAPER
        if seconds is None:
            seconds = max((look["seconds"] for look in self.looks), default=0)
        return f"paper models, {seconds / 60:,.0f} min" if seconds >= 60 else "paper models, under 1 min"

    @property
    def iteration(self) -> int:
        """The last one in the log."""
        return max((int(number(entry.get("iteration")) or 0) for entry in self.log), default=0)

    @property
    def looks(self) -> list[Mapping[str, Any]]:
        """Looks at the validation set, with iteration, seconds and valid."""
        names = ("iteration", "seconds", "valid")
        looks = [entry for entry in self.log if entry["event"] == "monitor"]
        return [look for look in looks if all(number(look.get(name)) is not None for name in names)]

    def standing(self, wanted: str) -> str:
        """Why a cell has no number that the step `wanted` would give, in words; nothing if it should have."""
        for step in [name for name in STEPS if name == wanted or STEPS.index(name) < STEPS.index(wanted)]:
            if step == "generate" and wanted != "generate":
                continue  # nothing else needs it
            if (status := self.status(step)) != "done":
                return self._words(step, status)
        return ""

    def _words(self, step: str, status: str) -> str:
        message = text(self.steps.get(step, {}).get("message"))
        at = f" (iteration {self.iteration:,})" if step == "train" and self.iteration else ""
        if status == "failed":
            return f"failed: {step}: {message}" if step != "train" else f"failed: {message}"
        if step == "train":
            return status + at
        return f"trained; {step}: {status}"


@dataclass(frozen=True)
class Results:
    """All that is there.

    Attributes
    ----------
    out : Path
    scale : str
        Of the workflow; empty if it does not say.
    asked : mapping of str to list of int
        The cells that were ever asked for in the folder, and with which seeds.
    given : mapping of str to str
        Prepared data sets that were given: name and folder.
    about : mapping of str to str
        What a set is, where it is not the paper's: by whoever began the workflow.
    attempts : mapping of str to list of Attempt
        By the name of the cell, in the order of the seeds.
    data : mapping of str to record
        The steps that made or checked the data sets.
    failures : mapping of str to str
        Why the page of a listening test could not be made.
    pages : sequence of str
        Listening tests that have a page.
    """

    out: Path
    scale: str
    asked: Mapping[str, Sequence[int]] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, Sequence[Attempt]] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    pages: Sequence[str] = ()

    @property
    def cells(self) -> list[str]:
        """Those that were asked for."""
        return list(self.asked)

    @property
    def seeds(self) -> list[int]:
        """Those that any cell was asked for with."""
        return sorted({seed for seeds in self.asked.values() for seed in seeds})

    def of(self, cell: str) -> Sequence[Attempt]:
        """The attempts at a cell; none if it was not begun."""
        return self.attempts.get(cell, ())


def read(out: Path, names: Iterable[str]) -> Results:
    """What lies in `out` of the cells and listening tests `names`, and of others that were asked for.

    A training that is said to run while no process works in its folder counts as stopped.
    """
    workflow = _json(out / "workflow.json")
    asked = _asked(workflow)
    names = list(dict.fromkeys([*names, *asked]))
    attempts = {
        name: [_attempt(out, name, seed) for seed in _seeds(out, name, asked.get(name, []))]
        for name in names
        if (out / "steps" / name).is_dir()
    }
    data = {path.stem: _record(path) for path in sorted((out / "steps" / "data").glob("*.json"))}
    return Results(
        out=out,
        scale=text(workflow.get("scale")),
        asked=asked,
        given=_texts(workflow.get("data")),
        about=_texts(workflow.get("about")),
        attempts={name: found for name, found in attempts.items() if found},
        data={name: record for name, record in data.items() if record},
        failures={name: why for name in names if (why := _failure(out / "steps" / name / "listening.json"))},
        pages=[name for name in names if (out / name / "test.json").is_file()],
    )


def _asked(workflow: Mapping[str, Any]) -> dict[str, list[int]]:
    """The cells and seeds of all that was ever asked for: what was before, then what was last."""
    asked: dict[str, list[int]] = {}
    for name in ("before", "cells"):
        for cell, seeds in part(workflow, name).items():
            if isinstance(seeds, list):
                found = [seed for seed in seeds if type(seed) is int]
                asked[cell] = list(dict.fromkeys([*asked.get(cell, []), *found]))
    return asked


def _failure(path: Path) -> str:
    record = _record(path)
    return text(record.get("message")) if record.get("status") == "failed" else ""


def _seeds(out: Path, cell: str, asked: Sequence[int]) -> list[int]:
    """The seeds with which a cell was begun: those asked for first, then any others."""
    found = [re.fullmatch(r"seed(\d+)", path.name) for path in (out / "steps" / cell).iterdir()]
    begun = {int(match[1]) for match in found if match}
    return [seed for seed in dict.fromkeys([*asked, *sorted(begun)]) if seed in begun]


def _attempt(out: Path, cell: str, seed: int) -> Attempt:
    below = Path(cell) / f"seed{seed}"
    run = run_folder.Run(out / "runs" / below)
    records = {step: _record(out / "steps" / below / f"{step}.json") for step in STEPS}
    training = records["train"]
    if training.get("status") == "running" and not is_locked(run.folder):
        records["train"] = {**training, "status": "stopped"}
    return Attempt(
        cell=cell,
        seed=seed,
        steps={step: record for step, record in records.items() if record},
        log=run_folder.read_log(run),
        settings=_json(run.settings),
        sounds=sorted((out / "samples" / below).glob("*.wav")),
    )


def _record(path: Path) -> dict[str, Any]:
    """The record of a step, or nothing if it does not say how the step stands."""
    record = _json(path)
    return record if record.get("status") in STATUSES else {}


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an empty one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    """The texts in an object, by their names."""
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """A finite number, or None: records may say anything."""
    return value if type(value) in (int, float) and math.isfinite(value) else None


def text(value: Any) -> str:
    """A text, or an empty one."""
    return value if isinstance(value, str) else ""


def part(record: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object that lies below `names` in a record, or an empty one."""
    found: Any = record
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
