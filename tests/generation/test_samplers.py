"""Engines: what a block of samples depends on, and what it does not."""

import numpy as np
import pytensor
import pytest
from pytensor.compile.mode import Mode

from samplernn_theano.backends import threads
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
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation import priming, samplers
from samplernn_theano.generation.generator import Generator
from samplernn_theano.generation.random_streams import OwnStreams
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters

LEVELS = {"dim": 20, "batch_size": 1, "emb_size": 6, "q_levels": 16}
THREE = ThreeTier(**LEVELS, seq_len=16, rnn_type="LSTM", n_rnn=2, skip_conn=True)
ONE = OneTier(**LEVELS, seq_len=16, n_rnn=2)
WITH_KERNELS = pytest.mark.parametrize("hp", [THREE, ONE], ids=lambda hp: hp.family)
WITHOUT = [
    WaveNet(dim=4, batch_size=1, q_levels=16, wavenet_blocks=2, dilation_layers_per_block=3),
    RNNGMM(dim=8, batch_size=1, n_components=2, seq_len=16, frame_size=2, mean=0.01, std=0.1),
    SampleRNNGMM(dim=8, batch_size=1, n_components=2, n_frames=4, frame_size=4, n_rnn=1, mean=0.0, std=0.1),
]


@pytest.fixture
def interpreted(monkeypatch):
    """Graphs are evaluated node by node: for graphs as small as these quicker than to compile them."""

    def function(inputs, outputs, backend=None):
        mode = Mode(linker="py", optimizer=None)
        with pytensor.config.change_flags(floatX="float32", linker="py"):  # the linker of what scans repeat
            return pytensor.function(list(inputs), list(outputs), mode=mode, on_unused_input="ignore")

    monkeypatch.setattr(samplers, "compile_function", function)
    monkeypatch.setattr(priming, "compile_function", function)


def parameters(hp):
    """With initial states and biases that are not 0."""
    params = Parameters()
    build_graph(params, hp)
    rng = np.random.default_rng(0)
    values = {n: v for n, v in params.arrays().items() if n.endswith((".b", ".h0", ".W", ".W1x1"))}
    params.assign({n: 2 * v + 0.3 * rng.standard_normal(v.shape) for n, v in values.items()})
    return params


def take(engine, n_samples, silent=range(0), streams=None):
    """The first samples (n_seqs, n_samples) of each sequence, with the uniforms of seed 0."""
    streams = streams or OwnStreams(0, engine.n_seqs)
    generator = Generator(None, engine, streams, engine.start(), silent)
    return take(generator, n_samples)


def one_block(engine, state, uniforms):
    return engine.run(state, {"uniforms": uniforms}, np.zeros(engine.length, np.int32))


def assert_same(one, other):
    """States that are the same to the bit."""
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def copied(state):
    return {name: value.copy() for name, value in state.items()}


# --- which engine


def test_models_of_recurrent_tiers_and_levels_have_kernels():
    kernels = {"one_tier", "two_tier", "three_tier", "k_tier"}
    assert {name for name, family in FAMILIES.items() if samplers.has_kernels(family())} == kernels


def test_without_a_backend_kernels_are_used_and_nothing_is_compiled_for_the_graph(monkeypatch):
    monkeypatch.setattr(samplers, "compile_function", None)
    engine = samplers.create(parameters(ONE), ONE, 2)
    assert engine.n_seqs == 2 and engine.noise == ("uniforms",)
    assert take(engine, 10).shape == (2, 10)


@pytest.mark.parametrize("hp", WITHOUT, ids=lambda hp: hp.family)
def test_other_families_have_the_graph_in_blocks_of_any_length(hp, interpreted, monkeypatch):
    """Also in blocks shorter than a receptive field."""
    params = parameters(hp)
    taken = []
    for length in (8, 64):
        monkeypatch.setattr(samplers, "GRAPH_BLOCK", length)
        engine = samplers.create(params, hp, 2)
        assert engine.length == length
        assert engine.noise == (("uniforms", "normals") if hp.real_valued else ("uniforms",))
        taken.append(take(engine, 100, range(50, 60)))
    if hp.real_valued:
        np.testing.assert_allclose(*taken, atol=1e-6)
    else:
        np.testing.assert_array_equal(*taken)
    assert (taken[0][:, 50:60] == hp.silence).all()
    assert len(np.unique(taken[0][:, :50])) > 4


