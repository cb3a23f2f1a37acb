"""`check-data`: all problems are found in bad data sets, and none in good ones."""

import hashlib
import json
import tracemalloc

import matplotlib.image
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from samplernn_theano.data import check, duplicates
from samplernn_theano.data.clip_statistics import ClipStatistics
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.doubts import cut_off
from samplernn_theano.errors import DataError, OutputError

LENGTH = 8000  # samples in a clip: half a second
COUNTS = {"train": 8, "valid": 3, "test": 3}


def noise(count: int, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    return (np.random.RandomState(seed).randn(count, length) * 0.1).astype(np.float16)


def clean() -> dict[str, np.ndarray]:
    clips = noise(sum(COUNTS.values()))
    return {"train": clips[:8], "valid": clips[8:11], "test": clips[11:]}


def save(folder, splits, name="clips"):
    """Write arrays (clips, samples), or lists of clips as ragged splits."""
    for split, clips in splits.items():
        if isinstance(clips, list):
            offsets = np.cumsum([0, *map(len, clips)])
            np.save(folder / f"{name}_{split}_offsets.npy", offsets)
            clips = np.concatenate(clips)
        np.save(folder / f"{name}_{split}.npy", clips)
    return folder


def report(folder) -> check.Report:
    return check.check(folder, progress=False)


def cut(seconds, length=4, rate=16000, seed=1):
    """Clips of `length` s, cut from a long noise at these seconds."""
    long = noise(1, int((max(seconds) + length) * rate), seed)[0]
    return np.stack([long[int(s * rate) :][: length * rate] for s in seconds])


@pytest.mark.filterwarnings("error")
def test_a_good_set(tmp_path, capsys):
    save(tmp_path, clean())
    assert check.run(tmp_path, progress=False) == 0
    out = capsys.readouterr().out
    assert "Nothing is wrong for training." in out and "Wrong" not in out
    assert "float16, 16000 Hz (assumed)" in out and "SHA-256 of the files: not recorded." in out
    x = clean()["train"].astype(np.float64)
    row = next(line for line in out.splitlines() if line.startswith("train ")).split()
    assert row[:5] == ["train", "8", "0.5", "s", "0.1"] and row[5] == "min"
    assert float(row[6]) == pytest.approx(np.abs(x).max(), abs=1e-4)
    assert float(row[7]) == pytest.approx(-20.0, abs=0.1) and row[8] == "dBFS"
    assert float(row[9]) == pytest.approx(x.mean(), rel=1e-3)
    assert float(row[10]) == pytest.approx(x.std(), abs=1e-5)
    assert matplotlib.image.imread(tmp_path / "check.png").shape[1] == 880


@pytest.mark.filterwarnings("error")
def test_a_good_ragged_set(tmp_path, capsys):
    rng = np.random.RandomState(3)
    splits = {s: [row[: rng.randint(400, LENGTH)] for row in clips] for s, clips in clean().items()}
    save(tmp_path, splits)
    assert check.run(tmp_path, tmp_path / "other.png", progress=False) == 0
    seconds = np.array([len(clip) for clip in splits["train"]]) / 16000
    words = f"{seconds.min():.2f}-{np.median(seconds):.2f}-{seconds.max():.2f} s"
    assert words in capsys.readouterr().out
    assert (tmp_path / "other.png").exists() and not (tmp_path / "check.png").exists()


def note(start: int, pitch: float = 0.05) -> np.ndarray:
    x = np.zeros(LENGTH)
    n = np.arange(LENGTH - start)
    x[start:] = 0.5 * np.sin(pitch * n) * np.exp(-n / 3000)
    return x


@pytest.mark.parametrize("kind", ["pauses", "dither", "repeated note", "one pulse"])
def test_repetition_is_no_duplicate(tmp_path, kind):
    """Repetitions in good sets: digital silence, dither, the same note in another context."""
    splits = {split: clips.copy() for split, clips in clean().items()}
    for k, clips in enumerate(splits.values()):
        for i, clip in enumerate(clips):
            if kind == "pauses":
                clip[: 4000 + 200 * i] = 0
            elif kind == "dither":
                clip[:6000] = np.sign(clip[:6000]) * 2**-14
                clip[:6000:7] = 0
            elif kind == "repeated note":
                clip[1000:7000] = note(0)[:6000]
            else:
                clip[:] = note(1000 * i + 500, pitch=0.01 * (i + 10 * k + 2))
    assert report(save(tmp_path, splits)).problems == []


def test_the_stride_of_one_second(tmp_path):
    """As the published sets were cut: here clips of 4 s at every second, shuffled before the split."""
    order = np.random.RandomState(0).permutation(24)
    clips = cut(range(24))[order]
    splits = {"train": clips[:18], "valid": clips[18:21], "test": clips[21:]}
    found = report(save(tmp_path, splits))
    train = set(order[:18])
    for split, numbers in (("valid", order[18:21]), ("test", order[21:])):
        nearest = [min(abs(n - m) for m in train) for n in numbers]
        sharing = sum(distance < 4 for distance in nearest)
        (sentence,) = (
            s for s in found.problems if s.startswith(f"{split} clips that share sound with train")
        )
        assert f": {sharing} of 3, up to {4 - min(nearest):.2f} s in common" in sentence
        first = min(range(3), key=lambda i: nearest[i])
        partners = [j for j in range(18) if abs(order[j] - numbers[first]) == nearest[first]]
        assert any(f"number {first} and {j}: " in sentence for j in partners)


def longest(later, earlier, kind=np.float16):
    """The duplicates of two lists of clips."""
    fingerprints = []
    for clips in (later, earlier):
        offsets = np.cumsum([0, *map(len, clips)])
        ragged = check.Ragged(np.concatenate(clips), offsets)
        found = duplicates.Fingerprints(ragged, np.dtype(kind), 4000)
        for number, clip in enumerate(clips):
            found.add(number, clip)
        found.sort()
        fingerprints.append(found)
    return duplicates.longest_duplicates(*fingerprints, progress=False)


@given(
    st.integers(4000, 9000),
    st.integers(0, 9000),
    st.integers(0, 9000),
    st.booleans(),
    st.sampled_from(["noise", "tone", "pause"]),
    st.integers(0, 99),
)
@example(4000, 5000, 5000, False, "pause", 0)
@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_shift_is_found(common, before, after, inside, kind, seed):
    """Two clips that share `common` samples: at the ends of both, or one lies inside the other."""
    sound = noise(1, common, seed)[0]
    if kind == "tone":  # exactly periodic, so the same fingerprints come again and again
        sound = np.tile(sound[:100], common // 100 + 1)[:common]
    elif kind == "pause":
        sound[100:-100] = 0
    left, right = noise(1, before, 100 + seed)[0], noise(1, after, 200 + seed)[0]
    others = [noise(1, 5000, 300)[0], np.concatenate([left, sound, right] if inside else [left, sound])]
    clip = sound if inside else np.concatenate([sound, right])
    identical = inside and before + after == 0 or not inside and before == after == 0
    expected = duplicates.Duplicate(1, common, identical)
    assert longest([clip], others) == ({0: expected}, False)
    assert longest([np.zeros(1, np.float16), others[1]], [clip])[0] == {1: expected._replace(partner=0)}


@pytest.mark.parametrize("change", [0, 3000, -1])
def test_parts_that_differ_in_one_sample_are_no_duplicate(change):
    a, b = noise(1)[0], noise(1, seed=1)[0]
    b[:6000] = a[2000:]
    assert longest([a], [b])[0][0].samples == 6000
    a[2000:][change] += np.float16(0.01)
    assert longest([a], [b])[0] == {}


def test_the_least_duplicate_is_a_quarter_of_a_second_and_not_silent():
    for samples, found in ((3999, 0), (4000, 1)):
        a, b = noise(1)[0], noise(1, seed=1)[0]
        b[:samples] = a[-samples:]
        assert len(longest([a], [b])[0]) == found
    a, b = noise(1)[0], noise(1, seed=1)[0]
    a[-5000:] = b[:5000] = 2**-12 * np.sign(noise(1, 5000)[0])
    assert longest([a], [b])[0] == {}
    a[-2500] = b[2500] = 0.25
    assert longest([a], [b])[0][0].samples == 5000


def test_identical_clips(tmp_path):
    """Of two splits they are a problem, even if short and ragged; within a split a note."""
    splits = clean()
    splits["test"][2] = splits["valid"][0] = splits["train"][3] = splits["train"][5]
    found = report(save(tmp_path, splits))
    wrong = found.problems
    assert len(wrong) == 3
    assert "test clips that share sound with train clips: 1 of 3, 1 of them from end to end" in wrong[0]
    assert "(number 2 and 3: 0.50 s)" in wrong[0]
    assert wrong[1].startswith("valid clips that share sound with train clips")
    assert wrong[2].startswith("test clips that share sound with valid clips")
    (sentence,) = (s for s in found.notes if "share" in s)
    assert sentence.startswith("train clips that share sound with other train clips: 2 of 8, 2 of them")
    short = {split: [clip[:1000] for clip in clips] for split, clips in clean().items()}
    short["test"][1] = short["train"][7]
    (sentence,) = report(save(tmp_path, short)).problems
    assert "number 1 and 7: 0.06 s" in sentence


def test_splits_of_different_types_are_compared(tmp_path):
    splits = clean()
    splits["train"] = splits["train"].astype(np.float32)
    splits["valid"] = splits["valid"].astype(">f8")
    splits["test"][0, :6000] = splits["train"][0, 2000:]
    found = report(save(tmp_path, splits))
    assert "up to 0.38 s in common" in found.problems[0] and len(found.problems) == 1
    assert "float16, float32, >f8" in found.lines[0] or ">f8" in found.lines[0]


def test_sound_that_recurs_too_often_is_bounded_and_reported(tmp_path):
    """A set of one loop, its phase differs from clip to clip: all clips have the same fingerprints."""
    loop = np.tile(noise(1, 500)[0], 100)
    rows = [np.concatenate([loop[i:6000], noise(1, 2000 + i, i)[0]]) for i in range(60)]
    clips = np.stack(rows)
    splits = {"train": clips[:56], "valid": clips[56:58], "test": clips[58:]}
    found = report(save(tmp_path, splits))
    assert found.problems == []  # no common part agrees from end to end
    assert any("train repeats some sounds over 32 times" in sentence for sentence in found.notes)


@pytest.mark.parametrize(("samples", "may_miss"), [(3000, False), (4000, True)])
def test_frequent_sound_hides_duplicates_only_if_it_is_long(samples, may_miss):
    """A jingle in 40 clips: a common segment is longer than the jingle, unless that is long itself."""
    jingle = noise(1, samples)[0]
    clips = [np.concatenate([row[:3000], jingle, row[3000:]]) for row in noise(41, seed=1)]
    assert longest(clips[:1], clips[1:]) == ({}, may_miss)


def test_a_duplicate_is_found_among_many_positions_with_the_same_sound():
    jingle = noise(1, 4000)[0]
    others = [np.concatenate([row[:3000], jingle, row[3000:]]) for row in noise(20, seed=1)]
    clip, other = noise(2, seed=2)
    clip[-4000:] = other[:4000] = jingle
    assert longest([clip], [*others, other]) == ({0: duplicates.Duplicate(20, 4000, False)}, False)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0, 0.25, "quiet", np.nan, np.inf, -np.inf])
