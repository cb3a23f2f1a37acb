"""The results folders of the original: what lies where, and how a run goes on in one.

results_2t/TAG/args.pkl            the command line
results_2t/TAG/model_settings.txt  versions, constants and parameters, for people
results_2t/TAG/train_log.pkl       key -> list, one number for each look
results_2t/TAG/params/params_e0_i40_t0.00_tr5.2051_v5.1320_best.pkl
results_2t/TAG/samples/sample_e0_i40_t0.00_tr5.2051_v5.1320_best_0.wav
results_2t/TAG/best/               always empty

TAG is the command line in another writing; see `samplernn_theano.original.tags`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original import pickles
from samplernn_theano.original.tags import (
    SCRIPTS,
    ParamsName,
    Settings,
    from_tag,
    learning_rate_of,
    listed,
    params_name,
    read_argv,
    read_params_name,
    tag,
)
from samplernn_theano.utils.files import explain, write_text

RESULTS = {
    "one_tier": "results_1t",
    "two_tier": "results_2t",
    "three_tier": "results_3t",
    "wavenet": "results_wavenets",
}
"""The results folder of each family of the original."""

LOWEST_VALID, TEST_OF_LOWEST, TEST = "lowest valid cost", "correponding test cost", "test NLL (bits)"
LOG_KEYS = (
    "epoch",
    "iter",
    "train NLL (bits)",
    "valid NLL (bits)",
    TEST,
    LOWEST_VALID,
    TEST_OF_LOWEST,  # Quirk: misspelt
    "train time",
    "valid time",
    "test time",
    "wall clock time",
)
"""What the original logs at each look: bits per sample and seconds."""

RESUMED = "last resume index"  # of the log: how many looks it had wherever a run was resumed


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResultTree:
    """Paths inside the results folder of one run."""

    folder: Path

    @property
    def args(self) -> Path:
        """The command line."""
        return self.folder / "args.pkl"

    @property
    def model_settings(self) -> Path:
        """Versions, constants and parameters, for people."""
        return self.folder / "model_settings.txt"

    @property
    def log(self) -> Path:
        """The costs at each look."""
        return self.folder / "train_log.pkl"

    @property
    def plot(self) -> Path:
        """The learning curve."""
        return self.folder / "train_log.png"

    @property
    def params(self) -> Path:
        """The folder of the parameters."""
        return self.folder / "params"

    @property
    def samples(self) -> Path:
        """The folder of generated sound."""
        return self.folder / "samples"

    @property
    def best(self) -> Path:
        """Quirk: a folder that stays empty."""
        return self.folder / "best"


def is_result_tree(folder: str | Path) -> bool:
    """Whether `folder` is laid out as the original does."""
    return ResultTree(Path(folder)).params.is_dir()


def has_log(folder: str | Path) -> bool:
    """Whether `folder` is laid out as the original does and at least one look was made in it."""
    return is_result_tree(folder) and ResultTree(Path(folder)).log.exists()


def family_of(tree: ResultTree) -> str:
    """The family, by the name of the folder around the run, else by the script that the run was started with.

    Raises
    ------
    CheckpointError
        If neither tells.
    """
    folder = tree.folder.resolve()
    for family, results in RESULTS.items():
        if folder.parent.name == results:
            return family
    named = folder.name + (_read_args(tree)[0] if tree.args.exists() else "")
    for family, script in SCRIPTS.items():
        if Path(script).name in named:
            return family
    raise CheckpointError(
        f"What family {tree.folder} holds cannot be told; put it into a folder {listed(RESULTS.values())}."
    )


def settings(tree: ResultTree) -> Settings:
    """What the run was asked for: by args.pkl, or by the folder's name where that is missing.

    Raises
    ------
    CheckpointError
        If args.pkl is damaged, or the name tells nothing.
    """
    family, name = family_of(tree), tree.folder.resolve().name
    if not tree.args.exists():
        return from_tag(name, family)
    hp, which_set = read_argv(_read_args(tree), family, str(tree.args))
    return Settings(hp, which_set, learning_rate_of(name, family))


def checkpoints(tree: ResultTree) -> list[tuple[ParamsName, Path]]:
    """The files of parameters, the earliest first."""
    named = [(read_params_name(path.name), path) for path in tree.params.glob("*.pkl")]
    return sorted((name, path) for name, path in named if name is not None)


def read_log(tree: ResultTree) -> dict[str, list[Any]]:
    """The log as plain numbers under the original's keys (`LOG_KEYS`), one for each look.

    Raises
    ------
    CheckpointError
        If it is missing or damaged.
    """
    return plain(_stored_log(tree))


def plain(log: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """A log whose NumPy numbers have become plain ones."""
    return {key: [_plain(value) for value in values] for key, values in log.items()}


def _stored_log(tree: ResultTree) -> dict[str, list[Any]]:
    """The log as it is stored: some numbers are NumPy's."""
    log = pickles.read(tree.log)
    needed = ("iter", "epoch", LOWEST_VALID, TEST_OF_LOWEST, TEST)
    if not isinstance(log, dict) or not all(isinstance(values, list) for values in log.values()):
        raise CheckpointError(f"{tree.log} is no log of the original's: it is not a dictionary of lists.")
    missing = [key for key in needed if key not in log]
    if missing:
        raise CheckpointError(f"{tree.log} is no log of the original's: it has no {missing[0]!r}.")
    if len({len(log[key]) for key in needed}) > 1:
        raise CheckpointError(f"{tree.log} is damaged: its lists differ in length.")
    whole = ("iter", "epoch", RESUMED)
    if not all(isinstance(_plain(v), int if k in whole else int | float) for k in log for v in log[k]):
        raise CheckpointError(f"{tree.log} is damaged: it holds something that is not such a number.")
    return log


