"""Reproduction of the original's samples, its probabilities, and its wav files byte for byte.

`golden/sampling` holds two consecutive generations of four sequences by each of the original's models, with
the parameters in `golden/checkpoints`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytensor
import pytest
from pytensor.compile.mode import Mode
from scipy.special import softmax

from samplernn_theano.checkpoints import load
from samplernn_theano.cli.main import main
from samplernn_theano.generation import gallery, generate, like_original, samplers, write
from samplernn_theano.generation.generator import BlockSampler, take
from samplernn_theano.generation.random_streams import TheanoStreams
from samplernn_theano.generation.request import Request
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.original import wav

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLING = GOLDEN / "sampling"
FOLDERS = {"one_tier": "1t", "two_tier": "2t", "three_tier": "3t", "wavenet": "wavenets"}
LENGTHS = {"seq_len": 56, "n_frames": 13, "sequence_len_to_train": 50}  # of 50 samples or more
families = pytest.mark.parametrize("family", FOLDERS)


def parameters_of(family):
    """Path of the parameters from which the original generated."""
    (path,) = (GOLDEN / "checkpoints" / f"results_{FOLDERS[family]}").glob("*/params/*_i97_*")
    return path


def generated(family):
    """Drawn levels (4, L) of both generations, without the left padding."""
    first = np.load(SAMPLING / f"{family}.npz")["gen1/samples"]
    second = np.load(SAMPLING / "second_generation.npz")[f"{family}/gen2/samples"]
    overlap = load.read(parameters_of(family)).hp.overlap
    return first[:, overlap:], second[:, overlap:]


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("family, backend", [(f, b) for f in FOLDERS for b in (None, "jax")][:-1])
def test_both_generations_are_those_of_the_original(family, backend):
    """With the default sampler and with the graph, which are the same for wavenet."""
    model = load.read(parameters_of(family))
    expected, expected_second = generated(family)
    first = generate.prepare_generator(model, Request(n_seqs=4, like_original=True, backend=backend))
    np.testing.assert_array_equal(take(first, expected.shape[1]), expected)
    streams = TheanoStreams(4)
    streams.draw("uniforms", expected.shape[1])
    second = replace(first, streams=streams)  # the same sampler, compiled once
    np.testing.assert_array_equal(take(second, expected_second.shape[1]), expected_second)


@families
def test_the_graph_predicts_the_probabilities_of_the_original(family):
    """Before each of the first 50 draws, given the samples before it, to single precision."""
    model = load.read(parameters_of(family))
    hp = replace(model.hp, batch_size=4, **{k: n for k, n in LENGTHS.items() if k in vars(model.hp)})
    golden = np.load(SAMPLING / f"{family}.npz")
    with pytensor.config.change_flags(floatX="float32", linker="py"):
        graph = build_graph(Parameters(None, model.parameters), hp)
        mode = Mode(linker="py", optimizer=None)
        f = pytensor.function(graph.inputs, graph.logits, mode=mode, on_unused_input="ignore")
    samples = golden["gen1/samples"][:, : hp.overlap + hp.seq_len].astype(np.int32)
    mask = np.ones(samples.shape, np.float32)
    logits = f(samples, mask, np.asarray(1, np.int32), *graph.zero_states())[:, :50]
    expected = golden["gen1/probs_first50"].transpose(1, 0, 2)
    np.testing.assert_allclose(softmax(logits, axis=2), expected, atol=2e-6)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(write, "_draw", lambda figure, *_: figure.touch())
    monkeypatch.setattr(gallery, "draw_thumbnail", lambda *_: None)


@families
def test_the_command_writes_the_files_of_the_original(family, tmp_path, no_pictures, capsys):
    """400 samples of four sequences, left padding included."""
    path = parameters_of(family)
    arguments = ["generate", str(path), "--like-original", "--n_seqs", "4", "--seconds", "0.025"]
    assert main([*arguments, "--out", str(tmp_path / "sounds")]) == 0, capsys.readouterr().err
    hp = load.read(path).hp
    padding = 0 if family == "wavenet" else hp.overlap
    whole = np.pad(generated(family)[0], ((0, 0), (padding, 0)), constant_values=hp.silence)
    assert whole.shape == (4, 400) and len(list((tmp_path / "sounds").glob("*.wav"))) == 4
    for i in range(4):
        wav.write(tmp_path / "expected.wav", whole[i], "linear")
        written = tmp_path / "sounds" / f"{path.stem}_like-original_g1_{i}.wav"
        assert written.read_bytes() == (tmp_path / "expected.wav").read_bytes()
    first = tmp_path / "sounds" / f"{path.stem}_like-original_g1_0.wav"
    assert first.read_bytes() == (SAMPLING / f"sample_{family}_g1_0.wav").read_bytes()


def levels_of(uniforms, hp):
    """Levels (n_seqs, length) that `uniform_sampler` draws with uniforms (length, n_seqs)."""
    return (uniforms.T * hp.q_levels).astype(np.int32)


def uniform_sampler(params, hp, n_seqs, *_):
    """A sampler that draws all levels with the same probability, and has no state."""

    def run(state, noise, silent):
        return np.where(silent, hp.silence, levels_of(noise["uniforms"], hp)).astype(np.int32), state

    return BlockSampler(n_seqs, 5000, ("uniforms",), dict, run)


@pytest.mark.parametrize("family", ["wavenet", "three_tier"])
def test_quirk_wavenet_is_silent_in_its_third_second(family, tmp_path, monkeypatch, no_pictures):
    """Except its first sample. The silenced samples still consume draws; no other family is silent."""
    monkeypatch.setattr(samplers, "create_sampler", uniform_sampler)
    path = parameters_of(family)
    hp = load.read(path).hp
    arguments = ["generate", str(path), "--like-original", "--n_seqs", "2", "--seconds", "3.2"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    padding = 0 if family == "wavenet" else hp.overlap
    expected = levels_of(TheanoStreams(2).draw("uniforms", 51_200 - padding), hp)
    if family == "wavenet":
        assert (expected[:, [32_000, 32_001, 47_999, 48_000]] != hp.silence).any(axis=0).all()
        expected[:, 32_001:48_000] = hp.silence
    for i in range(2):
        like_original.write(tmp_path / "expected.wav", expected[i], hp)
        written = (tmp_path / f"{path.stem}_like-original_g1_{i}.wav").read_bytes()
        assert written == (tmp_path / "expected.wav").read_bytes()
