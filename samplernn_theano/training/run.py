"""Going on with a run: ours as if it had never been interrupted, the original's as the original would."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from samplernn_theano.backends.compile import check_backend, check_devices, check_precision, default_backend
from samplernn_theano.backends.provenance import provenance
from samplernn_theano.checkpoints import from_original, npz, run_folder
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters, RealValued
from samplernn_theano.config.schedule import Progress, Schedule, ended, original_schedule
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Clips, data_sha256, load_split, split_path, statistics
from samplernn_theano.errors import CheckpointError, DataError
from samplernn_theano.models import rnn
from samplernn_theano.original import layout, results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import distributed, hooks
from samplernn_theano.training.loop import train_on
from samplernn_theano.training.state import Trainer, Training, save
from samplernn_theano.training.step import compile_trainer, prepare_memory
from samplernn_theano.utils.files import locked, write_text


def train(
    hp: HyperParameters,
    data: str | Path,
    folder: str | Path,
    schedule: Schedule | None = None,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: rnn.Form = "fast",
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
        A folder with ``*_train.npy``, ``*_valid.npy`` and ``*_test.npy``, as
        `samplernn_theano.data.dataset` says.
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
        run_folder.check_free(folder, overwrite)
    which_set = layout.which_set(split_path(data, "train").name)
    if exp is not None:
        layout.place("", hp, which_set, exp, learning_rate)  # raises where there is no such model
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
        run = run_folder.Run(Path(folder))
        if distributed.is_first():
            run = run_folder.create(folder, described, overwrite)
        if distributed.is_first() and exp is not None:
            shapes = {p.name: p.type.shape for p in trainer.graph.parameters.trainable()}
            layout.create(run.folder, hp, which_set, exp, learning_rate, schedule, shapes)
        progress = Progress(minibatches.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len))
        states = trainer.zero_states()
        t = Training(trainer, clips, run, schedule, progress, states, began, evaluate=hooks.look)
        return train_on(t, "start", max_seconds)


def resume(
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    backend: str | None = None,
    max_seconds: float | None = None,
    words: Sequence[str] = (),
    precision: str | None = None,
    n_devices: int | None = None,
) -> int:
    """Go on with a run from its last checkpoint, as if it had never been interrupted.

    On the same machine and backend, costs and parameters are bit for bit those of the uninterrupted run.

    In a results folder of the original it goes on by the original's rules: from the latest look whose
    parameters are there, the minibatches of that epoch that are done left out, Adam's moments and the carried
    states at zero, for the original saved neither (quirk); the log is cut to that look, and the folder gets
    what our runs have.

    Parameters
    ----------
    folder : path
        Of the run.
    changes : mapping, optional
        Fields of the schedule that are to be others from now on, such as ``max_iters``.
    data : path, optional
        Where the data set is now, if it was moved; needed for a run of the original's.
    backend, precision, n_devices : optional
        Others than before.
    max_seconds : float, optional
        As in `samplernn_theano.training.loop.train`.
    words : sequence of str
        As in `checkpoint_of`.

    Returns
    -------
    int
        As of `samplernn_theano.training.loop.train`.

    Raises
    ------
    CheckpointError
        If the run has no checkpoint, or a damaged one.
    DataError
        If the data are missing, or are not those that the run was trained on.
    OutputError
        If a file cannot be written, or another process works in the folder.
    """
    began = time.monotonic()
    run = run_folder.Run(Path(folder))
    with locked(run.folder) if run.folder.is_dir() and distributed.is_first() else nullcontext():
        checkpoint, originals = checkpoint_of(run, words)
        hp, before = checkpoint.hp, checkpoint.settings
        prepare_memory(hp)
        data = data or before.get("data")
        if data is None:
            raise DataError(
                f"{run.folder} does not say which data set it was trained on; name it with --data."
            )
        clips = load_splits(data, hp)
        how = {"backend": backend, "precision": precision, "n_devices": n_devices}
        settings = _settings_to_go_on(before, clips, data, how)
        check_devices(settings["backend"], settings["n_devices"], hp.batch_size)
        schedule, progress = _where_it_stands(run, checkpoint, {**settings["schedule"], **(changes or {})})
        settings |= {
            "schedule": asdict(schedule),
            "original_layout": originals or settings["original_layout"],
        }
        progress.batches_per_epoch = minibatches.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len)
        _check_same_data(run, clips, data, settings, progress)
        distributed.meet()  # all have read the folder, before process 0 changes it
        if not originals and distributed.is_first():
            _forget_what_is_undone(run, settings, progress)
        if ended(schedule, progress) and not progress.look_due:
            return _ended_before(run, progress)
        if distributed.is_first():
            _tell_what_differs(before, settings)
            print(f"Going on after iteration {progress.iteration}.", file=sys.stderr)
        trainer = compile_for(hp, settings)
        trainer.graph.parameters.assign(checkpoint.parameters)
        for name, array in checkpoint.adam.items():
            trainer.adam[name].set_value(array)
        states = [checkpoint.states[name] for name in trainer.graph.states if name in checkpoint.states]
        states = states or trainer.zero_states()
        t = Training(trainer, clips, run, schedule, progress, states, began, evaluate=hooks.look)
        if not checkpoint.adam and distributed.is_first():
            print(
                "The original saved neither Adam's moments nor the carried states: both start from zero, as "
                "when it resumes.",
                file=sys.stderr,
            )
        if distributed.is_first():
            if originals:
                _take_over(t)
            write_text(run.settings, json.dumps(settings, indent=2) + "\n")
        return train_on(t, "resume", max_seconds)


def checkpoint_of(run: run_folder.Run, words: Sequence[str] = ()) -> tuple[npz.Checkpoint, bool]:
    """The checkpoint to go on from, and whether it is made of a results folder of the original's.

    Parameters
    ----------
    words : sequence of str
        Hyper-parameters of a run of the original's that its files do not tell, as NAME=VALUE.

    Raises
    ------
    CheckpointError
        If there is none, it is damaged, or something of it is not known.
    """
    if results_folder.has_log(run.folder) and not run.last.exists():
        return from_original.checkpoint_to_go_on(ResultTree(run.folder), words), True
    if words:
        raise CheckpointError(f"{run.folder} says all hyper-parameters itself; leave out --set.")
    try:
        return npz.load(run.last), False
    except CheckpointError as error:
        if not run.best.exists():
            raise
        raise CheckpointError(
            f"{error} To go on from the best one, copy {run.best} to {run.last}."
        ) from error


def _where_it_stands(
    run: run_folder.Run, checkpoint: npz.Checkpoint, schedule: Mapping[str, Any]
) -> tuple[Schedule, Progress]:
    try:
        return Schedule(**schedule), Progress(**checkpoint.progress)
    except TypeError as error:
        raise CheckpointError(
            f"{run.last} was written by another version of this package ({error}); go on with that one."
        ) from error


def _check_same_data(
    run: run_folder.Run,
    clips: Mapping[str, Clips],
    data: str | Path,
    settings: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Raise DataError if the clips are not those that the run was trained on."""
    for split, digest in hashes(clips).items():
        if digest != settings["data_sha256"][split]:
            raise DataError(
                f"The {split} split in {data} is not the one that {run.folder} was trained on; say where "
                "that is with --data."
            )
    if progress.batch > progress.batches_per_epoch:  # a run of the original's, which kept no SHA-256
        raise DataError(
            f"The train split in {data} has {progress.batches_per_epoch} minibatches an epoch and "
            f"{run.folder} has done {progress.batch} of one: it is not the one that it was trained on; name "
            "that with --data."
        )


