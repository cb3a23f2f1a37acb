"""The symbolic operations: the fast forms compute what the textbook forms compute."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.models import layers, rnn
from samplernn_theano.models.parameters import Parameters

T, B, N_IN, H = 7, 3, 5, 4


def run(inputs, outputs, values, backend=None):
    return [np.asarray(v) for v in compile_function(inputs, outputs, backend=backend)(*values)]


def random(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype(np.float32)


def stack_inputs(rnn_type, n_rnn):
    x = pt.tensor("x", dtype="float32", shape=(T, B, N_IN))
    state = pt.tensor("state", dtype="float32", shape=(B, n_rnn, H * (2 if rnn_type == "LSTM" else 1)))
    return x, state, [random(*x.type.shape), random(*state.type.shape, seed=1)]


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("weight_norm", [True, False])
def test_fast_and_reference_forms_agree_in_values_and_gradients(rnn_type, weight_norm):
    x, state, values = stack_inputs(rnn_type, 2)
    params = Parameters()
    outputs = []
    for form in ("reference", "fast"):
        ys, new_state = rnn.stacked_rnn(params, "L", x, state, rnn_type, True, weight_norm, form)
        # Every output matters, the last state too: its gradient comes in by another way.
        cost = pt.sum(ys * random(*ys.type.shape, seed=2)) + pt.sum(new_state * values[1])
        wrt = [x, state, *params.trainable()]
        outputs += [ys, new_state, *pytensor.grad(cost, wrt)]
    results = run([x, state], outputs, values)
    half = len(results) // 2
    for name, reference, fast in zip(
        ["y", "state", "x", "state0", *params], results[:half], results[half:], strict=True
    ):
        error = np.linalg.norm(reference - fast) / np.linalg.norm(reference)
        assert error < 2e-6, name


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
def test_one_step_at_a_time_gives_the_sequence(rnn_type):
    x, state, values = stack_inputs(rnn_type, 3)
    params = Parameters()
    ys, last = rnn.stacked_rnn(params, "L", x, state, rnn_type, True, True, "fast")
    steps, carried = [], state
    for t in range(T):
        y, carried = rnn.stacked_rnn(params, "L", x[t : t + 1], carried, rnn_type, True, True, "step")
        steps.append(y[0])
    ys, last, steps, carried = run([x, state], [ys, last, pt.stack(steps), carried], values)
    np.testing.assert_allclose(steps, ys, atol=2e-6)
    np.testing.assert_allclose(carried, last, atol=2e-6)


@pytest.mark.parametrize("backend", ["numba", "c"])
def test_other_backends_agree_with_jax_on_a_gru_and_its_gradient(backend):
    x, state, values = stack_inputs("GRU", 1)
    params = Parameters()
    ys, _ = rnn.stacked_rnn(params, "L", x, state, "GRU", False, False, "fast")
    outputs = [ys, *pytensor.grad(pt.sum(ys**2), params.trainable())]
    for ours, jax in zip(
        run([x, state], outputs, values, backend), run([x, state], outputs, values), strict=True
    ):
        np.testing.assert_allclose(ours, jax, rtol=1e-5, atol=1e-5)


def test_skip_connections_are_named_as_in_the_original():
    """Quirk: GRU.outskip1y, but LSTM1.outskip1y; only the first has a bias; layers from 2 on are +inpskip."""
    names = {}
    for rnn_type in ("GRU", "LSTM"):
        x, state, _ = stack_inputs(rnn_type, 2)
        params = Parameters()
        rnn.stacked_rnn(params, f"F.{rnn_type}", x, state, rnn_type, True, False, "reference")
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
    layer = layers.linear(params, "L", 6, 4)
    params.assign({"L.W0": random(6, 4), "L.g0": np.array([1, 2, 3, 4])})
    (W,) = run([], [layers.weight(layer)], [])
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), [1, 2, 3, 4], rtol=1e-6)


def test_weight_norm_changes_nothing_at_first():
    layer = layers.linear(Parameters(), "L", 6, 4)
    (W,) = run([], [layers.weight(layer)], [])
    np.testing.assert_allclose(W, layer.W.get_value(), rtol=1e-6)


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
