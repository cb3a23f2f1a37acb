"""Load a model from a checkpoint of this package or from files of the original."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import npz, run_folder
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


@dataclass(frozen=True)
class LoadedModel:
    """Parameters read from a file, and their model."""

    path: Path
    hp: HyperParameters
    parameters: Mapping[str, NDArray]  # float32, under the original's names
    source: str  # of hp: the checkpoint, args.pkl, the folder's name, or names and shapes
    assumed: Sequence[str] = ()  # unknown hyper-parameters, with the values of the authors' best models
    checkpoint: npz.Checkpoint | None = None  # None for the original's files


def find(path: str | Path) -> Path:
    """Path of a file of parameters: `path` itself, or the best one in the folder of a run."""
    path = Path(path)
    if not path.is_dir():
        return path
    run = run_folder.Run(path)
    for candidate in (run.best, run.last):
        if candidate.exists():
            return candidate
    if named := results_folder.checkpoints(ResultTree(path)):
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
    """Read a checkpoint (.npz), parameters of the original (.pkl), or the best ones of a run.

    Hyper-parameters of the original come from args.pkl next to it, else the folder's name, else names and
    shapes, else the authors' best model. `settings` (NAME=VALUE) replace them.
    """
    path = find(path)
    model = _read_original(path, settings) if path.suffix == ".pkl" else _read_ours(path, settings)
    for name, value in model.parameters.items():
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"Parameter {name} of {path} has values that are not finite; use another checkpoint."
            )
    return model


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
    hp = replace(checkpoint.hp, **read_settings(type(checkpoint.hp), settings))
    return LoadedModel(path, hp, checkpoint.parameters, "the checkpoint", checkpoint=checkpoint)


def _read_original(path: Path, settings: Sequence[str]) -> LoadedModel:
    parameters: Any = pickles.read(path)
    if not isinstance(parameters, dict) or not all(isinstance(v, np.ndarray) for v in parameters.values()):
        raise CheckpointError(f"{path} is not a file of parameters: it is not a dictionary of arrays.")
    if not parameters:
        raise CheckpointError(f"{path} holds no parameters.")
    parameters = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    tree = ResultTree(path.resolve().parent.parent)
    if path.resolve().parent == tree.params and (found := _stored_hyperparameters(tree)):
        hp = replace(found, **read_settings(type(found), settings))
        return LoadedModel(path, hp, parameters, "args.pkl" if tree.args.exists() else "the folder's name")
    inferred = infer(parameters)
    family = FAMILIES[inferred.family]
    given = read_settings(family, settings)
    assumed = [name for name in inferred.unknown if name not in given]
    return LoadedModel(path, family(**inferred.known | given), parameters, "names and shapes", assumed)


def _stored_hyperparameters(tree: ResultTree) -> HyperParameters | None:
    """Those in args.pkl or in the name of the folder."""
    try:
        return results_folder.settings(tree).hp
    except CheckpointError:
        if tree.args.exists():
            raise
        return None


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
