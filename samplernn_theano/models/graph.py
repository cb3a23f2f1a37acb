"""All that training, evaluation and generation need to know of a model."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends.all_reduce import all_sum
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.models.parameters import Parameters


@dataclass(frozen=True)
class Graph:
    """A model as symbolic expressions over one truncated-BPTT pass.

    B is the batch size, T the length of a pass, Q the number of levels. `states` and `new_states` have the
    same names, shapes and order: what is carried from one pass to the next.
    """

    parameters: Parameters
    sequences: Expression  # (B, overlap + T): levels 0..Q-1, int32; real-valued families: normalised floats
    mask: Expression  # (B, overlap + T), 1 where a sample counts
    reset: Expression  # () int32: 1 starts every sequence from the learned initial state
    states: dict[str, Expression]  # (B, R, state width)
    new_states: dict[str, Expression]
    total: Expression  # () NLL of all unmasked targets together, bits
    count: Expression  # () how many these are: the sum of their mask
    nll: Expression  # (B, steps): of each target (rnn_gmm: of each vector of targets), bits; 0 where masked
    logits: Expression  # (B, T, Q) before the softmax; real-valued families: (B, steps, numbers of a mixture)
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
        """What a compiled function of this graph is called with."""
        return [self.sequences, self.mask, self.reset, *self.states.values()]

    def zero_states(self) -> list[NDArray]:
        """Carried states to start with; the first pass of every batch of clips resets them anyway."""
        return _zeros(self.states)


@dataclass(frozen=True)
class Sampler:
    """A model as symbolic expressions over one block of generated samples for N sequences at once."""

    parameters: Parameters
    noise: dict[str, Expression]  # (block length, N) each: "uniforms" in [0, 1); real-valued also "normals"
    silent: Expression  # (block length,) int32: 1 where silence takes the place of what is drawn
    previous: Expression  # (N, overlap): the samples before the block, of the dtype of a pass
    reset: Expression  # () int32: 1 at the start of the sequences
    inverse_temperature: Expression  # (N,), of the parameters' dtype: 1 / temperature; see `output.draw`
    states: dict[str, Expression]
    new_states: dict[str, Expression]
    samples: Expression  # (N, block length), of the dtype of a pass

    @property
    def inputs(self) -> list[Expression]:
        """What a compiled function of this graph is called with."""
        shared = [self.silent, self.previous, self.reset, self.inverse_temperature]
        return [*self.noise.values(), *shared, *self.states.values()]

    def zero_states(self) -> list[NDArray]:
        """Carried states to start with; the first block resets them anyway."""
        return _zeros(self.states)


def _zeros(states: dict[str, Expression]) -> list[NDArray]:
    return [np.zeros(state.type.shape, state.dtype) for state in states.values()]


def over_devices(graph: Graph) -> Graph:
    """The graph of one device's part of the batch, its costs those of the whole batch."""
    if graph.ip_total is None:
        total, count = all_sum(graph.total, graph.count)
        return replace(graph, total=total, count=count)
    total, count, ip_total = all_sum(graph.total, graph.count, graph.ip_total)
    return replace(graph, total=total, count=count, ip_total=ip_total)


def with_rows(graph: Graph) -> list[Expression]:
    """What has a row for each sequence of the batch among a graph's inputs and outputs."""
    outputs = [graph.nll, graph.logits, *([] if graph.ip_logits is None else [graph.ip_logits])]
    return [graph.sequences, graph.mask, *graph.states.values(), *graph.new_states.values(), *outputs]


def zero_states(graph: Graph, hp: HyperParameters) -> list[NDArray]:
    """Carried states to start with, of the whole batch: (B, R, width) each."""
    return [np.zeros((hp.batch_size, *s.type.shape[1:]), s.dtype) for s in graph.states.values()]
