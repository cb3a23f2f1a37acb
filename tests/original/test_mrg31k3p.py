"""The random numbers of the original's sampler, against what Theano drew when the original generated.

`golden/sampling` is about four sequences, generated twice in a row by each of the original's models.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.original import mrg31k3p

GOLDEN = Path(__file__).parents[1] / "golden" / "sampling"
FAMILIES = ["one_tier", "two_tier", "three_tier", "wavenet"]
SAMPLING = {family: dict(np.load(GOLDEN / f"{family}.npz")) for family in FAMILIES}
ABOUT = {family: json.loads((GOLDEN / f"{family}.json").read_text()) for family in FAMILIES}

families = pytest.mark.parametrize("family", FAMILIES)


@families
def test_initial_states_are_theanos(family):
    states = mrg31k3p.states(15_360)
    assert states.dtype == np.int32
    assert list(states.shape) == ABOUT[family]["mrg_rstate_shape"]
    np.testing.assert_array_equal(states[:64], SAMPLING[family]["mrg/rstate_first64"])
    np.testing.assert_array_equal(states[-4:], SAMPLING[family]["mrg/rstate_last4"])
    digest = hashlib.sha256(states.astype("<i4").tobytes()).hexdigest()
    assert digest == ABOUT[family]["mrg_rstate_sha256_int32_C"]


@families
def test_uniforms_are_theanos_from_one_generation_to_the_next(family):
    first, second = ABOUT[family]["n_sample_calls"]
    initial = mrg31k3p.states(4)
    between, one = mrg31k3p.uniforms(initial, first)
    _, two = mrg31k3p.uniforms(between, second)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([one, two]), SAMPLING[family]["mrg/uniforms_4streams"])
    # Theano has 15,360 streams, and moves only those of the four sequences.
    after = np.concatenate([between, mrg31k3p.states(15_360)[4:8]])
    np.testing.assert_array_equal(after, SAMPLING[family]["mrg/rstate_after_first_call_first8"])


def test_quirk_no_uniform_is_rounded_to_1():
    """The published 2^-31 would make 1 of the largest difference. Theano's factor is a little smaller."""
    state = np.zeros((1, 6), np.int32)  # the next difference is 0, which counts as m1, the largest
    _, u = mrg31k3p.uniforms(state, 1)
    assert np.float32(2**31 - 1) * np.float32(2.0**-31) == 1
    assert u == np.nextafter(np.float32(1), np.float32(0))


PARTS = st.lists(st.integers(0, 40), min_size=1, max_size=4)


@settings(max_examples=40)
@given(skip=st.integers(0, 2**80), n=st.integers(1, 5), parts=PARTS)
def test_uniforms_lie_between_0_and_1_and_do_not_depend_on_the_division_into_calls(skip, n, parts):
    initial = mrg31k3p.jump(mrg31k3p.states(n), skip)
    state, pieces = initial, []
    for n_draws in parts:
        state, u = mrg31k3p.uniforms(state, n_draws)
        assert u.shape == (n_draws, n) and u.dtype == np.float32
        pieces.append(u)
    end, whole = mrg31k3p.uniforms(initial, sum(parts))
    assert np.all((whole > 0) & (whole < 1))
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(state, end)
    np.testing.assert_array_equal(end, mrg31k3p.jump(mrg31k3p.states(n), skip + sum(parts)))
