"""Draws of samples: the rule of the original, temperature, and the nucleus."""

import numpy as np
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import RNNGMM, OneTier, TwoTier, WaveNet
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.models import distributions
from samplernn_theano.models.build import build_sampler
from samplernn_theano.models.parameters import Parameters
from tests.generation.test_samplers import interpreted

N = 400  # draws at once


def compiled(build, Q, *others):
    """A function of arrays: logits (N, Q), uniforms (N,) and `others` (N,), to what `build` makes of them."""
    logits = pt.tensor("logits", dtype="float32", shape=(N, Q))
    inputs = [logits, *(pt.tensor(name, dtype="float32", shape=(N,)) for name in ("uniforms", *others))]
    f = compile_function(inputs, build(*inputs))
    return lambda *arrays: [np.asarray(v) for v in f(*(np.asarray(a, np.float32) for a in arrays))]


def some_logits(Q, scale=2.0, seed=0):
    return np.random.RandomState(seed).normal(size=(N, Q), scale=scale).astype(np.float32)


def uniforms(seed=1):
    return np.random.default_rng(seed).random(N, np.float32)


# --- the rule of the original


@pytest.fixture(scope="module", params=[4, 256])
def by_rule(request):
    """The number of levels, and a function (logits, uniforms) -> levels. Many are searched in two steps."""
    f = compiled(lambda x, u: [distributions.categorical(x, u)], request.param)
    return request.param, lambda *arrays: f(*arrays)[0]