def test_silent_clips_and_samples_that_are_no_numbers(tmp_path, value):
    splits, silent = clean(), np.isfinite(0 if value == "quiet" else value)
    what = "silent clips, to be removed"
    if silent:
        splits["valid"][1] = noise(1)[0] / 1000 if value == "quiet" else value
    else:
        what = "clips with NaN or infinite samples, to be removed or repaired"
        splits["valid"][1, 17] = value
    splits["train"][1] = splits["train"][0] = splits["valid"][1] if silent else value
    found = report(save(tmp_path, splits))
    assert found.problems == [
        f"train: {what}: 2 of 8 (numbers 0, 1).",
        f"valid: {what}: 1 of 3 (numbers 1).",
    ]
    assert "nan" not in str(found).lower().split("wrong")[0] and "inf" not in found.lines[2]


@pytest.mark.filterwarnings("error")
def test_a_bad_set_has_its_report_and_picture(tmp_path, capsys):
    splits = clean()
    splits["train"][0] = np.nan
    splits["valid"][:] = 0
    save(tmp_path, splits)
    assert check.run(tmp_path, progress=False) == 1
    out = capsys.readouterr().out
    assert "Wrong for training:\n  - train: clips with NaN" in out and "Nothing is wrong" not in out
    assert (tmp_path / "check.png").exists()


