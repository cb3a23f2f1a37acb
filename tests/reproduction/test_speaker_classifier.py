"""Whose voice it is: on two synthetic voices, at any level, and not where nobody speaks."""

import csv
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.data.sets import demo
from samplernn_theano.errors import DataError
from samplernn_theano.reproduction import speaker_classifier


def make_voices(folder: Path) -> Path:
    """A set of the two synthetic voices: 12 / 6 / 6 clips of 8 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "VOICE_SPLITS", {"train": 12, "valid": 6, "test": 6})
        demo.write_voices(folder)
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    return make_voices(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def classifier(voices):
    return speaker_classifier.train(voices)


@pytest.fixture(scope="module")
def spoken() -> dict[str, np.ndarray]:
    """10 s of each voice that no set has."""
    random = np.random.RandomState(7)
    return {voice: demo.babble(voice, 5 * speaker_classifier.SEGMENT, random) for voice in ("high", "low")}


def relabelled(voices: Path, folder: Path, rename) -> Path:
    """The same set with other speakers, by the number of the line in the table and the name it has there."""
    for path in voices.glob("demo_*.npy"):
        (folder / path.name).symlink_to(path)
    with open(voices / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "clips.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(row | {"speaker": rename(i, row["speaker"])} for i, row in enumerate(rows))
    return folder


def test_held_out_clips_are_classified(voices, classifier):
    assert classifier.speakers == ("high", "low")
    for split in ("valid", "test"):
        found = speaker_classifier.held_out(classifier, voices, split)
        assert found["accuracy"] > 0.95 and found["low"] < found["accuracy"] <= found["high"] <= 1
        assert found["pieces"] + found["cannot_tell"] == 6 * 4
        (a, b), (c, d) = found["confusion"]
        assert a + b + c + d == found["pieces"] and (a + d) / found["pieces"] == found["accuracy"]


def test_names_that_say_nothing_cannot_be_learnt(voices, tmp_path):
    """With random names, held-out clips are not classified."""
    lots = np.random.RandomState(0).randint(0, 2, 24)
    mixed = relabelled(voices, tmp_path, lambda i, _: "ab"[lots[i]])
    found = speaker_classifier.held_out(speaker_classifier.train(mixed), mixed, "test")
    assert 0.1 < found["accuracy"] < 0.9


def test_the_probability_is_that_of_the_second_speaker(classifier, spoken):
    for start in range(0, 5 * speaker_classifier.SEGMENT, speaker_classifier.SEGMENT):
        assert classifier.posterior(spoken["high"][start : start + speaker_classifier.SEGMENT]) < 0.05
        assert classifier.posterior(spoken["low"][start : start + speaker_classifier.SEGMENT]) > 0.95


@pytest.mark.parametrize(("gain", "offset"), [(0.1, 0.0), (1.3, -0.2), (0.5, 0.4), (-1.0, 0.0)])
def test_features_depend_on_neither_level_nor_offset(spoken, gain, offset):
    sound = spoken["low"][: speaker_classifier.SEGMENT]
    np.testing.assert_allclose(
        speaker_classifier.features(gain * sound + offset),
        speaker_classifier.features(sound),
        rtol=1e-6,
        atol=1e-6,
    )


def noise(low_pass: float) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=speaker_classifier.SEGMENT)
    return 0.1 * np.convolve(x, low_pass ** np.arange(200))[: speaker_classifier.SEGMENT]


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(speaker_classifier.SEGMENT),
        np.full(speaker_classifier.SEGMENT, 0.3),
        np.tile([0.0, 1 / 2048], speaker_classifier.SEGMENT // 2),
        noise(0.0),
        noise(0.9),
        0.01 * np.cumsum(noise(0.0)),
        0.3 + np.sin(np.arange(speaker_classifier.SEGMENT) / 12) / 2048,
        np.zeros(10),
    ],
    ids=["silence", "constant", "next to silence", "white noise", "dark noise", "rumble", "faint", "short"],
)
def test_nobody_can_tell_where_nobody_speaks(classifier, sound):
    assert np.isnan(classifier.posterior(sound))


def test_a_short_word_is_not_enough_and_a_longer_one_is(classifier, spoken):
    for seconds, enough in ((0.1, False), (1.0, True)):
        sound = np.zeros(speaker_classifier.SEGMENT)
        sound[8000 : 8000 + round(seconds * 16000)] = spoken["low"][: round(seconds * 16000)]
        assert (not np.isnan(classifier.posterior(sound))) == enough


@pytest.mark.parametrize("pitch", [90.0, 150.0, 250.0, 350.0])
def test_the_last_feature_is_the_pitch(pitch):
    sound = np.tile(demo.syllable(pitch, demo.VOWELS["a"], 1.0, 1.0), 2)
    assert 2 ** speaker_classifier.features(sound)[-1] == pytest.approx(pitch, rel=0.02)


def test_of_many_clips_some_of_each_speaker_are_used(voices, monkeypatch):
    monkeypatch.setattr(speaker_classifier, "MAX_CLIPS", 2)
    heard = [speaker for speaker, _ in speaker_classifier.segments(voices, "train")]
    assert sorted(heard) == ["high"] * 8 + ["low"] * 8


def test_the_interval_is_wilsons():
    """Wilson's of 8 in 10: (0.490, 0.943), as in Brown, Cai and DasGupta's formula."""
    z, n, p = 1.959964, 10, 0.8
    middle, half = p + z**2 / 2 / n, z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    found = speaker_classifier.interval(8, 10)
    assert found["low"] == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-6)
    assert found["high"] == pytest.approx((middle + half) / (1 + z**2 / n), abs=1e-6)


# --- what is wrong with a set -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        (lambda i, name: "", "--speakers"),
        (lambda i, name: "Ann", "1 speaker (Ann)"),
        (lambda i, name: "abc"[i % 3], "3 speakers (a, b, c)"),
        (lambda i, name: "rare" if i == 23 else "Ann", "0 segments of 2 s"),
    ],
    ids=["none", "one", "three", "one of them not in the training split"],
)
def test_a_set_must_have_two_speakers(voices, tmp_path, rename, words):
    with pytest.raises(DataError) as error:
        speaker_classifier.train(relabelled(voices, tmp_path, rename))
    assert words in str(error.value) and str(tmp_path) in str(error.value)


def test_a_set_without_its_table_or_with_that_of_another(voices, tmp_path, small_data):
    with pytest.raises(DataError, match=r"clips\.csv.*--speakers"):
        speaker_classifier.train(small_data)
    relabelled(voices, tmp_path, lambda i, name: name)
    (tmp_path / "demo_train.npy").unlink()
    np.save(tmp_path / "demo_train.npy", np.zeros((3, speaker_classifier.SEGMENT), np.float16))
    with pytest.raises(DataError, match="12 clips of the train split, which has 3"):
        speaker_classifier.train(tmp_path)


def test_clips_that_are_silent_or_too_short_cannot_test_a_classifier(voices, tmp_path, classifier):
    relabelled(voices, tmp_path, lambda i, name: name)
    for split, clips in (("valid", np.zeros((6, speaker_classifier.SEGMENT))), ("test", np.ones((6, 1000)))):
        (tmp_path / f"demo_{split}.npy").unlink()
        np.save(tmp_path / f"demo_{split}.npy", clips.astype(np.float16))
        with pytest.raises(DataError, match=f"No clip of the {split} split"):
            speaker_classifier.held_out(classifier, tmp_path, split)
