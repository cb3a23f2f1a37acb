"""Pictures of the report: tables with error bars, learning curves, retention, waveforms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.image
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from samplernn_theano.errors import SampleRNNError
from samplernn_theano.reproduction import figures
from samplernn_theano.utils.plotting import save_figure

if TYPE_CHECKING:
    from samplernn_theano.reproduction.equal_budgets import Column
    from samplernn_theano.reproduction.records import Attempt
    from samplernn_theano.reproduction.tables import Filled

# Okabe and Ito's colour-blind-safe palette.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vP*"
OURS: dict[str, Any] = {"color": COLOURS[0], "ms": 5, "capsize": 3}
PUBLISHED = "#8a8a8a"
WIDTH, DOTS = 5.2, 150  # inches, per inch: letters stay readable on a phone


class Picture(NamedTuple):
    """An image file in the report's folder, its description, and its size in pixels."""

    file: str
    alt: str
    width: int
    height: int


def table(folder: Path, filled: "Filled") -> Picture:
    """Draw our scores (with standard errors) and the published ones: a panel per column, a line per model.

    Table 3 is drawn over its lengths.
    """
    path = folder / "pictures" / f"{filled.layout.name}.png"
    if filled.layout.name == "table3":
        return _lengths(path, filled)
    columns = filled.layout.columns
    heights = 0.7 + 0.3 * len(filled.rows)
    figure = Figure(figsize=(WIDTH, heights * len(columns) + 0.6), layout="constrained")
    panels = figure.subplots(len(columns), squeeze=False, sharex=len({c.unit for c in columns}) == 1)[:, 0]
    for i, (axes, column) in enumerate(zip(panels, columns, strict=True)):
        scores = [row[i] for _, row in filled.rows]
        for y, score in enumerate(scores):
            if score.published is not None:
                axes.plot(score.published, y, "D", color=PUBLISHED, ms=6, label="published")
            if score.value is not None:
                label = f"ours ({score.badge})" if score.badge else "ours"
                axes.errorbar(score.value, y, xerr=score.error, fmt="o", label=label, **OURS)
        axes.set_yticks(range(len(scores)), [score.title for score in scores], fontsize=9)
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_title(column.title, fontsize=10, loc="left")
        axes.grid(axis="x", alpha=0.3)
        if i == len(columns) - 1 or columns[i + 1].unit != column.unit:
            axes.set_xlabel(f"NLL ({column.unit})")
    shown: dict[str, Artist] = {}
    for axes in panels:
        shown |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=2, fontsize=9)
    return _save(path, figure, f"{filled.layout.title}: ours and the published numbers as points")


