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
from samplernn_theano.errors import BackendError, CheckpointError, DataError, HyperParameterError
from samplernn_theano.generation.amplitudes import waveform
from samplernn_theano.generation.generate import generate
from tests.generation.conftest import save
from tests.generation.test_partial import HP, REAL
from tests.generation.test_samplers import parameters


def taken(model, *arguments, **options) -> np.ndarray:
    """All generated blocks, concatenated: (n_seqs, samples)."""
    return np.concatenate(list(generate(model, *arguments, **options)), axis=1)


def test_blocks_have_the_requested_length_or_are_endless(model):
    blocks = list(islice(generate(model), 30))
    assert all(block.shape == (1, 1600) for block in blocks)
    assert len({block.tobytes() for block in blocks}) == 30
    for seconds in (0.3, 0.1, 1 / 16000, 0.25003125):
        x, n = taken(model, seconds, 2), round(seconds * 16000)
        assert x.shape == (2, n) and x.dtype == np.float32 and np.abs(x).max() <= 1
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[:, :n], x[:1])


def test_blocks_equal_the_files_of_the_command_up_to_offset_and_scale(model, tmp_path):
    arguments = ["--seconds", "0.3", "--n_seqs", "3", "--seed", "5", "--temperature", "0.7", "1", "1.5"]
    arguments += ["--top-p", "0.9", "--silence", "0.1:0.15", "--float"]
    assert main(["generate", str(model), *arguments, "--out", str(tmp_path)]) == 0
    options = {"seed": 5, "temperature": [0.7, 1, 1.5], "top_p": 0.9, "silent": range(1600, 2400)}
    x = taken(model, 0.3, 3, **options)
    assert len(np.unique(x[:, 1600:2400])) == 1
    for sequence, path in zip(x, sorted(tmp_path.glob("*.wav"), key=lambda p: p.stem[-1]), strict=True):
        written, _ = soundfile.read(path, dtype="float32")
        expected = waveform(sequence)
        expected[1600:2400] = 0  # exactly 0 in the file
        np.testing.assert_allclose(written, expected, atol=1e-6)


def test_a_loaded_model_or_a_run_is_accepted(model, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "best.npz").write_bytes(model.read_bytes())
    for same in (tmp_path / "run", load.read(model)):
        np.testing.assert_array_equal(taken(same, 0.1), taken(model, 0.1))


def test_a_prime_is_read_but_not_part_of_the_blocks(model, primes, quick):
    a, b = str(primes / "talk.wav"), primes / "song.flac"
    plain, after = taken(model, 0.1, 3), taken(model, 0.1, 3, primes=[a, b])
    assert after.shape == plain.shape and not (after == plain).all(axis=1).any()
    only_a = taken(model, 0.1, 3, primes=a)  # sequences cycle through the primes
    assert [np.array_equal(*rows) for rows in zip(after, only_a, strict=True)] == [True, False, True]
    part = taken(model, 0.1, 3, primes=f"{a}:0.001:0.005")
    assert not np.array_equal(part, only_a)


def test_real_valued_samples_become_amplitudes_and_there_is_no_top_p(tmp_path, quick):
    hp = replace(REAL, std=0.001, mean=0.25)
    save(tmp_path / "model.npz", hp)
    x = taken(tmp_path / "model.npz", 0.01, 2)
    assert x.shape == (2, 160) and 0 < np.abs(x - 0.25).max() < 0.1
    with pytest.raises(HyperParameterError, match="needs levels to choose from"):
        generate(tmp_path / "model.npz", top_p=0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "none.npz"}, CheckpointError, "none.npz"),
        ({"seconds": 0}, HyperParameterError, "seconds is 0"),
        ({"seconds": float("nan")}, HyperParameterError, "seconds is nan"),
        ({"seconds": float("inf")}, HyperParameterError, "seconds is inf"),
        ({"n_seqs": 0}, HyperParameterError, "--n_seqs is 0"),
        ({"seed": -1}, HyperParameterError, "--seed is -1"),
        ({"temperature": (1.0, -0.5), "n_seqs": 2}, HyperParameterError, "--temperature must be a positive"),
        ({"temperature": 1e-40}, HyperParameterError, "--temperature must be"),  # 1 / it overflows float32
        ({"temperature": ()}, HyperParameterError, "has 0 values for 1 sequences"),
        ({"top_p": float("nan")}, HyperParameterError, "--top-p is nan; it must be above 0 and at most 1"),
        ({"backend": "theano"}, BackendError, "--backend theano"),
        ({"primes": ["none.wav"]}, DataError, "none.wav"),
    ],
)
def test_arguments_are_checked_by_the_call(model, arguments, error, message):
    """Not at the first `next()`."""
    with pytest.raises(error, match=message):
        generate(**{"model": model} | arguments)


def test_no_signal_handlers_or_malloc_options_are_set(model, monkeypatch):
    """The call may be made in any thread of another program."""
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a signal handler was installed"))
    monkeypatch.setattr(malloc, "keep_freed_memory", lambda *_: pytest.fail("malloc options were set"))
    with ThreadPoolExecutor(1) as thread:
        x = thread.submit(taken, model, 0.1).result()
    np.testing.assert_array_equal(x, taken(model, 0.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("SampleLevel.L2.b"), "SampleLevel.L2.b"),
        (lambda p: p.update(Extra=np.zeros(3)), "Extra"),
        (lambda p: p.update({"SampleLevel.L2.b": np.zeros(5)}), "SampleLevel.L2.b"),
        (lambda p: p.update({"SampleLevel.L2.b": np.full(16, np.nan)}), "not finite"),
    ],
)
def test_a_model_that_does_not_fit_its_hyperparameters_is_rejected(tmp_path, change, message):
    arrays = parameters(HP).arrays()
    change(arrays)
    npz.save(tmp_path / "bad.npz", npz.Checkpoint(HP, arrays))
    with pytest.raises(CheckpointError, match=message):
        generate(tmp_path / "bad.npz")
