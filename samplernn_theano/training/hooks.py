"""Evaluation during training: costs of the validation and test splits, samples, checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from samplernn_theano.backends.compile import devices
from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.schedule import improved, regular_eval_due
from samplernn_theano.data.audio import write_wav
from samplernn_theano.data.dataset import Clips
from samplernn_theano.errors import DivergedError
from samplernn_theano.evaluation.split import mean_cost
from samplernn_theano.generation import like_original
from samplernn_theano.generation.amplitudes import amplitudes, waveform
from samplernn_theano.generation.generator import Generator, take
from samplernn_theano.generation.random_streams import NumpyStreams, TheanoStreams
from samplernn_theano.generation.samplers import create_sampler
from samplernn_theano.original import layout
from samplernn_theano.original.tags import sample_name
from samplernn_theano.training import distributed
from samplernn_theano.training.state import Trainer, TrainingState, divergence_message, save_checkpoint
from samplernn_theano.utils import files, plotting
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def evaluate_and_save(t: TrainingState) -> None:
    """Evaluate the valid split, and the test split if valid improved; log, plot, generate, save checkpoints.

    A checkpoint with `eval_due` is written first: a run that is killed in here repeats the evaluation.

    Raises
    ------
    DivergedError
        If the validation cost or an array is not finite.
    DataError
        If the data can no longer be read.
    OutputError
        If a file cannot be written.
    """
    progress = t.progress
    progress.eval_due = True
    save_checkpoint(t, t.run.last)
    record = _evaluate(t)
    if distributed.is_main_process():
        _report(t, record)
    if regular_eval_due(t.schedule, progress):
        # Quirk: the evaluation at the end of an epoch resets neither the mean cost nor the interval.
        progress.cost_sum, progress.cost_count = 0.0, 0
        progress.last_monitor_iteration = progress.iteration
        progress.last_monitor_seconds = progress.seconds
    progress.eval_due = False
    distributed.broadcast()  # the others wait for process 0, which generates
    _save_checkpoints(t, record)


# --- costs --------------------------------------------------------------------------------------------------


def _evaluate(t: TrainingState) -> dict[str, Any]:
    """Log record of an evaluation. Costs in bits per sample; `test` is None if valid did not improve."""
    progress, test, test_seconds = t.progress, None, None
    valid, valid_seconds = _timed(lambda: evaluate_split(t.trainer, t.clips["valid"]))
    if not math.isfinite(valid):
        raise DivergedError(divergence_message("validation cost", valid, t, progress.iteration))
    if improved(progress, valid):
        test, test_seconds = _timed(lambda: evaluate_split(t.trainer, t.clips["test"]))
        progress.best_valid, progress.best_test = valid, test
        progress.best_iteration = progress.iteration
        progress.evals_without_improvement = 0
    else:
        progress.evals_without_improvement += 1
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
        "wall_seconds": time.monotonic() - t.started,
    }


def evaluate_split(trainer: Trainer, clips: Clips) -> float:
    """Mean NLL, bits per sample, of a split. Of several processes each reads its shard of every minibatch."""
    rows = distributed.batch_shard(trainer.hp.batch_size)
    return mean_cost(trainer.evaluate, trainer.graph, trainer.hp, clips, rows)


def _timed(evaluate: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    return evaluate(), time.perf_counter() - start


# --- log, plot, samples -------------------------------------------------------------------------------------


def _report(t: TrainingState, record: Mapping[str, Any]) -> None:
    """Log, plot and print an evaluation, and generate samples."""
    run_folder.append(t.run, "monitor", **record)
    if t.tree:
        layout.write_evaluation(t.tree, record, t.trainer.graph.parameters.arrays())
    plotting.learning_curve(t.run.plot, run_folder.read_log(t.run))
    t.log(_summary(t, record))
    if t.schedule.n_seqs and t.schedule.sample_seconds and not t.signals:
        _write_samples(t, record)


def _summary(t: TrainingState, record: Mapping[str, Any]) -> str:
    test = "" if record["test"] is None else f"  test {record['test']:.4f} (best so far)"
    nats = f" (valid {record['valid'] * math.log(2):.4f} nats)" if t.trainer.hp.real_valued else ""
    return (
        f"iteration {record['iteration']}  epoch {record['epoch']}  {record['seconds'] / 60:.1f} min  "
        f"train {record['train']:.4f}  valid {record['valid']:.4f}{test}  bits per sample{nats}"
    )


def _write_samples(t: TrainingState, record: Mapping[str, Any]) -> None:
    """Generate sequences with the present parameters; with --original-layout, as the original does."""
    hp, backend = t.trainer.hp, t.trainer.settings["backend"]
    if t.sampler is None:  # on a GPU the graph of a block, which runs there; else the fastest
        on_gpu = not devices(backend).startswith("cpu")
        parameters = t.trainer.graph.parameters
        t.sampler = create_sampler(parameters, hp, t.schedule.n_seqs, backend if on_gpu else None)
    t.sampler.refresh()
    n_samples = round(t.schedule.sample_seconds * SAMPLE_RATE)
    if t.tree and like_original.supports(hp):
        _write_samples_like_original(t, n_samples, record)
        return
    streams = NumpyStreams(t.progress.iteration, t.schedule.n_seqs)
    generator = Generator(hp, t.sampler, streams, t.sampler.start())
    for i, samples in enumerate(take(generator, n_samples)):
        name = f"sample_i{t.progress.iteration}_{i}.wav"
        if t.tree:
            name = sample_name(*layout.params_name_of(record), i)
        write_wav(t.run.samples / name, waveform(amplitudes(samples, hp)))


def _write_samples_like_original(t: TrainingState, n_samples: int, record: Mapping[str, Any]) -> None:
    hp = t.trainer.hp
    streams = TheanoStreams(t.schedule.n_seqs)
    n_drawn = max(0, n_samples - like_original.left_padding(hp))
    evaluations = sum(line["event"] == "monitor" for line in run_folder.read_log(t.run))
    streams.skip(("uniforms",), (evaluations - 1) * n_drawn)  # the original seeds them once per run
    generator = Generator(hp, t.sampler, streams, t.sampler.start(), like_original.silenced(hp))
    for i, levels in enumerate(take(generator, n_drawn)):
        name = sample_name(*layout.params_name_of(record), i)
        like_original.write(t.run.samples / name, levels, hp)


# --- checkpoints --------------------------------------------------------------------------------------------


def _save_checkpoints(t: TrainingState, record: Mapping[str, Any]) -> None:
    """Save last.npz, best.npz if valid improved, and with --keep one under the evaluation's own name.

    last.npz is written last: only then is the evaluation done.
    """
    first, *others = [
        *([t.run.evaluation_checkpoint(record["iteration"], record["valid"])] if t.schedule.keep > 1 else []),
        *([t.run.best] if record["test"] is not None else []),
        t.run.last,
    ]
    save_checkpoint(t, first)
    if not distributed.is_main_process():
        return
    for path in others:
        files.atomic_link(first, path)
    run_folder.prune(t.run, t.schedule.keep)
