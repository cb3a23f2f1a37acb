"""Recipes: stride, count, choice, speakers, variable length, order, strictness; resuming."""

import csv
import hashlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplernn_theano.cli.main import main
from samplernn_theano.data import audio, recordings, set_folder
from samplernn_theano.data import prepare as module
from samplernn_theano.data.dataset import Ragged, load_split
from samplernn_theano.data.manifest import describe
from samplernn_theano.data.recipes import Recipe, by_counts, by_fractions, by_units
from samplernn_theano.data.sets import demo
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.original import shuffle
from tests.conftest import wait_until
from tests.data.sets_of_noise import SECOND, SPLITS, build, in_order, load, record


def test_clips_may_begin_before_the_last_one_ends(tmp_path):
    x = np.concatenate([record(tmp_path / "in" / f"{k}.wav", 0.0333, k) for k in range(3)])
    build(tmp_path / "in", tmp_path / "out", stride_seconds=0.0025)
    clips = in_order(tmp_path / "out")
    assert len(clips) == (len(x) - 160) // 40 + 1
    for i, clip in enumerate(clips):
        np.testing.assert_array_equal(clip, x[40 * i : 40 * i + 160])


@pytest.mark.parametrize(
    "seconds, stride, count", [(100.9, 1.0, 11), (100.9, 8.0, 11), (104.0, 8.0, 12), (39.9, 1.0, 3)]
)
def test_the_published_eras_count_is_the_originals(tmp_path, seconds, stride, count):
    """Quirk: whole seconds // 8 - 1 clips; at a stride of 1 s the last seven eighths go unused."""
    x = record(tmp_path / "in" / "a.wav", seconds)
    options = {"clip_seconds": 8.0, "stride_seconds": stride, "sizes": by_counts(1, 1)}
    manifest = build(tmp_path / "in", tmp_path / "out", legacy_count=True, **options)
    clips = in_order(tmp_path / "out")
    assert len(clips) == count
    for i, clip in enumerate(clips):
        np.testing.assert_array_equal(clip, x[round(i * stride * SECOND) :][: 8 * SECOND])
    unused = seconds - (count - 1) * stride - 8
    assert manifest["rest_seconds"] == pytest.approx(unused)
    assert ("The clips overlap: each begins 1 s" in describe(manifest)) == (stride == 1)
    assert f"not used: {unused:.2f} s" in describe(manifest)


def test_the_first_clips_are_taken_and_no_more_is_read(tmp_path):
    x = [record(tmp_path / "in" / f"{k}.wav", 0.05, k) for k in range(9)]
    manifest = build(tmp_path / "in", tmp_path / "out", max_clips=7)
    np.testing.assert_array_equal(in_order(tmp_path / "out"), np.concatenate(x[:2]).reshape(-1, 160)[:7])
    assert [source["path"] for source in manifest["sources"]] == ["0.wav", "1.wav"]
    assert manifest["recordings_not_needed"] == 7
    assert "not needed, not read: 7" in describe(manifest) and "Fewer" not in describe(manifest)
    few = build(tmp_path / "in", tmp_path / "few", max_clips=60)
    assert "Fewer clips than the 60 of --clips" in describe(few)


def test_a_seed_draws_clips_among_all(tmp_path):
    x = np.concatenate([record(tmp_path / "in" / f"{k}.wav", 0.1, k) for k in range(9)]).reshape(-1, 160)
    taken = []
    for seed in (0, 0, 1):
        out = tmp_path / f"out{len(taken)}"
        build(tmp_path / "in", out, max_clips=30, choice_seed=seed)
        clips = in_order(out)
        rows = [int(np.flatnonzero((x == clip).all(axis=1))[0]) for clip in clips]
        assert rows == sorted(set(rows)) and len(rows) == 30
        taken.append(rows)
    assert taken[0] == taken[1] != taken[2]
    assert max(taken[0]) > 60


@given(st.integers(1, 200), st.integers(1, 64))
def test_units_stay_whole(units, unit):
    assert by_units()(10752) == (9216, 768, 768) and by_counts(256, 256)(4340) == (3828, 256, 256)
    sizes = by_units(unit)(units * unit + unit - 1)
    if units >= 3:
        assert sum(sizes) == units * unit and min(sizes) > 0
        assert all(size % unit == 0 for size in sizes) and sizes.valid == sizes.test
    else:
        assert min(sizes) <= 0


def two_speakers(folder: Path) -> dict[str, np.ndarray]:
    """Two speakers of 0.35 and 0.25 s, each in two recordings."""
    return {
        name: np.concatenate(
            [record(folder / name / f"{k}.wav", part, seed + k) for k, part in enumerate(parts)]
        )
        for seed, (name, parts) in enumerate({"ann": (0.3, 0.05), "bob b.": (0.123, 0.127)}.items(), start=10)
    }


