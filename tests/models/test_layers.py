"""Layers: names, weight normalisation, costs and scales."""

import numpy as np
import pytensor.tensor as pt

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import Recurrent
from samplernn_theano.models import layers
from samplernn_theano.models.parameters import Parameters


def random(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype(np.float32)


def test_weight_norm_changes_nothing_at_first_and_then_gives_columns_of_length_g():
    params = Parameters()
    f = compile_function([], [layers.weight(params, Recurrent(), "L", 6, 4)])
    np.testing.assert_allclose(f()[0], params["L.W0"].get_value(), rtol=1e-6)
    params.assign({"L.W0": random(6, 4), "L.g0": np.array([1, 2, 3, 4])})
    np.testing.assert_allclose(np.linalg.norm(f()[0], axis=0), [1, 2, 3, 4], rtol=1e-6)


def test_nll_is_in_bits():
    """Of equal logits log2 of the levels, even if they are huge."""
    x, t = pt.tensor("x", dtype="float32", shape=(5, 8)), pt.tensor("t", dtype="int32", shape=(5,))
    f = compile_function([x, t], [layers.nll_bits(x, t)])
    logits, targets = random(5, 8), np.arange(5, dtype=np.int32)
    expected = -np.log2(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[np.arange(5), targets]
    np.testing.assert_allclose(f(logits, targets)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(f(np.full((5, 8), 1e4, "f4"), targets)[0], 3)


def test_rescaling_divides_by_an_integer_half():
    """Quirk: with an odd number of levels the highest becomes 2, with an even number less."""
    x = pt.tensor("x", dtype="int32", shape=(3,))
    for q_levels, expected in ((4, [-2, 0, 1]), (5, [-2, 0, 2])):
        f = compile_function([x], [layers.rescale(x, q_levels, "float32")])
        np.testing.assert_allclose(f(np.array([0, 2, q_levels - 1], np.int32))[0], expected)
