"""Start and resume training runs."""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from samplernn_theano.backends import malloc
from samplernn_theano.backends.compile import check_backend, check_devices, check_precision, default_backend
from samplernn_theano.backends.provenance import provenance
from samplernn_theano.checkpoints import from_original, npz, run_folder
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.config import settings as stored_settings
from samplernn_theano.config.hyperparameters import HyperParameters, RealValued, to_store
from samplernn_theano.config.schedule import (
    Progress,
    Schedule,
    current_rate,
    ended,
    original_learning_rate,
    original_schedule,
    stored_schedule,
    without_later_rate,
)
from samplernn_theano.config.settings import Options, RunSettings, check_options, stored_options
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Clips, data_sha256, load_split, split_path, statistics
from samplernn_theano.data.manifest import check_rate
from samplernn_theano.errors import CheckpointError, DataError, HyperParameterError
from samplernn_theano.original import layout
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import distributed, tensorboard
from samplernn_theano.training.hooks import hooks_of, save_checkpoint
from samplernn_theano.training.loop import train_loop
from samplernn_theano.training.run_bar import run_bar
from samplernn_theano.training.step import TrainingState, compile_trainer
from samplernn_theano.utils.files import locked, write_text
from samplernn_theano.utils.text import say

CHANGEABLE = (*(own.name for own in fields(Schedule)), "backend", "precision", "n_devices", "tensorboard")
"""Settings that a resumed run may change: its schedule, where it is computed, and what it writes."""


def train(
    hp: HyperParameters,
    data: str | Path,
    folder: str | Path,
    schedule: Schedule | None = None,
    options: Options | None = None,
    *,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    exp: str | None = None,
    max_seconds: float | None = None,
    catch_signals: bool = False,
    tune_malloc: bool = False,
    show_progress: bool = True,
) -> int:
    """Train a model on a data set (see `samplernn_theano.data.dataset`) in a new folder of a run.

    Returns the exit code: 0 at the end of the schedule, 128 + the signal's number after a signal, 124 after
    `max_seconds`. If a cost is NaN or infinite it raises DivergedError, and the last checkpoint is kept.

    Parameters
    ----------
    settings : mapping, optional
        Additional entries of settings.json.
    exp : str, optional
        Also write the files of the original, under its names, for an experiment of this name.
    max_seconds : float, optional
        Stop with a checkpoint when this call has taken so long, compilation and evaluations included.
    catch_signals : bool
        Stop with a checkpoint on SIGINT and SIGTERM. In the main thread only.
    tune_malloc : bool
        Set options of malloc for the whole process which make steps on a CPU faster.
    """
    started, run = time.monotonic(), Run(Path(folder))
    which_set = layout.which_set(split_path(data, "train").name)
    about = {"which_set": which_set, "exp": exp, "original_layout": exp is not None, **(settings or {})}
    schedule, options = schedule or original_schedule(type(hp)), options or Options()
    if options.tensorboard:
        tensorboard.check_installed()
    plan = _plan(hp, data, schedule, options, about, tune_malloc)
    if exp is not None:  # raises if the original has no such model
        layout.results_path("", plan.hp, which_set, exp, plan.rate)
    if distributed.is_main_process():
        run_folder.check_free(folder, overwrite)
    with _lock(run.folder):
        t = _compile(run, plan, Progress(plan.batches_per_epoch), None, started, show_progress)
        if distributed.is_main_process():
            run_folder.create(folder, plan.settings, overwrite)
            if exp is not None:
                shapes = {p.name: p.type.shape for p in t.trainer.graph.parameters.trainable()}
                layout.create(run.folder, plan.hp, which_set, exp, plan.rate, plan.schedule, shapes)
        with run_bar(t, show_progress) as bar:
            hooks = hooks_of(t, bar.step, bar.evaluated)
            return train_loop(t, "start", hooks, max_seconds, catch_signals)


