"""What a file or a folder holds, in words: parameters, logs and command lines, ours and the original's."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load, npz
from samplernn_theano.checkpoints.load import Saved
from samplernn_theano.config.hyperparameters import (
    HyperParameters,
    OneTier,
    Quantised,
    RealValued,
    Recurrent,
    SampleRNN,
    Tiered,
    WaveNet,
)
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import CheckpointError, SampleRNNError
from samplernn_theano.original import pickles, results_folder
from samplernn_theano.original.results_folder import LOG_KEYS, RESUMED, ResultTree
from samplernn_theano.original.tags import SCRIPTS, read_argv, read_params_name
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import duration, table, visible

BEST = "assumed (preset best)"
"""Where a hyper-parameter comes from that nothing tells."""

LOG_COLUMNS = dict(
    zip(
        LOG_KEYS,
        ("epoch", "iter", "train", "valid", "test", "lowest", "its test", "train h", "", "", "wall h"),
        strict=True,
    )
)
"""How the table of an original's log calls its columns; those without a name are left out."""


def describe(path: str | Path) -> str:
    """What lies at `path`, as text of about 80 columns.

    Parameters
    ----------
    path : path
        A checkpoint of ours, the original's params_*.pkl, train_log.pkl or args.pkl, or the folder of a run
        of ours or the original's.

    Raises
    ------
    CheckpointError
        If it is missing, damaged or something else, or asks for more than data.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    try:
        model = load.read(path)
    except SampleRNNError as error:
        return _without_model(path, error)
    return _model(model)


def _folder(path: Path) -> str:
    """A run: of the original's the command line and the log, of any the best parameters."""
    tree, parts = ResultTree(path), []
    if results_folder.is_result_tree(path):
        parts = [describe(file) for file in (tree.args, tree.log) if file.exists()]
    try:
        parts.append(describe(load.find(path)))
    except CheckpointError as error:
        if not parts:
            raise
        parts.append(visible(str(error)))
    return "\n\n".join([visible(f"{path}:"), *parts])


def _without_model(path: Path, error: SampleRNNError) -> str:
    """A file that cannot be read as a model, which is what `error` says: what else it holds."""
    if path.suffix == ".pkl":
        content = pickles.read(path)
        if isinstance(content, list) and content and all(isinstance(word, str) for word in content):
            return _command_line(path, content)
        if not isinstance(content, dict) or not content:
            raise error
        if "iter" in content and all(isinstance(values, list) for values in content.values()):
            return _log(path, content)
        if not all(isinstance(array, np.ndarray) for array in content.values()):
            raise error
    else:
        content = npz.load(path).parameters
    return "\n".join([visible(f"{path.name}: arrays. {error}"), *_parameter_table(content, None)])


# --- the original's log and command line --------------------------------------------------------------------


def _log(path: Path, log: Mapping[str, list[Any]]) -> str:
    """A line for each look. A log that is damaged is shown as far as it goes."""
    looks = max(len(values) for key, values in log.items() if key != RESUMED)
    keys = [key for key in LOG_KEYS if key in log and LOG_COLUMNS[key]]
    rows = [[LOG_COLUMNS[key] for key in keys]]
    for i in range(looks):
        rows.append([_of_log(key, log[key][i]) if i < len(log[key]) else "-" for key in keys])
    lines = [visible(f"{path.name}: the original's log, {count_of(looks, 'look')}, bits per sample")]
    if log.get(RESUMED):
        lines.append(visible(f"resumed after look {', '.join(map(str, log[RESUMED]))}"))
    return "\n".join([*lines, *table(rows, range(len(keys)))])


def _of_log(key: str, value: Any) -> str:
    if key in ("epoch", "iter") or not isinstance(value, int | float | np.number):
        return str(value)
    return f"{value / 3600:.2f}" if "time" in key else f"{value:.4f}"


def _command_line(path: Path, words: Sequence[str]) -> str:
    """The words of args.pkl and what they ask for."""
    lines = [f"{path.name}: the command line of a run of the original's", "  " + " ".join(words)]
    family = next((family for family, script in SCRIPTS.items() if Path(script).name in words[0]), None)
    if family is None:
        lines.append(f"  {words[0]} is none of the original's scripts.")
    else:
        try:
            hp, which_set = read_argv(words, family, "It")
            told = ", ".join(
                f"{own.name} {getattr(hp, own.name)}" for own in fields(hp) if _is_told(own, words)
            )
            lines.append(f"  {family} on the data set {which_set}: {told}")
        except CheckpointError as error:
            lines.append(f"  {error}")
    return "\n".join(visible(line) for line in lines)


