"""Load a model from a checkpoint of this package or from files of the original."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import exports, npz, pretrained, run_folder
from samplernn_theano.config.flags import read_settings
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.schedule import best_of
from samplernn_theano.errors import CheckpointError
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.graph import Graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.original import pickles, results_folder
from samplernn_theano.original.infer_hyperparameters import infer
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.utils.file_kinds import is_zip
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters

FEEDER = ("normalisation", "rate")  # hyper-parameters that forks of the original change in its feeder


@dataclass(frozen=True)
class LoadedModel:
    """Parameters read from a file, and their model."""

    path: Path
    hp: HyperParameters
    parameters: Mapping[str, NDArray]  # float32, under the original's names
    source: str  # of hp: the checkpoint, args.pkl, the folder's name, or names and shapes
    assumed: Sequence[str] = ()  # unknown hyper-parameters, with the values of the authors' best models
    checkpoint: npz.Checkpoint | None = None  # None for the original's files
    of_fork: str = ""  # what shows that a fork of the original trained it: its script, its data set
    left_out: Sequence[str] = ()  # entries of a file of the original that are no arrays


def find(path: str | Path) -> Path:
    """Path of a file of parameters: `path` itself, pretrained/NAME, or the best one in a run's folder."""
    path = pretrained.checkpoint(path)
    if not path.is_dir():
        return path
    run = run_folder.Run(path)
    for candidate in (run.best, run.last):
        if candidate.exists():
            return candidate
    results_folder.check_names(tree := ResultTree(path))
    if named := results_folder.checkpoints(tree):
        if best := best_of(named, lambda pair: pair[0].valid):
            return best[1]
        raise CheckpointError(
            f"The best parameters of {path} are unknown: all validation costs in its files' names are NaN or "
            f"infinite; name the file to open, such as the latest, {named[-1][1].name}."
        )
    raise CheckpointError(
        f"The folder {path} holds no parameters (checkpoints/best.npz, checkpoints/last.npz or "
        "params/params_*.pkl)."
    )


def read(path: str | Path, settings: Sequence[str] = ()) -> LoadedModel:
    """Read a checkpoint (.npz, .safetensors, .pkl of the original), pretrained/NAME, or a run's best one.

    Hyper-parameters of the original come from args.pkl next to it, else the folder's name, else names and
    shapes, else the authors' best model. `settings` (NAME=VALUE) replace them.
    """
    path = find(path)
    model = _read_ours(path, settings) if is_checkpoint(path) else _read_original(path, settings)
    for name, value in model.parameters.items():
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"Parameter {name} of {path} has values that are not finite; use another checkpoint."
            )
    return model


def is_checkpoint(path: Path) -> bool:
    """True if a file is one of this package's, by its name or by its content."""
    return path.suffix == ".npz" or is_zip(path) or exports.is_export(path)


def build(model: LoadedModel) -> Graph:
    """Build the graph of a model, over one truncated-BPTT chunk."""
    params = Parameters(seed=None, values=model.parameters)
    try:
        graph = build_graph(params, model.hp)  # checks names and shapes
        params.check_all_used()
        return graph
    except CheckpointError as error:
        raise CheckpointError(f"{model.path} ({model.source}): {error}") from error


def _read_ours(path: Path, settings: Sequence[str]) -> LoadedModel:
    checkpoint = npz.load(path)
    given, known = read_settings(type(checkpoint.hp), settings), checkpoint.settings
    hp, of_fork = replace(checkpoint.hp, **given), escape_control_characters(known.get("of_fork") or "")
    stored = known.get("assumed")  # when it was converted
    names = stored if isinstance(stored, list) else []
    assumed = [own.name for own in fields(hp) if own.name in names and own.name not in given]
    return LoadedModel(path, hp, checkpoint.parameters, "the checkpoint", assumed, checkpoint, of_fork)


def _read_original(path: Path, settings: Sequence[str]) -> LoadedModel:
    parameters, left_out = _arrays(path)
    tree = ResultTree(path.resolve().parent.parent)
    is_in_tree = path.resolve().parent == tree.params
    of_fork = results_folder.of_fork(tree) if is_in_tree else ""
    if is_in_tree and (found := _stored_hyperparameters(tree)):
        source = "args.pkl" if tree.args.exists() else "the folder's name"
        known, unknown = {own.name: getattr(found, own.name) for own in fields(found)}, FEEDER * bool(of_fork)
        family: type[HyperParameters] = type(found)
    else:
        inferred, source = infer(parameters), "names and shapes"
        known, unknown = dict(inferred.known), (*inferred.unknown, *FEEDER)
        family = FAMILIES[inferred.family]
    given = read_settings(family, settings)
    if is_in_tree and "rate" not in given and (rate := results_folder.stated_rate(tree)) != SAMPLE_RATE:
        given["rate"] = rate
    assumed = [name for name in unknown if name not in given]
    hp = family(**known | given)
    return LoadedModel(path, hp, parameters, source, assumed, of_fork=of_fork, left_out=left_out)


def _arrays(path: Path) -> tuple[dict[str, NDArray], list[str]]:
    """The arrays in a file of the original, and the names of its other entries."""
    content = pickles.read(path)
    if not isinstance(content, dict):
        kind = f"a {type(content).__name__}" if isinstance(content, list | tuple) else "a single value"
        raise CheckpointError(
            f"{path} is not a file of parameters: it holds {kind}, not a dictionary of arrays by name."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        arrays = {k: np.asarray(v, np.float32) for k, v in content.items() if isinstance(v, np.ndarray)}
    if not content:
        raise CheckpointError(f"{path} holds no parameters.")
    if not arrays:
        entries = ", ".join(
            f"{name!r} is of type {type(v).__name__}" for name, v in islice(content.items(), 3)
        )
        raise CheckpointError(
            f"{path} is not a file of parameters: it is not a dictionary of arrays ({entries}); store arrays."
        )
    return arrays, [escape_control_characters(name) for name in content if name not in arrays]


def _stored_hyperparameters(tree: ResultTree) -> HyperParameters | None:
    """Those in args.pkl or in the name of the folder."""
    try:
        return results_folder.settings(tree).hp
    except CheckpointError:
        if tree.args.exists():
            raise
        return None


def caveats(model: LoadedModel) -> str:
    """What is to be known of a file made of a model: of a fork, entries left out, what was assumed."""
    remedy = "assumed as in the authors' best model, give others with --set."
    text = f" {model.of_fork[:1].upper()}{model.of_fork[1:]} is none of the original's." * bool(model.of_fork)
    if model.left_out:
        text += f" Left out, because they are no arrays: {', '.join(model.left_out)}."
    return text + f" Unknown hyper-parameters: {', '.join(model.assumed)}; {remedy}" * bool(model.assumed)


def read_checked(
    path: Path, settings: Sequence[str], like: LoadedModel | npz.Checkpoint | None = None
) -> LoadedModel:
    """Read a model and check that its parameters fit, which is skipped if they are like those of `like`."""
    model = read(path, settings)
    if like is None or model.hp != like.hp or _shapes(model) != _shapes(like):
        build(model)  # takes a while
    return model


def _shapes(model: LoadedModel | npz.Checkpoint) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in model.parameters.items()}
