"""The NLL of a saved model on a data set: as the original's monitor computes it, and per clip."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano.backends.compile import check_precision, compile_function, default_backend
from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import Clips, load_split
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.evaluation.split import run_over_split
from samplernn_theano.models.graph import Graph
from samplernn_theano.original import shuffle
from samplernn_theano.utils.files import write_text


@dataclass(frozen=True)
class Scorer:
    """A model compiled to be scored."""

    hp: HyperParameters
    graph: Graph
    run: Callable[..., list[Any]]  # NLL of each target, cost, cost of independent predictions if any, states


@dataclass(frozen=True)
class Scores:
    """The NLL of a model on a split.

    Attributes
    ----------
    bits : float
        Per sample: the mean of the costs of all minibatches, as the original's monitor has it.
    clips : (clips fed,) float64
        Bits per sample of each clip, the mean over its unmasked samples; in the order of the split.
    left_out : int
        Clips at the end of the split that fill no batch.
    ip_bits : float or None
        As `bits`, of three_tier's independent predictions.
    """

    bits: float
    clips: NDArray[np.float64]
    left_out: int
    ip_bits: float | None = None

    @property
    def standard_error(self) -> float:
        """Of the mean over clips."""
        return standard_error(self.clips)


def standard_error(values: NDArray[np.float64]) -> float:
    """The standard error of the mean of values (n,): their deviation / sqrt(n); NaN for less than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


# --- scoring ------------------------------------------------------------------------------------------------


def load_clips(model: LoadedModel, folder: str | Path, split: str) -> Clips:
    """The clips of a split, if the model can read them.

    Raises
    ------
    DataError
        If the split is missing or damaged, fills no batch, or has clips that are too short or cannot be
        normalised.
    HyperParameterError
        If the model reads real numbers and nothing says their mean and standard deviation.
    """
    hp = model.hp
    if isinstance(hp, RealValued) and hp.std is None:
        raise HyperParameterError(
            f"Nothing says the mean and standard deviation that {model.path} was trained with; "
            "give --set mean=... and --set std=..., those of its training clips."
        )
    clips = load_split(folder, split)
    if 0 < len(clips) < hp.batch_size:
        raise DataError(
            f"The {split} split in {folder} has {len(clips)} clips and the batch_size of {model.path} is "
            f"{hp.batch_size}; give --set batch_size={len(clips)} or less."
        )
    minibatches.check_split(clips, split, hp)
    return clips


def compile_scorer(model: LoadedModel, backend: str | None = None, precision: str = "highest") -> Scorer:
    """Build and compile a saved model.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    BackendError
        If the backend cannot work here, or not in that precision.
    """
    check_precision(backend or default_backend(), precision)
    graph = load.build(model)
    graph = replace(graph, total=pt.sum(graph.nll))  # in one forward pass with the scores of the targets
    costs = [graph.cost] if graph.ip_cost is None else [graph.cost, graph.ip_cost]
    outputs = [graph.nll, *costs, *graph.new_states.values()]
    return Scorer(model.hp, graph, compile_function(graph.inputs, outputs, None, backend, precision))


def score(scorer: Scorer, clips: Clips, progress: bool = False) -> Scores:
    """Score the clips, states zero at the start and carried from pass to pass."""
    hp, size = scorer.hp, scorer.hp.batch_size
    starts = list(range(0, len(clips) // size * size, size))
    shuffle.shuffle(starts)  # the feeder's order of the batches
    batch_of_clips = -1
    nll, samples = np.zeros(len(starts) * size), np.zeros(len(starts) * size)
    costs = []
    passes = minibatches.chunks_per_epoch(clips, size, hp.seq_len)
    outputs = run_over_split(scorer.run, scorer.graph, hp, clips)
    for batch, (bits, *costs_of_pass) in tqdm(outputs, "score", passes, unit=" passes", disable=not progress):
        batch_of_clips += int(batch.reset)
        costs.append(costs_of_pass)
        own = slice(starts[batch_of_clips], starts[batch_of_clips] + size)
        nll[own] += bits.sum(axis=1, dtype=np.float64)
        samples[own] += batch.mask[:, hp.overlap :].sum(axis=1)
    means = [float(np.mean(of_one_kind)) for of_one_kind in zip(*costs, strict=True)]
    return Scores(means[0], nll / samples, len(clips) - len(nll), *means[1:])


def evaluate(model: LoadedModel, clips: Clips, backend: str | None = None, progress: bool = False) -> Scores:
    """Score a saved model on clips that fit it (see `load_clips`)."""
    return score(compile_scorer(model, backend), clips, progress)


# --- for people and programs --------------------------------------------------------------------------------


def describe(model: LoadedModel) -> str:
    """Say which file it is, of which family, and where the hyper-parameters come from."""
    text = f"{model.path}: {model.hp.family}, hyper-parameters of {model.source}"
    if model.assumed:
        assumed = ", ".join(f"{name}={getattr(model.hp, name)}" for name in model.assumed)
        text += f"\n  assumed, for nothing tells: {assumed} (others: --set NAME=VALUE)"
    return text


def summary(scores: Scores, split: str, hp: HyperParameters) -> str:
    """Say the scores in words."""
    lines = [f"{split}: {per_sample(scores.bits, hp)} ({_spread(scores.standard_error, len(scores.clips))})"]
    if scores.left_out:
        total = len(scores.clips) + scores.left_out
        lines[0] += (
            f"; {scores.left_out} of {total} clips left out, too few for a batch "
            "(--set batch_size=1 scores all)"
        )
    if scores.ip_bits is not None:
        lines.append(f"independent predictions: {per_sample(scores.ip_bits, hp)}")
    return "\n".join(lines)


def per_sample(bits: float, hp: HyperParameters) -> str:
    """Bits per sample; nats beside them where samples are real numbers."""
    nats = f" ({bits * np.log(2):.4f} nats)" if isinstance(hp, RealValued) else ""
    return f"{bits:.4f} bits{nats} per sample"


def _spread(error: float, n: int) -> str:
    return f"standard error {error:.4f} over {n} clips" if n > 1 else "one clip"


def write_csv(path: str | Path, scores: Mapping[str, Scores]) -> None:
    """Write one line per clip: the split, its number there, from 0, and its bits per sample.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    lines = [
        f"{split},{i},{bits!r}" for split in scores for i, bits in enumerate(scores[split].clips.tolist())
    ]
    write_text(path, "\n".join(["split,clip,nll_bits", *lines]) + "\n")


def write_json(path: str | Path, model: LoadedModel, scores: Mapping[str, Scores]) -> None:
    """Write the score of each split, its standard error over clips, and what was scored.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    told: dict[str, Any] = {
        "checkpoint": str(model.path),
        "family": model.hp.family,
        "unit": "bits per sample",
    }
    for split, of_split in scores.items():
        told[split] = {"score": of_split.bits, "clips": len(of_split.clips), "left_out": of_split.left_out}
        if len(of_split.clips) > 1:
            told[split]["standard_error"] = of_split.standard_error
        if isinstance(model.hp, RealValued):
            told[split]["score_nats"] = of_split.bits * float(np.log(2))
        if of_split.ip_bits is not None:
            told[split]["independent_predictions"] = of_split.ip_bits
    write_text(path, json.dumps(told, indent=2) + "\n")
