"""The total NLL in chunks: the same cost and gradient in less memory."""

import math

import numpy as np
import pytensor
import pytest
from pytensor.compile.mode import Mode
from pytensor.scan.op import Scan

from samplernn_theano.backends import chunked_loss
from samplernn_theano.config.hyperparameters import OneTier, SampleRNNGMM, ThreeTier, TwoTier, WaveNet
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer

INTERPRETED = Mode(linker="py", optimizer="fast_run")
RNG = np.random.RandomState(0)

LEVELS = {"dim": 6, "batch_size": 2, "emb_size": 3, "q_levels": 10}
FAMILIES = {
    "three_tier": ThreeTier(**LEVELS, seq_len=32),
    "multi_softmax": TwoTier(**LEVELS, n_frames=8, frame_size=4, n_rnn=1, multi_softmax=True),
    "real": TwoTier(**LEVELS, n_frames=8, frame_size=4, n_rnn=1, sample_input="real"),
    "samplernn_gmm": SampleRNNGMM(dim=6, batch_size=2, n_frames=8, frame_size=4, n_rnn=1, n_components=20),
    "one_tier": OneTier(**LEVELS, seq_len=32),
}


@pytest.mark.parametrize(
    "length, size, most, n", [(256, 65536, 8192, 8), (256, 8192, 8192, 1), (6, 60, 25, 3), (7, 70, 25, 7)]
)
def test_chunks_are_equal_and_as_few_as_can_be(length, size, most, n):
    assert chunked_loss.n_chunks(length, size, most) == n


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "three_tier"])  # as one_tier
def test_cost_and_gradient_in_chunks_are_those_of_the_whole_in_less_memory(name, monkeypatch):
    hp = FAMILIES[name]
    shape = (hp.batch_size, hp.overlap + hp.seq_len)
    sequences = (
        RNG.normal(size=shape).astype(np.float32)
        if hp.real_valued
        else RNG.randint(0, hp.q_levels, shape).astype(np.int32)
    )
    mask = (RNG.uniform(size=shape) < 0.7).astype(np.float32)
    results, of_all = [], []
    for most in (10**6, 16 * hp.dim):
        monkeypatch.setattr(chunked_loss, "MAX_ACTIVATIONS", most)
        graph = build_graph(Parameters(), hp)
        grads = optimizer.gradients(graph.cost, graph.parameters.trainable())
        f = pytensor.function(graph.inputs, [graph.cost, *grads.values()], mode=INTERPRETED)
        results.append(f(sequences, mask, np.int32(1), *graph.zero_states()))
        width = 3 * hp.n_components if hp.real_valued else hp.q_levels
        shapes = [v.type.shape for node in f.maker.fgraph.apply_nodes for v in node.outputs]
        rows = [math.prod(shape) // width for shape in shapes if shape[-1:] == (width,) and None not in shape]
        of_all.append(rows.count(hp.batch_size * hp.seq_len))
    for whole, in_chunks in zip(*results, strict=True):
        assert np.linalg.norm(in_chunks - whole) <= 3e-6 * np.linalg.norm(whole)
    assert of_all[1] < of_all[0] / 4  # arrays with a row for each prediction


WAVENET = WaveNet(dim=4, q_levels=8, batch_size=2, wavenet_blocks=1, dilation_layers_per_block=2)


@pytest.mark.parametrize(("hp", "n_scans"), [(FAMILIES["three_tier"], 3), (WAVENET, 0)], ids=["tiers", "no"])
def test_without_the_gradient_nothing_of_it_is_computed(hp, n_scans, monkeypatch):
    """Evaluation in chunks has one scan more than the tiers, if any, and that gives the sum alone."""
    monkeypatch.setattr(chunked_loss, "MAX_ACTIVATIONS", 96)
    graph = build_graph(Parameters(), hp)
    f = pytensor.function(graph.inputs, [graph.total], mode="JAX", on_unused_input="ignore")
    scans = [node for node in f.maker.fgraph.toposort() if isinstance(node.op, Scan)]
    assert len(scans) == n_scans
    assert not scans or [v.type.shape for v in scans[-1].outputs] in ([()], [(2,)], [(1,)])
