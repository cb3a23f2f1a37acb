"""Run a compiled function over minibatches, such as those of a split, with carried states."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import Clips
from samplernn_theano.data.minibatches import WHOLE_BATCH, Minibatch, batch_inputs
from samplernn_theano.models.graph import Graph, zero_states


def run_over(
    function: Callable[..., list[Any]], graph: Graph, hp: HyperParameters, batches: Iterable[Minibatch]
) -> Iterator[tuple[Minibatch, list[NDArray]]]:
    """Run a compiled function of `graph` on minibatches; yield each, and the outputs except the states.

    The last outputs are the states, zero at first and carried from minibatch to minibatch.
    """
    states = zero_states(graph, hp)
    for batch in batches:
        outputs = function(*batch_inputs(batch), *states)
        n_values = len(outputs) - len(states)
        states = outputs[n_values:]
        yield batch, [np.asarray(value) for value in outputs[:n_values]]


def mean_cost(
    function: Callable[..., list[Any]],
    graph: Graph,
    hp: HyperParameters,
    clips: Clips,
    rows: slice = WHOLE_BATCH,
    report: Callable[[int], Any] = lambda done: None,
) -> float:
    """Mean NLL, bits per sample, over the minibatches of a split, as the original's monitor computes it.

    `function` returns cost and new states; `rows` is this process's shard of every minibatch; `report` is
    called with the number of minibatches that are done.
    """
    costs = []
    for _, (cost,) in run_over(function, graph, hp, minibatches.feed(hp, clips, rows)):
        costs.append(cost)
        report(len(costs))
    return float(np.mean(costs))
