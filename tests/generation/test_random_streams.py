"""Random numbers of a generation: one stream per sequence, which goes on where it stopped.

`golden/sampling` is about four sequences, generated twice in a row by each of the original's models.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation.random_streams import OriginalStreams, OwnStreams

GOLDEN = Path(__file__).parents[1] / "golden" / "sampling"
FAMILIES = ["one_tier", "two_tier", "three_tier", "wavenet"]
NAMES = ["uniforms", "normals"]
KINDS = [
    pytest.param(lambda n: OwnStreams(7, n), "uniforms", id="own-uniforms"),
    pytest.param(lambda n: OwnStreams(7, n), "normals", id="own-normals"),
    pytest.param(OriginalStreams, "uniforms", id="original"),
]
all_kinds = pytest.mark.parametrize("make, name", KINDS)


# --- both kinds


@all_kinds
def test_a_sequence_does_not_depend_on_how_many_others_there_are(make, name):
    many = make(9).draw(name, 50)
    assert many.shape == (50, 9) and many.dtype == np.float32 and many.flags.c_contiguous
    for n in (1, 4):
        np.testing.assert_array_equal(make(n).draw(name, 50), many[:, :n])


@all_kinds
@settings(deadline=None, max_examples=25)
@given(parts=st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_draws_do_not_depend_on_the_length_of_the_blocks(make, name, parts):
    streams = make(3)
    pieces = [streams.draw(name, length) for length in parts]
    np.testing.assert_array_equal(np.concatenate(pieces), make(3).draw(name, sum(parts)))


@all_kinds
def test_sequences_differ(make, name):
    drawn = make(20).draw(name, 2000)
    correlations = np.corrcoef(drawn.T) - np.eye(20)
    assert np.abs(correlations).max() < 0.1


# --- our own


def test_a_stream_can_be_had_with_numpy_alone():
    """The seed and the number of the sequence settle it: a seed means the same sound in later versions."""
    streams = OwnStreams(2**40 + 5, 3)
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


def test_drawing_the_one_kind_of_numbers_does_not_move_the_other():
    streams = OwnStreams(7, 2)
    streams.draw("normals", 13)
    np.testing.assert_array_equal(streams.draw("uniforms", 9), OwnStreams(7, 2).draw("uniforms", 9))
    np.testing.assert_array_equal(streams.draw("normals", 9), OwnStreams(7, 2).draw("normals", 22)[13:])


def test_seeds_differ():
    assert not np.isin(OwnStreams(0, 2).draw("uniforms", 20), OwnStreams(1, 2).draw("uniforms", 20)).any()


def test_no_uniform_number_gives_a_click():
    """Neither exactly 0 nor above a running sum that ends short of 1: both would draw the lowest level."""
    streams = OwnStreams(0, 1)
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
    streams = OwnStreams(0, 10)
    u, z = streams.draw("uniforms", 20_000), streams.draw("normals", 20_000)
    assert u.min() > 0 and u.max() < 1 - 2**-17 + 1e-7
    assert abs(u.mean() - 1 / 2) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    assert abs(z.mean()) < 0.02 and abs(z.var() - 1) < 0.02
    assert abs(np.corrcoef(u.ravel(), z.ravel())[0, 1]) < 0.02


# --- the original's


@pytest.mark.parametrize("family", FAMILIES)
def test_uniforms_are_the_originals_in_both_generations(family):
    golden = np.load(GOLDEN / f"{family}.npz")
    first, second = json.loads((GOLDEN / f"{family}.json").read_text())["n_sample_calls"]
    streams = OriginalStreams(4)
    one = streams.draw("uniforms", first)
    two = streams.draw("uniforms", second)
    np.testing.assert_array_equal(np.concatenate([one, two]), golden["mrg/uniforms_4streams"])


@pytest.mark.parametrize("family", FAMILIES)
def test_with_the_originals_probabilities_they_give_its_samples(family):
    """A draw is the first k whose running float32 sum exceeds the uniform; each drawn sample takes one."""
    golden, later = np.load(GOLDEN / f"{family}.npz"), np.load(GOLDEN / "second_generation.npz")
    calls = json.loads((GOLDEN / f"{family}.json").read_text())["n_sample_calls"]
    streams = OriginalStreams(4)
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
        OriginalStreams(2).draw("normals", 10)
