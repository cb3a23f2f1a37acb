"""Invalid input to the command line: a one-line error, exit code 2, nothing written."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from samplernn_theano import __version__
from samplernn_theano.cli.main import main

LIMIT = ["--max-iters", 1, "--n_seqs", 0]  # so that a command that is not refused ends soon
TINY = ["--preset", "tiny"]


def refused(capsys, *arguments):
    """Run a command that must be refused; return its one-line error."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:  # errors of argparse
        code = stop.code
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("samplernn")
    return lines[0]


@pytest.fixture
def data(small_data):
    return small_data


@pytest.fixture
def run(tmp_path):
    """Folder of a run, which a refused command must not create."""
    folder = tmp_path / "run"
    yield folder
    assert not folder.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--seq_len", 100], ["--seq_len 100", "--big_frame_size 8", "--seq_len 96"]),
        (["--big_frame_size", 9, "--seq_len", 128], ["--big_frame_size 9"]),
        (["--frame_size", 3], ["--frame_size 3"]),
        (["--q_type", "mu-law", "--q_levels", 64], ["mu-law", "256"]),
        (["--q_type", "a-law", "--q_levels", 64], ["a-law", "256"]),
        (["--q_type", "u-law"], ["u-law", "choose linear, mu-law or a-law"]),
        (["--skip_conn", "True"], ["--skip_conn True", "--n_rnn 2"]),
        (["--n_rnn", 6], ["--n_rnn 6", "1 to 5"]),
        (["--rnn_type", "RNN"], ["--rnn_type RNN", "GRU or LSTM"]),
        (["--dim", 0], ["--dim is 0"]),
        (["--dim", "big"], ["--dim", "'big'"]),
        (["--weight_norm", "maybe"], ["--weight_norm", "'maybe'"]),
        (["--backend", "theano"], ["--backend theano", "jax, numba, c"]),
        (["--preset", "huge"], ["--preset huge", "best"]),
        (["--max-minutes", -1], ["--max-minutes", "'-1' is not a positive number"]),
        (["--max-iters", "1.5"], ["--max-iters", "'1.5' is not a positive whole number"]),
        (["--seed", -1], ["--seed", "4294967295"]),
        (["--batch_size", 9], ["train split has 8 clips", "--batch_size 9 needs at least 9"]),
        (["--batch_size", 5], ["valid split has 4 clips", "--batch_size 5 needs at least 5"]),
        (["--seq_len", 2048], ["2000 samples long", "--seq_len 2048"]),
    ],
)
def test_train_rejects_invalid_hyperparameters(capsys, data, run, flags, expected):
    line = refused(capsys, "train", "three_tier", "--data", data, "--run", run, *TINY, *LIMIT, *flags)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("family", "flags", "expected"),
    [
        ("two_tier", ["--frame_size", 0], ["--frame_size is 0"]),
        ("two_tier", ["--sample_input", "one-hot"], ["--sample_input one-hot", "embedding or real"]),
        ("two_tier", ["--n_frames", 1000], ["2000 samples long", "--n_frames"]),
        ("two_tier", ["--big_frame_size", 8], ["--big_frame_size"]),
        ("two_tier", ["--ip-weight", 1], ["--ip-weight"]),
        ("three_tier", ["--ip-weight", -1], ["--ip-weight", "'-1'"]),
        ("one_tier", ["--emb_size", 0], ["--emb_size is 0"]),
        ("k_tier", ["--frame_sizes", "16/5"], ["16/5"]),
        ("k_tier", ["--frame_size", 16], ["--frame_size"]),  # not an abbreviation of --frame_sizes
        (
            "two_tier",
            ["--sample_input", "real", "--multi_softmax", "True"],
            ["--multi_softmax", "give only one of them"],
        ),
        ("wavenet", ["--dilation_layers_per_block", 40], ["--dilation_layers_per_block 40", "at most 16"]),
        ("k_tier", ["--frame_sizes", "many"], ["'many'", "16/8/2"]),
        ("wavenet", ["--sequence_len_to_train", 5000], ["2000 samples long", "--sequence_len_to_train"]),
        ("wavenet", ["--n_rnn", 2], ["--n_rnn"]),
        ("rnn_gmm", ["--mean", 0], ["--mean and --std"]),
        ("rnn_gmm", ["--mean", 0, "--std", 0], ["--std is 0"]),
        ("rnn_gmm", ["--q_levels", 256], ["--q_levels"]),
        ("four_tier", [], ["four_tier", "wavenet"]),
    ],
)
def test_every_family_rejects_invalid_hyperparameters(capsys, data, run, family, flags, expected):
    tiny = ("--preset", "tiny", *LIMIT)
    line = refused(capsys, "train", family, "--data", data, "--run", run, *tiny, *flags)
    for part in expected:
        assert part in line


