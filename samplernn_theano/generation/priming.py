"""Recordings to go on from: what a model carries after it has heard them.

The samples are given, so nothing is drawn: the recurrent tiers read them with their projections as large
products, as in training, and the sample tier is not needed at all.
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
"""The inputs of a `models.graph.Sampler` that say what was heard: previous, reset and its states."""

LONGEST_PASS = 1 << 14
"""Samples that are read at once at most."""

BUDGET = 1 << 21
"""Samples read at once, times sequences, times the width of a layer: each array then has 8 MiB or so."""

_BLOCK = 1 << 20  # samples to hold in float64 at a time


# --- recordings ---------------------------------------------------------------------------------------------


def read(path: str | Path, hp: HyperParameters) -> Prime:
    """Read a recording as the feeder reads a clip: normalised as a whole and quantised, or (x - mean) / std.

    Raises
    ------
    DataError
        If the file is missing, cannot be decoded, is empty, holds NaN, or is constant where the model's clips
        are normalised by their range.
    HyperParameterError
        If the model reads real numbers and `hp` does not say their mean and standard deviation.
    """
    sound = audio.read(path)
    x = sound.samples
    ends = np.array([x.min(), x.max()])
    if isinstance(hp, RealValued):
        if hp.mean is None or hp.std is None:
            raise HyperParameterError(
                f"{path} cannot be read as the model reads sound, for nothing says the mean and standard "
                "deviation of its training clips; give --set mean=... and --set std=..., those of the clips."
            )
        mean, std = hp.mean, hp.std
        samples = np.empty(x.shape, np.float32)

        def enter(block: NDArray) -> NDArray:
            return (block.astype(np.float64) - mean) / std

    else:
        if hp.normalisation == "min-max" and ends[0] == ends[1]:
            raise DataError(
                f"{path} is constant (silence) and cannot be normalised as the model's training clips were; "
                "give another recording, or leave the prime out: generation begins in silence."
            )
        Q, q_type, normalisation = hp.q_levels, hp.q_type, hp.normalisation
        samples = np.empty(x.shape, np.min_scalar_type(Q - 1))

        def enter(block: NDArray) -> NDArray:
            # With the extremes of the whole recording beside it, a block is normalised as the whole is.
            return quantize(np.concatenate([block, ends])[None], Q, q_type, normalisation)[0, :-2]

    for start in range(0, len(x), _BLOCK):
        samples[start : start + _BLOCK] = enter(x[start : start + _BLOCK])
    return Prime(samples, sound.file_rate, len(samples) < hp.overlap)


# --- what is carried ----------------------------------------------------------------------------------------


def prime(
    params: Parameters,
    hp: HyperParameters,
    primes: Sequence[NDArray],
    backend: str | None = None,
    progress: bool = False,
) -> State:
    """What a sampler goes on from, for sequences that have heard samples.

    Before its samples every sequence has heard silence, as in training: a recurrent model begins in its
    learned initial state and reads `overlap` samples of silence, and a few more where the frames of its tiers
    would not end with the last sample. A wavenet has heard silence for ever.

    Parameters
    ----------
    primes : sequence of arrays (samples,)
        Levels, or numbers of a real-valued family, for each sequence: of any lengths from 1. Equal ones are
        computed once.

    Returns
    -------
    dict of str to array
        Under the names of the sampler's inputs, with their shapes and dtypes for as many sequences: previous
        (n, overlap), reset () which is 0, and the states, of a wavenet: its queues and time, which is 0.

    Raises
    ------
    DataError
        If a prime has no samples, or samples that the model cannot have: levels out of range, or NaN.
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
    """Primes without repetition, and for each prime which of them it is."""
    contents = {id(p): p for p in primes}  # the same array may stand here hundreds of times
    keys = {
        own: (p.dtype.str, p.shape, hashlib.sha256(np.ascontiguousarray(p)).digest())
        for own, p in contents.items()
    }
    distinct = {keys[own]: p for own, p in contents.items()}
    places = {key: i for i, key in enumerate(distinct)}
    return list(distinct.values()), [places[keys[id(p)]] for p in primes]


