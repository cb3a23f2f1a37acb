"""A model compiled for training and for evaluation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano import feeder, models, recurrent, updates
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
    form: recurrent.Form = "fast",
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


def carried_through(
    function: Callable[..., list[Any]], graph: Graph, hp: HyperParameters, clips: Clips
) -> Iterator[tuple[feeder.Minibatch, list[NDArray]]]:
    """Every minibatch of a split, and what a compiled `function` of `graph` says to it but for the states.

    These are its last outputs, zero at the start and carried from pass to pass.
    """
    states = graph.zero_states()
    for batch in feeder.feed(hp, clips):
        outputs = function(*batch_inputs(batch), *states)
        n_values = len(outputs) - len(states)
        states = outputs[n_values:]
        yield batch, [np.asarray(value) for value in outputs[:n_values]]


def evaluate(trainer: Trainer, clips: Clips) -> float:
    """The mean NLL in bits per sample over the minibatches of a split, as the original's monitor has it."""
    outputs = carried_through(trainer.evaluate, trainer.graph, trainer.hp, clips)
    return float(np.mean([cost for _, (cost,) in outputs]))
