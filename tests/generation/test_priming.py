"""Priming: the state of a model after reading a recording."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

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
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.generation import priming, samplers
from samplernn_theano.generation.request import Prime
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from tests.generation.test_samplers import interpreted

SMALL = {"dim": 8, "batch_size": 1}
LEVELS = {**SMALL, "q_levels": 16}
NUMBERS = {**SMALL, "n_components": 3, "mean": 0.01, "std": 0.2}
MODELS = [
    ThreeTier(**LEVELS, emb_size=4, seq_len=16, big_frame_size=4, frame_size=2),
    TwoTier(**LEVELS, emb_size=4, n_frames=4, frame_size=4, rnn_type="LSTM", n_rnn=2, skip_conn=True),
    OneTier(**LEVELS, emb_size=4, seq_len=16, n_rnn=2),
    WaveNet(**LEVELS, wavenet_blocks=2, dilation_layers_per_block=3, sequence_len_to_train=16),
    KTier(**LEVELS, emb_size=0, seq_len=16, frame_sizes=(4, 2, 1)),
    RNNGMM(**NUMBERS, seq_len=16),
    SampleRNNGMM(**NUMBERS, n_frames=4, frame_size=4, n_rnn=1),
]
BLOCK, N = 20, 4


@pytest.fixture(autouse=True)
def quick_graphs(monkeypatch):
    monkeypatch.setattr(samplers, "compile_function", interpreted)
    monkeypatch.setattr(priming, "compile_function", interpreted)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", BLOCK)


def parameters(hp):
    """Initial parameters, but with learned states that are not 0, and larger weights of a wavenet."""
    params = Parameters()
    build_graph(params, hp)
    values = params.arrays()
    params.assign({name: np.full(a.shape, 0.7) for name, a in values.items() if name.endswith(".h0")})
    params.assign({name: 2 * a for name, a in values.items() if name.endswith((".W", ".W1x1"))})
    return params


def in_order_of_time(state):
    """Rotate the queues of a wavenet so that the oldest row comes first."""
    if "time" not in state:
        return state
    queues = {name: q for name, q in state.items() if name.startswith("queue")}
    rolled = {name: np.roll(q, -(state["time"] % len(q)), axis=0) for name, q in queues.items()}
    return state | rolled | {"time": 0}


assert {hp.family for hp in MODELS} == set(FAMILIES)


@pytest.mark.parametrize("hp", MODELS, ids=lambda hp: hp.family)
def test_continuing_samples_equals_having_generated_them(hp, monkeypatch):
    """Primes of 3 blocks and of 1, one of them twice, and some that start in the middle of a frame.

    The rest of that frame counts as silence before the prime; the expected run therefore starts with as many
    samples of silence. Primes are read in several chunks, by three_tier in long and short ones.
    """
    monkeypatch.setattr(priming, "MAX_CHUNK", 12 if hp.family == "three_tier" else BLOCK)
    params = parameters(hp)
    sampler = samplers.create_sampler(params, hp, N, "numba")
    random = np.random.default_rng(5)
    kinds = {"uniforms": random.random, "normals": random.standard_normal}
    noise = [{name: kinds[name]((BLOCK, N), np.float32) for name in sampler.noise} for _ in range(4)]
    lacking = 3 if hp.overlap > 3 else hp.overlap - 1
    run, states = [], [sampler.start()]
    for i in range(4):
        silent = (np.arange(BLOCK) < (lacking if i == 0 else 0)).astype(np.int32)
        samples, state = sampler.run(states[-1], noise[i], silent)
        run.append(samples)
        states.append(state)
    generated = np.concatenate(run, axis=1)

    # The first prime includes the silence of the run, the others start after it.
    members, blocks = [0, 1, 1, 3], [3, 1, 1, 3]
    first = [0, lacking, lacking, lacking]
    primes = [generated[m, f : n * BLOCK] for m, n, f in zip(members, blocks, first, strict=True)]
    state = priming.prime(params, hp, primes, N)
    assert list(state) == list(states[0])
    assert {k: (v.shape, v.dtype) for k, v in state.items()} == {
        k: (v.shape, v.dtype) for k, v in states[0].items()
    }
    own = list(zip(members, blocks, strict=True))
    then = {name: np.stack([noise[n][name][:, m] for m, n in own], axis=1) for name in noise[0]}
    samples, _ = sampler.run(state, then, np.zeros(BLOCK, np.int32))
    expected = np.stack([run[n][m] for m, n in own])
    if hp.real_valued:
        np.testing.assert_allclose(samples, expected, atol=1e-4)
    else:
        np.testing.assert_array_equal(samples, expected)
        assert len(np.unique(samples)) > 3
    for name, value in in_order_of_time(state).items():
        axis = 2 if name.startswith("queue") else 0
        for i, (m, n) in enumerate(own):
            if np.ndim(value):
                theirs = np.take(in_order_of_time(states[n])[name], m, axis)
                np.testing.assert_allclose(np.take(value, i, axis), theirs, 1e-5, 2e-6, err_msg=name)


def test_many_chunks_equal_one_and_sequences_cycle_through_the_primes(monkeypatch):
    monkeypatch.setattr(priming, "compile_function", compile_function)  # of the default backend
    hp = MODELS[2]
    params, samples = parameters(hp), np.random.RandomState(0).randint(0, 16, 30)
    state = priming.prime(params, hp, [samples, samples[::-1]], 3)
    np.testing.assert_array_equal(state["h0"][0], state["h0"][2])
    assert np.abs(state["h0"][0] - state["h0"][1]).max() > 1e-3
    np.testing.assert_array_equal(state["previous"][:, 0], samples[[-1, 0, -1]])
    monkeypatch.setattr(priming, "MAX_CHUNK", 12)  # 6, 12 and 12 samples
    np.testing.assert_allclose(priming.prime(params, hp, [samples], 1)["h0"], state["h0"][:1], rtol=1e-5)


@pytest.fixture
def tone(tmp_path):
    """Half a second at 8 kHz, stereo."""
    x = 0.5 * np.sin(np.arange(4000) / 7) + 0.1
    soundfile.write(tmp_path / "tone.wav", np.stack([x, 0.5 * x], axis=1), 8000, "FLOAT")
    return tmp_path / "tone.wav"


@pytest.mark.parametrize("normalisation", ["min-max", "absmax", "none"])
@pytest.mark.parametrize("q_type", ["linear", "mu-law"])
def test_a_recording_is_normalised_as_a_training_clip(tone, normalisation, q_type):
    hp, log = ThreeTier(**SMALL, q_type=q_type, normalisation=normalisation), []
    samples = priming.read(Prime(tone), hp, log.append)
    whole = quantize(priming.audio.read(tone).samples[None], 256, q_type, normalisation)[0]
    np.testing.assert_array_equal(samples, whole)
    assert samples.dtype == np.uint8 and len(samples) == 8000
    assert log == [f"{tone}: 8,000 Hz resampled to 16,000 Hz"]


def test_a_part_of_a_recording_is_read_as_if_it_had_been_cut_out(tone, tmp_path):
    cut, hp = priming.audio.read(tone).samples[1600:4000], MODELS[0]
    soundfile.write(tmp_path / "cut.wav", cut, 16000, "FLOAT")
    part = priming.read(Prime.parse(f"{tone}:0.1:.25"), hp)
    np.testing.assert_array_equal(part, priming.read(Prime(tmp_path / "cut.wav"), hp))
    assert len(priming.read(Prime.parse(f"{tone}:0:0.5"), hp)) == 8000
    with pytest.raises(DataError, match=r"There is no .*tone\.wav from 0\.3 to 0\.6 s: .* ends at 0\.5 s"):
        priming.read(Prime.parse(f"{tone}:0.3:0.6"), hp)
    with pytest.raises(DataError, match=rf"from 0\.1 to 0\.1001 s is too short: .* {hp.overlap} samples"):
        priming.read(Prime.parse(f"{tone}:0.1:0.1001"), hp)


@pytest.mark.parametrize("part", ["", "1", "1:", ":1", "-1:1", "0:1e-1", "1:1", "2:1"])
def test_a_slip_after_the_name_of_a_recording_is_no_other_name(tone, part):
    with pytest.raises(HyperParameterError, match=rf"tone\.wav:{part} names no part .*; give FILE:FROM:TO"):
        Prime.parse(f"{tone}:{part}")
    assert Prime.parse(f"no{tone.name}:{part}x") == Prime(Path(f"no{tone.name}:{part}x"))


@pytest.mark.parametrize("name", ["a:1:2", "a:b.wav", "a:1.wav", "a:1:x", "a:-1:2", "a:1:inf"])
def test_names_with_colons_that_name_no_part(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert Prime.parse(name) == Prime(Path(name))
    assert Prime.parse(f"{name}:1:2") == Prime(Path(name), 1, 2)


def test_a_recording_for_a_real_valued_model(tone):
    expected = (priming.audio.read(tone).samples.astype(np.float64) - 0.01) / 0.2
    np.testing.assert_array_equal(priming.read(Prime(tone), MODELS[5]), expected.astype(np.float32))
    with pytest.raises(HyperParameterError, match="give --set mean=... and --set std=..."):
        priming.read(Prime(tone), RNNGMM(**SMALL))


def test_a_recording_shorter_than_the_receptive_field_is_reported(tone):
    log = []
    for blocks in (7, 8):
        priming.read(Prime(tone), WaveNet(q_levels=256, wavenet_blocks=blocks), log.append)
    assert [line for line in log if "Hz" not in line] == [
        f"{tone} has 8000 samples, the context of the model is 8185: it is padded with silence on the left"
    ]


def test_a_constant_recording_is_only_accepted_without_min_max_normalisation(tmp_path):
    soundfile.write(tmp_path / "dc.wav", np.full(100, 0.26), 16000, "FLOAT")
    hp = ThreeTier(**LEVELS, normalisation="none")
    np.testing.assert_array_equal(priming.read(Prime(tmp_path / "dc.wav"), hp), np.full(100, 10))
    with pytest.raises(DataError, match=r"dc\.wav is constant \(silence\)"):
        priming.read(Prime(tmp_path / "dc.wav"), MODELS[0])
