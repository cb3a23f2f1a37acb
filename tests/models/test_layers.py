"""Layers: names, weight normalisation, costs and scales."""

import numpy as np
import pytensor.tensor as pt

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import Recurrent
from samplernn_theano.models import layers, rnn
from samplernn_theano.models.parameters import Parameters


def run(inputs, outputs, values, backend=None):
    return [np.asarray(v) for v in compile_function(inputs, outputs, backend=backend)(*values)]


def random(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype(np.float32)


def stack_inputs(rnn_type, n_rnn):
    x = pt.tensor("x", dtype="float32", shape=(3, 2, 5))
    state = pt.tensor("state", dtype="float32", shape=(2, n_rnn, 4 * (2 if rnn_type == "LSTM" else 1)))
    return x, state


def test_skip_connections_are_named_as_in_the_original():
    """Quirk: GRU.outskip1y, but LSTM1.outskip1y; only the first has a bias; layers from 2 on are +inpskip."""
    names = {}
    for rnn_type in ("GRU", "LSTM"):
        x, state = stack_inputs(rnn_type, 2)
        params = Parameters()
        hp = Recurrent(rnn_type=rnn_type, n_rnn=2, skip_conn=True, weight_norm=False)
        rnn.stacked_rnn(params, hp, f"F.{rnn_type}", x, state)
        names[rnn_type] = [name for name in params if "skip" in name]
    assert names["GRU"] == [
        "F.GRU.outskip1y.W0",
        "F.GRU.outskip1y.b",
        "F.GRU2+inpskip.Step.Input.W0",
        "F.GRU2+inpskip.Step.Input.b",
        "F.GRU2+inpskip.Step.Recurrent_Gates.W0",
        "F.GRU2+inpskip.Step.Recurrent_Candidate.W0",
        "F.GRU.outskip2y.W0",
    ]
    assert "F.LSTM1.outskip1y.b" in names["LSTM"] and "F.LSTM2.outskip2y.W0" in names["LSTM"]


def test_weight_norm_gives_columns_of_length_g():
    params = Parameters()
    effective = layers.weight(params, Recurrent(), "L", 6, 4)
    params.assign({"L.W0": random(6, 4), "L.g0": np.array([1, 2, 3, 4])})
    (W,) = run([], [effective], [])
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), [1, 2, 3, 4], rtol=1e-6)


def test_weight_norm_changes_nothing_at_first():
    params = Parameters()
    (W,) = run([], [layers.weight(params, Recurrent(), "L", 6, 4)], [])
    np.testing.assert_allclose(W, params["L.W0"].get_value(), rtol=1e-6)


def test_nll_is_in_bits():
    logits, targets = random(5, 8), np.arange(5, dtype=np.int32)
    expected = -np.log2(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[np.arange(5), targets]
    x = pt.tensor("x", dtype="float32", shape=(5, 8))
    t = pt.tensor("t", dtype="int32", shape=(5,))
    (bits,) = run([x, t], [layers.nll_bits(x, t)], [logits, targets])
    np.testing.assert_allclose(bits, expected, rtol=1e-6)


def test_nll_of_equal_logits_is_log2_of_the_levels_even_if_they_are_huge():
    x = pt.tensor("x", dtype="float32", shape=(2, 256))
    (bits,) = run(
        [x], [layers.nll_bits(x, pt.constant(np.array([0, 255], np.int32)))], [np.full((2, 256), 1e4, "f4")]
    )
    np.testing.assert_allclose(bits, 8)


def test_rescaling_divides_by_an_integer_half():
    """Quirk: with an odd number of levels the highest becomes 2, with an even number less."""
    x = pt.tensor("x", dtype="int32", shape=(3,))
    for q_levels, expected in ((4, [-2, 0, 1]), (5, [-2, 0, 2])):
        (y,) = run([x], [layers.rescale(x, q_levels, "float32")], [np.array([0, 2, q_levels - 1], np.int32)])
        np.testing.assert_allclose(y, expected)
