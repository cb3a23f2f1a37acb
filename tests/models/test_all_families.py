"""Properties of every family: states, causality, masks, precision, generation consistent with training."""

from dataclasses import replace

import numpy as np
import pytest

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.config.hyperparameters import (
    FAMILIES,
    RNNGMM,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.models.build import build_graph, build_sampler
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer
from tests.generation.test_samplers import interpreted

SMALL = {"dim": 8, "batch_size": 3}
LEVELS = {**SMALL, "q_levels": 16}
REAL = {**SMALL, "n_components": 3, "mean": 0.0, "std": 0.2}
FRAMES = {"n_frames": 8, "frame_size": 4}
MODELS = {
    "three_tier": ThreeTier(**LEVELS, emb_size=4, seq_len=32),
    "two_tier": TwoTier(**LEVELS, **FRAMES, emb_size=4, rnn_type="LSTM", n_rnn=2),
    "two_tier multi-softmax": TwoTier(**LEVELS, **FRAMES, n_rnn=1, multi_softmax=True),
    "one_tier": OneTier(**LEVELS, emb_size=4, seq_len=32),
    "wavenet": WaveNet(**LEVELS, wavenet_blocks=2, dilation_layers_per_block=2, sequence_len_to_train=32),
    "k_tier": KTier(**LEVELS, emb_size=0, seq_len=32, frame_sizes=(8, 4, 2)),
    "rnn_gmm": RNNGMM(**REAL, seq_len=32),
    "samplernn_gmm": SampleRNNGMM(**REAL, **FRAMES, n_rnn=1),
}


COMPILED = ("three_tier", "two_tier", "wavenet", "rnn_gmm")  # their generation, by JAX


class Model:
    """A tiny model for evaluation and generation."""

    def __init__(self, name):
        self.hp = MODELS[name]
        self.graph = build_graph(Parameters(), self.hp)
        # Without learned states of its own a model cannot show what reset does.
        h0s = {n: np.full(p.type.shape, 0.7) for n, p in self.graph.parameters.items() if n.endswith(".h0")}
        self.graph.parameters.assign(h0s)
        self.call = compile(self.graph)
        self.sampler = build_sampler(self.graph.parameters, self.hp, self.hp.batch_size, self.hp.seq_len)
        outputs = [self.sampler.samples, *self.sampler.new_states.values()]
        self.generate = (compile_function if name in COMPILED else interpreted)(self.sampler.inputs, outputs)

    def sequences(self, seed=0):
        shape = (self.hp.batch_size, self.hp.overlap + self.hp.seq_len)
        random = np.random.RandomState(seed)
        if self.hp.real_valued:
            return random.normal(size=shape).astype(np.float32)
        return random.randint(0, self.hp.q_levels, shape).astype(np.int32)


def compile(graph, *outputs):
    """A function (sequences, mask, reset, states) -> cost, or other outputs, and new states."""
    function = interpreted(graph.inputs, [*(outputs or [graph.cost]), *graph.new_states.values()])

    def call(sequences, reset, states, mask=None):
        mask = np.ones(sequences.shape, np.float32) if mask is None else mask
        return [np.asarray(v) for v in function(sequences, mask, np.asarray(reset, np.int32), *states)]

    return call


@pytest.fixture(scope="module")
def model(request):
    return Model(request.param)


every = pytest.mark.parametrize("model", MODELS, indirect=True)


def test_every_family_is_here():
    assert {hp.family for hp in MODELS.values()} == set(FAMILIES)


@every
def test_states_carry_from_chunk_to_chunk_and_reset_discards_them(model):
    sequences, zeros = model.sequences(), model.graph.zero_states()
    if model.hp.family == "wavenet":
        assert not zeros  # it sees its receptive field, and nothing before
        return
    others = [state + np.float32(0.3) for state in zeros]
    carried = model.call(sequences, 0, others)[0]
    assert carried != model.call(sequences, 0, zeros)[0]
    assert model.call(sequences, 1, zeros)[0] == model.call(sequences, 1, others)[0] != carried


@every
def test_a_sample_is_predicted_from_the_past_only(model):
    """A later sample changes the cost of nothing before it: masks pick what is counted."""
    sequences, zeros = model.sequences(), model.graph.zero_states()
    hp = model.hp
    step = hp.frame_size if getattr(hp, "multi_softmax", False) else 1
    position = hp.overlap + 13 // step * step
    changed = sequences.copy()
    changed[:, position] = sequences[:, position] - 1 if hp.real_valued else (changed[:, position] + 5) % 16
    costs = []
    for first, last in ((0, position), (position + step, position + step + 8)):
        mask = np.zeros(sequences.shape, np.float32)
        mask[:, first:last] = 1
        costs.append([model.call(s, 1, zeros, mask)[0] for s in (sequences, changed)])
    assert costs[0][0] == costs[0][1]
    assert abs(costs[1][0] - costs[1][1]) > 1e-4


@every
def test_two_short_chunks_are_one_long_chunk(model):
    """Truncated BPTT cuts gradients, not the computation."""
    hp = model.hp
    length = {"n_frames": 4} if hasattr(hp, "n_frames") else {"seq_len": 16}
    short = replace(hp, **({"sequence_len_to_train": 16} if hp.family == "wavenet" else length))
    half = build_graph(model.graph.parameters, short)
    call = compile(half)
    sequences = model.sequences()
    cost, *states = model.call(sequences, 1, model.graph.zero_states())
    first, *middle = call(np.ascontiguousarray(sequences[:, : 16 + hp.overlap]), 1, half.zero_states())
    second, *last = call(np.ascontiguousarray(sequences[:, 16:]), 0, middle)
    assert (first + second) / 2 == pytest.approx(cost, rel=1e-5)
    for ours, whole in zip(last, states, strict=True):
        np.testing.assert_allclose(ours, whole, atol=2e-6)


@every
def test_masked_targets_do_not_count(model):
    sequences, zeros = model.sequences(), model.graph.zero_states()
    mask = np.ones(sequences.shape, np.float32)
    mask[1] = 0
    cost = model.call(sequences, 1, zeros, mask)[0]
    changed = sequences.copy()
    changed[1] = 0
    assert model.call(changed, 1, zeros, mask)[0] == pytest.approx(cost, rel=1e-6)
    assert model.call(sequences, 1, zeros)[0] != pytest.approx(cost, rel=1e-6)
    assert np.isnan(model.call(sequences, 1, zeros, 0 * mask)[0])  # quirk: a mean over nothing


@every
def test_generated_samples_are_drawn_from_the_predictions(model):
    """Generated samples, fed to the training graph and drawn again from its predictions, come back.

    Quirk: the original hands half of its sequences a random state, to no effect: the first step resets.
    """
    hp, sampler = model.hp, model.sampler
    random = np.random.default_rng(1)
    draws = {"uniforms": random.random, "normals": random.standard_normal}
    noise = {name: draws[name](v.type.shape, np.float32) for name, v in sampler.noise.items()}
    silent = np.zeros(hp.seq_len, np.int32)
    silent[8:12] = 1
    previous = np.full((hp.batch_size, hp.overlap), hp.silence, sampler.previous.dtype)
    ones = np.ones(hp.batch_size, np.float32)  # inverse temperatures
    rand = [(random.random(s.type.shape) - 0.5).astype(s.dtype) for s in sampler.states.values()]
    results = model.generate(*noise.values(), silent, previous, np.asarray(1, np.int32), ones, *rand)
    samples, *states = map(np.asarray, results)
    assert samples.dtype == sampler.previous.dtype and samples.shape == (hp.batch_size, hp.seq_len)
    assert (samples[:, 8:12] == hp.silence).all()

    sequences = np.concatenate([previous, samples], axis=1)
    drawn, expected = draw_from_the_training_graph(model, sequences, noise)
    audible = silent == 0
    if hp.real_valued:
        np.testing.assert_allclose(samples[:, audible], drawn[:, audible], atol=1e-4)
    else:
        np.testing.assert_array_equal(samples[:, audible], drawn[:, audible])
    if hp.family != "wavenet":  # whose generator keeps queues
        for ours, theirs in zip(states, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def draw_from_the_training_graph(model, sequences, noise):
    """Samples (B, T) drawn from the training graph's predictions of `sequences`, and its new states."""
    hp, graph = model.hp, model.graph
    prediction, *states = compile(graph, graph.logits)(sequences, 1, graph.zero_states())
    prediction = prediction.astype(np.float64)  # (B, steps, width)
    size = hp.seq_len // prediction.shape[1]  # samples that are predicted as a vector
    drawn = np.zeros((hp.batch_size, hp.seq_len))
    for b in range(hp.batch_size):
        for t in range(0, hp.seq_len, size):
            numbers, uniform = prediction[b, t // size], noise["uniforms"][t, b]
            K = hp.n_components if hp.real_valued else hp.q_levels
            weights = np.exp(numbers[:K] - numbers[:K].max())
            beyond = np.flatnonzero(np.cumsum((weights / weights.sum()).astype(np.float32)) > uniform)
            k = beyond[0] if len(beyond) else 0
            if hp.real_valued:
                mean, log_deviation = numbers[K:].reshape(2, K, size)[:, k]
                normals = noise["normals"][t : t + size, b]
                low, high = ((full - hp.mean) / hp.std for full in (-1, 1))
                drawn[b, t : t + size] = np.clip(mean + np.exp(log_deviation) * normals, low, high)
            else:
                drawn[b, t] = k
    return drawn, states


@pytest.mark.parametrize("model", COMPILED, indirect=True)
def test_no_float64_in_a_compiled_float32_graph(model):
    """On jax: one float64 variable would halve the speed, or come back from the host."""
    graph = model.graph
    cost, trainable = optimizer.objective(graph, "train")
    moved, _ = optimizer.adam(cost, trainable)
    step = compile_function(graph.inputs, [cost, *graph.new_states.values()], moved)
    for function in (step, model.generate):
        graphs = [function.pytensor_function.maker.fgraph]
        for fgraph in graphs:  # those inside its scans too
            graphs += [node.op.fgraph for node in fgraph.apply_nodes if hasattr(node.op, "fgraph")]
        seen = [getattr(v.type, "dtype", "") for fgraph in graphs for v in fgraph.variables]
        assert len(seen) > 100 and "float64" not in seen
