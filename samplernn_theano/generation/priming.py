"""Priming: the state of a model after reading recordings that generation is to continue.

The recurrent tiers read them in truncated-BPTT chunks, as in training; the sample tier is not needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import HyperParameters, RealValued, WaveNet
from samplernn_theano.data import audio
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.generation.generator import State
from samplernn_theano.generation.request import Prime
from samplernn_theano.models import layers, wavenet
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.graph import Graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.utils.progress import counted, progress_bar

MAX_CHUNK = 1 << 14  # samples per sequence in a chunk
MAX_CHUNK_SIZE = 1 << 21  # samples x sequences x layer width in a chunk: arrays of about 8 MiB


def read(prime: Prime, hp: HyperParameters, log: Callable[[str], object] = lambda _: None) -> NDArray:
    """Samples of a prime, read as training clips are: normalised as a whole and quantised.

    Levels of the smallest type that holds them; for real-valued families (x - mean) / std in float32. Raises
    DataError if a part is not inside the recording, or shorter than the context of the model.
    """
    sound, path = audio.read(prime.path, hp.rate), prime.describe(prime.path)
    x = sound.samples
    if sound.file_rate != hp.rate:
        log(f"{prime.path}: {sound.file_rate:,} Hz resampled to {hp.rate:,} Hz")
    if prime.stop is not None:
        first, last = (round(seconds * hp.rate) for seconds in (prime.start, prime.stop))
        if last > len(x):
            raise DataError(f"There is no {path}: the recording ends at {len(x) / hp.rate:g} s.")
        if last - first < hp.overlap:
            raise DataError(
                f"{path} is too short: the context of the model is {hp.overlap} samples, "
                f"{hp.overlap / hp.rate:g} s; give a longer part."
            )
        x = x[first:last]
    if len(x) < hp.overlap:
        padded = "it is padded with silence on the left"
        log(f"{path} has {len(x)} samples, the context of the model is {hp.overlap}: {padded}")
    if isinstance(hp, RealValued):
        if hp.mean is None or hp.std is None:
            raise HyperParameterError(
                f"{path} cannot be normalised: mean and standard deviation of the training clips unknown; "
                "give --set mean=... and --set std=..., those of the clips."
            )
        return ((x.astype(np.float64) - hp.mean) / hp.std).astype(np.float32)
    if hp.normalisation == "min-max" and x.min() == x.max():
        raise DataError(
            f"{path} is constant (silence) and cannot be normalised as the model's training clips were; "
            "give another recording, or leave the prime out: generation then begins in silence."
        )
    levels = quantize(x[None], hp.q_levels, hp.q_type, hp.normalisation)[0]
    return levels.astype(np.min_scalar_type(hp.q_levels - 1))


def prime(
    params: Parameters,
    hp: HyperParameters,
    primes: Sequence[NDArray],
    n_seqs: int,
    backend: str | None = None,
    progress: bool = False,
) -> State:
    """Input state of a sampler whose sequence i has read the samples of primes[i % len(primes)].

    As in training, `overlap` samples of silence precede them, and a few more so that the last frame ends with
    the last sample. The queues of a wavenet start full of silence.
    """
    padded = [np.concatenate([np.full(hp.overlap, hp.silence), x[-hp.overlap :]]) for x in primes]
    previous = np.stack([x[-hp.overlap :].astype(layers.samples_dtype(params, hp)) for x in padded])
    sequences = np.arange(n_seqs) % len(primes)
    state = {"previous": previous[sequences], "reset": np.asarray(0, np.int32)}
    if isinstance(hp, WaveNet):
        state["time"] = np.asarray(0, np.int32)
        states, axis = _queues(params, hp, previous, backend, progress), 2
    else:
        states, axis = _recurrent_states(params, hp, primes, backend, progress), 0
    return state | {name: np.take(values, sequences, axis) for name, values in states.items()}


def _recurrent_states(
    params: Parameters, hp: HyperParameters, primes: Sequence[NDArray], backend: str | None, progress: bool
) -> State:
    """Carried states (n, R, state width) after each prime; those of the same length are read together."""
    steps = [-(-len(samples) // hp.overlap) for samples in primes]  # of the slowest tier
    found: State = {}

    @cache
    def compiled(length: int, n: int) -> tuple[Graph, Callable[..., list[Any]]]:
        size = {"n_frames": length} if hasattr(hp, "n_frames") else {"seq_len": length * hp.overlap}
        graph = build_graph(params, replace(hp, batch_size=n, **size))  # type: ignore[arg-type]
        inputs = [graph.sequences, graph.reset, *graph.states.values()]
        return graph, compile_function(inputs, list(graph.new_states.values()), backend=backend)

    seconds = sum(map(len, primes)) / hp.rate
    with progress_bar("prime", seconds, "s of sound", progress) as bar:
        for count in dict.fromkeys(steps):
            members = [i for i, own in enumerate(steps) if own == count]
            size = (len(members), (count + 1) * hp.overlap)
            samples = np.full(size, hp.silence, layers.samples_dtype(params, hp))
            for row, i in zip(samples, members, strict=True):
                row[len(row) - len(primes[i]) :] = primes[i]
            states: list[Any] = []
            for first, length in _chunks(count, len(members), hp, alone=len(set(steps)) == 1):
                graph, run = compiled(length, len(members))
                chunk = samples[:, first * hp.overlap : (first + length + 1) * hp.overlap]
                states = run(chunk, np.asarray(first == 0, np.int32), *(states or graph.zero_states()))
                bar.advance(length * hp.overlap * len(members) / hp.rate)
            for name, values in zip(graph.states, map(np.asarray, states), strict=True):
                new = np.empty((len(primes), *values.shape[1:]), values.dtype)
                found.setdefault(name, new)[members] = values
    return found


def _chunks(count: int, n: int, hp: HyperParameters, alone: bool) -> list[tuple[int, int]]:
    """First step and number of steps of each chunk over `count` steps: as few as possible, the rest first.

    Unless `alone`, the rest is read in chunks of 1/8, 1/64, ... of the full size, to compile few lengths.
    """
    size = max(1, min(MAX_CHUNK, MAX_CHUNK_SIZE // (n * hp.dim)) // hp.overlap)
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


def _queues(params: Parameters, hp: WaveNet, previous: NDArray, backend: str | None, progress: bool) -> State:
    """Queues (d, blocks, n, C) after samples (n, overlap), one sequence at a time."""
    samples = pt.tensor("samples", dtype="int32", shape=(1, hp.overlap))
    queues = wavenet.queues_after(params, hp, samples)
    run = compile_function([samples], list(queues.values()), backend=backend)
    results = [run(row[None]) for row in counted(previous, "prime", len(previous), "recordings", progress)]
    return {k: np.concatenate(q, axis=2) for k, q in zip(queues, zip(*results, strict=True), strict=True)}
