"""What a training stops for: a look at the validation set, a checkpoint."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano import (
    checkpoints,
    distributed,
    engines,
    files,
    generation,
    like_original,
    original_layout,
    plots,
    runs,
)
from samplernn_theano.audio import SAMPLE_RATE, write_wav
from samplernn_theano.backend import devices, full, read
from samplernn_theano.clips import Clips
from samplernn_theano.errors import DivergedError
from samplernn_theano.original.result_tree import ResultTree
from samplernn_theano.original.tags import sample_name
from samplernn_theano.schedule import Progress, Schedule, improved, regular
from samplernn_theano.streams import OriginalStreams, OwnStreams
from samplernn_theano.trainer import Trainer, evaluate


@dataclass
class Training:
    """A training under way: what does not change, and where it stands."""

    trainer: Trainer
    clips: Mapping[str, Clips]  # by split
    run: runs.Run
    schedule: Schedule
    progress: Progress
    states: list[Any]  # carried, in the order of the graph
    began: float  # time.monotonic() at the start of this process
    say: Callable[[str], Any] = print
    stopping: list[int] = field(default_factory=list)  # the signal that asks for the end, once it has come
    engine: engines.Engine | None = None  # for the sound of a look
    costs: list[float] = field(default_factory=list)  # since the last line of the log
    pending: Any = None  # the cost of the last iteration, where it is not read yet

    @property
    def tree(self) -> ResultTree | None:
        """The run's folder under the original's names, where these were asked for."""
        return ResultTree(self.run.folder) if self.trainer.settings.get("original_layout") else None


def settle(t: Training) -> None:
    """Read the cost of the last iteration, if that is still to be done; waits for the device.

    Raises
    ------
    DivergedError
        If it is not a finite number.
    """
    if t.pending is None:
        return
    cost, t.pending = read(t.pending), None
    if not math.isfinite(cost):
        raise DivergedError(diverged("cost", cost, t, t.progress.iteration - 1))
    t.progress.minibatch = cost
    t.progress.cost_sum += cost
    t.progress.cost_count += 1
    t.costs.append(cost)


# --- looks --------------------------------------------------------------------------------------------------


def look(t: Training) -> None:
    """Score the valid split, and the test split where valid improved; log, draw, generate, save.

    A checkpoint is written before, which says that this look is due: were the process killed, it would be
    made again.

    Raises
    ------
    DivergedError
        If the validation cost or an array is not finite.
    DataError
        If the data cannot be read any more.
    OutputError
        If a file cannot be written.
    """
    progress, run = t.progress, t.run
    progress.look_due = True
    save(t, run.last)  # before anything that may fail
    record = _score(t)
    if distributed.is_first():
        _publish(t, record)
    if regular(t.schedule, progress):
        # Quirk: the look at the end of an epoch starts neither the mean of the costs nor the wait anew.
        progress.cost_sum, progress.cost_count = 0.0, 0
        progress.last_monitor_iteration = progress.iteration
        progress.last_monitor_seconds = progress.seconds
    progress.look_due = False
    distributed.agree()  # the others wait for process 0, which has generated
    _save_look(t, record)


def _publish(t: Training, record: Mapping[str, Any]) -> None:
    """Log, draw, tell and generate."""
    runs.append(t.run, "monitor", **record)
    if t.tree:
        original_layout.write_look(t.tree, record, t.trainer.graph.parameters.arrays())
    plots.learning_curve(t.run.plot, runs.read_log(t.run))
    _tell(t, record)
    if t.schedule.n_seqs and t.schedule.sample_seconds and not t.stopping:
        _generate(t, record)


def _score(t: Training) -> dict[str, Any]:
    """What the log says of a look. Costs in bits per sample; `test` is None where valid did not improve."""
    progress, test, test_seconds = t.progress, None, None
    valid, valid_seconds = _timed(lambda: evaluate(t.trainer, t.clips["valid"]))
    if not math.isfinite(valid):
        raise DivergedError(diverged("validation cost", valid, t, progress.iteration))
    if improved(progress, valid):
        test, test_seconds = _timed(lambda: evaluate(t.trainer, t.clips["test"]))
        progress.best_valid, progress.best_test = valid, test
        progress.best_iteration = progress.iteration
        progress.looks_without_gain = 0
    else:
        progress.looks_without_gain += 1
    return {
        "iteration": progress.iteration,
        "epoch": progress.epoch,
        "seconds": progress.seconds,
        "train": progress.cost_sum / max(1, progress.cost_count),
        "minibatch": progress.minibatch,
        "valid": valid,
        "test": test,
        "best_valid": progress.best_valid,
        "best_test": progress.best_test,
        "valid_seconds": valid_seconds,
        "test_seconds": test_seconds,
        "wall_seconds": time.monotonic() - t.began,
    }


def _timed(score: Callable[[], float]) -> tuple[float, float]:
    began = time.perf_counter()
    return score(), time.perf_counter() - began


def _tell(t: Training, record: Mapping[str, Any]) -> None:
    tested = "" if record["test"] is None else f"  test {record['test']:.4f} (best so far)"
    nats = f" (valid {record['valid'] * math.log(2):.4f} nats)" if t.trainer.hp.real_valued else ""
    t.say(
        f"iteration {record['iteration']}  epoch {record['epoch']}  {record['seconds'] / 60:.1f} min  "
        f"train {record['train']:.4f}  valid {record['valid']:.4f}{tested}  bits per sample{nats}"
    )


def _generate(t: Training, record: Mapping[str, Any]) -> None:
    """Write sequences of this moment's model; with --original-layout, as the original does."""
    hp, backend = t.trainer.hp, t.trainer.settings["backend"]
    if t.engine is None:  # on a GPU the graph, which it computes; else what is fastest
        on_gpu = not devices(backend).startswith("cpu")
        t.engine = engines.create(
            t.trainer.graph.parameters, hp, t.schedule.n_seqs, backend if on_gpu else None
        )
    t.engine.refresh()
    n_samples = round(t.schedule.sample_seconds * SAMPLE_RATE)
    if t.tree and like_original.writes(hp):
        _generate_like_original(t, t.engine, n_samples, record)
        return
    streams = OwnStreams(t.progress.iteration, t.schedule.n_seqs)
    generator = generation.Generator(hp, t.engine, streams, t.engine.start())
    for i, samples in enumerate(generation.take(generator, n_samples)):
        name = f"sample_i{t.progress.iteration}_{i}.wav"
        if t.tree:
            name = sample_name(*original_layout.moment(record), i)
        path = t.run.samples / name
        write_wav(path, generation.waveform(generation.amplitudes(samples, hp)))


