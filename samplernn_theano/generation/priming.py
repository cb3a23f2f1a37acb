"""Priming: the state of a model after reading recordings that generation is to continue.

The samples are given, so nothing is drawn: the recurrent tiers read them in truncated-BPTT chunks, as in
training, and the sample tier is not needed.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import HyperParameters, RealValued, WaveNet
from samplernn_theano.data import audio
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.generation.generator import Prime
from samplernn_theano.models import layers, wavenet
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

State = dict[str, NDArray]
"""State inputs of a `models.graph.Sampler`: previous, reset and its states."""

MAX_CHUNK = 1 << 14
"""Maximum samples per sequence in a chunk."""

MAX_CHUNK_SIZE = 1 << 21
"""Maximum of samples x sequences x layer width in a chunk: arrays of about 8 MiB."""

_NORMALISED_BLOCK = 1 << 20  # samples held in float64 at a time


# --- recordings ---------------------------------------------------------------------------------------------


def read(path: str | Path, hp: HyperParameters) -> Prime:
    """Read a recording as training clips are: normalised as a whole and quantised, or (x - mean) / std.

    Raises
    ------
    DataError
        If the file is missing, cannot be decoded, is empty, holds NaN, or is constant where the model's clips
        are normalised by their range.
    HyperParameterError
        If the model reads real numbers and `hp` lacks their mean and standard deviation.
    """
    sound = audio.read(path)
    x = sound.samples
    ends = np.array([x.min(), x.max()])
    if isinstance(hp, RealValued):
        if hp.mean is None or hp.std is None:
            raise HyperParameterError(
                f"{path} cannot be normalised: mean and standard deviation of the training clips unknown; "
                "give --set mean=... and --set std=..., those of the clips."
            )
        mean, std = hp.mean, hp.std
        samples = np.empty(x.shape, np.float32)

        def convert(block: NDArray) -> NDArray:
            return (block.astype(np.float64) - mean) / std

    else:
        if hp.normalisation == "min-max" and ends[0] == ends[1]:
            raise DataError(
                f"{path} is constant (silence) and cannot be normalised as the model's training clips were; "
                "give another recording, or leave the prime out: generation then begins in silence."
            )
        Q, q_type, normalisation = hp.q_levels, hp.q_type, hp.normalisation
        samples = np.empty(x.shape, np.min_scalar_type(Q - 1))

        def convert(block: NDArray) -> NDArray:
            # With the extremes of the recording appended, a block is normalised as the whole.
            return quantize(np.concatenate([block, ends])[None], Q, q_type, normalisation)[0, :-2]

    for start in range(0, len(x), _NORMALISED_BLOCK):
        samples[start : start + _NORMALISED_BLOCK] = convert(x[start : start + _NORMALISED_BLOCK])
    return Prime(samples, sound.file_rate, len(samples) < hp.overlap)


# --- state after a prime ------------------------------------------------------------------------------------


def prime(
    params: Parameters,
    hp: HyperParameters,
    primes: Sequence[NDArray],
    backend: str | None = None,
    progress: bool = False,
) -> State:
    """State of a sampler after its sequences have read the samples of `primes`.

    As in training, silence precedes them: a recurrent model starts from its learned initial state and reads
    `overlap` samples of silence, and a few more so that the last frame ends with the last sample. The queues
    of a wavenet start full of silence.

    Parameters
    ----------
    primes : sequence of arrays (samples,)
        Levels, or normalised numbers of a real-valued family, for each sequence: one or more, of any lengths.
        Equal primes are computed once.

    Returns
    -------
    dict of str to array
        The state inputs of the sampler by name: previous (n, overlap), reset () = 0, and the states; for a
        wavenet, queues and time () = 0.

    Raises
    ------
    DataError
        If a prime has no samples, levels out of range, or NaN.
    """
    for i, samples in enumerate(primes):
        _check(samples, i, hp)
    distinct, which = _distinct(primes)
    dtype = layers.samples_dtype(params, hp)
    previous = np.stack([_last(samples, hp).astype(dtype) for samples in distinct])
    if isinstance(hp, WaveNet):
        states = _queues(params, hp, previous, backend, progress)
        axis = 2
    else:
        states = _recurrent_states(params, hp, distinct, dtype, backend, progress)
        axis = 0
    states = {name: np.ascontiguousarray(np.take(s, which, axis)) for name, s in states.items()}
    time = {"time": np.asarray(0, np.int32)} if isinstance(hp, WaveNet) else {}
    return {"previous": previous[which], "reset": np.asarray(0, np.int32)} | time | states


def _check(samples: NDArray, i: int, hp: HyperParameters) -> None:
    if samples.ndim != 1 or len(samples) == 0:
        raise DataError(
            f"Prime {i} has the shape {samples.shape}; give one sample or more, in one dimension."
        )
    low, high = samples.min(), samples.max()
    if isinstance(hp, RealValued):
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(f"Prime {i} holds NaN or infinite samples; remove or repair it.")
    elif samples.dtype.kind not in "iu" or low < 0 or high >= hp.q_levels:
        raise DataError(
            f"Prime {i} holds {samples.dtype} numbers from {low} to {high}; give the levels 0 to "
            f"{hp.q_levels - 1} as integers."
        )


def _distinct(primes: Sequence[NDArray]) -> tuple[list[NDArray], list[int]]:
    """Distinct primes, and the index of each prime among them."""
    contents = {id(p): p for p in primes}  # the same array may occur hundreds of times
    keys = {
        own: (p.dtype.str, p.shape, hashlib.sha256(np.ascontiguousarray(p)).digest())
        for own, p in contents.items()
    }
    distinct = {keys[own]: p for own, p in contents.items()}
    indices = {key: i for i, key in enumerate(distinct)}
    return list(distinct.values()), [indices[keys[id(p)]] for p in primes]


def _last(samples: NDArray, hp: HyperParameters) -> NDArray:
    """The last `overlap` samples, padded with silence on the left."""
    silence = np.full(max(0, hp.overlap - len(samples)), hp.silence)
    return np.concatenate([silence, samples[-hp.overlap :]])


# --- recurrent models ---------------------------------------------------------------------------------------


def _recurrent_states(
    params: Parameters,
    hp: HyperParameters,
    primes: Sequence[NDArray],
    dtype: str,
    backend: str | None,
    progress: bool,
) -> State:
    """Carried states (n, R, state width) after each prime."""
    steps = [-(-len(samples) // hp.overlap) for samples in primes]  # of the slowest tier
    groups = {count: [i for i, own in enumerate(steps) if own == count] for count in steps}
    compiled: dict[tuple[int, int], _Chunk] = {}
    found: dict[int, State] = {}
    total = sum(len(samples) for samples in primes) / SAMPLE_RATE
    with tqdm(total=total, desc="prime", unit=" s of sound", disable=not progress, **_BAR) as bar:
        for count, members in groups.items():
            states: list[Any] = []
            for first, length in _chunks(count, len(members), hp, alone=len(groups) == 1):
                if (length, len(members)) not in compiled:
                    compiled[length, len(members)] = _compile_chunk(params, hp, length, len(members), backend)
                one = compiled[length, len(members)]
                samples = np.stack(
                    [_chunk_input(primes[i], count, first, length, hp) for i in members], dtype=dtype
                )
                states = one.run(samples, np.asarray(first == 0, np.int32), *(states or one.zero_states))
                bar.update(length * hp.overlap * len(members) / SAMPLE_RATE)
            arrays = [np.asarray(state) for state in states]
            for row, i in enumerate(members):
                found[i] = {name: s[row] for name, s in zip(one.names, arrays, strict=True)}
    return {name: np.stack([found[i][name] for i in range(len(primes))]) for name in found[0]}


_BAR: dict[str, Any] = {
    "bar_format": "{desc}: {percentage:3.0f}% |{bar}| {n:.2f}/{total:.2f}{unit} [{elapsed}<{remaining}]"
}


class _Chunk(NamedTuple):
    """Recurrent tiers compiled for a chunk of a given length and a given number of primes."""

    run: Callable[..., list[Any]]  # samples, reset, states -> new states
    names: list[str]
    zero_states: list[NDArray]


def _compile_chunk(
    params: Parameters, hp: HyperParameters, length: int, n: int, backend: str | None
) -> _Chunk:
    """Compile a chunk of `length` steps of the slowest tier, for n primes."""
    names = {own.name for own in fields(hp)}
    size = {"n_frames": length} if "n_frames" in names else {"seq_len": length * hp.overlap}
    graph = build_graph(params, replace(hp, batch_size=n, **size))  # type: ignore[arg-type]
    inputs = [graph.sequences, graph.reset, *graph.states.values()]
    run = compile_function(inputs, list(graph.new_states.values()), backend=backend)
    return _Chunk(run, list(graph.states), graph.zero_states())


def _chunks(count: int, n: int, hp: HyperParameters, alone: bool) -> list[tuple[int, int]]:
    """First step and number of steps of each chunk over `count` steps.

    As few as possible, the remainder first. Unless `alone`, the remainder is read in chunks of 1/8, 1/64, ...
    of the full size: otherwise each length of a prime would need its own compilation.
    """
    samples = min(MAX_CHUNK, MAX_CHUNK_SIZE // (n * hp.dim))
    size = max(1, samples // hp.overlap)
    lengths = [size] * (count // size)
    rest = count % size
    if alone and rest:
        lengths = [rest, *lengths]
    while not alone and rest:
        size = max(1, size // 8)
        lengths = [size] * (rest // size) + lengths
        rest %= size
    starts = np.cumsum([0, *lengths]).tolist()
    return list(zip(starts[:-1], lengths, strict=True))


def _chunk_input(samples: NDArray, count: int, first: int, length: int, hp: HyperParameters) -> NDArray:
    """Input of `length` steps from step `first`: (overlap + length · overlap,).

    A prime of `count` steps is padded on the left with `overlap` samples of silence and what its first frame
    lacks.
    """
    silence = hp.overlap + count * hp.overlap - len(samples)
    start, stop = first * hp.overlap - silence, (first + length + 1) * hp.overlap - silence
    padding = np.full(max(0, -start), hp.silence)
    return np.concatenate([padding, samples[max(0, start) : stop]])


# --- wavenet ------------------------------------------------------------------------------------------------


def _queues(params: Parameters, hp: WaveNet, previous: NDArray, backend: str | None, progress: bool) -> State:
    """Queues (d, blocks, n, C) after samples (n, overlap), some sequences at a time."""
    n = len(previous)
    size = min(n, max(1, MAX_CHUNK_SIZE // (hp.overlap * hp.dim)))
    samples = pt.tensor("samples", dtype="int32", shape=(size, hp.overlap))
    queues = wavenet.queues_after(params, hp, samples)
    run = compile_function([samples], list(queues.values()), backend=backend)
    results = []
    for start in tqdm(range(0, n, size), "prime", unit=" chunks", disable=not progress):
        rows = np.minimum(np.arange(start, start + size), n - 1)  # the last one repeated, to fill a chunk
        results.append([np.asarray(queue) for queue in run(previous[rows])])
    joined = (np.concatenate(queue, axis=2)[:, :, :n] for queue in zip(*results, strict=True))
    return dict(zip(queues, joined, strict=True))
