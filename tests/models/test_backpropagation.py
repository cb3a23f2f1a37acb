"""Recurrent layers over time, and their gradient by hand."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from samplernn_theano.backends import fusion
from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import Recurrent
from samplernn_theano.models import backpropagation, rnn
from samplernn_theano.models.parameters import Parameters

T, B, N_IN, H = 7, 3, 5, 4


def random(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype(np.float32)


def stack(rnn_type, n_rnn, **options):
    """Hyper-parameters, inputs and their values."""
    hp = Recurrent(dim=H, rnn_type=rnn_type, n_rnn=n_rnn, **options)
    x = pt.tensor("x", dtype="float32", shape=(T, B, N_IN))
    state = pt.tensor("state", dtype="float32", shape=(B, n_rnn, hp.state_width))
    return hp, x, state, [random(*x.type.shape), random(*state.type.shape, seed=1)]


def run(inputs, outputs, values, backend=None):
    return [np.asarray(v) for v in compile_function(inputs, outputs, backend=backend)(*values)]


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("weight_norm", [True, False])
def test_the_gradient_by_hand_is_pytensors(rnn_type, weight_norm):
    hp, x, state, values = stack(rnn_type, 2, skip_conn=True, weight_norm=weight_norm)
    params = Parameters()
    outputs = []
    for rules in ((), (backpropagation.by_hand,)):
        ys, new_state = fusion.rewrite(rnn.stacked_rnn(params, hp, "L", x, state), *rules)
        # Every output matters, the last state too: its gradient comes in by another way.
        cost = pt.sum(ys * random(T, B, H, seed=2)) + pt.sum(new_state * values[1])
        outputs += [ys, new_state, *pytensor.grad(cost, [x, state, *params.trainable()])]
    results = run([x, state], outputs, values)
    half = len(results) // 2
    names = ["y", "state", "x", "state0", *params]
    for name, reference, by_hand in zip(names, results[:half], results[half:], strict=True):
        error = np.linalg.norm(reference - by_hand) / np.linalg.norm(reference)
        assert error < 2e-6, name


@pytest.mark.parametrize("rnn_type, products", [("GRU", 2), ("LSTM", 1)])
def test_the_backward_scan_has_the_products_with_the_recurrent_weights_alone(rnn_type, products):
    hp, x, state, _ = stack(rnn_type, 1)
    params = Parameters()
    ys, _ = fusion.rewrite(rnn.stacked_rnn(params, hp, "L", x, state), backpropagation.by_hand)
    program = compile_function([x, state], pytensor.grad(pt.sum(ys**2), params.trainable()), backend="jax")
    loops = [e.params["jaxpr"].jaxpr.eqns for e in program.jaxpr().eqns if e.primitive.name == "scan"]
    counts = [sum(inner.primitive.name == "dot_general" for inner in loop) for loop in loops]
    assert counts == [products, products]  # forward, backward


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
def test_one_step_at_a_time_gives_the_sequence(rnn_type):
    hp, x, state, values = stack(rnn_type, 3, skip_conn=True)
    params = Parameters()
    ys, last = rnn.stacked_rnn(params, hp, "L", x, state)
    steps, carried = [], state
    for t in range(T):
        y, carried = rnn.stacked_rnn(params, hp, "L", x[t : t + 1], carried)
        steps.append(y[0])
    ys, last, steps, carried = run([x, state], [ys, last, pt.stack(steps), carried], values)
    np.testing.assert_allclose(steps, ys, atol=2e-6)
    np.testing.assert_allclose(carried, last, atol=2e-6)


@pytest.mark.parametrize("backend", ["numba", "c"])
def test_other_backends_agree_with_jax_on_a_gru_and_its_gradient(backend):
    hp, x, state, values = stack("GRU", 1, weight_norm=False)
    params = Parameters()
    ys, _ = fusion.rewrite(rnn.stacked_rnn(params, hp, "L", x, state), backpropagation.by_hand)
    outputs = [ys, *pytensor.grad(pt.sum(ys**2), params.trainable())]
    results = (run([x, state], outputs, values, which) for which in (backend, "jax"))
    for ours, jax in zip(*results, strict=True):
        np.testing.assert_allclose(ours, jax, rtol=1e-5, atol=1e-5)
