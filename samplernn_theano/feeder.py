"""Clips to minibatches for truncated backpropagation through time, in the original's order, to the bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import DataError
from samplernn_theano.hyperparameters import ThreeTier
from samplernn_theano.original import python2
from samplernn_theano.quantize import quantize

SPLITS = ("train", "valid", "test")


class Minibatch(NamedTuple):
    """One truncated-BPTT pass."""

    sequences: NDArray[np.int32]  # (B, overlap + seq_len)
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


def check_split(clips: NDArray, split: str, batch_size: int, seq_len: int) -> None:
    """Raise DataError if the split cannot fill one minibatch, or a clip that is fed cannot be normalised."""
    n, length = clips.shape
    if n < batch_size:
        raise DataError(
            f"The {split} split has {n} clips and --batch_size {batch_size} needs at least {batch_size}; "
            "use a smaller --batch_size or more recordings."
        )
    if length < seq_len:
        raise DataError(
            f"The clips of the {split} split are {length} samples long, shorter than one pass of "
            f"--seq_len {seq_len}; use a smaller --seq_len or longer clips."
        )
    for i, clip in enumerate(clips[: n // batch_size * batch_size]):
        if not np.isfinite(clip).all():
            raise DataError(
                f"Clip {i} of the {split} split holds NaN or infinite samples; remove or repair it."
            )
        if (clip == clip[0]).all() and (length % seq_len == 0 or clip[0] == 0):  # padding is zeros
            raise DataError(
                f"Clip {i} of the {split} split is constant (silence) and cannot be normalised; remove it "
                "(samplernn prepare does). The original would divide by zero."
            )


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
    """One epoch of minibatches.

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
    starts = list(range(0, len(clips) // batch_size * batch_size, batch_size))
    python2.shuffle(starts)
    for start in starts:
        levels = _batch(clips, start, batch_size, seq_len, overlap, q_levels, q_type)
        mask = np.ones((batch_size, overlap + seq_len), np.float32)
        for first in range(0, levels.shape[1] - overlap, seq_len):
            sequences = np.ascontiguousarray(levels[:, first : first + seq_len + overlap])
            yield Minibatch(sequences, np.asarray(first == 0, np.int32), mask)


def feed(hp: ThreeTier, clips: NDArray) -> Iterator[Minibatch]:
    """One epoch of minibatches as a model with these hyper-parameters reads them."""
    return minibatches(clips, hp.batch_size, hp.seq_len, hp.overlap, hp.q_levels, hp.q_type)


def _batch(
    clips: NDArray, start: int, batch_size: int, seq_len: int, overlap: int, q_levels: int, q_type: str
) -> NDArray[np.int32]:
    """Quantised clips start..start+batch_size-1 with their overlap prefix: (B, overlap + padded length)."""
    batch = np.asarray(clips[start : start + batch_size], np.float64)
    batch = np.pad(batch, ((0, 0), (0, -batch.shape[1] % seq_len)))
    try:
        levels = quantize(batch, q_levels, q_type)
    except DataError as error:
        raise DataError(
            f"In the clips {start} to {start + batch_size - 1}: {error} Remove it (samplernn prepare does)."
        ) from error
    return np.pad(levels.astype(np.int32), ((0, 0), (overlap, 0)), constant_values=q_levels // 2)
