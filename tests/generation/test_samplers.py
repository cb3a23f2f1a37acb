"""Block samplers: choice of the implementation, equality of kernels and graph, determinism."""

import numpy as np
import pytensor
import pytest
from pytensor.compile.mode import Mode

from samplernn_theano.backends import threads
from samplernn_theano.config.hyperparameters import RNNGMM, OneTier, SampleRNNGMM, ThreeTier, WaveNet
from samplernn_theano.generation import samplers
from samplernn_theano.generation.generator import Generator, take
from samplernn_theano.generation.random_streams import NumpyStreams
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters

LEVELS = {"dim": 20, "batch_size": 1, "emb_size": 6, "q_levels": 16}
THREE = ThreeTier(**LEVELS, seq_len=16, rnn_type="LSTM", n_rnn=2, skip_conn=True)
ONE = OneTier(**LEVELS | {"dim": 16}, seq_len=16, n_rnn=2)  # a multiple of the vector width
WITH_KERNELS = pytest.mark.parametrize("hp", [THREE, ONE], ids=lambda hp: hp.family)
WITHOUT = [
    WaveNet(dim=4, batch_size=1, q_levels=16, wavenet_blocks=2, dilation_layers_per_block=3),
    RNNGMM(dim=8, batch_size=1, n_components=2, seq_len=16, mean=0.01, std=0.1),
    SampleRNNGMM(dim=8, batch_size=1, n_components=2, n_frames=4, frame_size=4, n_rnn=1, mean=0.0, std=0.1),
]


def interpreted(inputs, outputs, backend=None, precision="highest"):
    """Compile to node-by-node evaluation: faster than compiling graphs as small as these."""
    with pytensor.config.change_flags(floatX="float32", linker="py"):  # the linker of what scans repeat
        return pytensor.function(list(inputs), list(outputs), mode=Mode("py", None), on_unused_input="ignore")


@pytest.fixture
def quick_graphs(monkeypatch):
    monkeypatch.setattr(samplers, "compile_function", interpreted)


def parameters(hp):
    """Parameters with initial states and biases that are not 0."""
    params = Parameters()
    build_graph(params, hp)
    rng = np.random.default_rng(0)
    values = {n: v for n, v in params.arrays().items() if n.endswith((".b", ".h0", ".W", ".W1x1"))}
    params.assign({n: 2 * v + 0.3 * rng.standard_normal(v.shape) for n, v in values.items()})
    return params


def take_samples(sampler, n_samples, silent=range(0), streams=None):
    """First samples (n_seqs, n_samples) of each sequence, by default with the uniforms of seed 0."""
    streams = streams or NumpyStreams(0, sampler.n_seqs)
    generator = Generator(None, sampler, streams, sampler.start(), silent)
    return take(generator, n_samples)


def one_block(sampler, state, uniforms):
    return sampler.run(state, {"uniforms": uniforms}, np.zeros(sampler.length, np.int32))


def assert_same(one, other):
    """Assert that states are equal bit for bit."""
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name, strict=True)


def test_without_a_backend_the_kernels_are_used_in_short_blocks_of_many_sequences(monkeypatch):
    """So that each block is generated and saved within a few seconds."""
    monkeypatch.setattr(samplers, "compile_function", None)
    made = [samplers.create_sampler(parameters(ONE), ONE, n) for n in (1, 20, 300, 10**5)]
    assert [sampler.length for sampler in made] == [1600, 1600, 106, 1]
    assert made[1].n_seqs == 20 and made[1].noise == ("uniforms",)


@pytest.mark.parametrize("hp", WITHOUT, ids=lambda hp: hp.family)
def test_other_families_use_the_graph_in_blocks_of_any_length(hp, quick_graphs, monkeypatch):
    """Also in blocks shorter than the receptive field."""
    params = parameters(hp)
    taken = []
    for length in (8, 64):
        monkeypatch.setattr(samplers, "GRAPH_BLOCK", length)
        sampler = samplers.create_sampler(params, hp, 2)
        assert sampler.length == length
        assert sampler.noise == (("uniforms", "normals") if hp.real_valued else ("uniforms",))
        taken.append(take_samples(sampler, 100, range(50, 60)))
    if hp.real_valued:
        np.testing.assert_allclose(*taken, atol=1e-6)
    else:
        np.testing.assert_array_equal(*taken)
    assert (taken[0][:, 50:60] == hp.silence).all()
    assert len(np.unique(taken[0][:, :50])) > 4


