"""Import checkpoints and runs of the original."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import exports, npz
from samplernn_theano.checkpoints.load import FEEDER, LoadedModel, caveats, read_checked
from samplernn_theano.checkpoints.npz import Checkpoint
from samplernn_theano.checkpoints.run_folder import Run, check_overwrite, copy_samples, no_run, write_log
from samplernn_theano.config.hyperparameters import to_store
from samplernn_theano.config.schedule import Progress, best_of, original_learning_rate
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original import pickles, results_folder, tags
from samplernn_theano.original.layout import Evaluation, evaluations_of
from samplernn_theano.original.results_folder import RESUMED, ResultTree
from samplernn_theano.original.tags import ParamsName, experiment
from samplernn_theano.utils import files, plotting
from samplernn_theano.utils.files import atomic_folder
from samplernn_theano.utils.progress import counted

NOT_SAVED = "The original saved neither Adam's moments nor the recurrent states: they are missing."
NOT_EXPORTED = "An exported model has neither Adam's moments nor the recurrent states: they are missing."


def log_records(log: Mapping[str, list[Any]], names: Sequence[ParamsName] = ()) -> list[dict[str, Any]]:
    """Records of log.jsonl from a log of the original: evaluations (see `evaluations_of`) and resumptions."""
    records: list[dict[str, Any]] = []
    for n, evaluation in enumerate(evaluations_of(log, names), 1):
        records.append(evaluation)
        if n in log.get(RESUMED, ()):
            records.append({"event": "resume", "iteration": evaluation["iteration"]})
    return records


def resume_checkpoint(
    tree: ResultTree, settings: Sequence[str] = (), which_set: str | None = None
) -> Checkpoint:
    """Checkpoint from which the original would resume (see `results_folder.find_resume_point`)."""
    resume = results_folder.find_resume_point(tree, count=False)
    names = [name for name, _ in results_folder.checkpoints(tree)]
    records = evaluations_of(results_folder.to_python_numbers(resume.log), names)
    model = read_checked(resume.params, settings)
    # The original's own runs have one feeder; that is only said.
    if needed := [name for name in model.assumed if model.of_fork or name not in FEEDER]:
        why = "args.pkl is missing, and the folder was renamed"
        if model.of_fork:
            why = f"{model.of_fork} is none of the original's, whose feeder has min-max and 16000"
        unknown = " ".join(f"--set {name}=..." for name in needed)
        raise CheckpointError(
            f"Some hyper-parameters of {tree.folder} are unknown ({why}); give them: {unknown}"
        )
    return _checkpoint(model, _progress(records), _settings(model, tree.folder, which_set))


def last_checkpoint(run: Run, hyperparameters: Sequence[str] = ()) -> tuple[Checkpoint, bool]:
    """Checkpoint to resume from, and True if it was made from a results folder of the original.

    `hyperparameters` (NAME=VALUE) are those of a run of the original that its files do not contain.
    """
    if not (run.has_checkpoint or run.settings.exists() or results_folder.is_result_tree(run.folder)):
        raise no_run(run)
    if results_folder.has_log(run.folder) and not run.last.exists():
        return resume_checkpoint(ResultTree(run.folder), hyperparameters), True
    if hyperparameters:
        raise CheckpointError(f"{run.folder} contains all hyper-parameters; leave out --set.")
    try:
        return npz.load(run.last), False
    except CheckpointError as error:
        if run.settings.exists() and not run.has_checkpoint:
            raise CheckpointError(
                f"{run.folder} has no checkpoint yet; start it again with samplernn train (the command is in "
                f"{run.settings})."
            ) from error
        if not run.best.exists():
            raise
        raise CheckpointError(
            f"{error} To resume from the best checkpoint, copy {run.best} to {run.last}."
        ) from error


def write_checkpoint(source: Path, out: Path, settings: Sequence[str], which_set: str | None) -> str:
    """Convert the original's parameters, or an exported model, to a checkpoint; otherwise as `convert`."""
    model = read_checked(source, settings)
    if model.checkpoint and not exports.is_export(model.path):
        raise OutputError(f"{model.path} is a checkpoint already; copy the file.")
    npz.save(out, to_checkpoint(model, source, which_set))
    lost = NOT_EXPORTED if model.checkpoint else NOT_SAVED
    return f"Wrote the checkpoint {out} from {model.path}. {lost}{caveats(model)}"


def to_checkpoint(model: LoadedModel, source: Path, which_set: str | None) -> Checkpoint:
    """The checkpoint of a model that was read from `source`; `which_set` names its data set, if given."""
    if model.checkpoint is None:
        return _checkpoint(model, _progress_of_file(model.path), _settings(model, source, which_set))
    settings = dict(model.checkpoint.settings)
    settings |= {"which_set": which_set} if which_set else {}
    settings |= {"assumed": list(model.assumed)} if settings.get("assumed") else {}
    return replace(model.checkpoint, hp=model.hp, settings=settings)


