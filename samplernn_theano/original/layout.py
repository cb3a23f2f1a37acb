"""Write our runs in the layout of the original's results folders: logs, parameters and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.schedule import Schedule, is_lower
from samplernn_theano.errors import CheckpointError
from samplernn_theano.original import model_settings, pickles, results_folder, tags
from samplernn_theano.original.results_folder import LOG_KEYS, LOWEST_VALID, RESUMED, ResultTree
from samplernn_theano.original.tags import ParamsName

type Evaluation = Mapping[str, Any]
"""A record of a run's log with the event "monitor"."""


def which_set(train_file: str) -> str:
    """The original's name of the data set with the file ``train_file``, NAME_train.npy."""
    name = train_file.removesuffix("_train.npy")
    return "BLIZZ" if name == "Blizzard9k" else "".join(filter(str.isalnum, name)).upper() or "MUSIC"


def results_path(
    root: str | Path, hp: HyperParameters, which_set: str, exp: str, learning_rate: float
) -> Path:
    """The original's folder for a run below `root`: results_2t/TAG; see `tags.original_argv`."""
    argv = tags.original_argv(hp, which_set, exp)
    return results_folder.results_tree(root, hp.family, argv, learning_rate).folder


def create(
    folder: Path,
    hp: HyperParameters,
    which_set: str,
    exp: str,
    learning_rate: float,
    schedule: Schedule,
    shapes: Mapping[str, Sequence[int]],
) -> ResultTree:
    """Create a results folder, with args.pkl and model_settings.txt; `shapes` of the trained parameters."""
    argv, tree = tags.original_argv(hp, which_set, exp), ResultTree(folder)
    settings = tags.Settings(hp, which_set, learning_rate)
    text = model_settings.text(folder, argv, settings, constants(asdict(schedule)), shapes)
    results_folder.create(tree, argv, text)
    return tree


def constants(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Schedule` that the original has, under the constants of its scripts."""
    names = {"N_SEQS": "n_seqs", "PRINT_ITERS": "monitor_iters", "STOP_ITERS": "max_iters"}
    minutes = {"PRINT_TIME": "monitor_minutes", "STOP_TIME": "max_minutes"}
    if not schedule:
        return {}
    known = {constant: schedule.get(name) for constant, name in (names | minutes).items()}
    found = {k: round(60 * v) if k in minutes else v for k, v in known.items() if v is not None}
    return found | {"TRAIN_MODE": "iters" if schedule.get("max_iters") else "time"}


def params_name_of(evaluation: Evaluation) -> ParamsName:
    """The parts of the name of an evaluation's file of parameters."""
    epoch, iteration, seconds = (evaluation[key] for key in ("epoch", "iteration", "seconds"))
    train, valid, best = evaluation["minibatch"], evaluation["valid"], evaluation["test"] is not None
    return ParamsName(epoch, iteration, seconds / 3600, train, valid, best)


def write_evaluation(
    tree: ResultTree, evaluations: Sequence[Evaluation], arrays: Mapping[str, NDArray]
) -> None:
    """Write the parameters of the last of all `evaluations`, and append those that are missing to the log."""
    log = results_folder.read_log(tree) if tree.log.exists() else None
    missing = [e for e in evaluations if log is None or e["iteration"] not in log["iter"]]
    if missing:
        results_folder.write_params(tree, params_name_of(evaluations[-1]), arrays)
        pickles.write(tree.log, log_of(missing, log))


def rewind(tree: ResultTree, discarded: Sequence[Mapping[str, Any]]) -> None:
    """Remove the evaluations among the `discarded` records from the log, and their parameters and samples."""
    evaluations = [record for record in discarded if record["event"] == "monitor"]
    if not evaluations:
        return
    if tree.log.exists():
        log = results_folder.read_log(tree)
        removed = {evaluation["iteration"] for evaluation in evaluations}
        remaining = [i for i, iteration in enumerate(log["iter"]) if iteration not in removed]
        resumed = [index for index in log.pop(RESUMED, []) if index <= len(remaining)]
        after = {key: [values[i] for i in remaining] for key, values in log.items()}
        pickles.write(tree.log, after | ({RESUMED: resumed} if resumed else {}))
    for evaluation in evaluations:
        path = tree.params / tags.params_name(*params_name_of(evaluation))
        path.unlink(missing_ok=True)
        for sample in tree.samples.glob(f"{path.stem.replace('params', 'sample', 1)}_*.wav"):
            sample.unlink()


def log_of(
    evaluations: Sequence[Evaluation], before: Mapping[str, list[Any]] | None = None
) -> dict[str, list[Any]]:
    """The original's log of these evaluations, appended to the log `before`.

    Quirk: if the validation cost did not improve, the test split is not evaluated: its last cost comes again.
    """
    log = {key: list(values) for key, values in (before or {key: [] for key in LOG_KEYS}).items()}
    for evaluation in evaluations:
        of_best = {**evaluation, "best_valid": evaluation["valid"], "best_test": evaluation["test"]}
        again = ("test", "best_valid", "best_test", "test_seconds") if evaluation["test"] is None else ()
        for key, ours in LOG_KEYS.items():
            log[key].append(log[key][-1] if ours in again else of_best[ours])
    return log


def evaluations_of(log: Mapping[str, list[Any]], names: Sequence[ParamsName] = ()) -> list[dict[str, Any]]:
    """The evaluations in a log of the original (see `results_folder.read_log`), the reverse of `log_of`.

    `names` of files tell the cost of the last minibatch; without a file, it is the mean training cost.
    """
    n = len(log["iter"])
    for key in LOG_KEYS:
        if len(log.get(key, ())) != n:
            raise CheckpointError(f"The original's log has not as many values of {key!r} as evaluations.")
    last_costs = {(name.epoch, name.iteration): name.train for name in names}
    records = []
    for k in range(n):
        record = {ours: log[key][k] for key, ours in LOG_KEYS.items()}
        if k > 0 and not is_lower(record["valid"], log[LOWEST_VALID][k - 1]):
            record |= {"test": None, "test_seconds": None}
        record["minibatch"] = last_costs.get((record["epoch"], record["iteration"]), record["train"])
        records.append({"event": "monitor", **record})
    return records
