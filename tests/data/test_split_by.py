"""`samplernn prepare --split-by`: what is in one split only, in which sizes, and what is said about it."""

import csv
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplernn_theano.cli.main import main
from samplernn_theano.data import check, clip_table
from samplernn_theano.data.manifest import describe
from samplernn_theano.data.recipes import Recipe, by_fractions
from samplernn_theano.data.recordings import Decoded
from samplernn_theano.data.sets import music, prompts, speech
from samplernn_theano.data.split_by import Piece, split_pieces
from samplernn_theano.errors import DataError
from tests.data.sets_of_noise import SPLITS, build, load, record, write

L = 160  # samples of a clip


def recipe(split_by: str = "recording", **options) -> Recipe:
    sizes = options.pop("sizes", by_fractions(0.1, 0.1))
    return Recipe(set="folder", name="clips", sizes=sizes, clip_seconds=0.01, split_by=split_by, **options)


def pieces(*speakers: list[int]) -> list[Piece]:
    return [
        Piece(f"{who}/{i}", f"{who}", Decoded(Path("sound"), length))
        for who, lengths in enumerate(speakers)
        for i, length in enumerate(lengths)
    ]


def durations(parts: list[Piece]) -> dict[str, int]:
    return {split: sum(p.sound.length for p in parts if p.split == split) for split in SPLITS}


@given(st.lists(st.integers(1, 60 * L), min_size=1, max_size=40), st.sampled_from([0.05, 0.1, 0.3]))
def test_every_sample_is_in_one_split_and_sizes_are_about_those_asked_for(lengths, fraction):
    total, own = sum(lengths), recipe(sizes=by_fractions(fraction, fraction))
    parts = split_pieces(pieces(lengths), own)
    for i, length in enumerate(lengths):
        spans = sorted((p.sound.begin, p.sound.begin + p.sound.length) for p in parts if p.name == f"0/{i}")
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert all(before[1] == after[0] for before, after in pairwise(spans))
    if total < 3 * L:
        return  # `build` refuses it
    got, due = durations(parts), max(L, fraction * total)
    assert min(got.values()) >= L
    assert all(due / 2 - L <= got[split] <= 2 * due + L for split in ("valid", "test"))
    assert got["train"] >= (total - 2 * due) / 2 - L
    assert split_pieces(pieces(lengths), own) == parts


def test_the_seed_chooses_the_recordings():
    chosen = [
        [p.name for p in split_pieces(pieces([9 * L] * 30), recipe(seed=seed)) if p.split == "test"]
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2] and len(chosen[0]) == 3


@pytest.mark.parametrize(
    ("lengths", "whole"),
    [
        ([60] * 10, True),
        ([5, 7, 9, 11, 13, 15, 20, 25, 30, 40, 3, 3], True),
        ([60] * 5, True),  # of 10 % asked for, each held-out split gets 20 %
        ([60] * 4, False),
        ([400], False),
        ([200, 100], False),
        ([2000] + [2] * 9, False),
        ([20, 12, 2], False),
    ],
)
def test_recordings_stay_whole_where_that_gives_about_the_sizes_asked_for(lengths, whole):
    parts = split_pieces(pieces([n * L for n in lengths]), recipe())
    assert (len(parts) == len(lengths)) == whole
    if not whole:
        n = max(1, round(0.1 * sum(lengths)))
        assert durations(parts) == {"train": (sum(lengths) - 2 * n) * L, "valid": n * L, "test": n * L}
        in_time = sorted(parts, key=lambda p: (int(p.name[2:]), p.sound.begin))
        assert [p.split for p in in_time] == sorted((p.split for p in in_time), key=SPLITS.index)


def test_each_speaker_is_split_and_short_ones_together():
    got = durations(split_pieces(pieces([60 * L] * 8, [50 * L] * 6), recipe()))
    assert got == {"train": (360 + 200) * L, "valid": 110 * L, "test": 110 * L}
    parts = split_pieces(pieces(*[[L, 2 * L]] * 40), recipe())  # less than a clip of each is due
    assert durations(parts)["test"] >= 6 * L and durations(parts)["valid"] >= 6 * L
    assert len({p.speaker for p in parts if p.split == "test"}) >= 5


