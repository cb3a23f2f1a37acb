"""Text description of a file or run: parameters, logs and command lines, ours or the original's."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load, npz, pretrained
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.flags import unabbreviated
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
from samplernn_theano.config.schedule import describe_rate, stored_schedule
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import CheckpointError, SampleRNNError
from samplernn_theano.original import pickles, results_folder
from samplernn_theano.original.results_folder import LOG_KEYS, RESUMED, ResultTree
from samplernn_theano.original.tags import SCRIPTS, family_of_script, read_argv, read_params_name
from samplernn_theano.utils.text import escape_control_characters, format_duration, format_table

BEST = "assumed (preset best)"  # the source of a hyper-parameter that no file contains
_COLUMNS = ("epoch", "iter", "train", "valid", "test", "lowest", "its test", "train h", "", "", "wall h")
LOG_COLUMNS = dict(zip(LOG_KEYS, _COLUMNS, strict=True))  # in the table of a log, if they have a name


def describe(path: str | Path) -> str:
    """Describe a file or run, in about 80 columns.

    `path` is a checkpoint, the original's params_*.pkl, train_log.pkl or args.pkl, or the folder of a run,
    ours or the original's.
    """
    path = pretrained.checkpoint(path)
    lines = _folder(path) if path.is_dir() else _file(path)
    return "\n".join(escape_control_characters(line) for line in lines)


def _folder(path: Path) -> list[str]:
    """Describe a run: its best parameters; of the original also the command line and the log."""
    tree, lines = ResultTree(path), [f"{path}:"]
    for file in (tree.args, tree.log):
        if results_folder.is_result_tree(path) and file.exists():
            lines += ["", *_file(file)]
    try:
        return [*lines, "", *_file(load.find(path))]
    except CheckpointError as error:
        if len(lines) == 1:
            raise
        return [*lines, "", str(error)]


def _file(path: Path) -> list[str]:
    try:
        return _model(load.read(path))
    except SampleRNNError as error:
        why = error
    if load.is_checkpoint(path):
        content: Any = npz.load(path).parameters
    else:
        content = pickles.read(path)
        if isinstance(content, list) and content and all(isinstance(item, str) for item in content):
            return _command_line(path, content)
        if not isinstance(content, dict) or not content:
            raise why
        if "iter" in content and all(isinstance(values, list) for values in content.values()):
            return _log(path, content)
        if not all(isinstance(array, np.ndarray) for array in content.values()):
            raise why
    return [f"{path.name}: arrays. {why}", *_parameter_table(content, None)]


def _log(path: Path, log: Mapping[str, list[Any]]) -> list[str]:
    """The original's log, a row for each evaluation. A damaged log is shown as far as possible."""
    n = max(len(values) for key, values in log.items() if key != RESUMED)
    keys = [key for key in LOG_KEYS if key in log and LOG_COLUMNS[key]]
    rows = [[LOG_COLUMNS[key] for key in keys]]
    for i in range(n):
        rows.append([_of_log(key, log[key][i]) if i < len(log[key]) else "-" for key in keys])
    lines = [f"{path.name}: the original's log, {count_of(n, 'evaluation')}, bits per sample"]
    if log.get(RESUMED):
        lines.append(f"resumed after evaluation {', '.join(map(str, log[RESUMED]))}")
    return [*lines, *format_table(rows, range(len(keys)))]


def _of_log(key: str, value: Any) -> str:
    is_huge = isinstance(value, int) and abs(value) >= 2**63
    if is_huge or key in ("epoch", "iter") or not isinstance(value, int | float | np.number):
        return reprlib.repr(value)
    return f"{value / 3600:.2f}" if "time" in key else f"{value:.4f}"


def _command_line(path: Path, argv: Sequence[str]) -> list[str]:
    lines = [f"{path.name}: a command line of the original", "  " + " ".join(argv)]
    family = family_of_script(argv[0])
    if family is None or Path(SCRIPTS[family]).name not in argv[0]:
        lines.append(f"  {argv[0]} is not a script of the original.")
    if family is None:
        return lines
    try:
        hp, which_set = read_argv(argv, family, "It", unknown := list[str]())
    except CheckpointError as error:
        return [*lines, f"  {error}"]
    lines += [f"  {flag} is not a flag of the original." for flag in unknown]
    argv = unabbreviated(type(hp), argv)
    given = [f"{own.name} {getattr(hp, own.name)}" for own in fields(hp) if _is_given(own, argv)]
    return [*lines, f"  {family} on the data set {which_set}: {', '.join(given)}"]


