"""Kernels against NumPy and the graph: elementary functions, product, draw, predictions, samples.

The functions that only compiled code can call are wrapped below. The wrappers are compiled in every run,
so they see every change of the kernels; a row is changed in place.
"""

import numba
import numpy as np
import pytensor
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytensor.compile.mode import Mode
from scipy.special import softmax

from samplernn_theano.checkpoints import load
from samplernn_theano.config.hyperparameters import KTier, OneTier, ThreeTier, TwoTier
from samplernn_theano.generation import samplers
from samplernn_theano.generation.kernels import elementwise, product, sample_loop, weights
from samplernn_theano.generation.kernels.elementwise import OPTIONS
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from tests.generation.test_like_original import SAMPLING, parameters_of

INTERPRETED = Mode(linker="py", optimizer=None)  # faster than compiling graphs as small as these

N, T, SILENT = 3, 96, range(37, 50)
TEMPERATURES = np.array([0.5, 1.0, 1.5])
SMALL = {"batch_size": N, "emb_size": 6}
SECONDS = {**SMALL, "seq_len": T}
TWO = {"batch_size": N, "n_frames": T // 4, "frame_size": 4, "dim": 20, "emb_size": 0, "q_levels": 16}
MULTI = {**SMALL, "n_frames": T // 16, "dim": 16, "q_levels": 256, "n_rnn": 1}
NARROW = {**SECONDS, "dim": 5, "q_levels": 20, "big_frame_size": 4, "frame_size": 4, "n_rnn": 2}
DEEP = {**SECONDS, "dim": 12, "q_levels": 32, "n_rnn": 3, "skip_conn": True}
LSTM = {**SECONDS, "rnn_type": "LSTM", "n_rnn": 2}
CASES = {
    "three_tier": ThreeTier(**SECONDS, dim=16, q_levels=32),
    "three_tier, narrow": ThreeTier(**NARROW),
    "three_tier, LSTM": ThreeTier(**LSTM, dim=20, q_levels=100),
    "three_tier, LSTM x 3, skips": ThreeTier(**DEEP, big_frame_size=16, frame_size=4, rnn_type="LSTM"),
    "three_tier, GRU x 3, skips": ThreeTier(**DEEP),
    "k_tier": KTier(**SECONDS, dim=16, q_levels=33, frame_sizes=(16, 8, 2), sample_input="real"),
    "k_tier of one": KTier(**SECONDS, dim=20, q_levels=32, frame_sizes=(1,), rnn_type="LSTM"),
    "two_tier, one-hot, no norms": TwoTier(**TWO, n_rnn=2, skip_conn=True, weight_norm=False),
    "two_tier, multi_softmax": TwoTier(**MULTI, multi_softmax=True),
    "one_tier, LSTM, skips": OneTier(**LSTM, dim=24, q_levels=256, skip_conn=True),
    "one_tier": OneTier(**SECONDS, dim=24, q_levels=100, n_rnn=2, weight_norm=False),
    "one_tier, skips": OneTier(**SECONDS, dim=16, q_levels=32, n_rnn=3, skip_conn=True),
}


def compiled(function):
    """A function that only compiled code can call, as one to call from here."""

    @numba.njit(**OPTIONS)
    def call(*arguments):
        return function(*arguments)

    return call


exponential, sigmoid, tanh = map(compiled, (elementwise.exponential, elementwise.sigmoid, elementwise.tanh))
accumulate, draw = compiled(product.accumulate), compiled(sample_loop.draw)


@numba.njit(**OPTIONS)
def predict(prepared, buffers, rescaled, history, states, logits):
    """Logits (T, n, Q) of given samples, the last T of `history`."""
    for t in range(len(logits)):
        predicted = sample_loop.predict(
            prepared, buffers, rescaled, history, history.shape[1] - len(logits) + t, t, states
        )
        logits[t] = predicted[:, : logits.shape[2]]


def drawn(logits, uniform, temperature=1.0, top_p=1.0):
    return draw(
        np.array(logits, np.float32), np.float32(uniform), np.float32(1 / temperature), np.float32(top_p)
    )


@pytest.mark.parametrize(
    "function, exact, bound",
    [
        (exponential, np.exp, lambda y: 2 * np.spacing(y.astype(np.float32))),
        (sigmoid, lambda x: 1 / (1 + np.exp(-x)), lambda y: 1.5e-7),
        (tanh, np.tanh, lambda y: 2e-7),
    ],
    ids=["exponential", "sigmoid", "tanh"],
)
def test_elementary_functions_are_accurate_to_single_precision(function, exact, bound):
    """From -87 to 88 and around 0, at any index of a row of any length."""
    small = np.geomspace(1e-30, 1, 5_000)
    x = np.concatenate([np.linspace(-87, 88, 300_001), small, -small, [0]]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = exact(x.astype(np.float64))
    y = x.copy()
    function(y)
    assert (np.abs(y - expected) <= bound(expected)).all()
    for length in range(1, 40):
        y = x[100_000 : 100_000 + length].copy()
        function(y)
        np.testing.assert_allclose(y, expected[100_000 : 100_000 + length], rtol=3e-7)

    low, high = np.float32([-np.inf, -1e30, -200]), np.float32([200, 1e30, np.inf])  # it saturates
    for x, end in ((low, -87.0), (high, 88.0)):
        function(x)
        np.testing.assert_allclose(x, exact(np.float64(end)), rtol=3e-7, atol=1e-37)


@settings(max_examples=150)
@given(
    st.tuples(*(st.integers(*bounds) for bounds in ((1, 25), (0, 40), (1, 150), (0, 20), (0, 5), (0, 999))))
)
def test_the_product_accumulates_into_its_columns_independently_of_the_other_rows(numbers):
    """Columns of x beyond the rows of W are not read."""
    n, n_in, n_out, column, beyond, seed = numbers
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((n_in, n_out), np.float32)
    packed = product.pack(W)
    panels = -(-n_out // 16)
    assert packed.shape == (panels, n_in, 16) and packed.dtype == np.float32 and packed.flags.c_contiguous
    x = np.full((n, n_in + beyond), np.nan, np.float32)
    x[:, :n_in] = rng.standard_normal((n, n_in), np.float32)
    before = rng.standard_normal((n, column + 16 * panels + beyond), np.float32)
    y = before.copy()
    accumulate(x, packed, y, column)
    own = slice(column, column + n_out)
    exact = before[:, own] + x[:, :n_in].astype(np.float64) @ W
    magnitude = np.abs(before[:, own]) + np.abs(x[:, :n_in]) @ np.abs(W)
    assert (np.abs(y[:, own] - exact) <= 6e-8 * (n_in + 1) * magnitude).all()
    for outside in (slice(0, column), slice(column + n_out, None)):
        np.testing.assert_array_equal(y[:, outside], before[:, outside])
    for i in range(n):
        alone = before[i : i + 1].copy()
        accumulate(x[i : i + 1].copy(), packed, alone, column)
        np.testing.assert_array_equal(alone[0], y[i])


def test_a_draw_is_the_first_level_at_which_the_cumulative_probability_exceeds_the_uniform():
    """Also for a uniform at a border: four levels of probability 1/4, exactly. For 1 there is none: 0."""
    logits = np.full(10, -1000.0)
    logits[[2, 3, 7, 8]] = 5.0
    uniforms = [1e-6, 0.2499, 0.25, 0.4999, 0.5, 0.7499, 0.75, 0.9999, 1.0]
    assert [drawn(logits, u) for u in uniforms] == [2, 2, 3, 3, 7, 7, 8, 8, 0]


def may_be_drawn(p, u, top_p):
    """Levels that a uniform number draws from probabilities (Q,), including those drawn through rounding."""
    levels = set()
    for least in {min(top_p + 1e-5, 1), min(top_p, 1), top_p - 1e-5 if top_p < 1 else 1}:
        order = np.sort(p)[::-1]
        in_nucleus = p >= order[min(np.searchsorted(np.cumsum(order), least), len(p) - 1)] * (1 - 1e-6)
        sums = np.cumsum(p * in_nucleus) if least < 1 else np.cumsum(p)
        for moved in (u - 1e-5, u, u + 1e-5):
            levels.add(int((sums > moved * (sums[-1] if least < 1 else 1)).argmax()))
    return levels


@settings(max_examples=200)
@given(
    Q=st.integers(2, 300),
    scale=st.sampled_from([0.0, 0.5, 4.0, 100.0]),
    u=st.floats(0, 1, exclude_max=True, width=32),
    temperature=st.sampled_from([1e-30, 0.3, 1.0, 2.5]),
    top_p=st.sampled_from([1e-6, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)
def test_draws_at_any_temperature_and_top_p_are_those_of_the_cumulative_probability(
    Q, scale, u, temperature, top_p, seed
):
    logits = (np.random.default_rng(seed).standard_normal(Q) * scale).astype(np.float32)
    p = softmax(logits.astype(np.float64) / temperature)
    assert drawn(logits, u, temperature, top_p) in may_be_drawn(p, u, top_p)


def test_a_nucleus_keeps_all_ties_of_its_least_probable_level():
    """Probabilities 1/8, 1/2, 1/8, 1/8, 1/8: 0.6 needs all, 0.5 one."""
    logits = np.array([0, np.log(4), 0, 0, 0])
    uniforms = np.linspace(0, 0.999, 50)
    assert {drawn(logits, u, top_p=0.6) for u in uniforms} == {0, 1, 2, 3, 4}
    assert {drawn(logits, u, top_p=0.49) for u in uniforms} == {1}


@pytest.mark.parametrize("top_p", [1.0, 0.5])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_draw_minus_one(bad, top_p):
    for where in (0, 3, 6, slice(None)):
        logits = np.zeros(7)
        logits[where] = bad
        levels = {drawn(logits, u, top_p=top_p) for u in (1e-6, 0.5, 0.999)}
        if bad == -np.inf and isinstance(where, int):  # a level that is never drawn
            assert min(levels) >= 0 and where not in levels
        else:
            assert levels == {-1}


def random_parameters(hp):
    """Parameters with biases, gains and initial states that are not at their initial values."""
    params = Parameters()
    build_graph(params, hp)
    rng = np.random.default_rng(0)
    values = params.arrays()
    for name, value in values.items():
        if name.endswith((".b", ".h0")):
            value += 0.3 * rng.standard_normal(value.shape)
        elif name.endswith(".g0"):
            value *= rng.uniform(0.6, 1.5, value.shape)
    values["SampleLevel.Output." + ("g0" if hp.weight_norm else "W0")] *= 2
    params.assign(values)
    return params


def exact_logits(arrays, hp, samples):
    """Logits (N, T, Q) of the graph for given samples (N, overlap + T), in double precision."""
    with pytensor.config.change_flags(floatX="float64", linker="py"):  # that of what scans repeat
        graph = build_graph(Parameters(None, arrays, "float64"), hp)
        f = pytensor.function(graph.inputs, graph.logits, mode=INTERPRETED, on_unused_input="ignore")
    return f(samples, np.ones(samples.shape), np.asarray(1, np.int32), *graph.zero_states())


def predictions(arrays, hp, samples):
    """Logits (n, T, Q) of the kernels for given samples (n, overlap + T)."""
    n, T = len(samples), samples.shape[1] - hp.overlap
    prepared = weights.prepare(arrays, hp)
    names = ["SampleLevel.h0"] if isinstance(hp, OneTier) else [f"{tier.name}.h0" for tier in hp.tiers]
    states = [weights.widen_state(np.repeat(arrays[name][None], n, 0), hp) for name in names]
    logits = np.empty((T, n, hp.q_levels), np.float32)
    predict(
        prepared,
        sample_loop.allocate_buffers(prepared, n),
        weights.rescaled_levels(hp),
        np.ascontiguousarray(samples, np.int32),
        tuple(np.ascontiguousarray(state.transpose(1, 0, 2)) for state in states),
        logits,
    )
    return logits.transpose(1, 0, 2)


@pytest.mark.parametrize("hp", CASES.values(), ids=CASES)
def test_kernels_predict_and_draw_as_the_graph(hp, monkeypatch):
    """Three blocks, with silence in between, a temperature for each sequence, with and without a nucleus.

    The graph reads the samples of the kernels, and its probabilities must give the same draws.
    """
    monkeypatch.setattr(samplers, "KERNEL_BLOCK", T // 3)
    params = random_parameters(hp)
    uniforms = np.random.default_rng(1).random((T, N), np.float32)
    silent = np.isin(np.arange(T), SILENT).astype(np.int32)
    for top_p in (1.0, 0.7):
        sampler = samplers.create_sampler(params, hp, N, None, TEMPERATURES, top_p)
        state = sampler.start()
        samples = [state["previous"]]
        for first in range(0, T, sampler.length):
            block = slice(first, first + sampler.length)
            new, state = sampler.run(state, {"uniforms": uniforms[block]}, silent[block])
            samples.append(new)
        history = np.concatenate(samples, axis=1)
        assert history.shape == (N, hp.overlap + T) and history.dtype == np.int32
        levels = history[:, hp.overlap :]

        logits = exact_logits(params.arrays(), hp, history)
        own = predictions(params.arrays(), hp, history)
        np.testing.assert_allclose(softmax(own, axis=2), softmax(logits, axis=2), atol=5e-6)

        p = softmax(logits / TEMPERATURES[:, None, None], axis=2)
        assert (levels[:, SILENT] == hp.silence).all()
        for i, t in np.ndindex(N, T):
            if t not in SILENT:
                assert levels[i, t] in may_be_drawn(p[i, t], uniforms[t, i], top_p), (i, t)
        assert len(np.unique(levels)) > 4
        assert p.std(axis=1).max() > 0.02, "the predictions do not depend on the samples before"


@pytest.mark.parametrize("family", ["one_tier", "two_tier", "three_tier"])
def test_kernels_predict_the_probabilities_of_the_original(family):
    """Before each of the first 50 draws, to single precision."""
    model, sampling = load.read(parameters_of(family)), np.load(SAMPLING / f"{family}.npz")
    samples = sampling["gen1/samples"][:, : model.hp.overlap + 50]
    own = predictions(model.parameters, model.hp, samples)
    expected = sampling["gen1/probs_first50"].transpose(1, 0, 2)
    np.testing.assert_allclose(softmax(own, axis=2), expected, atol=2e-6)
    assert np.ptp(expected, axis=1).max() > 0.001
