"""The total NLL, computed in chunks together with its gradient, to save memory.

The layers from the last recurrent one to the NLL treat every row alone. Their activations need not be stored
from the forward to the backward pass if both are computed for one chunk of rows, and then for the next: the
gradients by the weights are accumulated, and only those by the inputs have the size of all rows.
"""

import math

import pytensor
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Constant
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.basic import Join
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import Dot
from pytensor.tensor.shape import Reshape
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends import fusion

MAX_ACTIVATIONS = 2**22
"""Of one layer computed at once: 16 MiB."""


def in_chunks(sum_of_rows: Expression) -> Expression:
    """The sum of an expression (N, ...), over all its axes, computed in chunks of the N rows.

    It has a gradient, of the first order, which costs no second pass. PyTensor removes the gradient from
    graphs that do not use it.
    """
    y = sum_of_rows.owner.inputs[0]
    N = y.type.shape[0]
    rows, weights, activations = cut(y, N)
    n = n_chunks(N, activations, MAX_ACTIVATIONS)
    learned = [x for x in rows if any(isinstance(v, SharedVariable) for v in graph_inputs([x]))]
    trained = [x for x in learned if x.dtype == y.dtype]
    if n == 1 or not trained or not weights:  # small, or a model without a recurrent layer
        return sum_of_rows
    if set(rows) & set(weights) or any(w.dtype != y.dtype for w in weights):  # rows are not independent
        return sum_of_rows
    constants = [x for x in rows if x not in trained]
    given = [*trained, *constants, *weights]
    inputs = [v.type() for v in given]

    n_rows, n_trained, n_weights = len(rows), len(trained), len(weights)

    def chunk(*arguments: Expression) -> list[Expression]:
        """Sums so far of the cost and the gradients by the weights, and the chunk's gradients by its rows."""
        now, sums, fixed = arguments[:n_rows], arguments[n_rows:-n_weights], arguments[-n_weights:]
        new = dict(zip(given, [*now, *fixed], strict=True))
        cost = clone_replace(sum_of_rows, new, rebuild_strict=False)
        gradients = pytensor.grad(cost, [*now[:n_trained], *fixed])
        by_rows, by_weights = gradients[:n_trained], gradients[n_trained:]
        return [*(s + g for s, g in zip(sums, [cost, *by_weights], strict=True)), *by_rows]

    results = pytensor.scan(
        chunk,
        sequences=[x.reshape((n, x.type.shape[0] // n, *x.type.shape[1:])) for x in inputs[:n_rows]],
        outputs_info=[
            *(pt.zeros(shape, y.dtype) for shape in ((), *(w.type.shape for w in weights))),
            *[None] * n_trained,
        ],
        non_sequences=inputs[n_rows:],
        strict=True,
        return_updates=False,
    )
    total, *by_weights = (trace[-1] for trace in results[: 1 + n_weights])
    by_rows = [g.reshape(x.type.shape) for g, x in zip(results[1 + n_weights :], trained, strict=True)]

    def pullback(inputs, outputs, gradients):
        scaled = [gradients[0] * g for g in outputs[1:]]
        none = [disconnected_type() for _ in constants]
        return [*scaled[:n_trained], *none, *scaled[n_trained:]]

    outputs = [total, *by_rows, *by_weights]
    connected = [[x not in constants] * len(outputs) for x in given]
    op = OpFromGraph(inputs, outputs, pullback=pullback, connection_pattern=connected, inline=True)
    return op(*given)[0]


def cut(y: Expression, N: int) -> tuple[list[Expression], list[Expression], int]:
    """Cut a graph where y (N, ...) stops to depend row by row on what it is made of.

    Returns the expressions at the cut that have a row, or several, for each row of y; those that all rows
    share, such as weights; and the size of the largest array of rows in between.
    """
    rows: dict[Expression, None] = {}
    shared: dict[Expression, None] = {}
    sizes, seen = [0], set()

    def visit(x: Expression) -> None:
        if x in seen:
            return
        seen.add(x)
        by_row = inputs_by_row(x, N)
        if not by_row:
            rows[x] = None
            return
        if x.dtype.startswith("float"):
            sizes.append(math.prod(x.type.shape))
        for i, parent in enumerate(x.owner.inputs):
            if i in by_row:
                visit(parent)
            elif not all(isinstance(v, Constant) for v in graph_inputs([parent])):
                shared[parent] = None

    visit(y)
    return list(rows), list(shared), max(sizes)


def inputs_by_row(x: Expression, N: int) -> list[int]:
    """Indices of the inputs on whose rows the same rows of x depend; empty if there are none."""
    if x.owner is None:
        return []
    op, inputs, fits = x.owner.op, x.owner.inputs, False
    match op:
        case Elemwise():
            return [i for i, v in enumerate(inputs) if v.type.shape[:1] == x.type.shape[:1] != (1,)]
        case Dot():
            fits = inputs[0].type.ndim == 2
        case Reshape():  # regroups the other axes, and keeps the order
            shape = inputs[1]
            fits = inputs[0].type.shape[0] % N == 0 and isinstance(shape, Constant) and shape.data[0] == -1
        case DimShuffle():
            fits = op.new_order[:1] == (0,)
        case CAReduce():
            fits = op.axis is not None and 0 not in op.axis
        case Subtensor():
            fits = op.idx_list[0] == slice(None)
        case AdvancedSubtensor():
            return [1] if fusion.is_lookup(x) else []
        case Join():
            return [] if op.axis == 0 else list(range(len(inputs)))
    return [0] if fits else []


def n_chunks(length: int, size: int, max_size: int) -> int:
    """The smallest number of equal chunks of `length` steps such that each has `max_size` of the `size`."""
    return next(n for n in range(1, length + 1) if length % n == 0 and (size <= n * max_size or n == length))