def test_draws_take_the_first_level_whose_running_sum_exceeds_the_uniform(by_rule):
    """Also where it is a border, to which the sum must be equal: with probabilities of powers of 2 it is."""
    Q, draw = by_rule
    probabilities = np.zeros((N, Q))
    probabilities[:, [0, Q // 2, Q // 2 + 1]] = 0.25, 0.5, 0.25
    u = np.resize([0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999, 1.0], N)  # 1.0: no sum exceeds it, which gives 0
    expected = np.resize([0, 0, Q // 2, Q // 2, Q // 2 + 1, Q // 2 + 1, 0], N)
    with np.errstate(divide="ignore"):
        drawn = draw(np.log(probabilities), u)
    assert drawn.dtype == np.int32
    np.testing.assert_array_equal(drawn, expected)


def test_draws_of_any_logits_are_those_of_the_running_sum(by_rule):
    Q, draw = by_rule
    for scale in (0.0, 0.5, 4.0):
        logits, u = some_logits(Q, scale), uniforms()
        sums = np.cumsum(softmax(logits.astype(np.float64), axis=1), axis=1)
        near = np.abs(sums - u[:, None]).min(axis=1) < 1e-6  # rounding may take it to the other side
        assert near.mean() < 0.05
        np.testing.assert_array_equal(draw(logits, u)[~near], (sums > u[:, None]).argmax(axis=1)[~near])


# --- the nucleus


def nucleus(probabilities, top_p):
    """Of one distribution (Q,), step by step: the most probable levels first, ties of the last one too."""
    kept, total, least = np.zeros(len(probabilities), bool), 0.0, np.inf
    for level in np.argsort(-probabilities, kind="stable"):
        if total >= top_p and probabilities[level] < least:
            break
        kept[level] = True
        total, least = total + probabilities[level], probabilities[level]
    return kept


@given(st.lists(st.integers(1, 6), min_size=8, max_size=8), st.integers(1, 63))
@settings(max_examples=60)
def test_the_nucleus_is_the_fewest_most_probable_levels(weights_of_8, top_p_64):
    """With ties. The probabilities are multiples of 1/64, so that a sum can be `top_p` exactly."""
    weights = np.array([*weights_of_8, 64])
    weights = np.minimum(np.cumsum(weights), 64)
    probabilities = np.diff(weights, prepend=0)[None] / 64
    x = pt.constant(probabilities.astype(np.float32))
    kept = distributions.nucleus(x, top_p_64 / 64).eval(mode="FAST_COMPILE")
    np.testing.assert_array_equal(kept[0], nucleus(probabilities[0], top_p_64 / 64))


@pytest.fixture(scope="module", params=[0.9, 0.3])
def in_nucleus(request):
    """top_p, and a function (logits, uniforms) -> levels, which of them are in the nucleus."""
    top_p = request.param

    def build(x, u):
        kept = distributions.nucleus(pt.special.softmax(x, axis=-1), top_p)
        return [distributions.categorical(x, u, top_p), kept]

    return top_p, compiled(build, 64)


def test_draws_with_top_p_are_those_of_the_renormalised_nucleus(in_nucleus):
    top_p, f = in_nucleus
    logits, u = some_logits(64), uniforms()
    drawn, kept = f(logits, u)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_array_equal(kept, [nucleus(p, top_p) for p in probabilities])
    assert 1 < kept.sum(axis=1).mean() < 32
    probabilities = np.where(kept, probabilities, 0)
    sums = np.cumsum(probabilities / probabilities.sum(axis=1, keepdims=True), axis=1)
    near = np.abs(sums - u[:, None]).min(axis=1) < 1e-6
    np.testing.assert_array_equal(drawn[~near], (sums > u[:, None]).argmax(axis=1)[~near])


def test_nothing_outside_of_the_nucleus_is_ever_drawn(in_nucleus):
    """Not for the largest nor the smallest uniform either: level 0 would be a click."""
    _, f = in_nucleus
    for u in (0.0, np.nextafter(np.float32(1), np.float32(0))):
        for seed in range(5):
            drawn, kept = f(some_logits(64, seed=seed), np.full(N, u))
            assert kept[np.arange(N), drawn].all()
            np.testing.assert_array_equal(drawn, kept.argmax(1) if u == 0 else 63 - kept[:, ::-1].argmax(1))


# --- temperature


def test_temperature_sharpens_each_sequence_on_its_own():
    """1 changes nothing, 2 halves the logits, and near 0 only the most probable level is left."""
    hp = OneTier(q_levels=64)

    def build(x, u, inverse):
        plain, flat = (distributions.categorical(logits, u) for logits in (x, x * np.float32(0.5)))
        return [distributions.draw(hp, x, {"uniforms": u}, inverse), plain, flat]

    f = compiled(build, 64, "inverse_temperature")
    logits, u = some_logits(64), uniforms()
    drawn, plain, flat = f(logits, u, np.resize([1.0, 1e6, 0.5], N))
    np.testing.assert_array_equal(drawn[0::3], plain[0::3])
    np.testing.assert_array_equal(drawn[1::3], logits.argmax(axis=1)[1::3])
    np.testing.assert_array_equal(drawn[2::3], flat[2::3])
    assert (plain != flat).mean() > 0.2


def test_temperature_sharpens_a_mixtures_weights_and_its_gaussians():
    """The logits are divided by the temperature, the deviations multiplied by its root."""
    hp = RNNGMM(n_components=2)

    def build(x, u, normals, inverse):
        return [distributions.draw(hp, x, {"uniforms": u, "normals": normals}, inverse)]

    f = compiled(build, 6, "normals", "inverse_temperature")
    one = [np.log(3), 0.0, -10.0, 10.0, np.log(0.5), np.log(0.25)]  # weights, means, log deviations
    normals = np.random.default_rng(2).standard_normal(N, np.float32)
    u = uniforms()
    for T in (1.0, 2.0, 1e-3):
        (drawn,) = f(np.tile(one, (N, 1)), u, normals, np.full(N, 1 / T))
        first = u < 3 ** (1 / T) / (3 ** (1 / T) + 1) if T > 0.01 else np.full(N, True)
        expected = np.where(first, -10 + 0.5 * np.sqrt(T) * normals, 10 + 0.25 * np.sqrt(T) * normals)
        np.testing.assert_allclose(drawn, expected, rtol=1e-5)


# --- in the models

SMALL = {"dim": 8, "batch_size": 1, "q_levels": 16}
FAMILIES = [
    TwoTier(**SMALL, emb_size=4, n_frames=8, frame_size=2, n_rnn=1),
    OneTier(**SMALL, emb_size=4),
    WaveNet(**SMALL, wavenet_blocks=2, dilation_layers_per_block=2),
]


@pytest.mark.parametrize("hp", FAMILIES, ids=lambda hp: hp.family)
def test_every_model_draws_by_temperature_and_top_p(hp):
    """Towards 0 either leaves the most probable level only. One sequence's temperature is nobody else's."""
    params = Parameters()

    def generate(top_p, temperatures):
        sampler = build_sampler(params, hp, 2, 24, top_p)
        f = interpreted(sampler.inputs, [sampler.samples])
        values = {v.name: np.zeros(v.type.shape, v.dtype) for v in sampler.inputs} | {
            "uniforms": np.random.default_rng(0).random((24, 2), np.float32),
            "previous": np.full((2, hp.overlap), hp.silence, np.int32),
            "reset": np.asarray(1, np.int32),
        }
        each = ({"inverse_temperature": 1 / np.array(t, np.float32)} for t in temperatures)
        return [np.asarray(f(*(values | own).values())[0]) for own in each]

    plain, sharp = generate(1.0, [(1, 1), (1, 1e-6)])
    (top,) = generate(1e-6, [(1, 1)])
    np.testing.assert_array_equal(sharp[0], plain[0])
    assert (sharp[1] != plain[1]).any()
    np.testing.assert_array_equal(sharp[1], top[1])
    np.testing.assert_array_equal(top[0], top[1])  # whatever the uniforms


@pytest.mark.parametrize(
    ("hp", "top_p", "words"),
    [
        *((FAMILIES[0], top_p, "--top-p") for top_p in (0.0, -0.1, 1.01, float("nan"))),
        (RNNGMM(dim=8), 0.9, "real numbers"),
    ],
)
def test_top_p_out_of_range_or_for_real_numbers_is_refused(hp, top_p, words):
    with pytest.raises(HyperParameterError, match=words):
        build_sampler(Parameters(), hp, 1, 8, top_p)
