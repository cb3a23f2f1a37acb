"""Where a learning curve should lie: bands around reference runs with several seeds.

`reference.json`, made by benchmarks/reference.py, holds the curves of runs of the preset `demo` on the demo
set, and of single runs on other sets. A band encloses the runs on the demo set. On another set it is shifted,
by how far the set's baselines (`data.baselines`) are from the demo set's: early in training a model knows
little more than how often each level occurs, later it predicts. So the shift goes from that of the unigram to
three fifths that of the linear prediction, and the band is widened by what this leaves to chance.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np

from samplernn_theano.checkpoints.status import Curve, RunStatus, is_cost

type Band = tuple[float, float]
"""Lowest and highest cost, in bits per sample."""

FIRST = 100
"""Updates from which a run is judged."""

GAP = "valid less train"
"""What is judged next to both costs: the difference of their distances from the middle of their bands."""

SEEDS = 0.2
"""Bits by which a band is wider, at each side, than the runs that it encloses, or as much as they are apart
if that is more; twice as much around a single run. Two seeds are up to 0.13 apart, and 0.38 of wavenet, whose
cost falls late."""

OTHER_SETS = 0.6
"""Bits by which a band is wider still, at each side, on another set than the demo set: runs on speech, on
babbling voices and on all themes of the demo set are up to 0.47 (train) and 0.69 (valid, early) from the
middle of theirs."""

FULL_SHIFT = 2000  # updates after which the shift has reached `PREDICTED`
PREDICTED = 0.6  # the part of the linear prediction in the shift, at most


@dataclass(frozen=True)
class Judged:
    """A cost in bits per sample, and the band where it should be."""

    what: str
    update: int
    cost: float
    band: Band

    @property
    def beyond(self) -> float:
        """Bits above the band, or below it if negative; 0 inside."""
        low, high = self.band
        return max(0.0, self.cost - high) - max(0.0, low - self.cost)


@cache
def stored() -> Mapping[str, Any]:
    """The content of reference.json: `edges`, `sets` by name, and `runs`."""
    text = files("samplernn_theano.checkpoints").joinpath("reference.json").read_text(encoding="utf-8")
    return json.loads(text)


@dataclass(frozen=True)
class Reference:
    """Reference runs on the demo set, next to which a run is judged, and its set's distance from that set.

    `distance` is that of the baselines in bits, by split: of the unigram and of the linear prediction; None:
    it is the demo set.
    """

    runs: Sequence[Mapping[str, Any]]
    distance: Mapping[str, tuple[float, float]] | None = None

    @property
    def last(self) -> int:
        """Updates of the longest run; beyond, a band has no lower limit."""
        return max(_edges(run)[-1] for run in self.runs)

    def train(self, begin: int, end: int) -> Band:
        """The band of the mean training cost over the updates after `begin` up to `end`."""
        runs = [run for run in self.runs if _edges(run)[-1] >= min(end, self.last)]
        return self._around("train", [mean_cost(run, begin, end) for run in runs], end)

    def valid(self, updates: int) -> Band:
        """The band of the validation cost after so many updates, interpolated over their logarithm."""
        counts = sorted({int(n) for run in self.runs for n in run["valid"]})
        costs = [[run["valid"][str(n)] for run in self.runs if str(n) in run["valid"]] for n in counts]
        bands = zip(*(self._around("valid", *each) for each in zip(costs, counts, strict=True)), strict=True)
        low, high = (float(np.interp(math.log(updates), np.log(counts), limits)) for limits in bands)
        return low, high

    def _around(self, split: str, costs: Sequence[float], updates: int) -> Band:
        low, high = min(costs), max(costs)
        margin = max(SEEDS, high - low) if len(costs) > 1 else 2 * SEEDS
        if self.distance is None:
            return low - margin, high + margin
        unigram, linear = self.distance[split]
        done = math.log(max(updates, FIRST) / FIRST) / math.log(FULL_SHIFT / FIRST)
        part = PREDICTED * min(1.0, done)
        shift = (1 - part) * unigram + part * linear
        return low + shift - margin - OTHER_SETS, high + shift + margin + OTHER_SETS


def distance(set_: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """How far the baselines of a set are from those of another, as `sets` of reference.json has them."""
    linear = set_["linear"] - other["linear"]
    return {split: (own - other["unigram"][split], linear) for split, own in set_["unigram"].items()}


def _edges(run: Mapping[str, Any]) -> Sequence[int]:
    return stored()["edges"][: len(run["train"]) + 1]


def mean_cost(run: Mapping[str, Any], begin: int, end: int) -> float:
    """Mean training cost of a stored run after `begin` up to `end`; beyond its end that of its last part."""
    edges, costs = _edges(run), run["train"]
    sums = np.concatenate([[0.0], np.cumsum(np.diff(edges) * costs)])

    def until(n: int) -> float:
        return float(np.interp(n, edges, sums)) + max(0, n - edges[-1]) * costs[-1]

    return (until(end) - until(begin)) / (end - begin)


def judge(run: RunStatus, reference: Reference) -> list[Judged]:
    """The costs of a run next to their bands; none if there are no costs from the update `FIRST` on.

    They are the mean training cost over the latter half of the updates, the validation cost, and how much
    further than in the reference valid lies above train; at the last update of the reference, and of a run
    that goes on at its own, where it may be as low as it likes.
    """
    logged = [(r["iteration"], r["nll_bits"]) for r in run.records if is_cost(r.get("nll_bits"))]
    end = max((n for n, _ in logged + run.valid), default=0)
    return [
        judged
        for last in sorted({reference.last, max(end, reference.last)})
        for judged in _judge_until(last, logged, run.valid, reference)
    ]


def _judge_until(last: int, train: Curve, valid: Curve, reference: Reference) -> Iterator[Judged]:
    middle = []  # of the band, and the cost
    lowest = -math.inf if last > reference.last else math.inf

    def judged(what: str, updates: int, cost: float, band: Band) -> Judged:
        middle.append((sum(band) / 2, cost))
        return Judged(what, updates, cost, (min(lowest, band[0]), band[1]))

    if half := _latter_half(train, last):
        begin, updates, cost = half
        yield judged("train", updates, cost, reference.train(begin, updates))
    evaluated = [point for point in valid if FIRST <= point[0] <= last]
    if evaluated:
        updates, cost = evaluated[-1]
        yield judged("valid", updates, cost, band := reference.valid(updates))
        if half:
            above_train, above_valid = (cost - centre for centre, cost in middle)
            limit = (band[1] - band[0]) / 2
            yield Judged(GAP, updates, above_valid - above_train, (-math.inf, limit))


def _latter_half(curve: Curve, last: int) -> tuple[int, int, float] | None:
    """The mean cost over the latter half of the updates up to `last`, and over which: after, up to.

    As far as the lines of the log allow: each is the mean since the one before. None before `FIRST`.
    """
    costs = {n: cost for n, cost in curve if 0 < n <= last}
    ends = sorted(costs)
    if not ends or ends[-1] < FIRST:
        return None
    lines = list(pairwise([0, *ends]))
    half = [line for line in lines if line[0] >= ends[-1] / 2] or lines[-1:]
    mean = np.average([costs[b] for _, b in half], weights=[b - a for a, b in half])
    return half[0][0], ends[-1], float(mean)
