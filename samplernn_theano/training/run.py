"""Start and resume training runs."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from samplernn_theano.backends.compile import check_backend, check_devices, check_precision, default_backend
from samplernn_theano.backends.provenance import provenance
from samplernn_theano.checkpoints import from_original, npz, run_folder
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters, RealValued
from samplernn_theano.config.schedule import Progress, Schedule, ended, original_schedule
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Clips, data_sha256, load_split, split_path, statistics
from samplernn_theano.errors import CheckpointError, DataError, HyperParameterError
from samplernn_theano.models.graph import Form
from samplernn_theano.original import layout, results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import distributed, hooks, step
from samplernn_theano.training.loop import train_loop
from samplernn_theano.training.state import Trainer, TrainingState, save_checkpoint
from samplernn_theano.training.step import compile_trainer
from samplernn_theano.utils.files import locked, write_text


def train(
    hp: HyperParameters,
    data: str | Path,
    folder: str | Path,
    schedule: Schedule | None = None,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: Form = "fast",
    ip_weight: float = 0.0,
    precision: str = "highest",
    n_devices: int = 1,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    max_seconds: float | None = None,
    exp: str | None = None,
    catch_signals: bool = False,
    tune_malloc: bool = False,
    show_progress: bool = True,
) -> int:
    """Train a model on a data set.

    Parameters
    ----------
    data : path
        Folder with ``*_train.npy``, ``*_valid.npy`` and ``*_test.npy``; see `samplernn_theano.data.dataset`.
    folder : path
        Of the run, which is created.
    schedule : Schedule, optional
        Default: the original's.
    learning_rate, ip_weight, precision, n_devices
        As in `compile_trainer`.
    settings : mapping, optional
        Additional entries of settings.json.
    max_seconds : float, optional
        Stop with a checkpoint when this call has taken so long, compilation and evaluations included.
    exp : str, optional
        Also write the files of the original, under its names, for an experiment of this name.
    catch_signals : bool
        Stop with a checkpoint on SIGINT and SIGTERM. In the main thread only.
    tune_malloc : bool
        Set options of malloc for the whole process which make steps on a CPU faster.
    show_progress : bool
        Show a progress bar and a line for each evaluation.

    Returns
    -------
    int
        Exit code: 0 at the end of the schedule, 128 + the signal's number after a signal, 124 after
        `max_seconds`.

    Raises
    ------
    DataError
        If the data are missing or unsuitable, or vanish during training.
    OutputError
        If a file cannot be written.
    DivergedError
        If a cost is NaN or infinite; the last checkpoint is kept.
    HyperParameterError
        If `exp` is given and the original has no such model.
    """
    started = time.monotonic()
    schedule = schedule or original_schedule(type(hp))
    learning_rate = hp.learning_rate if learning_rate is None else learning_rate
    step.check_options(form, learning_rate, seed)
    check_backend(backend := backend or default_backend())
    check_precision(backend, precision)
    if tune_malloc:
        step.tune_malloc(hp)
    check_devices(backend, n_devices, hp.batch_size)
    clips = _load_splits(data, hp)
    hp = _with_statistics(hp, clips)
    if distributed.is_main_process():
        run_folder.check_free(folder, overwrite)
    which_set = layout.which_set(split_path(data, "train").name)
    if exp is not None:
        layout.results_path("", hp, which_set, exp, learning_rate)  # raises if the original has no such model
    all_settings = {
        "family": hp.family,
        "hyperparameters": asdict(hp),
        "schedule": asdict(schedule),
        "data": str(Path(data).absolute()),
        "data_sha256": _hashes(clips),
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
    with _lock(Path(folder)):
        trainer = _compile(hp, all_settings, show_progress)
        run = run_folder.Run(Path(folder))
        if distributed.is_main_process():
            run = run_folder.create(folder, all_settings, overwrite)
            if exp is not None:
                shapes = {p.name: p.type.shape for p in trainer.graph.parameters.trainable()}
                layout.create(run.folder, hp, which_set, exp, learning_rate, schedule, shapes)
        progress = Progress(_batches_per_epoch(clips, hp))
        t = TrainingState(trainer, clips, run, schedule, progress, trainer.zero_states(), started)
        t.on_evaluation = hooks.evaluate_and_save
        return train_loop(t, "start", max_seconds, catch_signals, show_progress)


def resume(
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    backend: str | None = None,
    max_seconds: float | None = None,
    hyperparameters: Sequence[str] = (),
    precision: str | None = None,
    n_devices: int | None = None,
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
    folder : path
        Of the run.
    changes : mapping, optional
        New values of fields of the schedule, such as ``max_iters``.
    data : path, optional
        Present folder of the data set, if it was moved; required for a run of the original.
    backend, precision, n_devices : optional
        Default: as before.
    hyperparameters : sequence of str
        As in `from_original.last_checkpoint`.
    max_seconds, catch_signals, tune_malloc
        As in `train`.

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
    HyperParameterError
        If the schedule has no such field.
    OutputError
        If a file cannot be written, or another process uses the folder.
    """
    started = time.monotonic()
    _check_changes(changes := changes or {})
    run = run_folder.Run(Path(folder))
    with _lock(run.folder) if run.folder.is_dir() else nullcontext():
        checkpoint, is_original = from_original.last_checkpoint(run, hyperparameters)
        hp, before = checkpoint.hp, checkpoint.settings
        if tune_malloc:
            step.tune_malloc(hp)
        data = data or before.get("data")
        if data is None:
            raise DataError(
                f"{run.folder} does not name the data set it was trained on; give it with --data."
            )
        clips = _load_splits(data, hp)
        options = {"backend": backend, "precision": precision, "n_devices": n_devices}
        settings = _resumed_settings(before, clips, data, options)
        check_devices(settings["backend"], settings["n_devices"], hp.batch_size)
        schedule, progress = _schedule_and_progress(run, checkpoint, {**settings["schedule"], **changes})
        settings["schedule"] = asdict(schedule)
        settings["original_layout"] |= is_original
        progress.batches_per_epoch = _batches_per_epoch(clips, hp)
        _check_same_data(run, clips, data, settings, progress)
        distributed.barrier()  # all have read the folder before process 0 changes it
        if not is_original and distributed.is_main_process():
            _discard_after_checkpoint(run, settings, progress)
        if ended(schedule, progress) and not progress.eval_due:
            return _already_ended(run, progress)
        _report_resume(before, settings, progress)
        trainer = _compile(hp, settings, show_progress)
        states = _restore(trainer, checkpoint)
        t = TrainingState(trainer, clips, run, schedule, progress, states, started)
        t.on_evaluation = hooks.evaluate_and_save
        if distributed.is_main_process():
            if is_original:
                _import_original(t)
            write_text(run.settings, json.dumps(settings, indent=2) + "\n")
        return train_loop(t, "resume", max_seconds, catch_signals, show_progress)