def write_run(
    source: Path, out: Path, settings: Sequence[str], which_set: str | None, overwrite: bool
) -> str:
    """Convert a results folder of the original to a run; parameters and result as in `convert`."""
    tree = ResultTree(source)
    if not results_folder.is_result_tree(source):
        raise CheckpointError(
            f"{source} is neither a run folder (checkpoints/last.npz) nor a results folder of the original "
            "(params/)."
        )
    if out.resolve() == Path.cwd():
        raise OutputError(f"{out} is the current folder; give another one.")
    files.clear_abandoned(out.resolve(), out.resolve().parent)
    check_overwrite(out, source, Run(out).log.exists() or Run(out).has_checkpoint, overwrite)
    own = set(results_folder.without_copies(tree))
    found = [pair for pair in results_folder.checkpoints(tree) if pair[1] in own]
    found.sort(key=lambda pair: pair[1].stat().st_mtime_ns)
    paths = {(name.epoch, name.iteration): path for name, path in found}  # of two, the newer
    log = results_folder.read_log(tree)
    records = log_records(log, [name for name, _ in found])
    evaluated = [record for record in records if record["event"] == "monitor"]
    last = resume_checkpoint(tree, settings, which_set)
    with atomic_folder(out.resolve(), out.resolve().parent, overwrite) as folder:
        run, scored = Run(folder), []
        for n, record in enumerate(counted(evaluated, "convert", len(evaluated), "evaluations"), 1):
            path = paths.get((record["epoch"], record["iteration"]))
            if path is None:
                continue
            model = read_checked(path, settings, last)
            kept = run.evaluation_checkpoint(record["iteration"], record["valid"])
            npz.save(kept, _checkpoint(model, _progress(evaluated[:n]), last.settings))
            scored.append((record["valid"], record["iteration"], kept))
        if not scored:
            raise CheckpointError(f"No file in {tree.params} belongs to an evaluation in {tree.log}.")
        best = best_of(scored, lambda evaluation: evaluation[0])
        if best:
            files.atomic_link(best[2], run.best)
        npz.save(run.last, last)
        files.write_text(run.settings, json.dumps(last.settings, indent=2) + "\n")
        write_log(run, records)
        plotting.learning_curve(run.plot, records)
        copy_samples(tree.samples, run.samples, lambda i, n: f"sample_i{i}_{n}.wav")
    which = f"the best is {best[1]}" if best else "none is the best: all validation costs are NaN or infinite"
    return (
        f"Wrote the run {out}: {len(evaluated)} evaluations, {len(scored)} with parameters; it resumes from "
        f"iteration {last.progress['iteration']}, {which}. {NOT_SAVED}{caveats(model)}"
    )


def import_log(run: Run) -> None:
    """Resume a results folder of the original as the original does, and write its log as that of a run."""
    tree = ResultTree(run.folder)
    results_folder.apply_resume_point(tree, results_folder.find_resume_point(tree))
    names = [name for name, _ in results_folder.checkpoints(tree)]
    write_log(run, log_records(results_folder.read_log(tree), names))


def _checkpoint(model: LoadedModel, progress: Progress, settings: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(model.hp, model.parameters, progress=asdict(progress), settings=settings)


def _settings(model: LoadedModel, source: Path, which_set: str | None) -> dict[str, Any]:
    """Known settings of a run of the original, and its command line, whose order names the folder."""
    tree = ResultTree(model.path.resolve().parent.parent)
    settings: dict[str, Any] = {
        "family": model.hp.family,
        "hyperparameters": to_store(model.hp),
        "learning_rate": original_learning_rate(type(model.hp)),
        "which_set": which_set,
        "converted_from": str(source),
    }
    if model.assumed or model.of_fork:
        settings |= {"assumed": list(model.assumed), "of_fork": model.of_fork}
    if model.source in ("args.pkl", "the folder's name"):
        found = results_folder.settings(tree)
        settings |= {"learning_rate": found.learning_rate, "which_set": which_set or found.which_set}
    if model.source == "args.pkl":
        argv = pickles.read(tree.args)
        settings |= {"exp": experiment(argv), "original_argv": argv}
    return settings


def _progress(records: Sequence[Evaluation]) -> Progress:
    """Progress at the last of these evaluations, which are all of the run until then."""
    last = records[-1]
    epoch, iteration = last["epoch"], last["iteration"]
    # In each epoch after the first there is an evaluation after its first minibatch.
    first = next(r["iteration"] for r in records if r["epoch"] == epoch) if epoch else 1
    without_improvement = next(n for n, r in enumerate(reversed(records)) if r["test"] is not None)
    same = ("iteration", "epoch", "seconds", "best_valid", "best_test", "minibatch")
    return Progress(
        **{name: last[name] for name in same},
        batches_per_epoch=max(1, (first - 1) // epoch) if epoch else 1,
        batch=iteration - first + 1,
        best_iteration=records[-1 - without_improvement]["iteration"],
        last_monitor_iteration=iteration,
        last_monitor_seconds=last["seconds"],
        evals_without_improvement=without_improvement,
    )


def _progress_of_file(path: Path) -> Progress:
    """Progress when a file of parameters was written: from the log, else from the file's name."""
    name, tree = tags.read_params_name(path.name), ResultTree(path.resolve().parent.parent)
    if name is None:
        return Progress()
    if path.resolve().parent == tree.params and tree.log.exists():
        records = evaluations_of(results_folder.read_log(tree), [name])
        for n, record in enumerate(records, 1):
            if (record["epoch"], record["iteration"]) == (name.epoch, name.iteration):
                return _progress(records[:n])
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
