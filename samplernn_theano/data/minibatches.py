"""Minibatches for truncated backpropagation through time, equal to the original's bit for bit."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.data.dataset import Clips, Ragged, check_unchanged, digest_of, lengths, release
from samplernn_theano.data.quantization import check_clip, quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.original import shuffle


class Minibatch(NamedTuple):
    """One truncated-BPTT chunk of a batch of clips."""

    sequences: NDArray[np.int32] | NDArray[np.float32]  # (B, context + seq_len): levels or real numbers
    reset: NDArray[np.int32]  # (), 1 on the first chunk of new clips
    mask: NDArray[np.float32]  # (B, context + seq_len), 1 where a sample counts; see `minibatches`


WHOLE_BATCH = slice(None)
"""The shard of a single process."""


def check_split(clips: Clips, split: str, hp: HyperParameters) -> str:
    """Read a split once and return its SHA-256, as `dataset.data_sha256` does.

    Raises DataError if it cannot fill one minibatch, or a clip in use cannot be normalised. Constant clips
    are accepted for models of real numbers, which do not divide by the range of a clip, and with the
    normalisations "absmax" and "none".
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
            f"The longest clip of the {split} split is {longest} samples long and one chunk needs "
            f"{hp.seq_len} (--{flag} {getattr(hp, flag)}); use a smaller --{flag} or longer clips."
        )
    padded = np.repeat(_chunks_per_batch(clips, hp.batch_size, hp.seq_len) * hp.seq_len, hp.batch_size)
    normalisation = "absmax" if isinstance(hp, RealValued) else hp.normalisation
    digest = digest_of(lengths(clips))
    for i in range(n):
        clip = clips[i]
        digest.update(np.ascontiguousarray(clip).data)
        if i < len(padded):  # the clips after those of the last full batch are not fed
            # The zeros that pad a clip are part of it.
            constant = normalisation == "min-max" and _is_constant(clip, padded[i])
            check_clip(f"Clip {i} of the {split} split", _peak(clip), constant, normalisation)
        if i % hp.batch_size == 0:
            release(clips)
    release(clips)
    return digest.hexdigest()


def _peak(clip: NDArray[np.floating]) -> float:
    """Maximal magnitude in a clip, (samples,); NaN or infinite if it holds such."""
    if clip.dtype == np.float16:
        # The bits below the sign order the magnitudes, NaN highest.
        return float(np.bitwise_and(clip.view(np.uint16), 0x7FFF).max().view(np.float16))
    return float(np.abs(clip).max())


def _is_constant(clip: NDArray[np.floating], padded: int) -> bool:
    """True if a clip, (samples,), is constant when zeros have padded it to `padded` samples."""
    same = (clip[:64] == clip[0]).all() and (clip == clip[0]).all()
    return bool(same and (clip[0] == 0 or len(clip) == padded))


def chunks_per_epoch(clips: Clips, batch_size: int, seq_len: int) -> int:
    """Minibatches in one epoch: the chunks of the longest clip of every full batch."""
    return int(_chunks_per_batch(clips, batch_size, seq_len).sum())


