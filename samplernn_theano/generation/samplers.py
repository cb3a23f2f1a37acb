"""Block samplers: compiled functions that draw the next block of samples of several sequences.

Families with recurrent tiers and a softmax have kernels for the CPU (`generation.kernels`); every family has
a graph of a block (`models.build.build_sampler`). Both compute the same and share the format of the state.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.backends import threads
from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import HyperParameters, OneTier, SampleRNN
from samplernn_theano.generation.generator import BlockSampler, State
from samplernn_theano.generation.kernels import FAMILIES
from samplernn_theano.models.build import build_sampler
from samplernn_theano.models.parameters import Parameters

GRAPH_BLOCK = 4000  # samples of a block of the graph, about
KERNEL_BLOCK, KERNEL_SAMPLES = 1600, 32000  # of the kernels, and of all sequences: a few seconds of work


def create_sampler(
    params: Parameters,
    hp: HyperParameters,
    n_seqs: int,
    backend: str | None = None,
    temperature: float | Sequence[float] = 1.0,
    top_p: float = 1.0,
) -> BlockSampler:
    """Create a block sampler for `n_seqs` sequences; `temperature` and `top_p` are as in a request.

    With a `backend` the graph of a block is compiled for it; else the kernels are used where the family has
    them, and where not the graph on the default backend.
    """
    temperatures = np.broadcast_to(np.asarray(temperature, np.float64), n_seqs)
    inverse_temperature = (1 / temperatures).astype(np.float32)
    if backend is None and isinstance(hp, FAMILIES):
        return _with_kernels(params, hp, inverse_temperature, top_p)
    return _with_graph(params, hp, inverse_temperature, top_p, backend)


def _with_graph(
    params: Parameters, hp: HyperParameters, inverse_temperature: NDArray, top_p: float, backend: str | None
) -> BlockSampler:
    n_seqs = len(inverse_temperature)
    graph = build_sampler(params, hp, n_seqs, GRAPH_BLOCK, top_p)
    function = compile_function(graph.inputs, [graph.samples, *graph.new_states.values()], backend=backend)
    (length,) = graph.silent.type.shape

    def start() -> State:
        previous = np.full((n_seqs, hp.overlap), hp.silence, graph.previous.dtype)
        states = dict(zip(graph.states, graph.zero_states(), strict=True))
        return {"previous": previous, "reset": np.asarray(1, np.int32)} | states

    def run(state: State, noise: Mapping[str, NDArray], silent: NDArray) -> tuple[NDArray, State]:
        drawn = [noise[name].astype(v.dtype, copy=False) for name, v in graph.noise.items()]
        states = [state[name] for name in graph.states]
        outputs = function(*drawn, silent, state["previous"], state["reset"], inverse_temperature, *states)
        samples, *states = (np.asarray(output) for output in outputs)
        return samples, _after(state, samples) | dict(zip(graph.states, states, strict=True))

    return BlockSampler(n_seqs, length, tuple(graph.noise), start, run)


def _after(state: State, samples: NDArray) -> State:
    """The family-independent part of the state after a block of samples."""
    overlap = state["previous"].shape[1]
    previous = np.concatenate([state["previous"], samples], axis=1)[:, -overlap:]
    return {"previous": previous, "reset": np.asarray(0, np.int32)}


def _with_kernels(
    params: Parameters, hp: SampleRNN | OneTier, inverse_temperature: NDArray, top_p: float
) -> BlockSampler:
    """Each thread generates a share of the sequences; threads do not wait for each other within a block."""
    from samplernn_theano.generation.kernels import sample_loop, weights  # they load Numba, which is slow

    n_seqs, overlap = len(inverse_temperature), hp.overlap
    samples = min(KERNEL_BLOCK, KERNEL_SAMPLES // n_seqs)
    length = max(1, samples // overlap) * overlap
    tiers = () if isinstance(hp, OneTier) else hp.tiers
    names = {f"{tier.name}.h0": tier.state for tier in tiers} or {"SampleLevel.h0": "h0"}
    rescaled = weights.rescaled_levels(hp)
    shares = np.array_split(np.arange(n_seqs), min(n_seqs, threads.available()))
    pool = ThreadPoolExecutor(len(shares))
    prepared: weights.Weights

    def start() -> State:
        nonlocal prepared
        arrays = params.arrays()
        prepared = weights.prepare(arrays, hp)
        learned = {state: arrays[name] for name, state in names.items()}  # (R, state width) each
        states = {name: np.repeat(h0[None], n_seqs, axis=0) for name, h0 in learned.items()}
        previous = np.full((n_seqs, overlap), hp.silence, np.int32)
        return {"previous": previous, "reset": np.asarray(0, np.int32)} | states

    def run(state: State, noise: Mapping[str, NDArray], silent: NDArray) -> tuple[NDArray, State]:
        history = np.empty((n_seqs, overlap + length), np.int32)
        history[:, :overlap] = state["previous"]
        states = [weights.widen_state(state[name], hp) for name in names.values()]  # (n, R, width)

        def generate_share(share: NDArray) -> None:
            own_states = [np.ascontiguousarray(s[share].transpose(1, 0, 2)) for s in states]
            own_history, uniforms = history[share], np.ascontiguousarray(noise["uniforms"][:, share])
            sample_loop.generate_block(
                prepared,
                sample_loop.allocate_buffers(prepared, len(share)),
                rescaled,
                own_history,
                tuple(own_states),
                uniforms,
                silent,
                hp.silence,
                inverse_temperature[share],
                np.float32(top_p),
            )
            history[share] = own_history
            for s, new in zip(states, own_states, strict=True):
                s[share] = new.transpose(1, 0, 2)

        list(pool.map(generate_share, shares))
        samples = history[:, overlap:]
        new_states = [weights.narrow_state(s, hp) for s in states]
        return samples, _after(state, samples) | dict(zip(names.values(), new_states, strict=True))

    return BlockSampler(n_seqs, length, ("uniforms",), start, run)
