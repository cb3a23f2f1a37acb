"""Priming: the state of a model after reading a recording."""

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
from samplernn_theano.generation import priming
from samplernn_theano.models.build import build_graph, build_sampler
from samplernn_theano.models.parameters import Parameters

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


def parameters(hp):
    """Initial parameters, but with learned states that are not 0, and larger weights of a wavenet."""
    params = Parameters()
    build_graph(params, hp)
    values = params.arrays()
    params.assign({name: np.full(a.shape, 0.7) for name, a in values.items() if name.endswith(".h0")})
    params.assign({name: 2 * a for name, a in values.items() if name.endswith((".W", ".W1x1"))})
    return params


class GraphSampler:
    """Compiled graph of blocks of N sequences."""

    def __init__(self, params, hp):
        self.sampler = build_sampler(params, hp, N, BLOCK)
        self.f = compile_function(
            self.sampler.inputs, [self.sampler.samples, *self.sampler.new_states.values()]
        )

    def __call__(self, noise, state, silent=0):
        """One block, with noise (BLOCK, N) and the first `silent` samples silenced, and its final state."""
        ones = {"inverse_temperature": np.ones(N, np.float32)}
        values = noise | ones | state | {"silent": (np.arange(BLOCK) < silent).astype(np.int32)}
        samples, *states = (np.asarray(v) for v in self.f(*(values[v.name] for v in self.sampler.inputs)))
        previous = np.concatenate([state["previous"], samples], axis=1)[:, -state["previous"].shape[1] :]
        after = {"previous": previous, "reset": np.asarray(0, np.int32)}
        return samples, after | dict(zip(self.sampler.states, states, strict=True))

    def start(self, hp):
        previous = np.full((N, hp.overlap), hp.silence, self.sampler.previous.dtype)
        states = dict(zip(self.sampler.states, self.sampler.zero_states(), strict=True))
        return {"previous": previous, "reset": np.asarray(1, np.int32)} | states


def in_order_of_time(state):
    """Rotate the queues of a wavenet so that the oldest row comes first."""
    if "time" not in state:
        return state
    queues = {name: q for name, q in state.items() if name.startswith("queue")}
    rolled = {name: np.roll(q, -(state["time"] % len(q)), axis=0) for name, q in queues.items()}
    return state | rolled | {"time": 0}


def test_every_family_is_tested():
    assert {hp.family for hp in MODELS} == set(FAMILIES)