def resume(
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    *,
    hyperparameters: Sequence[str] = (),
    max_seconds: float | None = None,
    catch_signals: bool = False,
    tune_malloc: bool = False,
    show_progress: bool = True,
) -> int:
    """Resume a run from its last checkpoint, as if it had never been interrupted.

    On the same machine and backend, costs and parameters are bit for bit those of the uninterrupted run.

    A results folder of the original is resumed by the original's rules: from the latest evaluation with
    parameters, after the minibatches of that epoch that are done, with Adam's moments and the recurrent
    states at zero, for the original saved neither (quirk). The log is cut to that evaluation, and the folder
    becomes a run folder.

    Parameters
    ----------
    changes : mapping, optional
        New values of `CHANGEABLE` settings, such as ``max_iters``.
    data : path, optional
        Present folder of the data set, if it was moved; required for a run of the original.
    hyperparameters : sequence of str
        As in `from_original.last_checkpoint`; the other arguments and the exit code are as in `train`.
    """
    started, run = time.monotonic(), Run(Path(folder))
    changes = changes or {}
    for name in changes:
        if name not in CHANGEABLE:
            raise HyperParameterError(f"A resumed run has no {name}; choose from {', '.join(CHANGEABLE)}.")
    if changes.get("tensorboard"):
        tensorboard.check_installed()
    with _lock(run.folder) if run.folder.is_dir() else nullcontext():
        checkpoint, is_original = from_original.last_checkpoint(run, hyperparameters)
        before = checkpoint.settings
        if (data := data or before.get("data")) is None:
            raise DataError(f"{run.folder} does not name its data set; give it with --data.")
        schedule, options, progress = _resumed(run, checkpoint, changes)
        about = {**before, "original_layout": is_original or before.get("original_layout", False)}
        plan = _plan(checkpoint.hp, data, schedule, options, about, tune_malloc)
        progress.batches_per_epoch = plan.batches_per_epoch
        if distributed.is_main_process():
            _check_same(run.folder, data, before.get("data_sha256") or {}, plan.settings["data_sha256"])
        if progress.batch > plan.batches_per_epoch:
            raise DataError(
                f"The train split in {data} has {plan.batches_per_epoch} minibatches an epoch and "
                f"{run.folder} has done {progress.batch} of one: it is not the one that it was trained on; "
                "give the right folder with --data."
            )
        distributed.barrier()  # all have read the folder before process 0 changes it
        if not is_original and distributed.is_main_process():  # discard what a killed process wrote since
            discarded = run_folder.records_to_discard(run, progress.iteration, progress.eval_due)
            if plan.settings["original_layout"]:
                layout.rewind(ResultTree(run.folder), discarded)
            run_folder.discard(run, discarded)
            run_folder.prune(run, schedule.keep)
        if ended(schedule, progress) and not _evaluation_unfinished(run, progress):
            events = {record["event"] for record in run_folder.read_log(run)}
            if distributed.is_main_process() and "end" not in events:
                run_folder.append(run, "end", iteration=progress.iteration, seconds=progress.seconds)
            _print(_why_ended(run, schedule, progress), sys.stdout)
            return 0
        _report_resume(before, plan.settings, progress)
        t = _compile(run, plan, progress, checkpoint, started, show_progress)
        if distributed.is_main_process():
            if is_original:
                from_original.import_log(run)
                save_checkpoint(t, run.last)
            write_text(run.settings, json.dumps(plan.settings, indent=2) + "\n")
        with run_bar(t, show_progress) as bar:
            hooks = hooks_of(t, bar.step, bar.evaluated)
            return train_loop(t, "resume", hooks, max_seconds, catch_signals)


