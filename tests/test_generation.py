"""Generation: what is drawn is what the model predicts."""

from itertools import islice

import numpy as np
import pytest
import soundfile

from samplernn_theano import checkpoints, generation
from samplernn_theano.backend import compile_function
from samplernn_theano.cli import main
from samplernn_theano.errors import CheckpointError
from samplernn_theano.hyperparameters import ThreeTier
from samplernn_theano.models import three_tier
from samplernn_theano.parameters import Parameters

HP = ThreeTier(dim=16, emb_size=8, q_levels=32, seq_len=64, batch_size=3, rnn_type="LSTM", n_rnn=2)


@pytest.fixture(scope="module")
def params():
    parameters = Parameters()
    three_tier.graph(parameters, HP)
    return parameters


@pytest.fixture(scope="module")
def checkpoint(params, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.npz"
    checkpoints.save(path, checkpoints.Checkpoint(HP, params.arrays()))
    return path


def draw(logits, uniform):
    """The rule: the first level whose running float32 sum of probabilities exceeds the uniform."""
    p = np.exp(logits - logits.max())
    sums = np.cumsum((p / p.sum()).astype(np.float32), dtype=np.float32)
    beyond = np.flatnonzero(sums > uniform)
    return beyond[0] if len(beyond) else 0


def test_every_sample_is_drawn_from_the_training_graphs_prediction(params):
    """Generated samples, fed back through the training graph, meet its softmax with the same uniforms."""
    n_big_frames = HP.seq_len // HP.big_frame_size
    sampler = three_tier.sampler(params, HP, HP.batch_size, n_big_frames)
    sample = compile_function(sampler.inputs, [sampler.samples, *sampler.new_states.values()])
    uniforms = np.random.default_rng(1).random((HP.seq_len, HP.batch_size), np.float32)
    silence = np.full((HP.batch_size, HP.overlap), HP.q_zero, np.int32)
    zeros = [np.zeros(s.type.shape, s.dtype) for s in sampler.states.values()]
    samples, *states = (np.asarray(v) for v in sample(uniforms, silence, np.asarray(1, np.int32), *zeros))

    graph = three_tier.graph(params, HP)
    predict = compile_function(graph.inputs, [graph.logits, *graph.new_states.values()])
    sequences = np.concatenate([silence, samples], axis=1)
    logits, *expected = predict(
        sequences, np.ones(sequences.shape, np.float32), np.asarray(1, np.int32), *graph.zero_states()
    )
    logits = np.asarray(logits)
    drawn = [[draw(logits[b, t], uniforms[t, b]) for t in range(HP.seq_len)] for b in range(HP.batch_size)]
    np.testing.assert_array_equal(samples, drawn)
    for ours, theirs in zip(states, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_blocks_follow_one_another_and_the_seed_decides(params, monkeypatch):
    def levels(block):
        monkeypatch.setattr(generation, "BLOCK", block)
        blocks = generation.compile_sampler(params, HP, 2)
        return {seed: generation.take(blocks(seed), 192) for seed in (0, 1)}

    short, long = levels(64), levels(192)
    np.testing.assert_array_equal(short[0], long[0])
    assert not np.array_equal(long[0], long[1])
    assert not np.array_equal(long[0][0], long[0][1])


def test_trained_parameters_are_seen_by_a_sampler_compiled_before(params):
    blocks = generation.compile_sampler(params, HP, 1)
    before = generation.take(blocks(0), 400)
    kept = params.arrays()
    bias = np.zeros(32)
    bias[7] = 100
    params.assign({"SampleLevel.Output.b": bias})
    after = generation.take(blocks(0), 400)
    params.assign(kept)
    assert (after == 7).all() and not (before == 7).all()


def test_the_waveform_has_no_offset_and_a_stated_level():
    levels = np.random.RandomState(0).randint(10, 20, 1000).astype(np.int32)
    x = generation.waveform(levels, HP)
    assert np.abs(x).max() == pytest.approx(generation.PEAK)
    assert abs(x.mean()) < 1e-6
    assert not generation.waveform(np.full(50, 3, np.int32), HP).any()  # a constant is silence, not NaN


def test_generate_writes_sound_and_a_picture(checkpoint, tmp_path, capsys):
    code = main(
        ["generate", str(checkpoint), "--seconds", "0.1", "--n_seqs", "2", "--out", str(tmp_path / "out")]
    )
    assert code == 0
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert files == ["model_seed0_0.wav", "model_seed0_1.wav", "model_seed0_spectrograms.png"]
    sound, rate = soundfile.read(tmp_path / "out" / files[0])
    assert rate == 16000 and len(sound) == 1600
    assert np.abs(sound).max() == pytest.approx(generation.PEAK, abs=1e-3)
    assert "times real time" in capsys.readouterr().out


def test_the_first_block_is_not_repeated(params):
    blocks = generation.compile_sampler(params, HP, 1)(0)
    first, second = islice(blocks, 2)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop("SampleLevel.L2.b"), "SampleLevel.L2.b"),
        (lambda p: p.update(Extra=np.zeros(3)), "Extra"),
        (lambda p: p.update({"SampleLevel.L2.b": np.zeros(5)}), "SampleLevel.L2.b"),
        (lambda p: p.update({"SampleLevel.L2.b": np.full(16, np.nan)}), "not finite"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(params, tmp_path, change, words):
    arrays = params.arrays()
    change(arrays)
    path = tmp_path / "bad.npz"
    checkpoints.save(path, checkpoints.Checkpoint(HP, arrays))
    with pytest.raises(CheckpointError, match=words):
        generation.load_model(path)