@pytest.mark.parametrize(
    "other, kind", [(clean()["test"][:, :7000], "7000 samples"), (list(clean()["test"]), "ragged")]
)
def test_splits_of_different_lengths(tmp_path, other, kind):
    (sentence,) = report(save(tmp_path, {**clean(), "test": other})).problems
    assert f"train 8000 samples, valid 8000 samples, test {kind}" in sentence


def test_what_is_only_noted(tmp_path):
    splits = clean()
    train = splits["train"]
    train[2] -= np.float16(0.05)
    train[3, 70:150] = 0.995
    train[5, 9] = 1.5
    found = report(save(tmp_path, splits))
    assert found.problems == []
    worst = train[2].mean(dtype=np.float64)
    assert [s for s in found.notes if s.startswith("train: ")] == [
        "train: clips that are cut off at the peak for 3 samples or more: 1 of 8 (numbers 3).",
        "train: clips that go beyond full scale: 1 of 8 (numbers 5).",
        "train: clips with a DC offset above 0.01 of full scale, "
        f"the worst {worst:+.3f}: 1 of 8 (numbers 2).",
    ]
    assert "test holds 3 clips, too few for a batch of 128" in "".join(found.notes)
    assert "--batch_size may be 3 at most" in "".join(found.notes)


def test_clips_that_are_cut_off_in_many_places_are_wrong(tmp_path):
    splits = clean()
    splits["train"][3] = np.clip(splits["train"][3] * 1000, -1, 1)
    splits["test"][1, 100:181] = -1  # just above 1 %
    found = report(save(tmp_path, splits))
    text = "clips of which more than 1 % is cut off at full scale, to be replaced by quieter ones"
    wrong = [f"train: {text}: 1 of 8 (numbers 3).", f"test: {text}: 1 of 3 (numbers 1)."]
    assert found.problems == wrong
    assert check.run(tmp_path, progress=False) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [30, 2**15, 2**31, 1e30])
