"""When to stop and when to look."""

from dataclasses import dataclass

from samplernn_theano.config.hyperparameters import HyperParameters


@dataclass(frozen=True)
class Schedule:
    """When a run stops and looks.

    The defaults are the original's: a look every 10,000 iterations, every 90 minutes and once an epoch;
    sequences of 5 s each time. `original_schedule` has the rest.
    """

    max_iters: int | None = None
    max_epochs: int | None = None
    max_minutes: float | None = None
    monitor_iters: int = 10_000
    monitor_minutes: float = 90.0
    save_minutes: float = 10.0  # of training between two checkpoints, if there is no look before
    keep: int = 1  # checkpoints: of the latest looks, and of the best
    patience: int | None = None  # stop after so many looks that did not improve on the best
    n_seqs: int = 0
    sample_seconds: float = 5.0


def original_schedule(family: type[HyperParameters]) -> Schedule:
    """The original's: three days of training and 20 sequences at each look; wavenet: 60 hours and 10."""
    return Schedule(max_minutes=family.max_minutes, n_seqs=family.n_seqs)


@dataclass
class Progress:
    """Where a run stands. `seconds` counts training alone, without monitoring and compilation."""

    batches_per_epoch: int = 1
    iteration: int = 0
    epoch: int = 0
    batch: int = 0  # minibatches of this epoch that are done
    seconds: float = 0.0
    best_valid: float | None = None
    best_test: float | None = None
    best_iteration: int = 0
    last_monitor_iteration: int = 0  # of the last regular look
    last_monitor_seconds: float = 0.0
    minibatch: float = 0.0  # cost of the last one
    cost_sum: float = 0.0  # of the minibatches since the last regular look
    cost_count: int = 0
    look_due: bool = False  # a look at this very moment is still to be made
    looks_without_gain: int = 0  # since the best one


def improved(progress: Progress, valid: float) -> bool:
    """Whether a validation cost is the lowest so far."""
    return progress.best_valid is None or valid < progress.best_valid


def ended(schedule: Schedule, progress: Progress) -> bool:
    """Whether it is time to stop."""
    out_of_patience = schedule.patience is not None and progress.looks_without_gain >= schedule.patience
    return out_of_patience or fraction(schedule, progress) >= 1


def fraction(schedule: Schedule, progress: Progress) -> float:
    """How much of the schedule is done, by whichever limit is nearest."""
    done = 0.0
    if schedule.max_iters is not None:
        done = max(done, progress.iteration / schedule.max_iters)
    if schedule.max_epochs is not None:
        epochs = progress.epoch + progress.batch / progress.batches_per_epoch
        done = max(done, epochs / schedule.max_epochs)
    if schedule.max_minutes is not None:
        done = max(done, progress.seconds / 60 / schedule.max_minutes)
    return done


def due(schedule: Schedule, progress: Progress) -> bool:
    """Whether it is time for a look.

    Quirk: the look at the end of an epoch comes after the first minibatch of the next one.
    """
    return regular(schedule, progress) or (progress.epoch > 0 and progress.batch == 1)


def regular(schedule: Schedule, progress: Progress) -> bool:
    """Whether so much was trained since the last regular look that it is time for the next."""
    return (
        progress.iteration - progress.last_monitor_iteration >= schedule.monitor_iters
        or progress.seconds - progress.last_monitor_seconds >= 60 * schedule.monitor_minutes
    )