def test_a_nucleus_needs_levels(interpreted):
    hp = WITHOUT[1]
    with pytest.raises(HyperParameterError, match="needs levels to choose from"):
        samplers.create(parameters(hp), hp, 2, top_p=0.5)


# --- the two engines


@WITH_KERNELS
def test_each_engine_goes_on_from_the_states_of_the_other(hp, interpreted, monkeypatch):
    monkeypatch.setattr(samplers, "KERNEL_BLOCK", 32)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", 32)
    params, uniforms = parameters(hp), np.random.default_rng(3).random((2, 32, 3), np.float32)
    options = {"temperature": [0.8, 1.0, 1.3], "top_p": 0.9}
    kernels = samplers.create(params, hp, 3, **options)
    graph = samplers.create(params, hp, 3, "c", **options)
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
def test_kernels_go_on_from_a_prime_as_if_they_had_generated_it(hp, interpreted, monkeypatch):
    """The first prime is of another length than the others; two have heard the same."""
    monkeypatch.setattr(samplers, "KERNEL_BLOCK", 40)
    params, uniforms = parameters(hp), np.random.default_rng(2).random((3, 40, 3), np.float32)
    engine = samplers.create(params, hp, 3)
    state, run = engine.start(), []
    for block in uniforms:
        samples, state = one_block(engine, state, block)
        run.append(samples)
    members, n_blocks = [0, 1, 1], [1, 2, 2]
    heard = [np.concatenate(run[:n], axis=1)[i] for i, n in zip(members, n_blocks, strict=True)]
    state = priming.prime(params, hp, heard)
    then = np.stack([uniforms[n][:, i] for i, n in zip(members, n_blocks, strict=True)], axis=1)
    samples, _ = one_block(engine, state, then)
    np.testing.assert_array_equal(samples, [run[n][i] for i, n in zip(members, n_blocks, strict=True)])
    assert len(np.unique(samples)) > 4


# --- what a sequence does not depend on


@WITH_KERNELS
def test_a_sequence_does_not_depend_on_how_many_others_there_are(hp):
    """To the bit, and so do the states."""
    params = parameters(hp)
    temperature = np.linspace(0.5, 1.5, 20)
    many = samplers.create(params, hp, 20, temperature=temperature, top_p=0.95)
    uniforms = OwnStreams(0, 20).draw("uniforms", many.length)
    expected, after = one_block(many, many.start(), uniforms)
    assert len(np.unique(expected, axis=0)) == 20
    for n in (1, 2, 3, 5, 7):
        engine = samplers.create(params, hp, n, temperature=temperature[:n], top_p=0.95)
        assert engine.length == many.length
        samples, state = one_block(engine, engine.start(), OwnStreams(0, n).draw("uniforms", many.length))
        np.testing.assert_array_equal(samples, expected[:n])
        assert_same(state, {name: v[:n] if v.ndim else v for name, v in after.items()})


@WITH_KERNELS
def test_a_sequence_does_not_depend_on_the_threads(hp, monkeypatch):
    params, found = parameters(hp), []
    for allowed in (1, 2, 3, 8):
        monkeypatch.setattr(threads, "allowed", lambda allowed=allowed: allowed)
        engine = samplers.create(params, hp, 5, temperature=[0.5, 0.8, 1.0, 1.2, 2.0])
        uniforms = OwnStreams(0, 5).draw("uniforms", engine.length)
        found.append(one_block(engine, engine.start(), uniforms))
    for samples, state in found[1:]:
        np.testing.assert_array_equal(samples, found[0][0])
        assert_same(state, found[0][1])


