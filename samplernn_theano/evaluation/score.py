"""Score recordings: bits per sample under a model, over time and in total.

A recording is one clip of any length: a low score means that it resembles the training data. A point of the
curve over time is the mean over the samples of a window.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, RealValued
from samplernn_theano.data import audio, recordings
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.models.graph import Graph
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters, format_table

CHUNK = 4096
"""Approximate samples per chunk: large matrix products, but little padding after a short recording."""

WINDOW = 0.1
"""Seconds per window of the curve."""

WIDEST_NAME = 36  # in the table, in characters


@dataclass(frozen=True)
class Scorer:
    """A model compiled for scoring recordings, one at a time."""

    hp: HyperParameters
    graph: Graph
    run: Callable[..., list[Any]]  # NLL of each target (rnn_gmm: of each vector of targets), states


@dataclass(frozen=True)
class RecordingScore:
    """The score of a recording.

    Attributes
    ----------
    path : Path
        Path of the recording.
    seconds : float
        Length of the recording.
    bits : float
        Per sample, a mean over the recording. With real-valued samples, of the density of (x - mean) / std.
    times : (windows,) float64
        Start of each window, in seconds.
    curve : (windows,) float64
        Bits per sample of each window. The last window is 0.5 to 1.5 times as long as the others.
    file_rate : int
        Sample rate of the file (Hz); the model reads it at 16 kHz.
    """

    path: Path
    seconds: float
    bits: float
    times: NDArray[np.float64]
    curve: NDArray[np.float64]
    file_rate: int = SAMPLE_RATE


# --- the model ----------------------------------------------------------------------------------------------


def compile_scorer(model: LoadedModel, backend: str | None = None) -> Scorer:
    """Build and compile a model for one recording at a time, in chunks of about `CHUNK` samples.

    The states are carried from chunk to chunk, so the length of a chunk does not change the score.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    HyperParameterError
        If the model reads real numbers of unknown mean and standard deviation.
    """
    if isinstance(model.hp, RealValued) and model.hp.std is None:
        raise HyperParameterError(
            f"The mean and standard deviation that {model.path} was trained with are unknown; "
            "give --set mean=... and --set std=..., those of its training clips."
        )
    hp = _for_one_recording(model.hp)
    graph = load.build(replace(model, hp=hp))
    outputs = [graph.nll, *graph.new_states.values()]
    return Scorer(hp, graph, compile_function(graph.inputs, outputs, backend=backend))


def _for_one_recording(hp: HyperParameters) -> HyperParameters:
    """The same model for a batch of one, with long chunks of whole frames.

    A chunk is at least as long as the context, which wavenet reads again in every chunk.
    """
    frames = -(-CHUNK // hp.overlap)  # of the slowest tier
    flags = {own.name for own in fields(hp)}
    name = next(flag for flag in ("n_frames", "seq_len", "sequence_len_to_train") if flag in flags)
    length = frames if name == "n_frames" else frames * hp.overlap
    return type(hp)(**asdict(hp) | {"batch_size": 1, name: length})


# --- one recording ------------------------------------------------------------------------------------------


def score(
    scorer: Scorer,
    samples: NDArray,
    path: str | Path = "the sound",
    window: float = WINDOW,
    on_progress: Callable[[float], object] = lambda _: None,
    raw: bool = False,
    skip: int = 0,
) -> RecordingScore:
    """Score a recording, or generated samples.

    A recording is quantised like a clip of a data set, but normalised without zeros after it. The levels of a
    generated recording then differ from those drawn: score these with `raw`.

    Parameters
    ----------
    samples : (samples,) amplitudes at 16 kHz
    path : name of the recording in errors and tables
    window : seconds per point of the curve, rounded to samples; at least one sample
    on_progress : called after every chunk with its fraction of the recording
    raw : True if `samples` are levels, or (x - mean) / std, in place of amplitudes
    skip : samples at the start that are context only, not included in the mean

    Raises
    ------
    DataError
        If the recording is empty, has NaN or infinite samples, or cannot be normalised; if its score is not
        finite.
    """
    if raw:
        parts = _chunk_bits(scorer, samples, lambda part: part)
    else:
        _check(samples, path, scorer.hp)
        extremes = np.array([samples.min(), samples.max()], samples.dtype)
        parts = _chunk_bits(scorer, samples, lambda part: _to_input(part, extremes, scorer.hp))
    n, length = len(samples), max(1, round(window * SAMPLE_RATE))
    starts = np.arange(max(1, round(n / length))) * length
    sums, first, total = np.zeros(len(starts)), 0, 0.0
    for part in parts:
        last = first + len(part)
        own = np.minimum(np.arange(first, last) // length, len(starts) - 1)  # window of each sample
        sums[own[0] : own[-1] + 1] += np.bincount(own - own[0], part)
        total += part[max(0, skip - first) :].sum(dtype=np.float64)
        on_progress(len(part) / n)
        first = last
    bits = float(total / (n - skip))
    if not np.isfinite(bits):
        raise DataError(f"The score of {path} under this model is not finite; use another checkpoint.")
    return RecordingScore(
        Path(path), n / SAMPLE_RATE, bits, starts / SAMPLE_RATE, sums / np.diff(starts, append=n)
    )


def _check(samples: NDArray[np.floating], path: str | Path, hp: HyperParameters) -> None:
    """Raise DataError if a recording (samples,) cannot be read by the model."""
    if samples.size == 0:
        raise DataError(f"{path} has no samples; leave it out.")
    low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{path} has samples that are NaN or infinite; repair it, or leave it out.")
    if not isinstance(hp, Quantised):
        return
    if hp.normalisation == "min-max" and low == high:
        raise DataError(
            f"{path} is constant (silence) and the model's normalisation, min-max, would divide by zero; "
            "leave it out."
        )
    if hp.normalisation == "none" and max(-low, high) > 1:
        raise DataError(f"{path} reaches {max(-low, high):.4g} and the model reads -1..1; scale it.")


def _chunk_bits(
    scorer: Scorer, samples: NDArray, to_input: Callable[[NDArray], NDArray]
) -> Iterator[NDArray[np.float32]]:
    """Yield the bits of each sample, chunk by chunk.

    `to_input` converts samples (n,) to the model's input (n,).
    """
    hp, states = scorer.hp, scorer.graph.zero_states()
    overlap, T = hp.overlap, hp.seq_len
    before = np.full(overlap, hp.silence, scorer.graph.sequences.dtype)
    for first in range(0, len(samples), T):
        part = to_input(samples[first : first + T])
        end = overlap + len(part)
        sequence = np.full((1, overlap + T), hp.silence, before.dtype)
        sequence[0, :overlap], sequence[0, overlap:end] = before, part
        mask = (np.arange(overlap + T) < end)[None].astype(np.float32)
        reset = np.asarray(first == 0, np.int32)
        nll, *states = scorer.run(sequence, mask, reset, *states)
        yield _per_sample(np.asarray(nll)[0], mask[0, overlap:])[: len(part)]
        before = sequence[0, T:]


def _to_input(part: NDArray[np.floating], extremes: NDArray[np.floating], hp: HyperParameters) -> NDArray:
    """The model's input for a part of a recording: levels or real numbers, (samples,).

    Normalisation depends on the whole recording only by its minimum and maximum, `extremes`. With these two
    before it, a part gets the same levels, and only a part is in memory in float64.
    """
    if isinstance(hp, Quantised):
        clip = np.concatenate([extremes, part])[None]
        return quantize(clip, hp.q_levels, hp.q_type, hp.normalisation)[0, len(extremes) :]
    assert hp.mean is not None and hp.std is not None  # see `compile_scorer`
    return (part.astype(np.float64) - hp.mean) / hp.std


def _per_sample(nll: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """The NLL of each target (T,), given that of each vector of targets (steps,) and the mask (T,).

    The unmasked samples of a vector have equal shares of its NLL.
    """
    size = len(mask) // len(nll)
    counts = mask.reshape(len(nll), size).sum(axis=1)
    return np.repeat(nll / np.maximum(counts, 1), size)


# --- files --------------------------------------------------------------------------------------------------


def find_recordings(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Find recordings, each once; also return messages on folders without any.

    A folder stands for all recordings in it and its sub-folders, sorted by name. Files are not checked.
    """
    found: list[Path] = []
    problems = []
    for path in paths:
        try:
            found += [r.path for r in recordings.find(path).recordings] if path.is_dir() else [path]
        except DataError as error:
            problems.append(str(error))
    return list(dict.fromkeys(found)), problems


