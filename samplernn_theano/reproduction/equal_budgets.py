"""The models of a table after equal updates and after equal time, by the checkpoints that trainings kept.

Their scores are those of the parameters at that update, not of the best ones by then. Time is the number of
updates times the seconds of one, measured on a core of its own: the times in the logs depend on what else the
machine did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from samplernn_theano.reproduction import comparisons, scales
from samplernn_theano.reproduction.comparisons import Comparison
from samplernn_theano.reproduction.records import Attempt, Results, number, part

if TYPE_CHECKING:
    from samplernn_theano.reproduction.tables import Filled, Score

SPLIT = "test"
EARLIEST = (
    0.5  # of the time that all models of a column have: from then on they are compared after equal time
)

type Kept = Mapping[int, Mapping[str, Any]]
"""Records of the test split by iteration."""


@dataclass(frozen=True)
class Trained:
    """A model and the scores of the checkpoints that its trainings kept."""

    score: "Score"
    kept: Mapping[int, Kept]  # by seed; at least one
    seconds_per_update: float | None

    @property
    def updates(self) -> list[int]:
        """The iterations of which every seed has a checkpoint, sorted."""
        return sorted(set.intersection(*(set(own) for own in self.kept.values())))

    def seconds(self, updates: int) -> float:
        """The time of some updates; NaN if it is unknown."""
        return updates * (self.seconds_per_update or float("nan"))

    def curve(self) -> list[tuple[int, float]]:
        """The mean score over seeds of each number of updates."""
        return [(i, fmean(own[i]["score"] for own in self.kept.values())) for i in self.updates]


@dataclass(frozen=True)
class Column:
    """A column with at least two models that kept checkpoints."""

    name: str
    unit: str
    models: Sequence[Trained]
    updates: Comparison | None  # None if there is no number of updates that all have
    time: Comparison | None  # None if a time per update is unknown


def of_table(table: "Filled", results: Results) -> list[Column]:
    """The columns of a table, each set of models once, on the test split."""
    found: dict[tuple[str, ...], Column] = {}
    for name, scores, column in comparisons.columns(table):
        models = [_trained(score, results) for score in scores]
        known = [one for one in models if one.kept and one.updates]
        if len(known) > 1:
            found.setdefault(
                tuple(score.run for score in scores), _column(name, column.unit, column.data, known, results)
            )
    return list(found.values())


def _trained(score: "Score", results: Results) -> Trained:
    kept = {attempt.seed: _kept(attempt) for attempt in results.of(score.run)}
    rate = scales.seconds_per_update(results.scale, score.run)
    return Trained(score, {seed: own for seed, own in kept.items() if own}, rate)


def _kept(attempt: Attempt) -> Kept:
    found, entries = {}, attempt.result("checkpoints").get("kept")
    for entry in entries if isinstance(entries, list) else []:
        record = part(entry, SPLIT)
        if number(record.get("score")) is not None and (iteration := number(entry.get("iteration"))):
            found[int(iteration)] = record
    return found


def _column(name: str, unit: str, data: str, models: Sequence[Trained], results: Results) -> Column:
    def compare(after: str, updates: Sequence[int]) -> Comparison:
        found = []
        for one, i in zip(models, updates, strict=True):
            records = {seed: own[i] for seed, own in one.kept.items()}
            found.append(comparisons.model(one.score, unit, records, updates=i, minutes=one.seconds(i) / 60))
        return comparisons.compare(name, after, found, comparisons.caution(found, results, data, SPLIT))

    common = set.intersection(*(set(one.updates) for one in models))
    updates, time = max(common, default=0), equal_time(models)
    after_updates = f"after {updates:,} updates"
    after_time = f"after {max(map(Trained.seconds, models, time)) / 60:.1f} minutes" if time else ""
    return Column(
        name,
        unit,
        models,
        compare(after_updates, [updates] * len(models)) if updates else None,
        compare(after_time, time) if time else None,
    )


def equal_time(models: Sequence[Trained]) -> list[int] | None:
    """The updates of each model whose times are the most equal; None if a time is unknown.

    Of the checkpoints within some time, each model has its last. That time is in the second half of what all
    have.
    """
    if any(one.seconds_per_update is None for one in models):
        return None
    limit = min(one.seconds(one.updates[-1]) for one in models)
    times = {one.seconds(i) for one in models for i in one.updates}
    candidates = []
    for time in sorted(times, reverse=True):
        within = [[i for i in one.updates if one.seconds(i) <= time] for one in models]
        if EARLIEST * limit <= time <= limit and all(within):
            chosen = [own[-1] for own in within]
            seconds = list(map(Trained.seconds, models, chosen))
            candidates.append((max(seconds) / min(seconds), chosen))
    return min(candidates, key=lambda found: found[0])[1] if candidates else None
