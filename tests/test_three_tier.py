"""The three-tier model: structure, states, and its two forms."""

import math

import numpy as np
import pytest

from samplernn_theano import updates
from samplernn_theano.backend import compile_function
from samplernn_theano.hyperparameters import PRESETS, ThreeTier
from samplernn_theano.models import three_tier
from samplernn_theano.parameters import Parameters

TINY = ThreeTier(dim=8, emb_size=4, q_levels=16, seq_len=32, batch_size=3)


@pytest.fixture(scope="module")
def evaluate():
    """A tiny model: a function (sequences, mask, reset, states) -> cost, new states, logits; its graph."""
    graph = three_tier.graph(Parameters(), TINY)
    # Without learned states of its own a model cannot show what reset does.
    for name in ("BigFrameLevel.h0", "FrameLevel.h0"):
        graph.parameters.assign({name: np.full((1, TINY.dim), 0.7)})
    outputs = [graph.cost, *graph.new_states.values(), graph.logits]
    return compile_function(graph.inputs, outputs), graph


def batch(seed=0):
    shape = (TINY.batch_size, TINY.overlap + TINY.seq_len)
    sequences = np.random.RandomState(seed).randint(0, TINY.q_levels, shape).astype(np.int32)
    return sequences, np.ones(shape, np.float32)


def flag(value):
    return np.asarray(value, np.int32)


def test_states_carry_from_pass_to_pass_and_reset_forgets_them(evaluate):
    f, graph = evaluate
    sequences, mask = batch()
    zeros = graph.zero_states()
    others = [s + np.float32(0.3) for s in zeros]
    carried = np.asarray(f(sequences, mask, flag(0), *others)[0])
    assert carried != np.asarray(f(sequences, mask, flag(0), *zeros)[0])
    reset = [np.asarray(f(sequences, mask, flag(1), *s)[0]) for s in (zeros, others)]
    assert reset[0] == reset[1] != carried


def test_a_sample_is_predicted_from_the_past_alone(evaluate):
    f, graph = evaluate
    sequences, mask = batch()
    before = np.asarray(f(sequences, mask, flag(1), *graph.zero_states())[-1])
    changed = sequences.copy()
    position = 13  # among the targets
    changed[:, TINY.overlap + position] = (changed[:, TINY.overlap + position] + 5) % TINY.q_levels
    after = np.asarray(f(changed, mask, flag(1), *graph.zero_states())[-1])
    np.testing.assert_array_equal(after[:, : position + 1], before[:, : position + 1])
    assert np.abs(after[:, position + 1] - before[:, position + 1]).max() > 1e-4


def test_two_short_passes_give_the_states_and_logits_of_the_clip(evaluate):
    """Truncated BPTT cuts gradients, not the computation."""
    f, graph = evaluate
    short = ThreeTier(**{**vars(TINY), "seq_len": TINY.seq_len // 2})
    half = three_tier.graph(graph.parameters, short)
    g = compile_function(half.inputs, [*half.new_states.values(), half.logits])
    sequences, mask = batch()
    _, *states, logits = f(sequences, mask, flag(1), *graph.zero_states())
    n, ov = short.seq_len, TINY.overlap
    *first, logits1 = g(sequences[:, : n + ov], mask[:, : n + ov], flag(1), *half.zero_states())
    *second, logits2 = g(sequences[:, n:], mask[:, n:], flag(0), *first)
    np.testing.assert_allclose(np.concatenate([logits1, logits2], axis=1), logits, atol=2e-6)
    for ours, whole in zip(second, states, strict=True):
        np.testing.assert_allclose(ours, whole, atol=2e-6)


def test_masked_targets_do_not_count(evaluate):
    f, graph = evaluate
    sequences, mask = batch()
    mask[1] = 0
    cost = np.asarray(f(sequences, mask, flag(1), *graph.zero_states())[0])
    changed = sequences.copy()
    changed[1] = 0
    assert cost == np.asarray(f(changed, mask, flag(1), *graph.zero_states())[0])


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
def test_no_float64_in_a_compiled_float32_graph(rnn_type):
    """On jax: one float64 variable would halve the speed, or come back from the host."""
    hp = ThreeTier(dim=8, emb_size=4, seq_len=16, batch_size=2, rnn_type=rnn_type, n_rnn=2, skip_conn=True)
    params = Parameters()
    graph = three_tier.graph(params, hp)
    cost, trainable = updates.objective(graph, "train")
    step = compile_function(
        graph.inputs, [cost, *graph.new_states.values()], updates.adam(cost, trainable)[0]
    )
    sampler = three_tier.sampler(params, hp, 2, 3)
    sample = compile_function(sampler.inputs, [sampler.samples, *sampler.new_states.values()])
    for function in (step, sample):
        seen = list(every_variable(function.pytensor_function.maker.fgraph))
        assert len(seen) > 200
        assert not [v for v in seen if getattr(v.type, "dtype", "") == "float64"]


def every_variable(fgraph):
    """All variables of a graph, those inside its scans too."""
    yield from fgraph.variables
    for node in fgraph.apply_nodes:
        if hasattr(node.op, "fgraph"):
            yield from every_variable(node.op.fgraph)


def test_independent_predictions_are_in_the_model_but_not_trained():
    """Quirk: the released loop trains on a cost that does not reach them."""
    graph = three_tier.graph(Parameters(), TINY)
    cost, trainable = updates.objective(graph, "train")
    moved = {p.name for p in updates.gradients(cost, trainable)}
    still = {p.name for p in trainable} - moved
    assert still == {f"BigFrameLevel.IndependentPreds.{part}" for part in ("W0", "g0", "b")}


def test_the_three_objectives_share_out_the_parameters():
    graph = three_tier.graph(Parameters(), TINY)
    names = {
        which: {p.name for p in updates.objective(graph, which)[1]} for which in ("train", "ip", "other")
    }
    assert names["ip"] | names["other"] == names["train"]
    assert not names["ip"] & names["other"]
    assert "BigFrameLevel.Output.W0" in names["other"] and "BigFrameLevel.h0" in names["ip"]


def test_initial_states_exist_but_are_not_trained_without_learn_h0():
    params = Parameters()
    three_tier.graph(params, ThreeTier(**{**vars(TINY), "learn_h0": False}))
    assert "FrameLevel.h0" in params and "BigFrameLevel.h0" in params
    assert not {"FrameLevel.h0", "BigFrameLevel.h0"} & {p.name for p in params.trainable()}


def test_number_of_parameters_of_the_papers_best_model():
    params = Parameters()
    three_tier.graph(params, PRESETS["three_tier"]["best"])
    sizes = {p.name: math.prod(p.type.shape) for p in params.trainable()}
    assert sum(sizes.values()) == 20_846_080
    assert sum(n for name, n in sizes.items() if "IndependentPreds" in name) == 2_101_248