def test_clips_in_the_range_of_integers_are_wrong(tmp_path, scale):
    splits = {split: clips.astype(np.float32) * np.float32(scale) for split, clips in clean().items()}
    found = report(save(tmp_path, splits))
    text = "clips of which more than 1 % is beyond full scale, from -1 to 1, and up to "
    assert [line.partition(text)[0] for line in found.problems] == ["train: ", "valid: ", "test: "]
    assert f"{np.abs(splits['train']).max():,.6g}; convert them: 8 of 8 (numbers 0, " in found.problems[0]
    assert check.run(tmp_path, progress=False) == 1


def test_a_set_that_is_nearly_silent_is_noted(tmp_path):
    found = report(save(tmp_path, {split: clips / np.float16(64) for split, clips in clean().items()}))
    assert found.problems == []
    assert sum("is nearly silent: its highest peak is 0.00" in sentence for sentence in found.notes) == 3


def test_what_counts_as_clipped():
    for wave, clipped in (
        ([0, 0.995, 0.995, 0.995, 0], 3),
        ([0, -1, -1, -1, -1, 0, -1, -1], 4),
        ([0, 1, 1, 1, 0, -1, -1, -1, 1, 1, 1, 1], 10),
        ([0, 0.995, 0.995, 0, 0.995, 0], 0),  # never 3 in a row
        ([0, 0.98, 0.98, 0.98, 0], 0),  # not at full scale
        ([1, 0.995, 0.995, 0.995, 0], 0),  # not the highest
    ):
        assert np.count_nonzero(cut_off(np.array(wave))) == clipped, wave


def test_the_histogram_counts_every_finite_sample():
    statistics = ClipStatistics()
    statistics.add(0, np.array([-1, -0.999, 0, 0.004, 1, 3, -3, np.nan]))
    bars = statistics.histogram
    assert bars.sum() == 7 and bars[0] == 3 and bars[128] == 2 and bars[255] == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("empty", [["test"], SPLITS])
