"""Where runs stand, in words, as a table side by side, as learning curves."""

import math
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

from samplernn_theano.checkpoints.status import Curve, Standing, recent_speed, schedule_done, seconds_left
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.text import duration, table, visible

PLOT_WIDTH, PLOT_HEIGHT = 80, 20


# --- a table ------------------------------------------------------------------------------------------------


def describe(shown: Sequence[Standing]) -> str:
    """What there is to say of runs, and their learning curves, as text; several side by side."""
    if len(shown) == 1:
        (run,) = shown
        facts = {"run": str(run.folder)} | _asked(run) | _facts(run)
        return "\n".join([*table([[k, v] for k, v in facts.items()]), *_advice(run), "", plot(shown)])
    letters = _letters(shown)
    columns = [_differing(run, shown) | _facts(run) for run in shown]
    lines = [visible(f"{letter}  {run.folder}") for letter, run in zip(letters, shown, strict=True)]
    for some in _side_by_side(letters, columns, _width()):
        lines += ["", *some]
    return "\n".join([*lines, "", plot(shown)])


def _advice(run: Standing) -> list[str]:
    """How to go on with a run that was not to end where it did."""
    if not run.saved or not (run.state == "died" or run.state.startswith("stopped")):
        return []
    died = "The process was killed or met an error. " * (run.state == "died")
    return [visible(f"  {died}To go on: samplernn resume {shlex.quote(str(run.folder))}")]


def _side_by_side(
    letters: Sequence[str], columns: Sequence[Mapping[str, str]], width: int
) -> list[list[str]]:
    """Tables of as many columns each as there is room for."""
    names = list(columns[0])
    tables: list[list[str]] = []
    first = 0
    while first < len(columns):
        last = len(columns)
        while True:
            chosen = range(first, last)
            rows = [["", *(letters[i] for i in chosen)]]
            rows += [[name, *(columns[i][name] for i in chosen)] for name in names]
            lines = table(rows)
            if last == first + 1 or max(map(len, lines)) <= width:
                break
            last -= 1
        tables.append(lines)
        first = last
    return tables


def _asked(run: Standing) -> dict[str, str]:
    """What one run is: its model, and where that is not the nearest preset."""
    facts = {"model": run.family or "unknown"}
    if run.hp:
        name, differing = _nearest_preset(run.hp)
        facts["hyper-parameters"] = ", ".join([f"preset {name}", *differing])
    facts |= {name.replace("_", " "): str(value) for name, value in run.options.items()}
    return facts


