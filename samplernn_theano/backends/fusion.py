"""Linear maps that meet without a nonlinearity are joined, where that takes fewer multiplications.

A model is written one layer after the other, as in the paper. `join_products` rewrites its graph before the
gradient is taken: for every product x V it looks at what x is made of, and multiplies V into that. The
functions below state how, and `cheapest` chooses among them. In the body of a loop a product of two weights
costs nothing, for PyTensor computes it once, before the loop.

Shapes are static. The function of the graph is the same; the rounding differs by some 1e-6.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import graph_inputs
from pytensor.scalar.basic import Add
from pytensor.scan.op import Scan
from pytensor.tensor.basic import Eye, Join
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Dot
from pytensor.tensor.shape import Reshape
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor
from pytensor.tensor.variable import TensorVariable as Expression

type Rule = Callable[[FunctionGraph, Apply], list[Expression] | None]
"""From a node of a graph: new outputs, or None to leave it."""

LAYOUT = (Reshape, DimShuffle, Subtensor, Join)
"""Operations that move numbers and compute nothing."""


class Way(NamedTuple):
    """A way to compute a product."""

    multiplications: int  # less those that are saved
    build: Callable[[], Expression]


class Place(NamedTuple):
    """Where products are joined."""

    graph: FunctionGraph
    fixed: frozenset[Variable] = frozenset()  # inputs of the body of a loop that are the same at every step


def rewrite(outputs: Sequence[Expression], *rules: Rule) -> list[Expression]:
    """The same outputs after the rules were applied wherever they fit, from the outputs on; in place."""
    inputs = [v for v in graph_inputs(outputs) if not isinstance(v, Constant)]
    graph = FunctionGraph(inputs, outputs, clone=False)
    for node in reversed(graph.toposort()):
        for rule in rules:
            if node in graph.apply_nodes and (new := rule(graph, node)):
                graph.replace_all(zip(node.outputs, new, strict=True))
    return list(graph.outputs)


def join_products(
    graph: FunctionGraph, node: Apply, fixed: frozenset[Variable] = frozenset()
) -> list[Expression] | None:
    """x V with V multiplied into what x is made of, if that saves multiplications."""
    if not is_product(node.outputs[0]):
        return None
    place = Place(graph, fixed)
    x, V = node.inputs
    now, best = apply_to_rows(x, V, 1, place), cheapest(x, V, 1, place)
    return [best.build()] if best.multiplications < now.multiplications else None


def join_products_in_loop(graph: FunctionGraph, node: Apply) -> list[Expression] | None:
    """A loop (a scan) with `join_products` applied to its body."""
    op = node.op
    if not isinstance(op, Scan):
        return None
    body = op.fgraph.unfreeze()
    inputs, fixed = list(body.inputs), frozenset(op.inner_non_seqs(body.inputs))
    outputs = rewrite(body.outputs, lambda graph, inner: join_products(graph, inner, fixed))
    joined = Scan(inputs, outputs, op.info, mode=op.mode, name=op.name, strict=op.strict)
    return joined.make_node(*node.inputs).outputs


# --- the algebra --------------------------------------------------------------------------------------------
# x (..., n D) has n blocks of D, each of which V (D, m) is applied to: the result is (..., n m).


def cheapest(x: Expression, V: Expression, n: int, place: Place) -> Way:
    """The way with the fewest multiplications."""
    best = apply_to_rows(x, V, n, place)
    if best.multiplications == 0:
        return best
    ways = (rule(x, V, n, place) for rule in RULES)
    return min([best, *(way for way in ways if way)], key=lambda way: way.multiplications)


def apply_to_rows(x: Expression, V: Expression, n: int, place: Place) -> Way:
    """x V, as it stands."""
    D, m = V.type.shape
    if is_identity(x) and n == 1:
        return Way(0, lambda: V)
    multiplications = 0 if is_fixed(x, place) else size(x) * m
    if x.type.ndim == 2 and n == 1:
        return Way(multiplications, lambda: pt.dot(x, V))
    return Way(multiplications, lambda: reshaped(pt.dot(x.reshape((-1, D)), V), (*x.type.shape[:-1], n * m)))


def into_product(x: Expression, V: Expression, n: int, place: Place) -> Way | None:
    """(h U) V = h (U V), where U V is computed once per step, whatever the number of rows of h.

    The multiplications of h U are saved, in equal parts by all products that read it, if nothing else does.
    """
    if not is_product(x):
        return None
    h, U = x.owner.inputs
    UV = apply_to_rows(U, V, n, place)
    onto_h = cheapest(h, UV.build(), 1, place)
    n_readers = readers(x, place.graph)
    saved = size(x) * h.type.shape[1] // n_readers if n_readers else 0
    return Way(UV.multiplications + onto_h.multiplications - saved, onto_h.build)


def into_sum(x: Expression, V: Expression, n: int, place: Place) -> Way | None:
    """(a + b) V = a V + b V."""
    if not is_sum(x) or any(term.type.shape[-1:] != x.type.shape[-1:] for term in x.owner.inputs):
        return None
    return added([cheapest(term, V, n, place) for term in x.owner.inputs])


def into_concatenation(x: Expression, V: Expression, n: int, place: Place) -> Way | None:
    """[a, b] V = a V_a + b V_b, where V_a and V_b are the rows of V that a and b meet."""
    if not isinstance(op_of(x), Join) or n != 1 or op_of(x).axis != x.type.ndim - 1:
        return None
    parts: list[Way] = []
    for part in x.owner.inputs:
        D = part.type.shape[-1]
        parts.append(cheapest(part, V[:D], 1, place))
        V = V[D:]
    return added(parts)


def into_table(x: Expression, V: Expression, n: int, place: Place) -> Way | None:
    """T[i] V = (T V)[i]: a look-up, such as an embedding, becomes one in a table of results."""
    if not is_lookup(x):
        return None
    T, i = x.owner.inputs
    TV = apply_to_rows(T, V, n, place)
    return Way(TV.multiplications, lambda: TV.build()[i])


def into_tables(x: Expression, V: Expression, n: int, place: Place) -> Way | None:
    """[T[i], T[j]] V = (T V_i)[i] + (T V_j)[j]: look-ups side by side, each with a table of its own."""
    if not isinstance(op_of(x), Reshape) or n != 1 or not is_lookup(x.owner.inputs[0]):
        return None
    T, i = x.owner.inputs[0].owner.inputs
    k, D = i.type.shape[-1], T.type.shape[-1]
    if k * D != V.type.shape[0]:
        return None
    ways = [into_table(T[i[..., j]], V[j * D : (j + 1) * D], 1, place) for j in range(k)]
    total = added([way for way in ways if way])
    return Way(total.multiplications, lambda: reshaped(total.build(), (*x.type.shape[:-1], V.type.shape[1])))


def into_rows(x: Expression, V: Expression, n: int, place: Place) -> Way | None:
    """R(x) V = R(x V), where R arranges rows in another order or selects some, or cuts rows into blocks."""
    op, (D, m) = op_of(x), V.type.shape
    if not isinstance(op, LAYOUT):
        return None
    y = x.owner.inputs[0]
    if isinstance(op, DimShuffle) and y.type.ndim and op.new_order[-1] == y.type.ndim - 1:
        onto_y = cheapest(y, V, n, place)
        return Way(onto_y.multiplications, lambda: onto_y.build().dimshuffle(*op.new_order))
    if isinstance(op, Reshape) and y.type.ndim and y.type.shape[-1] % D == 0:
        onto_y = cheapest(y, V, y.type.shape[-1] // D, place)
        return Way(onto_y.multiplications, lambda: reshaped(onto_y.build(), (*x.type.shape[:-1], n * m)))
    if isinstance(op, Subtensor) and y.type.shape[-1] == x.type.shape[-1]:
        if len(op.idx_list) == y.type.ndim and op.idx_list[-1] != slice(None):
            return None  # the last axis is another one
        if not place.fixed and len(place.graph.clients[y]) * size(x) < size(y):
            return None  # only a part of y is used; the body of a loop uses all, one after the other
        onto_y = cheapest(y, V, n, place)
        multiplications = onto_y.multiplications * size(x) // size(y)  # other selections use the rest
        return Way(multiplications, lambda: op(onto_y.build(), *x.owner.inputs[1:]))
    return None


RULES = (into_product, into_sum, into_concatenation, into_table, into_tables, into_rows)


def added(ways: Sequence[Way]) -> Way:
    """The sum of what the ways compute."""
    return Way(sum(way.multiplications for way in ways), lambda: pt.add(*(way.build() for way in ways)))


# --- helpers ------------------------------------------------------------------------------------------------


def readers(x: Expression, graph: FunctionGraph) -> int:
    """Number of products that x is a factor of, through sums and layouts; 0 if anything else reads it too."""

    def found(node: Apply, i: int) -> int:
        if isinstance(node.op, LAYOUT) or (node.outputs and is_sum(node.outputs[0])):
            return readers(node.outputs[0], graph)
        return int(isinstance(node.op, Dot) and i == 0)

    counts = [found(node, i) for node, i in graph.clients[x]]
    return sum(counts) if all(counts) else 0


def op_of(x: Expression) -> Any:
    """The operation whose result x is, or None."""
    return x.owner.op if x.owner else None


def is_fixed(x: Expression, place: Place) -> bool:
    """True if x is the same at every step of a loop."""
    return bool(place.fixed) and all(isinstance(v, Constant) or v in place.fixed for v in graph_inputs([x]))


def is_product(x: Expression) -> bool:
    """True if x is the product of two matrices."""
    return isinstance(op_of(x), Dot) and x.type.ndim == 2


def is_sum(x: Expression) -> bool:
    """True if x is a sum of arrays."""
    return isinstance(op_of(x), Elemwise) and isinstance(op_of(x).scalar_op, Add)


def is_identity(x: Expression) -> bool:
    """True if x is the identity matrix."""
    return isinstance(op_of(x), Eye) and len(set(x.type.shape)) == 1 and x.owner.inputs[2].data == 0


def is_lookup(x: Expression) -> bool:
    """True if x is T[i], rows of a matrix."""
    op = op_of(x)
    if not isinstance(op, AdvancedSubtensor) or len(x.owner.inputs) != 2 or op.idx_list != (0,):
        return False
    T, i = x.owner.inputs
    return T.type.ndim == 2 and i.dtype.startswith(("int", "uint"))


def size(x: Expression) -> int:
    """Number of elements."""
    return math.prod(x.type.shape)


def reshaped(x: Expression, shape: Sequence[int]) -> Expression:
    """x in another shape; the first axis is left open, so that the graph fits a part of the rows too."""
    return x.reshape((-1, *shape[1:]))
