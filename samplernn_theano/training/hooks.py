"""The hooks of the training loop: what is done after a step, each when it is due.

If the log, an evaluation or a checkpoint fails, the run ends. The others are diagnostics, which follow the
checkpoint: if one fails, that is logged and said once, and training goes on.
"""

import math
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.backends.compile import devices, to_numpy
from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.config.schedule import RATES, improved, regular_eval_due
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import Clips
from samplernn_theano.errors import DivergedError, OutputError
from samplernn_theano.evaluation.split import mean_cost
from samplernn_theano.generation import evaluation_samples, like_original
from samplernn_theano.generation.samplers import create_sampler
from samplernn_theano.original import layout, tags
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import distributed
from samplernn_theano.training.step import Due, Hook, Trainer, TrainingState, check_finite, wait_for_cost
from samplernn_theano.training.tensorboard import TensorBoard
from samplernn_theano.utils import files, plotting


def hooks_of(t: TrainingState, show_step: Hook, show_evaluated: Hook) -> list[Hook]:
    """The hooks of a run, in their order, with those of its progress bar."""
    diagnostics = {"learning curve": plot, "samples": write_samples, "original layout": write_layout}
    if t.trainer.settings.get("tensorboard"):
        diagnostics["TensorBoard"] = TensorBoard(t.run, t.progress.iteration)
    return [log, show_step, evaluate, save_when_due, survivable(diagnostics), show_evaluated]


def log(t: TrainingState, due: Due) -> None:
    """Log the start and the end of training, and every few seconds the mean cost since the last line."""
    if due.event in ("start", "resume"):
        software = {k: t.trainer.settings[k] for k in ("backend", "versions", "devices", "git_revision")}
        n_parameters = sum(math.prod(p.type.shape) for p in t.trainer.graph.parameters.trainable())
        rates = {name: value for name in RATES if (value := getattr(t.schedule, name)) is not None}
        append(t, due.event, parameters=n_parameters, **rates, **software)
    elif due.event:
        append(t, due.event, **({"why": due.why} if due.why else {}))
    if due.why:
        after = f"after iteration {t.progress.iteration}"
        t.log(f"Stopped by {due.why} {after}; resume with: samplernn resume {t.run.folder}")
    if due.log:
        wait_for_cost(t)
        append(t, "train", epoch=t.progress.epoch, nll_bits=float(np.mean(t.costs)))
        t.costs.clear()


def append(t: TrainingState, event: str, **values: Any) -> None:
    """Add a line to log.jsonl, in process 0."""
    if distributed.is_main_process():
        position = {"iteration": t.progress.iteration, "seconds": t.progress.seconds}
        run_folder.append(t.run, event, **position | values)


def evaluate(t: TrainingState, due: Due) -> None:
    """Evaluate the valid split, and the test split if valid improved; log and print the costs.

    A checkpoint with `eval_due` is written first: a run that is killed in here repeats the evaluation.
    """
    if not due.evaluation:
        return
    p, test = t.progress, None
    p.eval_due = True
    save_checkpoint(t, t.run.last)
    hp, start = t.trainer.hp, time.perf_counter()
    n_valid, n_test = (
        minibatches.chunks_per_epoch(t.clips[split], hp.batch_size, hp.seq_len) for split in ("valid", "test")
    )

    def show(split: str, done: int) -> None:
        t.stage(f"evaluating on {split}", done / (n_valid + n_test))

    valid = evaluate_split(t.trainer, t.clips["valid"], lambda done: show("valid, 1 of 2", done))
    check_finite(t, "validation cost", valid, p.iteration)
    middle = time.perf_counter()
    p.evals_without_improvement += 1
    if improved(p, valid):
        test = evaluate_split(t.trainer, t.clips["test"], lambda done: show("test, 2 of 2", n_valid + done))
        p.best_valid, p.best_test, p.best_iteration = valid, test, p.iteration
        p.evals_without_improvement = 0
    names = ("iteration", "epoch", "seconds", "minibatch", "best_valid", "best_test")
    t.evaluation = {name: getattr(p, name) for name in names} | {
        "train": p.cost_sum / max(1, p.cost_count),
        "valid": valid,
        "test": test,  # None if valid did not improve
        "valid_seconds": middle - start,
        "test_seconds": None if test is None else time.perf_counter() - middle,
        "wall_seconds": time.monotonic() - t.started,
    }
    append(t, "monitor", **t.evaluation)
    best = "" if test is None else f"  test {test:.4f} (best so far)"
    nats = f" (valid {valid * math.log(2):.4f} nats)" if t.trainer.hp.real_valued else ""
    t.log(
        f"iteration {p.iteration}  epoch {p.epoch}  {p.seconds / 60:.1f} min  train "
        f"{t.evaluation['train']:.4f}  valid {valid:.4f}{best}  bits per sample{nats}"
    )
    if regular_eval_due(t.schedule, p):
        # Quirk: the evaluation at the end of an epoch resets neither the mean cost nor the interval.
        p.cost_sum, p.cost_count = 0.0, 0
        p.last_monitor_iteration, p.last_monitor_seconds = p.iteration, p.seconds
    p.eval_due = False


