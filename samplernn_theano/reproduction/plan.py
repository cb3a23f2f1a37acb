"""The steps of a workflow as command lines, and the folders they write to."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from samplernn_theano.config.field_types import fits
from samplernn_theano.config.schedule import LIMITS, Schedule, scaled_later_from
from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.experiments import Experiment, read_experiments, read_listening_tests
from samplernn_theano.reproduction.records import part, read_record
from samplernn_theano.reproduction.scales import Scale
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.text import parse_json

WORKFLOW = "workflow.json"
FIRST_SEED = 123  # the original's; then 124, 125 and so on
DEMO = "demo"  # the synthetic set from which the others are made at a scale with demo data
OVERLAP = "music_overlap"  # Music with the clips of the paper's time
NEEDS_RECORDINGS = ("blizzard", "onomatopoeia", "huckleberry")
"""The sets without an automatic download: see datasets/README.md."""

type Command = list[str]

type Step = tuple[str, str, int | None]
"""Name of a step, its data set, experiment or listening test, and seed."""


@dataclass(frozen=True)
class Workflow:
    """The arguments of a workflow, stored in OUT/workflow.json. Experiments are names and seeds."""

    out: Path  # folder of all outputs; absolute
    scale: str
    experiments: Mapping[str, Sequence[int]]  # requested experiments and listening tests
    data: Mapping[str, str] = field(default_factory=dict)  # folders of prepared data sets, by name
    recordings: Mapping[str, str] = field(default_factory=dict)  # folders from which a set is made
    about: Mapping[str, str] = field(default_factory=dict)  # descriptions of sets that are not the paper's
    max_iters: int | None = None  # limits of each training, in place of the scale's of that kind
    max_epochs: int | None = None
    max_minutes: float | None = None
    before: Mapping[str, Sequence[int]] = field(default_factory=dict)  # all ever requested in this folder


def save(workflow: Workflow) -> Path:
    """Write OUT/workflow.json, whose key for the experiments is "cells", and return its path."""
    values = asdict(workflow)
    values |= {"out": str(workflow.out), "cells": values.pop("experiments")}
    path = workflow.out / WORKFLOW
    write_text(path, json.dumps(values, indent=2) + "\n")
    return path


def load(out: Path) -> Workflow:
    """Read the workflow in the folder `out`."""
    try:
        found = parse_json((out / WORKFLOW).read_text(encoding="utf-8"))
        found["experiments"] = found.pop("cells")
        for own in fields(Workflow):
            if own.name in found and own.name != "out" and not fits(found[own.name], own.type):
                raise TypeError(f"{own.name} is {reprlib.repr(found[own.name])}")
        return Workflow(**found | {"out": out.absolute()})
    except OSError as error:
        raise ReproductionError(
            f"{out} holds no workflow; start one with samplernn reproduce EXPERIMENT."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReproductionError(
            f"{out / WORKFLOW} is damaged ({error}); delete it and run the command again: steps stay done."
        ) from error


def folder(workflow: Workflow, kind: str, experiment: str, seed: int) -> Path:
    """The folder of an experiment's run (kind "runs"), "samples" or "retention"."""
    return workflow.out / kind / experiment / f"seed{seed}"


def data_folder(workflow: Workflow, name: str) -> Path:
    """The folder of a data set."""
    return Path(workflow.data[name]) if name in workflow.data else workflow.out / "data" / name


def record_path(out: Path, step: str, unit: str, seed: int | None) -> Path:
    """The record of a step; `unit` is a data set, an experiment or a listening test."""
    if step == "data":
        return out / "steps" / "data" / f"{unit}.json"
    return out / "steps" / unit / (f"seed{seed}" if seed is not None else "") / f"{step}.json"


def scores_path(out: Path, step: str, unit: str, seed: int) -> Path:
    """The scores that the step "evaluate", or "checkpoints", writes."""
    name = "scores" if step == "evaluate" else "checkpoint_scores"
    return record_path(out, step, unit, seed).with_name(f"{name}.json")


def is_done(out: Path, step: str, unit: str, seed: int | None) -> bool:
    """True if a step is done. Evaluations of earlier versions, without the scores of clips, are repeated."""
    path = record_path(out, step, unit, seed)
    old = step == "evaluate" and "bits_of_clips" not in part(read_record(path), "result", "test")
    return path.with_suffix(".done").exists() and not old


