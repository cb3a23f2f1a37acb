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
B, T = 4, 5  # vectors to predict in a test of the cost
N = 20_000  # draws in a test of drawing
LOG_DEVIATIONS_FROM = {n: K + K * n for n in (1, 2, 4)}  # where they begin among a prediction's outputs


def mixture(n):
    """Hyper-parameters of a network that predicts n samples at a time."""
    return RNNGMM(n_components=K, frame_size=n, seq_len=4)


def some_outputs(n, *shape, seed=0):
    """Outputs of a network, deviations near 1."""
    outputs = np.random.RandomState(seed).normal(size=(*shape, K * (1 + 2 * n)))
    outputs[..., LOG_DEVIATIONS_FROM[n] :] *= 0.5
    return outputs.astype(np.float32)


def some_targets(n, seed=1):
    return np.random.RandomState(seed).normal(scale=2, size=(B, T, n)).astype(np.float32)


def unpacked(outputs, n):
    """Logits (..., K), means and deviations (..., K, n) in float64."""
    outputs = np.asarray(outputs, np.float64)
    parts = outputs[..., K:].reshape((*outputs.shape[:-1], 2, K, n))
    return outputs[..., :K], parts[..., 0, :, :], np.exp(parts[..., 1, :, :])


def nll_bits_by_scipy(outputs, targets):
    """-log2 of the density of each vector, targets (..., n): a sum over components, float64."""
    logits, means, deviations = unpacked(outputs, targets.shape[-1])
    nll = np.empty(targets.shape[:-1])
    for at in np.ndindex(*nll.shape):
        log_densities = [
            stats.multivariate_normal(mean, np.diag(deviation**2)).logpdf(targets[at])
            for mean, deviation in zip(means[at], deviations[at], strict=True)
        ]
        nll[at] = -logsumexp(log_softmax(logits[at]) + log_densities) / np.log(2)
    return nll


# --- the cost of a mixture


@pytest.fixture(scope="module", params=[1, 4])
def evaluate(request):
    """n, and a function (outputs, targets, mask) -> cost, gradient of the outputs, NLL of each vector."""
    n = request.param
    outputs = pt.tensor("outputs", dtype="float32", shape=(B, T, K * (1 + 2 * n)))
    targets, mask = (pt.tensor(name, dtype="float32", shape=(B, T, n)) for name in ("targets", "mask"))
    # A single sample comes without an axis of its own.
    squeezed = (targets[..., 0], mask[..., 0]) if n == 1 else (targets, mask)
    cost = pt.sum(distributions.nll(mixture(n), outputs, *squeezed)) / pt.sum(mask)
    results = [cost, pytensor.grad(cost, outputs), distributions.mixture_nll_bits(outputs, targets, mask, K)]
    f = compile_function([outputs, targets, mask], results)

    def call(outputs, targets, mask=None):
        mask = np.ones((B, T, n)) if mask is None else mask
        return [np.asarray(v) for v in f(*(np.asarray(x, np.float32) for x in (outputs, targets, mask)))]

    return n, call


def test_nll_is_that_of_scipys_mixture(evaluate):
    n, f = evaluate
    outputs, targets = some_outputs(n, B, T), some_targets(n)
    np.testing.assert_allclose(f(outputs, targets)[2], nll_bits_by_scipy(outputs, targets), rtol=2e-6)


def test_cost_is_in_bits_per_sample_not_per_vector(evaluate):
    n, f = evaluate
    outputs, targets = some_outputs(n, B, T), some_targets(n)
    cost = nll_bits_by_scipy(outputs, targets).sum() / (B * T * n)
    np.testing.assert_allclose(f(outputs, targets)[0], cost, rtol=2e-6)


def test_nll_of_a_standard_normal_is_its_entropy(evaluate):
    """A value known from a formula: 0.5 log2(2 pi e) bits on average, here with targets of mean square 1."""
    n, f = evaluate
    cost = f(np.zeros((B, T, K * (1 + 2 * n))), np.ones((B, T, n)))[0]
    np.testing.assert_allclose(cost, 2.047095585, rtol=1e-6)


def test_gradient_is_the_slope_of_scipys_cost(evaluate):
    n, f = evaluate
    outputs, targets = some_outputs(n, B, T).astype(np.float64), some_targets(n)
    gradient = f(outputs, targets)[1][0, 0]
    step = 1e-5
    for i in range(len(gradient)):
        up, down = (outputs[:1, :1].copy() for _ in range(2))
        up[0, 0, i] += step
        down[0, 0, i] -= step
        difference = nll_bits_by_scipy(up, targets[:1, :1]) - nll_bits_by_scipy(down, targets[:1, :1])
        slope = difference.item() / (2 * step * B * T * n)
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-4, atol=1e-8)