def _lengths(path: Path, filled: "Filled") -> Picture:
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    lengths = [int(column.title) for column in filled.layout.columns]
    scores = list(zip(lengths, filled.rows[0][1], strict=True))
    theirs = [(x, score.published) for x, score in scores if score.published is not None]
    axes.plot(*zip(*theirs, strict=True), "D--", color=PUBLISHED, ms=6, label="published")
    ours = [(x, score.value, score.error or 0) for x, score in scores if score.value is not None]
    if ours:
        badges = dict.fromkeys(score.badge for score in filled.shown if score.badge)
        x, values, errors = zip(*ours, strict=True)
        label = f"ours ({', '.join(badges)})" if badges else "ours"
        axes.errorbar(x, values, yerr=errors, fmt="o-", label=label, **OURS)
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [f"{x} {score.mark}".strip() for x, score in scores])
    axes.minorticks_off()
    axes.set(xlabel="length of the subsequences (samples)", ylabel="validation NLL\n(bits per sample)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return _save(path, figure, "Table 3: validation NLL over the length of subsequences, ours and published")


def curves(path: Path, title: str, runs: "Mapping[str, Sequence[Attempt]]") -> Picture | None:
    """Draw the validation NLL of attempts, by title of the model; None without evaluations."""
    evaluated = {name: [a for a in attempts if a.evaluations] for name, attempts in runs.items()}
    if not any(evaluated.values()):
        return None
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    over_time, over_iterations = figure.subplots(2)
    for i, (name, attempts) in enumerate(evaluated.items()):
        style = {"marker": MARKERS[i % 7], "color": COLOURS[i % 7], "ms": 3.5, "lw": 1.2}
        for j, attempt in enumerate(attempts):
            label = f"{name} ({attempt.scale or 'scale unknown'})" if j == 0 else None
            entries = attempt.evaluations
            valid = [entry["valid"] for entry in entries]
            over_time.plot([entry["seconds"] / 60 for entry in entries], valid, label=label, **style)
            over_iterations.plot([entry["iteration"] for entry in entries], valid, **style)
    over_iterations.xaxis.set_major_formatter("{x:,.0f}")
    for axes, label in ((over_time, "minutes of training"), (over_iterations, "iterations")):
        axes.set(xlabel=label, ylabel="validation NLL\n(bits per sample)")
        axes.grid(alpha=0.3)
    over_time.legend(fontsize=8)
    over_time.set_title(title, fontsize=10, loc="left")
    return _save(path, figure, f"{title}: validation NLL over minutes of training and over iterations")


def equal_budgets(folder: Path, column: "Column") -> Picture:
    """Draw the test NLL of the models of a column over updates and over time, and where they are compared."""
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    over_updates, over_time = figure.subplots(2)
    for i, one in enumerate(column.models):
        style = {"marker": MARKERS[i % 7], "color": COLOURS[i % 7], "ms": 3.5, "lw": 1.2}
        updates, scores = zip(*one.curve(), strict=True)
        over_updates.plot(updates, scores, label=one.score.title, **style)
        over_time.plot([one.seconds(n) / 60 for n in updates], scores, **style)
    over_updates.set_xscale("log")
    over_updates.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    over_updates.xaxis.set_major_formatter("{x:,.0f}")
    over_updates.minorticks_off()
    if column.updates:
        over_updates.axvline(column.updates.models[0].updates or 0, color="black", ls="--", lw=1)
    if column.time:
        marks = [(model.minutes, model.mean) for model in column.time.models]
        over_time.plot(*zip(*marks, strict=True), "o", ms=9, mfc="none", color="black", label="equal time")
        over_time.legend(fontsize=8)
    for axes, label in ((over_updates, "updates"), (over_time, "minutes on a core of its own")):
        axes.set(xlabel=label, ylabel=f"test NLL\n({column.unit})")
        axes.grid(alpha=0.3)
    over_updates.legend(fontsize=8)
    over_updates.set_title(column.name, fontsize=10, loc="left")
    path = folder / "pictures" / f"equal_{column.name.lower().replace(', ', '_').replace(' ', '')}.png"
    return _save(path, figure, f"{column.name}: test NLL over updates and over minutes")


def retention(path: Path, rows: Sequence[tuple[str, float, float, float, Sequence[float]]]) -> Picture | None:
    """Draw shares of clips that keep the voice, and the 50 % line.

    Rows are (title, share, low, high, ceiling); the ceiling is (value, low, high), or empty.
    """
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 1.3 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    label = "ceiling: the voice is always kept"
    for y, (_, share, low, high, ceiling) in enumerate(rows):
        axes.barh(y, 100 * share, color=COLOURS[0], height=0.5)
        axes.plot([100 * low, 100 * high], [y, y], color="black", lw=1.5, marker="|")
        if ceiling:
            value, lowest, highest = (100 * x for x in ceiling)
            axes.fill_betweenx([y - 0.35, y + 0.35], lowest, highest, color=COLOURS[1], alpha=0.25, lw=0)
            axes.plot([value, value], [y - 0.35, y + 0.35], color=COLOURS[1], lw=1.5, label=label)
            label = "_nolegend_"  # one entry in the legend
    axes.axvline(50, color="black", ls="--", lw=1, label="50 %: a fixed receptive field")
    axes.set_yticks(range(len(rows)), [title for title, *_ in rows], fontsize=9)
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel("clips that keep the voice (%), 95 % interval")
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    about = "Share of clips that keep the voice, with 95 % intervals, the ceiling and the 50 % line"
    return _save(path, figure, about)


def waveforms(folder: Path, pairs: figures.Columns) -> Picture | str | None:
    """Draw figure 2; the reason if it cannot be drawn."""
    path = folder / "pictures" / "waveforms.png"
    if not pairs:
        return None
    try:
        figures.waveforms(path, pairs)
    except SampleRNNError as error:
        return str(error)
    return picture_of(path, "Figure 2: waveforms of data and of generated sound, 2 s and 100 ms of them")


def picture_of(path: Path, alt: str) -> Picture:
    """An image that was drawn elsewhere."""
    height, width = matplotlib.image.imread(path).shape[:2]
    return Picture(f"pictures/{path.name}", alt, width, height)


def _save(path: Path, figure: Figure, alt: str) -> Picture:
    save_figure(path, figure, DOTS)
    width, height = figure.get_size_inches()
    return Picture(f"pictures/{path.name}", alt, round(width * DOTS), round(height * DOTS))
