"""The training loop: step, monitor, log, stop."""

import importlib.metadata
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from samplernn_theano import checkpoints, feeder, generation, ops, plots, runs
from samplernn_theano.audio import SAMPLE_RATE
from samplernn_theano.backend import check_backend, default_backend
from samplernn_theano.clips import SPLITS, Clips, data_sha256, load_split, statistics
from samplernn_theano.errors import DataError, DivergedError
from samplernn_theano.files import locked
from samplernn_theano.hyperparameters import HyperParameters, RealValued
from samplernn_theano.schedule import Progress, Schedule, due, ended, fraction, original_schedule
from samplernn_theano.trainer import Trainer, batch_inputs, compile_trainer, evaluate

LOG_SECONDS = 5.0  # of training between two lines of the log


def train(
    hp: HyperParameters,
    data: str | Path,
    folder: str | Path,
    schedule: Schedule | None = None,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: ops.Form = "fast",
    ip_weight: float = 0.0,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
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

    Returns
    -------
    int
        0 when the schedule's end was reached, else the number of the signal that stopped the run.

    Raises
    ------
    DataError
        If the data are missing or unfit.
    OutputError
        If a file cannot be written.
    DivergedError
        If the cost is not a finite number; the last checkpoint is left as it was.
    """
    schedule = schedule or original_schedule(type(hp))
    learning_rate = learning_rate or hp.learning_rate
    check_backend(backend := backend or default_backend())
    clips = _load(data, hp)
    if isinstance(hp, RealValued) and hp.std is None:
        mean, std = statistics(clips["train"])
        hp = replace(hp, mean=mean, std=std)
    runs.check_free(folder, overwrite)
    described = {
        "family": hp.family,
        "hyperparameters": asdict(hp),
        "schedule": asdict(schedule),
        "data": str(Path(data).absolute()),
        "data_sha256": {split: data_sha256(of_split) for split, of_split in clips.items()},
        "seed": seed,
        "learning_rate": learning_rate,
        "ip_weight": ip_weight,
        "backend": backend,
        "form": form,
        "versions": _versions(),
        **(settings or {}),
    }
    print(f"Compiling {hp.family} for {backend} ...", file=sys.stderr)
    trainer = replace(compile_trainer(hp, seed, learning_rate, backend, form, ip_weight), settings=described)
    with locked(Path(folder)):
        run = runs.create(folder, described, overwrite)
        passes = feeder.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len)
        return _loop(trainer, clips, run, schedule, Progress(passes), trainer.graph.zero_states(), "start")


def resume(
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
) -> int:
    """Go on with a run from its last checkpoint, as if it had never been interrupted.

    On the same machine and backend, costs and parameters are bit for bit those of the uninterrupted run. (The
    original reloads parameters alone: neither Adam's moments nor the carried states.)

    Parameters
    ----------
    folder : path
        Of the run.
    changes : mapping, optional
        Fields of the schedule that are to be others from now on, such as ``max_iters``.
    data : path, optional
        Where the data set is now, if it was moved.

    Returns
    -------
    int
        As of `train`.

    Raises
    ------
    CheckpointError
        If the run has no checkpoint, or a damaged one.
    DataError
        If the data are missing, or are not those that the run was trained on.
    OutputError
        If a file cannot be written, or another process works in the folder.
    """
    run = runs.Run(Path(folder))
    with locked(run.folder) if run.folder.is_dir() else nullcontext():
        checkpoint = checkpoints.load(run.last)
        hp, settings = checkpoint.hp, checkpoint.settings
        check_backend(settings["backend"])
        schedule = replace(Schedule(**settings["schedule"]), **(changes or {}))
        clips = _load(data or settings["data"], hp)
        for split, of_split in clips.items():
            if data_sha256(of_split) != settings["data_sha256"][split]:
                raise DataError(
                    f"The {split} split in {data or settings['data']} is not the one that {run.folder} was "
                    "trained on; say where that is with --data."
                )
        told = (
            "" if settings["versions"] == _versions() else ", with other versions: not bit for bit the same"
        )
        print(f"Compiling {hp.family} for {settings['backend']}{told} ...", file=sys.stderr)
        options = (settings[name] for name in ("seed", "learning_rate", "backend", "form", "ip_weight"))
        trainer = replace(compile_trainer(hp, *options), settings={**settings, "schedule": asdict(schedule)})
        trainer.graph.parameters.assign(checkpoint.parameters)
        for name, variable in trainer.adam.items():
            variable.set_value(checkpoint.adam[name])
        states = [checkpoint.states[name] for name in trainer.graph.states]
        progress = Progress(**checkpoint.progress)
        runs.rewind(run, progress.iteration)
        return _loop(trainer, clips, run, schedule, progress, states, "resume")


def _load(data: str | Path, hp: HyperParameters) -> dict[str, Clips]:
    """The three splits, checked."""
    clips = {split: load_split(data, split) for split in SPLITS}
    for split, of_split in clips.items():
        feeder.check_split(of_split, split, hp)
    return clips


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("pytensor", "numpy")}


def _loop(
    trainer: Trainer,
    clips: Mapping[str, Clips],
    run: runs.Run,
    schedule: Schedule,
    progress: Progress,
    states: list[Any],
    event: str,
) -> int:
    """Train until the schedule ends or a signal comes; returns the signal or 0."""
    hp, backend = trainer.hp, trainer.settings["backend"]
    since_log: list[float] = []  # costs since the last line of the log
    next_log = next_save = progress.seconds
    sample: generation.Blocks | None = None
    runs.append(run, event, parameters=_count(trainer), backend=backend, iteration=progress.iteration)
    compiled = False
    with _signals() as received, _bar() as bar:
        if ended(schedule, progress):
            return _finish(trainer, run, states, progress, received, bar.write)
        while True:
            for batch in islice(feeder.feed(hp, clips["train"]), progress.batch, None):
                began = time.perf_counter()
                cost, *states = trainer.step(*batch_inputs(batch), *states)
                nll = float(cost)  # waits for the device
                if not math.isfinite(nll):
                    raise DivergedError(_diverged("cost", nll, progress, run))
                progress.iteration += 1
                progress.batch += 1
                if compiled:  # the first one compiles
                    progress.seconds += time.perf_counter() - began
                compiled = True
                since_log.append(nll)
                progress.cost_sum += nll
                progress.cost_count += 1

                done = ended(schedule, progress)
                if progress.seconds >= next_log or done or received:
                    next_log = progress.seconds + LOG_SECONDS
                    mean = float(np.mean(since_log))
                    since_log.clear()
                    position = {"iteration": progress.iteration, "epoch": progress.epoch}
                    runs.append(run, "train", **position, seconds=progress.seconds, nll_bits=mean)
                _show(bar, schedule, progress, nll)
                if not received and (done or due(schedule, progress)):
                    monitor(trainer, clips, run, progress, states, bar.write)
                    next_save = progress.seconds + 60 * schedule.save_minutes
                    if schedule.n_seqs and schedule.sample_seconds and not received:
                        sample = sample or generation.compile_sampler(
                            trainer.graph.parameters, hp, schedule.n_seqs, backend
                        )
                        _write_samples(run, hp, sample, schedule, progress)
                elif progress.seconds >= next_save:
                    save(run.last, trainer, states, progress)
                    next_save = progress.seconds + 60 * schedule.save_minutes
                if done or received:
                    return _finish(trainer, run, states, progress, received, bar.write)
            progress.epoch += 1
            progress.batch = 0


def _finish(
    trainer: Trainer,
    run: runs.Run,
    states: list[Any],
    progress: Progress,
    received: list[int],
    say: Callable[[str], Any],
) -> int:
    """The last words of a run; after a signal also a checkpoint. Returns the signal or 0."""
    if received:
        save(run.last, trainer, states, progress)
        plots.learning_curve(run.plot, runs.read_log(run))
        say(f"Stopped by a signal after iteration {progress.iteration}; the checkpoint is {run.last}")
    event = "stopped" if received else "end"
    runs.append(run, event, iteration=progress.iteration, seconds=progress.seconds)
    return received[0] if received else 0


def monitor(
    trainer: Trainer,
    clips: Mapping[str, Clips],
    run: runs.Run,
    progress: Progress,
    states: list[Any],
    say: Callable[[str], Any],
) -> None:
    """Save; score the valid split, and the test split where valid improved; save the best, log and draw."""
    train_nll = progress.cost_sum / max(1, progress.cost_count)
    progress.cost_sum, progress.cost_count = 0.0, 0
    progress.last_monitor_iteration = progress.iteration
    progress.last_monitor_seconds = progress.seconds
    save(run.last, trainer, states, progress)  # before anything that may fail
    valid, test = evaluate(trainer, clips["valid"]), None
    if not math.isfinite(valid):
        raise DivergedError(_diverged("validation cost", valid, progress, run))
    improved = progress.best_valid is None or valid < progress.best_valid
    if improved:
        test = evaluate(trainer, clips["test"])
        progress.best_valid, progress.best_test = valid, test
        progress.best_iteration = progress.iteration
        save(run.best, trainer, states, progress)
        save(run.last, trainer, states, progress)
    runs.append(
        run,
        "monitor",
        iteration=progress.iteration,
        epoch=progress.epoch,
        seconds=progress.seconds,
        train=train_nll,
        valid=valid,
        test=test,
    )
    plots.learning_curve(run.plot, runs.read_log(run))
    tested = "" if test is None else f"  test {test:.4f} (best so far)"
    nats = f" (valid {valid * math.log(2):.4f} nats)" if trainer.hp.real_valued else ""
    say(
        f"iteration {progress.iteration}  epoch {progress.epoch}  {progress.seconds / 60:.1f} min  "
        f"train {train_nll:.4f}  valid {valid:.4f}{tested}  bits per sample{nats}"
    )


def save(path: Path, trainer: Trainer, states: list[Any], progress: Progress) -> None:
    """Write a checkpoint of this moment.

    Raises
    ------
    DivergedError
        If an array is not finite: a good checkpoint is not replaced by a broken one.
    """
    parameters = trainer.graph.parameters.arrays()
    adam = {name: np.asarray(variable.get_value()) for name, variable in trainer.adam.items()}
    carried = {name: np.asarray(s) for name, s in zip(trainer.graph.states, states, strict=True)}
    for name, value in (parameters | adam | carried).items():
        if not np.isfinite(value).all():
            raise DivergedError(
                f"{name} is not finite after {progress.iteration} updates; no checkpoint was "
                f"written, and what {path} held before is kept. Try a smaller --learning-rate."
            )
    checkpoints.save(
        path,
        checkpoints.Checkpoint(
            hp=trainer.hp,
            parameters=parameters,
            adam=adam,
            states=carried,
            progress=asdict(progress),
            settings=trainer.settings,
        ),
    )


def _write_samples(
    run: runs.Run, hp: HyperParameters, sample: generation.Blocks, schedule: Schedule, progress: Progress
) -> None:
    levels = generation.take(sample(progress.iteration), round(schedule.sample_seconds * SAMPLE_RATE))
    generation.write_sequences(run.samples, f"sample_i{progress.iteration}", levels, hp)


def _count(trainer: Trainer) -> int:
    return sum(math.prod(p.type.shape) for p in trainer.graph.parameters.trainable())


def _diverged(what: str, nll: float, progress: Progress, run: runs.Run) -> str:
    kept = f"the last good checkpoint is {run.last}" if run.last.exists() else "there is no checkpoint yet"
    return (
        f"The {what} became {nll} after {progress.iteration} updates; {kept}. "
        "Try a smaller --learning-rate, --weight_norm True, or look for damaged clips."
    )


def _bar() -> tqdm:
    return tqdm(
        total=1.0,
        smoothing=0,
        mininterval=0.5,
        bar_format="{percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
    )


def _show(bar: tqdm, schedule: Schedule, progress: Progress, nll: float) -> None:
    bar.n = min(1.0, fraction(schedule, progress))
    speed = (progress.iteration - 1) / progress.seconds if progress.seconds else 0.0
    bar.set_postfix_str(
        f"epoch {progress.epoch}  iteration {progress.iteration}  {speed:.2f} it/s  {nll:.3f} bits",
        refresh=False,
    )
    bar.update(0)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list; a second one ends the process at once."""
    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        received.append(number)
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, handle)
    try:
        yield received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
