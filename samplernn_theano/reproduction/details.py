"""The parts of the report that say how the numbers were made: machines, data, commands, deviations."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction.cells import Cell
from samplernn_theano.reproduction.deviations import Deviation, applying
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
from samplernn_theano.reproduction.results import PAPER, STEPS, Attempt, Results, number, part, text
from samplernn_theano.utils.text import duration

# --- machines -----------------------------------------------------------------------------------------------


def machines(results: Results) -> list[Block]:
    """What each training ran on, how long, how far; with which versions."""
    attempts = [
        attempt for found in results.attempts.values() for attempt in found if "train" in attempt.steps
    ]
    if not attempts:
        return [Paragraph(line("No model has been trained yet."))]
    head = ["run", "state", "machine", "training", "iterations", "s per iteration", "parameters", "energy"]
    rows: list[list[Entry]] = [[[line(word)] for word in _machine(attempt)] for attempt in attempts]
    for row, attempt in zip(rows, attempts, strict=True):
        scale = Span(attempt.scale or "scale unknown", "mark" if attempt.scale != PAPER else "")
        row[0] = [line(attempt.cell), line(f"seed {attempt.seed} ", scale)]
    total = sum(number(a.result("train").get("train_seconds")) or 0 for a in attempts)
    told: list[Block] = [
        Table("Trainings", [[line(name)] for name in head], rows),
        Paragraph(line(f"{duration(total)} of training in all.")),
    ]
    if versions := _versions(attempts):
        told.append(Items([line(f"Made with {version}.") for version in versions]))
    return told


def _machine(attempt: Attempt) -> list[str]:
    """A row of the table; its first column is put in by the caller."""
    record = attempt.steps["train"]
    result = attempt.result("train")
    seconds, energy = number(result.get("train_seconds")), number(record.get("energy_joules"))
    epochs = number(result.get("epochs"))
    iterations = number(result.get("iterations")) or attempt.iteration
    return [
        "",
        attempt.status("train"),
        _hardware(part(record, "machine")),
        "" if seconds is None else duration(seconds),
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
    """The versions, each with all revisions of the code that were run with them."""
    found: dict[str, dict[str, None]] = {}
    for attempt in attempts:
        names = part(attempt.settings, "versions")
        told = ", ".join(f"{name} {version}" for name, version in names.items())
        found.setdefault(told, {})[text(attempt.settings.get("git_revision"))] = None
    lines = []
    for told, revisions in found.items():
        known = list(filter(None, revisions))
        code = f"revision{'s' * (len(known) > 1)} {', '.join(known)}" if known else ""
        lines.append("; ".join(filter(None, [told, code])))
    return list(filter(None, lines))


# --- data ---------------------------------------------------------------------------------------------------


def data(results: Results, where: Mapping[str, str]) -> list[Block]:
    """The size and the statistics of each set, beside the authors'.

    Parameters
    ----------
    where : mapping of a set's name to what stands in for the paper's, in words
    """
    if not results.data:
        return [Paragraph(line("No data set has been made yet."))]
    head = ["set", "clips: train, valid, test", "sound", "stride", "train: mean, standard deviation"]
    rows: list[list[Entry]] = [
        [
            [line(name), *([line(Span(f"stand-in: {where[name]}", "mark"))] if where.get(name) else [])],
            *_set(name, record),
        ]
        for name, record in results.data.items()
    ]
    return [Table("Data sets; grey: the authors'", [[line(title)] for title in head], rows)]


def _set(name: str, record: Mapping[str, Any]) -> list[Entry]:
    result = part(record, "result")
    if not result:
        status = text(record.get("status"))
        why = f"{status}: {text(record.get('message'))}" if status == "failed" else status
        return [[line(Span(why, "bad" if status == "failed" else ""))], *([[line("")]] * 3)]
    splits = [part(result, "splits", split) for split in SPLITS]
    clips = " / ".join(_figure(split.get("clips"), ",.0f") or "?" for split in splits)
    seconds = sum(number(split.get("seconds")) or 0 for split in splits)
    stride = _figure(part(result, "manifest", "options").get("stride_seconds"), "g")
    moments = [_figure(result.get(key), ".4g") for key in ("train_mean", "train_std")]
    theirs = AUTHORS.get(name)
    beside = [] if theirs is None else [line(Span(" / ".join(f"{n:,}" for n in theirs[2]), "quiet"))]
    spread = [] if theirs is None else [line(Span(f"{theirs[0]:.4g}, {theirs[1]:.4g}", "quiet"))]
    return [
        [line(clips), *beside],
        [line(hours(seconds))],
        [line(f"{stride} s" if stride else "not said")],
        [line(", ".join(moments)), *spread],
    ]


# --- commands -----------------------------------------------------------------------------------------------


def commands(results: Results) -> list[Block]:
    """The command of each step that was begun, and how long it took; OUT and the like stand for folders."""
    names = {str(results.out.absolute()): "OUT"}
    names |= {folder: name.upper() for name, folder in results.given.items()}
    told: list[Block] = []
    for name, record in results.data.items():
        told += _command(f"data: {name}", [record], names)
    for attempts in results.attempts.values():
        for attempt in attempts:
            records = [attempt.steps[step] for step in STEPS if step in attempt.steps]
            told += _command(f"{attempt.cell}, seed {attempt.seed}", records, names)
    return told or [Paragraph(line("No step has been run yet."))]


def _command(title: str, records: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> list[Block]:
    lines: list[str] = []
    for record in records:
        words = record.get("command")
        shown = shlex.join(map(str, words)) if isinstance(words, list) else "# used as it was given"
        for folder, name in names.items():
            shown = shown.replace(folder, name)
        seconds = number(record.get("seconds"))
        took = f", {duration(seconds)}" if seconds is not None else ""
        lines += [f"# {text(record.get('step'))}: {record['status']}{took}", shown]
    return [Commands(title, lines)] if lines else []


# --- deviations ---------------------------------------------------------------------------------------------


def deviations(known: Sequence[Deviation], results: Results, cells: Mapping[str, Cell]) -> list[Block]:
    """Those that concern a cell that was begun; if none was, all of the scale."""
    begun = [(name, {a.planned_scale for a in found}) for name, found in results.attempts.items()]
    shown = {cell.name for cell in cells.values() if any(cell.run == name for name, _ in begun)}
    scales = {scale for _, of_cell in begun for scale in of_cell} or {results.scale}
    names = shown or set(cells)
    numbers = {d.number for name in names for scale in scales for d in applying(known, name, scale)}
    chosen = [d for d in known if d.number in numbers]
    if not chosen:
        return [Paragraph(line("None of the list applies."))]
    whose = {"original": "the authors' code does so, and ours", "ours": "ours"}
    items = [
        line(
            Span(f"{d.number}. {d.title}.", "strong"),
            " ",
            *_with_code(d.text),
            " ",
            Span(f"({whose[d.whose]})", "quiet"),
        )
        for d in chosen
    ]
    return [Items(items, [f"deviation-{d.number}" for d in chosen])]


def _with_code(words: str) -> list[Span]:
    """What stands between backticks is code."""
    return [Span(piece, "code" if i % 2 else "") for i, piece in enumerate(words.strip().split("`"))]


def heading(title: str, blocks: Sequence[Block]) -> list[Block]:
    """A section."""
    return [Heading(2, title), *blocks]
