"""The training loop: step, look, log, stop, go on."""

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from samplernn_theano import feeder, original_layout, plots, recurrent, runs, signals
from samplernn_theano.backend import check_backend, default_backend
from samplernn_theano.clips import SPLITS, Clips, data_sha256, load_split, split_path, statistics
from samplernn_theano.errors import DataError, DivergedError
from samplernn_theano.files import locked
from samplernn_theano.hyperparameters import HyperParameters, RealValued
from samplernn_theano.monitoring import Training, diverged, look, save
from samplernn_theano.provenance import provenance
from samplernn_theano.schedule import Progress, Schedule, due, ended, fraction, original_schedule
from samplernn_theano.trainer import Trainer, batch_inputs, compile_trainer

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
    learning_rate, ip_weight
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
    clips = load_splits(data, hp)
    if isinstance(hp, RealValued) and hp.std is None:
        mean, std = statistics(clips["train"])
        hp = replace(hp, mean=mean, std=std)
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
        **provenance(backend),
        **(settings or {}),
    }
    with locked(Path(folder)):
        trainer = compile_for(hp, described)
        run = runs.create(folder, described, overwrite)
        if exp is not None:
            shapes = {p.name: p.type.shape for p in trainer.graph.parameters.trainable()}
            original_layout.create(run.folder, hp, which_set, exp, learning_rate, schedule, shapes)
        progress = Progress(feeder.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len))
        states = trainer.graph.zero_states()
        return train_on(
            Training(trainer, clips, run, schedule, progress, states, began), "start", max_seconds
        )


def compile_for(hp: HyperParameters, settings: Mapping[str, Any]) -> Trainer:
    """Compile a model with the options that the settings of a run say."""
    print(f"Compiling {hp.family} for {settings['backend']} ...", file=sys.stderr)
    options = (settings[name] for name in ("seed", "learning_rate", "backend", "form", "ip_weight"))
    return replace(compile_trainer(hp, *options), settings=settings)


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
    """Train until the schedule ends, a signal comes or time is up; returns the exit code."""
    progress, settings = t.progress, t.trainer.settings
    since_log: list[float] = []  # costs since the last line of the log
    next_log = next_save = progress.seconds
    made_with = {name: settings[name] for name in ("backend", "versions", "devices", "git_revision")}
    runs.append(t.run, event, iteration=progress.iteration, parameters=_count(t.trainer), **made_with)
    with signals.caught(t.stopping.append), _bar() as bar:
        t.say = bar.write
        if progress.look_due:
            look(t)
        compiled = False
        while not ended(t.schedule, progress):
            for batch in _minibatches(t):
                began = time.perf_counter()
                _step(t, batch)
                if compiled:  # the first one compiles
                    progress.seconds += time.perf_counter() - began
                compiled = True
                since_log.append(progress.minibatch)
                done = ended(t.schedule, progress)
                out_of_time = max_seconds is not None and time.monotonic() - t.began >= max_seconds
                stop = done or out_of_time or bool(t.stopping)
                if progress.seconds >= next_log or stop:
                    next_log = progress.seconds + LOG_SECONDS
                    _log(t, since_log)
                    since_log.clear()
                _show(bar, t)
                progress.look_due = done or due(t.schedule, progress)
                if progress.look_due and not (t.stopping or out_of_time):
                    look(t)
                    next_save = progress.seconds + 60 * t.schedule.save_minutes
                elif progress.seconds >= next_save or stop:
                    save(t, t.run.last)
                    next_save = progress.seconds + 60 * t.schedule.save_minutes
                if t.stopping or out_of_time:
                    return _stopped(t)
                if ended(t.schedule, progress):
                    break
            else:
                progress.epoch += 1
                progress.batch = 0
        runs.append(t.run, "end", iteration=progress.iteration, seconds=progress.seconds)
        return 0


def _minibatches(t: Training) -> Iterator[feeder.Minibatch]:
    """The minibatches of this epoch that are to come; saves what was trained before an error of the data."""
    try:
        yield from islice(feeder.feed(t.trainer.hp, t.clips["train"]), t.progress.batch, None)
    except DataError:
        save(t, t.run.last)
        raise


def _step(t: Training, batch: feeder.Minibatch) -> None:
    """Train on one minibatch."""
    progress = t.progress
    cost, *states = t.trainer.step(*batch_inputs(batch), *t.states)
    progress.minibatch = float(cost)  # waits for the device
    if not math.isfinite(progress.minibatch):
        raise DivergedError(diverged("cost", progress.minibatch, t))
    t.states = states
    progress.iteration += 1
    progress.batch += 1
    progress.cost_sum += progress.minibatch
    progress.cost_count += 1


def _stopped(t: Training) -> int:
    """The last words of a run that was stopped; returns the exit code."""
    why = signal.Signals(t.stopping[0]).name if t.stopping else "--max-time"
    runs.append(t.run, "stopped", iteration=t.progress.iteration, seconds=t.progress.seconds, why=why)
    plots.learning_curve(t.run.plot, runs.read_log(t.run))
    after = f"after iteration {t.progress.iteration}"
    t.say(f"Stopped by {why} {after}; go on with: samplernn resume {t.run.folder}")
    return 128 + t.stopping[0] if t.stopping else OUT_OF_TIME


def _log(t: Training, costs: list[float]) -> None:
    position = {"iteration": t.progress.iteration, "epoch": t.progress.epoch}
    runs.append(t.run, "train", **position, seconds=t.progress.seconds, nll_bits=float(np.mean(costs)))


def _count(trainer: Trainer) -> int:
    return sum(math.prod(p.type.shape) for p in trainer.graph.parameters.trainable())


def _bar() -> tqdm:
    return tqdm(
        total=1.0,
        smoothing=0,
        mininterval=0.5,
        bar_format="{percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
    )


def _show(bar: tqdm, t: Training) -> None:
    progress = t.progress
    bar.n = min(1.0, fraction(t.schedule, progress))
    speed = (progress.iteration - 1) / progress.seconds if progress.seconds else 0.0
    position = f"epoch {progress.epoch}  iteration {progress.iteration}"
    bar.set_postfix_str(f"{position}  {speed:.2f} it/s  {progress.minibatch:.3f} bits", refresh=False)
    bar.update(0)
