"""Clips to minibatches for truncated backpropagation through time, in the original's order, to the bit."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.data.dataset import Clips, Ragged, check_unchanged, forget, lengths
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.original import shuffle


class Minibatch(NamedTuple):
    """One truncated-BPTT pass."""

    sequences: NDArray[np.int32] | NDArray[np.float32]  # (B, overlap + seq_len): levels or real numbers
    reset: NDArray[np.int32]  # (), 1 on the first pass over new clips
    mask: NDArray[np.float32]  # (B, overlap + seq_len), 1 where a sample counts; see `minibatches`


class _Prepared(NamedTuple):
    """A batch of clips, or some rows of one, ready to be cut into passes."""

    samples: NDArray  # (rows, overlap + whole passes), int32 or float32
    ends: NDArray[np.integer]  # (rows,): samples of each clip that count, the overlap not among them
    longest: np.integer | int  # the largest end of the whole batch


ALL_ROWS = slice(None)
"""Of every minibatch, where one process feeds them all."""


# --- checks -------------------------------------------------------------------------------------------------


def check_split(clips: Clips, split: str, hp: HyperParameters) -> None:
    """Raise DataError if the split cannot fill one minibatch, or a clip that is fed cannot be normalised.

    A constant clip is fit for a model of real numbers, which does not divide by the range of a clip, and for
    the normalisations "absmax" and "none".
    """
    n = len(clips)
    if n < hp.batch_size:
        raise DataError(
            f"The {split} split has {n} clips and --batch_size {hp.batch_size} needs at least "
            f"{hp.batch_size}; use a smaller --batch_size or more recordings."
        )
    longest = lengths(clips).max()
    if longest < hp.seq_len:
        names = {own.name for own in fields(hp)}
        flag = next(name for name in ("seq_len", "n_frames", "sequence_len_to_train") if name in names)
        raise DataError(
            f"The longest clip of the {split} split is {longest} samples long and one pass needs "
            f"{hp.seq_len} (--{flag} {getattr(hp, flag)}); use a smaller --{flag} or longer clips."
        )
    passes = _passes_per_batch(clips, hp.batch_size, hp.seq_len)
    for batch, padded in enumerate(passes * hp.seq_len):
        for i in range(batch * hp.batch_size, (batch + 1) * hp.batch_size):
            _check_clip(clips[i], padded, f"Clip {i} of the {split} split", hp)
        forget(clips)


def _check_clip(clip: NDArray[np.floating], padded: int, name: str, hp: HyperParameters) -> None:
    """Raise DataError if a clip, (samples,), that is fed with zeros behind it up to `padded` is not fit."""
    peak = _peak(clip)
    if not np.isfinite(peak):
        raise DataError(f"{name} holds NaN or infinite samples; remove or repair it.")
    if isinstance(hp, RealValued):
        return
    if hp.normalisation == "none" and peak > 1:
        raise DataError(
            f"{name} reaches {peak:.4g} and --normalisation none needs samples in -1..1; "
            "scale the recordings or use --normalisation absmax."
        )
    # The zeros that pad a clip are part of it.
    if hp.normalisation == "min-max" and _is_constant(clip) and (clip[0] == 0 or len(clip) == padded):
        raise DataError(
            f"{name} is constant (silence) and cannot be normalised; remove it "
            "(samplernn prepare does) or use --normalisation absmax. The original would divide by zero."
        )


def _peak(clip: NDArray[np.floating]) -> float:
    """The largest magnitude in a clip, (samples,); NaN or infinity where it holds such."""
    if clip.dtype == np.float16:
        # The bits below the sign are in the order of the magnitudes, NaN the highest.
        return float(np.bitwise_and(clip.view(np.uint16), 0x7FFF).max().view(np.float16))
    return float(np.abs(clip).max())


def _is_constant(clip: NDArray[np.floating]) -> bool:
    return bool((clip[:64] == clip[0]).all() and (clip == clip[0]).all())


# --- the number of passes -----------------------------------------------------------------------------------


def passes_per_epoch(clips: Clips, batch_size: int, seq_len: int) -> int:
    """Minibatches in one epoch: the passes over the longest clip of every full batch."""
    return int(_passes_per_batch(clips, batch_size, seq_len).sum())


def _passes_per_batch(clips: Clips, batch_size: int, seq_len: int) -> NDArray[np.integer]:
    """Passes over each full batch, (batches,), in the order of the clips."""
    n = len(clips) // batch_size * batch_size
    return -(-lengths(clips)[:n].reshape(-1, batch_size).max(axis=1) // seq_len)


# --- one epoch ----------------------------------------------------------------------------------------------


def minibatches(
    clips: Clips,
    batch_size: int,
    seq_len: int,
    overlap: int,
    q_levels: int,
    q_type: str = "linear",
    normalisation: str = "min-max",
    rows: slice = ALL_ROWS,
) -> Iterator[Minibatch]:
    """One epoch of minibatches of levels, int32.

    Clips are cut in order into batches, a last incomplete one is dropped, and the list of batches is shuffled
    as Python 2 does with seed 123: the same order in every epoch (quirk). A batch's clips are padded with
    zeros to a multiple of `seq_len`, normalised one by one (padding included: quirk), quantised, and given
    `overlap` columns of q_levels // 2 in front. Then come its passes from first to last, each with the
    `overlap` columns before it.

    Ragged clips are padded to the longest of their batch, rounded up. The release has no feeder for them:
    this one follows what is known of that of Onomatopoeia. Their mask is 0 over the padding. That of clips of
    one length is 1 everywhere (quirk: over the padding too). In every pass at least one target counts.

    With `rows`, only these of every minibatch, and no other clip is read: the share of one process where
    several train together. The order, the passes and the padding are those of the whole batch, so in the rows
    of a pass it may be that nothing counts.

    Raises
    ------
    DataError
        If a clip cannot be normalised.
    """

    def levels(batch: NDArray[np.floating]) -> NDArray[np.integer]:
        return quantize(batch, q_levels, q_type, normalisation)

    return _epoch(clips, batch_size, seq_len, overlap, levels, np.int32, q_levels // 2, rows)


def real_minibatches(
    clips: Clips,
    batch_size: int,
    seq_len: int,
    overlap: int,
    mean: float,
    std: float,
    rows: slice = ALL_ROWS,
) -> Iterator[Minibatch]:
    """One epoch of minibatches of real numbers (x - mean) / std, float32.

    The original's ``real_valued=True``; all else is as in `minibatches`. Quirk: clips are padded with zeros
    first, so the padding becomes -mean / std, but the `overlap` columns in front are 0, which is the mean.
    """

    def numbers(batch: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.stack([((clip.astype(np.float64) - mean) / std).astype(np.float32) for clip in batch])

    return _epoch(clips, batch_size, seq_len, overlap, numbers, np.float32, 0.0, rows)


def feed(hp: HyperParameters, clips: Clips, rows: slice = ALL_ROWS) -> Iterator[Minibatch]:
    """One epoch of minibatches, or of some `rows` of each, as a model with these hyper-parameters reads them.

    Raises
    ------
    HyperParameterError
        If the model reads real numbers and `hp` does not say their mean and standard deviation.
    """
    shape = hp.batch_size, hp.seq_len, hp.overlap
    if not isinstance(hp, RealValued):
        return minibatches(clips, *shape, hp.q_levels, hp.q_type, hp.normalisation, rows)
    if hp.mean is None or hp.std is None:
        raise HyperParameterError("--mean and --std are not known; give those of the training clips.")
    return real_minibatches(clips, *shape, hp.mean, hp.std, rows)


def _epoch(
    clips: Clips,
    batch_size: int,
    seq_len: int,
    overlap: int,
    enter: Callable[[NDArray[np.floating]], NDArray],
    dtype: type[np.generic],
    silence: float,
    rows: slice,
) -> Iterator[Minibatch]:
    """One epoch of minibatches of what `enter` makes of a batch of padded clips, `silence` in front."""
    all_lengths = lengths(clips)

    def prepare(start: int) -> _Prepared:
        longest = all_lengths[start : start + batch_size].max()
        own = range(start, start + batch_size)[rows]
        batch, ends = _padded(clips, own, -(-longest // seq_len) * seq_len)
        samples = np.full((len(own), overlap + batch.shape[1]), silence, dtype)
        try:
            samples[:, overlap:] = enter(batch)
        except DataError as error:
            raise DataError(f"In the clips {own[0]} to {own[-1]}: {error}") from error
        return _Prepared(samples, ends, longest)

    starts = list(range(0, len(clips) // batch_size * batch_size, batch_size))
    shuffle.shuffle(starts)
    for prepared in _one_ahead(prepare, starts):
        yield from _passes(prepared, seq_len, overlap)


def _padded(clips: Clips, numbers: range, length: int) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """Clips with zeros behind each, (rows, length), and where the mask of each ends, (rows,).

    Raises
    ------
    DataError
        If the file they are mapped from has changed.
    """
    check_unchanged(clips)
    read = [clips[i] for i in numbers]
    batch = np.zeros((len(read), length), read[0].dtype)
    for row, clip in zip(batch, read, strict=True):
        row[: len(clip)] = clip
    ends = np.array([len(clip) if isinstance(clips, Ragged) else length for clip in read])
    forget(clips)  # lest a set larger than the memory fills it
    return batch, ends


def _passes(prepared: _Prepared, seq_len: int, overlap: int) -> Iterator[Minibatch]:
    """The passes over one batch, up to the end of its longest clip.

    So the mask of a pass is never zero over all targets of a batch, where the cost would be 0 / 0.
    """
    for first in range(0, prepared.longest, seq_len):
        last = first + overlap + seq_len
        sequences = np.ascontiguousarray(prepared.samples[:, first:last])
        mask = (np.arange(first, last) < overlap + prepared.ends[:, None]).astype(np.float32)
        yield Minibatch(sequences, np.asarray(first == 0, np.int32), mask)


def _one_ahead[Item, Result](work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """work(item) of every item in order; that of the next one is done in a thread while one is in use.

    Two results are in memory at most, if the caller keeps none.
    """
    if not items:
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="feeder") as thread:
        coming = thread.submit(work, items[0])
        for item in items[1:]:
            ready = coming.result()
            coming = thread.submit(work, item)
            yield ready
        yield coming.result()


def batch_inputs(batch: Minibatch) -> tuple[NDArray, NDArray, NDArray]:
    """A minibatch in the order of a graph's inputs: sequences, mask, reset."""
    return batch.sequences, batch.mask, batch.reset
