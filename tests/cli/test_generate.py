"""The command `samplernn generate`: arguments, errors, summary."""

import os
import re
import signal
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
import soundfile

from samplernn_theano.cli.main import main
from samplernn_theano.generation import gallery
from tests.conftest import started, wait_until
from tests.generation.conftest import save, sounds
from tests.generation.test_partial import REAL


def test_hundreds_of_sequences_are_summarised(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(gallery, "draw_thumbnail", lambda *_: None)
    arguments = ["--seconds", "0.01", "--n_seqs", "300", "--out", str(tmp_path)]
    assert main(["generate", str(model), *arguments]) == 0
    written = [path.name for path in sorted(tmp_path.glob("*.wav"))]
    assert written == [f"model_seed0_t1_{i:03d}.wav" for i in range(300)]
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 15 and "... and 292 more" in out
    assert max(matplotlib.image.imread(tmp_path / "model_seed0_t1_spectrograms.png").shape) < 3000
    page = (tmp_path / "index.html").read_text()
    assert page.count("<audio") == 300 and len(page) < 300_000
    single = ["--seconds", "0.01", "--n_seqs", "1", "--out", str(tmp_path / "a")]
    assert main(["generate", str(model), *single]) == 0
    paths = (tmp_path / "a" / "model_seed0_t1_0.wav", tmp_path / "model_seed0_t1_000.wav")
    np.testing.assert_array_equal(*(soundfile.read(path)[0] for path in paths))


def test_the_default_number_of_sequences_is_that_of_the_primes(model, primes, tmp_path, generate):
    arguments = [word for _ in range(5) for word in ("--prime", primes / "talk.wav")]
    generate(model, *arguments, "--seconds", 0.01, "--out", tmp_path)
    assert len(sounds(tmp_path)) == 5


def test_a_model_of_a_fork_writes_sound_at_its_own_rate(model, primes, tmp_path, generate):
    arguments = ["--set", "rate=32000", "--seconds", 0.05, "--n_seqs", 1, "--prime", primes / "talk.wav"]
    out, _ = generate(model, *arguments, "--without-prime", "--out", tmp_path)
    (path,) = tmp_path.glob("*.wav")
    assert (soundfile.info(path).samplerate, soundfile.info(path).frames) == (32000, 1600)
    assert "resampled to 32,000 Hz" in out and "1 x 0.05 s" in out
    (record,) = gallery.read_records(tmp_path)
    assert record.seconds == 0.05


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "no recording .*missing.wav"),
        ("empty.wav", "empty.wav holds no samples"),
        ("constant.wav", "constant.wav is constant .*leave the prime out"),
        ("nan.wav", "nan.wav holds samples that are NaN"),
        ("text.wav", "text.wav cannot be decoded"),
        ("", "is a folder"),
        ("talk.wav:0.001:0.01", "no .*talk.wav from 0.001 to 0.01 s: the recording ends at 0.00625 s"),
        ("talk.wav:0.001:0.0011", "talk.wav from 0.001 to 0.0011 s is too short: .*give a longer part"),
        ("talk.wav:0.002:0.001", "talk.wav:0.002:0.001 names no part of a recording"),
        ("other.wav:0:1", "no recording .*other.wav; check"),
    ],
)
def test_unusable_primes_are_rejected(model, primes, tmp_path, generate, name, message):
    _, errors = generate(model, "--seconds", 0.01, "--prime", primes / name, "--out", tmp_path, code=2)
    assert re.fullmatch(f"(.*it is silent.*\n)?samplernn: .*{message}.*\n", errors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--temperature 1 2", "--temperature has 2 values for 4 sequences"),
        ("--silence 0.2:0.3", "--silence 0.2:0.3 starts after the end; give more --seconds"),
        ("--prime a.wav --prime b.wav --n_seqs 1", "give --n_seqs 2 or more"),
        ("--format flac --float", "--float is for wav files"),
        ("--like-original --format flac", "leave out --silence, --format and --float"),
        ("--like-original --silence 0.05:0.1", "leave out --silence, --format and --float"),
        ("--like-original --seed 1", "--like-original goes without"),
        ("--like-original --seconds 0.0001", "--seconds is too short"),
        ("--seconds 1e6", "cannot be larger than 4 GiB"),
        ("--beside missing.wav", "no recording missing.wav"),
        ("--silence 2", "'2' is not an interval FROM:TO in seconds, such as 2:3"),
        ("--seconds 0", "'0' is not a positive number"),
        ("--n_seqs 0", "'0' is not a positive whole number"),
        ("--format mp3", "choose from"),
        ("--temperature", "expected at least one argument"),
    ],
)
def test_invalid_requests_exit_with_a_one_line_error(model, tmp_path, refused, quick, arguments, message):
    out = tmp_path / "out"
    assert message in refused("generate", model, "--seconds", 0.1, "--out", out, *arguments.split())
    assert not list(out.glob("*"))


