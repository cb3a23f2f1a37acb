"""Parameters: made once, drawn at every call; initial values; what a checkpoint may hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState

from samplernn_theano.errors import CheckpointError
from samplernn_theano.models import parameters
from samplernn_theano.models.parameters import Parameters, he, standard_normal, zeros


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


def test_another_seed_gives_other_values():
    values = [Parameters(seed).new("A", (3,), standard_normal(3)).get_value() for seed in (123, 123, 124)]
    np.testing.assert_array_equal(values[0], values[1])
    assert (values[0] != values[2]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variables_have_the_type_the_shape_and_the_name(dtype):
    variable = Parameters(dtype=dtype).new("A.W0", (2, 3), zeros(2, 3))
    assert variable.type.dtype == variable.get_value().dtype == dtype
    assert variable.type.shape == (2, 3)
    assert variable.name == "A.W0"


def test_trainable_ones_come_in_building_order():
    params = Parameters()
    for name, trainable in (("Z", True), ("h0", False), ("A", True)):
        params.new(name, (1,), zeros(1), trainable)
    assert params.trainable() == [params["Z"], params["A"]]
    assert list(params.arrays()) == ["Z", "h0", "A"]


def test_arrays_are_copies_on_the_way_in_and_out():
    given_value = np.ones(2, np.float32)
    params = Parameters(values={"A": given_value})
    params.new("A", (2,), zeros(2))
    given_value[:] = 5
    params.arrays()["A"][:] = 6
    assigned = np.full(2, 2, np.float32)
    np.testing.assert_array_equal(params["A"].get_value(), [1, 1])
    params.assign({"A": assigned})
    assigned[:] = 7
    np.testing.assert_array_equal(params["A"].get_value(), [2, 2])


def test_assigned_values_take_the_type_and_the_others_stay():
    params = Parameters()
    params.new("A", (2,), zeros(2))
    params.new("B", (2,), zeros(2))
    params.assign({"B": np.array([1, 2], np.float64)})
    assert {name: array.tolist() for name, array in params.arrays().items()} == {"A": [0, 0], "B": [1, 2]}
    assert params.arrays()["B"].dtype == np.float32


# --- values of a checkpoint


def test_given_values_take_the_place_of_draws():
    params = Parameters(seed=None, values={"A": np.array([1.5, 2.5])})
    params.new("A", (2,), zeros(2))
    params.check_all_used()
    assert params["A"].get_value().tolist() == [1.5, 2.5]


def test_a_missing_value_is_named():
    params = Parameters(seed=None, values={"A": np.zeros(2)})
    params.new("A", (2,), zeros(2))
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


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.01, 3))
def test_uniform_draws_have_their_deviation_and_are_numpys(n_in, n_out, deviation):
    drawn = parameters.uniform(deviation, (n_in, n_out))(RandomState(123))
    bound = deviation * np.sqrt(3)  # a uniform distribution of half-width b has the deviation b / sqrt(3)
    np.testing.assert_array_equal(drawn, RandomState(123).uniform(-bound, bound, (n_in, n_out)))


@pytest.mark.parametrize(
    "draw, deviation",
    [
        (he(50, 400), np.sqrt(2 / 50)),
        (parameters.default(50, 400), np.sqrt(1 / 50)),
        (standard_normal(50, 400), 1),
    ],
)
def test_deviations(draw, deviation):
    drawn = draw(RandomState(1))
    assert drawn.shape == (50, 400)
    assert abs(drawn.mean()) < 0.02 * deviation
    assert abs(drawn.std() / deviation - 1) < 0.02


@pytest.mark.parametrize("n", [1, 2, 8, 33])
def test_a_square_matrix_is_orthogonal_by_default(n):
    drawn = parameters.default(n, n)(RandomState(2))
    np.testing.assert_allclose(drawn.T @ drawn, np.eye(n), atol=1e-12)
    np.testing.assert_array_equal(drawn, parameters.orthogonal(n)(RandomState(2)))


def test_an_orthogonal_draw_takes_as_many_numbers_as_the_matrix_has():
    stream = RandomState(3)
    parameters.orthogonal(4)(stream)
    expected = RandomState(3)
    expected.normal(size=(4, 4))
    np.testing.assert_array_equal(stream.randn(2), expected.randn(2))


def test_zeros_draw_nothing():
    stream = RandomState(3)
    assert not zeros(2, 3)(stream).any()
    assert stream.randn() == RandomState(3).randn()
