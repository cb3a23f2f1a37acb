"""Paired differences between the models of a table's column, which were scored on the same clips.

There are two questions, and their answers are never mixed. Do these trained models differ on other sound? The
mean over the clips of a recording is an observation. Do the models differ if they are trained again? The mean
of a seed, on these clips, is one. Both are answered by t-tests of paired differences, all pairs of a column
with Holm's correction. In a test each recording counts once, however many clips it has: the usual sandwich
estimate over clips gives up to three times as many false positives if recordings have unequal numbers of
clips. The scores of a table are means over clips, so their difference may have the other sign: then it is not
clear.
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
    from samplernn_theano.reproduction.tables import Column, Filled, Score

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
    mean: float  # difference, in which each of them counts once
    error: float  # standard error of this mean
    p: float | None  # that it is zero, two-sided, with Holm's correction; None if n is too small


@dataclass(frozen=True)
class Pair:
    """Two models, the one with the lower published score first."""

    first: str
    second: str
    difference: float  # first minus second, of the scores that the table shows
    published: float | None  # the same of the published scores
    sound: Test | None  # over recordings or clips: of these trained models; None without scores of clips
    seeds: Test | None  # of the models trained again; None with one seed that both have

    def clear(self, test: Test) -> bool:
        """True if the difference is significant, and in the test of the sign that it has in the table."""
        return test.p is not None and test.p < LEVEL and test.mean * self.difference > 0

    def agreement(self, test: Test) -> str:
        """How our difference compares with the published one."""
        order = "as in the paper" if self.difference < 0 else "opposite"
        if not self.published:
            order = "not ordered by the paper"
        found = f"{order}, {'clear' if self.clear(test) else 'not clear'}"
        return found + f" (the mean over {test.over} has the other sign)" * (test.mean * self.difference < 0)


@dataclass(frozen=True)
class Comparison:
    """The models of a column, and all pairs of them that were scored on the same clips."""

    name: str  # such as "Table 1, Blizzard"
    after: str  # such as "after 6,000 updates"; empty for the best checkpoints
    models: Sequence[Model]
    pairs: Sequence[Pair]
    caution: str  # what limits the tests on other sound; empty if nothing does


def compare(name: str, after: str, models: Sequence[Model], caution: str = "") -> Comparison:
    """Test the differences between all pairs of models."""
    ordered = sorted(models, key=lambda m: (m.published is None, m.published))
    pairs = list(filter(None, itertools.starmap(_pair, itertools.combinations(ordered, 2))))
    for kind in ("sound", "seeds"):
        tested = [i for i, p in enumerate(pairs) if (own := getattr(p, kind)) and own.p is not None]
        corrected = holm([getattr(pairs[i], kind).p for i in tested])
        for i, p in zip(tested, corrected, strict=True):
            pairs[i] = replace(pairs[i], **{kind: replace(getattr(pairs[i], kind), p=p)})
    return Comparison(name, after, models, pairs, caution if any(pair.sound for pair in pairs) else "")


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
        sound = _test(np.mean(rows, axis=0), "clips" if known is None else "recordings")
    published = None if a.published is None or b.published is None else a.published - b.published
    return Pair(a.title, b.title, a.mean - b.mean, published, sound, _test(by_seed, "seeds"))


def _test(differences: NDArray[np.float64], over: str) -> Test | None:
    """A t-test of independent paired differences (n,); None for one."""
    n, mean, error = len(differences), float(differences.mean()), standard_error(differences)
    if n < 2:
        return None
    p = None
    if n >= FEWEST[over]:
        p = float(2 * t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Test(over, n, mean, error, p)


# --- from records -------------------------------------------------------------------------------------------


def columns(table: "Filled") -> list[tuple[str, list["Score"], "Column"]]:
    """Each column with its name and scores; in table 3, whose columns are models, the row."""
    title, known = table.layout.name.replace("table", "Table "), table.layout.columns
    if len(table.rows) == 1:
        return [(title, list(table.rows[0][1]), known[0])]
    found = []
    for i, column in enumerate(known):
        scores = [row[i] for _, row in table.rows]
        found.append((f"{title}, {column.title}", scores, column))
    return found[:1] if table.layout.name == "table2" else found  # there, a column in each unit


def of_table(table: "Filled", results: Results) -> list[Comparison]:
    """Compare the models of each column by the scores that the table shows."""
    found = []
    for name, scores, column in columns(table):
        models = []
        for score in scores:
            done = [a for a in results.of(score.run) if not a.why_missing("evaluate")]
            records = {a.seed: part(a.result("evaluate"), column.split) for a in done}
            models.append(model(score, column.unit, records))
        models = [m for m in models if m.scores]
        found.append(compare(name, "", models, caution(models, results, column.data, column.split)))
    return [comparison for comparison in found if comparison.pairs]


def caution(models: Sequence[Model], results: Results, data: str, split: str) -> str:
    """What limits a test of models on other clips of a split of the set `data`; empty if nothing does."""
    if any(one.recordings is None for one in models if one.clips):
        return "Recordings unknown: clips are taken as independent, p may be too small."
    result = part(results.data.get(data, {}), "result")
    shared = number(part(result, "shared").get(split))
    clips = number(part(result, "splits", split).get("clips"))
    if shared is None or clips is None:
        return f"Whether train holds the recordings of the {split} clips too is unknown."
    if not shared:
        return ""
    return (
        f"{shared:,.0f} of {clips:,.0f} {split} clips come from recordings that train holds too, so for "
        'these "new sound" means other parts of the same recordings.'
    )


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
