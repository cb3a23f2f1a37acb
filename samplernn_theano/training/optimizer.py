"""Gradients, elementwise clipping and Adam, as in the original (Lasagne)."""

from typing import Literal

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends.all_reduce import all_reduce
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.models.graph import Graph

GRAD_CLIP, BETA1, BETA2, EPSILON = 1.0, 0.9, 0.999, 1e-8

Objective = Literal["train", "ip", "other"]
Updates = dict[SharedVariable, Expression]


def objective(
    graph: Graph, which: Objective, ip_weight: float = 0.0
) -> tuple[Expression, list[SharedVariable]]:
    """Cost and parameters of one of the original's training functions.

    ``train``, the one used, has all trainable parameters. three_tier has two more: ``ip``, the cost of the
    independent predictions with the parameters it depends on, and ``other``, the cost with the other
    parameters. `ip_weight`, which the original lacks, adds the independent predictions' cost to ``train``.
    """
    trainable = graph.parameters.trainable()
    if graph.ip_cost is None and (ip_weight or which != "train"):
        raise HyperParameterError("Only three_tier has independent predictions; leave --ip-weight out.")
    if which == "train":
        weight = pt.constant(ip_weight, dtype=graph.cost.dtype)
        return graph.cost + weight * graph.ip_cost if ip_weight else graph.cost, trainable
    reached = set(ancestors([graph.ip_logits]))
    if which == "ip":
        return graph.ip_cost, [p for p in trainable if p in reached]
    return graph.cost, [p for p in trainable if p not in reached]


def gradients(
    cost: Expression, parameters: list[SharedVariable], n_devices: int = 1
) -> dict[SharedVariable, Expression]:
    """Gradient of `cost` with respect to each parameter that it depends on, summed over devices.

    Other parameters have no entry: their gradient is zero and Adam would not change them (quirk:
    `BigFrameLevel.IndependentPreds` is such a parameter in three_tier's training, and is never updated).
    """
    grads = pytensor.grad(cost, parameters, disconnected_inputs="ignore", return_disconnected="none")
    reached = {p: g for p, g in zip(parameters, grads, strict=True) if g is not None}
    return reached if n_devices == 1 else dict(zip(reached, all_reduce(*reached.values()), strict=True))


def adam(
    cost: Expression,
    parameters: list[SharedVariable],
    learning_rate: float | SharedVariable = 0.001,
    n_devices: int = 1,
) -> tuple[Updates, dict[str, SharedVariable]]:
    """One step of Adam on elementwise clipped gradients, as in Lasagne (Kingma & Ba 2015, end of section 2).

    Epsilon is outside the root and not corrected. Every constant is an expression in the dtype of the cost,
    as in Theano: in float32, 1 - b2 is 1 - float32(0.999) = 9.9998713e-4, not 0.001. A learning rate that
    changes during training is a shared variable of that dtype.

    Returns the new values of the parameters and of Adam's variables, and these, as `adam_state`.
    """
    constants = (1.0, BETA1, BETA2, EPSILON, GRAD_CLIP, learning_rate)
    one, b1, b2, epsilon, clip, rate = (_of_dtype(value, cost.dtype) for value in constants)
    grads = gradients(cost, parameters, n_devices)
    state = adam_state(list(grads), cost.dtype)
    t = state["adam.t"] + one
    a_t = rate * pt.sqrt(one - b2**t) / (one - b1**t)
    updates: Updates = {state["adam.t"]: t}
    for parameter, grad in grads.items():
        grad = pt.clip(grad, -clip, clip)
        m_before, v_before = state[f"adam.m.{parameter.name}"], state[f"adam.v.{parameter.name}"]
        updates[m_before] = m = b1 * m_before + (one - b1) * grad
        updates[v_before] = v = b2 * v_before + (one - b2) * grad**2
        updates[parameter] = parameter - a_t * m / (pt.sqrt(v) + epsilon)
    return updates, state


def _of_dtype(value: float | SharedVariable, dtype: str) -> Expression | SharedVariable:
    return value if isinstance(value, SharedVariable) else pt.constant(value, dtype=dtype)


def adam_state(parameters: list[SharedVariable], dtype: str) -> dict[str, SharedVariable]:
    """Adam's initial variables, all zero: ``adam.t``, ``adam.m.NAME``, ``adam.v.NAME``, ..."""
    state = {"adam.t": pytensor.shared(np.zeros((), dtype), name="adam.t", shape=())}
    for parameter in parameters:
        shape = parameter.type.shape
        for name in (f"adam.m.{parameter.name}", f"adam.v.{parameter.name}"):
            state[name] = pytensor.shared(np.zeros(shape, dtype), name=name, shape=shape)
    return state
