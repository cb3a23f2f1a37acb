"""A checkpoint or a run made from the original's files."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from samplernn_theano.checkpoints import npz
from samplernn_theano.checkpoints.load import Saved, read_fitting
from samplernn_theano.checkpoints.npz import Checkpoint
from samplernn_theano.checkpoints.run_folder import Run, copy_samples, other_files
from samplernn_theano.config.schedule import Progress
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original import pickles, results_folder, tags
from samplernn_theano.original.layout import Look
from samplernn_theano.original.results_folder import (
    LOG_KEYS,
    LOWEST_VALID,
    RESUMED,
    TEST,
    TEST_OF_LOWEST,
    ResultTree,
)
from samplernn_theano.original.tags import ParamsName, experiment
from samplernn_theano.utils import files, plotting
from samplernn_theano.utils.files import check_file_free, check_folder_free, whole_folder

NOT_SAVED = "The original saved neither Adam's moments nor the carried states, so they are not in it."


def looks_of(log: Mapping[str, list[Any]], names: Sequence[ParamsName] = ()) -> list[dict[str, Any]]:
    """The looks of a log of the original's, as records of our log.

    Quirk: for the test cost of a look that did not improve on the best, the original's log repeats the one
    before; here it is None.

    Parameters
    ----------
    log : mapping
        As `result_tree.read_log` returns it.
    names : sequence of ParamsName
        What the names of the files of parameters say: the log does not tell the cost of the last minibatch.
        Where there is none, the mean training cost stands for it.

    Raises
    ------
    CheckpointError
        If the log lacks something.
    """
    for key in LOG_KEYS:
        if len(log.get(key, ())) != len(log["iter"]):
            raise CheckpointError(f"The original's log has not as many values of {key!r} as looks.")
    last_costs = {(name.epoch, name.iteration): name.train for name in names}
    looks = []
    for k, (epoch, iteration) in enumerate(zip(log["epoch"], log["iter"], strict=True)):
        improved = k == 0 or log["valid NLL (bits)"][k] < log[LOWEST_VALID][k - 1]
        train = log["train NLL (bits)"][k]
        looks.append(
            {
                "iteration": iteration,
                "epoch": epoch,
                "seconds": log["train time"][k],
                "train": train,
                "minibatch": last_costs.get((epoch, iteration), train),
                "valid": log["valid NLL (bits)"][k],
                "test": log[TEST][k] if improved else None,
                "best_valid": log[LOWEST_VALID][k],
                "best_test": log[TEST_OF_LOWEST][k],
                "valid_seconds": log["valid time"][k],
                "test_seconds": log["test time"][k] if improved else None,
                "wall_seconds": log["wall clock time"][k],
            }
        )
    return looks


def records_of(log: Mapping[str, list[Any]], names: Sequence[ParamsName] = ()) -> list[dict[str, Any]]:
    """Our log of a run of the original's: its looks, and where it was resumed; see `looks_of`."""
    records: list[dict[str, Any]] = []
    for n, look in enumerate(looks_of(log, names), 1):
        records.append({"event": "monitor", **look})
        if n in log.get(RESUMED, ()):
            records.append({"event": "resume", "iteration": look["iteration"]})
    return records


def checkpoint_to_go_on(
    tree: ResultTree, settings: Sequence[str] = (), which_set: str | None = None
) -> Checkpoint:
    """The checkpoint that the original's rules would go on from: without Adam's moments and carried states.

    Parameters
    ----------
    settings, which_set
        As in `convert`.

    Raises
    ------
    CheckpointError
        If there is none, or the tree is damaged; see `result_tree.resumable`.
    """
    resume = results_folder.resumable(tree, count=False)
    looks = looks_of(results_folder.plain(resume.log), [name for name, _ in results_folder.checkpoints(tree)])
    model = read_fitting(resume.params, settings)
    if model.assumed:
        unknown = " ".join(f"--set {name}=..." for name in model.assumed)
        raise CheckpointError(
            f"Nothing in {tree.folder} tells some hyper-parameters (args.pkl is missing, and the folder has "
            f"another name than the original gave it); name them: {unknown}"
        )
    return _checkpoint(model, _progress(looks), _about(model, tree.folder, which_set))


def write_checkpoint(
    source: Path, out: Path, settings: Sequence[str], which_set: str | None, overwrite: bool
) -> str:
    """Write the original's parameters as a checkpoint; parameters, errors and result as in `convert`."""
    check_file_free(out, overwrite)
    model = read_fitting(source, settings)
    if model.checkpoint:
        raise OutputError(f"{model.path} is a checkpoint of ours already; copy the file.")
    progress = _progress_of_file(model.path)
    npz.save(out, _checkpoint(model, progress, _about(model, source, which_set)))
    return f"{out} is a checkpoint of ours now, made of {model.path}. {NOT_SAVED}{_assumed(model)}"


