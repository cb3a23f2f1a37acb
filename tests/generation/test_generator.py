"""Blocks of samples: silence, errors, equality of the backends."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.errors import CheckpointError
from samplernn_theano.generation import samplers
from samplernn_theano.generation.generator import Generator, blocks, take
from samplernn_theano.generation.random_streams import NumpyStreams
from tests.generation.test_partial import REAL, simple
from tests.generation.test_samplers import parameters


def test_samples_and_states_must_be_finite():
    generator = simple(hp=REAL)
    for sample, state in ((np.nan, 0), (np.inf, 0), (0, np.nan), (0, -np.inf)):
        new = np.full((2, 10), sample, np.float32), {"h0": np.full(2, state)}
        sampler = replace(generator.sampler, run=lambda *_, new=new: new)
        with pytest.raises(CheckpointError, match="not finite.*use another checkpoint"):
            next(blocks(replace(generator, sampler=sampler), {}))


@pytest.mark.parametrize("first", [0, 20])
def test_silence_is_requested_at_its_positions(first):
    generator = simple()
    sampler = replace(generator.sampler, run=lambda state, noise, silent: (silent[None], state))
    silenced = replace(generator, sampler=sampler, silent=range(25, 33))
    requested = np.concatenate([x[0] for x, _ in islice(blocks(silenced, generator.state, first), 5)])
    assert list(first + np.flatnonzero(requested)) == list(range(25, 33))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["c", "numba"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_backends_generate_the_same(family, backend):
    hp = replace(PRESETS[family]["tiny"], dim=8)
    params = parameters(hp)
    both = [samplers.create_sampler(params, hp, 2, name) for name in ("jax", backend)]
    ours, theirs = (take(Generator(hp, one, NumpyStreams(0, 2), one.start()), 200) for one in both)
    if hp.real_valued:
        np.testing.assert_allclose(ours[:, :20], theirs[:, :20], atol=1e-3)  # rounding grows
    else:
        assert np.mean(ours == theirs) > 0.99  # rounding may change a draw
