"""Whose voice it is: on two synthetic voices, at any level, and not where nobody speaks."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.data.sets import demo
from samplernn_theano.errors import DataError, ReproductionError
from samplernn_theano.reproduction import speaker_classifier
from samplernn_theano.reproduction.speaker_classifier import SEGMENT


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


@pytest.mark.parametrize("split", ["valid", "test"])
def test_held_out_clips_are_classified(voices, classifier, split):
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
    heard = [speaker for speaker, _ in speaker_classifier.segments(voices, "train")]
    assert sorted(heard) == ["high"] * 8 + ["low"] * 8


def test_without_scikit_learn_a_sentence_names_the_extra(voices, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.pipeline", None)
    with pytest.raises(ReproductionError, match=r"pip install \"samplernn-theano\[reproduce\]\""):
        speaker_classifier.train(voices)


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
    replaced(relabelled(voices, tmp_path, lambda i, name: name), "train", np.zeros((3, SEGMENT)))
    with pytest.raises(DataError, match="12 clips of the train split, which has 3"):
        speaker_classifier.train(tmp_path)


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
    spoken = [who for who, _ in speaker_classifier.segments(tmp_path, "train")]
    rows = list(csv.reader((tmp_path / "clips.csv").read_text().splitlines()))
    rows[1:] = sorted(rows[1:], key=lambda row: (row[5], -int(row[1])))  # by speaker
    cells = [[f'"{cell.replace(".", ",")}"' for cell in row] for row in [*rows, [""] * 6]]
    text = begin + "".join(delimiter.join(row) + end for row in cells)
    (tmp_path / "clips.csv").write_bytes(text.encode(encoding))
    assert set(spoken) == {"Jürgen", "Zoë"}
    assert [who for who, _ in speaker_classifier.segments(tmp_path, "train")] == spoken


def test_a_table_in_other_letters_and_numbers(voices, tmp_path):
    text = (voices / "clips.csv").read_text()
    relabelled(voices, tmp_path, lambda i, name: name)
    spoken = [who for who, _ in speaker_classifier.segments(tmp_path, "train")]
    head, _, rows = text.partition("\n")
    head += ",a|b;c"  # a column of the user's
    for zero in (".0", ",0", ""):
        numbered = re.sub(r"^(\w+),(\d+),", rf'\1,"\2{zero}",', rows, flags=re.MULTILINE)
        (tmp_path / "clips.csv").write_text(f"{head.upper()}\n{numbered}")
        assert [who for who, _ in speaker_classifier.segments(tmp_path, "train")] == spoken


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
        speaker_classifier.train(tmp_path)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("clips", [np.zeros((6, SEGMENT)), np.ones((6, 1000))], ids=["silent", "short"])
def test_clips_without_2_s_of_voice_cannot_test_a_classifier(voices, tmp_path, classifier, clips):
    replaced(relabelled(voices, tmp_path, lambda i, name: name), "test", clips)
    with pytest.raises(DataError, match="No clip of the test split"):
        speaker_classifier.held_out(classifier, tmp_path, "test")


def replaced(folder: Path, split: str, clips: np.ndarray) -> None:
    """Put other clips in a split."""
    (folder / f"demo_{split}.npy").unlink()
    np.save(folder / f"demo_{split}.npy", clips.astype(np.float16))
