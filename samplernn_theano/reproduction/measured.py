"""Our scores next to the published ones."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from samplernn_theano.config import presets
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.schedule import original_learning_rate, stored_schedule
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.records import PAPER, Attempt, Results, number, part

BITS, NATS = "bits per sample", "nats per sample"


@dataclass(frozen=True)
class Score:
    """A score of an experiment on a split."""

    experiment: str
    title: str
    value: float | None
    """Mean over seeds; None if no seed is done."""
    error: float | None
    """Standard error: over seeds if there are several, else over the clips of the split."""
    over: str
    """Population of the error: "seeds", "clips" or ""."""
    n: int
    """Size of that population."""
    seeds: tuple[int, int]
    """Number of finished seeds, and of started or requested ones."""
    badge: str
    """The scale, or a difference from the paper's experiment; empty only for the authors' hyper-parameters,
    trained for their time on their data."""
    problems: tuple[str, ...]
    """Reasons why seeds have no score."""
    published: float | None
    doubt: str = ""
    """Uncertainty about the published number."""
    extent: str = ""
    """Iterations and epochs of a training at the paper's scale."""
    differences: tuple[int, ...] = ()
    """Numbers of the differences from the paper that apply to a score."""

    @property
    def ours(self) -> str:
        """Our score with its standard error."""
        return f"{self.value:.3f}" + ("" if self.error is None else f" ± {self.error:.3f}")

    @property
    def difference(self) -> float | None:
        """Ours minus the published one."""
        return None if self.value is None or self.published is None else self.value - self.published


def score(
    results: Results,
    experiment: Experiment,
    split: str,
    unit: str,
    numbers: Sequence[Number],
    substitute: bool,
) -> Score:
    """The score of an experiment on a split, in `unit`."""
    attempts = results.of(experiment.run)
    found = [(attempt, _value(attempt, split, unit)) for attempt in attempts]
    done = [(attempt, *pair) for attempt, pair in found if pair is not None]
    values = [value for _, value, _ in done]
    error, over, n = None, "", len(values)
    if n > 1:
        error, over = stdev(values) / math.sqrt(n), "seeds"
    elif n == 1:
        error, over = done[0][2], "clips"
        n = int(number(part(done[0][0].result("evaluate"), split).get("clips")) or 0)
    requested = {*results.requested.get(experiment.name, ()), *results.requested.get(experiment.run, ())}
    total = max(1, len(attempts), len(requested))
    theirs = next((n for n in numbers if n.experiment == experiment.name and n.split == split), None)
    doubt = f"if in {unit.split()[0]}" if theirs and theirs.unit != unit else ""
    return Score(
        experiment=experiment.name,
        title=experiment.title,
        value=fmean(values) if values else None,
        error=error,
        over=over,
        n=n,
        seeds=(len(values), total),
        badge=badge([(attempt, experiment) for attempt, *_ in done], substitute),
        problems=_problems(attempts, [attempt.seed for attempt, *_ in done], total),
        published=theirs.value if theirs else None,
        doubt="unverified" if theirs and theirs.certainty == "memory" else doubt,
        extent=_extent([attempt for attempt, *_ in done]),
    )


def _value(attempt: Attempt, split: str, unit: str) -> tuple[float, float | None] | None:
    """The score of an attempt and its standard error over clips, or None."""
    found = part(attempt.result("evaluate"), split)
    bits, error = number(found.get("score")), number(found.get("standard_error"))
    if bits is None or attempt.why_missing("evaluate"):
        return None
    if unit == BITS:
        return bits, error
    return bits * math.log(2), None if error is None else error * math.log(2)


def badge(attempts: Sequence[tuple[Attempt, Experiment]], substitute: bool) -> str:
    """The differences of these attempts from the paper's experiment; empty if there are none.

    Parameters
    ----------
    attempts : sequence of (attempt, its experiment)
    substitute : bool
        True if the data are not the paper's.
    """
    found = dict.fromkeys(_departure(attempt, experiment) for attempt, experiment in attempts)
    departures = list(filter(None, found))
    if attempts and substitute and not departures:
        departures = ["other data"]
    return ", ".join(departures)


def _departure(attempt: Attempt, experiment: Experiment) -> str:
    """The difference of a training from the paper's in scale, time or hyper-parameters."""
    if attempt.planned_scale != PAPER:
        return attempt.scale or "scale unknown"
    if not _is_best(attempt.settings, experiment):
        return "other hyper-parameters"
    return attempt.scale if attempt.scale != PAPER else ""


def _is_best(settings: Mapping[str, Any], experiment: Experiment) -> bool:
    """Return True if a training had the authors' best hyper-parameters with the experiment's flags.

    The moments of the data, with which real-valued models normalise, are ignored.
    """
    if settings.get("family") != experiment.family:
        return False
    flags = {"learning_rate": original_learning_rate(FAMILIES[experiment.family]), **experiment.flags}
    rate = flags.pop("learning_rate")
    best = asdict(presets.preset(experiment.family, "best", flags))
    expected = json.loads(json.dumps(best | {"mean": None, "std": None}))
    actual = {**part(settings, "hyperparameters"), "mean": None, "std": None}
    return actual == expected and stored_schedule(settings).get("learning_rate") == rate


def _extent(attempts: Sequence[Attempt]) -> str:
    """Iterations and epochs of trainings at the paper's scale."""
    trained = [attempt.result("train") for attempt in attempts if attempt.planned_scale == PAPER]
    counts = []
    for name in ("iterations", "epochs"):
        values = [value for result in trained if (value := number(result.get(name))) is not None]
        if values:
            limits = dict.fromkeys(f"{value:,.0f}" for value in (min(values), max(values)))
            counts.append(f"{' to '.join(limits)} {name.removesuffix('s') if max(values) == 1 else name}")
    return ", ".join(counts)


def _problems(attempts: Sequence[Attempt], done: Sequence[int], total: int) -> tuple[str, ...]:
    """Reasons why seeds have no score."""
    reasons = [
        (attempt.seed, attempt.why_missing("evaluate") or "scored, but the score is NaN or infinite")
        for attempt in attempts
        if attempt.seed not in done
    ]
    missing = total - len(attempts)
    if total <= 1:
        return tuple(reason for _, reason in reasons) or ("not run",) * (missing and not done)
    problems = [f"seed {seed}: {reason}" for seed, reason in reasons]
    if missing:
        problems.append("not run" if missing == total else f"{missing} of {total} seeds: not run")
    return tuple(problems)
