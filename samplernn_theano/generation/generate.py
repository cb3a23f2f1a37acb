"""Generation from a checkpoint: the Python function `generate`, and the generator of a request."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation import priming, samplers
from samplernn_theano.generation.amplitudes import amplitudes
from samplernn_theano.generation.generator import Generator, blocks
from samplernn_theano.generation.random_streams import NumpyStreams, RandomStreams, TheanoStreams
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def prepare_generator(model: LoadedModel, request: Request, progress: bool = False) -> Generator:
    """Compile the sampler of a request, and read its primes.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    DataError
        If a prime cannot be read.
    HyperParameterError
        If the model does not support the request.
    """
    hp, n_seqs = model.hp, request.n_seqs
    primes = [priming.read(path, hp) for path in request.primes]
    params = load.build(model).parameters
    sampler = samplers.create_sampler(params, hp, n_seqs, request.backend, request.temperature, request.top_p)
    streams: RandomStreams = NumpyStreams(request.seed, n_seqs)
    if request.like_original:
        streams = TheanoStreams(n_seqs)
        streams.skip(("uniforms",), (request.generation - 1) * request.draws)
    state = sampler.start()
    if primes:
        samples = [primes[i % len(primes)].samples for i in range(n_seqs)]
        state = priming.prime(params, hp, samples, request.backend, progress)
    return Generator(hp, sampler, streams, state, request.silent, primes)


def generate(
    checkpoint: str | Path | LoadedModel,
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
    """Generate sound block by block, in constant memory.

        for block in samplernn_theano.generate("runs/mine", seconds=10):
            ...

    Arguments are checked, and the model is loaded and compiled, before the first block is requested.

    Parameters
    ----------
    checkpoint : path or LoadedModel
        A checkpoint, parameters of the original, a run (its best checkpoint), or a result of `load.read`.
    seconds : float, optional
        Length of each sequence; default: endless.
    n_seqs, seed, temperature, top_p, primes, silent, backend
        As in `Request`. The blocks do not contain the primes.

    Returns
    -------
    iterator of (n_seqs, samples) float32
        Amplitudes in [-1, 1] at 16 kHz, as the model produces them; they may have an offset (see `waveform`).

    Raises
    ------
    SampleRNNError
        As `prepare_generator` and `load.read`; while iterating, `CheckpointError` as `generator.blocks`.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise HyperParameterError(f"seconds is {seconds}; give a positive number, or None: endless.")
    one = [primes] if isinstance(primes, str | Path) else primes
    request = Request(
        n_seqs=n_seqs,
        seed=seed,
        temperature=tuple(map(float, np.atleast_1d(temperature))),
        top_p=top_p,
        primes=tuple(map(Path, one)),
        silent=silent,
        backend=backend,
    )
    model = checkpoint if isinstance(checkpoint, LoadedModel) else load.read(checkpoint)
    n_samples = None if seconds is None else max(1, round(seconds * SAMPLE_RATE))
    return _amplitude_blocks(prepare_generator(model, request), n_samples)


def _amplitude_blocks(generator: Generator, n_samples: int | None) -> Iterator[NDArray[np.float32]]:
    left = math.inf if n_samples is None else n_samples
    for samples, _ in blocks(generator, generator.state):
        yield amplitudes(samples[:, : int(min(left, samples.shape[1]))], generator.hp)
        left -= samples.shape[1]
        if left <= 0:
            return