def _generate_like_original(
    t: Training, engine: engines.Engine, n_samples: int, record: Mapping[str, Any]
) -> None:
    hp = t.trainer.hp
    streams = OriginalStreams(engine.n_seqs)
    n_drawn = max(0, n_samples - like_original.samples_in_front(hp))
    looks = sum(line["event"] == "monitor" for line in runs.read_log(t.run))
    streams.skip(("uniforms",), (looks - 1) * n_drawn)  # the looks before; the original never seeds them anew
    silent = like_original.silent(hp)
    generator = generation.Generator(hp, engine, streams, engine.start(), silent)
    for i, levels in enumerate(generation.take(generator, n_drawn)):
        name = sample_name(*original_layout.moment(record), i)
        like_original.write(t.run.samples / name, levels, hp)


# --- checkpoints --------------------------------------------------------------------------------------------


def save(t: Training, path: Path) -> None:
    """Write a checkpoint of this moment. All processes give their parts of it, and process 0 writes it.

    Raises
    ------
    DivergedError
        If an array is not finite: a good checkpoint is not replaced by a broken one.
    OutputError
        If it cannot be written.
    """
    settle(t)
    graph = t.trainer.graph
    parameters = graph.parameters.arrays()
    adam = {name: np.array(variable.get_value(borrow=True)) for name, variable in t.trainer.adam.items()}
    carried = dict(zip(graph.states, full(t.states), strict=True))
    for name, value in (parameters | adam | carried).items():
        if not np.isfinite(value).all():
            raise DivergedError(
                f"{name} is not finite after {t.progress.iteration} updates: the gradients have exploded. No "
                f"checkpoint was written, and what {path} held before is kept. Try a smaller --learning-rate."
            )
    if not distributed.is_first():
        return
    checkpoints.save(
        path,
        checkpoints.Checkpoint(
            hp=t.trainer.hp,
            parameters=parameters,
            adam=adam,
            states=carried,
            progress=asdict(t.progress),
            settings=t.trainer.settings,
        ),
    )


def _save_look(t: Training, record: Mapping[str, Any]) -> None:
    """The checkpoint after a look: the last, the best where valid improved, and with --keep one more name.

    The last one is written at the end, for only then the look is done.
    """
    first, *others = [
        *([t.run.kept(record["iteration"], record["valid"])] if t.schedule.keep > 1 else []),
        *([t.run.best] if record["test"] is not None else []),
        t.run.last,
    ]
    save(t, first)
    if not distributed.is_first():
        return
    for path in others:
        files.link(first, path)
    runs.prune(t.run, t.schedule.keep)


def diverged(what: str, nll: float, t: Training, updates: int) -> str:
    """A sentence for a cost that is no finite number."""
    last = t.run.last
    kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
    return (
        f"The {what} became {nll} after {updates} updates: the gradients have exploded, or a "
        f"clip is damaged; {kept}. Try a smaller --learning-rate or --weight_norm True, and samplernn "
        "check-data."
    )
