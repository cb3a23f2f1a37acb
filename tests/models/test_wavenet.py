"""WaveNet: its two forms, its quirks, and generation with queues."""

from dataclasses import replace

import numpy as np
import pytensor.tensor as pt
import pytest

from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.models import distributions, wavenet
from samplernn_theano.models.build import build_graph, build_sampler
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer
from tests.generation.test_samplers import interpreted

SMALL = {"dim": 4, "q_levels": 8, "batch_size": 2, "sequence_len_to_train": 5}
TINY = WaveNet(**SMALL, wavenet_blocks=2, dilation_layers_per_block=3)
FORMS = {
    "two layers a block": replace(TINY, dilation_layers_per_block=2),
    "one channel": replace(TINY, dilation_layers_per_block=2, dim=1),
    "one layer": replace(TINY, wavenet_blocks=1, dilation_layers_per_block=1),
}
flag = np.int32


def moved(hp, seed=0):
    """Parameters away from where they start, so that none of them is 0 or 1."""
    params, rng = Parameters(), np.random.RandomState(seed)
    wavenet.graph(params, hp)
    params.assign({name: a + rng.normal(0, 0.7, a.shape) for name, a in params.arrays().items()})
    return params


# --- training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_the_two_forms_are_equal(name):
    """Where every parameter makes a difference, which the initial biases and scales do not."""
    hp = FORMS[name]
    params, rng = moved(hp), np.random.RandomState(1)
    shape = (hp.batch_size, hp.overlap + hp.seq_len)
    sequences = rng.randint(0, hp.q_levels, shape).astype(np.int32)
    mask = rng.randint(0, 2, shape).astype(np.float32)
    results = []
    for form in ("fast", "reference"):
        graph = build_graph(params, hp, form)
        grads = optimizer.gradients(graph.cost, params.trainable())
        function = interpreted(graph.inputs, [graph.cost, graph.logits, *grads.values()])
        results.append(function(sequences, mask, np.asarray(1, flag)))
    for fast, reference in zip(*results, strict=True):
        np.testing.assert_allclose(fast, reference, rtol=2e-5, atol=2e-6)
        assert np.abs(fast).max() > 1e-4  # nothing is left out


# --- quirks -------------------------------------------------------------------------------------------------


def logits_after(params, hp, samples):
    """The logits (N, Q) after a window (N, overlap)."""
    window = pt.tensor("window", dtype="int32", shape=samples.shape)
    f = interpreted([window], [wavenet.next_logits(params, hp, window)])
    return np.asarray(f(samples)[0])


@pytest.mark.parametrize(("dim", "passes"), [(1, True), (2, False)])
def test_the_first_layer_adds_its_input_only_where_the_model_has_one_channel(dim, passes):
    """Quirk: without output of the first layer the next ones still depend on the samples, or not."""
    hp = replace(TINY, dim=dim)
    params = moved(hp)
    params.assign({"block_1.dilation_1.W1x1": np.zeros((2 * dim, dim, 1, 1))})
    windows = np.random.RandomState(0).randint(0, hp.q_levels, (2, hp.overlap)).astype(np.int32)
    first, second = logits_after(params, hp, windows)
    assert (np.abs(first - second).max() > 1e-3) == passes


def test_the_layers_after_the_skips_are_linear():
    """Quirk: no nonlinearity stands between them, so what changes sign comes out with changed sign."""
    params = Parameters()  # all biases are 0
    wavenet.graph(params, TINY)
    window = np.random.RandomState(0).randint(0, TINY.q_levels, (1, TINY.overlap)).astype(np.int32)
    before = logits_after(params, TINY, window)
    params.assign({"out_2.W": -params.arrays()["out_2.W"]})
    np.testing.assert_allclose(logits_after(params, TINY, window), -before, rtol=1e-5)


# --- generation ---------------------------------------------------------------------------------------------

N_SEQS, LENGTH = 2, 20  # more than the receptive field of TINY, 15, and no multiple of its dilations


@pytest.fixture(scope="module")
def params():
    return moved(TINY)


@pytest.fixture(scope="module")
def generate(params):
    """A function (uniforms, silent, previous, reset, states) -> samples, *states; a block of LENGTH."""
    return compiled_sampler(params, LENGTH)


def compiled_sampler(params, length):
    sampler = build_sampler(params, TINY, N_SEQS, length)
    function = interpreted(sampler.inputs, [sampler.samples, *sampler.new_states.values()])

    def generate(uniforms, silent, previous, reset, states=None):
        if states is None:
            states = [np.zeros(s.type.shape, s.dtype) for s in sampler.states.values()]
        ones = np.ones(N_SEQS, np.float32)  # inverse temperatures
        results = function(uniforms, silent, previous, np.asarray(reset, flag), ones, *states)
        return [np.asarray(value) for value in results]

    return generate


def noise(length, seed=0):
    """Uniforms (length, N), and no silence (length,)."""
    return np.random.default_rng(seed).random((length, N_SEQS), np.float32), np.zeros(length, flag)


SILENCE = np.full((N_SEQS, TINY.overlap), TINY.silence, flag)


def two_blocks(generate, uniforms, silent):
    """Samples of two blocks, and the states after them."""
    first, *states = generate(uniforms[:LENGTH], silent[:LENGTH], SILENCE, 1)
    so_far = np.concatenate([SILENCE, first], axis=1)[:, -TINY.overlap :]
    second, *states = generate(uniforms[LENGTH:], silent[LENGTH:], so_far, 0, states)
    return np.concatenate([first, second], axis=1), states


def test_queues_equal_computing_everything_again(params, generate):
    """Over two blocks, with a stretch of silence that is fed back."""
    uniforms, silent = noise(2 * LENGTH)
    silent[LENGTH - 3 : LENGTH + 2] = 1
    samples, _ = two_blocks(generate, uniforms, silent)
    window = pt.tensor("window", dtype="int32", shape=(N_SEQS, TINY.overlap))
    uniform = pt.tensor("uniform", dtype="float32", shape=(N_SEQS,))
    drawn = distributions.categorical(wavenet.next_logits(params, TINY, window), uniform)
    draw = interpreted([window, uniform], [drawn])
    samples_in = SILENCE
    for t in range(2 * LENGTH):
        latest = np.ascontiguousarray(samples_in[:, -TINY.overlap :])
        new = np.full(N_SEQS, TINY.silence) if silent[t] else np.asarray(draw(latest, uniforms[t])[0])
        samples_in = np.concatenate([samples_in, new[:, None].astype(flag)], axis=1)
    np.testing.assert_array_equal(samples, samples_in[:, TINY.overlap :])
    assert len(np.unique(samples)) > 3


def test_reset_discards_the_queues(generate):
    uniforms, silent = noise(LENGTH)
    first, *states = generate(uniforms, silent, SILENCE, 1)
    again, *_ = generate(uniforms, silent, SILENCE, 1, states)
    np.testing.assert_array_equal(again, first)
    carried, *_ = generate(uniforms, silent, SILENCE, 0, states)
    assert (carried != first).any()


def test_the_queues_start_as_after_infinite_silence(params, generate):
    """After one sample all rows but one are as they started; after many none is."""
    uniforms, silent = noise(LENGTH)
    samples, time, *samples_in = generate(uniforms, silent + flag(1), SILENCE, 1)
    assert (samples == TINY.silence).all() and time == LENGTH % 4
    _, _, *started = compiled_sampler(params, 1)(uniforms[:1], silent[:1] + flag(1), SILENCE, 1)
    assert any(np.abs(queue).max() > 0.01 for queue in started)
    for ours, theirs in zip(started, samples_in, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