# --- helpers of both ----------------------------------------------------------------------------------------


def _print(message: str) -> None:
    if distributed.is_main_process():
        print(message, file=sys.stderr)


def _lock(folder: Path) -> AbstractContextManager[object]:
    return locked(folder) if distributed.is_main_process() else nullcontext()


def _batches_per_epoch(clips: Mapping[str, Clips], hp: HyperParameters) -> int:
    return minibatches.chunks_per_epoch(clips["train"], hp.batch_size, hp.seq_len)


def _with_statistics(hp: HyperParameters, clips: Mapping[str, Clips]) -> HyperParameters:
    """Add the mean and standard deviation of the training clips to a real-valued family."""
    if not isinstance(hp, RealValued) or hp.std is not None:
        return hp
    mean, std = statistics(clips["train"])
    return replace(hp, mean=mean, std=std)


def _compile(hp: HyperParameters, settings: Mapping[str, Any], show_progress: bool) -> Trainer:
    """Compile a model with the options in the settings of a run."""
    if show_progress:
        _print(f"Compiling {hp.family} for {settings['backend']} ...")
    names = ("seed", "learning_rate", "backend", "form", "ip_weight", "precision", "n_devices")
    return replace(compile_trainer(hp, *(settings[name] for name in names)), settings=settings)


def _load_splits(data: str | Path, hp: HyperParameters) -> dict[str, Clips]:
    """Load and check the three splits."""
    clips = {split: load_split(data, split) for split in SPLITS}
    for split, of_split in clips.items():
        minibatches.check_split(of_split, split, hp)
    return clips


def _hashes(clips: Mapping[str, Clips]) -> dict[str, str]:
    """SHA-256 of each split."""
    return {split: data_sha256(of_split) for split, of_split in clips.items()}


# --- helpers of resume --------------------------------------------------------------------------------------


def _check_changes(changes: Mapping[str, Any]) -> None:
    names = [f.name for f in fields(Schedule)]
    for name in changes:
        if name not in names:
            raise HyperParameterError(f"A schedule has no {name}; choose from {', '.join(names)}.")


