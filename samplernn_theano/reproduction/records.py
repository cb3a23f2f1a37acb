"""Reading the folder of a workflow: records of steps, logs, samples.

Records that are missing, incomplete or damaged are treated as absent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.schedule import Progress, Schedule, fraction, original_schedule
from samplernn_theano.utils.files import is_locked
from samplernn_theano.utils.text import parse_json

STEPS = ("train", "evaluate", "checkpoints", "generate", "retention")  # of an experiment, in order
STATUSES = ("not run", "running", "interrupted", "failed", "done")

PAPER = "paper"  # the scale of the authors' experiments
ENOUGH = 0.95  # fraction of the authors' updates, or time, from which a training counts as equally long


@dataclass(frozen=True)
class Attempt:
    """One run of an experiment, with one seed."""

    experiment: str
    seed: int
    steps: Mapping[str, Mapping[str, Any]]  # records, by name in `STEPS`, of the steps that were started
    log: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]  # of the training
    sounds: Sequence[Path]  # generated samples, sorted by name
    paper: Schedule  # of the experiment at the paper's scale; if unknown, the original's of the family

    def status(self, step: str) -> str:
        """One of `STATUSES`."""
        return str(self.steps[step]["status"]) if step in self.steps else "not run"

    def result(self, step: str) -> Mapping[str, Any]:
        """The result of a step; empty unless it is done."""
        found = self.steps.get(step, {}).get("result")
        return found if self.status(step) == "done" and isinstance(found, dict) else {}

    @property
    def planned_scale(self) -> str:
        """The scale of the workflow."""
        return text(self.steps.get("train", {}).get("scale"))

    @property
    def scale(self) -> str:
        """The actual scale of the training: "paper" only if it had the paper's updates, or its time."""
        if self.planned_scale != PAPER:
            return self.planned_scale
        seconds = number(self.result("train").get("train_seconds"))
        updates = int(number(self.result("train").get("iterations")) or self.iteration)
        done = Progress(iteration=updates, seconds=max(0.0, seconds or 0.0))
        if seconds is not None and fraction(self.paper, done) >= ENOUGH:
            return PAPER
        planned = f" of {self.paper.max_iters:,}" if self.paper.max_iters else ""
        return f"paper models, {updates:,}{planned} updates"

    @property
    def iteration(self) -> int:
        """The last iteration in the log."""
        return max((int(number(entry.get("iteration")) or 0) for entry in self.log), default=0)

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        """Log entries of evaluations on the validation set, with iteration, seconds and valid."""
        names = ("iteration", "seconds", "valid")
        entries = [entry for entry in self.log if entry["event"] == "monitor"]
        return [entry for entry in entries if all(number(entry.get(name)) is not None for name in names)]

    def why_missing(self, target: str) -> str:
        """The reason why the step `target` has no result; empty if it is done."""
        for step in STEPS[: STEPS.index(target) + 1]:
            status = self.status(step)
            if status == "done" or (step in ("checkpoints", "generate") and target != step):
                continue  # no other step depends on these
            if status == "failed":
                message = text(self.steps[step].get("message"))
                return f"failed: {message}" if step == "train" else f"failed: {step}: {message}"
            at = f" (iteration {self.iteration:,})" if self.iteration else ""
            return status + at if step == "train" else f"trained; {step}: {status}"
        return ""


@dataclass(frozen=True)
class Results:
    """The contents of a workflow's folder."""

    out: Path
    scale: str  # empty if unknown
    requested: Mapping[str, Sequence[int]]  # all experiments ever requested in the folder, and their seeds
    given: Mapping[str, str]  # names and folders of prepared data sets
    about: Mapping[str, str]  # descriptions of data sets that are not the paper's
    attempts: Mapping[str, Sequence[Attempt]]  # by name of the experiment, in the order of the seeds
    data: Mapping[str, Mapping[str, Any]]  # records of the steps that made or checked the data sets
    failures: Mapping[str, str]  # error messages of listening tests that could not be made
    pages: Sequence[str]  # listening tests with a page

    def of(self, experiment: str) -> Sequence[Attempt]:
        """The attempts at an experiment; empty if it was not started."""
        return self.attempts.get(experiment, ())


