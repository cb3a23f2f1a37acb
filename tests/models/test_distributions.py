"""Output distributions: the softmax, and the mixture of Gaussians against SciPy."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp, ndtr, softmax

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import RNNGMM, OneTier
from samplernn_theano.models import distributions, layers
from samplernn_theano.models.distributions import categorical

K = 3  # components
HP = RNNGMM(n_components=K)
B, T = 4, 5  # samples to predict in a test of the cost
N = 20_000  # draws in a test of drawing
LOGITS, MEANS, LOG_DEVIATIONS = slice(0, K), slice(K, 2 * K), slice(2 * K, 3 * K)


def some_outputs(*shape, seed=0):
    """Outputs of a network, deviations near 1."""
    outputs = np.random.RandomState(seed).normal(size=(*shape, 3 * K))
    outputs[..., LOG_DEVIATIONS] *= 0.5
    return outputs.astype(np.float32)


def some_targets(seed=1):
    return np.random.RandomState(seed).normal(scale=2, size=(B, T)).astype(np.float32)


def nll_bits_by_scipy(outputs, targets):
    """-log2 of the density of each target: a sum over components, float64."""
    outputs = np.asarray(outputs, np.float64)
    log_densities = stats.norm.logpdf(
        np.asarray(targets)[..., None], outputs[..., MEANS], np.exp(outputs[..., LOG_DEVIATIONS])
    )
    return -logsumexp(log_softmax(outputs[..., LOGITS], axis=-1) + log_densities, axis=-1) / np.log(2)


# --- the cost of a mixture


@pytest.fixture(scope="module")
def f():
    """A function (outputs, targets, mask) -> cost, gradient of the outputs, NLL of each target."""
    outputs = pt.tensor("outputs", dtype="float32", shape=(B, T, 3 * K))
    targets, mask = (pt.tensor(name, dtype="float32", shape=(B, T)) for name in ("targets", "mask"))
    nll = distributions.nll(HP, outputs, targets, mask)
    cost = pt.sum(nll) / pt.sum(mask)
    compiled = compile_function([outputs, targets, mask], [cost, pytensor.grad(cost, outputs), nll])

    def call(outputs, targets, mask=None):
        mask = np.ones((B, T)) if mask is None else mask
        return [
            np.asarray(v) for v in compiled(*(np.asarray(x, np.float32) for x in (outputs, targets, mask)))
        ]

    return call


def test_nll_is_that_of_scipys_mixture(f):
    outputs, targets = some_outputs(B, T), some_targets()
    expected = nll_bits_by_scipy(outputs, targets)
    cost, _, nll = f(outputs, targets)
    np.testing.assert_allclose(nll, expected, rtol=2e-6)
    np.testing.assert_allclose(cost, expected.mean(), rtol=2e-6)


def test_nll_of_a_standard_normal_is_its_entropy(f):
    """A value known from a formula: 0.5 log2(2 pi e) bits on average, here with targets of mean square 1."""
    np.testing.assert_allclose(f(np.zeros((B, T, 3 * K)), np.ones((B, T)))[0], 2.047095585, rtol=1e-6)


def test_gradient_is_the_slope_of_scipys_cost(f):
    outputs, targets = some_outputs(B, T).astype(np.float64), some_targets()
    gradient = f(outputs, targets)[1][0, 0]
    step = 1e-5
    for i in range(len(gradient)):
        up, down = (outputs[:1, :1].copy() for _ in range(2))
        up[0, 0, i] += step
        down[0, 0, i] -= step
        difference = nll_bits_by_scipy(up, targets[:1, :1]) - nll_bits_by_scipy(down, targets[:1, :1])
        slope = difference.item() / (2 * step * B * T)
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-4, atol=1e-8)


def test_masked_samples_do_not_count(f):
    outputs, targets = some_outputs(B, T), some_targets()
    mask = np.ones((B, T))
    mask[1] = 0
    cost, _, nll = f(outputs, targets, mask)
    np.testing.assert_allclose(
        cost, np.delete(nll_bits_by_scipy(outputs, targets), 1, axis=0).mean(), rtol=2e-6
    )
    assert (nll[1] == 0).all()


def test_cost_is_nan_where_all_is_masked(f):
    """Quirk: 0 / 0, as with the softmax."""
    assert np.isnan(f(some_outputs(B, T), some_targets(), np.zeros((B, T)))[0])


@pytest.mark.parametrize(
    "part, value",
    [(LOGITS, 1e4), (MEANS, 1e6), (MEANS, -1e6), (LOG_DEVIATIONS, 80), (LOG_DEVIATIONS, -80)],
)
def test_extreme_outputs_give_finite_costs_and_gradients(f, part, value):
    outputs = some_outputs(B, T)
    for end in (part.start + 1, part.stop):  # the first component only, then all of them
        outputs[..., part.start : end] = value
        cost, gradient, _ = f(outputs, some_targets())
        assert np.isfinite(cost)
        assert np.isfinite(gradient).all()


def test_extreme_targets_give_finite_costs_and_gradients(f):
    outputs, targets = some_outputs(B, T), some_targets()
    outputs[..., LOG_DEVIATIONS] = -80  # at the minimum, where a distance weighs most
    targets[0] = 1e6
    cost, gradient, _ = f(outputs, targets)
    assert np.isfinite(cost)
    assert np.isfinite(gradient).all()


def test_deviations_have_a_minimum(f):
    """Without it the density at a value that the data repeat could grow without limit."""
    outputs, targets = some_outputs(B, T), np.zeros((B, T))
    outputs[..., MEANS] = 0  # every mean hits its target
    narrow, narrower = outputs.copy(), outputs.copy()
    narrow[..., LOG_DEVIATIONS] = np.log(1e-3)
    narrower[..., LOG_DEVIATIONS] = -30
    cost, gradient, _ = f(narrower, targets)
    np.testing.assert_allclose(cost, f(narrow, targets)[0], rtol=1e-6)
    np.testing.assert_allclose(cost, np.log2(1e-3 * np.sqrt(2 * np.pi)), rtol=1e-6)
    assert (gradient[..., LOG_DEVIATIONS] == 0).all()


# --- draws from a mixture


@pytest.fixture(scope="module")
def draw():
    """A function (outputs (N, 3 K), uniforms (N,), normals (N,)) -> samples (N,)."""
    outputs = pt.tensor("outputs", dtype="float32", shape=(N, 3 * K))
    uniforms, normals = (pt.tensor(name, dtype="float32", shape=(N,)) for name in ("uniforms", "normals"))
    noise = {"uniforms": uniforms, "normals": normals}
    ones = pt.ones((N,), dtype="float32")  # inverse temperatures
    compiled = compile_function([outputs, uniforms, normals], [distributions.draw(HP, outputs, noise, ones)])
    return lambda *values: np.asarray(compiled(*(np.asarray(v, np.float32) for v in values))[0])


def some_noise(seed=2):
    """Uniforms and normals (N,)."""
    rng = np.random.RandomState(seed)
    return rng.uniform(size=N), rng.normal(size=N)


def test_a_draw_is_mean_plus_deviation_times_normal_of_the_component_drawn(draw):
    """The component: the first whose running sum of weights exceeds the uniform."""
    outputs, (uniforms, normals) = some_outputs(N), some_noise()
    running = softmax(outputs[:, LOGITS].astype(np.float64), axis=-1).cumsum(axis=-1)
    component = (running > uniforms[:, None]).argmax(axis=-1)
    rows = np.arange(N)
    deviations = np.exp(outputs[:, LOG_DEVIATIONS])
    expected = outputs[:, MEANS][rows, component] + deviations[rows, component] * normals
    drawn = draw(outputs, uniforms, normals)
    clear = np.abs(running - uniforms[:, None]).min(axis=-1) > 1e-6  # no tie within float32's rounding
    assert clear.mean() > 0.999
    np.testing.assert_allclose(drawn[clear], expected[clear], rtol=1e-5, atol=1e-5)


def test_a_uniform_that_no_running_sum_exceeds_gives_the_first_component(draw):
    """Quirk of Theano's multinomial, kept for components: a float32 sum may end below 1."""
    outputs = np.zeros((N, 3 * K))
    outputs[:, MEANS] = [10, 20, 30]
    drawn = draw(outputs, np.resize([0, 0.3, 0.4, 0.6, 0.7, 0.99, 1], N), np.zeros(N))
    np.testing.assert_array_equal(drawn, np.resize([10, 10, 20, 20, 30, 30, 10], N))


