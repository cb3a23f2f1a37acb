"""What a training stops for: a look at the validation set, a checkpoint."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from samplernn_theano.backends.compile import devices
from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.schedule import improved, regular
from samplernn_theano.data.audio import write_wav
from samplernn_theano.data.dataset import Clips
from samplernn_theano.errors import DivergedError
from samplernn_theano.evaluation.split import mean_cost
from samplernn_theano.generation import generator, like_original, samplers
from samplernn_theano.generation.amplitudes import amplitudes, waveform
from samplernn_theano.generation.generator import Generator, take
from samplernn_theano.generation.random_streams import OriginalStreams, OwnStreams
from samplernn_theano.original import layout
from samplernn_theano.original.tags import sample_name
from samplernn_theano.training import distributed
from samplernn_theano.training.state import Trainer, Training, diverged, save
from samplernn_theano.utils import files, plotting
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

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
    run_folder.append(t.run, "monitor", **record)
    if t.tree:
        layout.write_look(t.tree, record, t.trainer.graph.parameters.arrays())
    plotting.learning_curve(t.run.plot, run_folder.read_log(t.run))
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
        t.engine = samplers.create(
            t.trainer.graph.parameters, hp, t.schedule.n_seqs, backend if on_gpu else None
        )
    t.engine.refresh()
    n_samples = round(t.schedule.sample_seconds * SAMPLE_RATE)
    if t.tree and like_original.writes(hp):
        _generate_like_original(t, t.engine, n_samples, record)
        return
    streams = OwnStreams(t.progress.iteration, t.schedule.n_seqs)
    generator = Generator(hp, t.engine, streams, t.engine.start())
    for i, samples in enumerate(take(generator, n_samples)):
        name = f"sample_i{t.progress.iteration}_{i}.wav"
        if t.tree:
            name = sample_name(*layout.moment(record), i)
        path = t.run.samples / name
        write_wav(path, waveform(amplitudes(samples, hp)))


def _generate_like_original(
    t: Training, engine: generator.Engine, n_samples: int, record: Mapping[str, Any]
) -> None:
    hp = t.trainer.hp
    streams = OriginalStreams(engine.n_seqs)
    n_drawn = max(0, n_samples - like_original.samples_in_front(hp))
    looks = sum(line["event"] == "monitor" for line in run_folder.read_log(t.run))
    streams.skip(("uniforms",), (looks - 1) * n_drawn)  # the looks before; the original never seeds them anew
    silent = like_original.silent(hp)
    generator = Generator(hp, engine, streams, engine.start(), silent)
    for i, levels in enumerate(take(generator, n_drawn)):
        name = sample_name(*layout.moment(record), i)
        like_original.write(t.run.samples / name, levels, hp)


# --- checkpoints --------------------------------------------------------------------------------------------


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
    run_folder.prune(t.run, t.schedule.keep)


def evaluate(trainer: Trainer, clips: Clips) -> float:
    """Mean NLL, bits per sample, of a split. With several processes each reads its own rows."""
    rows = distributed.rows(trainer.hp.batch_size)
    return mean_cost(trainer.evaluate, trainer.graph, trainer.hp, clips, rows)
