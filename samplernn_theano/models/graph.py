"""The interface of a model: its graph for training and evaluation, its sampler for generation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends.all_reduce import all_reduce
from samplernn_theano.config.hyperparameters import Common
from samplernn_theano.models.parameters import Parameters

Form = Literal["fast", "reference"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Two graphs of one function: rewritten by `samplernn_theano.models.build.fused`, or as a model writes it."""

type States = dict[str, Expression]

type Draw = Callable[[Expression, int], Expression]
"""Draws from the prediction of sample t of a step, (N, width): (N,)."""


@dataclass(frozen=True)
class Graph:
    """A model as symbolic expressions over one truncated-BPTT chunk.

    B is the batch size, T the length of a chunk, Q the number of levels. `states` and `new_states`, which are
    carried from chunk to chunk, have the same names, shapes and order.
    """

    parameters: Parameters
    sequences: Expression  # (B, overlap + T): levels 0..Q-1, int32; real-valued families: normalised floats
    mask: Expression  # (B, overlap + T), 1 where a sample counts
    reset: Expression  # () int32: 1 starts every sequence from the learned initial state
    states: dict[str, Expression]  # (B, R, state width)
    new_states: dict[str, Expression]
    total: Expression  # () NLL of all unmasked targets together, bits
    count: Expression  # () number of unmasked targets
    nll: Expression  # (B, T): of each target, bits; 0 where masked
    logits: Expression  # (B, T, Q) before the softmax; real-valued: (B, T, parameters of a mixture)
    ip_total: Expression | None = None  # () bits: the same of three_tier's independent predictions
    ip_logits: Expression | None = None  # (B, T, Q)

    @cached_property
    def cost(self) -> Expression:
        """() mean NLL of the unmasked targets, bits per sample; NaN where the mask is all zero (quirk)."""
        return self.total / self.count

    @cached_property
    def ip_cost(self) -> Expression | None:
        """() bits per sample: the same of three_tier's independent predictions."""
        return None if self.ip_total is None else self.ip_total / self.count

    @property
    def inputs(self) -> list[Expression]:
        """Arguments of a compiled function of this graph."""
        return [self.sequences, self.mask, self.reset, *self.states.values()]

    def zero_states(self) -> list[NDArray]:
        """Initial carried states; the first chunk of every batch of clips resets them."""
        return _zeros(self.states)


class GenerationStep(NamedTuple):
    """One step of a model as a generator of N sequences, for `samplernn_theano.models.sample_block`."""

    size: int  # samples per step
    run: Callable[[Expression, States, Draw], tuple[Expression, States]]
    """From the `size` samples before the step, (N, size), and the states: its samples, and the new states."""
    states: States  # inputs for the carried states
    start: Callable[[Expression], States]
    """From `reset`, () int32: the states before the first step of a block."""


@dataclass(frozen=True)
class Sampler:
    """A model as symbolic expressions over one block of generated samples for N sequences at once."""

    parameters: Parameters
    noise: dict[str, Expression]  # (block length, N) each: "uniforms" in [0, 1); real-valued also "normals"
    silent: Expression  # (block length,) int32: 1 where silence replaces the drawn sample
    previous: Expression  # (N, overlap): the samples before the block, of the dtype of `Graph.sequences`
    reset: Expression  # () int32: 1 at the start of the sequences
    inverse_temperature: Expression  # (N,): 1 / temperature; see `distributions.draw`
    states: dict[str, Expression]
    new_states: dict[str, Expression]
    samples: Expression  # (N, block length), of the dtype of `previous`

    @property
    def inputs(self) -> list[Expression]:
        """Arguments of a compiled function of this graph."""
        shared = [self.silent, self.previous, self.reset, self.inverse_temperature]
        return [*self.noise.values(), *shared, *self.states.values()]

    def zero_states(self) -> list[NDArray]:
        """Initial carried states; the first block resets them."""
        return _zeros(self.states)


def _zeros(states: dict[str, Expression]) -> list[NDArray]:
    return [np.zeros(state.type.shape, state.dtype) for state in states.values()]


def over_devices(graph: Graph) -> Graph:
    """The graph of one device's shard of the batch, with the costs of the whole batch."""
    if graph.ip_total is None:
        total, count = all_reduce(graph.total, graph.count)
        return replace(graph, total=total, count=count)
    total, count, ip_total = all_reduce(graph.total, graph.count, graph.ip_total)
    return replace(graph, total=total, count=count, ip_total=ip_total)


def batch_variables(graph: Graph) -> list[Expression]:
    """Inputs and outputs of a graph whose first axis is the batch."""
    outputs = [graph.nll, graph.logits, *([] if graph.ip_logits is None else [graph.ip_logits])]
    return [graph.sequences, graph.mask, *graph.states.values(), *graph.new_states.values(), *outputs]


def zero_states(graph: Graph, hp: Common) -> list[NDArray]:
    """Initial carried states of the whole batch: (B, R, width) each."""
    return [np.zeros((hp.batch_size, *s.type.shape[1:]), s.dtype) for s in graph.states.values()]
