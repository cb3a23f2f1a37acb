"""Compilation of the training step and of the evaluation of a model."""

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

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
from samplernn_theano.config.schedule import original_learning_rate
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.models.build import build_shard_graph
from samplernn_theano.models.graph import Form, Graph, batch_variables
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer
from samplernn_theano.training.state import Compiled, Trainer


def compile_trainer(
    hp: HyperParameters,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: Form = "fast",
    ip_weight: float = 0.0,
    precision: str = "highest",
    n_devices: int = 1,
) -> Trainer:
    """Draw the initial parameters and compile the training step and the evaluation.

    The step may overwrite the states that it is given, if they are JAX arrays.

    Parameters
    ----------
    learning_rate : float, optional
        Of Adam; default: the original's for the family.
    ip_weight : float
        Weight of the cost of the independent predictions (three_tier), which the original's training omits.
    precision, n_devices
        As in `compile_function`.

    Raises
    ------
    BackendError
        If the backend is not available, or not with these options.
    HyperParameterError
        If `form`, `learning_rate` or `ip_weight` is invalid for this family.
    """
    learning_rate = original_learning_rate(type(hp)) if learning_rate is None else learning_rate
    backend = backend or default_backend()
    check_options(form, learning_rate, seed)
    check_backend(backend)
    check_precision(backend, precision)
    check_devices(backend, n_devices, hp.batch_size)
    graph = build_shard_graph(Parameters(seed), hp, form, n_devices)
    options: dict[str, Any] = {"backend": backend, "precision": precision, "n_devices": n_devices}
    key = {"family": hp.family, "hyperparameters": asdict(hp), "form": form, **options}
    options["batched"] = batch_variables(graph)
    step, adam = _compile_step(graph, learning_rate, ip_weight, key, options)
    evaluation = functools.cache(lambda: _compile_evaluation(graph, key, options))
    return Trainer(hp, graph, adam, step, evaluate=lambda *arguments: evaluation()(*arguments))


def check_options(form: str, learning_rate: float, seed: int) -> None:
    """Raise HyperParameterError if an option of `compile_trainer` is invalid for every model."""
    if form not in get_args(Form):
        raise HyperParameterError(f"There is no form {form}; choose from {', '.join(get_args(Form))}.")
    if not 0 < learning_rate < math.inf:
        raise HyperParameterError(f"The learning rate must be positive, not {learning_rate}.")
    if not 0 <= seed < 2**32:
        raise HyperParameterError(f"The seed must be a whole number from 0 to 4294967295, not {seed}.")


def tune_malloc(hp: HyperParameters) -> None:
    """Keep freed memory for the next step, an option of the whole process; before the first use of JAX."""
    malloc.keep_freed_memory(hp.batch_size * hp.seq_len * hp.dim)


def _compile_step(
    graph: Graph,
    learning_rate: float,
    ip_weight: float,
    key: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[Compiled, dict[str, SharedVariable]]:
    """Training step (inputs and states -> cost and new states), and Adam's variables.

    If the step is in the compile cache, the graph of its updates is not built.
    """
    key = {"program": "step", "learning_rate": learning_rate, "ip_weight": ip_weight, **key}
    params = graph.parameters
    if stored := _load(key):
        trained = [name[7:] for name in stored.layout.variables if name.startswith("adam.m.")]
        adam = optimizer.adam_state([params[name] for name in trained], params.dtype)
        return stored.with_variables({**params, **adam}), adam
    cost, trainable = optimizer.objective(graph, "train", ip_weight)
    updates, adam = optimizer.adam(cost, trainable, learning_rate, n_devices=options["n_devices"])
    outputs, states = [graph.cost, *graph.new_states.values()], list(graph.states.values())
    return _store(key, compile_function(graph.inputs, outputs, updates, donate=states, **options)), adam


def _compile_evaluation(graph: Graph, key: Mapping[str, Any], options: Mapping[str, Any]) -> Compiled:
    """Cost and new states of a truncated-BPTT chunk, without updates."""
    key = {"program": "evaluation", **key}
    if stored := _load(key):
        return stored.with_variables(graph.parameters)
    outputs = [graph.cost, *graph.new_states.values()]
    return _store(key, compile_function(graph.inputs, outputs, **options))


def _load(key: Mapping[str, Any]) -> Any:
    """Program from the compile cache, which exists for JAX only, or None."""
    if key["backend"] != "jax":
        return None
    from samplernn_theano.backends import jax_program

    return jax_program.load(key)


def _store(key: Mapping[str, Any], program: Any) -> Compiled:
    if key["backend"] == "jax":
        from samplernn_theano.backends import jax_program

        jax_program.store(key, program)
    return program
