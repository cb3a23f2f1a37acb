"""The Python function `generate`."""

import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import soundfile

from samplernn_theano.backends import malloc
from samplernn_theano.checkpoints import load, npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import ThreeTier
from samplernn_theano.errors import BackendError, CheckpointError, DataError, HyperParameterError
from samplernn_theano.generation import priming, samplers
from samplernn_theano.generation.amplitudes import waveform
from samplernn_theano.generation.generate import generate
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from tests.generation.test_partial import HP, REAL, interpreted
from tests.generation.test_samplers import parameters


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.npz"
    npz.save(path, npz.Checkpoint(HP, parameters(HP).arrays()))
    return path


@pytest.fixture
def quick_graphs(monkeypatch):
    """Evaluate graphs node by node, in small blocks."""
    monkeypatch.setattr(samplers, "compile_function", interpreted)
    monkeypatch.setattr(priming, "compile_function", interpreted)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", 40)


def taken(checkpoint, *arguments, **options) -> np.ndarray:
    """All generated blocks, concatenated: (n_seqs, samples)."""
    return np.concatenate(list(generate(checkpoint, *arguments, **options)), axis=1)


@pytest.mark.parametrize("seconds", [0.3, 0.1, 1 / 16000, 0.25003125])
def test_blocks_have_the_requested_length(checkpoint, seconds):
    blocks = list(generate(checkpoint, seconds=seconds, n_seqs=2))
    assert all(block.dtype == np.float32 and len(block) == 2 and np.abs(block).max() <= 1 for block in blocks)
    assert sum(block.shape[1] for block in blocks) == round(seconds * 16000)


def test_without_a_length_blocks_are_endless(checkpoint):
    blocks = list(islice(generate(checkpoint), 30))
    assert all(block.shape == (1, 1600) for block in blocks)
    assert len({block.tobytes() for block in blocks}) == 30
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[:, :9000], taken(checkpoint, 9000 / 16000))


def test_blocks_equal_the_files_of_the_command_up_to_offset_and_scale(checkpoint, tmp_path):
    arguments = ["--seconds", "0.3", "--n_seqs", "3", "--seed", "5", "--temperature", "0.7", "1", "1.5"]
    arguments += ["--top-p", "0.9", "--silence", "0.1:0.15", "--float"]
    assert main(["generate", str(checkpoint), *arguments, "--out", str(tmp_path)]) == 0
    options = {"seed": 5, "temperature": [0.7, 1, 1.5], "top_p": 0.9, "silent": range(1600, 2400)}
    x = taken(checkpoint, 0.3, 3, **options)
    assert len(np.unique(x[:, 1600:2400])) == 1
    for sequence, path in zip(x, sorted(tmp_path.glob("*.wav"), key=lambda p: p.stem[-1]), strict=True):
        written, _ = soundfile.read(path, dtype="float32")
        expected = waveform(sequence)
        expected[1600:2400] = 0  # exactly 0 in the file
        np.testing.assert_allclose(written, expected, atol=1e-6)


def test_a_sequence_depends_only_on_the_seed_and_its_index(checkpoint):
    three = taken(checkpoint, 0.2, 3)
    np.testing.assert_array_equal(taken(checkpoint, 0.2, 1), three[:1])
    np.testing.assert_array_equal(taken(checkpoint, 0.2, 2, temperature=1), three[:2])
    assert len({row.tobytes() for row in (*three, *taken(checkpoint, 0.2, 3, seed=1))}) == 6


def test_a_loaded_model_is_accepted(checkpoint):
    np.testing.assert_array_equal(taken(load.read(checkpoint), 0.1), taken(checkpoint, 0.1))


def test_a_run_generates_from_its_best_checkpoint(checkpoint, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "best.npz").write_bytes(checkpoint.read_bytes())
    np.testing.assert_array_equal(taken(tmp_path / "run", 0.1), taken(checkpoint, 0.1))


