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
from samplernn_theano.data.dataset import SPLITS, Ragged, load_split
from samplernn_theano.data.prepare import original_order
from samplernn_theano.data.sets import blizzard, huckleberry, music, onomatopoeia
from samplernn_theano.original import shuffle
from tests.data.archive_server import ArchiveServer

ROOT = Path(__file__).parents[2]
SECOND = 16000


def run(module, *words) -> int:
    """`samplernn data SET` with the set of this module."""
    return main(["data", module.__name__.rpartition(".")[2], *map(str, words)])


def refused(capsys, module, *words) -> str:
    """The error of a command that must fail."""
    assert run(module, *words) == 2
    return capsys.readouterr().err


def sound(seconds: float, seed: int) -> np.ndarray:
    """Noise as 16-bit samples."""
    return np.random.default_rng(seed).integers(-9000, 9000, round(seconds * SECOND)).astype(np.int16)


def record(path: Path, seconds: float, seed: int = 0, **options) -> np.ndarray:
    """Write noise; return it as a data set holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = sound(seconds, seed)
    soundfile.write(path, samples, SECOND, **options)
    return (samples / 32768).astype(np.float16)


def splits(out: Path) -> dict[str, np.ndarray]:
    return {split: load_split(out, split) for split in SPLITS}


def in_order(out: Path) -> np.ndarray:
    """All clips of a set in the order before the shuffle; no clip may be left out."""
    together = np.concatenate(list(splits(out).values()))
    return together[np.argsort(original_order(len(together)))]


# --- Music


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


def test_there_are_32_sonatas_each_once():
    assert len(set(music.ITEMS)) == 32
    assert music.ITEMS[0] == "BeethovenPianoSonataNo.1" and music.ITEMS[31] == "BeethovenPianoSonataNo.32"
    assert music.ITEMS[12:17] == [
        "BeethovenPianoSonata13",
        "BeethovenPianoSonataNo.14moonlight",
        "BeethovenPianoSonata15",
        "BeethovenPianoSonata16",
        "BeethovenPianoSonata17",
    ]
    assert music.ITEMS[20:22] == ["BeethovenPianoSonataNo.21Waldstein", "BeethovenPianoSonata22"]


SMALL = ("--valid-clips", 4, "--test-clips", 4)


def test_music_is_downloaded_and_built(archive, tmp_path, capsys):
    assert run(music, "--out", tmp_path / "out", "--server", archive.url, *SMALL) == 0
    assert {split: clips.shape for split, clips in splits(tmp_path / "out").items()} == {
        "train": (28, 128000),
        "valid": (4, 128000),
        "test": (4, 128000),
    }
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["path"] for source in manifest["sources"]] == [
        f"{item}/sonata.ogg" for item in music.ITEMS
    ]
    assert manifest["missing"] == []
    assert "samplernn check-data" in capsys.readouterr().out


def test_music_from_a_folder_is_music_downloaded(archive, sonatas, tmp_path):
    assert run(music, "--out", tmp_path / "one", "--server", archive.url, *SMALL) == 0
    assert run(music, "--out", tmp_path / "two", "--source", sonatas, *SMALL) == 0
    for name in ("manifest.json", "clips.csv", *(f"music_{split}.npy" for split in SPLITS)):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert archive.downloads()  # by the first run, not by the second
    before = len(archive.requests)
    assert (
        run(
            music, "--out", tmp_path / "one", "--source", tmp_path / "one" / "original", "--overwrite", *SMALL
        )
        == 0
    )
    assert len(archive.requests) == before


def test_the_clips_of_the_published_era_overlap_by_seven_eighths(sonatas, tmp_path):
    words = ("--source", sonatas, "--stride", 1, "--legacy-count", *SMALL)
    assert run(music, "--out", tmp_path / "out", *words) == 0
    clips = in_order(tmp_path / "out")
    assert len(clips) == 32 * 9 // 8 - 1
    for before, after in zip(clips, clips[1:], strict=False):
        np.testing.assert_array_equal(before[SECOND:], after[:-SECOND])


def test_missing_sonatas_are_listed_and_may_be_allowed(archive, tmp_path, capsys):
    archive.fail(f"/metadata/{music.ITEMS[4]}", 404)
    archive.fail(f"/download/{music.ITEMS[9]}/sonata.ogg", 404)
    words = ("--out", tmp_path / "out", "--server", archive.url, *SMALL)
    error = refused(capsys, music, *words)
    assert music.ITEMS[4] in error and music.ITEMS[9] in error and "--allow-missing" in error
    assert not list((tmp_path / "out").glob("*.npy"))
    assert run(music, *words, "--allow-missing") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["missing"]) == 2 and len(manifest["sources"]) == 30
    assert music.ITEMS[4] in capsys.readouterr().out


def test_a_folder_that_lacks_sonatas_is_refused(sonatas, tmp_path, capsys):
    for item in music.ITEMS[1:]:
        os.makedirs(tmp_path / "in" / item)
        os.link(sonatas / item / "sonata.ogg", tmp_path / "in" / item / "sonata.ogg")
    error = refused(capsys, music, "--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL)
    assert "Missing" in error and music.ITEMS[0] in error


def test_all_recordings_in_one_folder_are_taken_by_name(sonatas, tmp_path, capsys):
    for k, item in enumerate(music.ITEMS[:31]):
        os.makedirs(tmp_path / "in", exist_ok=True)
        os.link(sonatas / item / "sonata.ogg", tmp_path / "in" / f"{31 - k:02}.ogg")
    words = ("--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL)
    assert "1 of 32 recordings" in refused(capsys, music, *words)
    assert run(music, *words, "--allow-missing") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["path"] for source in manifest["sources"]] == [f"{k:02}.ogg" for k in range(1, 32)]


def test_folders_of_items_may_lie_deeper(sonatas, tmp_path):
    for item in music.ITEMS:
        for name in ("a.ogg", "a.flac"):
            os.makedirs(tmp_path / "in" / "sonatas" / item / "disc 1", exist_ok=True)
            os.link(sonatas / item / "sonata.ogg", tmp_path / "in" / "sonatas" / item / "disc 1" / name)
    assert run(music, "--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["sources"]) == 32
    assert all(source["path"].endswith(".ogg") for source in manifest["sources"])


def test_more_recordings_than_sonatas_are_refused(tmp_path, capsys):
    for k in range(33):
        record(tmp_path / "in" / f"take {k}.wav", 1, k)
    error = refused(capsys, music, "--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL)
    assert "33 recordings and the set has 32" in error


def test_an_archive_without_the_items(tmp_path, capsys):
    with ArchiveServer({}) as server:
        words = ("--out", tmp_path / "out", "--server", server.url, "--allow-missing")
        error = refused(capsys, music, *words)
    assert "none of the items" in error and music.ITEMS[0] in error


def test_one_format_of_each_item_is_taken(sonatas, tmp_path):
    for item in music.ITEMS:
        os.makedirs(tmp_path / "in" / item)
        os.link(sonatas / item / "sonata.ogg", tmp_path / "in" / item / "sonata.ogg")
    record(tmp_path / "in" / music.ITEMS[0] / "sonata.wav", 9)
    assert run(music, "--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["sources"]) == 32 and manifest["ignored_files"] == 1


def test_a_damaged_sonata_stops_the_set(sonatas, tmp_path, capsys):
    for item in music.ITEMS:
        os.makedirs(tmp_path / "in" / item)
        os.link(sonatas / item / "sonata.ogg", tmp_path / "in" / item / "sonata.ogg")
    damaged = tmp_path / "in" / music.ITEMS[7] / "sonata.ogg"
    half = damaged.read_bytes()[:30000]
    damaged.unlink()
    damaged.write_bytes(half)
    error = refused(capsys, music, "--source", tmp_path / "in", "--out", tmp_path / "out", *SMALL)
    assert f"{music.ITEMS[7]}/sonata.ogg ends early" in error


def test_the_authors_files_are_imported(tmp_path, capsys):
    corpus = ROOT / "tests" / "golden" / "feeders" / "corpus" / "music"
    assert run(music, "--source", corpus, "--out", tmp_path / "out") == 0
    for split in SPLITS:
        own = tmp_path / "out" / f"music_{split}.npy"
        np.testing.assert_array_equal(np.load(own), np.load(corpus / own.name))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["splits"]["train"]["clips"] == 24
    assert "music_train.npy" in capsys.readouterr().out
    assert "already" in refused(capsys, music, "--source", corpus, "--out", tmp_path / "out")
    assert "choose another folder" in refused(
        capsys, music, "--source", corpus, "--out", corpus, "--overwrite"
    )


@pytest.mark.parametrize(
    "module, name", [(music, "music"), (blizzard, "Blizzard9k"), (huckleberry, "Huckleberry")]
)
def test_files_of_others_are_imported_by_their_name_alone(tmp_path, capsys, module, name):
    for split in SPLITS:
        np.save(tmp_path / f"{name}_{split}.npy", np.eye(3, 100, dtype=np.float32))
        np.save(tmp_path / f"other_{split}.npy", np.eye(3, 100, dtype=np.float32))
    words = ("--source", tmp_path, "--out", tmp_path / "out")
    assert "exactly one is needed" in refused(capsys, module, *words)
    for split in SPLITS:
        (tmp_path / f"other_{split}.npy").unlink()
    assert "--seed has no effect" in refused(capsys, module, *words, "--seed", 5)
    assert "--stride has no effect" in refused(capsys, module, *words, "--stride", 1)
    assert run(module, *words) == 0
    assert np.load(tmp_path / "out" / f"{name}_test.npy").dtype == np.float16
    (tmp_path / f"{name}_train.npy").rename(tmp_path / "x_train.npy")
    assert "No recordings" in refused(capsys, module, *words, "--overwrite")


def test_numbered_clips_keep_the_mirrors_order_and_splits(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(music, "MIRROR_CLIPS", 100)
    for k in range(100):
        x = np.full(8 * SECOND, k * 100, np.int16)
        x[::2] += 1000
        os.makedirs(tmp_path / "in", exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{k}.flac", x, SECOND)
    words = ("--source", tmp_path / "in", "--out", tmp_path / "out")
    assert run(music, *words) == 0
    levels = {
        split: np.rint(clips[:, 1].astype(float) * 327.68)
        for split, clips in splits(tmp_path / "out").items()
    }
    assert {split: own.tolist() for split, own in levels.items()} == {
        "train": list(range(88)),
        "valid": list(range(88, 94)),
        "test": list(range(94, 100)),
    }
    assert "--stride has no effect" in refused(capsys, music, *words, "--overwrite", "--stride", 1)
    (tmp_path / "in" / "17.flac").unlink()
    assert "17" in refused(capsys, music, *words, "--overwrite")
    record(tmp_path / "in" / "17.flac", 7.9)
    assert "17.flac is 7.9000 s long" in refused(capsys, music, *words, "--overwrite")


def test_the_mirror_is_split_where_its_users_split_it():
    assert music.mirror_sizes(4328) == (3808, 260, 260)


# --- Blizzard


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
    assert run(blizzard, *words) == 0
    shapes = {split: clips.shape for split, clips in splits(tmp_path / "out").items()}
    assert shapes == {"train": (8, 128000), "valid": (1, 128000), "test": (1, 128000)}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["path"] for source in manifest["sources"]] == ["book 0/CA-01.mp3", "book 1/CA-01.mp3"]
    assert (tmp_path / "out" / "Blizzard9k_train.npy").exists()


def test_blizzard_draws_clips_by_a_seed(chapters, tmp_path):
    words = ("--source", chapters, "--unit", 1, "--clips", 10)
    assert run(blizzard, *words, "--out", tmp_path / "one", "--choose", 0) == 0
    assert run(blizzard, *words, "--out", tmp_path / "two", "--choose", 1) == 0
    one, two = (np.load(tmp_path / out / "Blizzard9k_train.npy") for out in ("one", "two"))
    assert len(one) == len(two) == 8 and not np.array_equal(one, two)
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert len(manifest["sources"]) == 3


def test_blizzard_reads_the_wavs_of_the_segmented_release(tmp_path):
    x = [record(tmp_path / "wavn" / f"CB-{k}.wav", 30, k) for k in range(2)]
    assert run(blizzard, "--source", tmp_path / "wavn", "--out", tmp_path / "out", "--unit", 1) == 0
    np.testing.assert_array_equal(
        in_order(tmp_path / "out"), np.concatenate(x)[: 7 * 128000].reshape(7, 128000)
    )


def test_blizzard_prints_where_to_register(tmp_path, capsys):
    for words in (("--out", tmp_path / "out"), ("--out", tmp_path / "out", "--source", tmp_path / "gone")):
        error = refused(capsys, blizzard, *words)
        assert "Register" in error and "University of Edinburgh" in error and "unsegmented" in error
    assert not (tmp_path / "out").exists()


def test_too_few_chapters_for_whole_units(chapters, tmp_path, capsys):
    assert "too few" in refused(capsys, blizzard, "--source", chapters, "--out", tmp_path / "out")


# --- Onomatopoeia


def test_onomatopoeia_keeps_each_recordings_length_and_holds_out_the_last(tmp_path):
    names = [f"actor {k // 10}/{k:02} ügh.wav" for k in range(50)]
    x = [record(tmp_path / "in" / name, 1 + k / 10, k) for k, name in enumerate(names)]
    record(tmp_path / "in" / "short.wav", 0.9)
    record(tmp_path / "in" / "z long.wav", 11.1)
    assert run(onomatopoeia, "--source", tmp_path / "in", "--out", tmp_path / "out") == 0
    made = splits(tmp_path / "out")
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


# --- Huckleberry Finn


def test_huckleberry_takes_as_much_of_each_reader(tmp_path):
    record(tmp_path / "in" / "he" / "01.mp3", 100, 1, format="MP3")
    record(tmp_path / "in" / "she" / "01.mp3", 70, 2, format="MP3")
    assert run(huckleberry, "--source", tmp_path / "in", "--out", tmp_path / "out", "--unit", 2) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
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
        assert run(huckleberry, *words, "--items", *files) == 0
        assert "nobody" in refused(
            capsys, huckleberry, *words, "--overwrite", "--items", "huck_one", "nobody"
        )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["path"] for source in manifest["sources"]] == [
        "huck_one/01_64kb.mp3",
        "huck_two/01_64kb.mp3",
    ]


# --- scripts


@pytest.mark.parametrize(
    "name, recordings, words",
    [
        ("music", [], ["--source", ROOT / "tests" / "golden" / "feeders" / "corpus" / "music"]),
        ("blizzard", ["01.wav"], ["--unit", "1"]),
        ("onomatopoeia", ["a.wav", "b.wav", "c.wav"], ["--longest", "40"]),
        ("huckleberry", ["he/01.wav", "she/01.wav"], ["--unit", "1"]),
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


@pytest.mark.parametrize("name", ["music", "blizzard", "onomatopoeia", "huckleberry", "folder", "demo"])
def test_each_script_has_a_help_text(name):
    done = subprocess.run(
        [sys.executable, ROOT / "datasets" / f"{name}.py", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--out" in done.stdout


def test_folder_is_prepare(tmp_path):
    record(tmp_path / "in" / "a b.wav", 3)
    words = [tmp_path / "in", "--out", tmp_path / "out", "--clip-seconds", "0.1"]
    command = [sys.executable, str(ROOT / "datasets" / "folder.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "30 clips of 0.1 s" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "--overwrite" in again.stderr and again.stderr.count("\n") == 1
