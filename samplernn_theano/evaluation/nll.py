"""NLL of a model: one compiled scorer, for the clips of a split and for recordings of any length.

A recording is one clip, read in long chunks: a low score means that it resembles the training data.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray

from samplernn_theano.backends.compile import check_precision, compile_function, default_backend
from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, RealValued
from samplernn_theano.data import clip_table, minibatches
from samplernn_theano.data.dataset import Clips, load_split
from samplernn_theano.data.manifest import check_rate
from samplernn_theano.data.minibatches import Minibatch
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.evaluation.split import run_over
from samplernn_theano.evaluation.standard_errors import standard_error
from samplernn_theano.models.graph import Graph
from samplernn_theano.original import shuffle
from samplernn_theano.utils.progress import counted
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import say

CHUNK = 4096
"""Approximate samples per chunk of a recording: large matrix products, but little padding at its end."""


# --- the scorer ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scorer:
    """A model compiled for scoring."""

    hp: HyperParameters
    graph: Graph
    run: Callable[..., list[Any]]  # `Graph.nll`, the costs of a minibatch if they are computed, states


def compile_scorer(
    model: LoadedModel, backend: str | None = None, precision: str = "highest", for_recordings: bool = False
) -> Scorer:
    """Build and compile a model for the clips of splits, or for recordings one at a time.

    The scorer of splits also returns the cost of each minibatch, and for three_tier that of the independent
    predictions. The scorer of recordings has chunks of about `CHUNK` samples; the states are carried, so
    their length does not change the score.
    """
    check_precision(backend or default_backend(), precision)
    _check_mean_and_std(model)
    if for_recordings:
        model = replace(model, hp=_for_one_recording(model.hp))
    graph = load.build(model)
    graph = replace(graph, total=pt.sum(graph.nll))  # in one forward pass with the NLL of the targets
    costs = [] if for_recordings else [c for c in (graph.cost, graph.ip_cost) if c is not None]
    outputs = [graph.nll, *costs, *graph.new_states.values()]
    run = compile_function(graph.inputs, outputs, backend=backend, precision=precision)
    return Scorer(model.hp, graph, run)


def _check_mean_and_std(model: LoadedModel) -> None:
    if isinstance(model.hp, RealValued) and model.hp.std is None:
        raise HyperParameterError(
            f"The mean and standard deviation that {model.path} was trained with are unknown; "
            "give --set mean=... and --set std=..., those of its training clips."
        )


def _for_one_recording(hp: HyperParameters) -> HyperParameters:
    """The same model for a batch of one, with long chunks of whole frames.

    A chunk is at least as long as the context, which wavenet reads again in every chunk.
    """
    settings = asdict(hp)
    name = next(flag for flag in ("n_frames", "seq_len", "sequence_len_to_train") if flag in settings)
    frames = -(-CHUNK // hp.overlap)  # of the slowest tier
    length = frames if name == "n_frames" else frames * hp.overlap
    return type(hp)(**settings | {"batch_size": 1, name: length})


# --- splits -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """NLL of a model on a split, in bits per sample."""

    bits: float  # the mean of the costs of all minibatches, as in the original's monitor
    clips: NDArray[np.float64]  # (clips fed,), in the order of the split: means over the unmasked samples
    left_out: int  # clips at the end of the split that do not fill a batch
    ip_bits: float | None = None  # as `bits`, for the independent predictions of three_tier
    recordings: NDArray[np.int64] | None = None  # (clips fed,): number of each clip's; None if unknown

    @property
    def standard_error(self) -> float:
        """Of the mean over clips, by recordings, or by clips if their recordings are unknown."""
        return standard_error(self.clips, self.recordings)


def load_clips(model: LoadedModel, folder: str | Path, split: str) -> Clips:
    """Load the clips of a split, and check that the model can read them."""
    _check_mean_and_std(model)
    clips = load_split(folder, split)
    remedy = "give a set of that rate, or if a fork's model is of the set's, --set rate=..."
    check_rate(folder, model.hp.rate, remedy)
    if 0 < len(clips) < model.hp.batch_size:
        raise DataError(
            f"The {split} split in {folder} has {len(clips)} clips and the batch_size of {model.path} is "
            f"{model.hp.batch_size}; give --set batch_size={len(clips)} or less."
        )
    minibatches.check_split(clips, split, model.hp)
    return clips


def load_recordings(folder: str | Path, split: str) -> NDArray[np.int64] | None:
    """Number of the recording of each clip of a split, (clips,); None if the set does not say it."""
    try:
        return clip_table.recordings_of(folder, split)
    except DataError as error:
        say(f"{error} Until then each clip counts as a recording.")
        return None


def score_split(
    scorer: Scorer,
    clips: Clips,
    progress: bool = False,
    recordings: NDArray[np.int64] | None = None,
) -> Scores:
    """Score the clips of a split, which fit the model; see `load_clips` and `load_recordings`."""
    hp, size = scorer.hp, scorer.hp.batch_size
    starts = list(range(0, len(clips) // size * size, size))
    shuffle.shuffle(starts)  # the feeder's order of the batches
    nll, samples = np.zeros((2, len(starts) * size))
    costs, batch_of_clips = [], -1
    n_chunks = minibatches.chunks_per_epoch(clips, size, hp.seq_len)
    outputs = run_over(scorer.run, scorer.graph, hp, minibatches.feed(hp, clips))
    for batch, (bits, *costs_of_chunk) in counted(outputs, "score", n_chunks, "chunks", progress):
        batch_of_clips += int(batch.reset)
        costs.append(costs_of_chunk)
        own = slice(starts[batch_of_clips], starts[batch_of_clips] + size)
        nll[own] += bits.sum(axis=1, dtype=np.float64)
        samples[own] += batch.mask[:, hp.overlap :].sum(axis=1)
    means = [float(np.mean(of_one_kind)) for of_one_kind in zip(*costs, strict=True)]
    if not np.isfinite([*means, *nll]).all():
        raise DataError("The score of the split under this model is not finite; use another checkpoint.")
    fed = None if recordings is None else recordings[: len(nll)]
    ip_bits = means[1] if len(means) > 1 else None
    return Scores(means[0], nll / samples, len(clips) - len(nll), ip_bits, fed)


# --- recordings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordingScore:
    """The score of a recording, in bits per sample; with real numbers, of the density of (x - mean) / std.

    The last window is 0.5 to 1.5 times as long as the others.
    """

    path: Path
    seconds: float  # its length
    bits: float  # a mean over the recording
    times: NDArray[np.float64]  # (windows,): start of each window, in seconds
    curve: NDArray[np.float64]  # (windows,): the mean over each window
    file_rate: int = SAMPLE_RATE  # of the file (Hz); the model reads it at its rate, 16 kHz
    sha256: str = ""  # of the file; empty if the recording is not of one


def score_recording(
    scorer: Scorer,
    samples: NDArray,
    path: str | Path = "the sound",
    window: float = 0.1,
    on_progress: Callable[[float], object] = lambda _: None,
    raw: bool = False,
    skip: int = 0,
) -> RecordingScore:
    """Score a recording, samples (n,), which are amplitudes at the model's rate, or generated samples.

    A recording is quantised like a clip of a data set, but normalised without zeros after it. The levels of a
    generated recording then differ from those drawn: score these with `raw`, as levels or (x - mean) / std.

    `window` is the time per point of the curve in seconds, `skip` the number of samples at the start that are
    context only, not included in the mean. `on_progress` is called with the fraction that each chunk is.
    """
    hp, n, rate = scorer.hp, len(samples), scorer.hp.rate
    parts = (samples[first : first + hp.seq_len] for first in range(0, n, hp.seq_len))
    if not raw:
        _check_recording(samples, path, hp)
        extremes = np.array([samples.min(), samples.max()], samples.dtype)
        parts = (_encode(part, extremes, hp) for part in parts)
    length = max(1, round(min(n, window * rate)))
    starts = np.arange(max(1, round(n / length))) * length
    sums, first, total = np.zeros(len(starts)), 0, 0.0
    chunks = _minibatches(parts, hp, scorer.graph.sequences.dtype)
    for batch, (nll,) in run_over(scorer.run, scorer.graph, hp, chunks):
        bits = nll[batch.mask[:, hp.overlap :] == 1]
        last = first + len(bits)
        own = np.minimum(np.arange(first, last) // length, len(starts) - 1)  # window of each sample
        sums[own[0] : own[-1] + 1] += np.bincount(own - own[0], bits)
        total += bits[max(0, skip - first) :].sum(dtype=np.float64)
        on_progress(len(bits) / n)
        first = last
    mean = float(total / (n - skip))
    if not np.isfinite(mean):
        raise DataError(f"The score of {path} under this model is not finite; use another checkpoint.")
    curve = sums / np.diff(starts, append=n)
    return RecordingScore(Path(path), n / rate, mean, starts / rate, curve, rate)


def _check_recording(samples: NDArray[np.floating], path: str | Path, hp: HyperParameters) -> None:
    if samples.size == 0:
        raise DataError(f"{path} has no samples; leave it out.")
    low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{path} has samples that are NaN or infinite; repair it, or leave it out.")
    normalisation = hp.normalisation if isinstance(hp, Quantised) else ""
    if normalisation == "min-max" and low == high:
        raise DataError(f"{path} is constant: min-max normalisation would divide by zero; leave it out.")
    if normalisation == "none" and max(-low, high) > 1:
        raise DataError(f"{path} reaches {max(-low, high):.4g} and the model reads -1..1; scale it.")


def _encode(part: NDArray[np.floating], extremes: NDArray[np.floating], hp: HyperParameters) -> NDArray:
    """The model's input for a part of a recording: levels or real numbers, (samples,).

    Normalisation depends on the whole recording only by its minimum and maximum, `extremes`. With these two
    before it, a part gets the same levels, and only a part is in memory in float64.
    """
    if isinstance(hp, Quantised):
        clip = np.concatenate([extremes, part])[None]
        return quantize(clip, hp.q_levels, hp.q_type, hp.normalisation)[0, len(extremes) :]
    assert hp.mean is not None and hp.std is not None  # see `compile_scorer`
    return (part.astype(np.float64) - hp.mean) / hp.std


def _minibatches(parts: Iterable[NDArray], hp: HyperParameters, dtype: str) -> Iterator[Minibatch]:
    """The chunks of one recording, encoded; the last part may be shorter than a chunk and is padded."""
    overlap, T = hp.overlap, hp.seq_len
    before = np.full(overlap, hp.silence, dtype)
    for i, part in enumerate(parts):
        end = overlap + len(part)
        sequences = np.full((1, overlap + T), hp.silence, dtype)
        sequences[0, :overlap], sequences[0, overlap:end] = before, part
        mask = (np.arange(overlap + T) < end)[None].astype(np.float32)
        yield Minibatch(sequences, np.asarray(i == 0, np.int32), mask)
        before = sequences[0, T:]
