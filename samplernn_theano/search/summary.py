"""Results of a hyper-parameter search as CSV, Markdown and a figure."""

import csv
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.search.search_space import Range, Value
from samplernn_theano.utils.files import atomic_write, write_text

FEWEST_FOR_IMPORTANCE = 50
"""Minimum number of finished trials for importances, which compare the best tenth with all."""

LONGER = 10
"""Length of the proposed further training, as a multiple of a trial's."""


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes
    ----------
    number : int
    state : {"done", "running", "interrupted", "failed"}
    valid : float or None
        Best validation NLL in bits per sample.
    drawn, values : mapping
        The drawn numbers, as Optuna stores them, and the resulting values.
    attributes : mapping
        minutes, iterations, parameters, best_iteration, message, as far as known.
    command : str
        The command that repeats the training.
    """

    number: int
    state: str
    valid: float | None
    drawn: Mapping[str, Any]
    values: Mapping[str, Value]
    attributes: Mapping[str, Any]
    command: str


@dataclass(frozen=True)
class Facts:
    """Settings that all trials have in common."""

    family: str
    preset: str
    fixed: str
    ranges: Sequence[Range]
    seed: int
    trials: int
    limit: Sequence[str]
    importances: Mapping[str, float]


def result(run: run_folder.Run) -> dict[str, Any]:
    """Results from the log of a run: valid (bits per sample, None without evaluation), minutes, ..."""
    log = run_folder.read_log(run)
    evaluations = [record for record in log if record["event"] == "monitor"]
    best = min(evaluations, key=lambda record: record["valid"], default=None)
    found = {
        "valid": best["valid"] if best else None,
        "best_iteration": best["iteration"] if best else None,
        "iterations": max((record.get("iteration", 0) for record in log), default=0),
        "minutes": max((record.get("seconds", 0.0) for record in log), default=0.0) / 60,
    }
    parameters = [record["parameters"] for record in log if "parameters" in record]
    return found | ({"parameters": parameters[-1]} if parameters else {})


def importances(study: optuna.Study) -> dict[str, float]:
    """Optuna's importance of each drawn number (PED-ANOVA); empty with too few trials."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in done}) == 1:
        return {}
    evaluator = PedAnovaImportanceEvaluator()  # Optuna's others need scikit-learn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about their precision
        return get_param_importances(study, evaluator=evaluator)


# --- in the terminal ----------------------------------------------------------------------------------------


def line(number: int, rows: Sequence[Row]) -> str:
    """One line for a finished trial."""
    row = next(row for row in rows if row.number == number)
    values = "  ".join(f"{name} {_short(value)}" for name, value in row.values.items())
    if row.valid is None:
        return f"trial {number}  failed: {row.attributes.get('message')}  ({values})"
    best = rows[0]
    rank = "best so far" if best is row else f"best: {best.valid:.4f} of trial {best.number}"
    return f"trial {number}  {row.valid:.4f} bits per sample ({rank})  {_minutes(row)} min  {values}"


def final_message(folder: Path, rows: Sequence[Row], limit: Sequence[str]) -> str:
    """Number of trials, the best one, and the commands to train it further or again."""
    lines = [f"{_counts(rows)}. Tables and figure are in {folder}"]
    if rows and rows[0].valid is not None:
        lines += [
            f"The best is trial {rows[0].number}: {rows[0].valid:.4f} bits per sample on the validation set.",
            f"To train it further: {_further(folder, rows[0], limit)}",
            f"To train it again: {rows[0].command}",
        ]
    return "\n".join(lines)


def _counts(rows: Sequence[Row]) -> str:
    states = [row.state for row in rows]
    counts = [f"{states.count(s)} {s}" for s in ("done", "failed", "running", "interrupted") if s in states]
    return "Trials: " + (", ".join(counts) or "none")


def _further(folder: Path, row: Row, limit: Sequence[str]) -> str:
    flag, length = limit
    return shlex.join(
        [
            "samplernn",
            "resume",
            str(folder / f"trial-{row.number:03d}"),
            flag,
            f"{LONGER * float(length):.10g}",
        ]
    )


# --- the files ----------------------------------------------------------------------------------------------


