"""The training loop: step, look, log, stop, go on."""

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from samplernn_theano import distributed, feeder, original_layout, plots, recurrent, runs, signals
from samplernn_theano.backend import check_backend, check_devices, check_precision, default_backend
from samplernn_theano.clips import SPLITS, Clips, data_sha256, load_split, split_path, statistics
from samplernn_theano.errors import DataError
from samplernn_theano.files import locked
from samplernn_theano.hyperparameters import HyperParameters, RealValued
from samplernn_theano.monitoring import Training, look, save, settle
from samplernn_theano.provenance import provenance
from samplernn_theano.schedule import Progress, Schedule, due, ended, fraction, original_schedule
from samplernn_theano.trainer import Trainer, batch_inputs, compile_trainer, prepare_memory

LOG_SECONDS = 5.0  # of training between two lines of the log

OUT_OF_TIME = 124
"""The exit code of a run that --max-time ended, as that of the command timeout."""


def train(
    hp: HyperParameters,
    data: str | Path,
    folder: str | Path,
    schedule: Schedule | None = None,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: recurrent.Form = "fast",
    ip_weight: float = 0.0,
    precision: str = "highest",
    n_devices: int = 1,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    max_seconds: float | None = None,
    exp: str | None = None,
) -> int:
    """Train a model on the clips in `data` and keep everything in the folder of the run.

    Parameters
    ----------
    data : path
        A folder with ``*_train.npy``, ``*_valid.npy`` and ``*_test.npy``, as `samplernn_theano.clips` says.
    folder : path
        Of the run; made new.
    schedule : Schedule, optional
        The original's where it is None.
    learning_rate, ip_weight, precision, n_devices
        As in `compile_trainer`.
    settings : mapping, optional
        More to note down in settings.json.
    max_seconds : float, optional
        Stop with a checkpoint when this call has taken so long, compilation and looks included.
    exp : str, optional
        Also write what the original would, under its names, for an experiment of this name.

    Returns
    -------
    int
        The exit code: 0 when the schedule's end was reached, 128 + its number when a signal stopped the run,
        `OUT_OF_TIME` when `max_seconds` did.

    Raises
    ------
    DataError
        If the data are missing or unfit, or vanish while they are read.
    OutputError
        If a file cannot be written.
    DivergedError
        If the cost is not a finite number; the last checkpoint is left as it was.
    HyperParameterError
        If `exp` is given and the original has no such model.
    """
    began = time.monotonic()
    schedule = schedule or original_schedule(type(hp))
    learning_rate = learning_rate or hp.learning_rate
    check_backend(backend := backend or default_backend())
    check_precision(backend, precision)
    prepare_memory(hp)
    check_devices(backend, n_devices, hp.batch_size)
    clips = load_splits(data, hp)
    if isinstance(hp, RealValued) and hp.std is None:
        mean, std = statistics(clips["train"])
        hp = replace(hp, mean=mean, std=std)
    if distributed.is_first():
        runs.check_free(folder, overwrite)
    which_set = original_layout.which_set(split_path(data, "train").name)
    if exp is not None:
        original_layout.place("", hp, which_set, exp, learning_rate)  # raises where there is no such model
    described = {
        "family": hp.family,
        "hyperparameters": asdict(hp),
        "schedule": asdict(schedule),
        "data": str(Path(data).absolute()),
        "data_sha256": hashes(clips),
        "which_set": which_set,
        "exp": exp,
        "original_layout": exp is not None,
        "seed": seed,
        "learning_rate": learning_rate,
        "ip_weight": ip_weight,
        "backend": backend,
        "form": form,
        "precision": precision,
        "n_devices": n_devices,
        **provenance(backend),
        **(settings or {}),
    }
    with locked(Path(folder)) if distributed.is_first() else nullcontext():
        trainer = compile_for(hp, described)
        run = runs.Run(Path(folder))
        if distributed.is_first():
            run = runs.create(folder, described, overwrite)
        if distributed.is_first() and exp is not None:
            shapes = {p.name: p.type.shape for p in trainer.graph.parameters.trainable()}
            original_layout.create(run.folder, hp, which_set, exp, learning_rate, schedule, shapes)
        progress = Progress(feeder.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len))
        states = trainer.zero_states()
        return train_on(
            Training(trainer, clips, run, schedule, progress, states, began), "start", max_seconds
        )


def compile_for(hp: HyperParameters, settings: Mapping[str, Any]) -> Trainer:
    """Compile a model with the options that the settings of a run say."""
    if distributed.is_first():
        print(f"Compiling {hp.family} for {settings['backend']} ...", file=sys.stderr)
    names = ("seed", "learning_rate", "backend", "form", "ip_weight", "precision", "n_devices")
    return replace(compile_trainer(hp, *(settings[name] for name in names)), settings=settings)


def load_splits(data: str | Path, hp: HyperParameters) -> dict[str, Clips]:
    """The three splits, checked."""
    clips = {split: load_split(data, split) for split in SPLITS}
    for split, of_split in clips.items():
        feeder.check_split(of_split, split, hp)
    return clips


def hashes(clips: Mapping[str, Clips]) -> dict[str, str]:
    """The SHA-256 of every split."""
    return {split: data_sha256(of_split) for split, of_split in clips.items()}


# --- the loop -----------------------------------------------------------------------------------------------


def train_on(t: Training, event: str, max_seconds: float | None) -> int:
    """Train until the schedule ends, a signal comes or time is up; returns the exit code.

    Of several processes all do the same steps, looks and saves, and only process 0 writes files and speaks.
    """
    progress, settings = t.progress, t.trainer.settings
    next_log = next_save = progress.seconds
    made_with = {name: settings[name] for name in ("backend", "versions", "devices", "git_revision")}
    _append(t, event, iteration=progress.iteration, parameters=_count(t.trainer), **made_with)
    with signals.caught(t.stopping.append), _bar() as bar:
        t.say = bar.write
        if progress.look_due:
            look(t)
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
                    look(t)
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


def _minibatches(t: Training) -> Iterator[feeder.Minibatch]:
    """The minibatches of this epoch that are to come; saves what was trained before an error of the data."""
    hp = t.trainer.hp
    try:
        fed = feeder.feed(hp, t.clips["train"], distributed.rows(hp.batch_size))
        yield from islice(fed, t.progress.batch, None)
    except DataError:
        if distributed.n_processes() == 1:  # the others, which it takes to save, may know of no error
            save(t, t.run.last)
        raise


def _step(t: Training, batch: feeder.Minibatch) -> None:
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
        plots.learning_curve(t.run.plot, runs.read_log(t.run))
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
        runs.append(t.run, event, **about)


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
