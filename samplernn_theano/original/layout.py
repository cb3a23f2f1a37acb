"""A run of ours under the names of the original's results folders: logs, parameters and sound."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.original import model_settings, results_folder, tags
from samplernn_theano.original.results_folder import (
    LOG_KEYS,
    LOWEST_VALID,
    RESUMED,
    TEST,
    TEST_OF_LOWEST,
    ResultTree,
)
from samplernn_theano.original.tags import ParamsName

type Look = Mapping[str, Any]
"""A record of the log of a run, of the event "monitor"."""

DATA_SETS = {"music": "MUSIC", "Blizzard9k": "BLIZZ"}
"""What the original calls the data sets whose files bear these names."""


def which_set(train_file: str) -> str:
    """The original's name of the data set whose file is called ``train_file``, NAME_train.npy."""
    name = train_file.removesuffix("_train.npy")
    return DATA_SETS.get(name, "".join(c for c in name if c.isalnum()).upper() or "MUSIC")


def place(root: str | Path, hp: HyperParameters, which_set: str, exp: str, learning_rate: float) -> Path:
    """The folder in `root` where the original would keep a run: results_2t/TAG.

    Raises
    ------
    HyperParameterError
        If the original has no such model.
    """
    return results_folder.place(root, hp.family, tags.original_argv(hp, which_set, exp), learning_rate).folder


def create(
    folder: Path,
    hp: HyperParameters,
    which_set: str,
    exp: str,
    learning_rate: float,
    schedule: Schedule,
    shapes: Mapping[str, Sequence[int]],
) -> ResultTree:
    """Make a results folder of the original's, with args.pkl and model_settings.txt.

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        Of every parameter that is trained.

    Raises
    ------
    HyperParameterError
        If the original has no such model.
    OutputError
        If a file cannot be written.
    """
    argv, tree = tags.original_argv(hp, which_set, exp), ResultTree(folder)
    asked = tags.Settings(hp, which_set, learning_rate)
    text = model_settings.text(tree, argv, asked, constants(asdict(schedule)), shapes)
    results_folder.create(tree, argv, text)
    return tree


def constants(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Schedule` that the original has, as the constants of its scripts."""
    minutes = ("monitor_minutes", "max_minutes")
    names = ("n_seqs", "monitor_iters", "monitor_minutes", "max_iters", "max_minutes")
    constants = ("N_SEQS", "PRINT_ITERS", "PRINT_TIME", "STOP_ITERS", "STOP_TIME")
    if not schedule:
        return {}
    return {
        constant: round(60 * schedule[name]) if name in minutes else schedule[name]
        for constant, name in zip(constants, names, strict=True)
        if schedule.get(name) is not None
    } | {"TRAIN_MODE": "iters" if schedule.get("max_iters") else "time"}


def moment(look: Look) -> ParamsName:
    """What the name of a file of parameters says of a look."""
    return ParamsName(
        epoch=look["epoch"],
        iteration=look["iteration"],
        hours=look["seconds"] / 3600,
        train=look["minibatch"],
        valid=look["valid"],
        best=look["test"] is not None,
    )


def write_look(tree: ResultTree, look: Look, arrays: Mapping[str, NDArray]) -> Path:
    """Write the parameters of a look and add it to the log; return the path of the parameters.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    path = results_folder.write_params(tree, moment(look), arrays)
    results_folder.write_log(
        tree, log_of([look], results_folder.read_log(tree) if tree.log.exists() else None)
    )
    return path


def rewind(tree: ResultTree, lost: Sequence[Mapping[str, Any]]) -> None:
    """Take the looks among the records `lost` out of the log, and delete their parameters and sound.

    Raises
    ------
    OutputError
        If the log cannot be written.
    """
    looks = [record for record in lost if record["event"] == "monitor"]
    if not looks:
        return
    if tree.log.exists():
        log = results_folder.read_log(tree)
        gone = {look["iteration"] for look in looks}
        kept = [i for i, iteration in enumerate(log["iter"]) if iteration not in gone]
        resumed = [index for index in log.pop(RESUMED, []) if index <= len(kept)]
        after = {key: [values[i] for i in kept] for key, values in log.items()}
        results_folder.write_log(tree, after | ({RESUMED: resumed} if resumed else {}))
    for look in looks:
        (tree.params / tags.params_name(*moment(look))).unlink(missing_ok=True)
        stem = tags.params_name(*moment(look)).replace("params", "sample", 1).removesuffix(".pkl")
        for path in tree.samples.glob(f"{stem}_*.wav"):
            path.unlink()


def log_of(looks: Sequence[Look], before: Mapping[str, list[Any]] | None = None) -> dict[str, list[Any]]:
    """The original's log of these looks, behind what it had `before`.

    Quirk: where the validation cost did not improve, the test split is not scored, and what is logged for it
    is what was found last.
    """
    log = {key: list(values) for key, values in (before or {key: [] for key in LOG_KEYS}).items()}
    for look in looks:
        improved = look["test"] is not None
        log["epoch"].append(look["epoch"])
        log["iter"].append(look["iteration"])
        log["train NLL (bits)"].append(look["train"])
        log["valid NLL (bits)"].append(look["valid"])
        log[TEST].append(look["test"] if improved else log[TEST][-1])
        log[LOWEST_VALID].append(look["valid"] if improved else log[LOWEST_VALID][-1])
        log[TEST_OF_LOWEST].append(look["test"] if improved else log[TEST_OF_LOWEST][-1])
        log["train time"].append(look["seconds"])
        log["valid time"].append(look["valid_seconds"])
        log["test time"].append(look["test_seconds"] if improved else log["test time"][-1])
        log["wall clock time"].append(look["wall_seconds"])
    return log
