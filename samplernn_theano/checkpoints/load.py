"""A model that was saved, by us or by the original: parameters and what they are the parameters of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.config.flags import read_settings
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.errors import CheckpointError
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.graph import Graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.original import pickles, results_folder
from samplernn_theano.original.infer_hyperparameters import infer
from samplernn_theano.original.results_folder import ResultTree


@dataclass(frozen=True)
class Saved:
    """Parameters that were read from a file.

    Attributes
    ----------
    path : Path
        The file.
    hp : HyperParameters
        Family and hyper-parameters.
    parameters : dict of str to array
        float32, under the original's names.
    source : str
        Where the hyper-parameters come from.
    assumed : list of str
        Names of hyper-parameters that nothing tells, which have the values of the authors' best models.
    checkpoint : Checkpoint or None
        All that a checkpoint of ours holds; None for the original's files.
    """

    path: Path
    hp: HyperParameters
    parameters: Mapping[str, NDArray]
    source: str
    assumed: Sequence[str] = field(default=())
    checkpoint: npz.Checkpoint | None = None


def find(path: str | Path) -> Path:
    """The file of parameters that `path` means: itself, or the best one of a run of ours or the original's.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    run = run_folder.Run(path)
    for candidate in (run.best, run.last):
        if candidate.exists():
            return candidate
    if results_folder.is_result_tree(path):
        named = results_folder.checkpoints(ResultTree(path))
        if named:
            return min(named, key=lambda pair: pair[0].valid)[1]
    raise CheckpointError(
        f"The folder {path} holds no parameters (checkpoints/best.npz, checkpoints/last.npz or "
        "params/params_*.pkl)."
    )


def read(path: str | Path, settings: Sequence[str] = ()) -> Saved:
    """Read a checkpoint of ours (.npz), parameters of the original (.pkl), or the best ones of a run.

    The hyper-parameters of the original's are those of args.pkl beside them, else of the name of the run's
    folder, else what names and shapes tell, else those of the authors' best model.

    Parameters
    ----------
    settings : sequence of str
        Hyper-parameters to take instead, as NAME=VALUE.

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged or holds something else, or a parameter is not finite.
    HyperParameterError
        If `settings` does not fit the family.
    """
    path = find(path)
    saved = _read_original(path, settings) if path.suffix == ".pkl" else _read_ours(path, settings)
    for name, value in saved.parameters.items():
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"Parameter {name} of {path} holds values that are not finite; use another one."
            )
    return saved


def build(saved: Saved) -> Graph:
    """The model of these parameters, over one truncated-BPTT pass.

    Raises
    ------
    CheckpointError
        If a parameter is missing, one too many or of another shape.
    """
    params = Parameters(seed=None, values=saved.parameters)
    try:
        graph = build_graph(params, saved.hp)  # builds every parameter and so checks its name and shape
        params.check_all_used()
    except CheckpointError as error:
        raise CheckpointError(f"{saved.path} ({saved.source}): {error}") from error
    return graph


def _read_ours(path: Path, settings: Sequence[str]) -> Saved:
    checkpoint = npz.load(path)
    given = read_settings(type(checkpoint.hp), settings)
    hp = type(checkpoint.hp)(**asdict(checkpoint.hp) | given)
    return Saved(path, hp, checkpoint.parameters, "the checkpoint", checkpoint=checkpoint)


def _read_original(path: Path, settings: Sequence[str]) -> Saved:
    parameters = _read_parameters(path)
    tree = ResultTree(path.resolve().parent.parent)
    if path.resolve().parent == tree.params and _is_told(tree):
        told = results_folder.settings(tree)
        given = read_settings(type(told.hp), settings)
        hp = type(told.hp)(**asdict(told.hp) | given)
        return Saved(path, hp, parameters, "args.pkl" if tree.args.exists() else "the folder's name")
    inferred = infer(parameters)
    family = FAMILIES[inferred.family]
    given = read_settings(family, settings)
    assumed = [name for name in inferred.unknown if name not in given]
    return Saved(path, family(**inferred.known | given), parameters, "names and shapes", assumed)


def _is_told(tree: ResultTree) -> bool:
    """Whether args.pkl or the name of the folder tell the hyper-parameters."""
    if tree.args.exists():
        return True
    try:
        results_folder.settings(tree)
    except CheckpointError:
        return False
    return True


def _read_parameters(path: Path) -> dict[str, NDArray]:
    parameters: Any = pickles.read(path)
    if not isinstance(parameters, dict) or not all(isinstance(v, np.ndarray) for v in parameters.values()):
        raise CheckpointError(f"{path} is no file of parameters: it is not a dictionary of arrays.")
    if not parameters:
        raise CheckpointError(f"{path} holds no parameters at all.")
    return {name: np.asarray(value, np.float32) for name, value in parameters.items()}


def read_fitting(path: Path, settings: Sequence[str], like: Saved | npz.Checkpoint | None = None) -> Saved:
    """Parameters that fit the model that they are said to be of, as those of `like` are known to do.

    Raises
    ------
    CheckpointError
        As of `saved.read` and `saved.build`.
    """
    model = read(path, settings)
    if like is None or model.hp != like.hp or _shapes(model) != _shapes(like):
        build(model)  # takes a while
    return model


def _shapes(model: Saved | npz.Checkpoint) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in model.parameters.items()}
