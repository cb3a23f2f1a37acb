"""What makes the next block of samples: a model, for a number of sequences, ready to be called.

The families with recurrent tiers and a softmax have kernels written for the processor (`kernels`); every
family has a graph of a block (`models.sampler`), which any backend compiles, also for a GPU. Both compute the
same function, and go on from the same state.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.backends import threads
from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import HyperParameters, OneTier, SampleRNN
from samplernn_theano.generation.generator import Engine, State
from samplernn_theano.generation.kernels import FAMILIES
from samplernn_theano.models.build import build_sampler
from samplernn_theano.models.parameters import Parameters

GRAPH_BLOCK = 4000
"""Samples of a block of the graph, about: a quarter of a second."""

KERNEL_BLOCK, KERNEL_SAMPLES = 1600, 32000
"""Samples of a block of the kernels, about, and of all sequences in it: it is done within a few seconds."""


def create(
    params: Parameters,
    hp: HyperParameters,
    n_seqs: int,
    backend: str | None = None,
    temperature: float | Sequence[float] = 1.0,
    top_p: float = 1.0,
) -> Engine:
    """A generator for `n_seqs` sequences.

    Parameters
    ----------
    backend : str, optional
        Compile the graph of a block for it. Without: the kernels where the family has them, else the graph
        for the default backend.
    temperature : float or sequence of float
        Of all sequences, or of each. Logits are divided by it.
    top_p : float
        Where less than 1: only the most probable levels are drawn, those that have this probability together.

    Raises
    ------
    HyperParameterError
        If `top_p` is less than 1 and the samples are real numbers.
    """
    sharpness = (1 / np.broadcast_to(np.asarray(temperature, np.float64), n_seqs)).astype(np.float32)
    if backend is None and has_kernels(hp):
        assert isinstance(hp, FAMILIES)
        return _with_kernels(params, hp, sharpness, top_p)
    return _with_graph(params, hp, sharpness, top_p, backend)


def has_kernels(hp: HyperParameters) -> bool:
    """Whether the kernels can generate with such a model."""
    return isinstance(hp, FAMILIES)


# --- the graph ----------------------------------------------------------------------------------------------


def _with_graph(
    params: Parameters, hp: HyperParameters, sharpness: NDArray, top_p: float, backend: str | None
) -> Engine:
    n_seqs = len(sharpness)
    sampler = build_sampler(params, hp, n_seqs, GRAPH_BLOCK, top_p)
    function = compile_function(
        sampler.inputs, [sampler.samples, *sampler.new_states.values()], backend=backend
    )
    (length,) = sampler.silent.type.shape

    def start() -> State:
        previous = np.full((n_seqs, hp.overlap), hp.silence, sampler.previous.dtype)
        states = dict(zip(sampler.states, sampler.zero_states(), strict=True))
        return {"previous": previous, "reset": np.asarray(1, np.int32)} | states

    def run(state: State, noise: Mapping[str, NDArray], silent: NDArray) -> tuple[NDArray, State]:
        drawn = [noise[name].astype(v.dtype, copy=False) for name, v in sampler.noise.items()]
        states = [state[name] for name in sampler.states]
        outputs = function(*drawn, silent, state["previous"], state["reset"], sharpness, *states)
        samples, *states = (np.asarray(output) for output in outputs)
        return samples, _after(state, samples) | dict(zip(sampler.states, states, strict=True))

    def refresh() -> None:  # the graph reads them whenever it is called
        pass

    return Engine(n_seqs, length, tuple(sampler.noise), refresh, start, run)


def _after(state: State, samples: NDArray) -> State:
    """The part of the state that is the same in all families, after a block of samples."""
    overlap = state["previous"].shape[1]
    heard = np.concatenate([state["previous"], samples], axis=1)[:, -overlap:]
    return {"previous": heard, "reset": np.asarray(0, np.int32)}


# --- the kernels --------------------------------------------------------------------------------------------


def _with_kernels(params: Parameters, hp: SampleRNN | OneTier, sharpness: NDArray, top_p: float) -> Engine:
    """Every thread generates some of the sequences; none waits for another within a block."""
    from samplernn_theano.generation.kernels import (
        loop,
        weights,  # with them comes Numba, which is slow to load
    )

    n_seqs, overlap = len(sharpness), hp.overlap
    samples = min(KERNEL_BLOCK, KERNEL_SAMPLES // n_seqs)
    length = max(1, samples // overlap) * overlap
    names = (
        {"SampleLevel.h0": "h0"} if isinstance(hp, OneTier) else {f"{t.name}.h0": t.state for t in hp.tiers}
    )
    arrays = params.arrays()
    prepared = weights.prepare(arrays, hp)
    numbers = weights.numbers(hp)
    parts = np.array_split(np.arange(n_seqs), min(n_seqs, threads.allowed()))
    rooms = [loop.make_rooms(prepared, len(part)) for part in parts]
    pool = ThreadPoolExecutor(len(parts))

    def refresh() -> None:
        nonlocal arrays, prepared
        arrays = params.arrays()
        prepared = weights.prepare(arrays, hp)

    def start() -> State:
        learned = {state: arrays[name] for name, state in names.items()}  # (R, state width) each
        states = {name: np.repeat(h0[None], n_seqs, axis=0) for name, h0 in learned.items()}
        previous = np.full((n_seqs, overlap), hp.silence, np.int32)
        return {"previous": previous, "reset": np.asarray(0, np.int32)} | states

    def run(state: State, noise: Mapping[str, NDArray], silent: NDArray) -> tuple[NDArray, State]:
        history = np.empty((n_seqs, overlap + length), np.int32)
        history[:, :overlap] = state["previous"]
        states = [weights.widen_state(state[name], hp) for name in names.values()]  # (n, R, width)

        def some(part: NDArray, rooms: tuple[loop.Room, ...]) -> None:
            own = [np.ascontiguousarray(s[part].transpose(1, 0, 2)) for s in states]
            heard, uniforms = history[part], np.ascontiguousarray(noise["uniforms"][:, part])
            loop.generate(
                prepared,
                rooms,
                numbers,
                heard,
                tuple(own),
                uniforms,
                silent,
                hp.silence,
                sharpness[part],
                np.float32(top_p),
            )
            history[part] = heard
            for s, new in zip(states, own, strict=True):
                s[part] = new.transpose(1, 0, 2)

        list(pool.map(some, parts, rooms))
        samples = history[:, overlap:]
        new_states = [weights.narrow_state(s, hp) for s in states]
        return samples, _after(state, samples) | dict(zip(names.values(), new_states, strict=True))

    return Engine(n_seqs, length, ("uniforms",), refresh, start, run)
