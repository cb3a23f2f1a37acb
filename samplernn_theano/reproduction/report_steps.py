"""The report's sections on machines, data, commands and differences from the paper."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction.differences import Difference, applying
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.records import STEPS, Attempt, Results, number, part, text
from samplernn_theano.utils.text import format_duration


def trainings(results: Results) -> dict[str, Any]:
    """Hardware, duration, iterations and versions of each training."""
    attempts = [a for found in results.attempts.values() for a in found if "train" in a.steps]
    rows = [
        {
            "attempt": attempt,
            "result": attempt.result("train"),
            "machine": _hardware(part(attempt.steps["train"], "machine")),
            "iterations": number(attempt.result("train").get("iterations")) or attempt.iteration,
            "energy": attempt.steps["train"].get("energy_joules"),
        }
        for attempt in attempts
    ]
    total = sum(number(a.result("train").get("train_seconds")) or 0 for a in attempts)
    return {"trainings": rows, "trained_seconds": total, "versions": _versions(attempts)}


def _hardware(machine: Mapping[str, Any]) -> str:
    gpu = machine.get("gpu")
    gpus = ", ".join(map(str, gpu)) if isinstance(gpu, list) else text(gpu)
    parts = [gpus, text(machine.get("cpu"))]
    used, cores = number(machine.get("threads")), number(machine.get("cores"))
    if used is not None:
        parts.append(f"{used:.0f} of {cores:.0f} cores" if cores is not None else f"{used:.0f} threads")
    return ", ".join(filter(None, parts)) or "unknown"


def _versions(attempts: Sequence[Attempt]) -> list[str]:
    """Sets of versions, each with all revisions of the code used with it."""
    found: dict[str, dict[str, None]] = {}
    for attempt in attempts:
        names = part(attempt.settings, "versions")
        versions = ", ".join(f"{name} {version}" for name, version in names.items())
        found.setdefault(versions, {})[text(attempt.settings.get("git_revision"))] = None
    lines = []
    for versions, revisions in found.items():
        known = list(filter(None, revisions))
        code = f"revision{'s' * (len(known) > 1)} {', '.join(known)}" if known else ""
        lines.append("; ".join(filter(None, [versions, code])))
    return [f"Made with {line}." for line in lines if line]


def data(results: Results) -> list[dict[str, Any]]:
    """Size and statistics of each data set next to the authors', or why it has none."""
    return [_set(name, record) for name, record in results.data.items()]


def _set(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    result = part(record, "result")
    if not result:
        status = text(record.get("status"))
        message = f": {text(record.get('message'))}" if status == "failed" else ""
        return {"name": name, "reason": status + message}
    splits = [part(result, "splits", split) for split in SPLITS]
    clips = [number(split.get("clips")) for split in splits]
    moments = [number(result.get(key)) for key in ("train_mean", "train_std")]
    found = {
        "name": name,
        "clips": " / ".join("?" if n is None else f"{n:,.0f}" for n in clips),
        "hours": hours(sum(number(split.get("seconds")) or 0 for split in splits)),
        "stride": part(result, "manifest", "options").get("stride_seconds"),
        "moments": ", ".join("" if x is None else f"{x:.4g}" for x in moments),
        "authors": None,
    }
    if name in AUTHORS:
        mean, std, sizes = AUTHORS[name]
        found["authors"] = (" / ".join(f"{n:,}" for n in sizes), f"{mean:.4g}, {std:.4g}")
    return found


def commands(results: Results) -> list[tuple[str, list[str]]]:
    """Command and duration of each step that was started; names such as OUT replace folders."""
    names = {str(results.out.absolute()): "OUT"}
    names |= {folder: name.upper() for name, folder in results.given.items()}
    steps = {f"data: {name}": [record] for name, record in results.data.items()}
    for attempts in results.attempts.values():
        for attempt in attempts:
            title = f"{attempt.experiment}, seed {attempt.seed}"
            steps[title] = [dict(attempt.steps[step]) for step in STEPS if step in attempt.steps]
    return [
        (title, [line for record in own for line in _command(record, names)])
        for title, own in steps.items()
        if own
    ]


def _command(record: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    command = record.get("command")
    shown = shlex.join(map(str, command)) if isinstance(command, list) else "# prepared data set"
    for folder, name in names.items():
        shown = shown.replace(folder, name)
    seconds = number(record.get("seconds"))
    took = f", {format_duration(seconds)}" if seconds is not None else ""
    return [f"# {text(record.get('step'))}: {record['status']}{took}", shown]


def differences(
    known: Sequence[Difference], results: Results, experiments: Mapping[str, Experiment]
) -> list[Difference]:
    """The differences that apply to the started experiments; if there are none, all of the scale."""
    shown = {experiment.name for experiment in experiments.values() if experiment.run in results.attempts}
    scales = {a.planned_scale for found in results.attempts.values() for a in found} or {results.scale}
    names = shown or set(experiments)
    numbers = {d.number for name in names for scale in scales for d in applying(known, name, scale)}
    return [d for d in known if d.number in numbers]
