"""One number of ours beside the published one: what the cell of a table shows."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from samplernn_theano.config import presets
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.reproduction.cells import Cell
from samplernn_theano.reproduction.document import Line, Span, line
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.results import PAPER, Attempt, Results, number, part

BITS, NATS = "bits per sample", "nats per sample"


@dataclass(frozen=True)
class Score:
    """A score of a cell on a split.

    Attributes
    ----------
    cell : str
    title : str
        Of the cell.
    value : float or None
        None if no seed is done.
    error : float or None
        Standard error: over seeds if there are several, else over the clips of the split.
    over : str
        What the error is over: "seeds", "clips" or nothing.
    n : int
        How many of these.
    seeds : tuple of int
        How many seeds are done, and how many were begun or asked for.
    mark : str
        The scale, or what is not the paper's; empty only for the authors' hyper-parameters, trained for
        their time on their data.
    problems : tuple of str
        Of seeds that have no number: why.
    published : float or None
    doubt : str
        What is uncertain about the published number, in a few words.
    extent : str
        Iterations and epochs of the training, if it was meant to be the paper's.
    """

    cell: str
    title: str
    value: float | None
    error: float | None
    over: str
    n: int
    seeds: tuple[int, int]
    mark: str
    problems: tuple[str, ...]
    published: float | None
    doubt: str = ""
    extent: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the published one."""
        return None if self.value is None or self.published is None else self.value - self.published


def score(
    results: Results, cell: Cell, split: str, unit: str, numbers: Sequence[Number], stand_in: bool
) -> Score:
    """What there is of a cell on a split, in `unit`."""
    attempts = results.of(cell.run)
    found = [(attempt, _value(attempt, split, unit)) for attempt in attempts]
    done = [(attempt, *pair) for attempt, pair in found if pair is not None]
    values = [value for _, value, _ in done]
    asked = max(1, len(attempts), len({*results.asked.get(cell.name, ()), *results.asked.get(cell.run, ())}))
    theirs = _published(numbers, cell.name, split)
    mean, error, over, n = _summary(values)
    if over == "clips":
        error = done[0][2]
        n = int(number(part(done[0][0].result("evaluate"), split).get("clips")) or 0)
    return Score(
        cell=cell.name,
        title=cell.title,
        value=mean,
        error=error,
        over=over,
        n=n,
        seeds=(len(values), asked),
        mark=mark([(attempt, cell) for attempt, *_ in done], stand_in),
        problems=_problems(attempts, [attempt.seed for attempt, *_ in done], asked),
        published=None if theirs is None else theirs.value,
        doubt=_doubt(theirs, unit),
        extent=_extent([attempt for attempt, *_ in done]),
    )


def _value(attempt: Attempt, split: str, unit: str) -> tuple[float, float | None] | None:
    """The score and its standard error over clips, or None."""
    found = part(attempt.result("evaluate"), split)
    bits, error = number(found.get("score")), number(found.get("standard_error"))
    if bits is None or attempt.standing("evaluate"):
        return None
    if unit == BITS:
        return bits, error
    return bits * math.log(2), None if error is None else error * math.log(2)


def _summary(values: Sequence[float]) -> tuple[float | None, float | None, str, int]:
    """Mean over seeds, its standard error, what that is over, and how many; of one seed no error."""
    if len(values) < 2:
        return (values[0], None, "clips", 0) if values else (None, None, "", 0)
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values)), "seeds", len(values)


def mark(attempts: Sequence[tuple[Attempt, Cell]], stand_in: bool) -> str:
    """What says that numbers of these attempts are not the paper's experiment; nothing if they are.

    Parameters
    ----------
    attempts : sequence of (attempt, the cell that it trained)
    """
    found = dict.fromkeys(_departure(attempt, cell) for attempt, cell in attempts)
    words = [word for word in found if word]
    if attempts and stand_in and not words:
        words = ["other data"]
    return ", ".join(words)


def _departure(attempt: Attempt, cell: Cell) -> str:
    """How a training differs from the paper's: by its scale or time, or by its hyper-parameters."""
    if attempt.planned_scale != PAPER:
        return attempt.scale or "scale unknown"
    if not _is_best(attempt.settings, cell):
        return "other hyper-parameters"
    return attempt.scale if attempt.scale != PAPER else ""


def _is_best(settings: Mapping[str, Any], cell: Cell) -> bool:
    """Whether a training had the hyper-parameters of the authors' best model, but for the cell's own flags.

    The moments of the data, by which real-valued models normalise, are none.
    """
    if cell.family not in FAMILIES or settings.get("family") != cell.family:
        return False
    flags = {"learning_rate": FAMILIES[cell.family].learning_rate, **cell.flags}
    rate = flags.pop("learning_rate")
    try:
        best = asdict(presets.preset(cell.family, "best", flags))
    except HyperParameterError:  # a cell that cannot be trained
        return False
    wanted = json.loads(json.dumps(best | {"mean": None, "std": None}))
    had = {**part(settings, "hyperparameters"), "mean": None, "std": None}
    return had == wanted and settings.get("learning_rate") == rate


