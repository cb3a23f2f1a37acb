"""Export parameters and runs to the original's formats."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import FEEDER, LoadedModel, caveats, read_checked
from samplernn_theano.checkpoints.run_folder import Run, check_overwrite, copy_samples, read_log
from samplernn_theano.config.hyperparameters import Quantised
from samplernn_theano.config.schedule import original_learning_rate, stored_schedule
from samplernn_theano.data import dataset
from samplernn_theano.errors import CheckpointError, DataError, HyperParameterError, OutputError
from samplernn_theano.original import layout, model_settings, pickles, results_folder, tags
from samplernn_theano.original.layout import Evaluation
from samplernn_theano.original.results_folder import RESUMED, ResultTree
from samplernn_theano.original.tags import experiment
from samplernn_theano.utils import plotting
from samplernn_theano.utils.files import atomic_folder, clear_abandoned
from samplernn_theano.utils.progress import counted

EVALUATED = ("epoch", "seconds", "train", "valid", "test")  # entries of an evaluation in the log
NOT_STORED = "The original's files do not store Adam's moments and the recurrent states."


def write_parameters(source: Path, out: Path, settings: Sequence[str]) -> str:
    """Convert parameters to a file that the original loads; parameters and result as in `convert`."""
    model = read_checked(source, settings)
    if model.checkpoint is None:
        raise OutputError(f"{model.path} is a file of the original already; copy the file.")
    _argv(model, "MUSIC", "-", "")  # raises if the original has no such model
    pickles.write(out, {name: np.asarray(value, np.float32) for name, value in model.parameters.items()})
    return (
        f"Wrote the parameters of {model.path} to {out}, in the original's format. {NOT_STORED}"
        f"{caveats(model)}{_not_stated(model)}"
    )


def write_tree(
    source: Path, out: Path, settings: Sequence[str], which_set: str | None, exp: str | None, overwrite: bool
) -> str:
    """Convert a run to a results folder, with all evaluations and their parameters and samples at hand."""
    run, model = Run(source), load.read(source, settings)
    graph = load.build(model)
    known = model.checkpoint.settings if model.checkpoint else {}
    evaluations, resumed = _evaluations(run)
    original = tags.Settings(
        model.hp,
        which_set or known.get("which_set") or _which_set(source, known),
        stored_schedule(known).get("learning_rate", original_learning_rate(type(model.hp))),
    )
    argv = _argv(model, original.which_set, exp, source.resolve().name)
    target = results_folder.results_tree(out.resolve(), model.hp.family, argv, original.learning_rate).folder
    clear_abandoned(target, out.resolve())
    check_overwrite(target, source, results_folder.is_result_tree(target), overwrite)
    shapes = {p.name: p.type.shape for p in graph.parameters.trainable()}
    schedule = layout.constants(known.get("schedule", {}))
    by_iteration = {record["iteration"]: record for record in evaluations}
    with atomic_folder(target, out.resolve(), overwrite) as folder:
        tree = ResultTree(folder)
        results_folder.create(tree, argv, model_settings.text(tree.folder, argv, original, schedule, shapes))
        unlike = model.assumed or _not_stated(model)
        if model.of_fork and unlike and not results_folder.of_fork(tree):
            raise CheckpointError(
                f"{source} is of a fork, for {model.of_fork} is none of the original's; a results folder "
                "would pass for the original's. Convert its checkpoints to files: OUT.pkl."
            )
        written: set[int] = set()
        # Those of evaluations first; the last one may be from another iteration.
        found = sorted(run.last.parent.glob("[!.]*.npz"), key=lambda p: [p == run.last, p == run.best, p])
        for path in counted(found, "convert", len(found), "checkpoints"):
            at = read_checked(path, settings, model)
            iteration: int = at.checkpoint.progress.get("iteration", -1) if at.checkpoint else -1
            if iteration in by_iteration.keys() - written:
                name = layout.params_name_of(by_iteration[iteration])
                results_folder.write_params(tree, name, at.parameters)
                written.add(iteration)
        if not written:
            raise CheckpointError(
                f"No checkpoint of {source} belongs to an evaluation in its log; only its parameters can be "
                "converted: name the output FILE.pkl."
            )
        pickles.write(tree.log, layout.log_of(evaluations) | ({RESUMED: resumed} if resumed else {}))
        plotting.learning_curve(tree.plot, evaluations)
        names = {i: layout.params_name_of(record) for i, record in by_iteration.items()}
        copy_samples(run.samples, tree.samples, lambda i, n: tags.sample_name(*names[i], n), names.keys())
    return (
        f"Wrote the results folder {target}: {len(evaluations)} evaluations, {len(written)} with parameters. "
        f"{NOT_STORED}{caveats(model)}{_not_stated(model, but='rate')}"
    )


def _evaluations(run: Run) -> tuple[list[Evaluation], list[int]]:
    """Evaluations in the log of a run, and their number at each resumption."""
    missing = {"valid_seconds": 0.0, "test_seconds": 0.0, "wall_seconds": 0.0}  # in older logs
    evaluations: list[Evaluation] = []
    resumed: list[int] = []
    for record in read_log(run) if run.log.exists() else []:
        if record["event"] == "monitor":
            known = {"test", *(name for name, value in record.items() if value is not None)} & record.keys()
            if unknown := [name for name in EVALUATED if name not in known]:
                raise CheckpointError(
                    f"The evaluation at iteration {record['iteration']} in {run.log} has no {unknown[0]}; "
                    "remove its line to convert the others."
                )
        if record["event"] == "monitor" and (evaluations or record["test"] is not None):
            evaluations.append({"minibatch": record["train"]} | missing | record)
        elif record["event"] == "resume" and evaluations and len(evaluations) not in resumed:
            resumed.append(len(evaluations))
    return evaluations, resumed


def _which_set(source: Path, settings: Mapping[str, Any]) -> str:
    try:
        return layout.which_set(dataset.split_path(settings["data"], "train").name)
    except (KeyError, DataError):
        raise CheckpointError(
            f"The data set of {source} is unknown; name it with --which_set MUSIC or BLIZZ."
        ) from None


def _not_stated(model: LoadedModel, but: str = "") -> str:
    """What the original's files do not state of a model of a fork; `but` is stated."""
    feeder = [own for own in fields(model.hp) if own.name in FEEDER and own.name != but]
    other = [f"{own.name}={value}" for own in feeder if (value := getattr(model.hp, own.name)) != own.default]
    return f" Not stated there, so to be given with --set: {', '.join(other)}." if other else ""


def _argv(model: LoadedModel, which_set: str, exp: str | None, unnamed: str) -> list[str]:
    """The original's command line: the stored one if it is equivalent, else a new one.

    `unnamed` is the name of the experiment if neither `exp` nor the run has one.
    """
    hp, known = model.hp, model.checkpoint.settings if model.checkpoint else {}
    stored = known.get("original_argv")
    if model.of_fork:  # whose feeder is in its script
        feeder: Any = {own.name: own.default for own in fields(hp) if own.name in FEEDER}
        hp = replace(hp, **feeder)
    if stored and exp in (None, experiment(stored)):
        with suppress(CheckpointError):
            if tags.read_argv(stored, hp.family, "") == (hp, which_set):
                return stored
    try:
        if isinstance(hp, Quantised) and hp.q_type == "a-law":
            raise HyperParameterError("The original cannot compute --q_type a-law; choose linear or mu-law.")
        script, *flags = tags.original_argv(hp, which_set, exp or known.get("exp") or unnamed)
        return [stored[0] if stored and model.of_fork else script, *flags]
    except HyperParameterError as error:
        raise HyperParameterError(f"{model.path} cannot be converted: {error}") from error
