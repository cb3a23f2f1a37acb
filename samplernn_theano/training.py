"""The training loop: step, monitor, log, stop."""

import importlib.metadata
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano import checkpoints, feeder, generation, models, ops, plots, runs, updates
from samplernn_theano.audio import SAMPLE_RATE
from samplernn_theano.backend import check_backend, compile_function, default_backend
from samplernn_theano.clips import SPLITS, Clips, load_split, statistics
from samplernn_theano.errors import DivergedError
from samplernn_theano.hyperparameters import HyperParameters, RealValued
from samplernn_theano.models.graph import Graph
from samplernn_theano.parameters import Parameters
from samplernn_theano.schedule import Progress, Schedule, due, ended, fraction, original_schedule

LOG_SECONDS = 5.0  # of training between two lines of the log


@dataclass(frozen=True)
class Trainer:
    """A model compiled for training."""

    hp: HyperParameters
    graph: Graph
    adam: Mapping[str, Any]
    step: Callable[..., list[Any]]  # updates the parameters; returns the cost and the new states
    evaluate: Callable[..., list[Any]]  # the same without updating
    settings: Mapping[str, Any] = field(default_factory=dict)  # where it comes from, for its checkpoints


def compile_trainer(
    hp: HyperParameters,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: ops.Form = "fast",
    ip_weight: float = 0.0,
) -> Trainer:
    """Draw the initial parameters and compile the training step and the evaluation.

    `learning_rate` is the family's where it is None. `ip_weight` is that of the independent predictions'
    cost (three_tier) beside the cost proper; the original's loop leaves them out.
    """
    graph = models.graph(Parameters(seed), hp, form)
    cost, trainable = updates.objective(graph, "train", ip_weight)
    step_updates, adam = updates.adam(cost, trainable, learning_rate or hp.learning_rate)
    outputs = [graph.cost, *graph.new_states.values()]
    return Trainer(
        hp,
        graph,
        adam,
        step=compile_function(graph.inputs, outputs, step_updates, backend),
        evaluate=compile_function(graph.inputs, outputs, backend=backend),
    )


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
    clips = {split: load_split(data, split) for split in SPLITS}
    for split, of_split in clips.items():
        feeder.check_split(of_split, split, hp)
    if isinstance(hp, RealValued) and hp.std is None:
        mean, std = statistics(clips["train"])
        hp = replace(hp, mean=mean, std=std)
    runs.check_free(folder, overwrite)
    described = {
        "family": hp.family,
        "hyperparameters": asdict(hp),
        "schedule": asdict(schedule),
        "data": str(data),
        "seed": seed,
        "learning_rate": learning_rate,
        "ip_weight": ip_weight,
        "backend": backend,
        "form": form,
        "versions": {name: importlib.metadata.version(name) for name in ("pytensor", "numpy")},
        **(settings or {}),
    }
    print(f"Compiling {hp.family} for {backend} ...", file=sys.stderr)
    trainer = replace(compile_trainer(hp, seed, learning_rate, backend, form, ip_weight), settings=described)
    run = runs.create(folder, described, overwrite)
    with _signals() as received:
        return _loop(trainer, clips, run, schedule, backend, received)


def _loop(
    trainer: Trainer,
    clips: Mapping[str, Clips],
    run: runs.Run,
    schedule: Schedule,
    backend: str,
    received: list[int],
) -> int:
    """Train until the schedule ends or a signal comes; returns the signal or 0."""
    hp = trainer.hp
    progress = Progress(batches_per_epoch=feeder.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len))
    states = trainer.graph.zero_states()
    since_log: list[float] = []  # costs since the last line of the log
    since_monitor: list[float] = []  # and since the last look
    next_log = 0.0
    sample: generation.Blocks | None = None
    runs.append(run, "start", parameters=_count(trainer), backend=backend)
    with _bar() as bar:
        while True:
            for progress.batch, batch in enumerate(feeder.feed(hp, clips["train"]), start=1):
                began = time.perf_counter()
                cost, *states = trainer.step(*batch_inputs(batch), *states)
                nll = float(cost)  # waits for the device
                if not math.isfinite(nll):
                    raise DivergedError(_diverged("cost", nll, progress, run))
                progress.iteration += 1
                if progress.iteration > 1:  # the first one compiles
                    progress.seconds += time.perf_counter() - began
                since_log.append(nll)
                since_monitor.append(nll)

                done = ended(schedule, progress)
                if progress.seconds >= next_log or done or received:
                    next_log = progress.seconds + LOG_SECONDS
                    mean = float(np.mean(since_log))
                    since_log.clear()
                    position = {"iteration": progress.iteration, "epoch": progress.epoch}
                    runs.append(run, "train", **position, seconds=progress.seconds, nll_bits=mean)
                _show(bar, schedule, progress, nll)
                if not received and (done or due(schedule, progress)):
                    train_nll = float(np.mean(since_monitor))
                    since_monitor.clear()
                    monitor(trainer, clips, run, progress, states, train_nll, bar.write)
                    if schedule.n_seqs and schedule.sample_seconds and not received:
                        sample = sample or generation.compile_sampler(
                            trainer.graph.parameters, hp, schedule.n_seqs, backend
                        )
                        _write_samples(run, hp, sample, schedule, progress)
                if done or received:
                    return _finish(trainer, run, states, progress, received, bar.write)
            progress.epoch += 1


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


def batch_inputs(batch: feeder.Minibatch) -> tuple[NDArray, NDArray, NDArray]:
    """A minibatch in the order of a graph's inputs: sequences, mask, reset."""
    return batch.sequences, batch.mask, batch.reset


def evaluate(trainer: Trainer, clips: Clips) -> float:
    """The mean NLL in bits per sample over the minibatches of a split, states carried from pass to pass."""
    states, costs = trainer.graph.zero_states(), []
    for batch in feeder.feed(trainer.hp, clips):
        cost, *states = trainer.evaluate(*batch_inputs(batch), *states)
        costs.append(np.asarray(cost))
    return float(np.mean(costs))


def monitor(
    trainer: Trainer,
    clips: Mapping[str, Clips],
    run: runs.Run,
    progress: Progress,
    states: list[Any],
    train_nll: float,
    say: Callable[[str], Any],
) -> None:
    """Save; score the valid split, and the test split where valid improved; save the best, log and draw."""
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