def _chunks_per_batch(clips: Clips, batch_size: int, seq_len: int) -> NDArray[np.integer]:
    """Chunks of each full batch, (batches,), in the order of the clips."""
    n = len(clips) // batch_size * batch_size
    return -(-lengths(clips)[:n].reshape(-1, batch_size).max(axis=1) // seq_len)


def minibatches(
    clips: Clips,
    batch_size: int,
    seq_len: int,
    context: int,
    q_levels: int,
    q_type: str = "linear",
    normalisation: str = "min-max",
    shard: slice = WHOLE_BATCH,
    first: int = 0,
) -> Iterator[Minibatch]:
    """One epoch of minibatches of levels, int32.

    Clips are grouped in order into batches, an incomplete last one is dropped, and the list of batches is
    shuffled by Python 2's shuffle with seed 123: the same order in every epoch (quirk). The clips of a batch
    are zero-padded to a multiple of `seq_len`, normalised one by one (padding included: quirk), quantised,
    and left-padded with `context` columns of q_levels // 2. Its chunks follow in order, each with the
    `context` columns before it.

    Ragged clips are padded to the longest of their batch, rounded up. The release has no feeder for them:
    this one follows what is known of that for Onomatopoeia. Their mask is 0 over the padding; that of clips
    of one length is 1 everywhere (quirk: over the padding too). At least one target counts in every chunk.

    `shard` selects rows of every minibatch, those of one of several processes; no other clip is read. The
    order, chunks and padding are those of the whole batch, so no target may count in a shard of a chunk.
    The epoch begins with its minibatch number `first`; the clips of batches before that are not read.
    """

    def levels(batch: NDArray[np.floating]) -> NDArray[np.integer]:
        return quantize(batch, q_levels, q_type, normalisation)

    return _epoch(clips, batch_size, seq_len, context, levels, np.int32, q_levels // 2, shard, first)


def real_minibatches(
    clips: Clips,
    batch_size: int,
    seq_len: int,
    context: int,
    mean: float,
    std: float,
    shard: slice = WHOLE_BATCH,
    first: int = 0,
) -> Iterator[Minibatch]:
    """One epoch of minibatches of real numbers (x - mean) / std, float32.

    The original's ``real_valued=True``; otherwise as `minibatches`. Quirk: clips are zero-padded first, so
    this padding becomes -mean / std, but the `context` columns of left padding are 0, which is the mean.
    """

    def standardise(batch: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.stack([((clip.astype(np.float64) - mean) / std).astype(np.float32) for clip in batch])

    return _epoch(clips, batch_size, seq_len, context, standardise, np.float32, 0.0, shard, first)


def feed(
    hp: HyperParameters, clips: Clips, shard: slice = WHOLE_BATCH, first: int = 0
) -> Iterator[Minibatch]:
    """The minibatches of an epoch from number `first` on, or a `shard` of each, for a model."""
    shape = hp.batch_size, hp.seq_len, hp.overlap
    if not isinstance(hp, RealValued):
        return minibatches(clips, *shape, hp.q_levels, hp.q_type, hp.normalisation, shard, first)
    if hp.mean is None or hp.std is None:
        raise HyperParameterError("--mean and --std are not known; give those of the training clips.")
    return real_minibatches(clips, *shape, hp.mean, hp.std, shard, first)


def _epoch(
    clips: Clips,
    batch_size: int,
    seq_len: int,
    context: int,
    encode: Callable[[NDArray[np.floating]], NDArray],
    dtype: type[np.generic],
    left_padding: float,
    shard: slice,
    first: int,
) -> Iterator[Minibatch]:
    """The minibatches from `first` on of zero-padded clips, encoded by `encode` and left-padded."""
    all_lengths = lengths(clips)

    def prepare(start: int) -> tuple[NDArray, NDArray[np.integer], np.integer]:
        longest = all_lengths[start : start + batch_size].max()
        own = range(start, start + batch_size)[shard]
        batch, ends = _padded(clips, own, -(-longest // seq_len) * seq_len)
        samples = np.full((len(own), context + batch.shape[1]), left_padding, dtype)
        try:
            samples[:, context:] = encode(batch)
        except DataError as error:
            raise DataError(f"In the clips {own[0]} to {own[-1]}: {error}") from error
        return samples, ends, longest

    chunks = _chunks_per_batch(clips, batch_size, seq_len)
    order = list(range(len(chunks)))
    shuffle.shuffle(order)
    done = np.cumsum(chunks[order])  # minibatches up to the end of each batch of clips
    n_left_out = int(np.searchsorted(done, first, side="right"))
    begin = (first - (done[n_left_out - 1] if n_left_out else 0)) * seq_len
    for samples, ends, longest in _prefetch(prepare, [batch * batch_size for batch in order[n_left_out:]]):
        # Up to the end of the longest clip: the mask of a chunk is never zero over all targets of a batch,
        # where the cost would be 0 / 0.
        for start in range(begin, longest, seq_len):
            last = start + context + seq_len
            sequences = np.ascontiguousarray(samples[:, start:last])
            mask = (np.arange(start, last) < context + ends[:, None]).astype(np.float32)
            yield Minibatch(sequences, np.asarray(start == 0, np.int32), mask)
        begin = 0


def _padded(clips: Clips, numbers: range, length: int) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """Zero-padded clips, (clips, length), and the samples of each that count, (clips,)."""
    check_unchanged(clips)
    read = [clips[i] for i in numbers]
    batch = np.zeros((len(read), length), read[0].dtype)
    for row, clip in zip(batch, read, strict=True):
        row[: len(clip)] = clip
    ends = np.array([len(clip) if isinstance(clips, Ragged) else length for clip in read])
    release(clips)  # the set may be larger than the memory
    return batch, ends


def _prefetch[Item, Result](work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """work(item) of every item in order; a thread computes the next one while one is in use.

    At most two results are in memory, if the caller keeps none.
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
    """The inputs of a graph: sequences, mask, reset."""
    return batch.sequences, batch.mask, batch.reset