def _resumed_settings(
    before: Mapping[str, Any], clips: Mapping[str, Clips], data: str | Path, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings of the resumed run: the old ones, with defaults where a run of the original has none."""
    defaults = {
        "schedule": asdict(original_schedule(FAMILIES[before["family"]])),
        "data_sha256": None,
        "original_layout": False,
        "seed": 123,
        "ip_weight": 0.0,
        "backend": default_backend(),
        "form": "fast",
        "precision": "highest",
        "n_devices": 1,
    }
    settings = {**defaults, **before, "data": str(Path(data).absolute())}
    settings |= {name: value for name, value in options.items() if value is not None}
    settings["data_sha256"] = settings["data_sha256"] or _hashes(clips)
    check_backend(settings["backend"])
    check_precision(settings["backend"], settings["precision"])
    return settings | provenance(settings["backend"])


def _schedule_and_progress(
    run: run_folder.Run, checkpoint: npz.Checkpoint, schedule: Mapping[str, Any]
) -> tuple[Schedule, Progress]:
    try:
        return Schedule(**schedule), Progress(**checkpoint.progress)
    except TypeError as error:
        raise CheckpointError(
            f"{run.last} was written by another version of this package ({error}); resume with that version."
        ) from error


def _check_same_data(
    run: run_folder.Run,
    clips: Mapping[str, Clips],
    data: str | Path,
    settings: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Raise DataError if the clips are not those that the run was trained on."""
    for split, digest in _hashes(clips).items():
        if digest != settings["data_sha256"][split]:
            raise DataError(
                f"The {split} split in {data} is not the one that {run.folder} was trained on; give the "
                "right folder with --data."
            )
    if progress.batch > progress.batches_per_epoch:  # a run of the original, which stored no SHA-256
        raise DataError(
            f"The train split in {data} has {progress.batches_per_epoch} minibatches an epoch and "
            f"{run.folder} has done {progress.batch} of one: it is not the one that it was trained on; give "
            "the right folder with --data."
        )


def _discard_after_checkpoint(run: run_folder.Run, settings: Mapping[str, Any], progress: Progress) -> None:
    """Remove what a killed process wrote after its last checkpoint."""
    discarded = run_folder.records_to_discard(run, progress.iteration, progress.eval_due)
    if settings["original_layout"]:
        layout.rewind(ResultTree(run.folder), discarded)
    run_folder.discard(run, discarded)
    run_folder.prune(run, settings["schedule"]["keep"])


def _already_ended(run: run_folder.Run, progress: Progress) -> int:
    """Print that the run has ended; return exit code 0."""
    if distributed.is_main_process() and not any(r["event"] == "end" for r in run_folder.read_log(run)):
        run_folder.append(run, "end", iteration=progress.iteration, seconds=progress.seconds)
    at = f"at iteration {progress.iteration}"
    print(f"{run.folder} has ended, {at}; to train on, give --max-iters or another limit.")
    return 0


def _report_resume(before: Mapping[str, Any], settings: Mapping[str, Any], progress: Progress) -> None:
    """Print where the run resumes, and what prevents bit-for-bit equality."""
    names = {name: name.replace("_", " ") for name in ("versions", "devices", "git_revision", "backend")}
    names |= {"precision": "precision", "n_devices": "number of devices"}
    before = {"precision": "highest", "n_devices": 1, **before}  # defaults of older runs
    if changed := [
        text for name, text in names.items() if before.get(name, settings[name]) != settings[name]
    ]:
        _print(f"Changed: {', '.join(changed)}; results are not bit for bit those of an uninterrupted run.")
    _print(f"Resuming after iteration {progress.iteration}.")


def _restore(trainer: Trainer, checkpoint: npz.Checkpoint) -> list[Any]:
    """Assign the parameters and Adam's moments of a checkpoint; return the recurrent states."""
    trainer.graph.parameters.assign(checkpoint.parameters)
    for name, array in checkpoint.adam.items():
        trainer.adam[name].set_value(array)
    if not checkpoint.adam:
        _print(
            "The original saved neither Adam's moments nor the recurrent states: both start from zero, as "
            "when it resumes."
        )
    states = [checkpoint.states[name] for name in trainer.graph.states if name in checkpoint.states]
    return states or trainer.zero_states()


def _import_original(t: TrainingState) -> None:
    """Turn a results folder of the original into a run folder, in place."""
    tree = ResultTree(t.run.folder)
    results_folder.apply_resume_point(tree, results_folder.find_resume_point(tree))
    names = [name for name, _ in results_folder.checkpoints(tree)]
    records = from_original.log_records(results_folder.read_log(tree), names)
    write_text(t.run.log, "".join(json.dumps(record) + "\n" for record in records))
    save_checkpoint(t, t.run.last)