def _forget_what_is_undone(run: run_folder.Run, settings: Mapping[str, Any], progress: Progress) -> None:
    """Take out of the folder what a killed process did after its last checkpoint."""
    lost = run_folder.undone(run, progress.iteration, progress.look_due)
    if settings["original_layout"]:
        layout.rewind(ResultTree(run.folder), lost)
    run_folder.rewind(run, lost)
    run_folder.prune(run, settings["schedule"]["keep"])


def _ended_before(run: run_folder.Run, progress: Progress) -> int:
    """A run that is at its end already."""
    if distributed.is_first() and not any(record["event"] == "end" for record in run_folder.read_log(run)):
        run_folder.append(run, "end", iteration=progress.iteration, seconds=progress.seconds)
    at = f"at iteration {progress.iteration}"
    print(f"{run.folder} has ended, {at}; for more give --max-iters or another limit.")
    return 0


def _tell_what_differs(before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    names = {name: name.replace("_", " ") for name in ("versions", "devices", "git_revision", "backend")}
    names |= {"precision": "precision", "n_devices": "number of devices"}
    before = {"precision": "highest", "n_devices": 1, **before}  # of runs that say nothing of it
    if other := [told for name, told in names.items() if before.get(name, settings[name]) != settings[name]]:
        print(f"Not as before: {', '.join(other)}; so not bit for bit the same.", file=sys.stderr)


def _take_over(t: Training) -> None:
    """Make a run of ours of a results folder of the original's, in place."""
    tree = ResultTree(t.run.folder)
    results_folder.carry_out(tree, results_folder.resumable(tree))
    names = [name for name, _ in results_folder.checkpoints(tree)]
    records = from_original.records_of(results_folder.read_log(tree), names)
    write_text(t.run.log, "".join(json.dumps(record) + "\n" for record in records))
    save(t, t.run.last)


def _settings_to_go_on(
    before: Mapping[str, Any], clips: Mapping[str, Clips], data: str | Path, how: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a run that goes on: those it had; for a run of the original's what it does not say."""
    family = FAMILIES[before["family"]]
    unsaid = {
        "schedule": asdict(original_schedule(family)),
        "data_sha256": None,
        "original_layout": False,
        "seed": 123,
        "ip_weight": 0.0,
        "backend": default_backend(),
        "form": "fast",
        "precision": "highest",
        "n_devices": 1,
    }
    settings = {**unsaid, **before, "data": str(Path(data).absolute())}
    settings |= {name: value for name, value in how.items() if value is not None}
    settings["data_sha256"] = settings["data_sha256"] or hashes(clips)
    check_backend(settings["backend"])
    check_precision(settings["backend"], settings["precision"])
    return settings | provenance(settings["backend"])


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
        minibatches.check_split(of_split, split, hp)
    return clips


def hashes(clips: Mapping[str, Clips]) -> dict[str, str]:
    """The SHA-256 of every split."""
    return {split: data_sha256(of_split) for split, of_split in clips.items()}
