"""Paired differences between the models of a table's column, which were scored on the same clips.

There are two questions, and their answers are never mixed. Do these trained models differ on other sound? The
mean over the clips of a recording is an observation. Do the models differ if they are trained again? The mean
of a seed, on these clips, is one. Both are answered by t-tests of paired differences, all pairs of a column
with Holm's correction. Each recording counts once, however many clips it has: the usual sandwich estimate
over clips gives up to three times as many false positives if recordings have unequal numbers of clips.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from samplernn_theano.evaluation.standard_errors import by_recording, standard_error
from samplernn_theano.listening.statistics import holm
from samplernn_theano.reproduction.published import BITS
from samplernn_theano.reproduction.records import Results, number, part

if TYPE_CHECKING:
    from samplernn_theano.reproduction.tables import Filled, Score

FEWEST = {"recordings": 5, "clips": 5, "seeds": 2}
"""Observations that a test needs; fewer recordings are too few to rely on the distribution of their mean."""

LEVEL = 0.05


@dataclass(frozen=True)
class Model:
    """A model of a column: its scores with each seed, which may be of any of its checkpoints."""

    title: str
    published: float | None
    scores: Mapping[int, float]  # by seed
    clips: Mapping[int, NDArray[np.float64]]  # (clips,), by seed; of those seeds whose records have them
    recordings: NDArray[np.int64] | None  # (clips,): number of each clip's; None if unknown
    updates: int | None = None  # of the checkpoint, if all seeds have the same
    minutes: float | None = None  # on a core of its own

    @property
    def mean(self) -> float:
        """The mean score over seeds."""
        return fmean(self.scores.values())


@dataclass(frozen=True)
class Test:
    """The test of a difference over a population."""

    over: str  # "recordings", "clips" (whose recordings are unknown) or "seeds"
    n: int
    error: float  # standard error of the difference
    p: float | None  # that there is none, two-sided, with Holm's correction; None if n is too small

    @property
    def clear(self) -> bool:
        """True if the difference is significant."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class Pair:
    """Two models, the one with the lower published score first."""

    first: str
    second: str
    difference: float  # first minus second, the mean over the seeds that both have
    published: float | None  # the same of the published scores
    sound: Test | None  # over recordings or clips: of these trained models; None without scores of clips
    seeds: Test | None  # of the models trained again; None with one seed

    def agreement(self, test: Test) -> str:
        """How our difference compares with the published one."""
        clear = "clear" if test.clear else "not clear"
        if not self.published:
            return f"not ordered by the paper, {clear}"
        return f"{'as in the paper' if self.difference < 0 else 'opposite'}, {clear}"


@dataclass(frozen=True)
class Comparison:
    """The models of a column, and all pairs of them that were scored on the same clips."""

    name: str  # such as "Table 1, Blizzard"
    after: str  # such as "after 6,000 updates"; empty for the best checkpoints
    models: Sequence[Model]
    pairs: Sequence[Pair]


def compare(name: str, after: str, models: Sequence[Model]) -> Comparison:
    """Test the differences between all pairs of models."""
    ordered = sorted(models, key=lambda m: (m.published is None, m.published))
    pairs = list(filter(None, itertools.starmap(_pair, itertools.combinations(ordered, 2))))
    for kind in ("sound", "seeds"):
        tested = [i for i, p in enumerate(pairs) if (own := getattr(p, kind)) and own.p is not None]
        corrected = holm([getattr(pairs[i], kind).p for i in tested])
        for i, p in zip(tested, corrected, strict=True):
            pairs[i] = replace(pairs[i], **{kind: replace(getattr(pairs[i], kind), p=p)})
    return Comparison(name, after, models, pairs)


def _pair(a: Model, b: Model) -> Pair | None:
    """The difference of two models and its tests, without correction; None if they share no seed."""
    seeds = [seed for seed in a.scores if seed in b.scores]
    if not seeds:
        return None
    by_seed, sound = np.array([a.scores[seed] - b.scores[seed] for seed in seeds]), None
    if all(seed in model.clips for seed in seeds for model in (a, b)):
        n = min(len(model.clips[seed]) for seed in seeds for model in (a, b))
        known = None if a.recordings is None else a.recordings[:n]
        rows = [by_recording(a.clips[seed][:n] - b.clips[seed][:n], known) for seed in seeds]
        by_seed = np.mean(rows, axis=1)
        sound = _test(np.mean(rows, axis=0), "clips" if known is None else "recordings")
    published = None if a.published is None or b.published is None else a.published - b.published
    return Pair(a.title, b.title, float(by_seed.mean()), published, sound, _test(by_seed, "seeds"))


def _test(differences: NDArray[np.float64], over: str) -> Test | None:
    """A t-test of independent paired differences (n,); None for one."""
    n, mean, error = len(differences), abs(differences.mean()), standard_error(differences)
    if n < 2:
        return None
    p = None
    if n >= FEWEST[over]:
        p = float(2 * t.sf(mean / error, n - 1)) if error else float(mean == 0)
    return Test(over, n, error, p)


# --- from records -------------------------------------------------------------------------------------------


def columns(table: "Filled") -> list[tuple[str, list["Score"], str, str]]:
    """Name, scores, split and unit of each column; in table 3, whose columns are models, of the row."""
    title, known = table.layout.name.replace("table", "Table "), table.layout.columns
    if len(table.rows) == 1:
        return [(title, list(table.rows[0][1]), known[0].split, known[0].unit)]
    found = []
    for i, column in enumerate(known):
        scores = [row[i] for _, row in table.rows]
        found.append((f"{title}, {column.title}", scores, column.split, column.unit))
    return found[:1] if table.layout.name == "table2" else found  # there, a column in each unit


def of_table(table: "Filled", results: Results) -> list[Comparison]:
    """Compare the models of each column by the scores that the table shows."""
    found = []
    for name, scores, split, unit in columns(table):
        models = []
        for score in scores:
            done = [a for a in results.of(score.run) if not a.why_missing("evaluate")]
            models.append(model(score, unit, {a.seed: part(a.result("evaluate"), split) for a in done}))
        found.append(compare(name, "", [m for m in models if m.scores]))
    return [comparison for comparison in found if comparison.pairs]


def model(score: "Score", unit: str, records: Mapping[int, Mapping[str, Any]], **at: Any) -> Model:
    """The model of a score by the records of a split, by seed."""
    factor = 1 if unit == BITS else math.log(2)
    scores = {seed: number(record.get("score")) for seed, record in records.items()}
    clips = {seed: _numbers(record, "bits_of_clips") for seed, record in records.items()}
    recordings = [_numbers(record, "recordings") for record in records.values()]
    return Model(
        score.title,
        score.published,
        {seed: factor * value for seed, value in scores.items() if value is not None},
        {seed: factor * values for seed, values in clips.items() if len(values)},
        recordings[0].astype(int) if recordings and all(map(len, recordings)) else None,
        **at,
    )


def _numbers(record: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """A list of finite numbers in a record, one for each clip; empty if it is not there."""
    found = record.get(name)
    if not isinstance(found, list) or len(found) != record.get("clips"):
        found = []
    return np.array(found if all(number(value) is not None for value in found) else [], np.float64)