def test_a_prime_is_read_but_not_part_of_the_blocks(checkpoint, tmp_path, quick_graphs):
    rng = np.random.default_rng(0)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", rng.uniform(-0.5, 0.5, 24), 16000)
    a, b = (str(tmp_path / f"{name}.wav") for name in "ab")
    plain = taken(checkpoint, 0.1, 3)
    after = taken(checkpoint, 0.1, 3, primes=[a, b])
    assert after.shape == plain.shape and not (after == plain).all(axis=1).any()
    only_a = taken(checkpoint, 0.1, 3, primes=[a])  # sequences cycle through the primes
    assert [np.array_equal(*rows) for rows in zip(after, only_a, strict=True)] == [True, False, True]
    np.testing.assert_array_equal(after[:1], taken(checkpoint, 0.1, 1, primes=[a]))


def test_real_valued_samples_become_amplitudes(tmp_path, quick_graphs):
    hp = replace(REAL, std=0.001, mean=0.25)
    npz.save(tmp_path / "model.npz", npz.Checkpoint(hp, parameters(hp).arrays()))
    x = taken(tmp_path / "model.npz", 0.01, 2)
    assert x.shape == (2, 160) and 0 < np.abs(x - 0.25).max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"checkpoint": "none.npz"}, CheckpointError, "none.npz"),
        ({"seconds": 0}, HyperParameterError, "seconds is 0"),
        ({"seconds": -1.5}, HyperParameterError, "seconds is -1.5"),
        ({"seconds": float("nan")}, HyperParameterError, "seconds is nan"),
        ({"seconds": float("inf")}, HyperParameterError, "seconds is inf"),
        ({"n_seqs": 0}, HyperParameterError, "--n_seqs is 0"),
        ({"seed": -1}, HyperParameterError, "--seed is -1"),
        ({"temperature": 0}, HyperParameterError, "--temperature must be a positive number"),
        ({"temperature": [1, 2, 3], "n_seqs": 2}, HyperParameterError, "3 values for 2 sequences"),
        ({"top_p": 0}, HyperParameterError, "--top-p is 0"),
        ({"backend": "theano"}, BackendError, "--backend theano"),
        ({"primes": ["a.wav", "b.wav"]}, HyperParameterError, "names 2 recordings for 1 sequences"),
        ({"primes": ["none.wav"]}, DataError, "none.wav"),
        ({"primes": "text.wav"}, DataError, "text.wav cannot be decoded"),
    ],
)
def test_arguments_are_checked_by_the_call(checkpoint, tmp_path, monkeypatch, arguments, error, message):
    """Not at the first `next()`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("text")
    with pytest.raises(error, match=message):
        generate(**{"checkpoint": checkpoint} | arguments)


def test_what_the_model_does_not_support_is_refused_by_the_call(tmp_path, quick_graphs):
    npz.save(tmp_path / "model.npz", npz.Checkpoint(REAL, parameters(REAL).arrays()))
    with pytest.raises(HyperParameterError, match="needs levels to choose from"):
        generate(tmp_path / "model.npz", top_p=0.5)


def test_no_signal_handlers_or_malloc_options_are_set(checkpoint, monkeypatch):
    """The call may be made in any thread of another program."""
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a signal handler was installed"))
    monkeypatch.setattr(malloc, "keep_freed_memory", lambda *_: pytest.fail("malloc options were set"))
    with ThreadPoolExecutor(1) as thread:
        x = thread.submit(taken, checkpoint, 0.1).result()
    np.testing.assert_array_equal(x, taken(checkpoint, 0.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("SampleLevel.L2.b"), "SampleLevel.L2.b"),
        (lambda p: p.update(Extra=np.zeros(3)), "Extra"),
        (lambda p: p.update({"SampleLevel.L2.b": np.zeros(5)}), "SampleLevel.L2.b"),
        (lambda p: p.update({"SampleLevel.L2.b": np.full(16, np.nan)}), "not finite"),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_hyperparameters_is_rejected(tmp_path, change, message):
    hp = ThreeTier(dim=16, emb_size=8, q_levels=32, seq_len=64, batch_size=3)
    params = Parameters()
    build_graph(params, hp)
    arrays = params.arrays()
    change(arrays)
    path = tmp_path / "bad.npz"
    npz.save(path, npz.Checkpoint(hp, arrays))
    with pytest.raises(CheckpointError, match=message):
        generate(path)