def test_threads_are_as_many_as_the_environment_allows(monkeypatch):
    for name in threads.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    cores = threads.allowed()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert threads.allowed() == cores
    monkeypatch.setenv("NPROC", "1")
    assert threads.allowed() == 1


@WITH_KERNELS
def test_a_sequence_does_not_depend_on_the_length_of_blocks(hp, monkeypatch):
    params, taken = parameters(hp), []
    for length in (1, 48, 200):
        monkeypatch.setattr(samplers, "KERNEL_BLOCK", length)
        engine = samplers.create(params, hp, 2)
        assert engine.length % hp.overlap == 0 and engine.length <= max(length, hp.overlap)
        taken.append(take(engine, 300, range(90, 120)))
    np.testing.assert_array_equal(taken[0], taken[1])
    np.testing.assert_array_equal(taken[0], taken[2])
    assert (taken[0][:, 90:120] == hp.silence).all() and len(np.unique(taken[0])) > 4


def test_many_sequences_have_short_blocks(monkeypatch):
    """So that each is done, and can be written down, within a few seconds."""
    params = parameters(ONE)
    lengths = [samplers.create(params, ONE, n).length for n in (1, 20, 300, 10**5)]
    assert lengths == [1600, 1600, 106, 1]


# --- what it depends on


@pytest.mark.parametrize("make", [TwoTier, KTier, OneTier], ids=lambda family: family.family)
def test_each_sequence_has_its_temperature(make):
    """At almost none, the most probable level is drawn; one temperature is that of all."""
    hp = make(**LEVELS)
    params = parameters(hp)
    engine = samplers.create(params, hp, 3, temperature=[1e-3, 1.0, 1e-3])
    block = take(engine, 320)
    np.testing.assert_array_equal(block[0], block[2])
    assert not np.array_equal(block[0], block[1])
    np.testing.assert_array_equal(take(samplers.create(params, hp, 3, temperature=1.0), 320)[1], block[1])


def test_parameters_are_read_again_when_refreshed_and_not_before():
    params = parameters(THREE)
    engine = samplers.create(params, THREE, 2)
    before, start = take(engine, 200), copied(engine.start())
    bias = np.zeros(16)
    bias[7] = 100
    changes = {"SampleLevel.Output.b": bias}
    changes |= {name: v + 1 for name, v in params.arrays().items() if name.endswith(".h0")}
    params.assign(changes)
    np.testing.assert_array_equal(take(engine, 200), before)
    assert_same(engine.start(), start)
    engine.refresh()
    assert (take(engine, 200) == 7).all() and not (before == 7).all()
    for name in ("h0", "big_h0"):
        np.testing.assert_array_equal(engine.start()[name], start[name] + 1)


@WITH_KERNELS
@pytest.mark.parametrize("dim", [16, 20])  # one is a whole number of the processor's vectors
def test_a_state_that_is_given_is_left_as_it_is(hp, dim):
    hp = type(hp)(**vars(hp) | {"dim": dim})
    for n in (1, 3):
        engine = samplers.create(parameters(hp), hp, n)
        uniforms = OwnStreams(0, n).draw("uniforms", engine.length)
        start = engine.start()
        kept = copied(start)
        samples, after = one_block(engine, start, uniforms)
        assert_same(start, kept)
        kept, first = copied(after), samples.copy()
        one_block(engine, after, uniforms)
        assert_same(after, kept)
        np.testing.assert_array_equal(samples, first)
        assert not np.array_equal(after["h0"], start["h0"])


@WITH_KERNELS
def test_parameters_that_are_no_numbers_give_no_levels(hp):
    """Whoever calls an engine finds -1 in the samples and NaN in the states, not a crash."""
    params = parameters(hp)
    name = next(name for name in params if name.endswith("Step.Input.W0"))
    params.assign({name: np.full(params[name].get_value().shape, np.nan)})
    engine = samplers.create(params, hp, 3, top_p=0.9)
    samples, state = one_block(engine, engine.start(), OwnStreams(0, 3).draw("uniforms", engine.length))
    assert (samples == -1).all()
    assert not all(np.isfinite(value).all() for value in state.values())