def _last(samples: NDArray, hp: HyperParameters) -> NDArray:
    """The last `overlap` samples, silence before them where there are fewer."""
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
    """The carried states (n, R, state width) after each prime."""
    steps = [-(-len(samples) // hp.overlap) for samples in primes]  # of the slowest tier
    groups = {count: [i for i, own in enumerate(steps) if own == count] for count in steps}
    compiled: dict[tuple[int, int], _Pass] = {}
    found: dict[int, State] = {}
    total = sum(len(samples) for samples in primes) / SAMPLE_RATE
    with tqdm(total=total, desc="prime", unit=" s of sound", disable=not progress, **_BAR) as bar:
        for count, members in groups.items():
            states: list[Any] = []
            for first, length in _passes(count, len(members), hp, alone=len(groups) == 1):
                if (length, len(members)) not in compiled:
                    compiled[length, len(members)] = _compile_pass(params, hp, length, len(members), backend)
                one = compiled[length, len(members)]
                heard = np.stack(
                    [_section(primes[i], count, first, length, hp) for i in members], dtype=dtype
                )
                states = one.run(heard, np.asarray(first == 0, np.int32), *(states or one.zero_states))
                bar.update(length * hp.overlap * len(members) / SAMPLE_RATE)
            arrays = [np.asarray(state) for state in states]
            for row, i in enumerate(members):
                found[i] = {name: s[row] for name, s in zip(one.names, arrays, strict=True)}
    return {name: np.stack([found[i][name] for i in range(len(primes))]) for name in found[0]}


_BAR: dict[str, Any] = {
    "bar_format": "{desc}: {percentage:3.0f}% |{bar}| {n:.2f}/{total:.2f}{unit} [{elapsed}<{remaining}]"
}


class _Pass(NamedTuple):
    """The recurrent tiers compiled over a pass of a certain length, for a certain number of primes."""

    run: Callable[..., list[Any]]  # samples, reset, states -> new states
    names: list[str]
    zero_states: list[NDArray]


def _compile_pass(params: Parameters, hp: HyperParameters, length: int, n: int, backend: str | None) -> _Pass:
    """`length` is in steps of the slowest tier."""
    names = {own.name for own in fields(hp)}
    size = {"n_frames": length} if "n_frames" in names else {"seq_len": length * hp.overlap}
    graph = build_graph(params, replace(hp, batch_size=n, **size))  # type: ignore[arg-type]
    inputs = [graph.sequences, graph.reset, *graph.states.values()]
    run = compile_function(inputs, list(graph.new_states.values()), backend=backend)
    return _Pass(run, list(graph.states), graph.zero_states())


def _passes(count: int, n: int, hp: HyperParameters, alone: bool) -> list[tuple[int, int]]:
    """Where each pass over `count` steps begins and how many it takes.

    As few as can be, the remainder first. Where primes have other lengths too, the remainder is read in
    passes of 1/8, 1/64, ... of the longest: otherwise each length would need a compilation of its own.
    """
    samples = min(LONGEST_PASS, BUDGET // (n * hp.dim))
    longest = max(1, samples // hp.overlap)
    lengths = [longest] * (count // longest)
    rest = count % longest
    if alone and rest:
        lengths = [rest, *lengths]
    while not alone and rest:
        longest = max(1, longest // 8)
        lengths = [longest] * (rest // longest) + lengths
        rest %= longest
    starts = np.cumsum([0, *lengths]).tolist()
    return list(zip(starts[:-1], lengths, strict=True))


def _section(samples: NDArray, count: int, first: int, length: int, hp: HyperParameters) -> NDArray:
    """What `length` steps from step `first` on read: (overlap + length · overlap,).

    In front of a prime of `count` steps stand `overlap` samples of silence and what its first frame lacks.
    """
    silence = hp.overlap + count * hp.overlap - len(samples)
    start, stop = first * hp.overlap - silence, (first + length + 1) * hp.overlap - silence
    front = np.full(max(0, -start), hp.silence)
    return np.concatenate([front, samples[max(0, start) : stop]])


# --- wavenet ------------------------------------------------------------------------------------------------


def _queues(params: Parameters, hp: WaveNet, previous: NDArray, backend: str | None, progress: bool) -> State:
    """The queues (d, blocks, n, C) after samples (n, overlap), some sequences at a time."""
    n = len(previous)
    size = min(n, max(1, BUDGET // (hp.overlap * hp.dim)))
    samples = pt.tensor("samples", dtype="int32", shape=(size, hp.overlap))
    queues = wavenet.queues_after(params, hp, samples)
    run = compile_function([samples], list(queues.values()), backend=backend)
    results = []
    for start in tqdm(range(0, n, size), "prime", unit=" passes", disable=not progress):
        rows = np.minimum(np.arange(start, start + size), n - 1)  # the last one again, to fill a pass
        results.append([np.asarray(queue) for queue in run(previous[rows])])
    joined = (np.concatenate(queue, axis=2)[:, :, :n] for queue in zip(*results, strict=True))
    return dict(zip(queues, joined, strict=True))
