"""A model compiled for training and for evaluation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano import feeder, models, ops, updates
from samplernn_theano.backend import compile_function
from samplernn_theano.clips import Clips
from samplernn_theano.hyperparameters import HyperParameters
from samplernn_theano.models.graph import Graph
from samplernn_theano.parameters import Parameters


@dataclass(frozen=True)
class Trainer:
    """A model compiled for training."""

    hp: HyperParameters
    graph: Graph
    adam: Mapping[str, Any]
    step: Callable[..., list[Any]]  # updates the parameters; returns the cost and the new states
    evaluate: Callable[..., list[Any]]  # the same without updating
    settings: Mapping[str, Any] = field(default_factory=dict)  # where it comes from, for its checkpoints


def compile_trainer(
    hp: HyperParameters,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: ops.Form = "fast",
    ip_weight: float = 0.0,
) -> Trainer:
    """Draw the initial parameters and compile the training step and the evaluation.

    `learning_rate` is the family's where it is None. `ip_weight` is that of the independent predictions'
    cost (three_tier) beside the cost proper; the original's loop leaves them out.
    """
    graph = models.graph(Parameters(seed), hp, form)
    cost, trainable = updates.objective(graph, "train", ip_weight)
    step_updates, adam = updates.adam(cost, trainable, learning_rate or hp.learning_rate)
    outputs = [graph.cost, *graph.new_states.values()]
    return Trainer(
        hp,
        graph,
        adam,
        step=compile_function(graph.inputs, outputs, step_updates, backend),
        evaluate=compile_function(graph.inputs, outputs, backend=backend),
    )


def batch_inputs(batch: feeder.Minibatch) -> tuple[NDArray, NDArray, NDArray]:
    """A minibatch in the order of a graph's inputs: sequences, mask, reset."""
    return batch.sequences, batch.mask, batch.reset


def evaluate(trainer: Trainer, clips: Clips) -> float:
    """The mean NLL in bits per sample over the minibatches of a split, states carried from pass to pass."""
    states, costs = trainer.graph.zero_states(), []
    for batch in feeder.feed(trainer.hp, clips):
        cost, *states = trainer.evaluate(*batch_inputs(batch), *states)
        costs.append(np.asarray(cost))
    return float(np.mean(costs))