def evaluate_split(trainer: Trainer, clips: Clips, report: Callable[[int], Any] = lambda _: None) -> float:
    """Mean NLL, bits per sample, of a split. Of several processes each reads its shard of every minibatch."""
    rows = distributed.batch_shard(trainer.hp.batch_size)
    return mean_cost(trainer.evaluate, trainer.graph, trainer.hp, clips, rows, report)


def save_when_due(t: TrainingState, due: Due) -> None:
    """Save last.npz; after an evaluation also best.npz if valid improved, and with --keep one of its own."""
    if not (due.evaluation or due.checkpoint):
        return
    paths = [t.run.last]  # is written last: only then is the evaluation done
    if due.evaluation and t.evaluation["test"] is not None:
        paths.insert(0, t.run.best)
    if due.evaluation and t.schedule.keep > 1:
        paths.insert(0, t.run.evaluation_checkpoint(t.progress.iteration, t.evaluation["valid"]))
    save_checkpoint(t, paths[0])
    if distributed.is_main_process():
        for path in paths[1:]:
            files.atomic_link(paths[0], path)
        run_folder.prune(t.run, t.schedule.keep)


def save_checkpoint(t: TrainingState, path: Path) -> None:
    """Write a checkpoint, unless an array is not finite. All processes gather them, process 0 writes."""
    wait_for_cost(t)
    graph = t.trainer.graph
    parameters = graph.parameters.arrays()
    adam = {name: np.array(variable.get_value(borrow=True)) for name, variable in t.trainer.adam.items()}
    states = dict(zip(graph.states, to_numpy(t.states), strict=True))
    for name, value in (parameters | adam | states).items():
        if not np.isfinite(value).all():
            raise DivergedError(
                f"{name} is not finite after {t.progress.iteration} updates: the gradients have exploded. No "
                f"checkpoint was written, and {path} was not changed. Try a smaller --learning-rate."
            )
    if distributed.is_main_process():
        about = vars(t.progress), t.trainer.settings
        npz.save(path, npz.Checkpoint(t.trainer.hp, parameters, adam, states, *about))


def survivable(diagnostics: Mapping[str, Hook]) -> Hook:
    """One hook for all diagnostics, in process 0. A failure is logged, and of each diagnostic said once."""
    said = set()

    def call(t: TrainingState, due: Due) -> None:
        for name, diagnostic in diagnostics.items() if distributed.is_main_process() else ():
            try:
                diagnostic(t, due)
            except Exception as error:
                reason, after = f"{type(error).__name__}: {error}".partition("\n")[0], t.progress.iteration
                with suppress(OutputError):  # on a full disk
                    append(t, "warning", what=name, error=reason, traceback=traceback.format_exc())
                if name not in said:
                    t.log(f"Warning: no {name} after iteration {after} ({reason}); training goes on.")
                said.add(name)
        if due.evaluation:
            distributed.broadcast()  # the others wait for process 0

    return call


def plot(t: TrainingState, due: Due) -> None:
    """Plot the learning curve."""
    if due.evaluation or due.event in ("resume", "stopped"):
        plotting.learning_curve(t.run.plot, run_folder.read_log(t.run))


def write_samples(t: TrainingState, due: Due) -> None:
    """Generate sequences with the present parameters; with --original-layout, as the original does.

    By the backend of --backend, if given; else on a GPU by the one that trains, on a CPU by the fastest.
    """
    hp, n_seqs, settings, tree = t.trainer.hp, t.schedule.n_seqs, t.trainer.settings, results_tree(t)
    n_samples = round(t.schedule.sample_seconds * hp.rate)
    if not (due.evaluation and n_seqs and n_samples) or t.signals:
        return
    on_gpu = not devices(settings["backend"]).startswith("cpu")
    backend = settings.get("sampling_backend") or (settings["backend"] if on_gpu else None)
    t.sampler = t.sampler or create_sampler(t.trainer.graph.parameters, hp, n_seqs, backend)
    t.stage("generating samples", 1.0)
    names = [f"sample_i{t.progress.iteration}_{i}.wav" for i in range(n_seqs)]
    if tree:
        names = [tags.sample_name(*layout.params_name_of(t.evaluation), i) for i in range(n_seqs)]
    number = len(run_folder.evaluations(t.run)) if tree and like_original.supports(hp) else None
    paths = [t.run.samples / name for name in names]
    evaluation_samples.write(t.sampler, hp, n_samples, paths, t.progress.iteration, number)


def write_layout(t: TrainingState, due: Due) -> None:
    """Write the original's files of an evaluation; at a resume, if a killed process had not yet."""
    if (tree := results_tree(t)) and (due.evaluation or due.event == "resume"):
        done = run_folder.evaluations(t.run)
        if done and done[-1]["iteration"] == t.progress.iteration:
            layout.write_evaluation(tree, done, t.trainer.graph.parameters.arrays())


def results_tree(t: TrainingState) -> ResultTree | None:
    """The run's folder under the original's names, with --original-layout."""
    return ResultTree(t.run.folder) if t.trainer.settings.get("original_layout") else None
