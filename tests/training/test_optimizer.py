"""Adam and the clip against the formulas written out in NumPy."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from samplernn_theano.backends.compile import BACKENDS, compile_function
from samplernn_theano.training import optimizer


def shared(value, name):
    return pytensor.shared(np.array(value, np.float32), name=name, shape=np.shape(value))


@pytest.mark.parametrize("backend", BACKENDS)
def test_adam_clips_and_moves_as_lasagne_does_in_float32(backend, optimised):
    """Its constants are float32 expressions: 1 - b2 is 1 - float32(0.999) = 9.9998713e-4."""
    start = np.array([1.0, -2.0, 0.5])
    slope = np.array([5.0, -0.25, 0.0])  # 5 is clipped to 1
    w = shared(start, "w")
    step_updates, state = optimizer.adam(pt.sum(w * slope.astype(np.float32)), [w], learning_rate=1.0)
    step = compile_function([], [w], step_updates, backend)

    one, b1, b2 = np.float32(1), np.float32(0.9), np.float32(0.999)
    expected, m, v = start.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, 6):
        step()
        g = np.clip(slope, -1, 1)
        m, v = b1 * m + (one - b1) * g, b2 * v + (one - b2) * g**2
        a = np.sqrt(one - b2 ** np.float32(t)) / (one - b1 ** np.float32(t))
        expected -= a * m / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(state["adam.m.w"].get_value(), m, rtol=2e-7)  # worst measured: 4.4e-8
        np.testing.assert_allclose(state["adam.v.w"].get_value(), v, rtol=2e-7)  # worst measured: 2.2e-8
        np.testing.assert_allclose(w.get_value(), expected, rtol=0, atol=1.2e-7)  # worst measured: 2.4e-8
        assert float(state["adam.t"].get_value()) == t


def test_a_parameter_that_the_cost_does_not_reach_is_left_alone():
    """Quirk: so BigFrameLevel.IndependentPreds never moves in three_tier's training."""
    w, apart = shared([1.0], "w"), shared([3.0], "apart")
    step_updates, state = optimizer.adam(pt.sum(w**2), [w, apart])
    assert apart not in step_updates
    assert set(state) == {"adam.t", "adam.m.w", "adam.v.w"}