def _nearest_preset(hp: HyperParameters) -> tuple[str, list[str]]:
    """The preset with the fewest differences, and these. What was measured on the data is none of them."""
    names = [own.name for own in fields(hp) if own.name not in ("mean", "std")]
    differing = {
        name: [f"{n} {getattr(hp, n)}" for n in names if getattr(hp, n) != getattr(preset, n)]
        for name, preset in PRESETS[hp.family].items()
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    return nearest, differing[nearest]


def _differing(run: Standing, others: Sequence[Standing]) -> dict[str, str]:
    """The model of a run, and what it was asked for that not all of them were."""
    every = [_everything(one) for one in others]
    names = dict.fromkeys(name for one in every for name in one)
    mine = _everything(run)
    different = {name for name in names if len({one.get(name, "-") for one in every}) > 1}
    return {"model": run.family or "unknown"} | {n: mine.get(n, "-") for n in names if n in different}


def _everything(run: Standing) -> dict[str, str]:
    options = dict(run.options)
    if "data" in options:
        options["data"] = Path(options["data"]).name
    of_hp = {} if run.hp is None else {own.name: getattr(run.hp, own.name) for own in fields(run.hp)}
    return {name: str(value) for name, value in (of_hp | options).items()}


def _facts(run: Standing) -> dict[str, str]:
    """Where a run stands, in words."""
    last = run.records[-1] if run.records else {}
    epoch = next((r["epoch"] for r in reversed(run.records) if "epoch" in r), None)
    looks = [look for look in run.looks if math.isfinite(look["valid"])]
    best = min(looks, key=lambda look: look["valid"], default=None)
    speed, done = recent_speed(run.records), schedule_done(run)
    facts = {
        "parameters": _or_dash(run.parameters, ","),
        "state": "compiling" if run.state == "running" and not run.records else run.state,
        "iteration": _or_dash(last.get("iteration"), ","),
        "epoch": _or_dash(epoch, ","),
        "training": duration(last["seconds"]) if last else "-",
        "speed": "-" if speed is None else f"{speed:.2f} it/s",
        "schedule": "-" if done is None else f"{100 * done:.0f} %",
        "last valid": _or_dash(run.looks[-1]["valid"] if run.looks else None, ".4f"),
        "best valid": _or_dash(best and best["valid"], ".4f"),
        "test there": _or_dash(best and best.get("test"), ".4f"),
        "at iteration": _or_dash(best and best["iteration"], ","),
        "saved": f"iteration {run.saved['iteration']:,}" if run.saved else "no checkpoint",
    }
    left = seconds_left(run)
    if run.state == "running" and left is not None:
        facts["schedule"] += f", {duration(left)} left"
    return facts


def _or_dash(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


# --- curves -------------------------------------------------------------------------------------------------


def plot(shown: Sequence[Standing]) -> str:
    """Learning curves as text of 80 columns, without colours.

    Of one run the training and the validation costs; of several the validation costs alone (the training
    costs where no run has any), each drawn with its letter.
    """
    if len(shown) == 1:
        curves = {"·": shown[0].train, "o": shown[0].valid}
        title = "· train   o valid   bits per sample over iterations"
    else:
        what = "valid" if any(run.valid for run in shown) else "train"
        curves = {letter: getattr(run, what) for letter, run in zip(_letters(shown), shown, strict=True)}
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
        if curve:
            plotext.plot(*zip(*_thinned(curve), strict=True), marker=marker)
    plotext.xlim(0, longest)
    plotext.ylim(low - margin, high + margin)
    ticks = sorted({round(x) for x in np.linspace(0, longest, 5)})
    plotext.xticks(ticks, [f"{tick:,}" for tick in ticks])
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return "\n".join(["    " + title, *(line.rstrip() for line in lines if line.strip())])


def _thinned(curve: Curve, most: int = PLOT_WIDTH) -> list[tuple[float, float]]:
    """At most so many points: the means of neighbours."""
    parts = np.array_split(np.asarray(curve, np.float64), min(len(curve), most))
    return [tuple(part.mean(axis=0)) for part in parts]


def draw(path: str | Path, shown: Sequence[Standing]) -> None:
    """Draw the learning curves of all runs into one picture (png): thin training, with marks validation.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import, and only pictures need it

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (letter, run) in enumerate(zip(_letters(shown), shown, strict=True)):
        colour, name = f"C{i % 10}", f"{letter}  {_short(run.folder.resolve().name)}"
        if run.train:
            axes.plot(*zip(*run.train, strict=True), lw=0.8, alpha=0.5, color=colour)
        best = f": {min(cost for _, cost in run.valid):.4f}" if run.valid else ""
        points = zip(*run.valid, strict=True) if run.valid else ([], [])
        axes.plot(*points, marker="o", ms=4, color=colour, label=name + best)
    axes.set_xlabel("iterations")
    axes.set_ylabel("NLL (bits per sample)")
    axes.set_title("thin: train, with marks: valid", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


# --- helpers ------------------------------------------------------------------------------------------------


def _letters(shown: Sequence[Standing]) -> list[str]:
    """A letter for each run, from a on; from the 53rd on they are used again."""
    return [string.ascii_letters[i % 52] for i in range(len(shown))]


def _short(name: str) -> str:
    return name if len(name) <= 44 else f"{name[:16]}…{name[-27:]}"


def _width() -> int:
    """Columns of the terminal; 80 where the output goes elsewhere."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
