"""Parameters: made once, drawn at every call; initial values; what a checkpoint may hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState

from samplernn_theano.errors import CheckpointError
from samplernn_theano.models import parameters
from samplernn_theano.models.parameters import Parameters, standard_normal, zeros


def test_a_name_is_one_variable_ever_after():
    params = Parameters()
    first = params.new("A.W0", (2, 3), standard_normal(2, 3))
    value = first.get_value()
    assert params.new("A.W0", (2, 3), standard_normal(2, 3)) is first is params["A.W0"]
    np.testing.assert_array_equal(first.get_value(), value)
    assert list(params) == ["A.W0"] and len(params) == 1


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=8))
def test_a_value_is_drawn_at_every_call(names):
    """Quirk: what is thrown away still moves the stream that later parameters draw from."""
    params, stream = Parameters(), RandomState(123)
    expected = {}
    for name in names:
        params.new(name, (2, 2), standard_normal(2, 2))
        drawn = stream.randn(2, 2).astype(np.float32)
        expected.setdefault(name, drawn)
    assert params.rng.get_state()[2] == stream.get_state()[2]
    np.testing.assert_array_equal(params.rng.randn(4), stream.randn(4))
    assert list(params) == list(expected)
    for name, array in params.arrays().items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_value_is_drawn_also_where_one_is_given():
    params, stream = Parameters(values={"A": np.ones((2, 2))}), RandomState(123)
    params.new("A", (2, 2), standard_normal(2, 2))
    params.new("B", (2, 2), standard_normal(2, 2))
    stream.randn(2, 2)
    np.testing.assert_array_equal(params["A"].get_value(), np.ones((2, 2)))
    np.testing.assert_array_equal(params["B"].get_value(), stream.randn(2, 2).astype(np.float32))


def test_arrays_are_copies_on_the_way_in_and_out():
    value, assigned = np.ones(2, np.float32), np.full(2, 2.0)
    params = Parameters(values={"A": value})
    params.new("A", (2,), zeros(2))
    params.new("B", (2,), zeros(2))
    value[:] = 5
    params.arrays()["A"][:] = 6
    assert params["A"].get_value().tolist() == [1, 1]
    params.assign({"B": assigned})
    assigned[:] = 7
    assert {name: array.tolist() for name, array in params.arrays().items()} == {"A": [1, 1], "B": [2, 2]}
    assert params.arrays()["B"].dtype == np.float32


# --- values of a checkpoint


def test_given_values_take_the_place_of_draws_and_a_missing_one_is_named():
    params = Parameters(seed=None, values={"A": np.array([1.5, 2.5])})
    params.new("A", (2,), zeros(2))
    params.check_all_used()
    assert params["A"].get_value().tolist() == [1.5, 2.5]
    with pytest.raises(CheckpointError, match="no parameter FrameLevel.h0"):
        params.new("FrameLevel.h0", (2,), zeros(2))


@pytest.mark.parametrize("shape", [(3, 2), (6,), (2, 3, 1), ()])
def test_a_value_of_another_shape_is_named_with_both_shapes(shape):
    params = Parameters(seed=None, values={"A.W0": np.zeros(shape)})
    with pytest.raises(CheckpointError) as caught:
        params.new("A.W0", (2, 3), zeros(2, 3))
    assert "A.W0" in str(caught.value) and "hyper-parameters" in str(caught.value)
    assert f"has shape {shape}, this model needs (2, 3)" in str(caught.value)


def test_a_value_without_a_place_is_named():
    params = Parameters(seed=None, values={"A": np.zeros(2), "Elsewhere.b": np.zeros(2)})
    params.new("A", (2,), zeros(2))
    with pytest.raises(CheckpointError, match="Elsewhere.b.*hyper-parameters"):
        params.check_all_used()


# --- initial values


@pytest.mark.parametrize("n", [1, 2, 8, 33])
def test_a_square_matrix_is_orthogonal_by_default(n):
    """Its draw takes as many numbers as the matrix has."""
    stream, expected = RandomState(2), RandomState(2)
    drawn = parameters.default(n, n)(stream)
    np.testing.assert_allclose(drawn.T @ drawn, np.eye(n), atol=1e-12)
    expected.normal(size=(n, n))
    np.testing.assert_array_equal(stream.randn(2), expected.randn(2))