def score_files(
    scorer: Scorer, paths: Sequence[Path], window: float = WINDOW, progress: bool = False
) -> tuple[list[RecordingScore], list[str]]:
    """Score recordings of any sample rate and number of channels, except those that cannot be scored.

    Returns
    -------
    scored : list of RecordingScore
        In the order of rising NLL.
    problems : list of str
        A message for each file that cannot be scored.
    """
    scored, problems = [], []
    sizes = [max(1, path.stat().st_size) if path.is_file() else 1 for path in paths]
    with tqdm(total=sum(sizes), desc="score", disable=not progress, bar_format=BAR) as bar:
        done = 0
        for path, size in zip(paths, sizes, strict=True):
            try:
                sound = audio.read(path)
                one = score(scorer, sound.samples, path, window, partial(_advance, bar, size))
                scored.append(replace(one, file_rate=sound.file_rate))
            except DataError as error:
                problems.append(str(error))
            done += size
            bar.update(done - bar.n)
    return sorted(scored, key=lambda one: one.bits), problems


def _advance(bar: tqdm, size: int, fraction: float) -> None:
    """Advance the bar by a fraction of a file of `size` bytes."""
    bar.update(fraction * size)


BAR = "{desc}{percentage:3.0f}% |{bar}| [{elapsed}<{remaining}]"


