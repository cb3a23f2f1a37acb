"""Random streams of a generation: one per sequence.

`golden/sampling` holds two consecutive generations of four sequences by each of the original's models.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation.random_streams import NumpyStreams, TheanoStreams

GOLDEN = Path(__file__).parents[1] / "golden" / "sampling"
FAMILIES = ["one_tier", "two_tier", "three_tier", "wavenet"]
NAMES = ["uniforms", "normals"]
KINDS = [
    pytest.param(lambda n: NumpyStreams(7, n), "uniforms", id="numpy-uniforms"),
    pytest.param(lambda n: NumpyStreams(7, n), "normals", id="numpy-normals"),
    pytest.param(TheanoStreams, "uniforms", id="theano"),
]
all_kinds = pytest.mark.parametrize("make, name", KINDS)


# --- both kinds


@all_kinds
def test_a_sequence_does_not_depend_on_the_number_of_sequences(make, name):
    many = make(9).draw(name, 50)
    assert many.shape == (50, 9) and many.dtype == np.float32 and many.flags.c_contiguous
    for n in (1, 4):
        np.testing.assert_array_equal(make(n).draw(name, 50), many[:, :n])


@all_kinds
@settings(max_examples=25)
@given(parts=st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_draws_do_not_depend_on_the_length_of_the_blocks(make, name, parts):
    streams = make(3)
    segments = [streams.draw(name, length) for length in parts]
    np.testing.assert_array_equal(np.concatenate(segments), make(3).draw(name, sum(parts)))


@all_kinds
def test_sequences_differ(make, name):
    drawn = make(20).draw(name, 2000)
    correlations = np.corrcoef(drawn.T) - np.eye(20)
    assert np.abs(correlations).max() < 0.1


# --- NumpyStreams


def test_streams_are_numpy_generators():
    """Fixed by the seed and the index of the sequence, so that later versions give the same sound."""
    streams = NumpyStreams(2**40 + 5, 3)
    uniforms, normals = streams.draw("uniforms", 40), streams.draw("normals", 40)
    for i in range(3):
        seed = np.random.SeedSequence([2**40 + 5, i])
        np.testing.assert_array_equal(
            uniforms[:, i],
            np.random.Generator(np.random.PCG64(seed)).random(40, np.float32) * np.float32(1 - 2**-17),
        )
        seed = np.random.SeedSequence([2**40 + 5, i], spawn_key=(1,))
        np.testing.assert_array_equal(
            normals[:, i], np.random.Generator(np.random.PCG64(seed)).standard_normal(40, np.float32)
        )


def test_uniforms_and_normals_are_independent():
    streams = NumpyStreams(7, 2)
    streams.draw("normals", 13)
    np.testing.assert_array_equal(streams.draw("uniforms", 9), NumpyStreams(7, 2).draw("uniforms", 9))
    np.testing.assert_array_equal(streams.draw("normals", 9), NumpyStreams(7, 2).draw("normals", 22)[13:])


def test_seeds_differ():
    assert not np.isin(NumpyStreams(0, 2).draw("uniforms", 20), NumpyStreams(1, 2).draw("uniforms", 20)).any()


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
    assert abs(np.corrcoef(u.ravel(), z.ravel())[0, 1]) < 0.02


# --- TheanoStreams


@pytest.mark.parametrize("family", FAMILIES)
def test_uniforms_are_those_of_the_original_in_both_generations(family):
    golden = np.load(GOLDEN / f"{family}.npz")
    first, second = json.loads((GOLDEN / f"{family}.json").read_text())["n_sample_calls"]
    streams = TheanoStreams(4)
    one = streams.draw("uniforms", first)
    two = streams.draw("uniforms", second)
    np.testing.assert_array_equal(np.concatenate([one, two]), golden["mrg/uniforms_4streams"])


@pytest.mark.parametrize("family", FAMILIES)
def test_uniforms_and_probabilities_of_the_original_give_its_samples(family):
    """A draw is the first k at which the cumulative float32 sum exceeds the uniform; one per sample."""
    golden, later = np.load(GOLDEN / f"{family}.npz"), np.load(GOLDEN / "second_generation.npz")
    calls = json.loads((GOLDEN / f"{family}.json").read_text())["n_sample_calls"]
    streams = TheanoStreams(4)
    for probs, samples, n in (
        (golden["gen1/probs_first50"], golden["gen1/samples"], calls[0]),
        (later[f"{family}/gen2/probs_first3"], later[f"{family}/gen2/samples"], calls[1]),
    ):
        u = streams.draw("uniforms", n)[: len(probs)]
        drawn = np.argmax(np.cumsum(probs, axis=-1, dtype=np.float32) > u[:, :, None], axis=-1)
        overlap = samples.shape[1] - n
        assert np.all(samples[:, :overlap] == 16)  # silence, half of the 32 levels
        np.testing.assert_array_equal(drawn.T, samples[:, overlap : overlap + len(probs)])


def test_there_are_no_normals():
    with pytest.raises(HyperParameterError, match="no real-valued families.*without --like-original"):
        TheanoStreams(2).draw("normals", 10)
