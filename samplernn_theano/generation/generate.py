"""A checkpoint to sound: what is asked for, the blocks of samples, the level at which they are written."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import Saved
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation import priming, samplers
from samplernn_theano.generation.amplitudes import amplitudes
from samplernn_theano.generation.generator import Generator, blocks
from samplernn_theano.generation.random_streams import OriginalStreams, OwnStreams, Streams
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def prepare(model: Saved, request: Request, progress: bool = False) -> Generator:
    """Build and compile what a request needs, and read its primes through the model.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    DataError
        If a prime cannot be read.
    HyperParameterError
        If the model cannot do what is asked for.
    """
    hp, n_seqs = model.hp, request.n_seqs
    primes = [priming.read(path, hp) for path in request.primes]
    params = load.build(model).parameters
    engine = samplers.create(params, hp, n_seqs, request.backend, request.temperature, request.top_p)
    streams: Streams = OwnStreams(request.seed, n_seqs)
    if request.like_original:
        streams = OriginalStreams(n_seqs)
        streams.skip(("uniforms",), (request.generation - 1) * request.draws)
    state = engine.start()
    if primes:
        heard = [primes[i % len(primes)].samples for i in range(n_seqs)]
        state = priming.prime(params, hp, heard, request.backend, progress)
    return Generator(hp, engine, streams, state, request.silent, primes)


def generate(
    checkpoint: str | Path | Saved,
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

    Parameters
    ----------
    checkpoint : path or Saved
        A checkpoint, parameters of the original, or a run (its best one); or what `saved.read` returned.
    seconds : float, optional
        How much of each sequence; without: no end.
    n_seqs, seed, temperature, top_p, primes, silent, backend
        As in `Request`. What a prime holds is not part of the blocks.

    Yields
    ------
    (n_seqs, samples) float32
        Amplitudes as the model has them, in [-1, 1], at 16 kHz; some may have an offset (see `waveform`).

    Raises
    ------
    SampleRNNError
        As `prepare` and `saved.read`, at the first block.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise HyperParameterError(f"seconds is {seconds}; it must be a positive number, or None: no end.")
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
    model = checkpoint if isinstance(checkpoint, Saved) else load.read(checkpoint)
    generator = prepare(model, request)
    left = math.inf if seconds is None else max(1, round(seconds * SAMPLE_RATE))
    for samples, _ in blocks(generator, generator.state):
        yield amplitudes(samples[:, : int(min(left, samples.shape[1]))], model.hp)
        left -= samples.shape[1]
        if left <= 0:
            return
