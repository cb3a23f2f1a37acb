"""What can and what cannot be concluded from a report, by its scale and its numbers."""

import itertools
import math
from collections.abc import Sequence

from scipy.stats import t

from samplernn_theano.reproduction.document import Line, line
from samplernn_theano.reproduction.results import PAPER, Results, number
from samplernn_theano.reproduction.scores import Filled, Score

CHANCE = 8.0
"""Bits per sample of a model that knows nothing of 256 levels."""

CONFIDENCE = 0.95
"""At which a difference is called clear (Welch's t-test, two-sided)."""


def banner(scale: str) -> tuple[str, str]:
    """The scale, large, and what it means."""
    words = {
        "smoke": "A test that every step runs. The numbers mean nothing.",
        "laptop": "Small models, trained for minutes. Not the paper's experiment, and not its numbers.",
        PAPER: "Meant to have the authors' hyper-parameters and time, as far as they are known. Only numbers "
        "without a mark had them.",
    }
    return f"Scale: {scale or 'unknown'}", words.get(
        scale, "Not one of the scales that come with the package."
    )


def statements(results: Results, tables: Sequence[Filled]) -> list[Line]:
    """Sentences for the head of the report."""
    scores = [score for table in tables for score in table.shown]
    if not scores:
        return [line("No model has been scored yet, so there is nothing to conclude.")]
    if results.scale == "smoke":
        return [
            line(
                "Nothing can be concluded from these numbers: each model was trained for seconds, on "
                "synthetic sound. That a number is there says that its steps ran."
            )
        ]
    told = [*_learned(scores), *_short(results), *_differences(tables)]
    return [*told, *_against_published(scores)]


def _learned(scores: Sequence[Score]) -> list[Line]:
    bits = [s for s in scores if not s.cell.startswith("table2/") and s.value is not None]
    below = [s for s in bits if s.value is not None and s.value < CHANCE]
    if not bits:
        return []
    return [
        line(
            f"Can: {len(below)} of {len(bits)} scores of quantised models lie below {CHANCE:g} bits per "
            "sample, what guessing among 256 levels costs, so they learned something."
        )
    ]


def _short(results: Results) -> list[Line]:
    """How long was trained, where that is not the paper's time."""
    trained = [
        (attempt.scale, seconds / 60)
        for attempts in results.attempts.values()
        for attempt in attempts
        if (seconds := number(attempt.result("train").get("train_seconds"))) is not None
    ]
    minutes = [own for scale, own in trained if scale != PAPER]
    if not minutes:
        return []
    models = (
        "the models" if len(minutes) == len(trained) else "the models that had less than the paper's time"
    )
    low, high = min(minutes), max(minutes)
    told = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
    return [
        line(
            f"Cannot: rank {models}. Each was trained for {told} minutes; which one is ahead then says how "
            "fast it learns on this machine at this size, not where it ends. Only the order of "
            "magnitude is worth reading."
        )
    ]


def _differences(tables: Sequence[Filled]) -> list[Line]:
    """For each column, the largest difference between two models, and how many pairs are not told apart."""
    told: list[Line] = []
    over_clips = False
    for name, scores in (column for table in tables for column in _compared(table)):
        known = [s for s in scores if s.value is not None and s.error is not None]
        pairs = [(abs(_gap(a, b)), a, b) for a, b in itertools.combinations(known, 2)]
        if not pairs:
            continue
        over_clips |= any(score.over == "clips" for score in known)
        gap, a, b = max(pairs, key=lambda pair: pair[0])
        low, high = sorted((a, b), key=lambda s: s.value or 0)
        close = sum(own <= _limit(*pair) * _error(*pair) for own, *pair in pairs)
        told.append(
            line(
                f"{name}: the largest difference is {gap:.3f} ({high.title} above {low.title}), "
                f"{_times(gap, a, b)}; {close} of {len(pairs)} pairs do not differ clearly."
            )
        )
    if told:
        told.append(line(f"Clear: by Welch's t-test at {100 * CONFIDENCE:g} %, of each pair by itself."))
    if over_clips:
        told.append(
            line("These errors are over clips alone: the same model from another seed may differ by more.")
        )
    return told


def _compared(table: Filled) -> list[tuple[str, list[Score]]]:
    """The models of each column; in table 3, whose columns are models, those of its row."""
    title = table.layout.name.replace("table", "Table ")
    if len(table.scores) == 1:
        return [(title, list(table.scores[0]))]
    columns = [(f"{title}, {c.title}", table.column(i)) for i, c in enumerate(table.layout.columns)]
    return columns[:1] if table.layout.name == "table2" else columns  # there, a column in each unit


def _gap(a: Score, b: Score) -> float:
    return (a.value or 0) - (b.value or 0)


def _error(a: Score, b: Score) -> float:
    """Of the difference, the two taken as independent."""
    return math.hypot(a.error or 0, b.error or 0)


def _limit(a: Score, b: Score) -> float:
    """Standard errors from which the difference is clear: many, if they are over two or three seeds."""
    spread = sum((s.error or 0) ** 4 / (s.n - 1) for s in (a, b) if s.n > 1)
    freedom = _error(a, b) ** 4 / spread if spread else math.inf
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def _times(gap: float, a: Score, b: Score) -> str:
    error = _error(a, b)
    if not error:
        return "with no error known"
    return (
        f"{gap / error:.1f} times its standard error ({error:.3f}), where {_limit(a, b):.1f} times is clear"
    )


def _against_published(scores: Sequence[Score]) -> list[Line]:
    marked = sum(bool(score.mark) for score in scores)
    if marked == len(scores):
        return [
            line(
                "Cannot: compare with the published numbers. They stand here in grey for orientation; no "
                "difference to them is a success or a failure."
            )
        ]
    told = f" {marked} of {len(scores)} numbers bear a mark: those cannot be compared." if marked else ""
    return [
        line(
            "Can: compare with the published numbers, within the errors and the deviations below, and the "
            f"overlap of clips above all.{told}"
        )
    ]
