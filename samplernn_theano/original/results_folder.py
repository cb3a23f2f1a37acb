"""The results folders of the original: their files, and resuming a run.

results_2t/TAG/args.pkl            the command line
results_2t/TAG/model_settings.txt  versions, constants and parameters as text
results_2t/TAG/train_log.pkl       key -> list, one number per evaluation
results_2t/TAG/params/params_e0_i40_t0.00_tr5.2051_v5.1320_best.pkl
results_2t/TAG/samples/sample_e0_i40_t0.00_tr5.2051_v5.1320_best_0.wav
results_2t/TAG/best/               always empty

TAG is made of the command line; see `samplernn_theano.original.tags`.
"""

import filecmp
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original import pickles, tags
from samplernn_theano.original.tags import RESULTS, ParamsName, Settings
from samplernn_theano.utils.files import write_error_message, write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters

LOWEST_VALID, TEST_OF_LOWEST, TEST = "lowest valid cost", "correponding test cost", "test NLL (bits)"  # sic
LOG_KEYS = {
    "epoch": "epoch",
    "iter": "iteration",
    "train NLL (bits)": "train",
    "valid NLL (bits)": "valid",
    TEST: "test",
    LOWEST_VALID: "best_valid",
    TEST_OF_LOWEST: "best_test",
    "train time": "seconds",
    "valid time": "valid_seconds",
    "test time": "test_seconds",
    "wall clock time": "wall_seconds",
}
"""Keys of the original's log (bits per sample and seconds of each evaluation), and those of our records."""

RESUMED = "last resume index"  # of the log: the numbers of evaluations at which the run was resumed


class ResultTree:
    """Paths inside the results folder of one run."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.args = self.folder / "args.pkl"
        self.model_settings = self.folder / "model_settings.txt"
        self.log = self.folder / "train_log.pkl"
        self.plot = self.folder / "train_log.png"
        self.params = self.folder / "params"
        self.samples = self.folder / "samples"
        self.best = self.folder / "best"  # Quirk: stays empty


def is_result_tree(folder: str | Path) -> bool:
    """True if `folder` has the original's layout."""
    return ResultTree(folder).params.is_dir()


def has_log(folder: str | Path) -> bool:
    """True if `folder` has the original's layout and a log."""
    return is_result_tree(folder) and ResultTree(folder).log.exists()


def family_of(tree: ResultTree) -> str:
    """The family, from the name of the parent folder, else from the script in the command line."""
    folder = tree.folder.resolve()
    for family, results in RESULTS.items():
        if folder.parent.name == results:
            return family
    named = folder.name + (_read_args(tree)[0] if tree.args.exists() else "")
    if found := tags.family_of_script(named):
        return found
    known = tags.listed(RESULTS.values())
    raise CheckpointError(f"The family of {tree.folder} is unknown; move it into a folder named {known}.")


def settings(tree: ResultTree, unknown: list[str] | None = None) -> Settings:
    """The settings of the run, from args.pkl, or from the folder's name if that is missing.

    Flags of a fork are appended to `unknown`.
    """
    family, name = family_of(tree), tree.folder.resolve().name
    if not tree.args.exists():
        return tags.from_tag(name, family)
    hp, which_set = tags.read_argv(_read_args(tree), family, str(tree.args), unknown)
    return Settings(hp, which_set, tags.learning_rate_of(name, family))


def of_fork(tree: ResultTree) -> str:
    """What shows that a run is one of a fork of the original: script, set, flags, rate; else empty.

    Our own runs in the original's layout have data sets of any name.
    """
    named = re.match(r"(?:.*[-\\])?([^-\\]+\.py)-", tree.folder.resolve().name)
    argv, unknown, sets = [named[1] if named else ""], list[str](), list[str]()
    try:
        argv = _read_args(tree) if tree.args.exists() else argv
        sets = [settings(tree, unknown).which_set]
    except CheckpointError:
        if tree.args.exists():
            raise
    what = [f"the script {script}"] if (script := tags.script_of_fork(argv)) else []
    ours = b"PyTensor:" in _model_settings(tree)[:10_000]
    what += [f"the data set {name or repr(name)}" for name in sets if not ours and name not in tags.SETS]
    what += [f"the flag {flag}" for flag in unknown]
    text, rate = _bitrate(tree)
    what += [f"the rate {text}"] * (rate != SAMPLE_RATE)
    return escape_control_characters(" and ".join(what))