def read(out: Path, names: Iterable[str], paper: Mapping[str, Schedule] | None = None) -> Results:
    """Read the results in `out` of the experiments and listening tests `names`, and of all requested ones.

    `paper` has the schedules of experiments at the paper's scale.
    """
    workflow = _json(out / "workflow.json")
    requested = _requested(workflow)
    names = list(dict.fromkeys([*names, *requested]))
    attempts = {
        name: [
            _attempt(out, name, seed, (paper or {}).get(name))
            for seed in _seeds(out, name, requested.get(name, []))
        ]
        for name in names
    }
    data = {path.stem: read_record(path) for path in sorted((out / "steps" / "data").glob("*.json"))}
    made = {name: read_record(out / "steps" / name / "listening.json") for name in names}
    return Results(
        out=out,
        scale=text(workflow.get("scale")),
        requested=requested,
        given=_texts(workflow.get("data")),
        about=_texts(workflow.get("about")),
        attempts={name: found for name, found in attempts.items() if found},
        data={name: record for name, record in data.items() if record},
        failures={n: text(r.get("message")) for n, r in made.items() if r.get("status") == "failed"},
        pages=[name for name in names if (out / name / "test.json").is_file()],
    )


def _requested(workflow: Mapping[str, Any]) -> dict[str, list[int]]:
    """All experiments and seeds that were ever requested, the last request last."""
    requested: dict[str, list[int]] = {}
    for key in ("before", "cells"):
        for experiment, seeds in part(workflow, key).items():
            if isinstance(seeds, list):
                found = [seed for seed in seeds if type(seed) is int]
                requested[experiment] = list(dict.fromkeys([*requested.get(experiment, []), *found]))
    return requested


def _seeds(out: Path, experiment: str, requested: Sequence[int]) -> list[int]:
    """The seeds with which an experiment was started: the requested ones first, then any others."""
    found = [path.name.removeprefix("seed") for path in (out / "steps" / experiment).glob("seed*")]
    started = {int(seed) for seed in found if seed.isdecimal()}
    return [seed for seed in dict.fromkeys([*requested, *sorted(started)]) if seed in started]


def _attempt(out: Path, experiment: str, seed: int, paper: Schedule | None) -> Attempt:
    folder = Path(experiment) / f"seed{seed}"
    run = run_folder.Run(out / "runs" / folder)
    records = {step: read_record(out / "steps" / folder / f"{step}.json") for step in STEPS}
    training = records["train"]
    if training.get("status") == "running" and not is_locked(run.folder):  # no process works on it
        records["train"] = {**training, "status": "interrupted"}
    settings = _json(run.settings)
    family = FAMILIES.get(text(settings.get("family")))
    return Attempt(
        experiment=experiment,
        seed=seed,
        steps={step: record for step, record in records.items() if record},
        log=run_folder.read_log(run),
        settings=settings,
        sounds=sorted((out / "samples" / folder).glob("*.wav")),
        paper=paper or (original_schedule(family) if family else Schedule()),
    )


def read_record(path: Path) -> dict[str, Any]:
    """The record of a step; empty if there is none with a valid status."""
    record = _json(path)
    if record.get("status") == "stopped":  # in records of earlier versions
        record["status"] = "interrupted"
    return record if text(record.get("status")) in STATUSES else {}


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if it cannot be read."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    """The string members of an object."""
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    return value if type(value) in (int, float) and math.isfinite(value) else None


def text(value: Any) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def part(record: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object at the path `names` in a record; empty if there is none."""
    found: Any = record
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def hardware(machine: Mapping[str, Any]) -> str:
    """GPUs, processor and used cores of a step's machine."""
    gpu = machine.get("gpu")
    parts = [*(map(str, gpu) if isinstance(gpu, list) else [text(gpu)]), text(machine.get("cpu"))]
    used, cores = number(machine.get("threads")), number(machine.get("cores"))
    if used is not None:
        parts.append(f"{used:.0f} of {cores:.0f} cores" if cores is not None else f"{used:.0f} threads")
    return ", ".join(filter(None, parts)) or "unknown"
