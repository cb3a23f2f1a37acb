"""Generation from a checkpoint: the generator of a request, and the Python function `generate`."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation import priming, samplers
from samplernn_theano.generation.amplitudes import amplitudes
from samplernn_theano.generation.generator import Generator, blocks
from samplernn_theano.generation.random_streams import NumpyStreams, TheanoStreams
from samplernn_theano.generation.request import Prime, Request


def prepare_generator(
    model: LoadedModel,
    request: Request,
    progress: bool = False,
    log: Callable[[str], object] = lambda _: None,
) -> Generator:
    """Compile the sampler of a request, and read its primes."""
    hp, n_seqs = model.hp, request.n_seqs
    primes = [priming.read(prime, hp, log) for prime in request.primes]
    params = load.build(model).parameters
    sampler = samplers.create_sampler(params, hp, n_seqs, request.backend, request.temperature, request.top_p)
    streams = TheanoStreams(n_seqs) if request.like_original else NumpyStreams(request.seed, n_seqs)
    state = sampler.start()
    if primes:
        state = priming.prime(params, hp, primes, n_seqs, request.backend, progress)
    return Generator(hp, sampler, streams, state, request.silent, primes)


def generate(
    model: str | Path | LoadedModel,
    seconds: float | None = None,
    n_seqs: int = 1,
    *,
    seed: int = 0,
    temperature: float | Sequence[float] = 1.0,
    top_p: float = 1.0,
    primes: str | Path | Sequence[str | Path] = (),
    silent: range = range(0),
    backend: str | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Generate sound block by block, in constant memory; endless unless `seconds` are given.

    All arguments are checked, and the model is loaded and compiled, before the first block is requested.

    Parameters
    ----------
    model : path or LoadedModel
        A checkpoint (.npz, .safetensors), the original's parameters (.pkl), a run, pretrained/NAME, or what
        `load` returned.
    seconds : float, optional
        Length of each sequence.
    seed : int
        Sequence i depends on it and on i alone.
    temperature : float or sequence of float
        One for all sequences, or one for each.
    top_p : float
        Below 1: draw from the most probable levels alone, those that have this probability together.
    primes : str, path or sequence of them
        Recordings to continue, or parts of them: FILE:FROM:TO in seconds. They are not part of the blocks.
    silent : range
        Samples that are silence.

    Returns
    -------
    iterator of (n_seqs, samples) float32
        Amplitudes in [-1, 1] at the rate of the model, 16 kHz, as it produces them; they may have an offset
        (see `waveform`).
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise HyperParameterError(f"seconds is {seconds}; give a positive number, or None: endless.")
    recordings = tuple(map(Prime.parse, [primes] if isinstance(primes, str | Path) else primes))
    temperatures = tuple(map(float, np.atleast_1d(temperature)))
    request = Request(n_seqs, seed, temperatures, top_p, recordings, silent, backend=backend)
    loaded = model if isinstance(model, LoadedModel) else load.read(model)
    left = math.inf if seconds is None else max(1, round(seconds * loaded.hp.rate))
    return _amplitude_blocks(prepare_generator(loaded, request), left)


def _amplitude_blocks(generator: Generator, left: float) -> Iterator[NDArray[np.float32]]:
    for samples, _ in blocks(generator, generator.state):
        yield amplitudes(samples[:, : int(min(left, samples.shape[1]))], generator.hp)
        left -= samples.shape[1]
        if left <= 0:
            return