def _is_told(own: Any, words: Sequence[str]) -> bool:
    return any(word == f"--{own.name}" or word.startswith(f"--{own.name}=") for word in words)


# --- parameters ---------------------------------------------------------------------------------------------


def _model(model: Saved) -> str:
    """All that the file and what lies beside it tell."""
    of_whom = "ours" if model.checkpoint else "the original's"
    lines = [f"{model.path.name}: a {model.hp.family} model of {of_whom}", *_moment(model), *_origin(model)]
    arrays, trained = dict(model.parameters), None
    try:
        parameters = load.build(model).parameters
        arrays = {name: arrays[name] for name in parameters}
        trained = {str(variable.name) for variable in parameters.trainable()}
    except CheckpointError as error:
        lines.append(f"Does not fit: {error}")
    told, untrained = _independent_preds(arrays)
    sections = [
        [visible(line) for line in lines],
        ["Hyper-parameters and where they come from", *table(_hyperparameters(model))],
        ["Tiers, the slowest first", *table(tiers(model.hp))],
        _parameter_table(arrays, None if trained is None else trained - untrained) + told,
    ]
    return "\n\n".join("\n".join(section) for section in sections)


def _moment(model: Saved) -> list[str]:
    """When in its training the model was saved, and how good it was then."""
    if model.checkpoint is None:
        name = read_params_name(model.path.name)
        if name is None:
            return ["The name of the file does not tell when it was saved."]
        best = ", the best so far" if name.best else ""
        return [
            f"epoch {name.epoch}, iteration {name.iteration}, {name.hours:.2f} h of training: last minibatch "
            f"{name.train:.4f}, valid {name.valid:.4f} bits per sample{best}"
        ]
    now = model.checkpoint.progress
    if "iteration" not in now:
        return ["It does not tell when it was saved."]
    trained = duration(now.get("seconds", 0))
    lines = [f"epoch {now.get('epoch')}, iteration {now['iteration']}, {trained} of training"]
    if now.get("best_valid") is not None:
        test = "" if now.get("best_test") is None else f", test {now['best_test']:.4f}"
        lines.append(
            f"best so far: valid {now['best_valid']:.4f}{test} bits per sample at iteration "
            f"{now.get('best_iteration')}"
        )
    return lines


def _origin(model: Saved) -> list[str]:
    """Data set, learning rate; of ours also versions, backend, seed, command."""
    if model.checkpoint is None:
        if model.source == "names and shapes":
            return ["No args.pkl nor folder's name tells the data set and the learning rate."]
        told = results_folder.settings(_tree(model))
        return [f"data set {told.which_set}, learning rate {told.learning_rate:g}"]
    shown_elsewhere = ("family", "hyperparameters", "schedule", "data_sha256")
    settings = {
        k: v for k, v in model.checkpoint.settings.items() if k not in shown_elsewhere and v is not None
    }
    return [f"{name.replace('_', ' ')}: {_in_words(value)}" for name, value in settings.items()]


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {of_name}" for name, of_name in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _hyperparameters(model: Saved) -> list[list[str]]:
    return [[own.name, str(getattr(model.hp, own.name)), _source(model, own)] for own in fields(model.hp)]


def _source(model: Saved, own: Any) -> str:
    """Where the value of a hyper-parameter comes from."""
    if model.checkpoint:
        return "the checkpoint"
    if own.metadata.get("ours"):
        return "the original has no other"
    if model.source == "names and shapes":
        return BEST if own.name in model.assumed else model.source
    if model.source == "args.pkl":
        told = _is_told(own, pickles.read(_tree(model).args))
    else:
        told = f"-{own.name}" in _tree(model).folder.name
    return model.source if told else BEST


def _tree(model: Saved) -> ResultTree:
    return ResultTree(model.path.resolve().parent.parent)


# --- tiers --------------------------------------------------------------------------------------------------


