"""The report's sections on machines, data, commands and differences from the paper."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction.differences import Difference, applying
from samplernn_theano.reproduction.document import (
    Block,
    Commands,
    Entry,
    Heading,
    Items,
    Paragraph,
    Span,
    Table,
    line,
)
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.records import PAPER, STEPS, Attempt, Results, number, part, text
from samplernn_theano.utils.text import format_duration

# --- machines -----------------------------------------------------------------------------------------------


def machines(results: Results) -> list[Block]:
    """Hardware, duration, iterations and versions of each training."""
    attempts = [
        attempt for found in results.attempts.values() for attempt in found if "train" in attempt.steps
    ]
    if not attempts:
        return [Paragraph(line("No model has been trained yet."))]
    head = ["run", "state", "machine", "training", "iterations", "s per iteration", "parameters", "energy"]
    rows: list[list[Entry]] = [[[line(text)] for text in _machine(attempt)] for attempt in attempts]
    for row, attempt in zip(rows, attempts, strict=True):
        scale = Span(attempt.scale or "scale unknown", "badge" if attempt.scale != PAPER else "")
        row[0] = [line(attempt.experiment), line(f"seed {attempt.seed} ", scale)]
    total = sum(number(a.result("train").get("train_seconds")) or 0 for a in attempts)
    blocks: list[Block] = [
        Table("Trainings", [[line(name)] for name in head], rows),
        Paragraph(line(f"{format_duration(total)} of training in total.")),
    ]
    if versions := _versions(attempts):
        blocks.append(Items([line(f"Made with {version}.") for version in versions]))
    return blocks


def _machine(attempt: Attempt) -> list[str]:
    """A row of the table, its first column empty."""
    record = attempt.steps["train"]
    result = attempt.result("train")
    seconds, energy = number(result.get("train_seconds")), number(record.get("energy_joules"))
    epochs = number(result.get("epochs"))
    iterations = number(result.get("iterations")) or attempt.iteration
    return [
        "",
        attempt.status("train"),
        _hardware(part(record, "machine")),
        "" if seconds is None else format_duration(seconds),
        f"{iterations:,.0f}" + ("" if epochs is None else f" (epoch {epochs:,.0f})"),
        _figure(result.get("seconds_per_iteration"), ".3g"),
        _figure(result.get("parameters"), ",.0f"),
        "not measured" if energy is None else f"{energy / 3.6e6:.3g} kWh",
    ]


def _hardware(machine: Mapping[str, Any]) -> str:
    gpu = machine.get("gpu")
    gpus = ", ".join(map(str, gpu)) if isinstance(gpu, list) else text(gpu)
    parts = [gpus, text(machine.get("cpu"))]
    used, cores = number(machine.get("threads")), number(machine.get("cores"))
    if used is not None:
        parts.append(f"{used:.0f} of {cores:.0f} cores" if cores is not None else f"{used:.0f} threads")
    return ", ".join(filter(None, parts)) or "unknown"


def _figure(value: Any, form: str) -> str:
    found = number(value)
    return "" if found is None else format(found, form)


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
    return list(filter(None, lines))


# --- data ---------------------------------------------------------------------------------------------------


def data(results: Results, substitutes: Mapping[str, str]) -> list[Block]:
    """Size and statistics of each data set next to the authors'.

    Parameters
    ----------
    substitutes : mapping of a set's name to a description of the data that replace the paper's
    """
    if not results.data:
        return [Paragraph(line("No data set has been made yet."))]
    head = ["set", "clips: train, valid, test", "sound", "stride", "train: mean, standard deviation"]
    rows: list[list[Entry]] = [
        [
            [line(name), *([line(Span(f"substitute: {about}", "badge"))] if about else [])],
            *_set(name, record),
        ]
        for name, record in results.data.items()
        for about in [substitutes.get(name)]
    ]
    return [Table("Data sets; grey: the authors'", [[line(title)] for title in head], rows)]


def _set(name: str, record: Mapping[str, Any]) -> list[Entry]:
    result = part(record, "result")
    if not result:
        status = text(record.get("status"))
        reason = f"{status}: {text(record.get('message'))}" if status == "failed" else status
        return [[line(Span(reason, "bad" if status == "failed" else ""))], *([[line("")]] * 3)]
    splits = [part(result, "splits", split) for split in SPLITS]
    clips = " / ".join(_figure(split.get("clips"), ",.0f") or "?" for split in splits)
    seconds = sum(number(split.get("seconds")) or 0 for split in splits)
    stride = _figure(part(result, "manifest", "options").get("stride_seconds"), "g")
    moments = [_figure(result.get(key), ".4g") for key in ("train_mean", "train_std")]
    authors = AUTHORS.get(name)
    their_clips = [] if authors is None else [line(Span(" / ".join(f"{n:,}" for n in authors[2]), "quiet"))]
    their_moments = [] if authors is None else [line(Span(f"{authors[0]:.4g}, {authors[1]:.4g}", "quiet"))]
    return [
        [line(clips), *their_clips],
        [line(hours(seconds))],
        [line(f"{stride} s" if stride else "unknown")],
        [line(", ".join(moments)), *their_moments],
    ]


# --- commands -----------------------------------------------------------------------------------------------


def commands(results: Results) -> list[Block]:
    """Command and duration of each step that was started; names such as OUT replace folders."""
    names = {str(results.out.absolute()): "OUT"}
    names |= {folder: name.upper() for name, folder in results.given.items()}
    blocks: list[Block] = []
    for name, record in results.data.items():
        blocks += _command(f"data: {name}", [record], names)
    for attempts in results.attempts.values():
        for attempt in attempts:
            records = [attempt.steps[step] for step in STEPS if step in attempt.steps]
            blocks += _command(f"{attempt.experiment}, seed {attempt.seed}", records, names)
    return blocks or [Paragraph(line("No step has been run yet."))]


def _command(title: str, records: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> list[Block]:
    lines: list[str] = []
    for record in records:
        command = record.get("command")
        shown = shlex.join(map(str, command)) if isinstance(command, list) else "# prepared data set"
        for folder, name in names.items():
            shown = shown.replace(folder, name)
        seconds = number(record.get("seconds"))
        took = f", {format_duration(seconds)}" if seconds is not None else ""
        lines += [f"# {text(record.get('step'))}: {record['status']}{took}", shown]
    return [Commands(title, lines)] if lines else []


# --- differences -------------------------------------------------------------------------------------------


def differences(
    known: Sequence[Difference], results: Results, experiments: Mapping[str, Experiment]
) -> list[Block]:
    """The differences that apply to the started experiments; if there are none, all of the scale."""
    shown = {experiment.name for experiment in experiments.values() if experiment.run in results.attempts}
    scales = {a.planned_scale for found in results.attempts.values() for a in found} or {results.scale}
    names = shown or set(experiments)
    numbers = {d.number for name in names for scale in scales for d in applying(known, name, scale)}
    chosen = [d for d in known if d.number in numbers]
    if not chosen:
        return [Paragraph(line("None."))]
    origins = {"original": "the same in the authors' code", "ours": "ours only"}
    items = [
        line(
            Span(f"{d.number}. {d.title}.", "strong"),
            " ",
            *_with_code(d.text),
            " ",
            Span(f"({origins[d.origin]})", "quiet"),
        )
        for d in chosen
    ]
    return [Items(items, [f"difference-{d.number}" for d in chosen])]


def _with_code(markdown: str) -> list[Span]:
    """Spans of text and of code, which is between backticks."""
    return [Span(part, "code" if i % 2 else "") for i, part in enumerate(markdown.strip().split("`"))]


def heading(title: str, blocks: Sequence[Block]) -> list[Block]:
    """A section of the report."""
    return [Heading(2, title), *blocks]
