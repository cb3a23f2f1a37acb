"""Output distributions: the softmax, and the mixture of Gaussians against SciPy."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp, softmax

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import RNNGMM, OneTier
from samplernn_theano.models import distributions

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
        return list(map(np.asarray, compiled(*(np.asarray(x, "f4") for x in (outputs, targets, mask)))))

    return call


def test_nll_is_that_of_scipys_mixture(f):
    outputs, targets = some_outputs(B, T), some_targets()
    expected = nll_bits_by_scipy(outputs, targets)
    cost, _, nll = f(outputs, targets)
    np.testing.assert_allclose(nll, expected, rtol=2e-6)
    np.testing.assert_allclose(cost, expected.mean(), rtol=2e-6)


def test_masked_samples_do_not_count(f):
    """Quirk: where all is masked the cost is NaN, 0 / 0, as with the softmax."""
    outputs, targets = some_outputs(B, T), some_targets()
    mask = np.ones((B, T))
    mask[1] = 0
    cost, _, nll = f(outputs, targets, mask)
    expected = np.delete(nll_bits_by_scipy(outputs, targets), 1, axis=0).mean()
    np.testing.assert_allclose(cost, expected, rtol=2e-6)
    assert (nll[1] == 0).all() and np.isnan(f(outputs, targets, 0 * mask)[0])


@pytest.mark.parametrize(
    "part, value",
    [(LOGITS, 1e4), (MEANS, 1e6), (MEANS, -1e6), (LOG_DEVIATIONS, 80), (LOG_DEVIATIONS, -80)],
)
def test_extreme_outputs_and_targets_give_finite_costs_and_gradients(f, part, value):
    outputs, targets = some_outputs(B, T), some_targets()
    for end in (part.start + 1, part.stop):  # the first component only, then all of them
        outputs[..., part.start : end] = value
        for first_target in (targets[0, 0], 1e6):
            targets[0, 0] = first_target
            cost, gradient, _ = f(outputs, targets)
            assert np.isfinite(cost) and np.isfinite(gradient).all()


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


# --- widths and the softmax


def test_levels_are_predicted_by_a_softmax():
    """Whose width is the number of levels; a mixture has a weight, a mean and a log deviation each."""
    hp = OneTier(q_levels=6)
    assert (distributions.width(hp), distributions.width(HP)) == (6, 3 * K)
    rng = np.random.RandomState(0)
    logits, targets = rng.normal(size=(B, T, 6)).astype("f4"), rng.randint(0, 6, (B, T)).astype("i4")
    mask = (rng.uniform(size=(B, T)) < 0.7).astype("f4")
    masked = distributions.nll(hp, *map(pt.constant, (logits, targets, mask))).eval()
    bits = -log_softmax(logits, axis=-1) / np.log(2)
    expected = np.take_along_axis(bits, targets[..., None], axis=-1)[..., 0] * mask
    np.testing.assert_allclose(masked, expected, rtol=1e-5)