@pytest.mark.parametrize("speakers", [[5, 5, 5], [100, 4, 4], [30, 1, 90, 20], [10] * 20, [50, 50, 1]])
def test_speakers_stay_whole(speakers):
    parts = split_pieces(pieces(*[[n * L // 2, n * L // 2] for n in speakers]), recipe("speaker"))
    split_of = {p.speaker: p.split for p in parts}
    assert all(split_of[p.speaker] == p.split for p in parts) and set(split_of.values()) == set(SPLITS)
    if len(speakers) > 4:
        assert durations(parts)["test"] == 2 * 10 * L


def recordings(folder: Path, lengths: dict[str, float]) -> dict[str, np.ndarray]:
    return {name: record(folder / name, seconds, k) for k, (name, seconds) in enumerate(lengths.items())}


def said_of(folder: Path) -> str:
    """What check-data says on recordings."""
    report = check.check(folder, progress=False)
    lines = [*report.lines, *report.notes]
    return "\n".join(line for line in lines if "recording of train" in line or "in train:" in line)


def test_a_set_split_by_recording(tmp_path):
    """Short recordings are concatenated; each clip holds sound of its own split alone, and none is lost."""
    lengths = {f"{k:02}.wav": 0.02 + 0.0013 * (k * 7 % 30) for k in range(30)} | {
        "x.wav": 0.004,
        "y.wav": 0.003,
    }
    sounds = recordings(tmp_path / "in", lengths)
    manifest = build(tmp_path / "in", tmp_path / "out", split_by="recording")
    for split, clips in load(tmp_path / "out").items():
        own = [s["path"] for s in manifest["sources"] if s["splits"] == [split]]
        stream = np.concatenate([sounds[name] for name in own])
        cut = stream[: len(stream) // L * L].reshape(-1, L)
        assert sorted(map(bytes, clips)) == sorted(map(bytes, cut)) and len(clips) > 3
        assert not np.array_equal(clips, cut)  # shuffled
    assert "Split by recording: none is in two splits." in describe(manifest)
    assert said_of(tmp_path / "out") == "No clip of valid or test is from a recording of train."
    assert manifest["options"]["split_by"] == "recording"


def test_one_long_recording_is_cut_in_time_and_that_is_said(tmp_path):
    (sound,) = recordings(tmp_path / "in", {"talk.wav": 0.5051}).values()
    manifest = build(tmp_path / "in", tmp_path / "out", split_by="recording")
    clips = load(tmp_path / "out")
    cut = np.split(sound[: 50 * L].reshape(50, L), [40, 45])
    for (split, own), expected in zip(clips.items(), cut, strict=True):
        assert sorted(map(bytes, own)) == sorted(map(bytes, expected)), split
    with open(tmp_path / "out" / "clips.csv", newline="") as file:
        for row in csv.DictReader(file):
            start = round(float(row["begins_at_s"]) * 16000)
            np.testing.assert_array_equal(clips[row["split"]][int(row["clip"])], sound[start : start + L])
    report = describe(manifest)
    assert "Recordings cut in time" in report and "talk.wav" in report and "Split by" not in report
    assert manifest["sources"][0]["splits"] == list(SPLITS)
    assert manifest["rest_seconds"] == pytest.approx(0.0051, abs=1e-4)
    assert "would leave them whole" not in report
    said = said_of(tmp_path / "out")
    assert "also in train: 5 of 5 of valid and 5 of 5 of test" in said
    assert "add recordings" in said and "samplernn prepare" not in said


def test_shares_that_would_keep_recordings_whole_are_offered_and_do(tmp_path):
    recordings(tmp_path / "in", {f"{k}.wav": 0.6 for k in range(4)})
    report = describe(build(tmp_path / "in", tmp_path / "out", split_by="recording"))
    assert "Recordings cut in time" in report
    offered = re.search(r"--valid-fraction (\S+) --test-fraction (\S+) would leave them whole", report)
    valid, test = map(float, offered.groups())
    whole = build(tmp_path / "in", tmp_path / "whole", split_by="recording", sizes=by_fractions(valid, test))
    assert "Split by recording: none is in two splits." in describe(whole)


def test_a_set_split_by_clip_is_the_authors_and_check_data_counts_its_shared_recordings(tmp_path):
    recordings(tmp_path / "in", {f"{k}.wav": 0.1 for k in range(9)} | {"z.wav": 0.01})
    build(tmp_path / "in", tmp_path / "default")
    manifest = build(tmp_path / "in", tmp_path / "out", split_by="clip")
    for split in SPLITS:
        np.testing.assert_array_equal(load(tmp_path / "out")[split], load(tmp_path / "default")[split])
    found = clip_table.recordings(tmp_path / "out")
    of_train = {k for own in found["train"] for k in own}
    shared = [sum(own[0] in of_train for own in found[split]) for split in ("valid", "test")]
    assert f"also in train: {shared[0]} of 9 of valid and {shared[1]} of 9 of test" in said_of(
        tmp_path / "out"
    )
    assert "Split by" not in describe(manifest) and min(shared) > 5
    assert "samplernn prepare --split-by recording keeps" in said_of(tmp_path / "out")
    table = tmp_path / "out" / "clips.csv"
    table.write_text(table.read_text().replace("train,0", "train,x", 1))
    report = check.check(tmp_path / "out", progress=False)
    assert any("clips.csv" in note for note in report.notes) and not report.problems


def test_the_sets_of_the_paper_are_split_by_clip():
    for own in (speech.BLIZZARD, speech.HUCKLEBERRY, speech.ONOMATOPOEIA, music.RECIPE, prompts.RECIPE):
        assert own.split_by == "clip"


def test_a_recording_that_is_one_clip_is_in_one_split_either_way(tmp_path):
    recordings(tmp_path / "in", {f"{k}.wav": 0.01 + k / 1000 for k in range(20)})
    for way in ("clip", "recording"):
        build(tmp_path / "in", tmp_path / way, variable_length=True, split_by=way)
    for path in (tmp_path / "clip").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "recording" / path.name).read_bytes()


def test_the_command(tmp_path, capsys):
    lengths = {f"{who}/{k}.wav": 0.5 for who in ("ann", "bob", "cy") for k in range(10)}
    recordings(tmp_path / "in", lengths)

    def prepare(*words: str, code: int = 0) -> str:
        out = tmp_path / "_".join(("out", *words))
        words = ("prepare", str(tmp_path / "in"), "--out", str(out), "--clip-seconds", "0.1", *words)
        assert main(list(words)) == code
        return "".join(capsys.readouterr())

    assert "Split by recording" in prepare() and "Split by" not in prepare("--split-by", "clip")
    said = prepare("--speakers")
    assert "(ann 5, bob 5, cy 5)" in said and "Split by recording" in said
    assert "Split by speaker" in prepare("--split-by", "speaker")
    table = clip_table.read(tmp_path / "out_--split-by_speaker", "speaker")
    speakers = [{clip.speaker for clip in table[split]} for split in SPLITS]
    assert sorted(map(len, speakers)) == [1, 1, 1] and len(set.union(*speakers)) == 3
    for k in range(10):
        (tmp_path / "in" / "cy" / f"{k}.wav").unlink()
    assert "--split-by speaker needs" in prepare("--split-by", "speaker", "--name", "two", code=2)


def test_a_split_of_silence_is_refused_with_its_remedy(tmp_path):
    record(tmp_path / "in" / "a.wav", 0.1)
    write(tmp_path / "in" / "b.wav", np.zeros(3 * L))
    with pytest.raises(DataError, match=r"\(10 / 0 / 0 in train, valid and test\).*--split-by clip"):
        build(tmp_path / "in", tmp_path / "out", split_by="recording")
    build(tmp_path / "in", tmp_path / "out", split_by="clip")