def _is_given(own: Any, argv: Sequence[str]) -> bool:
    return f"--{own.name}" in [item.partition("=")[0] for item in argv]


def _model(model: LoadedModel) -> list[str]:
    kind = "checkpoint" if model.checkpoint else "model of the original"
    lines = [f"{model.path.name}: {model.hp.family} {kind}", *_progress(model), *_origin(model)]
    if model.left_out:
        lines.append(f"Left out, because they are no arrays: {', '.join(model.left_out)}.")
    if model.of_fork:
        lines.append(
            f"{model.of_fork} is none of the original's; if its feeder does otherwise, open the model"
        )
        lines.append("with --set normalisation=none, --set rate=32000 or what else it does.")
    arrays, trained = dict(model.parameters), None
    never = _never_trained(arrays)
    try:
        parameters = load.build(model).parameters
        arrays = {name: arrays[name] for name in parameters}
        trained = {str(variable.name) for variable in parameters.trainable()} - (never or set())
    except CheckpointError as error:
        lines.append(f"Does not fit: {error}")
    rows = [[own.name, str(getattr(model.hp, own.name)), _source(model, own)] for own in fields(model.hp)]
    lines += ["", "Hyper-parameters and their sources", *format_table(rows)]
    described = [
        [name * (n == 0), text] for name, texts in tiers(model.hp).items() for n, text in enumerate(texts)
    ]
    lines += ["", "Tiers, the slowest first", *format_table(described)]
    lines += ["", *_parameter_table(arrays, trained)]
    if never:
        lines.append("IndependentPreds were never trained: they have their initial values.")
    elif never is not None:
        lines.append("IndependentPreds were trained.")
    return lines


def _progress(model: LoadedModel) -> list[str]:
    if model.checkpoint is None:
        if (name := read_params_name(model.path.name)) is None:
            return ["The file name does not contain the iteration."]
        costs = f"last minibatch {name.train:.4f}, valid {name.valid:.4f} bits per sample"
        at = f"epoch {name.epoch}, iteration {name.iteration}, {name.hours:.2f} h of training"
        return [f"{at}: {costs}" + ", the best so far" * name.best]
    now = model.checkpoint.progress
    if "iteration" not in now:
        return ["It does not contain the iteration."]
    trained = format_duration(now.get("seconds", 0))
    lines = [f"epoch {now.get('epoch')}, iteration {now['iteration']}, {trained} of training"]
    if now.get("best_valid") is not None:
        test = "" if now.get("best_test") is None else f", test {now['best_test']:.4f}"
        best = f"best so far: valid {now['best_valid']:.4f}{test} bits per sample"
        lines.append(f"{best} at iteration {now.get('best_iteration')}")
    return lines


def _origin(model: LoadedModel) -> list[str]:
    """Data set and learning rate; of a checkpoint also versions, backend, seed, command."""
    if model.checkpoint is None:
        if model.source == "names and shapes":
            return ["Without args.pkl the data set and the learning rate are unknown."]
        found = results_folder.settings(_tree(model))
        return [f"data set {found.which_set}, learning rate {found.learning_rate:g}"]
    shown_elsewhere = ("family", "hyperparameters", "schedule", "data_sha256")
    known = model.checkpoint.settings
    settings = {**known, "learning_rate": describe_rate(stored_schedule(known))}
    shown = {k: v for k, v in settings.items() if k not in shown_elsewhere and v is not None}
    return [f"{name.replace('_', ' ')}: {_as_text(value)}" for name, value in shown.items()]


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name} {of_name}" for name, of_name in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _source(model: LoadedModel, own: Any) -> str:
    if model.checkpoint:
        return BEST if own.name in model.assumed else "the checkpoint"
    if own.name in model.assumed:
        return BEST
    if own.metadata.get("ours"):
        return "fixed in the original" if getattr(model.hp, own.name) == own.default else "model_settings.txt"
    if model.source == "names and shapes":
        return model.source
    if model.source == "args.pkl":
        given = _is_given(own, unabbreviated(type(model.hp), pickles.read(_tree(model).args)))
    else:
        given = f"-{own.name}" in _tree(model).folder.name
    return model.source if given else BEST