def stated_rate(tree: ResultTree) -> int:
    """The sample rate in model_settings.txt, the original's without that; CheckpointError if it is none."""
    text, rate = _bitrate(tree)
    if not 1000 <= rate <= 384_000:
        raise CheckpointError(
            f"{tree.model_settings} states the BITRATE {text}, which is no sample rate; give it with --set "
            "rate=..."
        )
    return rate


def _bitrate(tree: ResultTree) -> tuple[str, int]:
    """The sample rate in model_settings.txt as text, and as a whole number of Hz (-1 if it is none)."""
    found = re.search(rb"^\s*BITRATE[ \t]+(.+?)\s*$", _model_settings(tree), re.MULTILINE)
    text = found[1].decode("latin1") if found else str(SAMPLE_RATE)
    whole = re.fullmatch(r"(\d{1,9})(\.0*)?", text)
    return text, int(whole[1]) if whole else -1


def _model_settings(tree: ResultTree) -> bytes:
    return tree.model_settings.read_bytes()[:100_000] if tree.model_settings.is_file() else b""


def checkpoints(tree: ResultTree) -> list[tuple[ParamsName, Path]]:
    """The files of parameters, the earliest first."""
    named = [(tags.read_params_name(path.name), path) for path in tree.params.glob("params_e*")]
    known = [(name, path) for name, path in named if name is not None]
    return sorted(known, key=lambda pair: (pair[0], len(pair[1].name), pair[1]))  # a copy after its original


def check_names(tree: ResultTree) -> None:
    """Raise CheckpointError if the parameters of an evaluation have only names that are not read."""
    read = {(name.epoch, name.iteration) for name, _ in checkpoints(tree)}
    for path in sorted(tree.params.glob("params_e*")):
        found = re.match(r"params_e(\d+)_i(\d+)_", path.name)
        if found and (int(found[1]), int(found[2])) not in read:
            raise CheckpointError(
                f"{path} would be left out, for it has not a name of the original's, such as "
                "params_e0_i40_t0.00_tr5.2051_v5.1320.pkl; rename it, move it away, or name the file to open."
            )


def read_log(tree: ResultTree) -> dict[str, list[Any]]:
    """The log as Python numbers under the original's keys (`LOG_KEYS`), one per evaluation."""
    return to_python_numbers(_stored_log(tree))


