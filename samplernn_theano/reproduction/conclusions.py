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
    "study": "Small models on sets that anyone can make, to be compared after equal updates or time. Not "
    "the paper's experiment, and not its numbers.",
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
    if not bits:
        return ""
    below = sum(value < CHANCE for value in bits)
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
        known = [s for s in scores if s.value is not None and s.error is not None]
        known.sort(key=lambda s: s.value or 0)
        if len(known) < 2:
            continue
        over_clips |= any(score.over == "clips" for score in known)
        pairs = [_welch(*pair) for pair in itertools.combinations(known, 2)]
        close = sum(gap <= limit * error for gap, error, limit in pairs)
        low, high = known[0], known[-1]
        gap, error, limit = _welch(low, high)
        times = "with unknown error"
        if error:
            times = f"{gap / error:.1f} times its standard error ({error:.3f})"
            times += f", where {limit:.1f} times is clear"
        found.append(
            f"{name}: the largest difference is {gap:.3f} ({high.title} above {low.title}), {times}; "
            f"{close} of {len(pairs)} pairs do not differ clearly."
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


def _welch(low: Score, high: Score) -> tuple[float, float, float]:
    """The difference of two scores, its standard error, and from how many of these it is clear.

    By Welch's t-test, two-sided, 95 %.
    """
    error = math.hypot(low.error or 0, high.error or 0)
    spread = sum((s.error or 0) ** 4 / (s.n - 1) for s in (low, high) if s.n > 1)
    limit = float(t.ppf(0.975, error**4 / spread if spread else math.inf))
    return (high.value or 0) - (low.value or 0), error, limit


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
