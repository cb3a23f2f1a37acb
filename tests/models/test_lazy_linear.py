"""Joined linear maps, and sums computed in chunks, equal the plain forms."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from samplernn_theano.backends import chunked_loss
from samplernn_theano.config.hyperparameters import KTier, OneTier, SampleRNNGMM, ThreeTier, TwoTier
from samplernn_theano.models import lazy_linear, samplernn
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.lazy_linear import LazyLinear
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer

INTERPRETED = Mode(linker="py", optimizer="fast_run")
RNG = np.random.RandomState(0)
N, B, N_IN, N_OUT, WIDTH = 3, 2, 4, 5, 6


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def value(expression):
    return pytensor.function([], expression, mode=INTERPRETED)()


def fixed(array):
    return pt.constant(array)


def some_map(n=None, is_lookup=False, bias=True):
    """A map, and what it gives by NumPy."""
    source = RNG.randint(0, N_IN, (N, B)).astype(np.int32) if is_lookup else random(N, B, N_IN)
    W, b = random(N_IN, (n or 1) * N_OUT), random((n or 1) * N_OUT)
    expected = (W[source] if is_lookup else source @ W) + b * bias
    if n:
        expected = expected.reshape(N, B, n, N_OUT)
    return LazyLinear(fixed(source), fixed(W), fixed(b) if bias else None, n), expected


@pytest.mark.parametrize("n", [None, 3])
@pytest.mark.parametrize("is_lookup", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_map_times_the_next_is_the_same_in_either_order(n, is_lookup, bias):
    m, expected = some_map(n, is_lookup, bias)
    V = random(N_OUT, WIDTH)
    np.testing.assert_allclose(value(lazy_linear.apply(m)), expected, rtol=1e-5)
    for in_loop in (False, True):
        product = lazy_linear.apply(lazy_linear.multiply(m, fixed(V), in_loop))
        assert product.type.shape == (*expected.shape[:-1], WIDTH)
        np.testing.assert_allclose(value(product), expected @ V, rtol=1e-4, atol=1e-5)


def test_vectors_of_a_step_follow_each_other_in_time():
    m, expected = some_map(n=3)
    np.testing.assert_allclose(
        value(lazy_linear.apply_over_time(m)),
        expected.transpose(0, 2, 1, 3).reshape(3 * N, B, N_OUT),
        rtol=1e-5,
    )
    for i in range(3):
        np.testing.assert_allclose(
            value(lazy_linear.apply(lazy_linear.vector_at(m, i))), expected[:, :, i], rtol=1e-5
        )


@pytest.mark.parametrize("rows, n_in, n_out, n_next, is_cheaper", [(100, 8, 8, 8, True), (2, 8, 8, 8, False)])
def test_maps_are_joined_if_that_takes_fewer_multiplications(rows, n_in, n_out, n_next, is_cheaper):
    m = LazyLinear(fixed(random(rows, n_in)), fixed(random(n_in, n_out)))
    V = fixed(random(n_out, n_next))
    merged, separate = n_in * n_out * n_next + rows * n_in * n_next, rows * n_out * (n_in + n_next)
    assert lazy_linear.is_cheaper(m, V) == is_cheaper == (merged < separate)
    looked_up = LazyLinear(fixed(np.zeros(rows, np.int32)), m.W)
    assert lazy_linear.is_cheaper(looked_up, V) == (n_in < rows)


# --- chunks


@pytest.mark.parametrize(
    "length, size, most, n", [(256, 65536, 8192, 8), (256, 8192, 8192, 1), (6, 60, 25, 3), (7, 70, 25, 7)]
)
def test_chunks_are_equal_and_as_few_as_can_be(length, size, most, n):
    assert chunked_loss.n_chunks(length, size, most) == n


LEVELS = {"dim": 6, "batch_size": 2, "emb_size": 3, "q_levels": 10}
FAMILIES = {
    "three_tier": ThreeTier(**LEVELS, seq_len=32),
    "k_tier": KTier(**LEVELS, seq_len=32, frame_sizes=(8, 4, 2)),
    "multi_softmax": TwoTier(**LEVELS, n_frames=8, frame_size=4, n_rnn=1, multi_softmax=True),
    "real": TwoTier(**LEVELS, n_frames=8, frame_size=4, n_rnn=1, sample_input="real"),
    "samplernn_gmm": SampleRNNGMM(dim=6, batch_size=2, n_frames=8, frame_size=4, n_rnn=1, n_components=2),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_cost_and_gradient_in_chunks_are_those_of_the_whole(name, monkeypatch):
    hp = FAMILIES[name]
    shape = (hp.batch_size, hp.overlap + hp.seq_len)
    sequences = random(*shape) if hp.real_valued else RNG.randint(0, 10, shape).astype(np.int32)
    mask = (RNG.uniform(size=shape) < 0.7).astype(np.float32)
    results = []
    for most in (10**6, 16 * hp.dim):
        monkeypatch.setattr(samplernn, "MAX_ACTIVATIONS", most)
        graph = build_graph(Parameters(), hp)
        grads = optimizer.gradients(graph.cost, graph.parameters.trainable())
        f = pytensor.function(graph.inputs, [graph.cost, *grads.values()], mode=INTERPRETED)
        results.append(f(sequences, mask, np.int32(1), *graph.zero_states()))
    for whole, in_chunks in zip(*results, strict=True):
        assert np.linalg.norm(in_chunks - whole) <= 3e-6 * np.linalg.norm(whole)


def test_without_the_gradient_nothing_of_it_is_computed(monkeypatch):
    """Evaluation in chunks has one scan more than the recurrent tiers, and that gives the sum alone."""
    from pytensor.scan.op import Scan

    monkeypatch.setattr(samplernn, "MAX_ACTIVATIONS", 96)
    hp = FAMILIES["three_tier"]
    graph = build_graph(Parameters(), hp)
    f = pytensor.function(graph.inputs, [graph.total], mode="JAX", on_unused_input="ignore")
    scans = [node for node in f.maker.fgraph.toposort() if isinstance(node.op, Scan)]
    assert len(scans) == 3
    assert [v.type.shape for v in scans[-1].outputs] in ([()], [(2,)], [(1,)])


def test_a_plain_rnn_has_a_table_for_its_first_layer():
    """Its embedding and the first layer's input are one table if that takes fewer multiplications."""
    hp = OneTier(dim=6, emb_size=3, q_levels=10, batch_size=2, seq_len=32)
    graph = build_graph(Parameters(), hp)
    f = pytensor.function(graph.inputs, graph.cost, mode="FAST_COMPILE", on_unused_input="ignore")
    shapes = {v.type.shape for node in f.maker.fgraph.apply_nodes for v in node.outputs}
    assert (10, 3 * 6) in shapes and (64, 3) not in shapes
