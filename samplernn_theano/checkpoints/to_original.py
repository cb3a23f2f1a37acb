"""Our parameters and runs as the original has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import Saved, read_fitting
from samplernn_theano.checkpoints.run_folder import Run, copy_samples, other_files, read_log
from samplernn_theano.config.hyperparameters import Quantised
from samplernn_theano.data import dataset
from samplernn_theano.errors import CheckpointError, DataError, HyperParameterError, OutputError
from samplernn_theano.original import layout, model_settings, pickles, results_folder, tags
from samplernn_theano.original.layout import Look
from samplernn_theano.original.results_folder import RESUMED, ResultTree
from samplernn_theano.original.tags import experiment
from samplernn_theano.utils import plotting
from samplernn_theano.utils.files import check_file_free, check_folder_free, whole_folder

NO_PLACE = "The original's files have no place for Adam's moments and the carried states."


def write_parameters(source: Path, out: Path, settings: Sequence[str], overwrite: bool) -> str:
    """Write the parameters of a checkpoint or run of ours as a file that the original loads.

    Parameters, errors and result are as in `samplernn_theano.checkpoints.convert.convert`.
    """
    check_file_free(out, overwrite)
    model = read_fitting(source, settings)
    if model.checkpoint is None:
        raise OutputError(f"{model.path} is a file of the original's already; copy the file.")
    _argv(model, "MUSIC", None, "")  # raises where the original has no such model
    pickles.write(out, {name: np.asarray(value, np.float32) for name, value in model.parameters.items()})
    return f"{out} holds the parameters of {model.path} as the original reads them. {NO_PLACE}"


def write_tree(
    source: Path, out: Path, settings: Sequence[str], which_set: str | None, exp: str | None, overwrite: bool
) -> str:
    """Make a results folder of the original's, `out`/results_3t/TAG, of a run of ours.

    It has all the looks of the log, and the parameters and the sound of those that have a checkpoint or
    sound still. Parameters, errors and result are as in `samplernn_theano.checkpoints.convert.convert`.
    """
    run, model = Run(source), load.read(source, settings)
    graph = load.build(model)
    about = model.checkpoint.settings if model.checkpoint else {}
    looks, resumed = _looks(run)
    asked = tags.Settings(
        model.hp,
        which_set or about.get("which_set") or _which_set(source, about),
        about.get("learning_rate", model.hp.learning_rate),
    )
    argv = _argv(model, asked.which_set, exp, source.resolve().name)
    place = results_folder.place(out.resolve(), model.hp.family, argv, asked.learning_rate).folder
    check_folder_free(place, source, results_folder.is_result_tree(place), overwrite, other_files)
    shapes = {p.name: p.type.shape for p in graph.parameters.trainable()}
    schedule = layout.constants(about.get("schedule", {}))
    by_iteration = {look["iteration"]: look for look in looks}
    with whole_folder(place, out.resolve(), overwrite) as folder:
        tree = ResultTree(folder)
        results_folder.create(tree, argv, model_settings.text(tree, argv, asked, schedule, shapes))
        written: set[int] = set()
        for path in tqdm(_checkpoints(run), unit=" checkpoints", disable=None):  # only in a terminal
            at = read_fitting(path, settings, model)
            iteration: int = at.checkpoint.progress.get("iteration", -1) if at.checkpoint else -1
            if iteration in by_iteration.keys() - written:
                name = layout.moment(by_iteration[iteration])
                results_folder.write_params(tree, name, at.parameters)
                written.add(iteration)
        if not written:
            raise CheckpointError(
                f"No checkpoint of {source} is of a look that its log knows of; its parameters alone can be "
                "written: name the output FILE.pkl."
            )
        results_folder.write_log(tree, layout.log_of(looks) | ({RESUMED: resumed} if resumed else {}))
        plotting.learning_curve(tree.plot, looks)
        names = {i: layout.moment(look) for i, look in by_iteration.items()}
        copy_samples(run.samples, tree.samples, lambda i, n: tags.sample_name(*names[i], n), names.keys())
    return (
        f"{place} is a results folder of the original's now: {len(looks)} looks, the parameters of "
        f"{len(written)}. {NO_PLACE}"
    )


def _looks(run: Run) -> tuple[list[Look], list[int]]:
    """The looks that the log of a run tells of, and how many there were wherever the run was resumed."""
    unsaid = {"valid_seconds": 0.0, "test_seconds": 0.0, "wall_seconds": 0.0}  # by older logs
    looks: list[Look] = []
    resumed: list[int] = []
    for record in read_log(run) if run.log.exists() else []:
        if record["event"] == "monitor" and (looks or record["test"] is not None):
            looks.append({"minibatch": record["train"]} | unsaid | record)
        elif record["event"] == "resume" and looks and len(looks) not in resumed:
            resumed.append(len(looks))
    return looks, resumed


def _checkpoints(run: Run) -> list[Path]:
    """The checkpoints of a run; those of looks first, for the last one may be of another moment."""
    found = sorted(path for path in run.last.parent.glob("*.npz") if not path.name.startswith("."))
    return sorted(found, key=lambda path: [path == run.last, path == run.best])


def _which_set(source: Path, about: Mapping[str, Any]) -> str:
    """The original's name of the data set, by the name of its files."""
    try:
        return layout.which_set(dataset.split_path(about["data"], "train").name)
    except (KeyError, DataError):
        raise CheckpointError(
            f"Which data set {source} was trained on cannot be told; name it with --which_set MUSIC or BLIZZ."
        ) from None


def _argv(model: Saved, which_set: str, exp: str | None, unnamed: str) -> list[str]:
    """The original's command line: the one that was kept, where it says the same, else a new one.

    `unnamed` is the experiment's name where neither `exp` nor the run tells one.
    """
    hp, about = model.hp, model.checkpoint.settings if model.checkpoint else {}
    try:
        if isinstance(hp, Quantised) and hp.q_type == "a-law":
            raise HyperParameterError("The original cannot compute --q_type a-law; choose linear or mu-law.")
        argv = tags.original_argv(hp, which_set, exp or about.get("exp") or unnamed)
    except HyperParameterError as error:
        raise HyperParameterError(f"{model.path} cannot become the original's: {error}") from error
    kept = about.get("original_argv")
    if not kept or not kept[0].endswith(tags.SCRIPTS[hp.family]) or exp not in (None, experiment(kept)):
        return argv
    try:
        return kept if tags.read_argv(kept, hp.family, "") == (hp, which_set) else argv
    except CheckpointError:
        return argv
