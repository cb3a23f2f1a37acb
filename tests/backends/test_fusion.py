"""Joined products: the same values with fewer multiplications."""

import math

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.graph.traversal import applys_between, graph_inputs
from pytensor.tensor.math import Dot

from samplernn_theano.backends import fusion
from samplernn_theano.backends.compile import compile_function
from samplernn_theano.models.layers import matmul, one_hot

INTERPRETED = Mode(linker="py", optimizer=None)
RNG = np.random.RandomState(0)
B = 2


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def variable(*shape):
    return pytensor.shared(random(*shape), shape=shape)


def symbols(n, *shape):
    return pytensor.shared(RNG.randint(0, n, shape).astype(np.int32), shape=shape)


def multiplications(outputs):
    """Of all products of matrices in a graph."""
    nodes = [node for node in applys_between(graph_inputs(outputs), outputs) if isinstance(node.op, Dot)]
    return sum(math.prod(node.outputs[0].type.shape) * node.inputs[0].type.shape[1] for node in nodes)


def fused(expression):
    """The value and the multiplications of an expression, before and after."""
    before = pytensor.function([], expression, mode=INTERPRETED)(), multiplications([expression])
    (joined,) = fusion.rewrite([expression], fusion.join_products)
    assert joined.type.shape == expression.type.shape
    return before, (pytensor.function([], joined, mode=INTERPRETED)(), multiplications([joined]))


def products(rows):
    """h U V, with a bias between."""
    return matmul(matmul(variable(rows, 8), variable(8, 5)) + variable(5), variable(5, 6))


def conditioned():
    """Frames and a sum of vectors of the tier above, three for each of its steps, through one layer more."""
    above = matmul(variable(50, B, 8), variable(8, 3 * 5)).reshape((-1, B, 3, 5))
    above = above.transpose(0, 2, 1, 3).reshape((150, B, 5))
    return matmul(matmul(variable(150, B, 2), variable(2, 5)) + above, variable(5, 6))


def embedded(k):
    """The k previous samples, embedded and concatenated, through one layer."""
    vectors = variable(7, 4)[symbols(7, 100, B, k)]
    return matmul(vectors.reshape((-1, B, k * 4)), variable(k * 4, 6))


def one_hot_samples():
    return matmul(one_hot(symbols(7, 100, B), 7, "float32"), variable(7, 6))


def concatenated():
    """A layer's output beside the input of the stack, as with skip connections."""
    x = pt.concatenate([variable(100, B, 3), matmul(variable(100, B, 4), variable(4, 4))], axis=2)
    return matmul(x, variable(7, 6))


# Multiplications one layer after the other, and joined, as the algebra has them.
SAVINGS = {
    "a product and a bias": (lambda: products(100), 100 * 5 * (8 + 6), 8 * 5 * 6 + 5 * 6 + 100 * 8 * 6),
    "few rows": (lambda: products(2), 2 * 5 * (8 + 6), 2 * 5 * (8 + 6)),
    "vectors of the tier above": (
        conditioned,
        B * (50 * 8 * 15 + 150 * 2 * 5 + 150 * 5 * 6),
        8 * 3 * 5 * 6 + 2 * 5 * 6 + B * (50 * 8 * 3 * 6 + 150 * 2 * 6),
    ),
    "an embedding": (lambda: embedded(1), 100 * B * 4 * 6, 7 * 4 * 6),
    "three embeddings": (lambda: embedded(3), 100 * B * 12 * 6, 3 * 7 * 4 * 6),
    "one-hot vectors": (one_hot_samples, 100 * B * 7 * 6, 0),
    "a concatenation": (concatenated, 100 * B * (4 * 4 + 7 * 6), 4 * 4 * 6 + 100 * B * (3 * 6 + 4 * 6)),
}


@pytest.mark.parametrize("name", SAVINGS)
def test_joined_products_have_the_same_values_and_fewer_multiplications(name):
    make, separate, joined = SAVINGS[name]
    (expected, before), (value, after) = fused(make())
    assert (before, after) == (separate, joined)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda hidden, V: [matmul(pt.tanh(hidden), V)],
        lambda hidden, V: [matmul(hidden, V), pt.tanh(hidden)],
        lambda hidden, V: [matmul(hidden, V), hidden],
    ],
    ids=["a nonlinearity between", "needed by another operation", "an output of the graph"],
)
def test_a_result_that_is_needed_is_not_computed_twice(make):
    outputs = make(matmul(variable(100, 8), variable(8, 5)), variable(5, 6))
    assert multiplications(fusion.rewrite(outputs, fusion.join_products)) == 100 * 5 * (8 + 6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: matmul(matmul(variable(100, 8), variable(8, 5)) + np.float32(1), variable(5, 6)),
        lambda: matmul(matmul(variable(100, 8), variable(8, 5)) + variable(100, 1), variable(5, 6)),
        lambda: matmul(pt.eye(6, k=1, dtype="float32")[symbols(6, 100)], variable(6, 5)),
        lambda: matmul(pt.eye(6, 4, dtype="float32")[symbols(6, 100)], variable(4, 5)),
        lambda: matmul(variable(4, 9)[:, symbols(9, 5)], variable(5, 6)),
        lambda: matmul(matmul(variable(100, 10), variable(10, 10))[:1], variable(10, 50)),
    ],
    ids=["a number", "a column", "a shifted identity", "part of an identity", "columns", "one row of many"],
)
def test_what_does_not_fit_the_algebra_is_as_it_was(make):
    (expected, before), (value, after) = fused(make())
    assert after <= before
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_a_result_that_only_products_read_is_joined_with_all_of_them():
    hidden = matmul(variable(100, 8), variable(8, 7))
    outputs = [matmul(hidden, variable(7, 6)), matmul(hidden, variable(7, 5))]
    joined = 8 * 7 * (6 + 5) + 100 * 8 * (6 + 5)
    assert multiplications(fusion.rewrite(outputs, fusion.join_products)) == joined


def test_in_a_loop_products_of_weights_are_joined_for_nothing():
    """Even for one row: U V is computed once, before the loop; each of three vectors is joined."""
    U, b, V, h0 = variable(4, 3 * 4), variable(12), variable(4, 4), variable(1, 4)

    def step(h):
        vectors = (matmul(h, U) + b).reshape((-1, 3, 4))
        return pt.tanh(sum(matmul(vectors[:, i], V) for i in range(3)))

    outputs = pytensor.scan(step, outputs_info=[h0], n_steps=5, return_updates=False)
    before = compile_function([], [outputs], backend="jax")
    after = compile_function([], fusion.rewrite([outputs], fusion.join_products_in_loop), backend="jax")
    assert (in_loop(before), in_loop(after)) == (4 * 12 + 3 * 4 * 4, 4 * 12)
    np.testing.assert_allclose(after()[0], before()[0], rtol=1e-4, atol=1e-5)


def in_loop(program):
    """Multiplications of a step of the only loop of a program for JAX."""
    (loop,) = [equation for equation in program.jaxpr().eqns if equation.primitive.name == "scan"]
    products = [e for e in loop.params["jaxpr"].jaxpr.eqns if e.primitive.name == "dot_general"]
    return sum(math.prod(e.outvars[0].aval.shape) * e.invars[1].aval.shape[0] for e in products)