def command(workflow: Workflow, step: str, unit: str, seed: int | None = None) -> Command | None:
    """The command line of a step; None for a prepared data set."""
    scale = scales.read(workflow.scale)
    if step == "data":
        return _data(workflow, scale, unit)
    if step == "listening":
        return _listening(workflow, scale, unit)
    assert seed is not None
    experiment = read_experiments()[unit]
    run = folder(workflow, "runs", unit, seed)
    data = ["--data", data_folder(workflow, experiment.data)]
    scores = ["--json", scores_path(workflow.out, step, unit, seed)]
    minutes = scale.resources.minutes
    max_time = f"{minutes - min(10, minutes / 4):g}m"  # the job's, without some to save a checkpoint
    arguments = {
        "train": [
            *[experiment.family, "--preset", scale.preset, *_train_options(workflow, scale, experiment)],
            *["--seed", seed, *data, "--run", run, "--resume", "--max-time", max_time],
        ],
        "evaluate": [run, *data, "--split", "valid", "--split", "test", *scores],
        "checkpoints": [run, "--kept", *data, *scores],
        "generate": [
            *[run, "--n_seqs", scale.generate["n_seqs"], "--seconds", scale.generate["seconds"]],
            *["--seed", seed, "--out", folder(workflow, "samples", unit, seed), "--overwrite"],
        ],
        "retention": [
            *[run, *data, "--clips", scale.retention["clips"]],
            *["--seed", seed, "--out", folder(workflow, "retention", unit, seed)],
        ],
    }
    name = "evaluate" if step == "checkpoints" else step
    return ["samplernn", name, *map(str, arguments[step]), "--threads", str(scale.resources.threads)]


def check_data(workflow: Workflow) -> None:
    """Raise ReproductionError if a data set of the experiments, or a package, is missing."""
    for name in sets(workflow):
        for option, folders in (("data", workflow.data), ("recordings", workflow.recordings)):
            if name in folders and not Path(folders[name]).is_dir():
                raise ReproductionError(f"--{option} {name}: there is no folder {folders[name]}.")
    for reason in unavailable(workflow).values():
        raise ReproductionError(reason)


def unavailable(workflow: Workflow) -> dict[str, str]:
    """Why requested experiments and listening tests cannot be had here, and what to do."""
    known, tests = read_experiments(), read_listening_tests()
    reasons = {}
    for name in workflow.experiments:
        used = [known[system] for system in (tests[name].systems if name in tests else [name])]
        found = [_why_no_data(workflow, experiment.data) for experiment in used]
        if any(experiment.retention for experiment in used) and not find_spec("sklearn"):
            found.append(
                'Information retention needs scikit-learn: pip install "samplernn-theano[reproduce]".'
            )
        if reason := next(filter(None, found), ""):
            reasons[name] = reason
    return reasons


def _why_no_data(workflow: Workflow, name: str) -> str:
    """Why a data set can neither be found nor made, and what to do; empty if it can."""
    name = source_set(workflow, name) or name
    is_there = name in workflow.data or name in workflow.recordings or _recordings(workflow, name)
    made = record_path(workflow.out, "data", name, None).with_suffix(".done").exists()
    if scales.read(workflow.scale).demo_data or is_there or made:
        return ""
    give = f"give --recordings {name}=FOLDER to build it (see datasets/README.md), or a prepared set with "
    give += f"--data {name}=FOLDER"
    if name in NEEDS_RECORDINGS:
        return f"The set {name} cannot be downloaded: {give}, or choose other experiments."
    if not find_spec("internetarchive"):
        return (
            f"The set {name} is downloaded with internetarchive, which is not installed: pip install "
            f'"samplernn-theano[datasets]", or {give}.'
        )
    return ""


def check_use(workflow: Workflow) -> None:
    """Raise ReproductionError if a given data set is used by no experiment."""
    used = sets(workflow)
    if unused := [name for name in [*workflow.data, *workflow.recordings] if name not in used]:
        raise ReproductionError(
            f"None of these experiments uses the set {unused[0]}; they use {', '.join(used)}."
        )


def sets(workflow: Workflow) -> list[str]:
    """The data sets that the experiments of a workflow use."""
    known = read_experiments()
    return sorted({known[name].data for name, _ in trained(workflow)})


def trained(workflow: Workflow) -> list[tuple[str, int]]:
    """Names and seeds of the runs behind the requested experiments and listening tests."""
    known, tests = read_experiments(), read_listening_tests()
    names: dict[tuple[str, int], None] = {}
    for name, seeds in workflow.experiments.items():
        systems, used = (tests[name].systems, seeds[:1]) if name in tests else ([name], seeds)
        names |= dict.fromkeys((known[system].run, seed) for system in systems for seed in used)
    return list(names)


def later_rates(workflow: Workflow) -> list[str]:
    """What limits in place of the scale's mean for trainings with a second learning rate."""
    planned, lines = scales.schedules(workflow.scale), []
    for name in dict.fromkeys(name for name, _ in trained(workflow)):
        own, given = planned[name], [limit for limit in LIMITS if getattr(workflow, limit) is not None]
        if own.later_from is None or own.max_iters is None or not given:
            continue
        total = workflow.max_iters or own.max_iters
        first = scaled_later_from(own.later_from, own.max_iters, total)
        text = f"{name}: learning rate {own.later_rate} after {first:,} of {total:,} iterations, the scale's "
        text += f"{own.later_from:,} of {own.max_iters:,}"
        others = [f"--{limit.replace('_', '-')}" for limit in given if limit != "max_iters"]
        lines.append(text + (f"; {' or '.join(others)} may end it before." if others else "."))
    return lines