def tiers(hp: HyperParameters) -> list[list[str]]:
    """Name and description of each tier, the slowest first; durations are those at 16 kHz."""
    if isinstance(hp, WaveNet):
        last = 2 ** (hp.dilation_layers_per_block - 1)
        layers = f"{hp.wavenet_blocks} x {hp.dilation_layers_per_block} gated layers of {hp.dim} channels"
        return [
            ["layers", f"{layers}, dilations 1 to {last}"],
            ["receptive field", _samples(hp.overlap)],
            ["output", _prediction(hp)],
        ]
    if not isinstance(hp, Tiered):
        embedded = f", embedded in {hp.emb_size}" if isinstance(hp, OneTier) else ""
        return [
            ["SampleLevel", f"reads {_samples(hp.overlap)} at each step{embedded}"],
            ["", _layers(hp)],
            ["", f"perceptron, {_prediction(hp)}"],
        ]
    rows = [[tier.name, f"frames of {_samples(tier.frame_size)}, {_layers(hp)}"] for tier in hp.tiers]
    return [*rows, ["SampleLevel", _reads(hp)], ["", f"perceptron, {_prediction(hp)}"]]


def _samples(n: int) -> str:
    return f"{n:,} sample{'s' * (n > 1)} ({1000 * n / SAMPLE_RATE:.4g} ms)"


def _layers(hp: Recurrent) -> str:
    skip = ", skips" if hp.skip_conn else ""
    return f"{hp.n_rnn} x {hp.rnn_type} of {hp.dim}{skip}, {'' if hp.weight_norm else 'no '}weight norm"


def _reads(hp: Tiered) -> str:
    before = f"reads {count_of(hp.sizes[-1], 'sample')}"
    if not isinstance(hp, SampleRNN) or hp.sample_input == "real":
        return f"{before} as numbers"
    if hp.multi_softmax:
        return "reads no samples"
    return f"{before} embedded in {hp.emb_size}" if hp.emb_size else f"{before} as one-hot vectors"


def _prediction(hp: HyperParameters) -> str:
    if isinstance(hp, RealValued):
        return f"mixture of {hp.n_components} Gaussians"
    assert isinstance(hp, Quantised)
    return f"softmax over {hp.q_levels} {hp.q_type} levels"


# --- the table of parameters --------------------------------------------------------------------------------


def _parameter_table(arrays: Mapping[str, NDArray], trained: set[str] | None) -> list[str]:
    """Name, shape, count and L2 norm of each; a star where it is not trained. `trained` None: not known."""
    rows = [["name", "shape", "count", "L2 norm"]]
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # in a damaged file
            norm = f"{np.linalg.norm(array.astype(np.float64)):.4g}"
        star = "" if trained is None or name in trained else " *"
        rows.append([name, "x".join(map(str, array.shape)), f"{array.size:,}", norm + star])
    rows = [[*row[:3], row[3] if row[3].endswith("*") else row[3] + "  "] for row in rows]
    total = count_of(sum(array.size for array in arrays.values()), "parameter")
    if trained is None:
        return [*table(rows, (2, 3)), total]
    of_these = sum(array.size for name, array in arrays.items() if name in trained)
    lines = [*table(rows, (2, 3)), f"{total}, {of_these:,} of them trained"]
    return [*lines, "* not trained"] if trained < set(arrays) else lines


def _independent_preds(arrays: Mapping[str, NDArray]) -> tuple[list[str], set[str]]:
    """What to say of the independent predictions, and the names of theirs that were never trained.

    Quirk: the original's training loop never moves them. Then the biases are exactly zero, as they started,
    and the gains the lengths of the weights' columns.
    """
    names = {name for name in arrays if ".IndependentPreds." in name}
    by_end = {name.rpartition(".")[2]: arrays[name] for name in names}
    if not by_end.keys() >= {"W0", "b"}:
        return [], set()
    never = not by_end["b"].any()
    if "g0" in by_end:
        lengths = np.linalg.norm(by_end["W0"].astype(np.float64), axis=0)
        never &= lengths.shape == by_end["g0"].shape and np.allclose(lengths, by_end["g0"], rtol=1e-5, atol=0)
    if never:
        return ["IndependentPreds were never trained: they are as they started."], names
    return ["IndependentPreds were trained."], set()
