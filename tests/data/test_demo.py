"""The demo set: reproducible bytes and levels; `test_verdict.py` knows the checksum of its sound."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.cli.main import main
from samplernn_theano.data.sets import demo
from samplernn_theano.original.shuffle import shuffle

FILES = ["demo_train.npy", "demo_valid.npy", "demo_test.npy", "manifest.json"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "data"
    assert main(["data", "demo", "--out", str(folder), "--everything"]) == 0
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture(scope="module")
def clips(made):
    """Return all clips, train first, float64 (80, 128000)."""
    return np.concatenate([np.load(made / name, allow_pickle=False) for name in FILES[:3]]).astype(np.float64)


def test_a_second_run_elsewhere_gives_the_same_bytes(made, tmp_path):
    assert main(["data", "demo", "--out", str(tmp_path), "--everything"]) == 0
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_splits_and_manifest(made):
    manifest = json.loads((made / "manifest.json").read_text())
    for split, count in [("train", 64), ("valid", 8), ("test", 8)]:
        path = made / f"demo_{split}.npy"
        data = np.load(path, allow_pickle=False)
        assert data.dtype == np.float16 and data.shape == (count, 128000)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert manifest["splits"][split] == {"clips": count, "seconds": 8.0 * count, "sha256": digest}
    train = np.load(made / "demo_train.npy", allow_pickle=False).astype(np.float64)
    assert manifest["train_mean"] == pytest.approx(train.mean(), abs=1e-9)
    assert manifest["train_std"] == pytest.approx(train.std(), rel=1e-9)
    assert 0.1 < train.std() < 0.2


def test_clips_are_in_the_order_of_python_2_shuffle(clips):
    order = list(range(len(clips)))
    shuffle(order, 123)
    played = np.empty_like(clips)
    played[order] = clips
    np.testing.assert_array_equal(played.reshape(-1), demo.recital(played.size, everything=True))
    assert order != sorted(order)


def test_level(clips):
    assert np.abs(clips).max() == pytest.approx(0.7, abs=1e-3)
    assert np.abs(clips).max(axis=1).min() > 0.25
    assert (np.abs(clips) > 0.69).mean() < 1e-5  # flat tops would be many samples
    assert np.abs(clips.mean(axis=1)).max() < 1e-3
    assert np.sqrt((clips.reshape(-1, 4000) ** 2).mean(axis=1)).min() > 0.02  # nowhere silent
    assert len({clip.tobytes() for clip in clips}) == len(clips)


def test_the_plain_set_is_the_melody_of_the_ode_in_one_key(copy):
    """It replaces the other one in the same folder."""
    assert main(["data", "demo", "--out", str(copy)]) == 0
    assert json.loads((copy / "manifest.json").read_text())["everything"] is False
    sound = np.load(copy / "demo_train.npy", allow_pickle=False).astype(np.float64)
    spectrum = (np.abs(np.fft.rfft(sound * np.hanning(128000))) ** 2).mean(axis=0)  # 8 bins per Hz
    hertz = np.arange(len(spectrum)) / 8
    keys = {key for *_, key in demo.read_voice(demo.THEMES["Ode to Joy"][1])[0]}
    near = np.zeros(len(spectrum), bool)
    for key in keys:
        for partial in demo.PARTIALS:
            near |= np.abs(hertz - partial * 440 * 2 ** ((key - 69) / 12)) < 10
    assert near.mean() < 0.2 and spectrum[near].sum() > 0.95 * spectrum.sum()
    assert np.sqrt((sound.reshape(-1, 4000) ** 2).mean(axis=1)).min() > 0.02  # no silence
    assert len({clip.tobytes() for clip in sound}) == len(sound)


def test_the_voices_take_the_place_of_the_piano_and_leave_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "VOICE_SPLITS", {"train": 6, "valid": 3, "test": 3})
    for words, voices in [([], False), (["--voices"], True), (["--voices"], True), ([], False)]:
        assert main(["data", "demo", "--out", str(tmp_path), *words]) == 0
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        assert manifest.get("voices", False) == voices == (tmp_path / "clips.csv").exists()
    intact = ["intact" in line for line in capsys.readouterr().out.splitlines()]
    assert intact == [False, False, True, False]


def test_the_voices_are_the_same_bytes_each_time_and_of_two_pitches(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "VOICE_SPLITS", {"train": 6, "valid": 3, "test": 3})
    for folder in (tmp_path / "a", tmp_path / "b"):
        demo.write_voices(folder)
    for name in [*FILES, "clips.csv"]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    table = (tmp_path / "a" / "clips.csv").read_text().splitlines()[1:]
    names = [line.rsplit(",", 1)[1] for line in table]
    assert names.count("low") == names.count("high") == 6
    clips = np.concatenate([np.load(tmp_path / "a" / name) for name in FILES[:3]]).astype(np.float64)
    spectra = np.abs(np.fft.rfft(clips * np.hanning(128000))) ** 2  # 8 bins per Hz
    below = spectra[:, 8 * 80 : 8 * 140].sum(axis=1) / spectra[:, 8 * 80 : 8 * 280].sum(axis=1)
    assert [share > 0.1 for share in below] == [name == "low" for name in names]


def test_a_set_is_made_again_only_if_it_is_damaged(made, copy, capsys):
    words = ["data", "demo", "--out", str(copy), "--everything"]
    before = [(copy / name).stat().st_mtime_ns for name in FILES]
    assert main(words) == 0 and "intact" in capsys.readouterr().out
    assert [(copy / name).stat().st_mtime_ns for name in FILES] == before
    data = bytearray((copy / "demo_valid.npy").read_bytes())
    data[-1] ^= 1
    manifest = json.loads((copy / "manifest.json").read_text()) | {"script_sha256": "0" * 64}
    for name, damaged in (
        ("demo_valid.npy", data),
        ("demo_test.npy", None),
        ("manifest.json", b'{"name": "de'),
        ("manifest.json", b"[]"),
        ("manifest.json", json.dumps(manifest).encode()),  # of an older script
    ):
        (copy / name).unlink()
        if damaged is not None:
            (copy / name).write_bytes(damaged)
        assert not demo.is_intact(copy, everything=True)
        assert main(words) == 0
        for same in FILES:
            assert (copy / same).read_bytes() == (made / same).read_bytes()


def test_example_writes_a_clip_as_sound_and_a_picture(copy):
    assert main(["data", "demo", "--out", str(copy), "--everything", "--example"]) == 0
    sound, rate = soundfile.read(copy / "demo_example.wav")
    assert rate == 16000 and sound.shape == (128000,)
    assert (copy / "demo_spectrograms.png").stat().st_size > 10_000
    clip = np.load(copy / "demo_train.npy", allow_pickle=False)[0]
    np.testing.assert_allclose(sound, clip.astype(np.float64), atol=1e-4)


def test_a_file_in_place_of_the_folder_is_one_sentence_and_code_2(tmp_path, capsys):
    (tmp_path / "data").write_text("mine")
    assert main(["data", "demo", "--out", str(tmp_path / "data")]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "data") in message and message.count("\n") == 1
    assert (tmp_path / "data").read_text() == "mine"
