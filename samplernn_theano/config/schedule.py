"""The schedule of a training run: learning rate, limits, evaluations, checkpoints; and its progress."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from samplernn_theano.config.field_types import wrong_type
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.errors import HyperParameterError


@dataclass(frozen=True)
class Schedule:
    """Learning rate and limits of a run, and the intervals between evaluations and checkpoints.

    The defaults are the original's: an evaluation every 10,000 iterations, every 90 minutes and once per
    epoch, with samples of 5 s. `original_schedule` has the rest.
    """

    max_iters: int | None = None
    max_epochs: float | None = None
    max_minutes: float | None = None
    monitor_iters: int = 10_000
    monitor_minutes: float = 90.0
    save_minutes: float = 10.0  # of training between two checkpoints without an evaluation
    keep: int = 1  # number of checkpoints: of the latest evaluations, and of the best
    patience: int | None = None  # early stopping: evaluations without improvement before the run ends
    n_seqs: int = 0  # sequences generated at each evaluation
    sample_seconds: float = 5.0
    learning_rate: float | None = None  # of Adam; None: the original's for the family
    later_rate: float | None = None  # learning rate after the first `later_from` iterations
    later_from: int | None = None

    def __post_init__(self) -> None:
        """Raise HyperParameterError if a learning rate, a limit or an interval is not a positive number.

        Also if there is one of `later_rate` and `later_from` without the other.
        """
        if wrong := wrong_type(self):
            raise HyperParameterError(wrong)
        for name, value in vars(self).items():
            may_be_zero = name in ("n_seqs", "sample_seconds")
            is_endless = value == math.inf and name in ("sample_seconds", "later_rate")
            if value is not None and (is_endless or not (value > 0 or (value == 0 and may_be_zero))):
                flag, or_zero = "--" + name.replace("_", "-"), " or 0" * may_be_zero
                raise HyperParameterError(f"{flag} is {value}; it must be a positive number{or_zero}.")
        if (self.later_rate is None) != (self.later_from is None):
            given, lacking = ("--later-rate", "--later-from")[:: 1 if self.later_from is None else -1]
            raise HyperParameterError(
                f"{given} needs {lacking}: the learning rate is --later-rate after --later-from iterations."
            )


def original_schedule(family: type[HyperParameters]) -> Schedule:
    """Three days of training and 20 sequences at each evaluation; wavenet: 60 hours and 10."""
    hours, n_seqs = (60.0, 10) if family.family == "wavenet" else (72.0, 20)
    return Schedule(max_minutes=60 * hours, n_seqs=n_seqs, learning_rate=original_learning_rate(family))


def original_learning_rate(family: type[HyperParameters]) -> float:
    """Learning rate of Adam in the original's script of a family."""
    return 0.0001 if family.family == "wavenet" else 0.001


def describe_rate(schedule: Mapping[str, Any]) -> Any:
    """The learning rate of a stored schedule, or a text if it has two; None if it has none."""
    rate, later = schedule.get("learning_rate"), schedule.get("later_rate")
    return rate if later is None else f"{rate}, {later} after {schedule['later_from']} iterations"


def without_later_rate(schedule: Schedule) -> str:
    """A message if a run ends before its second learning rate; empty if it does not."""
    if schedule.later_from is None or schedule.max_iters is None or schedule.later_from < schedule.max_iters:
        return ""
    return (
        f"--later-rate {schedule.later_rate} is never reached: --later-from {schedule.later_from} is not "
        f"below --max-iters {schedule.max_iters}."
    )


def scaled_later_from(later_from: int, of: int, max_iters: int) -> int:
    """The `later_from` of a run of `max_iters` iterations that is the same part of it as of one of `of`."""
    return max(1, round(later_from * max_iters / of))


LIMITS = ("max_iters", "max_epochs", "max_minutes")
RATES = ("learning_rate", "later_rate", "later_from")


