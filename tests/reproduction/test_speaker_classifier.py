"""Whose voice it is: on two synthetic voices, at any level, and not where nobody speaks."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve, firwin2

from samplernn_theano.data import clip_table, prepare, recordings
from samplernn_theano.data.audio import write_wav
from samplernn_theano.data.recipes import Recipe, by_fractions
from samplernn_theano.data.sets import demo
from samplernn_theano.errors import DataError, ReproductionError
from samplernn_theano.reproduction import speaker_classifier
from samplernn_theano.reproduction.speaker_classifier import SEGMENT, Sample, accuracy, interval_of_clusters
from tests.reproduction.conftest import trained


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


def test_one_recording_of_each_voice_is_not_divided_and_that_is_said(samples):
    found = accuracy(samples)
    assert found["accuracy"] > 0.95 and found["low"] < found["accuracy"] <= found["high"] <= 1
    assert (found["sampled"], found["clusters"], found["folds"]) == ("clip", 12, None)
    assert found["pieces"] + found["cannot_tell"] == 12 * 4
    assert "1 recording of high cannot be divided" in found["doubt"]
    (a, b), (c, d) = found["confusion"]
    assert a + b + c + d == found["pieces"] and (a + d) / found["pieces"] == found["accuracy"]
    unknown = accuracy([one._replace(recordings=()) for one in samples])
    assert "does not say which recording" in unknown["doubt"] and unknown["accuracy"] == found["accuracy"]


def test_names_that_say_nothing_cannot_be_learnt(voices, tmp_path):
    """With random names, held-out clips are not classified."""
    lots = np.random.RandomState(0).randint(0, 2, 24)
    mixed = relabelled(voices, tmp_path, lambda i, _: "ab"[lots[i]])
    assert 0.1 < accuracy(speaker_classifier.samples(mixed))["accuracy"] < 0.9


def chapters(folder: Path, **voice_of: str) -> list[Sample]:
    """Segments of two readers, six chapters of 16 s of each, each recorded through a channel of its own."""
    random = np.random.RandomState(4)
    for reader, voice in voice_of.items():
        for chapter in range(6):
            sound = demo.babble(voice, 16 * demo.RATE, random)
            gains = np.exp(random.normal(0, 1.5, 9))
            channel = firwin2(257, np.linspace(0, 1, 9), gains)
            path = folder / "in" / reader / f"{chapter}.wav"
            write_wav(path, 0.5 * fftconvolve(sound, channel, "same") / gains.max(), demo.RATE)
    sizes = by_fractions(0.2, 0.2)
    recipe = Recipe(set="folder", name="clips", sizes=sizes, clip_seconds=2.0, by_speaker=True)
    prepare.build(recordings.find(folder / "in"), folder / "out", recipe, progress=False)
    return speaker_classifier.samples(folder / "out")


def test_a_classifier_of_channels_is_not_taken_for_one_of_voices(tmp_path):
    """One voice under two names is recognised in the chapters that were heard, and in no other."""
    same = chapters(tmp_path / "same", ann="low", bob="low")
    seen = accuracy([one._replace(recordings=()) for one in same])
    found = accuracy(same)
    assert seen["low"] > 0.8
    assert found["low"] < 0.5 < found["high"] < seen["accuracy"]
    assert (found["sampled"], found["clusters"], found["folds"], found["doubt"]) == ("recording", 12, 6, None)
    assert found["pieces"] + found["cannot_tell"] <= len(same)


def test_voices_are_recognised_in_new_chapters(tmp_path):
    found = accuracy(chapters(tmp_path, ann="high", bob="low"))
    assert found["accuracy"] > 0.95 and found["folds"] == 6 and found["pieces"] > 80


def test_clips_that_hold_sound_of_two_parts_are_in_neither(monkeypatch):
    """A clip at the end of a chapter also holds the beginning of the next one."""
    random = np.random.RandomState(0)
    held = [(0,), (0, 1), (1,), (1, 2), (2,), (2, 3), (3,)]
    segments = [
        Sample(who, "train", i, tuple(k + 4 * n for k in own), random.randn(3))
        for n, who in enumerate("ab")
        for i, own in enumerate(held * 3)
    ]
    tests = []
    train = speaker_classifier.train
    monkeypatch.setattr(
        speaker_classifier, "train", lambda training, names: tests.append(training) or train(training, names)
    )
    found = accuracy(segments)
    assert found["folds"] == 4 and found["pieces"] == 2 * 4 * 3 and found["clusters"] == 8
    for part, training in enumerate(tests):
        assert not any({part, part + 4} & set(one.recordings) for one in training)
        assert len(training) == 2 * 3 * (5 if part in (0, 3) else 4)


@pytest.mark.parametrize("clusters", [6, 20])
@pytest.mark.parametrize(("share", "alike"), [(0.75, 0.0), (0.75, 0.3), (0.95, 0.05)])
def test_the_interval_covers_the_accuracy_whose_pieces_are_alike_in_a_recording(clusters, share, alike):
    """Pieces of a recording are right together; as independent ones they cover 70 % at best."""
    random, covered = np.random.RandomState(1), 0
    for _ in range(400):
        pieces = random.randint(20, 80, clusters)
        a, b = share * (1 / alike - 1) if alike else 0, (1 - share) * (1 / alike - 1) if alike else 0
        right = random.binomial(pieces, random.beta(a, b, clusters) if alike else share)
        found = interval_of_clusters(right, pieces)
        covered += found["low"] <= share <= found["high"]
    assert covered / 400 >= 0.92
    assert alike or covered / 400 >= 0.95


def test_the_interval_at_the_limits():
    all_right = interval_of_clusters(np.full(10, 30), np.full(10, 30))
    assert 0.5 < all_right["low"] < 0.8 and all_right["high"] == 1.0  # as of ten pieces, not of 300
    assert interval_of_clusters(np.zeros(10, int), np.full(10, 30))["low"] == 0.0
    one = interval_of_clusters(np.array([9]), np.array([10]))
    assert one["low"] < 0.5 < one["high"]


def test_the_probability_is_that_of_the_second_speaker(classifier, spoken):
    for high, low in zip(spoken["high"], spoken["low"], strict=True):
        assert classifier.posterior(high) < 0.05 and classifier.posterior(low) > 0.95


@pytest.mark.parametrize(("gain", "offset"), [(0.1, 0.0), (1.3, -0.2), (0.5, 0.4), (-1.0, 0.0)])
def test_features_depend_on_neither_level_nor_offset(spoken, gain, offset):
    sound = spoken["low"][0]
    found, expected = (speaker_classifier.features(x) for x in (gain * sound + offset, sound))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def noise(low_pass: float) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=SEGMENT)
    return 0.1 * np.convolve(x, low_pass ** np.arange(200))[:SEGMENT]


VOICELESS = {
    "silence": np.zeros(SEGMENT),
    "constant": np.full(SEGMENT, 0.3),
    "next to silence": np.tile([0.0, 1 / 2048], SEGMENT // 2),
    "white noise": noise(0.0),
    "dark noise": noise(0.9),
    "rumble": 0.01 * np.cumsum(noise(0.0)),
    "faint": 0.3 + np.sin(np.arange(SEGMENT) / 12) / 2048,
    "short": np.zeros(10),
}


@pytest.mark.parametrize("sound", VOICELESS.values(), ids=VOICELESS)
def test_nobody_can_tell_where_nobody_speaks(classifier, sound):
    assert np.isnan(classifier.posterior(sound))


def test_a_short_word_is_not_enough_and_a_longer_one_is(classifier, spoken):
    for seconds, enough in ((0.1, False), (1.0, True)):
        sound = np.zeros(SEGMENT)
        sound[8000 : 8000 + round(seconds * 16000)] = spoken["low"][0, : round(seconds * 16000)]
        assert (not np.isnan(classifier.posterior(sound))) == enough


@pytest.mark.parametrize("pitch", [90.0, 150.0, 250.0, 350.0])
def test_the_last_feature_is_the_pitch(pitch):
    sound = np.tile(demo.syllable(pitch, demo.VOWELS["a"], 1.0, 1.0), 2)
    assert 2 ** speaker_classifier.features(sound)[-1] == pytest.approx(pitch, rel=0.02)


def test_of_many_clips_some_of_each_speaker_are_used(voices, monkeypatch):
    monkeypatch.setattr(speaker_classifier, "MAX_CLIPS", 2)
    heard = [one.speaker for one in speaker_classifier.samples(voices) if one.split == "train"]
    assert sorted(heard) == ["high"] * 8 + ["low"] * 8


def test_without_scikit_learn_a_sentence_names_the_extra(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.pipeline", None)
    with pytest.raises(ReproductionError, match=r"pip install \"samplernn-theano\[reproduce\]\""):
        trained(samples)


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
        trained(speaker_classifier.samples(relabelled(voices, tmp_path, rename)))
    assert words in str(error.value)


def test_a_set_without_its_table_or_with_that_of_another(voices, tmp_path, small_data):
    with pytest.raises(DataError, match=r"clips\.csv.*--speakers"):
        speaker_classifier.samples(small_data)
    replaced(relabelled(voices, tmp_path, lambda i, name: name), "train", np.zeros((3, SEGMENT)))
    with pytest.raises(DataError, match="12 clips of the train split, which has 3"):
        speaker_classifier.samples(tmp_path)


@pytest.mark.parametrize(
    ("begin", "delimiter", "encoding", "end"),
    [
        *[("", ";", "utf-8-sig", "\r\n"), ("", "\t", "utf-16", "\r\n")],
        *[("sep=;\r\n", ";", "utf-8", "\n"), ("", ",", "cp1252", "\r\n")],
        *[("", ";", "mac_roman", "\r"), ("", ",", "utf-8", "\r"), ("", ", ", "utf-8", "\n")],
    ],
)
def test_a_table_that_a_spreadsheet_saved(voices, tmp_path, begin, delimiter, encoding, end):
    relabelled(voices, tmp_path, lambda i, name: {"low": "Jürgen", "high": "Zoë"}[name])
    read = clip_table.read(tmp_path, "speaker")
    rows = list(csv.reader((tmp_path / "clips.csv").read_text().splitlines()))
    rows[1:] = sorted(rows[1:], key=lambda row: (row[5], -int(row[1])))  # by speaker
    cells = [[f'"{cell.replace(".", ",")}"' for cell in row] for row in [*rows, [""] * 6]]
    text = begin + "".join(delimiter.join(row) + end for row in cells)
    (tmp_path / "clips.csv").write_bytes(text.encode(encoding))
    assert {clip.speaker for clip in read["train"]} == {"Jürgen", "Zoë"}
    again = clip_table.read(tmp_path, "speaker")
    for split, own in read.items():
        assert [clip[1:] for clip in again[split]] == [clip[1:] for clip in own]


def test_a_table_in_other_letters_and_numbers(voices, tmp_path):
    text = (voices / "clips.csv").read_text()
    relabelled(voices, tmp_path, lambda i, name: name)
    read = clip_table.read(tmp_path, "speaker")
    head, _, rows = text.partition("\n")
    head += ",a|b;c"  # a column of the user's
    for zero in (".0", ",0", ""):
        numbered = re.sub(r"^(\w+),(\d+),", rf'\1,"\2{zero}",', rows, flags=re.MULTILINE)
        (tmp_path / "clips.csv").write_text(f"{head.upper()}\n{numbered}")
        assert clip_table.read(tmp_path, "speaker") == read


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("speaker", "voice", "it has no column speaker"),
        ("train,3,", "train,x,", "line 5 gives split 'train', clip 'x' and speaker"),
        ("train,3,", "train,2.5,", "line 5 gives split 'train', clip '2.5' and speaker"),
        ("train,3,", "train,2,", "line 5 is another one on clip 2 of the train split"),
        ("train,3,", "train,30,", "clip 3 of the train split is missing"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(voices, tmp_path, old, new, words):
    relabelled(voices, tmp_path, lambda i, name: name)
    text = (tmp_path / "clips.csv").read_text()
    assert old in text
    (tmp_path / "clips.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as error:
        clip_table.read(tmp_path, "speaker")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_clips_without_voice_cannot_test_a_classifier(voices, tmp_path):
    replaced(relabelled(voices, tmp_path, lambda i, name: name), "test", np.zeros((6, SEGMENT)))
    replaced(tmp_path, "valid", np.zeros((6, SEGMENT)))
    with pytest.raises(DataError, match="No clip outside the training set has 2 s with voice"):
        accuracy(speaker_classifier.samples(tmp_path))


def test_clips_below_2_s_are_named(voices, tmp_path):
    relabelled(voices, tmp_path, lambda i, name: name)
    for split, count in (("train", 12), ("valid", 6), ("test", 6)):
        replaced(tmp_path, split, np.ones((count, 1000)))
    with pytest.raises(DataError, match="No clip of high in .* is 2 s long"):
        speaker_classifier.samples(tmp_path)


def replaced(folder: Path, split: str, clips: np.ndarray) -> None:
    """Put other clips in a split."""
    (folder / f"demo_{split}.npy").unlink()
    np.save(folder / f"demo_{split}.npy", clips.astype(np.float16))