def to_python_numbers(log: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Convert the NumPy numbers of a log to Python's."""
    return {k: [v.item() if isinstance(v, np.generic) else v for v in values] for k, values in log.items()}


def _stored_log(tree: ResultTree) -> dict[str, list[Any]]:
    """The log as stored: some numbers are NumPy's."""
    log, no_log = pickles.read(tree.log), f"{tree.log} is not a log of the original"
    needed, whole = ("iter", "epoch", LOWEST_VALID, TEST_OF_LOWEST, TEST), ("iter", "epoch", RESUMED)
    if not isinstance(log, dict) or not all(isinstance(values, list) for values in log.values()):
        raise CheckpointError(f"{no_log}: it is not a dictionary of lists.")
    if missing := [key for key in needed if key not in log]:
        raise CheckpointError(f"{no_log}: it has no {missing[0]!r}.")
    if len({len(log[key]) for key in needed}) > 1:
        raise CheckpointError(f"{tree.log} is damaged: its lists differ in length.")
    for key, values in to_python_numbers(log).items():
        what = "count" if key in whole else "time" if key.endswith("time") else "number"
        if wrong := [value for value in values if not _is(what, value)]:
            raise CheckpointError(
                f"{tree.log} is damaged: {key!r} holds {reprlib.repr(wrong[0])}, no {what}."
            )
    return log


def _is(what: str, value: Any) -> bool:
    """True if a value is a number; a count (a whole one) and a time are at least 0 and finite."""
    if type(value) is int:
        return (0 if what == "count" else -(2**63)) <= value < 2**63
    return type(value) is float and what != "count" and (what == "number" or 0 <= value < math.inf)


def _read_args(tree: ResultTree) -> list[str]:
    argv = pickles.read(tree.args)
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise CheckpointError(f"{tree.args} holds no command line; remove it to use the folder's name.")
    return argv


class ResumePoint(NamedTuple):
    """The evaluation at which the original resumes a run, without Adam's moments and the carried state."""

    epoch: int
    iteration: int
    to_skip: int  # completed minibatches of this epoch
    params: Path  # to load
    log: dict[str, list[Any]]  # after resuming
    backup: bool  # evaluations are dropped from the log, so that a copy of it is saved


def find_resume_point(tree: ResultTree, count: bool = True) -> ResumePoint:
    """Find the latest evaluation whose parameters exist, where the original would resume. Changes nothing.

    With `count` the number of evaluations is added to `RESUMED` in the log.

    Quirk: the file's name is searched for as `params_e<epoch>_i<iteration>*`, so iteration 4 also finds 40.
    Not so, here, other kinds of files and equal copies, which the original would take for more evaluations.
    Quirk: if several files are found for an evaluation, the newest is used, and yet that evaluation is
    dropped: the parameters are then newer than the log and the position in the data.
    """
    log = _stored_log(tree)
    check_names(tree)
    left, path = len(log["iter"]), None
    while left and path is None:
        files = without_copies(tree, f"params_e{log['epoch'][left - 1]}_i{log['iter'][left - 1]}*")
        if files:
            path = max(files, key=lambda file: file.stat().st_mtime_ns)
        if len(files) != 1:
            left -= 1
    if path is None:
        raise CheckpointError(
            f"No file in {tree.params} belongs to an evaluation in {tree.log}; copy one there."
        )
    if not left:
        raise CheckpointError(
            f"Several files in {tree.params} belong to the first evaluation in {tree.log}; keep only one."
        )
    after = {key: values[:left] for key, values in log.items() if key != RESUMED}
    resumed = [index for index in log.get(RESUMED, []) if index < left] + [left] * count
    if resumed:
        after[RESUMED] = resumed
    epoch, iteration = after["epoch"][-1], after["iter"][-1]
    # Each epoch after the first has an evaluation after its first minibatch.
    first = 1 if epoch == 0 else after["iter"][after["epoch"].index(epoch)]
    return ResumePoint(epoch, iteration, iteration - first + 1, path, after, left < len(log["iter"]))


def without_copies(tree: ResultTree, pattern: str = "params_e*") -> list[Path]:
    """Files of parameters without equal copies; CheckpointError if a copy is not equal."""
    found: dict[ParamsName | str, Path] = {}
    for path in sorted(tree.params.glob(pattern), key=lambda path: (len(path.name), path)):
        if path.suffix.lower() not in (".pkl", ".pickle"):
            continue
        first = found.setdefault(tags.read_params_name(path.name) or path.name, path)
        if first != path and not filecmp.cmp(first, path, shallow=False):
            raise CheckpointError(f"{path} is another file than {first.name}, no copy; keep only one.")
    return list(found.values())


def apply_resume_point(tree: ResultTree, resume: ResumePoint) -> None:
    """Write the log of a resume point, and `train_log_i<last iteration>.pkl` if evaluations are dropped."""
    old = _stored_log(tree)
    if resume.backup:
        pickles.write(tree.log.with_name(f"train_log_i{old['iter'][-1]}.pkl"), old)
    if resume.log != old:
        pickles.write(tree.log, resume.log)


def results_tree(
    root: str | Path, family: str, argv: Sequence[str], learning_rate: float | None = None
) -> ResultTree:
    """The results folder of a run that the original starts in the folder `root`."""
    return ResultTree(Path(root) / RESULTS[family] / tags.tag(argv, family, learning_rate))


def create(tree: ResultTree, argv: Sequence[str], settings_text: str) -> None:
    """Create the folders of a run, and write its command line and model_settings.txt."""
    for folder in (tree.params, tree.samples, tree.best):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(write_error_message(folder, error)) from error
    pickles.write(tree.args, list(argv))
    write_text(tree.model_settings, settings_text)


def write_params(tree: ResultTree, name: ParamsName, arrays: Mapping[str, NDArray]) -> Path:
    """Write parameters as float32 under this name; return the path of the file."""
    path = tree.params / tags.params_name(*name)
    pickles.write(path, {key: np.asarray(array, dtype=np.float32) for key, array in arrays.items()})
    return path