def test_no_clip_holds_two_speakers(tmp_path):
    x = two_speakers(tmp_path / "in")
    manifest = build(tmp_path / "in", tmp_path / "out", by_speaker=True)
    expected = np.concatenate([own[: len(own) // 160 * 160].reshape(-1, 160) for own in x.values()])
    np.testing.assert_array_equal(in_order(tmp_path / "out"), expected)
    assert [source["speaker"] for source in manifest["sources"]] == ["ann", "ann", "bob b.", "bob b."]
    counts = [split["speakers"] for split in manifest["splits"].values()]
    assert sum(count.get("ann", 0) for count in counts) == 35
    assert sum(count.get("bob b.", 0) for count in counts) == 25
    with open(tmp_path / "out" / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    clips = load(tmp_path / "out")
    for row in rows:
        name, seconds = row["recording"], float(row["begins_at_s"])
        assert name.startswith(row["speaker"] + "/")
        sound = audio.read(tmp_path / "in" / name).samples[round(seconds * SECOND) :][:160]
        clip = clips[row["split"]][int(row["clip"])]
        np.testing.assert_array_equal(clip[: len(sound)], sound.astype(np.float16))


@pytest.mark.parametrize("most, each", [(None, 25), (21, 10)])
def test_as_many_clips_of_each_speaker(tmp_path, most, each):
    two_speakers(tmp_path / "in")
    manifest = build(tmp_path / "in", tmp_path / "out", by_speaker=True, balanced=True, max_clips=most)
    counts = [split["speakers"] for split in manifest["splits"].values()]
    assert [sum(count.get(name, 0) for count in counts) for name in ("ann", "bob b.")] == [each, each]


def test_speakers_need_a_folder_each_and_a_whole_clip(tmp_path):
    record(tmp_path / "in" / "ann" / "a.wav", 0.009)
    with pytest.raises(DataError, match="one sub-folder .ann."):
        build(tmp_path / "in", tmp_path / "out", by_speaker=True)
    record(tmp_path / "in" / "bob" / "a.wav", 0.009, 1)
    with pytest.raises(DataError, match="0 clips of 0.01 s: too few"):
        build(tmp_path / "in", tmp_path / "out", by_speaker=True, balanced=True, max_clips=10)
    record(tmp_path / "in" / "b.wav", 1)
    with pytest.raises(DataError, match=r"b\.wav lies in no sub-folder"):
        build(tmp_path / "in", tmp_path / "out", by_speaker=True)


def test_each_recording_is_a_clip_of_its_own_length(tmp_path):
    lengths = {f"s{k % 2}/{k:02}.wav": (100 + 17 * k) / SECOND for k in range(30)}
    x = [record(tmp_path / "in" / name, lengths[name], k) for k, name in enumerate(sorted(lengths))]
    options = {"variable_length": True, "sizes": by_fractions(0.1, 0.1), "order": "shuffled train"}
    manifest = build(tmp_path / "in", tmp_path / "out", **options)
    assert manifest["layout"] == "ragged"
    splits = {split: load_split(tmp_path / "out", split) for split in SPLITS}
    assert all(isinstance(clips, Ragged) for clips in splits.values())
    expected = {"valid": x[24:27], "test": x[27:]}
    train = x[:24]
    shuffle.shuffle(train)
    for split, own in (expected | {"train": train}).items():
        assert len(splits[split]) == len(own)
        for clip, sound in zip(splits[split], own, strict=True):
            np.testing.assert_array_equal(clip, sound)
    assert manifest["splits"]["test"]["speakers"] == {"s1": 3}
    assert "30 clips of 0.01 to 0.04 s" in describe(manifest)


def test_recordings_that_are_too_short_or_too_long_are_left_out_and_listed(tmp_path):
    for k, seconds in enumerate([0.02, 0.01, 0.02, 0.03, 0.02, 0.05]):
        record(tmp_path / "in" / f"{k}.wav", seconds, k)
    options = {"variable_length": True, "shortest": 0.015, "longest": 0.03}
    report = describe(build(tmp_path / "in", tmp_path / "out", **options))
    assert "4 clips of 0.02 to 0.03 s" in report
    omitted = report.split("Left out: 2")[1]
    assert "1.wav is 0.01 s long; --shortest 0.015" in omitted
    assert "5.wav is 0.05 s long; --longest 0.03" in omitted


def write_words(folder):
    (folder / "3.wav").write_text("words")


@pytest.mark.parametrize(
    "spoil, options, message",
    [
        (write_words, {}, r"3\.wav cannot be decoded"),
        (lambda folder: (folder / "b").symlink_to(folder), {}, "b: a link to a folder"),
        (
            lambda folder: record(folder / "3.wav", 0.011, 3),
            {"one_clip_each": True},
            r"3\.wav is 0\.0110 s long and not a clip of 0\.01 s",
        ),
    ],
)
def test_a_strict_set_is_not_made_without_a_recording_or_folder(tmp_path, spoil, options, message):
    for k in range(5):
        record(tmp_path / "in" / f"{k}.wav", 0.01, k)
    spoil(tmp_path / "in")
    with pytest.raises(DataError, match=message) as caught:
        build(tmp_path / "in", tmp_path / "out", strict=True, **options)
    assert "--allow-missing" in str(caught.value)
    assert list((tmp_path / "out").glob("*.npy")) == []
    manifest = build(tmp_path / "in", tmp_path / "out", strict=False, **options)
    damaged = ["3.wav"] if "3" in message else []
    assert [s["path"] for s in manifest["sources"] if s["status"] != "used"] == damaged


def test_low_rates_are_refused_unless_allowed(tmp_path):
    record(tmp_path / "in" / "a.wav", 0.1)
    record(tmp_path / "in" / "phone.wav", 0.1, rate=8000)
    manifest = build(tmp_path / "in", tmp_path / "out")
    assert "phone.wav was recorded at 8000 Hz" in describe(manifest)
    assert "--allow-upsampling" in describe(manifest)
    assert sum(split["clips"] for split in manifest["splits"].values()) == 10
    allowed = build(tmp_path / "in", tmp_path / "all", allow_upsampling=True)
    assert sum(split["clips"] for split in allowed["splits"].values()) == 20
    assert "phone.wav" in describe(allowed).split("lack high frequencies")[1]


def test_what_was_decoded_is_not_decoded_again(tmp_path, monkeypatch):
    for k in range(6):
        record(tmp_path / "in" / f"{k}.wav", 0.1, k)
    build(tmp_path / "in", tmp_path / "whole")
    read, done = audio.read, []

    def read_until_stopped(path, note):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(Path(path).name)
        return read(path, note=note)

    monkeypatch.setattr(recordings, "MAX_PARALLEL", 1)
    monkeypatch.setattr(audio, "read", read_until_stopped)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".building"]
    monkeypatch.setattr(audio, "read", lambda path, note: done.append(Path(path).name) or read(path))
    record(tmp_path / "in" / "1.wav", 0.1, 1)
    os.utime(tmp_path / "in" / "1.wav", ns=(0, 0))  # changed since: decoded again
    shutil.copy2(tmp_path / "in" / "2.wav", tmp_path / "new")  # of the same size and time
    os.replace(tmp_path / "new", tmp_path / "in" / "2.wav")
    content, times = (path := tmp_path / "in" / "3.wav").read_bytes(), path.stat()
    path.write_bytes(content)  # in place
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    build(tmp_path / "in", tmp_path / "out")
    assert done == [f"{i}.wav" for i in (0, 1, 2, 3, 1, 2, 3, 4, 5)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_sound_of_another_folder_is_not_taken_for_this_one(tmp_path):
    for folder, seed in (("one", 0), ("two", 10)):
        for k in range(3):
            record(tmp_path / folder / f"{k}.wav", 0.1, seed + k)
            os.utime(tmp_path / folder / f"{k}.wav", ns=(0, 0))
    (tmp_path / "one" / "bad.wav").write_text("words")
    with pytest.raises(DataError):
        build(tmp_path / "one", tmp_path / "out", strict=True)
    build(tmp_path / "two", tmp_path / "out")
    build(tmp_path / "two", tmp_path / "alone")
    np.testing.assert_array_equal(in_order(tmp_path / "out"), in_order(tmp_path / "alone"))


def test_more_recordings_than_files_may_be_open(tmp_path):
    for k in range(150):
        record(tmp_path / "in" / f"{k}.wav", 0.011, k)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, hard))
    try:
        for out, ragged in (("fixed", False), ("ragged", True)):
            manifest = build(tmp_path / "in", tmp_path / out, variable_length=ragged)
            assert sum(split["clips"] for split in manifest["splits"].values()) >= 150
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("renames", range(5))
def test_a_crash_while_a_set_is_replaced_never_leaves_a_mixture(tmp_path, monkeypatch, renames):
    record(tmp_path / "old" / "a.wav", 0.5, 0)
    record(tmp_path / "new" / "a.wav", 0.5, 1)
    out = tmp_path / "out"
    recipe = Recipe(set="test", name="clips", clip_seconds=0.01, sizes=by_fractions(0.1, 0.1))
    module.build(recordings.find(tmp_path / "old"), out, recipe, progress=False)
    replace, done = set_folder.atomic_replace, []

    def replace_until_stopped(source, path):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(path)
        replace(source, path)

    monkeypatch.setattr(set_folder, "atomic_replace", replace_until_stopped)
    with pytest.raises(KeyboardInterrupt):
        module.build(recordings.find(tmp_path / "new"), out, recipe, overwrite=True, progress=False)
    monkeypatch.undo()
    assert not (out / "manifest.json").exists()
    left = [split for split in SPLITS if (out / f"clips_{split}.npy").exists()]
    assert left == list(SPLITS)[:renames]
    made = module.build(recordings.find(tmp_path / "new"), tmp_path / "whole", recipe, progress=False)
    for split in left:
        path = out / f"clips_{split}.npy"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == made["splits"][split]["sha256"]
    module.build(recordings.find(tmp_path / "new"), out, recipe, overwrite=True, progress=False)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )


def test_other_files_are_not_replaced_without_overwrite(tmp_path):
    record(tmp_path / "in" / "a.wav", 0.5)
    (tmp_path / "in" / "clips.csv").write_text("mine")
    with pytest.raises(DataError, match=r"clips\.csv.*--overwrite"):
        build(tmp_path / "in", tmp_path / "in")
    assert (tmp_path / "in" / "clips.csv").read_text() == "mine"


def test_a_disk_that_is_full_while_decoding(tmp_path):
    record(tmp_path / "in" / "a.wav", 30)
    limit = "import resource, signal, sys; from samplernn_theano.cli.main import main; "
    limit += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", limit, "prepare", tmp_path / "in", "--out", tmp_path / "out"]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Could not write" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*"))


def test_a_decoded_file_cut_short_by_a_power_failure_is_made_again(tmp_path):
    record(tmp_path / "in" / "a.wav", 0.1)
    (recording,) = recordings.find(tmp_path / "in").recordings
    work = tmp_path / "work"
    work.mkdir()

    def decoded():
        sound = recordings.decode(recording, work, False)[1]
        return sound.read(0, sound.length)

    samples = decoded()
    assert len(samples) == 1600
    for path in (*work.glob("*.npy"), *work.glob("*.json")):
        path.write_bytes(b"")
        np.testing.assert_array_equal(decoded(), samples)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_process_leaves_no_set_and_the_next_one_resumes(tmp_path, number, code):
    for k in range(3):
        record(tmp_path / "in" / f"{k}.flac", 30, k)
    words = ["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    slow = "import sys, time; from samplernn_theano.cli.main import main; "
    slow += "from samplernn_theano.data import audio, recordings; read = audio.read; "
    slow += "recordings.MAX_PARALLEL = 1; audio.read = lambda path, note: (time.sleep(1), read(path))[1]; "
    slow += "sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", slow, *words], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(tmp_path.glob("out/.building/*.json")))
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".building"]
    if number != signal.SIGKILL:
        assert "run again to resume from there" in stderr and "Traceback" not in stderr
    assert main(words) == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["splits"]["train"]["clips"] == 9
    assert not (tmp_path / "out" / ".building").exists()


