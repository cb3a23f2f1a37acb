"""The training loop: train on every minibatch; evaluate, save checkpoints and log when these are due."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice

import numpy as np

from samplernn_theano.config.schedule import ended, eval_due
from samplernn_theano.data import minibatches
from samplernn_theano.data.minibatches import Minibatch, batch_inputs
from samplernn_theano.errors import DataError
from samplernn_theano.training import distributed
from samplernn_theano.training.log_file import OUT_OF_TIME, log_costs, log_end, log_interruption, log_start
from samplernn_theano.training.progress_bar import progress_bar
from samplernn_theano.training.state import TrainingState, save_checkpoint, wait_for_cost
from samplernn_theano.utils import signal_handling

LOG_SECONDS = 5.0  # of training between two lines of the log file


def train_loop(
    t: TrainingState,
    event: str,
    max_seconds: float | None = None,
    catch_signals: bool = False,
    show_progress: bool = True,
) -> int:
    """Train until the schedule ends, a signal arrives or `max_seconds` have passed; return the exit code.

    In distributed training every process executes the same steps, evaluations and checkpoints.
    """
    progress = t.progress
    next_log = next_save = progress.seconds
    log_start(t, event)
    signals = signal_handling.handle_signals(t.signals.append) if catch_signals else nullcontext()
    with signals, progress_bar(t, show_progress) as update_bar:
        if progress.eval_due:
            t.on_evaluation(t)
        clock: float | None = None  # start of the training time that is not counted yet
        while not ended(t.schedule, progress):
            for batch in remaining_minibatches(t):
                train_step(t, batch)
                if clock is None:  # the first step compiles
                    wait_for_cost(t)
                else:
                    progress.seconds += time.perf_counter() - clock
                clock = time.perf_counter()
                interrupted = _interrupted(t, max_seconds)
                done = ended(t.schedule, progress)
                if progress.seconds >= next_log or done or interrupted:
                    log_costs(t)
                    next_log = progress.seconds + LOG_SECONDS
                update_bar()
                progress.eval_due = done or eval_due(t.schedule, progress)
                if progress.eval_due or progress.seconds >= next_save or interrupted:
                    _count_last_step(t, clock)
                    if progress.eval_due and not interrupted:
                        t.on_evaluation(t)
                        interrupted = _interrupted(t)
                    else:
                        save_checkpoint(t, t.run.last)
                    next_save = progress.seconds + 60 * t.schedule.save_minutes
                    clock = time.perf_counter()
                if interrupted:
                    log_interruption(t, interrupted)
                    return interrupted
                if ended(t.schedule, progress):  # after the evaluation: early stopping
                    break
            else:
                progress.epoch += 1
                progress.batch = 0
        log_end(t)
        return 0


def train_step(t: TrainingState, batch: Minibatch) -> None:
    """Train on one minibatch.

    A device computes it asynchronously; its cost is read after the next step has started.
    """
    cost, *t.states = t.trainer.step(*batch_inputs(batch), *t.states)
    wait_for_cost(t)  # of the previous step
    t.pending_cost = cost
    t.progress.iteration += 1
    t.progress.batch += 1
    if isinstance(cost, np.ndarray):  # not asynchronous
        wait_for_cost(t)


def remaining_minibatches(t: TrainingState) -> Iterator[Minibatch]:
    """Minibatches of this epoch that were not trained on; a data error saves a checkpoint first."""
    hp = t.trainer.hp
    try:
        fed = minibatches.feed(hp, t.clips["train"], distributed.batch_shard(hp.batch_size))
        yield from islice(fed, t.progress.batch, None)
    except DataError:
        if distributed.n_processes() == 1:  # saving takes all processes, and the others may have no error
            save_checkpoint(t, t.run.last)
        raise


def _count_last_step(t: TrainingState, clock: float) -> None:
    """Wait for the last step and add the time to the training time, the same in all processes."""
    wait_for_cost(t)
    (t.progress.seconds,), _ = distributed.broadcast(t.progress.seconds + time.perf_counter() - clock)


def _interrupted(t: TrainingState, max_seconds: float | None = None) -> int:
    """Exit code if a signal arrived or the time is up, else 0; the same in all processes."""
    out_of_time = max_seconds is not None and time.monotonic() - t.started >= max_seconds
    received = t.signals[0] if t.signals else 0
    (t.progress.seconds, late), number = distributed.broadcast(
        t.progress.seconds, out_of_time, signal_number=received
    )
    return 128 + number if number else OUT_OF_TIME * bool(late)
