"""Consecutive blocks of samples, from a block sampler and its random streams."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.errors import CheckpointError
from samplernn_theano.generation.random_streams import RandomStreams

State = dict[str, NDArray]
"""Input state of a block: "previous" (n_seqs, overlap), the samples before it; "reset" () int32, 1 at the
start of the sequences; and the states of the model under their names in `models.graph.Sampler`."""


@dataclass(frozen=True)
class BlockSampler:
    """A compiled function that draws a block of samples for several sequences.

    `run` takes a state, noise (length, n_seqs) of each kind and silent (length,) int32; it returns samples
    (n_seqs, length) and the state after them, and does not modify the given state.
    """

    n_seqs: int
    length: int  # samples of a block, a multiple of the overlap
    noise: tuple[str, ...]  # the random numbers it needs: "uniforms", and "normals" if real-valued
    start: Callable[[], State]  # reads the parameters; returns the state before the first sample
    run: Callable[[State, Mapping[str, NDArray], NDArray], tuple[NDArray, State]]


@dataclass(frozen=True)
class Generator:
    """A model ready to generate for a request."""

    hp: HyperParameters
    sampler: BlockSampler
    streams: RandomStreams
    state: State  # before the first sample
    silent: range = range(0)
    primes: Sequence[NDArray] = ()  # samples of each recording of the request


def blocks(generator: Generator, state: State, first: int = 0) -> Iterator[tuple[NDArray, State]]:
    """Endless blocks of samples (n_seqs, length) from position `first`, each with the state after it.

    Samples are levels, or normalised numbers in a real-valued family.
    """
    sampler = generator.sampler
    for start in itertools.count(first, sampler.length):
        silent = np.array([t in generator.silent for t in range(start, start + sampler.length)], np.int32)
        noise = {name: generator.streams.draw(name, sampler.length) for name in sampler.noise}
        samples, state = sampler.run(state, noise, silent)
        # A draw from NaN logits is -1.
        no_level = samples.dtype.kind == "i" and samples.min() < 0
        if no_level or not all(np.isfinite(values).all() for values in (samples, *state.values())):
            raise CheckpointError(
                "The model generates numbers that are not finite: its parameters are too large; use another "
                "checkpoint."
            )
        yield samples, state


def take(generator: Generator, n_samples: int) -> NDArray:
    """First `n_samples` samples of every sequence, (n_seqs, n_samples)."""
    n_blocks = math.ceil(n_samples / generator.sampler.length)
    parts = [samples for samples, _ in itertools.islice(blocks(generator, generator.state), n_blocks)]
    return np.concatenate(parts, axis=1)[:, :n_samples]