@WITH_KERNELS
def test_kernels_and_graph_continue_from_each_others_states(hp, quick_graphs, monkeypatch):
    monkeypatch.setattr(samplers, "KERNEL_BLOCK", 32)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", 32)
    params, uniforms = parameters(hp), np.random.default_rng(3).random((2, 32, 3), np.float32)
    options = {"temperature": [0.8, 1.0, 1.3], "top_p": 0.9}
    kernels = samplers.create_sampler(params, hp, 3, **options)
    graph = samplers.create_sampler(params, hp, 3, "c", **options)
    first, by_kernels = one_block(kernels, kernels.start(), uniforms[0])
    also_first, by_graph = one_block(graph, graph.start(), uniforms[0])
    np.testing.assert_array_equal(first, also_first)
    assert by_kernels.keys() == by_graph.keys()
    for name, value in by_kernels.items():
        assert value.dtype == by_graph[name].dtype and value.shape == by_graph[name].shape
        np.testing.assert_allclose(value, by_graph[name], atol=1e-5, err_msg=name)
    expected, _ = one_block(kernels, by_kernels, uniforms[1])
    np.testing.assert_array_equal(one_block(kernels, by_graph, uniforms[1])[0], expected)
    np.testing.assert_array_equal(one_block(graph, by_kernels, uniforms[1])[0], expected)
    assert not np.array_equal(expected, first) and len(np.unique(expected)) > 4


@WITH_KERNELS
def test_a_sequence_does_not_depend_on_the_number_of_sequences(hp):
    """Bit for bit, and so for the states."""
    params = parameters(hp)
    temperature = np.linspace(0.5, 1.5, 20)
    many = samplers.create_sampler(params, hp, 20, temperature=temperature, top_p=0.95)
    uniforms = NumpyStreams(0, 20).draw("uniforms", many.length)
    expected, after = one_block(many, many.start(), uniforms)
    assert len(np.unique(expected, axis=0)) == 20
    for n in (1, 2, 3, 5, 7):
        sampler = samplers.create_sampler(params, hp, n, temperature=temperature[:n], top_p=0.95)
        assert sampler.length == many.length
        samples, state = one_block(sampler, sampler.start(), NumpyStreams(0, n).draw("uniforms", many.length))
        np.testing.assert_array_equal(samples, expected[:n])
        assert_same(state, {name: v[:n] if v.ndim else v for name, v in after.items()})


@WITH_KERNELS
def test_a_sequence_does_not_depend_on_the_number_of_threads_and_its_state_is_not_modified(hp, monkeypatch):
    params, uniforms = parameters(hp), NumpyStreams(0, 5).draw("uniforms", 1600)
    found = []
    for allowed in (1, 2, 3, 8):
        monkeypatch.setattr(threads, "available", lambda allowed=allowed: allowed)
        sampler = samplers.create_sampler(params, hp, 5, temperature=[0.5, 0.8, 1.0, 1.2, 2.0])
        start = sampler.start()
        found.append((start, *one_block(sampler, start, uniforms)))
        one_block(sampler, found[-1][2], uniforms)  # changes neither the state nor the samples
        assert_same(start, sampler.start())
        np.testing.assert_array_equal(found[-1][1], found[0][1])
        assert_same(found[-1][2], found[0][2])
        assert not np.array_equal(found[-1][2]["h0"], start["h0"])


@WITH_KERNELS
def test_a_sequence_does_not_depend_on_the_length_of_blocks(hp, monkeypatch):
    params, taken = parameters(hp), []
    for length in (1, 48, 200):
        monkeypatch.setattr(samplers, "KERNEL_BLOCK", length)
        sampler = samplers.create_sampler(params, hp, 2)
        assert sampler.length % hp.overlap == 0 and sampler.length <= max(length, hp.overlap)
        taken.append(take_samples(sampler, 300, range(90, 120)))
        np.testing.assert_array_equal(taken[0], taken[-1])
    assert (taken[0][:, 90:120] == hp.silence).all() and len(np.unique(taken[0])) > 4


def test_parameters_are_read_again_only_at_a_start():
    params, uniforms = parameters(THREE), NumpyStreams(0, 2).draw("uniforms", 1600)
    sampler = samplers.create_sampler(params, THREE, 2)
    start = sampler.start()
    before, _ = one_block(sampler, start, uniforms)
    bias = np.zeros(16)
    bias[7] = 100
    changes = {"SampleLevel.Output.b": bias}
    params.assign(changes | {name: v + 1 for name, v in params.arrays().items() if name.endswith(".h0")})
    np.testing.assert_array_equal(one_block(sampler, start, uniforms)[0], before)
    again = sampler.start()
    assert (one_block(sampler, again, uniforms)[0] == 7).all() and not (before == 7).all()
    for name in ("h0", "big_h0"):
        np.testing.assert_array_equal(again[name], start[name] + 1)


@WITH_KERNELS
def test_parameters_that_are_nan_give_minus_one(hp):
    """The samples are -1 and the states NaN; nothing crashes."""
    params = parameters(hp)
    name = next(name for name in params if name.endswith("Step.Input.W0"))
    params.assign({name: np.full(params[name].get_value().shape, np.nan)})
    sampler = samplers.create_sampler(params, hp, 3, top_p=0.9)
    samples, state = one_block(sampler, sampler.start(), NumpyStreams(0, 3).draw("uniforms", sampler.length))
    assert (samples == -1).all()
    assert not all(np.isfinite(value).all() for value in state.values())
