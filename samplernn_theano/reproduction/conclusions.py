"""Conclusions that the scale and the scores of a report allow."""

import itertools
import math
from collections.abc import Sequence

from scipy.stats import t

from samplernn_theano.reproduction.records import PAPER, Results, number
from samplernn_theano.reproduction.tables import Filled, Score

CHANCE = 8.0  # bits per sample of a uniform distribution over 256 levels
MEANINGS = {
    "smoke": "A test that every step runs. The numbers mean nothing.",
    "laptop": "Small models, trained for minutes. Not the paper's experiment, and not its numbers.",
    PAPER: "Planned with the authors' hyper-parameters and training time, as far as they are known. Only "
    "numbers without a badge were made with them.",
}


def banner(scale: str) -> tuple[str, str]:
    """The name of a scale and its meaning."""
    unknown = "Not one of the scales that come with the package."
    return f"Scale: {scale or 'unknown'}", MEANINGS.get(scale, unknown)


def statements(results: Results, tables: Sequence[Filled]) -> list[str]:
    """Conclusions, a sentence each."""
    scores = [score for table in tables for score in table.shown]
    if not scores:
        return ["No model has been scored yet, so there is nothing to conclude."]
    if results.scale == "smoke":
        return [
            "Nothing can be concluded from these numbers: each model was trained for seconds, on synthetic "
            "audio. A number shows only that its steps ran."
        ]
    found = [_learned(scores), _training_time(results), *_differences(tables), _comparison(scores)]
    return list(filter(None, found))


def _learned(scores: Sequence[Score]) -> str:
    bits = [s.value for s in scores if not s.experiment.startswith("table2/") and s.value is not None]
    below = sum(value < CHANCE for value in bits)
    if not bits:
        return ""
    return (
        f"Can: {below} of {len(bits)} scores of quantised models are below {CHANCE:g} bits per sample, "
        "the cost of guessing among 256 levels, so these models learned something."
    )


def _training_time(results: Results) -> str:
    """A warning about trainings shorter than the paper's."""
    attempts = itertools.chain.from_iterable(results.attempts.values())
    found = [(a.scale, number(a.result("train").get("train_seconds"))) for a in attempts]
    trained = [(scale, seconds / 60) for scale, seconds in found if seconds is not None]
    minutes = [own for scale, own in trained if scale != PAPER]
    if not minutes:
        return ""
    models = "the models" + " that had less than the paper's time" * (len(minutes) < len(trained))
    time = " to ".join(dict.fromkeys(f"{limit:.1f}" for limit in (min(minutes), max(minutes))))
    return (
        f"Cannot: rank {models}. Each was trained for {time} minutes; the order then shows how fast "
        "each learns on this machine at this size, not its final score. Only the order of magnitude is "
        "meaningful."
    )


def _differences(tables: Sequence[Filled]) -> list[str]:
    """The largest difference between two models of each column, and the number of unclear differences."""
    found: list[str] = []
    over_clips = False
    for name, scores in (column for table in tables for column in _compared(table)):
        known = sorted((s for s in scores if s.value is not None and s.error is not None), key=_value)
        pairs = list(itertools.combinations(known, 2))  # the lower value first
        if not pairs:
            continue
        over_clips |= any(score.over == "clips" for score in known)
        low, high = max(pairs, key=lambda pair: _gap(*pair))
        close = sum(_gap(*pair) <= _limit(*pair) * _error(*pair) for pair in pairs)
        found.append(
            f"{name}: the largest difference is {_gap(low, high):.3f} ({high.title} above {low.title}), "
            f"{_times(low, high)}; {close} of {len(pairs)} pairs do not differ clearly."
        )
    if found:
        found.append("Clear: by Welch's t-test at 95 %, without correction for several pairs.")
    if over_clips:
        found.append("These errors are over clips only: the same model from another seed may differ by more.")
    return found


def _compared(table: Filled) -> list[tuple[str, list[Score]]]:
    """The models of each column; in table 3, whose columns are models, those of the row."""
    title = table.layout.name.replace("table", "Table ")
    if len(table.rows) == 1:
        return [(title, list(table.rows[0][1]))]
    columns = [
        (f"{title}, {c.title}", [row[i] for _, row in table.rows]) for i, c in enumerate(table.layout.columns)
    ]
    return columns[:1] if table.layout.name == "table2" else columns  # there, a column in each unit


def _value(score: Score) -> float:
    return score.value or 0.0


def _gap(low: Score, high: Score) -> float:
    return _value(high) - _value(low)


def _error(a: Score, b: Score) -> float:
    """Standard error of the difference of two independent scores."""
    return math.hypot(a.error or 0, b.error or 0)


def _limit(a: Score, b: Score) -> float:
    """The number of standard errors from which a difference is clear: Welch's t-test, two-sided, 95 %."""
    spread = sum((s.error or 0) ** 4 / (s.n - 1) for s in (a, b) if s.n > 1)
    freedom = _error(a, b) ** 4 / spread if spread else math.inf
    return float(t.ppf(0.975, freedom))


def _times(low: Score, high: Score) -> str:
    if not (error := _error(low, high)):
        return "with unknown error"
    times, limit = _gap(low, high) / error, _limit(low, high)
    return f"{times:.1f} times its standard error ({error:.3f}), where {limit:.1f} times is clear"


def _comparison(scores: Sequence[Score]) -> str:
    badged = sum(bool(score.badge) for score in scores)
    if badged == len(scores):
        return (
            "Cannot: compare with the published numbers. They are shown in grey for orientation; "
            "differences from them are neither success nor failure."
        )
    exception = f" {badged} of {len(scores)} numbers have a badge: they cannot be compared." if badged else ""
    return (
        "Can: compare with the published numbers, given the errors and the differences below, "
        f"above all the overlap of clips.{exception}"
    )