def settings_to_repeat(path: Path, data: Path | None) -> RunSettings:
    """Settings of a run that is to be repeated, on the same data or on those in `data`.

    On other data the mean and standard deviation of a real-valued family are measured again.
    """
    run = stored_settings.read(path, data)
    if not run.data.is_dir():
        raise DataError(f"{path} was trained on {run.data}, which is not there; give its folder with --data.")
    present = {split: data_sha256(load_split(run.data, split)) for split in SPLITS}
    if data is None:
        _check_same(path, run.data, run.data_sha256, present)
    elif isinstance(run.hp, RealValued) and run.data_sha256.get("train") != present["train"]:
        return replace(run, hp=replace(run.hp, mean=None, std=None))
    return run


# --- helpers -----------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """A run before its compilation: settings checked, data loaded."""

    hp: HyperParameters
    schedule: Schedule
    options: Options
    rate: float  # of learning
    splits: Mapping[str, Clips]
    batches_per_epoch: int
    settings: Mapping[str, Any]  # of settings.json


def _plan(
    hp: HyperParameters,
    data: str | Path,
    schedule: Schedule,
    options: Options,
    about: Mapping[str, Any],
    tune_malloc: bool,
) -> _Plan:
    """Check the settings of a run and map its data; `about` has additional entries of settings.json.

    Only process 0 reads all of the data.
    """
    rate = schedule.learning_rate or original_learning_rate(type(hp))
    backend = options.backend or default_backend()
    schedule, options = replace(schedule, learning_rate=rate), replace(options, backend=backend)
    check_options(options, rate)
    check_backend(backend)
    check_precision(backend, options.precision)
    if tune_malloc:
        malloc.keep_freed_memory(hp.batch_size * hp.seq_len * hp.dim)
    check_devices(backend, options.n_devices, hp.batch_size)
    check_rate(data, hp.rate)
    splits, digests, reads = (
        {split: load_split(data, split) for split in SPLITS},
        {},
        distributed.is_main_process(),
    )
    if reads:
        digests = {split: minibatches.check_split(clips, split, hp) for split, clips in splits.items()}
    if isinstance(hp, RealValued) and hp.std is None:
        (mean, std), _ = distributed.broadcast(*(statistics(splits["train"]) if reads else ()))
        hp = replace(hp, mean=mean, std=std)
    settings = {
        "family": hp.family,
        "hyperparameters": to_store(hp),
        "schedule": asdict(schedule),
        "data": str(Path(data).absolute()),
        "data_sha256": digests,
        **asdict(options),
        **provenance(backend),
    }
    settings |= {k: value for k, value in about.items() if k not in (*settings, "learning_rate")}
    batches = minibatches.chunks_per_epoch(splits["train"], hp.batch_size, hp.seq_len)
    return _Plan(hp, schedule, options, rate, splits, batches, settings)