def with_limits(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes to a schedule, in which a limit replaces all limits."""
    return (dict.fromkeys(LIMITS) if changes.keys() & set(LIMITS) else {}) | changes


def stored_schedule(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule in the settings of a run, as a dictionary.

    The settings of older runs, and of runs converted from the original, have the learning rate next to it.
    """
    rate = {"learning_rate": settings["learning_rate"]} if "learning_rate" in settings else {}
    schedule = settings.get("schedule")
    return {**rate, **schedule} if isinstance(schedule, Mapping) else rate


@dataclass
class Progress:
    """Progress of a run. `seconds` is training time, without evaluation and compilation."""

    batches_per_epoch: int = 1
    iteration: int = 0
    epoch: int = 0
    batch: int = 0  # minibatches of this epoch trained on
    seconds: float = 0.0
    best_valid: float | None = None
    best_test: float | None = None
    best_iteration: int = 0
    last_monitor_iteration: int = 0  # of the last regular evaluation
    last_monitor_seconds: float = 0.0
    minibatch: float = 0.0  # cost of the last minibatch
    cost_sum: float = 0.0  # over the minibatches since the last regular evaluation
    cost_count: int = 0
    eval_due: bool = False  # at this iteration, and not done yet
    evals_without_improvement: int = 0  # since the best evaluation

    def __post_init__(self) -> None:
        """Raise HyperParameterError if a value has the wrong type, or a count or a time is negative."""
        if wrong := wrong_type(self):
            raise HyperParameterError(wrong)
        for name, value in vars(self).items():
            at_least = {"batches_per_epoch": 1, "seconds": 0.0}.get(name, 0 if type(value) is int else None)
            if at_least is not None and not value >= at_least:
                raise HyperParameterError(f"{name} is {value}; it must be at least {at_least}.")


def is_lower(cost: float, lowest: float | None) -> bool:
    """True if a cost is finite and below `lowest`, which does not count if it is not finite."""
    return math.isfinite(cost) and not (lowest is not None and math.isfinite(lowest) and lowest <= cost)


def best_of[T](items: Iterable[T], cost: Callable[[T], float]) -> T | None:
    """The first of the items of the lowest finite cost; None if the costs of all are NaN or infinite."""
    return min((item for item in items if math.isfinite(cost(item))), key=cost, default=None)


def improved(progress: Progress, valid: float) -> bool:
    """True if a validation cost is the lowest so far."""
    return is_lower(valid, progress.best_valid)


def current_rate(schedule: Schedule, progress: Progress) -> float | None:
    """The learning rate of the next iteration."""
    is_later = schedule.later_from is not None and progress.iteration >= schedule.later_from
    return schedule.later_rate if is_later else schedule.learning_rate


def ended(schedule: Schedule, progress: Progress) -> bool:
    """True if a limit is reached, or early stopping has run out of patience."""
    patience = math.inf if schedule.patience is None else schedule.patience
    return progress.evals_without_improvement >= patience or fraction(schedule, progress) >= 1


def fraction(schedule: Schedule, progress: Progress) -> float:
    """Fraction of the schedule that is done, by the nearest limit."""
    epochs = progress.epoch + progress.batch / progress.batches_per_epoch
    done = (
        (progress.iteration, schedule.max_iters),
        (epochs, schedule.max_epochs),
        (progress.seconds / 60, schedule.max_minutes),
    )
    return max((at / limit for at, limit in done if limit is not None), default=0.0)


def eval_due(schedule: Schedule, progress: Progress) -> bool:
    """True if an evaluation is due.

    Quirk: the evaluation at the end of an epoch comes after the first minibatch of the next one.
    """
    return regular_eval_due(schedule, progress) or (progress.epoch > 0 and progress.batch == 1)


def regular_eval_due(schedule: Schedule, progress: Progress) -> bool:
    """True if `monitor_iters` or `monitor_minutes` have passed since the last regular evaluation."""
    return (
        progress.iteration - progress.last_monitor_iteration >= schedule.monitor_iters
        or progress.seconds - progress.last_monitor_seconds >= 60 * schedule.monitor_minutes
    )
