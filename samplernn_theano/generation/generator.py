"""Blocks of samples, one after the other, from a sampler and its random streams."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.errors import CheckpointError
from samplernn_theano.generation.random_streams import Streams

State = dict[str, NDArray]
"""What a block is generated from. "previous" (n_seqs, overlap): the samples before it. "reset" () int32: 1
where the sequences start with it. And the states of the model under their names (`models.graph.Sampler`)."""


@dataclass(frozen=True)
class Engine:
    """A generator of blocks.

    Attributes
    ----------
    length : int
        Samples of a block, a multiple of the overlap.
    noise : tuple of str
        What is drawn with: "uniforms", and "normals" in real-valued families.
    refresh : callable
        Read the parameters as they are now; else it is those of the moment at which the engine was made.
    start : callable
        The state before the first sample.
    run : callable
        From a state, noise (length, n_seqs) each and silent (length,) int32, the samples (n_seqs, length) of
        the next block and the state after it. The state that is given is left as it is.
    """

    n_seqs: int
    length: int
    noise: tuple[str, ...]
    refresh: Callable[[], None]
    start: Callable[[], State]
    run: Callable[[State, Mapping[str, NDArray], NDArray], tuple[NDArray, State]]


class Prime(NamedTuple):
    """What `read` made of a file."""

    samples: NDArray
    """(samples,): levels, of the smallest type that holds them; real-valued families: float32."""
    file_rate: int
    """Samples per second (Hz) in the file; if it is not `SAMPLE_RATE`, they were resampled."""
    too_short: bool
    """Whether it is shorter than what the model reads at once, which then hears silence before it."""


@dataclass(frozen=True)
class Generator:
    """A model made ready for a request."""

    hp: HyperParameters
    engine: Engine
    streams: Streams
    state: State  # before the first sample
    silent: range = range(0)
    primes: Sequence[Prime] = ()  # one per recording of the request


def blocks(generator: Generator, state: State, first: int = 0) -> Iterator[tuple[NDArray, State]]:
    """Blocks of samples (n_seqs, length) without end, each with the state after it.

    They are levels, or normalised numbers in a real-valued family. `first` is the position of the first one.

    Raises
    ------
    CheckpointError
        If a sample or a state is not finite.
    """
    engine = generator.engine
    for start in itertools.count(first, engine.length):
        times = np.arange(start, start + engine.length)
        silent = ((times >= generator.silent.start) & (times < generator.silent.stop)).astype(np.int32)
        noise = {name: generator.streams.draw(name, engine.length) for name in engine.noise}
        samples, state = engine.run(state, noise, silent)
        # A draw from what is no distribution gives -1.
        no_level = samples.dtype.kind == "i" and samples.min() < 0
        if no_level or not all(np.isfinite(values).all() for values in (samples, *state.values())):
            raise CheckpointError(
                "The model generates numbers that are not finite: its parameters are too large; use another "
                "checkpoint."
            )
        yield samples, state


def take(generator: Generator, n_samples: int) -> NDArray:
    """The first `n_samples` samples of every sequence, (n_seqs, n_samples)."""
    n_blocks = math.ceil(n_samples / generator.engine.length)
    parts = [samples for samples, _ in itertools.islice(blocks(generator, generator.state), n_blocks)]
    return np.concatenate(parts, axis=1)[:, :n_samples]
