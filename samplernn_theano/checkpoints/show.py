"""Text and plots of the status of runs: a table, side by side, and learning curves."""

import shlex
import shutil
import string
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import plotext

from samplernn_theano.checkpoints.status import RunStatus, recent_speed, schedule_done, seconds_left
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.config.schedule import best_of
from samplernn_theano.utils.plotting import new_figure, save_figure
from samplernn_theano.utils.text import escape_control_characters, format_duration, format_table

PLOT_WIDTH, PLOT_HEIGHT = 80, 20


def describe(runs: Sequence[RunStatus]) -> str:
    """Status and learning curves of runs as text; several side by side."""
    if len(runs) == 1:
        (run,) = runs
        table = format_table([[name, value] for name, value in facts(run).items()])
        return "\n".join([*table, *_advice(run), "", plot(runs)])
    letters, columns = _letters(runs), [_differing(run, runs) | _facts(run) for run in runs]
    named = zip(letters, runs, strict=True)
    lines = [escape_control_characters(f"{letter}  {run.folder}") for letter, run in named]
    for table in _side_by_side(letters, columns):
        lines += ["", *table]
    return "\n".join([*lines, "", plot(runs)])


def facts(run: RunStatus) -> dict[str, str]:
    """Settings and status of a run, as text."""
    return {"run": str(run.folder)} | _arguments(run) | _facts(run)


def _advice(run: RunStatus) -> list[str]:
    if not run.checkpoint_progress or not (run.state == "crashed" or run.state.startswith("stopped")):
        return []
    crashed = "The process was killed or failed. " * (run.state == "crashed")
    command = f"samplernn resume {shlex.quote(str(run.folder))}"
    return [escape_control_characters(f"  {crashed}To resume: {command}")]