def test_train_rejects_missing_and_invalid_data(capsys, run, tmp_path):
    command = ["train", "three_tier", "--run", run, *TINY, "--data"]
    assert "samplernn prepare" in refused(capsys, *command, tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "*_train.npy" in refused(capsys, *command, empty)
    (empty / "a_train.npy").write_text("not an array")
    assert "a_train.npy" in refused(capsys, *command, empty)
    np.save(empty / "a_train.npy", np.arange(5))
    assert "int64" in refused(capsys, *command, empty)
    np.save(empty / "b_train.npy", np.zeros((2, 5)))
    assert "2 files" in refused(capsys, *command, empty)


def test_train_names_a_constant_clip(capsys, tmp_path, small_data):
    folder = tmp_path / "silent"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        clips = np.load(small_data / f"tones_{split}.npy")
        if split == "train":
            clips[5] = 0.25
        # 1,920 samples are a whole number of chunks: no padding that would hide the constant.
        np.save(folder / f"tones_{split}.npy", clips[:, :1920])
    arguments = ["train", "three_tier", "--data", folder, "--run", tmp_path / "run", *TINY, "--n_seqs", 0]
    assert "Clip 5 of the train split is constant" in refused(capsys, *arguments)


def test_train_names_a_clip_with_nan_before_it_writes_anything(capsys, tmp_path, small_data):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        clips = np.load(small_data / f"tones_{split}.npy")
        if split == "valid":
            clips[2, 1500] = np.nan
        np.save(folder / f"tones_{split}.npy", clips)
    arguments = ["train", "three_tier", "--data", folder, "--run", tmp_path / "run", *TINY]
    assert "Clip 2 of the valid split holds NaN" in refused(capsys, *arguments)
    assert not (tmp_path / "run").exists()


def test_resume_rejects_a_folder_without_a_run(capsys, tmp_path):
    assert "There is no checkpoint" in refused(capsys, "resume", tmp_path / "nowhere")
    assert "There is no checkpoint" in refused(capsys, "resume", tmp_path)
    assert "--max-iters" in refused(capsys, "resume", tmp_path, "--max-iters", 0)


def test_names_that_the_system_rejects(capsys, tmp_path):
    assert "too long" in refused(capsys, "generate", tmp_path / ("x" * 300)).lower()


def test_generate_rejects_a_path_without_a_checkpoint(capsys, tmp_path):
    assert "There is no checkpoint" in refused(capsys, "generate", tmp_path / "none.npz")
    assert "holds no parameters" in refused(capsys, "generate", tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    assert "text.npz" in refused(capsys, "generate", tmp_path / "text.npz")
    assert "--seconds" in refused(capsys, "generate", tmp_path, "--seconds", 0)
    assert "--n_seqs" in refused(capsys, "generate", tmp_path, "--n_seqs", 0)


def test_prepare_writes_a_set_that_train_accepts(capsys, tmp_path):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    noise = 0.1 * np.random.RandomState(0).normal(size=(44100 * 6, 2))
    soundfile.write(recordings / "noise.flac", noise, 44100)
    arguments = ["prepare", recordings, "--out", tmp_path / "data", "--clip-seconds", 0.25]
    assert main([str(w) for w in arguments]) == 0
    assert "samplernn train three_tier" in capsys.readouterr().out
    train = ["train", "three_tier", *TINY, "--batch_size", 2, "--max-iters", 2, "--n_seqs", 0]
    assert main([str(w) for w in (*train, "--data", tmp_path / "data", "--run", tmp_path / "run")]) == 0


def test_prepare_rejects_missing_and_empty_folders(capsys, tmp_path):
    out = tmp_path / "data"
    assert "nowhere" in refused(capsys, "prepare", tmp_path / "nowhere", "--out", out)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty" in refused(capsys, "prepare", empty, "--out", out)
    assert not out.exists()


def test_the_command_is_required_and_checked(capsys):
    assert "COMMAND" in refused(capsys)
    assert "'sing'" in refused(capsys, "sing")
    assert "FAMILY" in refused(capsys, "train")


def test_version_and_help_are_fast():
    program = "import sys; from samplernn_theano.cli.main import build_parser; build_parser().format_help(); "
    program += "sys.exit(bool({'numpy', 'pytensor', 'jax', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    arguments = [sys.executable, "-m", "samplernn_theano", "--version"]
    assert __version__ in subprocess.run(arguments, capture_output=True, text=True).stdout