def killed_before(number: int, folder: Path, words: list[str]) -> bool:
    """Run a command in another process, killed before its operation `number` on files in `folder`."""
    process = os.fork()
    if not process:
        operations = itertools.count(1)

        def hook(event: str, arguments: tuple) -> None:
            on_files = event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
            if on_files and str(folder) in str(arguments) and next(operations) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        os._exit(main(words))
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("command, step", [("prepare", 4), ("data music", 7), ("data demo", 7)])
def test_a_command_that_was_killed_anywhere_can_be_repeated(tmp_path, monkeypatch, command, step):
    """Before every few operations, which meets each file: it is opened, renamed and removed several times."""
    monkeypatch.setattr(demo, "SPLITS", dict.fromkeys(SPLITS, 1))
    words = command.split()
    if command == "prepare":
        record(tmp_path / "in" / "a.wav", 0.05)
        words += [str(tmp_path / "in"), "--clip-seconds", "0.01"]
    elif command == "data music":
        (tmp_path / "in").mkdir()
        for split in SPLITS:
            np.save(tmp_path / "in" / f"music_{split}.npy", np.eye(3, 100, dtype=np.float32))
        words += ["--source", str(tmp_path / "in")]
    main([*words, "--out", str(tmp_path / "whole")])
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    for number in itertools.count(1, step):
        out = tmp_path / f"out{number}"
        if not killed_before(number, out, [*words, "--out", str(out)]):
            break
        assert main([*words, "--out", str(out)]) == 0, number
        assert {path.name: path.read_bytes() for path in out.iterdir()} == whole, number
    assert number > 30


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    record(tmp_path / "in" / "a.wav", 0.1)
    with recordings.staging_directory(tmp_path / "out"), pytest.raises(OutputError, match="Another process"):
        build(tmp_path / "in", tmp_path / "out")