def _tree(model: LoadedModel) -> ResultTree:
    return ResultTree(model.path.resolve().parent.parent)


def tiers(hp: HyperParameters) -> dict[str, list[str]]:
    """Description of each tier, in one line or two, by its name; the slowest first."""
    output = f"mixture of {hp.n_components} Gaussians" if isinstance(hp, RealValued) else ""
    if isinstance(hp, Quantised):
        output = f"softmax over {hp.q_levels} {hp.q_type} levels"
    if isinstance(hp, WaveNet):
        last = 2 ** (hp.dilation_layers_per_block - 1)
        layers = f"{hp.wavenet_blocks} x {hp.dilation_layers_per_block} gated layers of {hp.dim} channels"
        return {
            "layers": [f"{layers}, dilations 1 to {last}"],
            "receptive field": [_samples(hp.overlap, hp.rate)],
            "output": [output],
        }
    perceptron = f"perceptron, {output}"
    if isinstance(hp, Tiered):
        upper = {
            tier.name: [f"frames of {_samples(tier.frame_size, hp.rate)}, {_layers(hp)}"] for tier in hp.tiers
        }
        return upper | {"SampleLevel": [_reads(hp), perceptron]}
    embedded = f", embedded in {hp.emb_size}" if isinstance(hp, OneTier) else ""
    reads = f"reads {_samples(hp.overlap, hp.rate)} at each step{embedded}"
    return {"SampleLevel": [reads, _layers(hp), perceptron]}


def _samples(n: int, rate: int) -> str:
    return f"{n:,} sample{'s' * (n > 1)} ({1000 * n / rate:.4g} ms)"


def _layers(hp: Recurrent) -> str:
    skip = ", skips" if hp.skip_conn else ""
    return f"{hp.n_rnn} x {hp.rnn_type} of {hp.dim}{skip}, {'' if hp.weight_norm else 'no '}weight norm"


def _reads(hp: Tiered) -> str:
    if not isinstance(hp, SampleRNN) or hp.sample_input == "real":
        how = ", rescaled"
    elif hp.multi_softmax:
        return "reads no samples"
    else:
        how = f" embedded in {hp.emb_size}" if hp.emb_size else " as one-hot vectors"
    return f"reads {count_of(hp.sizes[-1], 'sample')}{how}"


def _parameter_table(arrays: Mapping[str, NDArray], trained: set[str] | None) -> list[str]:
    """Name, shape, count and L2 norm of each; a star if it is not trained. `trained` None: unknown."""
    rows = [["name", "shape", "count", "L2 norm  "]]
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # in a damaged file
            norm = f"{np.linalg.norm(array.astype(np.float64)):.4g}"
        star = "  " if trained is None or name in trained else " *"
        rows.append([name, "x".join(map(str, array.shape)), f"{array.size:,}", norm + star])
    lines = format_table(rows, (2, 3))
    total = count_of(sum(array.size for array in arrays.values()), "parameter")
    if trained is None:
        return [*lines, total]
    n_trained = sum(array.size for name, array in arrays.items() if name in trained)
    lines.append(f"{total}, {n_trained:,} of them trained")
    return [*lines, "* not trained"] if trained < set(arrays) else lines


def _never_trained(arrays: Mapping[str, NDArray]) -> set[str] | None:
    """The names of the independent predictions if they were never trained; None if there are none.

    Quirk: the original never updates them: biases are zero, and gains the norms of the weights' columns.
    """
    names = {name for name in arrays if ".IndependentPreds." in name}
    by_end = {name.rpartition(".")[2]: arrays[name] for name in names}
    if not by_end.keys() >= {"W0", "b"}:
        return None
    never = not by_end["b"].any()
    if "g0" in by_end:
        lengths = np.linalg.norm(by_end["W0"].astype(np.float64), axis=0)
        never &= lengths.shape == by_end["g0"].shape and np.allclose(lengths, by_end["g0"], rtol=1e-5, atol=0)
    return names if never else set()