def test_masked_samples_of_a_vector_are_left_out_of_its_density(evaluate):
    """The mixture of the others has the same weights: a masked sample is marginalised, whatever its value."""
    n, f = evaluate
    outputs, targets = some_outputs(n, B, T), some_targets(n)
    mask = np.ones((B, T, n))
    mask[:, :, n // 2 :] = 0
    cost, _, nll = f(outputs, targets, mask)
    if n == 1:
        assert np.abs(nll).max() < 1e-6  # nothing is left: a density of 1
        return
    logits, means, deviations = unpacked(outputs, n)
    kept = (means[..., : n // 2], np.log(deviations[..., : n // 2]))
    marginal = np.concatenate([logits, *(x.reshape((B, T, -1)) for x in kept)], axis=-1)
    expected = nll_bits_by_scipy(marginal, targets[..., : n // 2])
    np.testing.assert_allclose(nll, expected, rtol=2e-6)
    np.testing.assert_allclose(cost, expected.mean() / (n // 2), rtol=2e-6)
    targets[mask == 0] = 7
    assert f(outputs, targets, mask)[0] == cost


def test_masked_vectors_do_not_count(evaluate):
    n, f = evaluate
    outputs, targets = some_outputs(n, B, T), some_targets(n)
    mask = np.ones((B, T, n))
    mask[1] = 0
    expected = np.delete(nll_bits_by_scipy(outputs, targets), 1, axis=0).mean() / n
    np.testing.assert_allclose(f(outputs, targets, mask)[0], expected, rtol=2e-6)


def test_cost_is_nan_where_all_is_masked(evaluate):
    """Quirk: 0 / 0, as with the softmax."""
    n, f = evaluate
    assert np.isnan(f(some_outputs(n, B, T), some_targets(n), np.zeros((B, T, n)))[0])


@pytest.mark.parametrize(
    "part, value",
    [("logits", 1e4), ("means", 1e6), ("means", -1e6), ("log deviations", 80), ("log deviations", -80)],
)
def test_extreme_outputs_give_finite_costs_and_gradients(evaluate, part, value):
    n, f = evaluate
    outputs = some_outputs(n, B, T)
    # The first component only, then all of them.
    where = {"logits": [0, K], "means": [K, K + K * n], "log deviations": [K + K * n, K + 2 * K * n]}
    first, last = where[part]
    for end in (first + 1, last):
        outputs[..., first:end] = value
        cost, gradient, _ = f(outputs, some_targets(n))
        assert np.isfinite(cost)
        assert np.isfinite(gradient).all()


def test_extreme_targets_give_finite_costs_and_gradients(evaluate):
    n, f = evaluate
    outputs, targets = some_outputs(n, B, T), some_targets(n)
    outputs[..., LOG_DEVIATIONS_FROM[n] :] = -80  # at the floor, where a distance weighs most
    targets[0] = 1e6
    cost, gradient, _ = f(outputs, targets)
    assert np.isfinite(cost)
    assert np.isfinite(gradient).all()


def test_deviations_have_a_floor(evaluate):
    """Without it the density at a value that the data repeat could grow without limit."""
    n, f = evaluate
    outputs = some_outputs(n, B, T)
    targets = np.zeros((B, T, n))
    outputs[..., K : LOG_DEVIATIONS_FROM[n]] = 0  # every mean hits its target
    narrow, narrower = outputs.copy(), outputs.copy()
    narrow[..., LOG_DEVIATIONS_FROM[n] :] = np.log(1e-3)
    narrower[..., LOG_DEVIATIONS_FROM[n] :] = -30
    cost, gradient, _ = f(narrower, targets)
    np.testing.assert_allclose(cost, f(narrow, targets)[0], rtol=1e-6)
    np.testing.assert_allclose(cost, np.log2(1e-3 * np.sqrt(2 * np.pi)), rtol=1e-6)
    assert (gradient[..., LOG_DEVIATIONS_FROM[n] :] == 0).all()


# --- draws from a mixture


@pytest.fixture(scope="module", params=[1, 2])
def draw(request):
    """n, and a function (outputs (N, width), uniforms, normals) -> samples, (N, n), or (N,) for n = 1."""
    n = request.param
    outputs = pt.tensor("outputs", dtype="float32", shape=(N, K * (1 + 2 * n)))
    uniforms = pt.tensor("uniforms", dtype="float32", shape=(N,))
    normals = pt.tensor("normals", dtype="float32", shape=(N,) if n == 1 else (N, n))
    noise = {"uniforms": uniforms, "normals": normals}
    ones = pt.ones((N,), dtype="float32")  # inverse temperatures
    f = compile_function([outputs, uniforms, normals], [distributions.draw(mixture(n), outputs, noise, ones)])
    return n, lambda *values: np.asarray(f(*(np.asarray(v, np.float32) for v in values))[0])


def noise(n, seed=2):
    """Uniforms (N,) and normals, (N,) or (N, n)."""
    rng = np.random.RandomState(seed)
    return rng.uniform(size=N), rng.normal(size=N if n == 1 else (N, n))


def test_a_draw_is_mean_plus_deviation_times_normal_of_the_component_drawn(draw):
    """The component: the first whose running sum of weights exceeds the uniform."""
    n, f = draw
    outputs, (uniforms, normals) = some_outputs(n, N), noise(n)
    logits, means, deviations = unpacked(outputs, n)
    running = softmax(logits, axis=-1).cumsum(axis=-1)
    component = (running > uniforms[:, None]).argmax(axis=-1)
    rows = np.arange(N)
    expected = means[rows, component] + deviations[rows, component] * normals.reshape((N, n))
    drawn = f(outputs, uniforms, normals)
    assert drawn.shape == normals.shape
    clear = np.abs(running - uniforms[:, None]).min(axis=-1) > 1e-6  # no tie within float32's rounding
    assert clear.mean() > 0.999
    np.testing.assert_allclose(drawn.reshape((N, n))[clear], expected[clear], rtol=1e-5, atol=1e-5)


def test_a_uniform_that_no_running_sum_exceeds_gives_the_first_component(draw):
    """Quirk of Theano's multinomial, kept for components: a float32 sum may end below 1."""
    n, f = draw
    outputs = np.zeros((N, K * (1 + 2 * n)))
    outputs[:, K : LOG_DEVIATIONS_FROM[n]] = np.repeat([10, 20, 30], n)
    uniforms = np.resize([0, 0.3, 0.4, 0.6, 0.7, 0.99, 1], N)
    drawn = f(outputs, uniforms, np.zeros(N if n == 1 else (N, n)))
    expected = np.resize([10, 10, 20, 20, 30, 30, 10], N)
    np.testing.assert_array_equal(drawn.reshape((N, n)), np.repeat(expected[:, None], n, axis=1))


def test_the_floor_of_the_deviations_holds_for_draws(draw):
    n, f = draw
    outputs = np.zeros((N, K * (1 + 2 * n)))
    outputs[:, LOG_DEVIATIONS_FROM[n] :] = -30
    uniforms, normals = noise(n)
    np.testing.assert_allclose(f(outputs, uniforms, normals), 1e-3 * normals, rtol=1e-5)


def test_draws_have_the_mixtures_distribution(draw):
    """Mean, covariance and distribution function. Samples of a frame share one component, so they covary."""
    n, f = draw
    logits, means, log_deviations = [1.0, 0.0, -0.5], [[-2.0, 1.0], [0.5, 3.0], [3.0, -4.0]], [-1.0, 0.3, 0.0]
    means, deviations = np.array(means)[:, :n], np.exp(log_deviations)
    one = np.concatenate([logits, means.ravel(), np.repeat(log_deviations, n)])
    drawn = f(np.tile(one, (N, 1)), *noise(n)).reshape((N, n))

    weights = softmax(logits)
    mean = weights @ means
    covariance = (weights * (means - mean).T) @ (means - mean) + np.eye(n) * (weights @ deviations**2)
    error = np.sqrt(np.diag(covariance) / N)  # of a mean of N draws
    assert (np.abs(drawn.mean(axis=0) - mean) < 3 * error).all()
    np.testing.assert_allclose(np.cov(drawn.T).reshape((n, n)), covariance, rtol=0.05)
    for i in range(n):

        def distribution(x, i=i):
            return weights @ ndtr((x - means[:, i : i + 1]) / deviations[:, None])

        assert stats.kstest(drawn[:, i], distribution).pvalue > 0.05


# --- widths and the softmax


def test_width_is_the_number_of_outputs_for_one_prediction():
    assert distributions.width(OneTier(q_levels=16)) == 16
    assert distributions.width(mixture(1)) == K * 3  # a weight, a mean and a log deviation each
    assert distributions.width(mixture(4), n_samples=4) == K * 9


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
