"""Data sets from a folder of recordings."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from samplernn_theano.data import prepare as module
from samplernn_theano.data import recordings
from samplernn_theano.data.manifest import describe
from samplernn_theano.data.prepare import original_order
from samplernn_theano.data.recipes import by_fractions
from samplernn_theano.errors import DataError, OutputError
from tests.data.sets_of_noise import SPLITS, build, in_order, load, write

CLIP = 0.01  # seconds: 160 samples


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """40 clips of 0.01 s in two recordings, the first of them not a whole number of clips."""
    write(tmp_path / "in" / "b.wav", noise(16 * 160 + 70, seed=1), subtype="FLOAT")
    write(tmp_path / "in" / "c.flac", noise(24 * 160, seed=2))
    return tmp_path / "in"


def test_writes_three_splits_as_the_original_names_and_shapes_them(folder, tmp_path):
    manifest = build(folder, tmp_path / "out", name="music")
    splits = load(tmp_path / "out")
    shapes = {split: rows.shape for split, rows in splits.items()}
    assert shapes == {"train": (32, 160), "valid": (4, 160), "test": (4, 160)}
    assert all(rows.dtype == np.float16 for rows in splits.values())
    files = {"music_train.npy", "music_valid.npy", "music_test.npy", "clips.csv", "manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_clips_of_8_seconds(tmp_path):
    write(tmp_path / "in" / "a.wav", noise(20 * 16000))
    with pytest.raises(DataError, match=r"20\.0 s .* 2 clips of 8 s: too few"):
        build(tmp_path / "in", tmp_path / "out", clip_seconds=8.0)
    assert list(tmp_path.glob("out/*.npy")) == []
    write(tmp_path / "in" / "b.wav", noise(4 * 16000 + 8000, 1))
    assert build(tmp_path / "in", tmp_path / "out", clip_seconds=8.0)["rest_seconds"] == 0.5
    assert {rows.shape for rows in load(tmp_path / "out").values()} == {(1, 128000)}


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 660), min_size=1, max_size=6), clip=st.integers(8, 200))
def test_every_sample_of_every_whole_clip_is_in_one_split_once(lengths, clip):
    count = sum(lengths) // clip
    assume(count >= 3)
    samples = (np.arange(sum(lengths)) - 2000).astype(np.int16) * 8  # all different, in float16 as well
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary, "in"), Path(temporary, "out")
        for k, part in enumerate(np.split(samples, np.cumsum(lengths)[:-1])):
            write(folder / f"{k}.wav", part)
        build(folder, out, clip_seconds=clip / 16000)
        splits, ordered = load(out), in_order(out)
    assert all(len(rows) >= 1 for rows in splits.values())
    everything = np.concatenate([rows.ravel() for rows in splits.values()]).astype(np.float32) * 32768
    np.testing.assert_array_equal(np.sort(everything), samples[: count * clip])
    np.testing.assert_array_equal(ordered.ravel() * np.float32(32768), samples[: count * clip])


def test_clips_are_ordered_as_the_original_ordered_them():
    golden = np.load(
        Path(__file__).parents[1] / "golden" / "feeders" / "npy2_shuffle.npz", allow_pickle=False
    )
    orders = [key for key in golden if key.startswith("file_number_order")]
    assert orders
    for key in orders:
        assert original_order(len(golden[key])) == golden[key].tolist()


def test_recordings_follow_each_other_in_the_order_of_their_paths(tmp_path):
    write(tmp_path / "in" / "b.wav", np.full(320, 0.25) + noise(320) / 100)
    write(tmp_path / "in" / "a" / "z.WAV", np.full(320, 0.125) + noise(320) / 100)
    write(tmp_path / "in" / "B.wav", np.full(320, 0.5) + noise(320) / 100)
    manifest = build(tmp_path / "in", tmp_path / "out")
    assert [source["path"] for source in manifest["sources"]] == ["B.wav", "a/z.WAV", "b.wav"]
    means = in_order(tmp_path / "out").mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(means, [0.5, 0.5, 0.125, 0.125, 0.25, 0.25], atol=0.01)


def test_the_manifest_records_the_sources(folder, tmp_path):
    stereo_44 = np.stack([noise(4410, seed=3), noise(4410, seed=4)], axis=1)
    write(folder / "d" / "stereo.wav", stereo_44, rate=44100)
    (folder / "notes.txt").write_text("not a recording")
    manifest = build(folder, tmp_path / "out")
    b, c, d = manifest["sources"]
    assert b == {
        "path": "b.wav",
        "sha256": hashlib.sha256((folder / "b.wav").read_bytes()).hexdigest(),
        "status": "used",
        "seconds": (16 * 160 + 70) / 16000,
        "rate": 16000,
        "channels": 1,
        "clipped": 0,
    }
    assert (c["path"], d["path"]) == ("c.flac", "d/stereo.wav")
    assert (d["rate"], d["channels"], d["seconds"]) == (44100, 2, 0.1)
    assert manifest["ignored_files"] == 1
    splits = load(tmp_path / "out")
    train = splits["train"].astype(np.float64)
    assert manifest["train_mean"] == pytest.approx(train.mean(), rel=1e-9)
    assert manifest["train_std"] == pytest.approx(train.std(), rel=1e-9)
    for split, entry in manifest["splits"].items():
        file = tmp_path / "out" / entry["file"]
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert entry["clips"] == len(splits[split])
        assert entry["seconds"] == pytest.approx(len(splits[split]) * CLIP)


def test_the_same_recordings_give_the_same_bytes_and_another_seed_another_order(folder, tmp_path):
    build(folder, tmp_path / "one")
    elsewhere = tmp_path / "moved"
    folder.rename(elsewhere)
    build(elsewhere, tmp_path / "two")
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    build(elsewhere, tmp_path / "seven", seed=7)
    assert not np.array_equal(load(tmp_path / "one")["train"], load(tmp_path / "seven")["train"])


def test_silent_clips_are_dropped_and_listed(tmp_path):
    sound = noise(6 * 160)
    sound[160:320] = 2**-10.5 * np.sign(sound[160:320])  # too soft
    sound[640:800] = 0.25  # constant
    sound[800:960] = 2**-9 * np.sign(sound[800:960])  # quiet, but audible
    write(tmp_path / "in" / "a.wav", sound[:300], subtype="FLOAT")
    write(tmp_path / "in" / "b.wav", sound[300:], subtype="FLOAT")
    manifest = build(tmp_path / "in", tmp_path / "out")
    assert manifest["silent_clips"] == [
        {"path": "a.wav", "seconds": 0.01},
        {"path": "b.wav", "seconds": 340 / 16000},
    ]
    kept = (np.rint(sound * 32768) / 32768).reshape(6, 160)[[0, 2, 3, 5]].astype(np.float16)
    np.testing.assert_array_equal(in_order(tmp_path / "out"), kept)


def test_silent_clips_at_the_end_are_not_counted_as_rest_too(tmp_path):
    write(tmp_path / "in" / "a.wav", np.concatenate([noise(4 * 160), np.zeros(3 * 160 + 80)]))
    manifest = build(tmp_path / "in", tmp_path / "out")
    assert [clip["seconds"] for clip in manifest["silent_clips"]] == [0.04, 0.05, 0.06]
    assert manifest["rest_seconds"] == 0.005
    limited = build(tmp_path / "in", tmp_path / "limited", max_clips=3)
    assert limited["silent_clips"] == [] and limited["rest_seconds"] == 0.045
    whole = build(tmp_path / "in", tmp_path / "max", max_clips=4)
    assert len(whole["silent_clips"]) == 3 and whole["rest_seconds"] == 0.005


def test_recordings_that_are_clipped_are_refused_unless_allowed(folder, tmp_path):
    build(folder, tmp_path / "without")
    write(folder / "integers.wav", noise(800, 3) * 32768, subtype="FLOAT")
    write(folder / "loud.wav", noise(800, 4) * 8, subtype="FLOAT")
    write(folder / "few.wav", noise(800, 5) * 2.01, subtype="FLOAT")  # 0.5 %
    report = describe(build(folder, tmp_path / "out"))
    refused = report.split("Recordings that cannot be used: 2")[1]
    assert "integers.wav: " in refused and "divide them by 32,768. Or pass --allow-clipping" in refused
    assert "loud.wav: " in refused and "it is 12.0 dB too loud" in refused
    manifest = build(folder, tmp_path / "allowed", allow_clipping=True)
    assert [source["status"] for source in manifest["sources"]] == ["used"] * 5
    assert "Doubtful recordings: 2" in describe(manifest) and manifest["options"]["allow_clipping"]
    assert len(np.concatenate(list(load(tmp_path / "allowed").values()))) == 40 + 15


def test_channels_that_cancel_and_near_silence_are_said_and_kept(folder, tmp_path):
    sound, hiss = noise(800, 3), noise(800, 4) / 50
    write(folder / "opposite.wav", np.stack([sound, hiss - sound], axis=1))
    write(folder / "soft.wav", noise(800, 5) / 65536, subtype="PCM_32")
    manifest = build(folder, tmp_path / "out")
    doubts = {source["path"]: list(source.get("doubts", {})) for source in manifest["sources"]}
    assert doubts == {"b.wav": [], "c.flac": [], "opposite.wav": ["channels"], "soft.wav": ["level"]}
    report = describe(manifest).split("Doubtful recordings: 2")[1]
    assert "opposite.wav: its 2 channels cancel each other" in report and "soft.wav: it is nearly" in report
    write(tmp_path / "all" / "a.wav", np.stack([sound, -sound], axis=1))
    with pytest.raises(DataError, match=r"5 silent clips \(a.wav: its 2 channels cancel.*too few"):
        build(tmp_path / "all", tmp_path / "none")


def test_unreadable_recordings_are_listed_and_left_out(folder, tmp_path):
    build(folder, tmp_path / "without")
    (folder / "a.mp3").write_bytes(b"")
    (folder / "bb.ogg").write_bytes(b"garbage" * 100)
    write(folder / "bc.wav", np.zeros(0))
    write(folder / "bd.wav", np.array([np.nan] * 500), subtype="FLOAT")
    (folder / "be.wav").symlink_to("nowhere")
    manifest = build(folder, tmp_path / "with")
    unreadable = [source for source in manifest["sources"] if source["status"] == "unreadable"]
    assert [source["path"] for source in unreadable] == ["a.mp3", "bb.ogg", "bc.wav", "bd.wav", "be.wav"]
    for source in unreadable:
        assert source["path"] in source["reason"] and str(tmp_path) not in source["reason"]
        assert source["reason"] in describe(manifest)
    for split, rows in load(tmp_path / "with").items():
        np.testing.assert_array_equal(rows, load(tmp_path / "without")[split])


def test_hidden_files_pipes_and_links_to_folders_are_passed_over(folder, tmp_path):
    write(folder / ".hidden.wav", noise(320))
    write(folder / ".trash" / "a.wav", noise(320))
    (folder / "loop").symlink_to(folder)
    (folder / "up").symlink_to("/")
    os.mkfifo(folder / "pipe.wav")
    (folder / "link.wav").symlink_to("b.wav")  # a link to a recording is a recording
    manifest = build(folder, tmp_path / "out")
    assert [source["path"] for source in manifest["sources"]] == ["b.wav", "c.flac", "link.wav"]
    assert [entry["path"] for entry in manifest["skipped_folders"]] == ["loop", "up"]
    assert "loop (a link to a folder)" in describe(manifest)


def test_a_recording_that_is_there_twice_is_used_once(folder, tmp_path):
    build(folder, tmp_path / "one")
    (folder / "copy.wav").write_bytes((folder / "b.wav").read_bytes())
    report = describe(build(folder, tmp_path / "two"))
    assert "copy.wav is the same file as b.wav" in report.split("Left out: 1")[1]
    for split in SPLITS:
        np.testing.assert_array_equal(load(tmp_path / "one")[split], load(tmp_path / "two")[split])


def test_the_report_cuts_long_lists_and_prints_any_file_name(folder, tmp_path):
    for k in range(25):
        (folder / f"bad{k:02}.wav").write_bytes(b"")
    (folder / os.fsdecode(b"a\xff.wav")).write_bytes(b"")
    report = describe(build(folder, tmp_path / "out"))
    report.encode("utf-8")
    assert "bad00.wav" in report and "bad24.wav" not in report and "16 more" in report


def test_a_second_run_is_refused_without_overwrite(folder, tmp_path):
    out = folder / "dataset"  # inside of what is read
    build(folder, out)
    before = files_in(out)
    with pytest.raises(DataError, match="--overwrite"):
        build(folder, out)
    build(folder, out, overwrite=True)
    assert files_in(out) == before
    with pytest.raises(DataError, match="another data set"):
        build(folder, out, name="other", overwrite=True)
    assert files_in(out) == before
    with pytest.raises(DataError, match="not a folder"):
        build(folder, folder / "b.wav")


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_full_disk_leaves_everything_as_it_was(folder, tmp_path, monkeypatch, failing):
    build(folder, tmp_path / "old")
    before = files_in(tmp_path / "old")
    write(folder / "more.wav", noise(1600))
    samples, calls = module._samples, []

    def samples_until_full(clips, bar):
        calls.append(clips)
        yield from samples(clips[:1], bar)
        if len(calls) % 3 == failing % 3:
            raise OSError(28, "No space left on device")
        yield from samples(clips[1:], bar)

    monkeypatch.setattr(module, "_samples", samples_until_full)
    with pytest.raises(OutputError, match="No disk space"):
        build(folder, tmp_path / "old", overwrite=True)
    assert files_in(tmp_path / "old") == before
    calls.clear()
    with pytest.raises(OutputError, match="No disk space"):
        build(folder, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".building"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("missing/in", "no folder"),
        ("in/a.txt", "not a folder"),
        ("in", "No recordings"),
        ("in/empty", "No recordings"),
        ("broken", r"None of 1 recording can be used.*a\.wav"),
    ],
)
def test_names_the_folder_that_cannot_be_used(tmp_path, name, message):
    for path in ("in/a.txt", "broken/a.wav"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text("words")
    (tmp_path / "in" / "empty").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        build(tmp_path / name, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clip_seconds": 0}, "--clip-seconds"),
        ({"clip_seconds": float("nan")}, "--clip-seconds"),
        ({"sizes": by_fractions(0.49, 0.49), "clip_seconds": 0.1}, "too few"),
        ({"stride_seconds": 0.0}, "--stride"),
        ({"max_clips": 2}, "--clips"),
        ({"shortest": 3.0, "longest": 2.0}, "--shortest 3.0 and --longest 2.0"),
        ({"name": ""}, "file name"),
        ({"name": "a/b"}, "file name"),
    ],
)
def test_names_the_invalid_option(folder, tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        build(folder, tmp_path / "out", **options)
    assert list(tmp_path.glob("out/*.npy")) == []


@pytest.mark.parametrize(
    "valid, test, message",
    [
        (0, 0.1, "--valid-fraction"),
        (0.1, 1.5, "--test-fraction"),
        (0.5, 0.5, "--valid-fraction 0.5 and --test-fraction 0.5"),
    ],
)
def test_names_the_invalid_fraction(valid, test, message):
    with pytest.raises(DataError, match=message):
        by_fractions(valid, test)


def test_progress_goes_to_the_standard_error(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("samplernn_theano.utils.progress.LINE_SECONDS", 0)
    build(folder, tmp_path / "one", progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "decode  100 %" in shown.err and "write  100 %" in shown.err
    build(folder, tmp_path / "two", progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kept", ["[]", "5", "[" * 10**5, "{}", '{"rate": "x"}', '{"clipped": null, "doubts": [1]}']
)
def test_properties_of_decoded_sound_that_are_damaged_are_made_again(tmp_path, kept):
    write(tmp_path / "a.wav", noise(1000))
    recording = recordings.Recording(tmp_path / "a.wav", "a.wav")
    entry, _ = recordings.decode(recording, tmp_path)
    (path,) = tmp_path.glob("*.json")
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | json.loads(kept)) if len(kept) > 10 and kept[0] == "{" else kept)
    assert recordings.decode(recording, tmp_path)[0] == entry
