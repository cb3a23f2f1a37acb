"""A model compiled for training and for evaluation."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import SharedVariable

from samplernn_theano import allocator, allsum, distributed, feeder, models, recurrent, updates
from samplernn_theano.backend import (
    check_backend,
    check_devices,
    check_precision,
    compile_function,
    default_backend,
)
from samplernn_theano.clips import Clips
from samplernn_theano.hyperparameters import HyperParameters
from samplernn_theano.models.graph import Graph
from samplernn_theano.parameters import Parameters

type Compiled = Callable[..., list[Any]]


@dataclass(frozen=True)
class Trainer:
    """A model compiled for training.

    With several devices `graph` is that of one device's part of the batch; `step` and `evaluate` take and
    return whole batches.
    """

    hp: HyperParameters
    graph: Graph
    adam: Mapping[str, Any]
    step: Compiled  # updates the parameters; returns the cost and the new states
    evaluate: Compiled  # the same without updating; compiled at its first call
    settings: Mapping[str, Any] = field(default_factory=dict)  # where it comes from, for its checkpoints

    def zero_states(self) -> list[NDArray]:
        """Carried states to start with, of the whole batch."""
        return zero_states(self.graph, self.hp)


def compile_trainer(
    hp: HyperParameters,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: recurrent.Form = "fast",
    ip_weight: float = 0.0,
    precision: str = "highest",
    n_devices: int = 1,
) -> Trainer:
    """Draw the initial parameters and compile the training step and the evaluation.

    `learning_rate` is the family's where it is None. `ip_weight` is that of the independent predictions'
    cost (three_tier) beside the cost proper; the original's loop leaves them out. `precision` and `n_devices`
    are as in `compile_function`. The step may overwrite the states that it is given, if they are JAX's.

    Raises
    ------
    BackendError
        If the backend cannot work here, or not so.
    """
    learning_rate, backend = learning_rate or hp.learning_rate, backend or default_backend()
    check_backend(backend)
    prepare_memory(hp)
    check_precision(backend, precision)
    check_devices(backend, n_devices, hp.batch_size)
    graph = graph_of_one_device(Parameters(seed), hp, form, n_devices)
    options: dict[str, Any] = {"backend": backend, "precision": precision, "n_devices": n_devices}
    about = {"family": hp.family, "hyperparameters": asdict(hp), "form": form, **options}
    options["by_row"] = allsum.with_rows(graph)
    step, adam = _step(graph, learning_rate, ip_weight, about, options)
    evaluation = functools.cache(lambda: _evaluation(graph, about, options))
    return Trainer(hp, graph, adam, step, evaluate=lambda *arguments: evaluation()(*arguments))


def prepare_memory(hp: HyperParameters) -> None:
    """Make ready for steps of this model: to be called before JAX is used."""
    allocator.keep_freed_memory(hp.batch_size * hp.seq_len * hp.dim)


def graph_of_one_device(
    params: Parameters, hp: HyperParameters, form: recurrent.Form = "fast", n_devices: int = 1
) -> Graph:
    """A model over one device's part of the batch, its costs those of the whole batch."""
    graph = models.graph(params, replace(hp, batch_size=hp.batch_size // n_devices), form)
    return graph if n_devices == 1 else allsum.over_devices(graph)


def zero_states(graph: Graph, hp: HyperParameters) -> list[NDArray]:
    """Carried states to start with, of the whole batch: (B, R, width) each."""
    return [np.zeros((hp.batch_size, *s.type.shape[1:]), s.dtype) for s in graph.states.values()]


def _step(
    graph: Graph,
    learning_rate: float,
    ip_weight: float,
    about: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[Compiled, dict[str, SharedVariable]]:
    """The training step, and Adam's variables. Where the step was kept, its graph is not made."""
    about = {"program": "step", "learning_rate": learning_rate, "ip_weight": ip_weight, **about}
    params = graph.parameters
    if kept := _kept(about):
        moved = [name[7:] for name in kept.layout.variables if name.startswith("adam.m.")]
        adam = updates.adam_state([params[name] for name in moved], params.dtype)
        return kept.with_variables({**params, **adam}), adam
    cost, trainable = updates.objective(graph, "train", ip_weight)
    moves, adam = updates.adam(cost, trainable, learning_rate, n_devices=options["n_devices"])
    outputs, states = [graph.cost, *graph.new_states.values()], list(graph.states.values())
    return _keep(about, compile_function(graph.inputs, outputs, moves, donate=states, **options)), adam


def _evaluation(graph: Graph, about: Mapping[str, Any], options: Mapping[str, Any]) -> Compiled:
    """Cost and new states of a pass, nothing updated."""
    about = {"program": "evaluation", **about}
    if kept := _kept(about):
        return kept.with_variables(graph.parameters)
    outputs = [graph.cost, *graph.new_states.values()]
    return _keep(about, compile_function(graph.inputs, outputs, **options))


def _kept(about: Mapping[str, Any]) -> Any:
    """What was kept of a program for JAX by its description (`samplernn_theano.jax_runtime`), or None."""
    if about["backend"] != "jax":
        return None
    from samplernn_theano import jax_runtime

    return jax_runtime.kept(about)


def _keep(about: Mapping[str, Any], program: Any) -> Compiled:
    if about["backend"] == "jax":
        from samplernn_theano import jax_runtime

        jax_runtime.keep(about, program)
    return program


def batch_inputs(batch: feeder.Minibatch) -> tuple[NDArray, NDArray, NDArray]:
    """A minibatch in the order of a graph's inputs: sequences, mask, reset."""
    return batch.sequences, batch.mask, batch.reset


def carried_through(
    function: Compiled, graph: Graph, hp: HyperParameters, clips: Clips
) -> Iterator[tuple[feeder.Minibatch, list[NDArray]]]:
    """Every minibatch of a split, and what a compiled `function` of `graph` says to it but for the states.

    These are its last outputs, zero at the start and carried from pass to pass. Of several processes each
    reads its own rows.
    """
    states = zero_states(graph, hp)
    for batch in feeder.feed(hp, clips, distributed.rows(hp.batch_size)):
        outputs = function(*batch_inputs(batch), *states)
        n_values = len(outputs) - len(states)
        states = outputs[n_values:]
        yield batch, [np.asarray(value) for value in outputs[:n_values]]


def evaluate(trainer: Trainer, clips: Clips) -> float:
    """The mean NLL in bits per sample over the minibatches of a split, as the original's monitor has it."""
    outputs = carried_through(trainer.evaluate, trainer.graph, trainer.hp, clips)
    return float(np.mean([cost for _, (cost,) in outputs]))
