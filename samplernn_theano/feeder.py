"""Clips to minibatches for truncated backpropagation through time, in the original's order, to the bit."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.hyperparameters import HyperParameters, RealValued
from samplernn_theano.original import python2
from samplernn_theano.quantize import quantize

SPLITS = ("train", "valid", "test")

_CHUNK = 2**22  # samples to hold in float64 at a time


class Minibatch(NamedTuple):
    """One truncated-BPTT pass."""

    sequences: NDArray[np.int32] | NDArray[np.float32]  # (B, overlap + seq_len): levels or real numbers
    reset: NDArray[np.int32]  # (), 1 on the first pass over new clips
    mask: NDArray[np.float32]  # (B, overlap + seq_len), all ones (quirk: over zero padding too)


def load_split(folder: str | Path, split: str) -> NDArray:
    """The clips of one split, (clips, samples) of floats, mapped from ``*_SPLIT.npy`` in `folder`, not read.

    Raises
    ------
    DataError
        If the folder or file is missing, ambiguous, or not such an array.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"There is no data folder {folder}; make one with: samplernn prepare RECORDINGS --out {folder}"
        )
    found = sorted(folder.glob(f"*_{split}.npy"))
    if len(found) != 1:
        what = f"has {len(found)} files" if found else "has no file"
        raise DataError(
            f"The data folder {folder} {what} named *_{split}.npy and exactly one is needed; "
            f"make a data set with: samplernn prepare RECORDINGS --out {folder}"
        )
    try:
        clips = np.load(found[0], mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # a damaged header can raise anything in NumPy's parser
        raise DataError(f"{found[0]} cannot be read as a NumPy array: {error}.") from error
    if not isinstance(clips, np.ndarray):
        raise DataError(f"{found[0]} holds no single array, as numpy.save writes it.")
    if clips.ndim != 2 or clips.dtype.kind != "f":
        raise DataError(
            f"{found[0]} holds {clips.dtype} of shape {clips.shape}; floats (clips, samples) are needed."
        )
    return clips


def check_split(clips: NDArray, split: str, hp: HyperParameters) -> None:
    """Raise DataError if the split cannot fill one minibatch, or a clip that is fed cannot be normalised.

    A constant clip is fit for a model of real numbers, which does not divide by the range of a clip.
    """
    n, length = clips.shape
    if n < hp.batch_size:
        raise DataError(
            f"The {split} split has {n} clips and --batch_size {hp.batch_size} needs at least "
            f"{hp.batch_size}; use a smaller --batch_size or more recordings."
        )
    if length < hp.seq_len:
        names = {own.name for own in fields(hp)}
        flag = next(name for name in ("seq_len", "n_frames", "sequence_len_to_train") if name in names)
        raise DataError(
            f"The clips of the {split} split are {length} samples long and one pass needs {hp.seq_len} "
            f"(--{flag} {getattr(hp, flag)}); use a smaller --{flag} or longer clips."
        )
    for i, clip in enumerate(clips[: n // hp.batch_size * hp.batch_size]):
        if not np.isfinite(clip).all():
            raise DataError(
                f"Clip {i} of the {split} split holds NaN or infinite samples; remove or repair it."
            )
        # The zeros that pad a clip are part of it.
        if not hp.real_valued and (clip == clip[0]).all() and (length % hp.seq_len == 0 or clip[0] == 0):
            raise DataError(
                f"Clip {i} of the {split} split is constant (silence) and cannot be normalised; remove it "
                "(samplernn prepare does). The original would divide by zero."
            )


def statistics(clips: NDArray) -> tuple[float, float]:
    """Mean and standard deviation of all samples, in float64, read a few clips at a time.

    Parameters
    ----------
    clips : (n, samples) of any float, may be mapped from a file larger than the memory

    Raises
    ------
    DataError
        If all samples are equal, or some are no finite numbers.
    """
    rows = max(1, _CHUNK // clips.shape[1])
    shift = np.float64(clips[0, 0])  # the sums are those of differences from one sample, lest they cancel
    total = squares = 0.0
    for start in range(0, len(clips), rows):
        difference = np.asarray(clips[start : start + rows], np.float64) - shift
        total += float(difference.sum())
        squares += float(np.vdot(difference, difference))
    mean = total / clips.size
    variance = squares / clips.size - mean**2
    if not 0 < variance < np.inf:
        raise DataError(
            "All samples of the clips are equal, or some are NaN or infinite: there is no standard deviation "
            "to divide by; remove or repair such clips."
        )
    return float(shift + mean), float(np.sqrt(variance))


def passes_per_epoch(clips: NDArray, batch_size: int, seq_len: int) -> int:
    """Minibatches in one epoch: full batches of clips times passes per clip."""
    n, length = clips.shape
    return n // batch_size * -(-length // seq_len)


def minibatches(
    clips: NDArray,
    batch_size: int,
    seq_len: int,
    overlap: int,
    q_levels: int,
    q_type: str = "linear",
) -> Iterator[Minibatch]:
    """One epoch of minibatches of levels, int32.

    Clips are cut in order into batches, a last incomplete one is dropped, and the list of batches is shuffled
    as Python 2 does with seed 123: the same order in every epoch (quirk). A batch's clips are padded with
    zeros to a multiple of `seq_len`, normalised one by one (padding included: quirk), quantised, and given
    `overlap` columns of q_levels // 2 in front. Then come its passes from first to last, each with the
    `overlap` columns before it.

    Raises
    ------
    DataError
        If a clip is constant.
    """

    def levels(batch: NDArray[np.float64]) -> NDArray[np.int32]:
        return quantize(batch, q_levels, q_type).astype(np.int32)

    return _passes(clips, batch_size, seq_len, overlap, levels, q_levels // 2)


def real_minibatches(
    clips: NDArray, batch_size: int, seq_len: int, overlap: int, mean: float, std: float
) -> Iterator[Minibatch]:
    """One epoch of minibatches of real numbers (x - mean) / std, float32.

    The original's ``real_valued=True``; all else is as in `minibatches`. Quirk: clips are padded with zeros
    first, so the padding becomes -mean / std, but the `overlap` columns in front are 0, which is the mean.
    """

    def numbers(batch: NDArray[np.float64]) -> NDArray[np.float32]:
        return ((batch - mean) / std).astype(np.float32)

    return _passes(clips, batch_size, seq_len, overlap, numbers, 0.0)


def feed(hp: HyperParameters, clips: NDArray) -> Iterator[Minibatch]:
    """One epoch of minibatches as a model with these hyper-parameters reads them.

    Raises
    ------
    HyperParameterError
        If the model reads real numbers and `hp` does not say their mean and standard deviation.
    """
    if not isinstance(hp, RealValued):
        return minibatches(clips, hp.batch_size, hp.seq_len, hp.overlap, hp.q_levels, hp.q_type)
    if hp.mean is None or hp.std is None:
        raise HyperParameterError("--mean and --std are not known; give those of the training clips.")
    return real_minibatches(clips, hp.batch_size, hp.seq_len, hp.overlap, hp.mean, hp.std)


def _passes(
    clips: NDArray,
    batch_size: int,
    seq_len: int,
    overlap: int,
    enter: Callable[[NDArray[np.float64]], NDArray],
    silence: float,
) -> Iterator[Minibatch]:
    """One epoch of minibatches of what `enter` makes of a batch of padded clips, `silence` in front."""
    starts = list(range(0, len(clips) // batch_size * batch_size, batch_size))
    python2.shuffle(starts)
    mask = np.ones((batch_size, overlap + seq_len), np.float32)
    for start in starts:
        batch = np.asarray(clips[start : start + batch_size], np.float64)
        batch = np.pad(batch, ((0, 0), (0, -batch.shape[1] % seq_len)))
        try:
            samples = enter(batch)
        except DataError as error:
            where = f"In the clips {start} to {start + batch_size - 1}"
            raise DataError(f"{where}: {error} Remove it (samplernn prepare does).") from error
        samples = np.pad(samples, ((0, 0), (overlap, 0)), constant_values=silence)  # (B, overlap + length)
        for first in range(0, samples.shape[1] - overlap, seq_len):
            sequences = np.ascontiguousarray(samples[:, first : first + seq_len + overlap])
            yield Minibatch(sequences, np.asarray(first == 0, np.int32), mask)
