"""Bits per sample of any recording under a saved model, as a curve over time; a ranking of several.

A recording is read as one clip, whatever its length, so a low score means: this sounds like what the model
was trained on. The sum over the samples of a window, divided by their number, is a point of the curve.
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

PASS = 4096
"""Samples per pass, about: large matrix products, and little padding behind a short recording."""

WINDOW = 0.1
"""Seconds of a window of the curve."""

WIDEST_NAME = 36  # characters of a file's name in the table


@dataclass(frozen=True)
class Scorer:
    """A model compiled to score recordings, one at a time."""

    hp: HyperParameters
    graph: Graph
    run: Callable[..., list[Any]]  # NLL of each target (rnn_gmm: of each vector of targets), states


@dataclass(frozen=True)
class Scored:
    """The score of one recording.

    Attributes
    ----------
    path : Path
        The file.
    seconds : float
        Its length.
    bits : float
        Per sample, the mean over the recording. Of real numbers: of the density of (x - mean) / std.
    times : (windows,) float64
        Where each window begins, in seconds.
    curve : (windows,) float64
        Bits per sample of each window. The last one has what remains: half as much to one and a half times.
    file_rate : int
        Samples per second (Hz) in the file; the model has read it at 16 kHz.
    """

    path: Path
    seconds: float
    bits: float
    times: NDArray[np.float64]
    curve: NDArray[np.float64]
    file_rate: int = SAMPLE_RATE


# --- the model ----------------------------------------------------------------------------------------------


def compile_scorer(model: LoadedModel, backend: str | None = None) -> Scorer:
    """Build and compile a saved model for one recording at a time, in passes of about `PASS` samples.

    The states are carried from pass to pass, so the length of a pass does not change the score.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    HyperParameterError
        If the model reads real numbers and nothing says their mean and standard deviation.
    """
    if isinstance(model.hp, RealValued) and model.hp.std is None:
        raise HyperParameterError(
            f"Nothing says the mean and standard deviation that {model.path} was trained with; "
            "give --set mean=... and --set std=..., those of its training clips."
        )
    hp = _for_one_recording(model.hp)
    graph = load.build(replace(model, hp=hp))
    outputs = [graph.nll, *graph.new_states.values()]
    return Scorer(hp, graph, compile_function(graph.inputs, outputs, backend=backend))


def _for_one_recording(hp: HyperParameters) -> HyperParameters:
    """The same model for a batch of one, with a long pass of whole frames.

    At least as long as the overlap: wavenet reads that again in every pass.
    """
    frames = -(-PASS // hp.overlap)  # of the slowest tier
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
    told: Callable[[float], object] = lambda _: None,
    raw: bool = False,
    skip: int = 0,
) -> Scored:
    """Score a recording, or what a model has generated.

    A recording enters as the feeder makes a clip of it, but with no zeros behind it when it is normalised.
    So that of a generated sound does not have the levels that were drawn: give those, with `raw`.

    Parameters
    ----------
    samples : (samples,) amplitudes at 16 kHz
    path : where it comes from, for errors and tables
    window : seconds per point of the curve, rounded to samples; at least one sample
    told : hears after every pass which share of the recording it was
    raw : whether `samples` are what the model reads and draws: levels, or (x - mean) / std
    skip : samples at the start that are heard, and do not count in the mean

    Raises
    ------
    DataError
        If the recording is empty, holds NaN or infinite samples, or cannot be normalised; if its score is
        not finite.
    """
    if raw:
        parts = _passes(scorer, samples, lambda part: part)
    else:
        _check(samples, path, scorer.hp)
        extremes = np.array([samples.min(), samples.max()], samples.dtype)
        parts = _passes(scorer, samples, lambda part: _enter(part, extremes, scorer.hp))
    n, length = len(samples), max(1, round(window * SAMPLE_RATE))
    starts = np.arange(max(1, round(n / length))) * length
    sums, first, total = np.zeros(len(starts)), 0, 0.0
    for part in parts:
        last = first + len(part)
        own = np.minimum(np.arange(first, last) // length, len(starts) - 1)  # the window of each sample
        sums[own[0] : own[-1] + 1] += np.bincount(own - own[0], part)
        total += part[max(0, skip - first) :].sum(dtype=np.float64)
        told(len(part) / n)
        first = last
    bits = float(total / (n - skip))
    if not np.isfinite(bits):
        raise DataError(f"The score of {path} under this model is not finite; use another checkpoint.")
    return Scored(Path(path), n / SAMPLE_RATE, bits, starts / SAMPLE_RATE, sums / np.diff(starts, append=n))


def _check(samples: NDArray[np.floating], path: str | Path, hp: HyperParameters) -> None:
    """Raise DataError if a recording (samples,) cannot be read by the model."""
    if samples.size == 0:
        raise DataError(f"{path} holds no samples; leave it out.")
    low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{path} holds samples that are NaN or infinite; repair it, or leave it out.")
    if not isinstance(hp, Quantised):
        return
    if hp.normalisation == "min-max" and low == high:
        raise DataError(
            f"{path} is constant (silence) and the model's normalisation, min-max, would divide by zero; "
            "leave it out."
        )
    if hp.normalisation == "none" and max(-low, high) > 1:
        raise DataError(f"{path} reaches {max(-low, high):.4g} and the model reads -1..1; scale it.")


def _passes(
    scorer: Scorer, samples: NDArray, enter: Callable[[NDArray], NDArray]
) -> Iterator[NDArray[np.float32]]:
    """Bits of each sample, pass by pass; together as many as there are samples.

    `enter` makes of some samples, (n,), what the model reads for them.
    """
    hp, states = scorer.hp, scorer.graph.zero_states()
    overlap, T = hp.overlap, hp.seq_len
    before = np.full(overlap, hp.silence, scorer.graph.sequences.dtype)
    for first in range(0, len(samples), T):
        part = enter(samples[first : first + T])
        end = overlap + len(part)
        sequence = np.full((1, overlap + T), hp.silence, before.dtype)
        sequence[0, :overlap], sequence[0, overlap:end] = before, part
        mask = (np.arange(overlap + T) < end)[None].astype(np.float32)
        reset = np.asarray(first == 0, np.int32)
        nll, *states = scorer.run(sequence, mask, reset, *states)
        yield _per_sample(np.asarray(nll)[0], mask[0, overlap:])[: len(part)]
        before = sequence[0, T:]


def _enter(part: NDArray[np.floating], extremes: NDArray[np.floating], hp: HyperParameters) -> NDArray:
    """What the model reads for a part of a recording: levels or numbers, (samples,).

    All that a normalisation takes from the whole are its lowest and its highest sample. With these two before
    it, a part by itself gets the same levels, and no more than a part is ever in memory in float64.
    """
    if isinstance(hp, Quantised):
        clip = np.concatenate([extremes, part])[None]
        return quantize(clip, hp.q_levels, hp.q_type, hp.normalisation)[0, len(extremes) :]
    assert hp.mean is not None and hp.std is not None  # see `compile_scorer`
    return (part.astype(np.float64) - hp.mean) / hp.std


def _per_sample(nll: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """The NLL of each target (T,), given that of each vector of targets (steps,) and the mask (T,).

    All samples of a vector that count have equal shares of its NLL.
    """
    size = len(mask) // len(nll)
    counts = mask.reshape(len(nll), size).sum(axis=1)
    return np.repeat(nll / np.maximum(counts, 1), size)


# --- files --------------------------------------------------------------------------------------------------


def find(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The recordings that are meant, each once, and what is wrong with folders that hold none.

    A folder stands for all recordings in it and below, sorted by name. Files are not looked at.
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
) -> tuple[list[Scored], list[str]]:
    """Score recordings of any rate and number of channels; what is wrong with some does not keep others.

    Returns
    -------
    scored : list of Scored
        From the lowest NLL to the highest.
    problems : list of str
        A sentence about each file that cannot be scored.
    """
    scored, problems = [], []
    sizes = [max(1, path.stat().st_size) if path.is_file() else 1 for path in paths]
    with tqdm(total=sum(sizes), desc="score", disable=not progress, bar_format=BAR) as bar:
        done = 0
        for path, size in zip(paths, sizes, strict=True):
            try:
                sound = audio.read(path)
                told = partial(_advance, bar, size)
                one = score(scorer, sound.samples, path, window, told)
                scored.append(replace(one, file_rate=sound.file_rate))
            except DataError as error:
                problems.append(str(error))
            done += size
            bar.update(done - bar.n)
    return sorted(scored, key=lambda one: one.bits), problems


def _advance(bar: tqdm, size: int, share: float) -> None:
    """Move the bar on by a share of a file of `size` bytes."""
    bar.update(share * size)


BAR = "{desc}{percentage:3.0f}% |{bar}| [{elapsed}<{remaining}]"


# --- for people and programs --------------------------------------------------------------------------------


def describe(scored: Sequence[Scored], hp: HyperParameters) -> str:
    """The scores as a table, with ranks if there are several, and which files were resampled."""
    lines = [
        f"{escape_control_characters(str(one.path))}: {one.file_rate:,} Hz resampled to {SAMPLE_RATE:,} Hz"
        for one in scored
        if one.file_rate != SAMPLE_RATE
    ]
    columns = {
        "rank": [str(rank) for rank in range(1, len(scored) + 1)],
        "file": [shortened(one.path, WIDEST_NAME) for one in scored],
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


def shortened(path: Path, width: int) -> str:
    """A path in at most `width` characters: without the first folders, of a name still too long the end."""
    name = escape_control_characters(str(path))
    if len(name) <= width:
        return name
    tails = (".../" + escape_control_characters("/".join(path.parts[i:])) for i in range(1, len(path.parts)))
    return next((tail for tail in tails if len(tail) <= width), "..." + name[3 - width :])


def curves(scored: Sequence[Scored]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Title, edges of the windows and curve of each recording, as `plots.nll_over_time` draws them."""
    ranks = [f"{rank}. " for rank in range(1, len(scored) + 1)] if len(scored) > 1 else [""]
    return {
        rank + shortened(one.path, 2 * WIDEST_NAME): (np.append(one.times, one.seconds), one.curve)
        for rank, one in zip(ranks, scored, strict=True)
    }


def write_csv(path: str | Path, scored: Sequence[Scored]) -> None:
    """Write one line per window: the file, where the window begins in seconds, its bits per sample.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "seconds", "nll_bits"])
    for one in scored:
        for second, bits in zip(one.times.tolist(), one.curve.tolist(), strict=True):
            writer.writerow([escape_control_characters(str(one.path)), second, bits])
    write_text(path, text.getvalue())
