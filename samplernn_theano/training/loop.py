"""The training loop: batches in, a step, what is due, and the hooks that do it."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Literal

from samplernn_theano.config.schedule import ended, eval_due
from samplernn_theano.data import minibatches
from samplernn_theano.data.minibatches import Minibatch
from samplernn_theano.errors import DataError
from samplernn_theano.training import distributed
from samplernn_theano.training.step import Due, Hook, TrainingState, train_step, wait_for_cost
from samplernn_theano.utils import signal_handling

LOG_SECONDS = 5.0  # of training between two lines of the log file
OUT_OF_TIME = 124  # exit code of a run that reached --max-time, as of the command timeout


def train_loop(
    t: TrainingState,
    event: Literal["start", "resume"],
    hooks: Sequence[Hook] = (),
    max_seconds: float | None = None,
    catch_signals: bool = False,
) -> int:
    """Train until the schedule ends, a signal arrives or `max_seconds` have passed; return the exit code.

    The hooks are called in their order after each step. In distributed training every process executes the
    same steps and calls the same hooks.
    """

    def call(due: Due) -> None:
        for hook in hooks:
            hook(t, due)

    progress, batches = t.progress, remaining_minibatches(t)
    next_log = next_save = progress.seconds
    clock: float | None = None  # start of the training time that is not counted yet
    with signal_handling.handle_signals(t.signals.append) if catch_signals else nullcontext():
        call(Due(event, evaluation=progress.eval_due))
        while not ended(t.schedule, progress):
            try:
                train_step(t, next(batches))
            except DataError as error:
                if distributed.n_processes() > 1:  # saving takes all, and the others may have no error
                    raise
                call(Due(checkpoint=True))
                raise DataError(f"{error} To resume: samplernn resume {t.run.folder}") from error
            if clock is None:  # the first step compiles
                wait_for_cost(t)
            else:
                progress.seconds += time.perf_counter() - clock
            clock = time.perf_counter()
            code = _interrupted(t, max_seconds)
            due = _what_is_due(t, next_log, next_save, code > 0)
            if due.evaluation or due.checkpoint:
                wait_for_cost(t)
                progress.seconds += time.perf_counter() - clock
                code = code or _interrupted(t, max_seconds)
                due = _what_is_due(t, next_log, next_save, code > 0)
            call(due)
            if due.log:
                next_log = progress.seconds + LOG_SECONDS
            if due.evaluation or due.checkpoint:
                next_save = progress.seconds + 60 * t.schedule.save_minutes
                code = code or _interrupted(t)
                clock = time.perf_counter()
            if code:
                why = "--max-time" if code == OUT_OF_TIME else signal.Signals(code - 128).name
                call(Due("stopped", why))
                return code
        call(Due("end"))
        return 0


def remaining_minibatches(t: TrainingState) -> Iterator[Minibatch]:
    """Endless minibatches, or this process's shards of them, from the position of the run on."""
    hp = t.trainer.hp
    while True:
        shard = distributed.batch_shard(hp.batch_size)
        yield from minibatches.feed(hp, t.clips["train"], shard, t.progress.batch)
        t.progress.epoch += 1
        t.progress.batch = 0


def _what_is_due(t: TrainingState, next_log: float, next_save: float, interrupted: bool) -> Due:
    done = ended(t.schedule, t.progress)
    t.progress.eval_due = done or eval_due(t.schedule, t.progress)
    return Due(
        log=t.progress.seconds >= next_log or done or interrupted,
        evaluation=t.progress.eval_due and not interrupted,
        checkpoint=t.progress.seconds >= next_save or interrupted,
    )


def _interrupted(t: TrainingState, max_seconds: float | None = None) -> int:
    """Exit code if a signal arrived or the time is up, else 0: with the clock, the same in all processes."""
    out_of_time = max_seconds is not None and time.monotonic() - t.started >= max_seconds
    (t.progress.seconds, late), number = distributed.broadcast(
        t.progress.seconds, out_of_time, signal_number=t.signals[0] if t.signals else 0
    )
    return 128 + number if number else OUT_OF_TIME * bool(late)