def write(folder: Path, rows: Sequence[Row], facts: Facts) -> None:
    """Write trials.csv, trials.md and search.png.

    Parameters
    ----------
    rows : sequence of Row
        The best first.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    _write_csv(folder / "trials.csv", rows, facts)
    write_text(folder / "trials.md", markdown(folder, rows, facts))
    draw(folder / "search.png", rows, facts)


def _write_csv(path: Path, rows: Sequence[Row], facts: Facts) -> None:
    measured = ["minutes", "iterations", "best_iteration", "parameters"]
    names = [one.name for one in facts.ranges]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "valid_bits_per_sample", *measured, *names, "message", "command"])
        for row in rows:
            known = [row.attributes.get(name) for name in measured]
            values = [row.values.get(name) for name in names]
            message = row.attributes.get("message")
            writer.writerow([row.number, row.state, row.valid, *known, *values, message, row.command])


def markdown(folder: Path, rows: Sequence[Row], facts: Facts) -> str:
    """The results as Markdown."""
    names = [one.name for one in facts.ranges]
    head = ["trial", "valid", "state", "minutes", "iterations", "parameters", *names]
    lines = [
        f"# Random search: {facts.family}",
        "",
        f"{facts.trials} trials, each trained with `{shlex.join(facts.limit)}` from the preset {facts.preset}"
        + (f", with `{facts.fixed}`" if facts.fixed else "")
        + f"; the values were drawn with seed {facts.seed}. valid is the best validation NLL in bits per "
        "sample, of one training each: small differences may be chance. Minutes depend on the machine.",
        "",
        f"{_counts(rows)}.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
        *("| " + " | ".join(_cells(row, names)) + " |" for row in rows),
    ]
    if failed := [row for row in rows if row.state == "failed"]:
        lines += ["", "## Failed trials", ""]
        lines += [f"- trial {row.number}: {row.attributes.get('message')}" for row in failed]
    if rows and rows[0].valid is not None:
        lines += ["", f"## The best: trial {rows[0].number}", "", "To train it further:", ""]
        lines += [f"    {_further(folder, rows[0], facts.limit)}", "", "To train it again:", ""]
        lines += [f"    {rows[0].command}"]
    return "\n".join(lines) + "\n"


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    valid = "" if row.valid is None else f"{row.valid:.4f}"
    known = [
        f"{row.attributes[name]:,}" if name in row.attributes else "" for name in ("iterations", "parameters")
    ]
    values = [_short(row.values[name]) if name in row.values else "" for name in names]
    return [str(row.number), valid, row.state, _minutes(row), *known, *values]


def _minutes(row: Row) -> str:
    return f"{row.attributes['minutes']:.1f}" if "minutes" in row.attributes else ""


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# --- figure -------------------------------------------------------------------------------------------------


def draw(path: Path, rows: Sequence[Row], facts: Facts) -> None:
    """Draw the NLL of each trial, the best so far, and the NLL against each hyper-parameter."""
    columns = min(3, 1 + len(facts.ranges))
    n_rows = -(-(1 + len(facts.ranges)) // columns)
    figure = Figure(figsize=(4 * columns, 3 * n_rows), layout="constrained")
    first, *panels = figure.subplots(n_rows, columns, squeeze=False).flat
    done = sorted((row for row in rows if row.valid is not None), key=lambda row: row.number)
    _draw_best_so_far(first, done)
    for panel, one in zip(panels, facts.ranges, strict=False):
        _draw_against(panel, done, one)
        share = facts.importances.get(one.label)
        drawn = f" of {one.label}" if one.times else ""
        importance = "" if share is None else f" (importance{drawn} {share:.2f})"
        panel.set_title(f"{one.name}{importance}", fontsize=9)
    for panel in panels[len(facts.ranges) :]:
        panel.set_axis_off()
    for axes in [first, *panels]:
        axes.grid(alpha=0.3)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("valid NLL (bits per sample)")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_best_so_far(axes: Axes, done: Sequence[Row]) -> None:
    numbers = [row.number for row in done]
    costs = [row.valid for row in done if row.valid is not None]
    axes.plot(numbers, costs, "o", ms=4, label="trial")
    axes.step(
        numbers, [min(costs[: i + 1]) for i in range(len(costs))], where="post", lw=1, label="best so far"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("trials", fontsize=9)
    if done:
        axes.legend(fontsize=7)


def _draw_against(axes: Axes, done: Sequence[Row], one: Range) -> None:
    points = [
        (row.values[one.name], row.valid) for row in done if row.valid is not None and one.name in row.values
    ]
    if one.choices:
        taken = {value for value, _ in points}
        names = list(one.choices) if not one.times else sorted(taken)
        axes.plot([names.index(value) for value, _ in points], [cost for _, cost in points], "o", ms=4)
        axes.set_xticks(range(len(names)), [str(name) for name in names], fontsize=8)
        axes.set_xlim(-0.5, max(1, len(names)) - 0.5)
        return
    axes.plot([value for value, _ in points], [cost for _, cost in points], "o", ms=4)
    if one.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if not one.times:
        axes.set_xlim(one.low, one.high)
    axes.margins(x=0.05)