def test_unsupported_models_exit_with_a_one_line_error(tmp_path, generate):
    def broken(bias):
        bias[3] = np.nan

    real, out = save(tmp_path / "real.npz", REAL), tmp_path / "out"
    assert "needs levels to choose from" in generate(real, "--top-p", 0.9, "--out", out, code=2)[1]
    assert "The original has no rnn_gmm" in generate(real, "--like-original", "--out", out, code=2)[1]
    nan = save(tmp_path / "nan.npz", SampleLevel_L2_b=broken)
    assert "SampleLevel.L2.b of" in generate(nan, "--out", out, code=2)[1]
    # Parameters and states are finite, the logits are not.
    huge = save(tmp_path / "huge.npz", SampleLevel_L3_g0=lambda g: g.fill(1e38))
    errors = generate(huge, "--seconds", 0.1, "--n_seqs", 1, "--out", out, code=2)[1]
    assert "numbers that are not finite" in errors
    assert not list(out.glob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--n_seqs 2", "--out - is for one sequence; give --n_seqs 1"),
        ("--like-original", "--out - is for one sequence"),
        ("--prime a.wav --prime b.wav", "names 2 recordings for 1 sequences"),
        ("--format flac", "raw 16-bit PCM only; leave out --format, --float, --beside and --rank"),
        ("--float", "raw 16-bit PCM only"),
        ("--rank", "raw 16-bit PCM only"),
    ],
)
def test_options_incompatible_with_standard_output_are_rejected(model, generate, arguments, message):
    out, errors = generate(model, "--out", "-", *arguments.split(), code=2)
    assert out == "" and message in errors


def test_a_terminated_process_is_resumed(model, tmp_path, generate):
    arguments = (model, "--seconds", 30, "--n_seqs", 2, "--out")
    whole = tmp_path / "whole"
    part = tmp_path / "a" / ".model_seed0_t1.part" / "samples"
    with started("generate", *arguments, tmp_path / "a") as process:
        wait_until(lambda: part.exists() and part.stat().st_size > 20_000, process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in errors
    assert "Interrupted; run the same command again to resume." in errors
    assert "Resuming after" in generate(*arguments, tmp_path / "a")[1]
    generate(*arguments, whole)
    assert sounds(tmp_path / "a") == sounds(whole)


@pytest.mark.slow
def test_memory_of_the_command_does_not_grow_with_the_length(model, tmp_path):
    """The whole command in a process, with figures."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print('MiB', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )

    def peak(seconds: int) -> int:
        program = [sys.executable, "-m", "samplernn_theano", "generate", model, "--out", tmp_path]
        arguments = ["--seconds", seconds, "--n_seqs", 1, "--seed", seconds]
        command = [sys.executable, "-c", code, *program, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    short, long, longer = peak(10), peak(300), peak(1200)
    print("MiB at most:", short, long, longer)
    assert long < short + 60 and longer < long + 20 and longer < 500
