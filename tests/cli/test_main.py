"""Invalid input to the command line: a one-line error, exit code 2, nothing written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.checkpoints import pretrained
from samplernn_theano.cli.main import main
from samplernn_theano.data.manifest import check_rate
from samplernn_theano.original.tags import RESULTS

LIMIT = ["--max-iters", 1, "--n_seqs", 0]  # so that a command that is not refused ends soon
TINY = ["--preset", "tiny"]


@pytest.fixture
def run(tmp_path):
    """Folder of a run, which a refused command must not create."""
    folder = tmp_path / "run"
    yield folder
    assert not folder.exists()


@pytest.mark.parametrize(
    ("family", "flags", "expected"),
    [
        ("three_tier", ["--seq_len", 100], ["--seq_len 100", "--big_frame_size 8", "--seq_len 96"]),
        ("three_tier", ["--backend", "theano"], ["--backend theano", "jax, numba, c"]),
        ("three_tier", ["--preset", "huge"], ["--preset huge", "best"]),
        ("three_tier", ["--max-minutes", -1], ["--max-minutes", "'-1' is not a positive number"]),
        ("three_tier", ["--max-iters", "1.5"], ["--max-iters", "'1.5' is not a positive whole number"]),
        ("three_tier", ["--seed", -1], ["--seed", "4294967295"]),
        ("three_tier", ["--batch_size", 9], ["train split has 8 clips", "--batch_size 9 needs at least 9"]),
        ("three_tier", ["--batch_size", 5], ["valid split has 4 clips", "--batch_size 5 needs at least 5"]),
        ("three_tier", ["--seq_len", 2048], ["2000 samples long", "--seq_len 2048"]),
        ("two_tier", ["--n_frames", 1000], ["2000 samples long", "--n_frames"]),
        ("two_tier", ["--ip-weight", 1], ["--ip-weight"]),
        ("three_tier", ["--ip-weight", -1], ["--ip-weight", "'-1'"]),
        ("k_tier", ["--frame_size", 16], ["--frame_size"]),  # not an abbreviation of --frame_sizes
        ("wavenet", ["--sequence_len_to_train", 5000], ["2000 samples long", "--sequence_len_to_train"]),
        ("four_tier", [], ["four_tier", "wavenet"]),
    ],
)
def test_every_family_rejects_invalid_hyperparameters(refused, small_data, run, family, flags, expected):
    line = refused("train", family, "--data", small_data, "--run", run, *TINY, *LIMIT, *flags)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("wrong", "change", "message"),
    [
        ("train", lambda clips: clips[5].fill(0.25), "Clip 5 of the train split is constant"),
        ("valid", lambda clips: clips[2, 1500:1501].fill(np.nan), "Clip 2 of the valid split holds NaN"),
    ],
)
def test_train_names_a_clip_before_it_writes_anything(refused, tmp_path, small_data, wrong, change, message):
    for split in ("train", "valid", "test"):
        # 1,920 samples are a whole number of chunks: no padding that would hide the constant.
        clips = np.load(small_data / f"tones_{split}.npy")[:, :1920]
        if split == wrong:
            change(clips)
        np.save(tmp_path / f"tones_{split}.npy", clips)
    arguments = ["train", "three_tier", "--data", tmp_path, "--run", tmp_path / "run", *TINY, *LIMIT]
    assert message in refused(*arguments)
    assert not (tmp_path / "run").exists()


def test_a_set_of_another_rate_is_refused(refused, tmp_path, small_data):
    for path in small_data.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "manifest.json").write_text('{"rate": 32000}')
    stated = f"By its manifest.json, {tmp_path} holds sound at 32000 Hz, and the model is one of 16000 Hz"
    train = ["train", "three_tier", "--data", tmp_path, "--run", tmp_path / "run", *TINY, *LIMIT]
    assert stated in (said := refused(*train)) and "--set" not in said
    results = Path(__file__).parents[1] / "golden" / "checkpoints" / RESULTS["three_tier"]
    evaluate = ["evaluate", next(results.iterdir()), "--data", tmp_path]
    assert stated in (said := refused(*evaluate)) and "--set rate=..." in said
    assert "of 48000 Hz" in refused(*evaluate, "--set", "rate=48000")
    check_rate(tmp_path, 32000)


def test_resume_rejects_a_folder_without_a_run(refused, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", Path(__file__)):
        assert f"{path} is not the folder of a run" in refused("resume", path)
    model = f"pretrained/{pretrained.names()[0]}"
    assert f"{model} is a model without its run; samplernn pretrained" in refused("resume", model)
    assert "--max-iters" in refused("resume", tmp_path, "--max-iters", 0)
    (tmp_path / "settings.json").write_text("{}")  # of a process that was killed early
    assert "has no checkpoint yet; start it again with samplernn train" in refused("resume", tmp_path)


def test_generate_rejects_a_path_without_a_checkpoint(refused, tmp_path):
    assert "too long" in refused("generate", tmp_path / ("x" * 300)).lower()
    assert "There is no checkpoint" in refused("generate", tmp_path / "none.npz")
    assert "holds no parameters" in refused("generate", tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    assert "text.npz" in refused("generate", tmp_path / "text.npz")


def test_prepare_writes_a_set_and_names_the_command_to_train_on_it(capsys, tmp_path):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    noise = 0.1 * np.random.RandomState(0).normal(size=(44100 * 6, 2))
    soundfile.write(recordings / "noise.flac", noise, 44100)
    data = tmp_path / "data"
    assert main(["prepare", str(recordings), "--out", str(data), "--clip-seconds", "0.25"]) == 0
    said = capsys.readouterr().out
    assert f"samplernn train three_tier --preset small --batch_size 2 --data {data}" in said
    assert np.load(data / "clips_train.npy").shape == (20, 4000)


def test_too_little_sound_is_refused_with_the_number_of_clips_that_it_takes(capsys, tmp_path):
    (tmp_path / "in").mkdir()
    noise = np.random.RandomState(0).uniform(-0.1, 0.1, 160_000)
    soundfile.write(tmp_path / "in" / "noise.flac", noise, 16000)
    words = ["data", "blizzard", "--source", str(tmp_path / "in"), "--out", str(tmp_path / "data")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "1 clip of 8 s: too few" in said and "which needs 768." in said


def test_the_command_is_required_and_checked(refused):
    assert "COMMAND" in refused()
    assert "'sing'" in refused("sing")
    assert "FAMILY" in refused("train")