def test_the_minimum_of_the_deviations_holds_for_draws(draw):
    outputs = np.zeros((N, 3 * K))
    outputs[:, LOG_DEVIATIONS] = -30
    uniforms, normals = some_noise()
    np.testing.assert_allclose(draw(outputs, uniforms, normals), 1e-3 * normals, rtol=1e-5)


def test_draws_have_the_mixtures_distribution(draw):
    """Mean, variance and distribution function."""
    logits, means, deviations = (
        np.array([1.0, 0.0, -0.5]),
        np.array([-2.0, 0.5, 3.0]),
        np.exp([-1.0, 0.3, 0.0]),
    )
    drawn = draw(np.tile(np.concatenate([logits, means, np.log(deviations)]), (N, 1)), *some_noise())
    weights = softmax(logits)
    mean = weights @ means
    variance = weights @ ((means - mean) ** 2 + deviations**2)
    assert abs(drawn.mean() - mean) < 3 * np.sqrt(variance / N)
    np.testing.assert_allclose(drawn.var(), variance, rtol=0.05)
    assert stats.kstest(drawn, lambda x: ndtr((x[:, None] - means) / deviations) @ weights).pvalue > 0.05


# --- widths and the softmax


def test_width_is_the_number_of_outputs_for_one_prediction():
    assert distributions.width(OneTier(q_levels=16)) == 16
    assert distributions.width(HP) == K * 3  # a weight, a mean and a log deviation each


def test_levels_are_predicted_by_a_softmax():
    hp = OneTier(q_levels=6)
    logits = pt.tensor("logits", dtype="float32", shape=(B, T, 6))
    targets = pt.tensor("targets", dtype="int32", shape=(B, T))
    mask = pt.tensor("mask", dtype="float32", shape=(B, T))
    uniforms = pt.tensor("uniforms", dtype="float32", shape=(B,))
    results = [
        distributions.nll(hp, logits, targets, mask),
        layers.nll_bits(logits, targets),
        distributions.draw(hp, logits[:, 0], {"uniforms": uniforms}, pt.ones((B,), dtype="float32")),
        categorical(logits[:, 0], uniforms),
    ]
    f = compile_function([logits, targets, mask, uniforms], results)
    rng = np.random.RandomState(0)
    values = rng.normal(size=(B, T, 6)), rng.randint(0, 6, (B, T)), rng.uniform(size=(B, T)) < 0.7
    arrays = [v.astype(d) for v, d in zip(values, ("f4", "i4", "f4"), strict=True)]
    draws = rng.uniform(size=B).astype("f4")
    masked, nll, drawn, expected_drawn = map(np.asarray, f(*arrays, draws))
    np.testing.assert_array_equal(masked, np.where(arrays[2] == 1, nll, 0))
    assert drawn.dtype == np.int32
    np.testing.assert_array_equal(drawn, expected_drawn)