def write_run(
    source: Path, out: Path, settings: Sequence[str], which_set: str | None, overwrite: bool
) -> str:
    """Write a results folder of the original as a run; parameters, errors and result as in `convert`."""
    tree = ResultTree(source)
    if not results_folder.is_result_tree(source):
        raise CheckpointError(
            f"{source} is neither a run of ours (checkpoints/last.npz) nor a results folder of the "
            "original's (params/)."
        )
    if out.resolve() == Path.cwd():
        raise OutputError(f"{out} is the current folder; name one below it or elsewhere.")
    check_folder_free(out, source, Run(out).log.exists() or Run(out).has_checkpoint, overwrite, other_files)
    found = sorted(results_folder.checkpoints(tree), key=lambda pair: pair[1].stat().st_mtime_ns)
    paths = {(name.epoch, name.iteration): path for name, path in found}  # of two, the newer
    log = results_folder.read_log(tree)
    records = records_of(log, [name for name, _ in found])
    looks = [record for record in records if record["event"] == "monitor"]
    last = checkpoint_to_go_on(tree, settings, which_set)
    with whole_folder(out.resolve(), out.resolve().parent, overwrite) as folder:
        run, scored = Run(folder), []
        for n, look in enumerate(tqdm(looks, unit=" looks", disable=None), 1):  # only in a terminal
            path = paths.get((look["epoch"], look["iteration"]))
            if path is None:
                continue
            model = read_fitting(path, settings, last)
            kept = run.kept(look["iteration"], look["valid"])
            npz.save(kept, _checkpoint(model, _progress(looks[:n]), last.settings))
            scored.append((math.isnan(look["valid"]), look["valid"], look["iteration"], kept))
        if not scored:
            raise CheckpointError(f"No file in {tree.params} belongs to a look that {tree.log} knows of.")
        *_, best_iteration, best = min(scored)
        files.link(best, run.best)
        npz.save(run.last, last)
        files.write_text(run.settings, json.dumps(last.settings, indent=2) + "\n")
        files.write_text(run.log, "".join(json.dumps(record) + "\n" for record in records))
        plotting.learning_curve(run.plot, records)
        copy_samples(tree.samples, run.samples, lambda i, n: f"sample_i{i}_{n}.wav")
    return (
        f"{out} is a run of ours now: {len(looks)} looks, the parameters of {len(scored)}; it goes on from "
        f"iteration {last.progress['iteration']}, the best is that of {best_iteration}. {NOT_SAVED}"
        f"{_assumed(model)}"
    )


def _checkpoint(model: Saved, progress: Progress, about: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(model.hp, model.parameters, progress=asdict(progress), settings=about)


def _about(model: Saved, source: Path, which_set: str | None) -> dict[str, Any]:
    """What is known of how a model of the original's was trained.

    The command line is kept as it is: the order of its flags, which the name of the results folder repeats,
    can be told from nothing else.
    """
    tree = ResultTree(model.path.resolve().parent.parent)
    about: dict[str, Any] = {
        "family": model.hp.family,
        "hyperparameters": asdict(model.hp),
        "learning_rate": model.hp.learning_rate,
        "which_set": which_set,
        "converted_from": str(source),
    }
    if model.source in ("args.pkl", "the folder's name"):
        told = results_folder.settings(tree)
        about |= {"learning_rate": told.learning_rate, "which_set": which_set or told.which_set}
    if model.source == "args.pkl":
        argv = pickles.read(tree.args)
        about |= {"exp": experiment(argv), "original_argv": argv}
    return about


def _progress(looks: Sequence[Look]) -> Progress:
    """Where a run stands at the last of these looks, which are all that it had."""
    last = looks[-1]
    epoch, iteration = last["epoch"], last["iteration"]
    # Each epoch after the first begins with a look, when its first minibatch is done.
    first = next(look["iteration"] for look in looks if look["epoch"] == epoch) if epoch else 1
    without_gain = next(n for n, look in enumerate(reversed(looks)) if look["test"] is not None)
    return Progress(
        batches_per_epoch=max(1, (first - 1) // epoch) if epoch else 1,
        iteration=iteration,
        epoch=epoch,
        batch=iteration - first + 1,
        seconds=last["seconds"],
        best_valid=last["best_valid"],
        best_test=last["best_test"],
        best_iteration=looks[-1 - without_gain]["iteration"],
        last_monitor_iteration=iteration,
        last_monitor_seconds=last["seconds"],
        minibatch=last["minibatch"],
        looks_without_gain=without_gain,
    )


def _progress_of_file(path: Path) -> Progress:
    """Where a run stood when it wrote this file of parameters: by its log, else by the file's name."""
    name, tree = tags.read_params_name(path.name), ResultTree(path.resolve().parent.parent)
    if name is None:
        return Progress()
    if path.resolve().parent == tree.params and tree.log.exists():
        looks = looks_of(results_folder.read_log(tree), [name])
        for n, look in enumerate(looks, 1):
            if (look["epoch"], look["iteration"]) == (name.epoch, name.iteration):
                return _progress(looks[:n])
    return Progress(
        iteration=name.iteration,
        epoch=name.epoch,
        seconds=3600 * name.hours,
        best_valid=name.valid if name.best else None,
        best_iteration=name.iteration if name.best else 0,
        last_monitor_iteration=name.iteration,
        last_monitor_seconds=3600 * name.hours,
        minibatch=name.train,
    )


def _assumed(model: Saved) -> str:
    if not model.assumed:
        return ""
    return (
        f" Nothing tells {', '.join(model.assumed)}: those of the authors' best model are assumed; name "
        "others with --set."
    )