# --- text and files -----------------------------------------------------------------------------------------


def describe_scores(scored: Sequence[RecordingScore], hp: HyperParameters) -> str:
    """A table of the scores, with ranks if there are several, and the files that were resampled."""
    lines = [
        f"{escape_control_characters(str(one.path))}: {one.file_rate:,} Hz resampled to {SAMPLE_RATE:,} Hz"
        for one in scored
        if one.file_rate != SAMPLE_RATE
    ]
    columns = {
        "rank": [str(rank) for rank in range(1, len(scored) + 1)],
        "file": [shorten_path(one.path, WIDEST_NAME) for one in scored],
        "seconds": [f"{one.seconds:,.2f}" for one in scored],
        "bits per sample": [f"{one.bits:.4f}" for one in scored],
        "nats": [f"{one.bits * np.log(2):.4f}" for one in scored],
        "worst window": [f"{max(one.curve):.2f} at {one.times[one.curve.argmax()]:,.2f} s" for one in scored],
    }
    if len(scored) == 1:
        del columns["rank"]
    if isinstance(hp, Quantised):
        del columns["nats"]
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    right = [i for i, name in enumerate(columns) if name != "file"]
    return "\n".join([*lines, *format_table(rows, right)])


def shorten_path(path: Path, width: int) -> str:
    """Shorten a path to at most `width` characters: drop the first folders, then the start of the name."""
    name = escape_control_characters(str(path))
    if len(name) <= width:
        return name
    tails = (".../" + escape_control_characters("/".join(path.parts[i:])) for i in range(1, len(path.parts)))
    return next((tail for tail in tails if len(tail) <= width), "..." + name[3 - width :])


def curves(scored: Sequence[RecordingScore]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Title, window edges and curve of each recording, for `score_figures.plot_nll_over_time`."""
    ranks = [f"{rank}. " for rank in range(1, len(scored) + 1)] if len(scored) > 1 else [""]
    return {
        rank + shorten_path(one.path, 2 * WIDEST_NAME): (np.append(one.times, one.seconds), one.curve)
        for rank, one in zip(ranks, scored, strict=True)
    }


def write_csv(path: str | Path, scored: Sequence[RecordingScore]) -> None:
    """Write one line per window: file, start in seconds, bits per sample.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "seconds", "nll_bits"])
    for one in scored:
        for second, bits in zip(one.times.tolist(), one.curve.tolist(), strict=True):
            writer.writerow([escape_control_characters(str(one.path)), second, bits])
    write_text(path, text.getvalue())