def _side_by_side(letters: Sequence[str], columns: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Tables with as many columns each as fit in the terminal (in 80 columns if the output is none)."""
    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80

    def table(runs: Sequence[int]) -> list[str]:
        head = ["", *(letters[i] for i in runs)]
        return format_table([head, *([name, *(columns[i][name] for i in runs)] for name in columns[0])])

    tables: list[list[str]] = []
    chosen: list[int] = []
    for i in range(len(columns)):
        if chosen and max(map(len, table([*chosen, i]))) > width:
            tables.append(table(chosen))
            chosen = []
        chosen.append(i)
    return [*tables, table(chosen)]


def _arguments(run: RunStatus) -> dict[str, str]:
    """Model, differences from the nearest preset, and other arguments of a run."""
    facts, hp = {"model": run.family or "unknown"}, run.hp
    if hp:  # statistics of the data are not compared
        own = {o.name: getattr(hp, o.name) for o in fields(hp) if o.name not in ("mean", "std")}
        texts = [
            [f"preset {name}", *(f"{n} {value}" for n, value in own.items() if value != getattr(preset, n))]
            for name, preset in PRESETS[hp.family].items()
        ]
        nearest = min(texts, key=len)
        facts["hyper-parameters"] = ", ".join(nearest)
    return facts | {name.replace("_", " "): str(value) for name, value in run.options.items()}


def _differing(run: RunStatus, others: Sequence[RunStatus]) -> dict[str, str]:
    """Model of a run, and its arguments that are not the same in all runs."""
    own, every = _all_arguments(run), [_all_arguments(one) for one in others]
    names = dict.fromkeys(name for one in every for name in one)
    different = [name for name in names if len({one.get(name, "-") for one in every}) > 1]
    return {"model": run.family or "unknown"} | {name: own.get(name, "-") for name in different}


def _all_arguments(run: RunStatus) -> dict[str, str]:
    options = dict(run.options)
    if "data" in options:
        options["data"] = Path(options["data"]).name
    of_hp = {} if run.hp is None else {own.name: getattr(run.hp, own.name) for own in fields(run.hp)}
    return {name: str(value) for name, value in (of_hp | options).items()}


def _facts(run: RunStatus) -> dict[str, str]:
    last = run.records[-1] if run.records else {}
    epoch = next((r["epoch"] for r in reversed(run.records) if "epoch" in r), None)
    best = best_of(run.evaluations, lambda record: record["valid"])
    speed, done, saved = recent_speed(run.records), schedule_done(run), run.checkpoint_progress
    facts = {
        "parameters": _or_dash(run.n_parameters, ","),
        "state": "compiling" if run.state == "running" and not run.records else run.state,
        "iteration": _or_dash(last.get("iteration"), ","),
        "epoch": _or_dash(epoch, ","),
        "training": format_duration(last["seconds"]) if last else "-",
        "speed": "-" if speed is None else f"{speed:.2f} it/s",
        "schedule": "-" if done is None else f"{100 * done:.0f} %",
        "last valid": _or_dash(run.evaluations[-1]["valid"] if run.evaluations else None, ".4f"),
        "best valid": _or_dash(best and best["valid"], ".4f"),
        "test at best": _or_dash(best and best.get("test"), ".4f"),
        "best iteration": _or_dash(best and best["iteration"], ","),
        "checkpoint": f"iteration {saved['iteration']:,}" if saved else "none",
    }
    left = seconds_left(run)
    if run.state == "running" and left is not None:
        facts["schedule"] += f", {format_duration(left)} left"
    return facts


def _or_dash(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def plot(runs: Sequence[RunStatus]) -> str:
    """Learning curves as text of 80 columns; of several runs the validation costs, drawn with letters."""
    if len(runs) == 1:
        curves = {"·": runs[0].train, "o": runs[0].valid}
        title = "· train   o valid   bits per sample over iterations"
    else:
        what = "valid" if any(run.valid for run in runs) else "train"
        curves = {letter: getattr(run, what) for letter, run in zip(_letters(runs), runs, strict=True)}
        title = f"{what}, bits per sample over iterations"
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return "  No costs yet."
    longest = max(max(iteration for iteration, _ in points), 1)
    low, high = min(cost for _, cost in points), max(cost for _, cost in points)
    margin = 0.05 * (high - low) or 0.5
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(PLOT_WIDTH, PLOT_HEIGHT)
    for marker, curve in curves.items():
        if curve:  # the means of neighbours
            parts = np.array_split(np.asarray(curve, np.float64), min(len(curve), PLOT_WIDTH))
            plotext.plot(*zip(*(part.mean(axis=0) for part in parts), strict=True), marker=marker)
    plotext.xlim(0, longest)
    plotext.ylim(low - margin, high + margin)
    ticks = sorted({round(x) for x in np.linspace(0, longest, 5)})
    plotext.xticks(ticks, [f"{tick:,}" for tick in ticks])
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return "\n".join(["    " + title, *(line.rstrip() for line in lines if line.strip())])


def draw(path: str | Path, runs: Sequence[RunStatus]) -> None:
    """Plot the learning curves of all runs into one file (png): training thin, validation with markers."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for i, (letter, run) in enumerate(zip(_letters(runs), runs, strict=True)):
        name = run.folder.resolve().name
        label = f"{letter}  {name if len(name) <= 44 else f'{name[:16]}…{name[-27:]}'}"
        if run.train:
            axes.plot(*zip(*run.train, strict=True), lw=0.8, alpha=0.5, color=f"C{i % 10}")
        if run.valid:
            label += f": {min(cost for _, cost in run.valid):.4f}"
        points = zip(*run.valid, strict=True) if run.valid else ([], [])
        axes.plot(*points, marker="o", ms=4, color=f"C{i % 10}", label=label)
    axes.set_xlabel("iterations")
    axes.set_ylabel("NLL (bits per sample)")
    axes.set_title("thin: train, with markers: valid", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(path, figure)


def _letters(runs: Sequence[RunStatus]) -> list[str]:
    """A letter for each run, from a; repeated from the 53rd run."""
    return [string.ascii_letters[i % 52] for i in range(len(runs))]