def _check_same(run: Path, data: str | Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise DataError if a split in `data` has another SHA-256 than the one that `run` was trained on."""
    for split, digest in before.items():
        if digest != now.get(split):
            raise DataError(
                f"The {split} split in {data} is not the one that {run} was trained on; give the "
                "right folder with --data."
            )


def _compile(
    run: Run,
    plan: _Plan,
    progress: Progress,
    checkpoint: npz.Checkpoint | None,
    started: float,
    show_progress: bool,
) -> TrainingState:
    """Compile a model, with its initial parameters or those of a checkpoint."""
    if show_progress:
        _print(f"Compiling {plan.hp.family} for {plan.options.backend} ...")
    if never := without_later_rate(plan.schedule):
        _print(never)
    names = ("seed", "ip_weight", "backend", "precision", "n_devices")
    options = {name: getattr(plan.options, name) for name in names}
    trainer = compile_trainer(plan.hp, learning_rate=plan.rate, **options)
    trainer, states = replace(trainer, settings=plan.settings), trainer.zero_states()
    if checkpoint:
        trainer.graph.parameters.assign(checkpoint.parameters)
        for name, array in checkpoint.adam.items():
            trainer.adam[name].set_value(array)
        if not checkpoint.adam:
            _print(
                "The original saved neither Adam's moments nor the recurrent states: both start from zero, "
                "as when it resumes."
            )
        stored = [checkpoint.states[name] for name in trainer.graph.states if name in checkpoint.states]
        states = stored or states
    return TrainingState(trainer, plan.splits, run, plan.schedule, progress, states, started)


def _print(message: str, file: TextIO | None = None) -> None:
    if distributed.is_main_process():
        say(message, file)


def _lock(folder: Path) -> AbstractContextManager[object]:
    return locked(folder) if distributed.is_main_process() else nullcontext()


def _resumed(
    run: Run, checkpoint: npz.Checkpoint, changes: Mapping[str, Any]
) -> tuple[Schedule, Options, Progress]:
    """Schedule, options and progress of a checkpoint, with changes; the original's where it has none."""
    options = stored_options(checkpoint.settings)
    of_options = {name: value for name, value in changes.items() if hasattr(options, name)}
    if "backend" in changes:
        of_options["sampling_backend"] = changes["backend"]
    before = asdict(original_schedule(type(checkpoint.hp))) | stored_schedule(checkpoint.settings)
    schedule = before | {name: value for name, value in changes.items() if name not in of_options}
    try:
        progress, patience = Progress(**checkpoint.progress), schedule["patience"]
        has_other = any(schedule[name] != before[name] for name in ("max_iters", "max_epochs", "max_minutes"))
        if has_other and patience and progress.evals_without_improvement >= patience:
            progress.evals_without_improvement = 0  # early stopping has ended the run, which is to go on
            _print("Early stopping had ended the run; evaluations without improvement are counted again.")
        return Schedule(**schedule), replace(options, **of_options), progress
    except TypeError as error:
        raise CheckpointError(
            f"{run.last} was written by another version of this package ({error}); resume with that version."
        ) from error


def _why_ended(run: Run, schedule: Schedule, progress: Progress) -> str:
    """A message on a run that has ended, and how to train on."""
    why, larger = "", ""
    if schedule.patience and progress.evals_without_improvement >= schedule.patience:
        why = f" after {progress.evals_without_improvement} evaluations without improvement"
        larger = ", or a larger --patience"
    command = f"samplernn resume {shlex.quote(str(run.folder))} --max-iters {2 * progress.iteration}"
    return (
        f"{run.folder} has ended, at iteration {progress.iteration}{why}; to train on, give another limit, "
        f"such as {command}{larger}."
    )


def _evaluation_unfinished(run: Run, progress: Progress) -> bool:
    """True if an evaluation is due, or a process may have been killed in the diagnostics of one."""
    events = [record["event"] for record in run_folder.read_log(run) if record["event"] != "warning"]
    killed = events[-1:] in (["monitor"], ["resume"])
    (unfinished,), _ = distributed.broadcast(progress.eval_due or killed)  # process 0 decides for all
    return bool(unfinished)


def _report_resume(before: Mapping[str, Any], settings: Mapping[str, Any], progress: Progress) -> None:
    """Print where the run resumes, and what prevents bit-for-bit equality."""
    names = {name: name.replace("_", " ") for name in ("versions", "devices", "git_revision", "backend")}
    names |= {"precision": "precision", "n_devices": "number of devices", "learning_rate": "learning rate"}
    rates = [current_rate(Schedule(**stored_schedule(own)), progress) for own in (before, settings)]
    now = {**settings, "learning_rate": rates[1]}
    before = {"precision": "highest", "n_devices": 1, **before, "learning_rate": rates[0] or rates[1]}
    if changed := [text for name, text in names.items() if before.get(name, now[name]) != now[name]]:
        _print(f"Changed: {', '.join(changed)}; results are not bit for bit those of an uninterrupted run.")
    if of_fork := before.get("of_fork"):
        _print(f"It is a run of a fork: {of_fork} is none of the original's.")
    _print(f"Resuming after iteration {progress.iteration}.")