def _extent(attempts: Sequence[Attempt]) -> str:
    """How far the trainings went that were meant to be the paper's."""
    trained = [attempt.result("train") for attempt in attempts if attempt.planned_scale == PAPER]
    told = []
    for name in ("iterations", "epochs"):
        values = [value for result in trained if (value := number(result.get(name))) is not None]
        if values:
            counts = dict.fromkeys(f"{value:,.0f}" for value in (min(values), max(values)))
            told.append(f"{' to '.join(counts)} {name.removesuffix('s') if max(values) == 1 else name}")
    return ", ".join(told)


def _problems(attempts: Sequence[Attempt], done: Sequence[int], asked: int) -> tuple[str, ...]:
    """Why seeds have no number; what all of them have in common is said once."""
    words = [
        (attempt.seed, attempt.standing("evaluate") or "scored, but the score is no number")
        for attempt in attempts
        if attempt.seed not in done
    ]
    missing = asked - len(attempts)
    if asked <= 1:
        return tuple(why for _, why in words) or ("not run",) * (missing and not done)
    told = [f"seed {seed}: {why}" for seed, why in words]
    if missing:
        told.append("not run" if missing == asked else f"{missing} of {asked} seeds: not run")
    return tuple(told)


def _published(numbers: Sequence[Number], cell: str, split: str) -> Number | None:
    return next((n for n in numbers if n.cell == cell and n.split == split), None)


def _doubt(theirs: Number | None, unit: str) -> str:
    if theirs is None:
        return ""
    words = [f"if in {unit.split()[0]}"] if theirs.unit not in (unit, "") else []
    words += ["unverified"] if theirs.certainty == "memory" else []
    return ", ".join(words)


# --- as text ------------------------------------------------------------------------------------------------


def lines(shown: Score, deviations: Sequence[int] = ()) -> list[Line]:
    """The lines of a table's cell: ours with its mark, problems, the published number, the difference."""
    told: list[Line] = []
    if shown.value is not None:
        told.append(line(Span(ours(shown), "strong"), *_marks(shown, deviations)))
        if shown.extent:
            told.append(line(Span(shown.extent, "quiet")))
        if shown.over == "seeds" or shown.seeds[1] > 1:
            told.append(line(Span(f"{shown.seeds[0]} of {shown.seeds[1]} seeds", "quiet")))
    for problem in shown.problems:
        told.append(line(Span(problem, "bad" if "failed" in problem else "")))
    if shown.published is not None:
        doubt = f" ({shown.doubt})" if shown.doubt else ""
        told.append(line(Span(f"published {signed(shown.published)}{doubt}", "quiet")))
    else:
        told.append(line(Span("not published", "quiet")))
    if shown.difference is not None:
        # Away from the paper's experiment, a small or a large one is no success or failure.
        told.append(line(Span(f"difference {shown.difference:+.3f}", "quiet" if shown.mark else "")))
    return told


def ours(shown: Score) -> str:
    """Our number with its standard error."""
    if shown.value is None:
        return ""
    error = "" if shown.error is None else f" ± {shown.error:.3f}"
    return signed(shown.value) + error


def signed(value: float) -> str:
    """A score with three digits behind the point, as the paper has them."""
    return f"{value:.3f}"


def _marks(shown: Score, deviations: Sequence[int]) -> list[Span]:
    spans = [Span(" "), Span(shown.mark, "mark")] if shown.mark else []
    for i, own in enumerate(deviations):
        spans += [Span(f"{', ' * (i > 0)}{own}", "note", f"#deviation-{own}")]
    return spans


@dataclass(frozen=True)
class Column:
    """A column of a table, or a group of columns: what is scored, on which set, in which unit."""

    title: str
    split: str
    unit: str
    data: str


@dataclass(frozen=True)
class Layout:
    """Where the cells of a table stand.

    Attributes
    ----------
    name : str
        Such as table1.
    title : str
    columns : sequence of Column
    rows : sequence of (title, cells)
        The name of a cell for each column.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Filled:
    """A table with its scores, (rows, columns)."""

    layout: Layout
    scores: Sequence[Sequence[Score]]

    def column(self, i: int) -> list[Score]:
        """The scores of a column."""
        return [row[i] for row in self.scores]

    @property
    def shown(self) -> list[Score]:
        """Those that have a value."""
        return [own for row in self.scores for own in row if own.value is not None]