@pytest.mark.parametrize("hp", MODELS, ids=lambda hp: hp.family)
def test_continuing_samples_equals_having_generated_them(hp, monkeypatch):
    """Primes of 3 blocks and of 1, one of them twice, and some that start in the middle of a frame.

    The rest of that frame counts as silence before the prime; the expected run therefore starts with as many
    samples of silence. Primes are read in several chunks, by three_tier in long and short ones.
    """
    monkeypatch.setattr(priming, "MAX_CHUNK", 12 if hp.family == "three_tier" else BLOCK)
    params = parameters(hp)
    generate = GraphSampler(params, hp)
    random = np.random.default_rng(5)
    noise = [
        {
            name: (random.random if name == "uniforms" else random.standard_normal)((BLOCK, N), np.float32)
            for name in generate.sampler.noise
        }
        for _ in range(4)
    ]
    lacking = 3 if hp.overlap > 3 else hp.overlap - 1
    run, states = [], [generate.start(hp)]
    for i in range(4):
        samples, state = generate(noise[i], states[-1], silent=lacking if i == 0 else 0)
        run.append(samples)
        states.append(state)
    generated = np.concatenate(run, axis=1)

    # The first prime includes the silence of the run, the others start after it.
    members, blocks = [0, 1, 1, 3], [3, 1, 1, 3]
    first = [0, lacking, lacking, lacking]
    primes = [generated[m, f : n * BLOCK] for m, n, f in zip(members, blocks, first, strict=True)]
    state = priming.prime(params, hp, primes, N)
    assert {name: (v.shape, v.dtype) for name, v in state.items()} == {
        v.name: (v.type.shape, np.dtype(v.dtype)) for v in generate.sampler.inputs if v.name in state
    }
    assert list(state) == ["previous", "reset", *generate.sampler.states]
    then = {
        name: np.stack([noise[n][name][:, m] for m, n in zip(members, blocks, strict=True)], axis=1)
        for name in noise[0]
    }
    samples, _ = generate(then, state)
    expected = np.stack([run[n][m] for m, n in zip(members, blocks, strict=True)])
    if hp.real_valued:
        np.testing.assert_allclose(samples, expected, atol=1e-4)
    else:
        np.testing.assert_array_equal(samples, expected)
        assert len(np.unique(samples)) > 3
    for name, value in in_order_of_time(state).items():
        axis = 2 if name.startswith("queue") else 0
        for i, (m, n) in enumerate(zip(members, blocks, strict=True)):
            theirs = in_order_of_time(states[n])[name]
            if np.ndim(value):
                value_i, theirs = np.take(value, i, axis), np.take(theirs, m, axis)
                np.testing.assert_allclose(value_i, theirs, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("n, n_chunks", [(1, 1), (9, 1), (16, 2), (1000, 63)])
def test_every_step_is_read_once_in_few_chunks(n, n_chunks, monkeypatch):
    """Alone: the remainder first, then equal chunks. With primes of other lengths: few distinct lengths."""
    hp = OneTier(**LEVELS)
    monkeypatch.setattr(priming, "MAX_CHUNK", 16)
    for alone in (True, False):
        chunks = priming._chunks(n, 1, hp, alone)
        assert sum(length for _, length in chunks) == n
        starts = np.cumsum([0] + [length for _, length in chunks])[:-1]
        assert [start for start, _ in chunks] == starts.tolist()
        lengths = {length for _, length in chunks}
        if alone:
            assert len(chunks) == -(-n // 16) and len(lengths) <= 2
        else:
            assert lengths <= {16, 2, 1}


def test_many_chunks_equal_one(monkeypatch):
    hp = MODELS[2]
    params, samples = parameters(hp), np.random.RandomState(0).randint(0, 16, 30)
    whole = priming.prime(params, hp, [samples], 1)["h0"]
    monkeypatch.setattr(priming, "MAX_CHUNK", 12)  # 6, 12 and 12 samples
    np.testing.assert_allclose(priming.prime(params, hp, [samples], 1)["h0"], whole, rtol=1e-5)


def test_sequences_cycle_through_the_primes():
    hp, one = MODELS[2], np.arange(8, dtype=np.uint8)
    state = priming.prime(parameters(hp), hp, [one, one[::-1]], 3)
    np.testing.assert_array_equal(state["h0"][0], state["h0"][2])
    assert np.abs(state["h0"][0] - state["h0"][1]).max() > 1e-3
    np.testing.assert_array_equal(state["previous"], [[7], [0], [7]])


# --- recordings


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
    samples = priming.read(tone, hp, log.append)
    whole = quantize(priming.audio.read(tone).samples[None], 256, q_type, normalisation)[0]
    np.testing.assert_array_equal(samples, whole)
    assert samples.dtype == np.uint8 and len(samples) == 8000
    assert log == [f"{tone}: 8,000 Hz resampled to 16,000 Hz"]


def test_a_recording_for_a_real_valued_model(tone):
    samples = priming.read(tone, MODELS[5])
    expected = (priming.audio.read(tone).samples.astype(np.float64) - 0.01) / 0.2
    np.testing.assert_array_equal(samples, expected.astype(np.float32))
    with pytest.raises(HyperParameterError, match="mean"):
        priming.read(tone, RNNGMM(**SMALL))


def test_a_recording_shorter_than_the_receptive_field_is_reported(tone):
    log = []
    for blocks in (7, 8):
        priming.read(tone, WaveNet(q_levels=256, wavenet_blocks=blocks), log.append)
    assert [line for line in log if "Hz" not in line] == [
        f"{tone} has 8000 samples, the context of the model is 8185: it is padded with silence on the left"
    ]


@pytest.mark.parametrize(
    "samples, message",
    [
        (None, "There is no recording"),
        (np.zeros(0), "holds no samples"),
        (np.full(100, 0.25), "constant"),
        (np.array([0.1, np.nan, 0.2]), "NaN"),
    ],
)
def test_unusable_recordings_are_rejected_by_name(tmp_path, samples, message):
    path = tmp_path / "bad.wav"
    if samples is not None:
        soundfile.write(path, samples, 16000, "FLOAT")
    with pytest.raises(DataError, match=message) as error:
        priming.read(path, MODELS[0])
    assert str(path) in str(error.value)


def test_a_constant_recording_is_accepted_without_min_max_normalisation(tmp_path):
    soundfile.write(tmp_path / "dc.wav", np.full(100, 0.26), 16000, "FLOAT")
    hp = ThreeTier(**LEVELS, normalisation="none")
    np.testing.assert_array_equal(priming.read(tmp_path / "dc.wav", hp), np.full(100, 10))
