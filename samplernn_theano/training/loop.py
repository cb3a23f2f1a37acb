"""The training loop: step, look, log, stop, go on."""

import math
import signal
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.schedule import due, ended, fraction
from samplernn_theano.data import minibatches
from samplernn_theano.data.minibatches import batch_inputs
from samplernn_theano.errors import DataError
from samplernn_theano.training import distributed
from samplernn_theano.training.state import Trainer, Training, save, settle
from samplernn_theano.utils import plotting, signal_handling

LOG_SECONDS = 5.0  # of training between two lines of the log

OUT_OF_TIME = 124
"""The exit code of a run that --max-time ended, as that of the command timeout."""


# --- the loop -----------------------------------------------------------------------------------------------


def train_on(t: Training, event: str, max_seconds: float | None) -> int:
    """Train until the schedule ends, a signal comes or time is up; returns the exit code.

    Of several processes all do the same steps, looks and saves, and only process 0 writes files and speaks.
    """
    progress, settings = t.progress, t.trainer.settings
    next_log = next_save = progress.seconds
    made_with = {name: settings[name] for name in ("backend", "versions", "devices", "git_revision")}
    _append(t, event, iteration=progress.iteration, parameters=_count(t.trainer), **made_with)
    with signal_handling.caught(t.stopping.append), _bar() as bar:
        t.say = bar.write
        if progress.look_due:
            t.evaluate(t)
        clock: float | None = None  # when what follows began to count
        while not ended(t.schedule, progress):
            for batch in _minibatches(t):
                _step(t, batch)
                if clock is None:  # the first one compiles
                    settle(t)
                else:
                    progress.seconds += time.perf_counter() - clock
                clock = time.perf_counter()
                halted = _halted(t, max_seconds)
                done = ended(t.schedule, progress)
                if progress.seconds >= next_log or done or halted:
                    next_log = progress.seconds + LOG_SECONDS
                    _log(t)
                _show(bar, t)
                progress.look_due = done or due(t.schedule, progress)
                if progress.look_due or progress.seconds >= next_save or halted:
                    clock = _wait(t, clock)
                if progress.look_due and not halted:
                    t.evaluate(t)
                    halted = _halted(t, None)
                    next_save = progress.seconds + 60 * t.schedule.save_minutes
                    clock = time.perf_counter()
                elif progress.seconds >= next_save or done or halted:
                    save(t, t.run.last)
                    next_save = progress.seconds + 60 * t.schedule.save_minutes
                    clock = time.perf_counter()
                if halted:
                    return _stopped(t, halted)
                if ended(t.schedule, progress):
                    break
            else:
                progress.epoch += 1
                progress.batch = 0
        _append(t, "end", iteration=progress.iteration, seconds=progress.seconds)
        return 0


def _wait(t: Training, clock: float) -> float:
    """Wait for the step in hand, which counts as training, alike in all processes; returns the time."""
    settle(t)
    now = time.perf_counter()
    (t.progress.seconds,), _ = distributed.agree(t.progress.seconds + now - clock)
    return now


def _halted(t: Training, max_seconds: float | None) -> int:
    """The exit code if a signal or the clock asks for the end, else 0: the same in all processes."""
    out_of_time = max_seconds is not None and time.monotonic() - t.began >= max_seconds
    told = t.stopping[0] if t.stopping else 0
    (t.progress.seconds, late), number = distributed.agree(t.progress.seconds, out_of_time, stop=told)
    return 128 + number if number else OUT_OF_TIME * bool(late)


def _minibatches(t: Training) -> Iterator[minibatches.Minibatch]:
    """The minibatches of this epoch that are to come; saves what was trained before an error of the data."""
    hp = t.trainer.hp
    try:
        fed = minibatches.feed(hp, t.clips["train"], distributed.rows(hp.batch_size))
        yield from islice(fed, t.progress.batch, None)
    except DataError:
        if distributed.n_processes() == 1:  # the others, which it takes to save, may know of no error
            save(t, t.run.last)
        raise


def _step(t: Training, batch: minibatches.Minibatch) -> None:
    """Train on one minibatch. A device computes while this goes on; its cost is read with the next one."""
    progress = t.progress
    cost, *t.states = t.trainer.step(*batch_inputs(batch), *t.states)
    settle(t)
    t.pending = cost
    progress.iteration += 1
    progress.batch += 1
    if isinstance(cost, np.ndarray):  # computed already
        settle(t)


def _stopped(t: Training, code: int) -> int:
    """The last words of a run that was stopped; returns the exit code, `code`."""
    why = "--max-time" if code == OUT_OF_TIME else signal.Signals(code - 128).name
    _append(t, "stopped", iteration=t.progress.iteration, seconds=t.progress.seconds, why=why)
    if distributed.is_first():
        plotting.learning_curve(t.run.plot, run_folder.read_log(t.run))
        after = f"after iteration {t.progress.iteration}"
        t.say(f"Stopped by {why} {after}; go on with: samplernn resume {t.run.folder}")
    return code


def _log(t: Training) -> None:
    settle(t)
    position = {"iteration": t.progress.iteration, "epoch": t.progress.epoch}
    _append(t, "train", **position, seconds=t.progress.seconds, nll_bits=float(np.mean(t.costs)))
    t.costs.clear()


def _append(t: Training, event: str, **about: Any) -> None:
    """Write a line of the log, if that is this process's part."""
    if distributed.is_first():
        run_folder.append(t.run, event, **about)


def _count(trainer: Trainer) -> int:
    return sum(math.prod(p.type.shape) for p in trainer.graph.parameters.trainable())


def _bar() -> tqdm:
    return tqdm(
        total=1.0,
        smoothing=0,
        mininterval=0.5,
        bar_format="{percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
        disable=not distributed.is_first(),
    )


def _show(bar: tqdm, t: Training) -> None:
    progress = t.progress
    bar.n = min(1.0, fraction(t.schedule, progress))
    speed = (progress.iteration - 1) / progress.seconds if progress.seconds else 0.0
    position = f"epoch {progress.epoch}  iteration {progress.iteration}"
    bar.set_postfix_str(f"{position}  {speed:.2f} it/s  {progress.minibatch:.3f} bits", refresh=False)
    bar.update(0)