def _read_args(tree: ResultTree) -> list[str]:
    argv = pickles.read(tree.args)
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise CheckpointError(f"{tree.args} holds no command line; remove it, and the folder's name is read.")
    return argv


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- resuming -----------------------------------------------------------------------------------------------


class Resume(NamedTuple):
    """Where the original goes on.

    Attributes
    ----------
    epoch, iteration : int
    to_skip : int
        Minibatches of this epoch that are done.
    params : Path
        The parameters to load. Quirk: neither Adam's moments nor the carried state were saved.
    lowest_valid, test_of_lowest, test : float
        Best validation cost so far, the test cost there, the latest test cost; bits per sample.
    log : dict of str to list
        What the log becomes.
    backup : bool
        Whether looks are lost from the log, so that it is kept under another name.
    """

    epoch: int
    iteration: int
    to_skip: int
    params: Path
    lowest_valid: float
    test_of_lowest: float
    test: float
    log: dict[str, list[Any]]
    backup: bool


def resumable(tree: ResultTree, count: bool = True) -> Resume:
    """Where the original would go on: at the latest look whose parameters are still there. Changes nothing.

    With `count` the log also says how many looks it had here (`RESUMED`).

    Quirk: the file's name is searched for as params_e<epoch>_i<iteration>*, so iteration 4 also finds 40.
    Quirk: where several files are found for a look, the newest is kept, and yet that look is given up: the
    parameters are then newer than what the log, the iteration and the position in the data say.

    Raises
    ------
    CheckpointError
        If the log is missing or damaged, no parameters belong to it, or no look is left.
    """
    log = _stored_log(tree)
    left, path = len(log["iter"]), None
    while left and path is None:
        pattern = f"params_e{log['epoch'][left - 1]}_i{log['iter'][left - 1]}*"
        files = sorted(tree.params.glob(pattern))
        if files:
            path = max(files, key=lambda file: file.stat().st_mtime_ns)
        if len(files) != 1:
            left -= 1
    if path is None:
        raise CheckpointError(f"No file in {tree.params} belongs to a look that {tree.log} knows of.")
    if not left:
        raise CheckpointError(
            f"Several files in {tree.params} belong to the first look of {tree.log}; remove all but one."
        )
    after = {key: values[:left] for key, values in log.items() if key != RESUMED}
    resumed = [index for index in log.get(RESUMED, []) if index < left] + [left] * count
    if resumed:
        after[RESUMED] = resumed
    epoch, iteration = after["epoch"][-1], after["iter"][-1]
    # Each epoch after the first begins with a look, when its first minibatch is done.
    first = 1 if epoch == 0 else after["iter"][after["epoch"].index(epoch)]
    return Resume(
        epoch=epoch,
        iteration=iteration,
        to_skip=iteration - first + 1,
        params=path,
        lowest_valid=float(after[LOWEST_VALID][-1]),
        test_of_lowest=float(after[TEST_OF_LOWEST][-1]),
        test=float(after[TEST][-1]),
        log=after,
        backup=left < len(log["iter"]),
    )


def carry_out(tree: ResultTree, resume: Resume) -> None:
    """Write the log that `resumable` found, after a copy of the old one if looks are lost.

    The copy is called train_log_i<last iteration>.pkl, which is our name for it.

    Raises
    ------
    OutputError
        If a file cannot be written; the log is then as it was.
    """
    old = _stored_log(tree)
    if resume.backup:
        pickles.write(tree.log.with_name(f"train_log_i{old['iter'][-1]}.pkl"), old)
    if resume.log != old:
        pickles.write(tree.log, resume.log)


# --- writing ------------------------------------------------------------------------------------------------


def place(
    root: str | Path, family: str, argv: Sequence[str], learning_rate: float | None = None
) -> ResultTree:
    """Where the original would put a run, were it started in the folder `root`."""
    return ResultTree(Path(root) / RESULTS[family] / tag(argv, family, learning_rate))


def create(tree: ResultTree, argv: Sequence[str], settings_text: str) -> None:
    """Make the folders of a run, and write its command line and the text of model_settings.txt.

    Raises
    ------
    OutputError
        If that cannot be done.
    """
    for folder in (tree.params, tree.samples, tree.best):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(explain(folder, error)) from error
    pickles.write(tree.args, list(argv))
    write_text(tree.model_settings, settings_text)


def write_params(tree: ResultTree, name: ParamsName, arrays: Mapping[str, NDArray]) -> Path:
    """Write parameters as float32 under the name of this moment; return the file's path."""
    path = tree.params / params_name(*name)
    pickles.write(path, {key: np.asarray(array, dtype=np.float32) for key, array in arrays.items()})
    return path


def write_log(tree: ResultTree, log: Mapping[str, list[Any]]) -> None:
    """Write the log: under each of `LOG_KEYS` one number for each look."""
    pickles.write(tree.log, dict(log))
