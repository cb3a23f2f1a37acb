"""Going on with a run: ours as if it had never been interrupted, the original's as the original would."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samplernn_theano import checkpoints, conversion, distributed, feeder, original_layout, runs
from samplernn_theano.backend import check_backend, check_devices, check_precision, default_backend
from samplernn_theano.clips import Clips
from samplernn_theano.errors import CheckpointError, DataError
from samplernn_theano.files import locked, write_text
from samplernn_theano.hyperparameters import FAMILIES
from samplernn_theano.monitoring import Training, save
from samplernn_theano.original import result_tree
from samplernn_theano.original.result_tree import ResultTree
from samplernn_theano.provenance import provenance
from samplernn_theano.schedule import Progress, Schedule, ended, original_schedule
from samplernn_theano.trainer import prepare_memory
from samplernn_theano.training import compile_for, hashes, load_splits, train_on


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
        As in `samplernn_theano.training.train`.
    words : sequence of str
        As in `checkpoint_of`.

    Returns
    -------
    int
        As of `samplernn_theano.training.train`.

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
    run = runs.Run(Path(folder))
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
        progress.batches_per_epoch = feeder.passes_per_epoch(clips["train"], hp.batch_size, hp.seq_len)
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
        t = Training(trainer, clips, run, schedule, progress, states or trainer.zero_states(), began)
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


def checkpoint_of(run: runs.Run, words: Sequence[str] = ()) -> tuple[checkpoints.Checkpoint, bool]:
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
    if result_tree.has_log(run.folder) and not run.last.exists():
        return conversion.checkpoint_to_go_on(ResultTree(run.folder), words), True
    if words:
        raise CheckpointError(f"{run.folder} says all hyper-parameters itself; leave out --set.")
    try:
        return checkpoints.load(run.last), False
    except CheckpointError as error:
        if not run.best.exists():
            raise
        raise CheckpointError(
            f"{error} To go on from the best one, copy {run.best} to {run.last}."
        ) from error


def _where_it_stands(
    run: runs.Run, checkpoint: checkpoints.Checkpoint, schedule: Mapping[str, Any]
) -> tuple[Schedule, Progress]:
    try:
        return Schedule(**schedule), Progress(**checkpoint.progress)
    except TypeError as error:
        raise CheckpointError(
            f"{run.last} was written by another version of this package ({error}); go on with that one."
        ) from error


def _check_same_data(
    run: runs.Run,
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


def _forget_what_is_undone(run: runs.Run, settings: Mapping[str, Any], progress: Progress) -> None:
    """Take out of the folder what a killed process did after its last checkpoint."""
    lost = runs.undone(run, progress.iteration, progress.look_due)
    if settings["original_layout"]:
        original_layout.rewind(ResultTree(run.folder), lost)
    runs.rewind(run, lost)
    runs.prune(run, settings["schedule"]["keep"])


def _ended_before(run: runs.Run, progress: Progress) -> int:
    """A run that is at its end already."""
    if distributed.is_first() and not any(record["event"] == "end" for record in runs.read_log(run)):
        runs.append(run, "end", iteration=progress.iteration, seconds=progress.seconds)
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
    result_tree.carry_out(tree, result_tree.resumable(tree))
    names = [name for name, _ in result_tree.checkpoints(tree)]
    records = conversion.records_of(result_tree.read_log(tree), names)
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
