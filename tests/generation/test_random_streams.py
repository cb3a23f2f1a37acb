"""Random streams of a generation, one per sequence; those of the original: test_mrg31k3p.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import PCG64, Generator, SeedSequence

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation.random_streams import NumpyStreams, TheanoStreams

KINDS = [
    pytest.param(lambda n: NumpyStreams(7, n), "uniforms", id="numpy-uniforms"),
    pytest.param(lambda n: NumpyStreams(7, n), "normals", id="numpy-normals"),
    pytest.param(TheanoStreams, "uniforms", id="theano"),
]
all_kinds = pytest.mark.parametrize("make, name", KINDS)


@all_kinds
@settings(max_examples=25)
@given(parts=st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_draws_do_not_depend_on_the_length_of_the_blocks(make, name, parts):
    streams = make(3)
    segments = [streams.draw(name, length) for length in parts]
    np.testing.assert_array_equal(np.concatenate(segments), make(3).draw(name, sum(parts)))


def test_streams_are_numpy_generators():
    """Fixed by the seed and the index of the sequence, so that later versions give the same sound."""
    streams = NumpyStreams(2**40 + 5, 3)
    uniforms, normals = streams.draw("uniforms", 40), streams.draw("normals", 40)
    for i in range(3):
        one, other = (SeedSequence([2**40 + 5, i], spawn_key=key) for key in ((), (1,)))
        expected = Generator(PCG64(one)).random(40, np.float32) * np.float32(1 - 2**-17)
        np.testing.assert_array_equal(uniforms[:, i], expected)
        np.testing.assert_array_equal(normals[:, i], Generator(PCG64(other)).standard_normal(40, np.float32))


def test_no_uniform_causes_a_click():
    """Neither 0 nor one above a cumulative sum that ends short of 1: both would draw the lowest level."""
    streams = NumpyStreams(0, 1)
    extremes = np.array([0, 1 - 2**-24], np.float32)

    class Extreme:
        def random(self, dtype, out):
            out[:] = extremes

    streams._generators["uniforms"] = [Extreme()]
    drawn = streams.draw("uniforms", 2)
    probabilities = np.random.default_rng(0).dirichlet(np.full(256, 0.3), 2000).astype(np.float32)
    assert drawn.min() > 0
    assert (np.cumsum(probabilities, axis=1, dtype=np.float32)[:, -1] > drawn.max()).all()


def test_distributions():
    streams = NumpyStreams(0, 10)
    u, z = streams.draw("uniforms", 20_000), streams.draw("normals", 20_000)
    assert u.min() > 0 and u.max() < 1 - 2**-17 + 1e-7
    assert abs(u.mean() - 1 / 2) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    assert abs(z.mean()) < 0.02 and abs(z.var() - 1) < 0.02
    assert np.abs(np.corrcoef(np.concatenate([u, z], axis=1).T) - np.eye(20)).max() < 0.1

    with pytest.raises(HyperParameterError, match="no real-valued families.*without --like-original"):
        TheanoStreams(2).draw("normals", 10)
