"""NLL of a model on the splits of a data set: as in the original's monitor, and per clip."""

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
    """A model compiled for scoring splits."""

    hp: HyperParameters
    graph: Graph
    run: Callable[..., list[Any]]  # NLL of each target, cost, cost of independent predictions if any, states


@dataclass(frozen=True)
class Scores:
    """NLL of a model on a split.

    Attributes
    ----------
    bits : float
        Per sample: the mean of the costs of all minibatches, as in the original's monitor.
    clips : (clips fed,) float64
        Bits per sample of each clip, a mean over its unmasked samples, in the order of the split.
    left_out : int
        Clips at the end of the split that do not fill a batch.
    ip_bits : float or None
        As `bits`, for the independent predictions of three_tier.
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
    """Standard error of the mean of values (n,): standard deviation / sqrt(n); NaN for fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


# --- scoring ------------------------------------------------------------------------------------------------


def load_clips(model: LoadedModel, folder: str | Path, split: str) -> Clips:
    """Load the clips of a split, and check that the model can read them.

    Raises
    ------
    DataError
        If the split is missing or damaged, does not fill a batch, or has clips that are too short or cannot
        be normalised.
    HyperParameterError
        If the model reads real numbers of unknown mean and standard deviation.
    """
    hp = model.hp
    if isinstance(hp, RealValued) and hp.std is None:
        raise HyperParameterError(
            f"The mean and standard deviation that {model.path} was trained with are unknown; "
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
    """Build and compile a model for scoring splits.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    BackendError
        If the backend is not available here, or not in that precision.
    """
    check_precision(backend or default_backend(), precision)
    graph = load.build(model)
    graph = replace(graph, total=pt.sum(graph.nll))  # in one forward pass with the scores of the targets
    costs = [graph.cost] if graph.ip_cost is None else [graph.cost, graph.ip_cost]
    outputs = [graph.nll, *costs, *graph.new_states.values()]
    return Scorer(model.hp, graph, compile_function(graph.inputs, outputs, None, backend, precision))


def score(scorer: Scorer, clips: Clips, progress: bool = False) -> Scores:
    """Score the clips, with states that are zero at first and carried from chunk to chunk."""
    hp, size = scorer.hp, scorer.hp.batch_size
    starts = list(range(0, len(clips) // size * size, size))
    shuffle.shuffle(starts)  # the feeder's order of the batches
    batch_of_clips = -1
    nll, samples = np.zeros(len(starts) * size), np.zeros(len(starts) * size)
    costs = []
    n_chunks = minibatches.chunks_per_epoch(clips, size, hp.seq_len)
    outputs = run_over_split(scorer.run, scorer.graph, hp, clips)
    for batch, (bits, *costs_of_chunk) in tqdm(
        outputs, "score", n_chunks, unit=" chunks", disable=not progress
    ):
        batch_of_clips += int(batch.reset)
        costs.append(costs_of_chunk)
        own = slice(starts[batch_of_clips], starts[batch_of_clips] + size)
        nll[own] += bits.sum(axis=1, dtype=np.float64)
        samples[own] += batch.mask[:, hp.overlap :].sum(axis=1)
    means = [float(np.mean(of_one_kind)) for of_one_kind in zip(*costs, strict=True)]
    return Scores(means[0], nll / samples, len(clips) - len(nll), *means[1:])


def evaluate(model: LoadedModel, clips: Clips, backend: str | None = None, progress: bool = False) -> Scores:
    """Score a model on clips that fit it; see `load_clips`."""
    return score(compile_scorer(model, backend), clips, progress)


# --- text and files -----------------------------------------------------------------------------------------


def describe_model(model: LoadedModel) -> str:
    """Describe the file, the family and the source of the hyper-parameters."""
    text = f"{model.path}: {model.hp.family}, hyper-parameters of {model.source}"
    if model.assumed:
        assumed = ", ".join(f"{name}={getattr(model.hp, name)}" for name in model.assumed)
        text += f"\n  assumed, because unknown: {assumed} (change them with --set NAME=VALUE)"
    return text


def describe_scores(scores: Scores, split: str, hp: HyperParameters) -> str:
    """Describe the scores on a split."""
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
    """Format bits per sample; with real-valued samples also nats."""
    nats = f" ({bits * np.log(2):.4f} nats)" if isinstance(hp, RealValued) else ""
    return f"{bits:.4f} bits{nats} per sample"


def _spread(error: float, n: int) -> str:
    return f"standard error {error:.4f} over {n} clips" if n > 1 else "one clip"


def write_csv(path: str | Path, scores: Mapping[str, Scores]) -> None:
    """Write one line per clip: split, index from 0, bits per sample.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    lines = [
        f"{split},{i},{bits!r}" for split in scores for i, bits in enumerate(scores[split].clips.tolist())
    ]
    write_text(path, "\n".join(["split,clip,nll_bits", *lines]) + "\n")


def write_json(path: str | Path, model: LoadedModel, scores: Mapping[str, Scores]) -> None:
    """Write the model, and the score of each split with its standard error over clips.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    record: dict[str, Any] = {
        "checkpoint": str(model.path),
        "family": model.hp.family,
        "unit": "bits per sample",
    }
    for split, of_split in scores.items():
        record[split] = {"score": of_split.bits, "clips": len(of_split.clips), "left_out": of_split.left_out}
        if len(of_split.clips) > 1:
            record[split]["standard_error"] = of_split.standard_error
        if isinstance(model.hp, RealValued):
            record[split]["score_nats"] = of_split.bits * float(np.log(2))
        if of_split.ip_bits is not None:
            record[split]["independent_predictions"] = of_split.ip_bits
    write_text(path, json.dumps(record, indent=2) + "\n")
