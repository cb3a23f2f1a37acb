"""A model compiled for training and for evaluation."""

import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable

from samplernn_theano.backends import malloc
from samplernn_theano.backends.compile import (
    check_backend,
    check_devices,
    check_precision,
    compile_function,
    default_backend,
)
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.models import rnn
from samplernn_theano.models.build import graph_of_one_device
from samplernn_theano.models.graph import Graph, with_rows
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer
from samplernn_theano.training.state import Compiled, Trainer


def compile_trainer(
    hp: HyperParameters,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: rnn.Form = "fast",
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
    options["by_row"] = with_rows(graph)
    step, adam = _step(graph, learning_rate, ip_weight, about, options)
    evaluation = functools.cache(lambda: _evaluation(graph, about, options))
    return Trainer(hp, graph, adam, step, evaluate=lambda *arguments: evaluation()(*arguments))


def prepare_memory(hp: HyperParameters) -> None:
    """Make ready for steps of this model: to be called before JAX is used."""
    malloc.keep_freed_memory(hp.batch_size * hp.seq_len * hp.dim)


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
        adam = optimizer.adam_state([params[name] for name in moved], params.dtype)
        return kept.with_variables({**params, **adam}), adam
    cost, trainable = optimizer.objective(graph, "train", ip_weight)
    moves, adam = optimizer.adam(cost, trainable, learning_rate, n_devices=options["n_devices"])
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
    """What was kept of a program for JAX by its description (`samplernn_theano.backends.jax_program`), or
    None.
    """
    if about["backend"] != "jax":
        return None
    from samplernn_theano.backends import jax_program

    return jax_program.kept(about)


def _keep(about: Mapping[str, Any], program: Any) -> Compiled:
    if about["backend"] == "jax":
        from samplernn_theano.backends import jax_program

        jax_program.keep(about, program)
    return program