def test_an_empty_split(tmp_path, empty):
    save(tmp_path, {**clean(), **dict.fromkeys(empty, np.empty((0, LENGTH), np.float16))})
    assert check.run(tmp_path, progress=False) == 1
    assert report(tmp_path).problems == [f"{split} holds no clips." for split in empty]


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def described(tmp_path):
    """A ragged set with its manifest."""
    save(tmp_path, {split: list(clips) for split, clips in clean().items()})
    manifest = {
        "rate": 8000,
        "splits": {
            split: {
                "sha256": sha256(tmp_path / f"clips_{split}.npy"),
                "offsets_sha256": sha256(tmp_path / f"clips_{split}_offsets.npy"),
                "speakers": {"Åsa": 5, "Tom": 3},
            }
            for split in SPLITS
        },
        "sources": [
            *({"status": "used", "rate": rate} for rate in (44100, 4000, 44100)),
            {"status": "left out", "rate": 4000},
            {"status": "unreadable"},
        ],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_the_manifest_is_described(described):
    found = report(described)
    text = str(found)
    assert found.problems == [] and "SHA-256 of the files: compared." in text
    assert "8000 Hz (from manifest.json)" in text and "1.00-1.00-1.00 s" in text
    assert "Speakers of valid, with clips: 2 (Åsa 5, Tom 3)." in text
    assert "Recordings: 3 (1 of 4000 Hz, 2 of 44100 Hz)." in text
    assert "Upsampled, so they lack high frequencies: 1 recording." in "".join(found.notes)


def test_recordings_whose_channels_cancel_are_wrong_and_soft_ones_noted(described):
    manifest = json.loads((described / "manifest.json").read_text())
    manifest["sources"][0] |= {"path": "a.wav", "doubts": {"channels": "its 2 channels cancel."}}
    manifest["sources"][1] |= {"path": "b.wav", "doubts": {"level": "it is nearly silent."}}
    manifest["sources"][2] |= {"path": "c.wav", "doubts": {"tracks": "2.", "clipping": "5 %.", "end": "?"}}
    (described / "manifest.json").write_text(json.dumps(manifest))
    clipping, channels = report(described).problems
    assert "1 of 3, such as a.wav: its 2 channels cancel." in channels
    assert "are clipped: 1 of 3, such as c.wav: 5 %." in clipping
    for text in ("which are not read: 1 of 3, such as c.wav: 2.", "lack their end: 1 of 3, such as c.wav: ?"):
        assert text in "".join(report(described).notes)
    assert "nearly silent: 1 of 3, such as b.wav: it is nearly silent." in "".join(report(described).notes)
    assert check.run(described, progress=False) == 1


@pytest.mark.parametrize("name", ["clips_valid.npy", "clips_train_offsets.npy"])
def test_a_file_that_was_changed(described, name):
    array = np.load(described / name)
    array[1] += 1
    np.save(described / name, array)
    (sentence,) = report(described).problems
    assert sentence.startswith(f"{name} is not the file that manifest.json describes")


@pytest.mark.parametrize(
    "manifest", [[], {}, {"splits": [1]}, {"rate": "x", "sources": {}, "splits": {"test": 3}}]
)
def test_a_manifest_of_others_is_no_trouble(tmp_path, manifest):
    save(tmp_path, clean())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found = report(tmp_path)
    assert found.problems == [] and "16000 Hz (assumed)" in found.lines[0]


def test_what_cannot_be_read_or_written(tmp_path, capsys):
    with pytest.raises(DataError, match="missing"):
        report(tmp_path / "missing")
    save(tmp_path, clean())
    with pytest.raises(OutputError, match="x.png"):
        check.run(tmp_path, tmp_path / "clips_test.npy" / "x.png", progress=False)
    assert "Nothing is wrong" in capsys.readouterr().out  # the report is not lost
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="manifest.json cannot be read"):
        report(tmp_path)


@pytest.mark.parametrize(
    ("name", "std", "mean", "noted"),
    [
        ("music", 0.056, 0, 0),
        ("music", 0.05, 0, 1),
        ("music", 0.056, 0.001, 1),
        ("Blizzard9k", 0.0985, 0.0008, 0),
        ("blizzard_x", 0.056, 0.0008, 1),
    ],
)
def test_the_authors_figures(tmp_path, name, std, mean, noted):
    clips = clean()
    x = clips["train"].astype(np.float64)
    clips["train"] = ((x - x.mean()) * std / x.std() + mean).astype(np.float32)
    found = report(save(tmp_path, clips, name))
    (line,) = (line for line in found.lines if line.startswith("The authors'"))
    theirs = 0.056233 if name == "music" else 0.098438
    assert f"Our std is {std / theirs:.3f} times theirs." in line
    assert ("3,828 / 256 / 256" in line) is (name == "music")
    assert sum("differ much from the authors'" in sentence for sentence in found.notes) == noted


def test_memory_is_bounded(tmp_path):
    """24 MB of clips, one at a time."""
    np.save(tmp_path / "a_train.npy", noise(40, 300_000))
    save(tmp_path, {"valid": noise(1, 300_000, 1), "test": noise(1, 300_000, 2)}, "a")
    tracemalloc.start()
    try:
        report(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