def missing(workflow: Workflow) -> list[Step]:
    """The steps that are not done yet."""
    return [step for step in steps(workflow) if not is_done(workflow.out, *step)]


def steps(workflow: Workflow) -> list[Step]:
    """All steps in order."""
    known, scale = read_experiments(), scales.read(workflow.scale)
    names: dict[Step, None] = {}
    for name in sets(workflow):
        names |= {("data", s, None): None for s in (source_set(workflow, name), name) if s}
    for experiment, seed in trained(workflow):
        names |= {(step, experiment, seed): None for step in steps_of_run(scale, known[experiment])}
    tests = read_listening_tests()
    return [*names, *(("listening", name, None) for name in workflow.experiments if name in tests)]


def steps_of_run(scale: Scale, experiment: Experiment) -> list[str]:
    """The steps of a run in order; if the scale keeps checkpoints of evaluations, they are scored too."""
    kept = ["checkpoints"] * (scale.train.get("keep", 1) > 1)
    return ["train", "evaluate", *kept, "generate", *["retention"] * experiment.retention]


def source_set(workflow: Workflow, name: str) -> str | None:
    """The data set from which the set `name` is made, if any: demo data, or the downloads of Music."""
    if name in workflow.data:
        return None
    if scales.read(workflow.scale).demo_data:
        return DEMO if name not in (DEMO, "huckleberry") else None
    given = {*workflow.data, *workflow.recordings}
    return "music" if name == OVERLAP and not given & {"music", OVERLAP} else None


def _recordings(workflow: Workflow, name: str) -> str | None:
    """The folder of recordings from which a set is made; None if they are downloaded or cannot be."""
    if name != OVERLAP or name in workflow.recordings:
        return workflow.recordings.get(name)
    if source_set(workflow, name):
        return str(data_folder(workflow, "music") / "original")
    return workflow.recordings.get("music")


def _data(workflow: Workflow, scale: Scale, name: str) -> Command | None:
    out = str(data_folder(workflow, name))
    if name in workflow.data:
        return None
    if scale.demo_data:
        return _demo(workflow, name, out)
    if reason := _why_no_data(workflow, name):
        raise ReproductionError(reason)
    recordings = _recordings(workflow, name)
    source = ["--source", recordings] if recordings else []
    if name == OVERLAP:
        return ["samplernn", "data", "music", "--out", out, *source, "--stride", "1", "--legacy-count"]
    return ["samplernn", "data", name, "--out", out, *source]


def _demo(workflow: Workflow, name: str, out: str) -> Command:
    if name in (DEMO, "huckleberry"):
        kind = "--pieces" if name == DEMO else "--voices"
        return ["samplernn", "data", "demo", "--out", out, kind]
    split = ["--valid-fraction", "0.2", "--test-fraction", "0.2", "--name", name]
    length = ["--variable-length"] if name == "onomatopoeia" else ["--clip-seconds", "0.5"]
    pieces = str(workflow.out / "data" / DEMO / "pieces")
    return ["samplernn", "prepare", pieces, "--out", out, *length, *split]


def _train_options(workflow: Workflow, scale: Scale, experiment: Experiment) -> list[Any]:
    """Hyper-parameters, learning rate and limits of a training that are not the preset's."""
    given = {name: limit for name in LIMITS if (limit := getattr(workflow, name)) is not None}
    known = {**scale.train, **scales.flags(scale, experiment)}
    options = {name: value for name, value in known.items() if name not in given} | given
    if "later_from" in known and workflow.max_iters:
        options["later_from"] = scaled_later_from(known["later_from"], known["max_iters"], workflow.max_iters)
    scheduled = {own.name for own in fields(Schedule)}
    names = sorted(options, key=scheduled.__contains__)  # hyper-parameters first
    dashed = {name: name.replace("_", "-") for name in scheduled - {"n_seqs"}}
    return [part for name in names for part in (f"--{dashed.get(name, name)}", options[name])]


def _listening(workflow: Workflow, scale: Scale, name: str) -> Command:
    known, test = read_experiments(), read_listening_tests()[name]
    seed = workflow.experiments[name][0]
    experiments = [known[system] for system in test.systems]
    systems = [f"{e.title}={folder(workflow, 'samples', e.run, seed)}" for e in experiments]
    values = dict(scale.listening)
    noise_too = values.pop("noise_too", False)
    noise = ["--leave-out-noise"] if test.leave_out_noise and not noise_too else []
    options = [f"--{name}={value}" for name, value in values.items()]
    out = ["--out", str(workflow.out / name), "--title", test.title, "--overwrite"]
    return ["samplernn", "listening-test", "make", *systems, *out, *options, *noise]
