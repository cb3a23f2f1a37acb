"""`samplernn data` rebuilds the paper's sets, from a local copy of the archive or from folders."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.cli.main import main
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Ragged
from samplernn_theano.data.sets import music
from samplernn_theano.original import shuffle
from tests.data.archive_server import ArchiveServer
from tests.data.sets_of_noise import SECOND, in_order, load, record

ROOT = Path(__file__).parents[2]


def run(which: str, *words) -> int:
    return main(["data", which, *map(str, words)])


def refused(capsys, which: str, *words) -> str:
    """The error of a command that must fail."""
    assert run(which, *words) == 2
    return capsys.readouterr().err


def made(out: Path) -> dict:
    """The manifest of a set."""
    return json.loads((out / "manifest.json").read_text())


@pytest.fixture(scope="module")
def sonatas(tmp_path_factory) -> Path:
    """The 32 items, one file of 9 s each; all files bear the same name."""
    folder = tmp_path_factory.mktemp("sonatas")
    for k, item in enumerate(music.ITEMS):
        record(folder / item / "sonata.ogg", 9, seed=k, format="OGG", subtype="VORBIS")
    return folder


@pytest.fixture
def archive(sonatas):
    """A server that has the sonatas."""
    files = {item: {"sonata.ogg": (sonatas / item / "sonata.ogg").read_bytes()} for item in music.ITEMS}
    with ArchiveServer(files) as server:
        yield server


SMALL = ("--valid-clips", 4, "--test-clips", 4)


def linked(sonatas: Path, folder: Path, names: dict[str, str]) -> Path:
    """Links to the sonatas of these items, under other names."""
    for item, name in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(sonatas / item / "sonata.ogg", folder / name)
    return folder


def test_music_from_a_folder_is_music_downloaded(archive, sonatas, tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    assert run("music", "--out", one, "--server", archive.url, *SMALL) == 0
    assert "samplernn check-data" in capsys.readouterr().out
    shapes = {split: clips.shape for split, clips in load(one).items()}
    assert shapes == {"train": (28, 128000), "valid": (4, 128000), "test": (4, 128000)}
    assert [source["path"] for source in made(one)["sources"]] == [f"{i}/sonata.ogg" for i in music.ITEMS]
    assert made(one)["missing"] == []
    assert archive.downloads()
    before = len(archive.requests)
    assert run("music", "--out", two, "--source", sonatas, *SMALL) == 0
    for name in ("manifest.json", "clips.csv", *(f"music_{split}.npy" for split in SPLITS)):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert run("music", "--out", one, "--source", one / "original", "--overwrite", *SMALL) == 0
    assert len(archive.requests) == before


def test_the_clips_of_the_published_era_overlap_by_seven_eighths(sonatas, tmp_path):
    words = ("--source", sonatas, "--stride", 1, "--legacy-count", *SMALL)
    assert run("music", "--out", tmp_path / "out", *words) == 0
    clips = in_order(tmp_path / "out")
    assert len(clips) == 32 * 9 // 8 - 1
    for before, after in zip(clips, clips[1:], strict=False):
        np.testing.assert_array_equal(before[SECOND:], after[:-SECOND])


def test_missing_sonatas_are_listed_and_may_be_allowed(archive, tmp_path, capsys):
    archive.fail(f"/metadata/{music.ITEMS[4]}", 404)
    archive.fail(f"/download/{music.ITEMS[9]}/sonata.ogg", 404)
    words = ("--out", tmp_path / "out", "--server", archive.url, *SMALL)
    error = refused(capsys, "music", *words)
    assert music.ITEMS[4] in error and music.ITEMS[9] in error and "--allow-missing" in error
    assert not list((tmp_path / "out").glob("*.npy"))
    assert run("music", *words, "--allow-missing") == 0
    manifest = made(tmp_path / "out")
    assert len(manifest["missing"]) == 2 and len(manifest["sources"]) == 30
    assert music.ITEMS[4] in capsys.readouterr().out


def test_all_recordings_in_one_folder_are_taken_by_name(sonatas, tmp_path, capsys):
    linked(sonatas, tmp_path / "in", {item: f"{31 - k:02}.ogg" for k, item in enumerate(music.ITEMS[:31])})
    words = ("--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL)
    assert "1 of 32 recordings" in refused(capsys, "music", *words)
    assert run("music", *words, "--allow-missing") == 0
    assert [source["path"] for source in made(tmp_path / "out")["sources"]] == [
        f"{k:02}.ogg" for k in range(1, 32)
    ]


def test_folders_of_items_may_lie_deeper_and_one_format_of_each_is_taken(sonatas, tmp_path):
    for name in ("a.ogg", "a.flac"):
        linked(sonatas, tmp_path / "in" / "sonatas", {item: f"{item}/disc 1/{name}" for item in music.ITEMS})
    assert run("music", "--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL) == 0
    manifest = made(tmp_path / "out")
    assert len(manifest["sources"]) == manifest["ignored_files"] == 32
    assert all(source["path"].endswith(".ogg") for source in manifest["sources"])


def test_a_folder_without_all_sonatas_is_refused(sonatas, tmp_path, capsys):
    words = ("--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL)
    linked(sonatas, tmp_path / "in", {item: f"{item}/sonata.ogg" for item in music.ITEMS[1:]})
    error = refused(capsys, "music", *words)
    assert "Missing" in error and music.ITEMS[0] in error
    half = (sonatas / music.ITEMS[0] / "sonata.ogg").read_bytes()[:30000]
    (tmp_path / "in" / music.ITEMS[0]).mkdir()
    (tmp_path / "in" / music.ITEMS[0] / "sonata.ogg").write_bytes(half)
    assert f"{music.ITEMS[0]}/sonata.ogg breaks off in its last page" in refused(capsys, "music", *words)
    for k in range(33):
        record(tmp_path / "takes" / f"take {k}.wav", 1, k)
    words = ("--source", tmp_path / "takes", *words[2:])
    assert "33 recordings and the set has 32" in refused(capsys, "music", *words)


def test_the_authors_files_are_imported(tmp_path, capsys):
    corpus = ROOT / "tests" / "golden" / "feeders" / "corpus" / "music"
    assert run("music", "--source", corpus, "--out", tmp_path / "out") == 0
    for split in SPLITS:
        own = tmp_path / "out" / f"music_{split}.npy"
        np.testing.assert_array_equal(np.load(own), np.load(corpus / own.name))
    manifest = made(tmp_path / "out")
    assert manifest["splits"]["train"]["clips"] == 24
    assert "music_train.npy" in capsys.readouterr().out
    assert "already" in refused(capsys, "music", "--source", corpus, "--out", tmp_path / "out")
    assert "choose another folder" in refused(
        capsys, "music", "--source", corpus, "--out", corpus, "--overwrite"
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [2**15, 2**31])
def test_files_of_others_in_the_range_of_integers_are_refused(tmp_path, capsys, scale):
    for split in SPLITS:
        np.save(tmp_path / f"music_{split}.npy", scale * np.eye(3, 100, dtype=np.float32))
    error = refused(capsys, "music", "--source", tmp_path, "--out", tmp_path / "out")
    assert f"reach {scale:,.6g}, and full scale is from -1 to 1: divide them" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "which, name", [("music", "music"), ("blizzard", "Blizzard9k"), ("huckleberry", "Huckleberry")]
)
def test_files_of_others_are_imported_by_their_name_alone(tmp_path, capsys, which, name):
    for split in SPLITS:
        np.save(tmp_path / f"{name}_{split}.npy", np.eye(3, 100, dtype=np.float32))
        np.save(tmp_path / f"other_{split}.npy", np.eye(3, 100, dtype=np.float32))
    words = ("--source", tmp_path, "--out", tmp_path / "out")
    assert "exactly one is needed" in refused(capsys, which, *words)
    for split in SPLITS:
        (tmp_path / f"other_{split}.npy").unlink()
    assert "--seed has no effect" in refused(capsys, which, *words, "--seed", 5)
    assert "--stride has no effect" in refused(capsys, which, *words, "--stride", 1)
    assert run(which, *words) == 0
    assert np.load(tmp_path / "out" / f"{name}_test.npy").dtype == np.float16
    (tmp_path / f"{name}_train.npy").rename(tmp_path / "x_train.npy")
    assert "No recordings" in refused(capsys, which, *words, "--overwrite")


def test_numbered_clips_keep_the_mirrors_order_and_splits(tmp_path, capsys, monkeypatch):
    assert music.mirror_sizes(4328) == (3808, 260, 260)  # where its users split it
    monkeypatch.setattr(music, "MIRROR_CLIPS", 100)
    for k in range(100):
        x = np.full(8 * SECOND, k * 100, np.int16)
        x[::2] += 1000
        os.makedirs(tmp_path / "in", exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{k}.flac", x, SECOND)
    words = ("--source", tmp_path / "in", "--out", tmp_path / "out")
    assert run("music", *words) == 0
    levels = [np.rint(own[:, 1].astype(float) * 327.68).tolist() for own in load(tmp_path / "out").values()]
    assert levels == [[*range(88)], [*range(88, 94)], [*range(94, 100)]]
    assert "--stride has no effect" in refused(capsys, "music", *words, "--overwrite", "--stride", 1)
    (tmp_path / "in" / "17.flac").unlink()
    assert "17" in refused(capsys, "music", *words, "--overwrite")
    record(tmp_path / "in" / "17.flac", 7.9)
    assert "17.flac is 7.9000 s long" in refused(capsys, "music", *words, "--overwrite")


@pytest.fixture
def chapters(tmp_path):
    """An unpacked archive: mp3 chapters under unsegmented, and another folder."""
    folder = tmp_path / "Lessac" / "train"
    for k in range(3):
        record(folder / "unsegmented" / f"book {k}" / "CA-01.mp3", 60, k, format="MP3")
    record(folder / "segmented" / "x.wav", 60, 9)
    return tmp_path / "Lessac"


def test_blizzard_takes_the_first_clips_of_the_unsegmented_chapters(chapters, tmp_path):
    words = ("--source", chapters, "--out", tmp_path / "out", "--unit", 1, "--clips", 10)
    assert run("blizzard", *words) == 0
    shapes = {split: clips.shape for split, clips in load(tmp_path / "out").items()}
    assert shapes == {"train": (8, 128000), "valid": (1, 128000), "test": (1, 128000)}
    manifest = made(tmp_path / "out")
    assert [source["path"] for source in manifest["sources"]] == ["book 0/CA-01.mp3", "book 1/CA-01.mp3"]
    assert (tmp_path / "out" / "Blizzard9k_train.npy").exists()


def test_blizzard_draws_clips_by_a_seed(chapters, tmp_path, capsys):
    assert "too few" in refused(capsys, "blizzard", "--source", chapters, "--out", tmp_path / "whole units")
    words = ("--source", chapters, "--unit", 1, "--clips", 10)
    assert run("blizzard", *words, "--out", tmp_path / "one", "--choose", 0) == 0
    assert run("blizzard", *words, "--out", tmp_path / "two", "--choose", 1) == 0
    one, two = (np.load(tmp_path / out / "Blizzard9k_train.npy") for out in ("one", "two"))
    assert len(one) == len(two) == 8 and not np.array_equal(one, two)
    assert len(made(tmp_path / "one")["sources"]) == 3


def test_blizzard_reads_the_wavs_of_the_segmented_release(tmp_path):
    x = [record(tmp_path / "wavn" / f"CB-{k}.wav", 30, k) for k in range(2)]
    assert run("blizzard", "--source", tmp_path / "wavn", "--out", tmp_path / "out", "--unit", 1) == 0
    np.testing.assert_array_equal(
        in_order(tmp_path / "out"), np.concatenate(x)[: 7 * 128000].reshape(7, 128000)
    )


def test_blizzard_prints_where_to_register(tmp_path, capsys):
    for words in (("--out", tmp_path / "out"), ("--out", tmp_path / "out", "--source", tmp_path / "gone")):
        error = refused(capsys, "blizzard", *words)
        assert "Register" in error and "University of Edinburgh" in error and "unsegmented" in error
    assert not (tmp_path / "out").exists()


def test_onomatopoeia_keeps_each_recordings_length_and_holds_out_the_last(tmp_path):
    names = [f"actor {k // 10}/{k:02} ügh.wav" for k in range(50)]
    x = [record(tmp_path / "in" / name, 1 + k / 10, k) for k, name in enumerate(names)]
    record(tmp_path / "in" / "short.wav", 0.9)
    record(tmp_path / "in" / "z long.wav", 11.1)
    assert run("onomatopoeia", "--source", tmp_path / "in", "--out", tmp_path / "out") == 0
    made = load(tmp_path / "out")
    assert all(isinstance(clips, Ragged) for clips in made.values())
    train = x[:46]
    shuffle.shuffle(train)
    for clips, own in ((made["train"], train), (made["valid"], x[46:48]), (made["test"], x[48:])):
        assert [len(clip) for clip in clips] == [len(sound) for sound in own]
        for clip, expected in zip(clips, own, strict=True):
            np.testing.assert_array_equal(clip, expected)
    fed = list(minibatches.minibatches(made["valid"], 2, 1024, 8, 256))
    assert len(fed) == -(-len(x[47]) // 1024)
    assert fed[-1].mask[:, 8:].sum() == len(x[47]) % 1024


def test_huckleberry_takes_as_much_of_each_reader(tmp_path):
    record(tmp_path / "in" / "he" / "01.mp3", 100, 1, format="MP3")
    record(tmp_path / "in" / "she" / "01.mp3", 70, 2, format="MP3")
    assert run("huckleberry", "--source", tmp_path / "in", "--out", tmp_path / "out", "--unit", 2) == 0
    manifest = made(tmp_path / "out")
    counts = [split["speakers"] for split in manifest["splits"].values()]
    assert [sum(count.get(name, 0) for count in counts) for name in ("he", "she")] == [8, 8]
    assert [source["speaker"] for source in manifest["sources"]] == ["he", "she"]


def test_huckleberry_downloads_one_format_of_two_items(tmp_path, capsys):
    files = {}
    for k, item in enumerate(("huck_one", "huck_two")):
        record(tmp_path / f"{k}.mp3", 70, k, format="MP3")
        sound = (tmp_path / f"{k}.mp3").read_bytes()
        files[item] = {"01.mp3": sound + b"x", "01_64kb.mp3": sound, "01.txt": b"words"}
    with ArchiveServer(files) as server:
        words = ("--out", tmp_path / "out", "--unit", 1, "--server", server.url)
        assert run("huckleberry", *words, "--items", *files) == 0
        again = (*words, "--overwrite", "--items", "huck_one")
        assert "nobody" in refused(capsys, "huckleberry", *again, "nobody")
        assert "name one for each reader" in refused(capsys, "huckleberry", *again)
    manifest = made(tmp_path / "out")
    assert [source["path"] for source in manifest["sources"]] == [
        "huck_one/01_64kb.mp3",
        "huck_two/01_64kb.mp3",
    ]


@pytest.mark.parametrize(
    "name, recordings, words",
    [
        ("music", [], ["--source", ROOT / "tests" / "golden" / "feeders" / "corpus" / "music"]),
        ("blizzard", ["01.wav"], ["--unit", "1"]),
        ("onomatopoeia", ["a.wav", "b.wav", "c.wav"], ["--longest", "40"]),
        ("huckleberry", ["he/01.wav", "she/01.wav"], ["--unit", "1"]),
        (
            "speech",
            ["en_US_f_Allison/a.wav", "es_MX_f_Allison/a.wav"],
            ["--valid-clips", "1", "--test-clips", "1"],
        ),
        ("demo", [], ["--voices"]),
    ],
)
def test_a_script_makes_the_set_that_the_command_makes(
    name, recordings, words, tmp_path, monkeypatch, capsys
):
    for seed, recording in enumerate(recordings):
        record(tmp_path / "in" / recording, 26, seed)
    words = [*map(str, words), *(["--source", str(tmp_path / "in")] if recordings else [])]
    path = ROOT / "datasets" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--out", str(tmp_path / "one"), *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out.replace("/one", "/two")
    assert main(["data", name, "--out", str(tmp_path / "two"), *words]) == end.value.code == 0
    assert capsys.readouterr().out == printed != ""
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert "manifest.json" in files and files == sorted(file.name for file in (tmp_path / "two").iterdir())
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_folder_is_prepare(tmp_path):
    record(tmp_path / "in" / "a b.wav", 3)
    words = [tmp_path / "in", "--out", tmp_path / "out", "--clip-seconds", "0.1"]
    command = [sys.executable, str(ROOT / "datasets" / "folder.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "30 clips of 0.1 s" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "--overwrite" in again.stderr and again.stderr.count("\n") == 1
