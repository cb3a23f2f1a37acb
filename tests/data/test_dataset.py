"""The clips of a data set: layouts, statistics, and unreadable files."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.data import dataset as clips_module
from samplernn_theano.data.dataset import Ragged, is_silent, lengths, load_split, release, statistics
from samplernn_theano.errors import DataError
from tests.conftest import Touch

# --- in a folder


def test_a_split_is_read_as_it_lies(tmp_path):
    clips = np.random.RandomState(0).normal(size=(3, 8)).astype(np.float16)
    np.save(tmp_path / "any_valid.npy", clips)
    np.save(tmp_path / "any_train.npy", clips + 1)
    read = load_split(str(tmp_path), "valid")
    np.testing.assert_array_equal(read, clips)
    assert isinstance(read, np.memmap) and read.dtype == np.float16


def test_a_folder_without_the_split_or_with_two(tmp_path):
    with pytest.raises(DataError, match=f"no data folder {tmp_path}/gone.*samplernn prepare"):
        load_split(tmp_path / "gone", "train")
    for name in ("a_train.npy", "b_train.npy"):
        np.save(tmp_path / name, np.zeros((2, 8), np.float16))
    with pytest.raises(DataError, match=r"has no file named \*_test.npy.*samplernn prepare"):
        load_split(tmp_path, "test")
    with pytest.raises(DataError, match="has 2 files"):
        load_split(tmp_path, "train")


@pytest.mark.parametrize("array", [np.zeros((2, 8), np.int16), np.zeros(8, np.int64), np.zeros((2, 3, 4))])
def test_an_array_of_another_kind(tmp_path, array):
    np.save(tmp_path / "a_train.npy", array)
    with pytest.raises(DataError, match=r"a_train.npy holds .*floats \(clips, samples\) are needed"):
        load_split(tmp_path, "train")


@pytest.mark.parametrize(
    "array",
    [
        np.array([[-32768, 16384, 1]], np.int16),
        np.array([[-32768, 16384, 1]], np.int64),  # of a list of Python's integers
        np.array([[-32768, 16384, 1]], np.int32) * 65536,
        np.array([[0, 192, 128]], np.uint8),
        np.array([[[-1], [0.5], [2**-15]]]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_the_conversion_that_is_named_makes_a_split(tmp_path, array):
    folder = tmp_path / 'Ann\'s "$HOME"'
    folder.mkdir()
    np.save(folder / "a_train.npy", array)
    converted(folder)
    expected = [[-1, 0.5, 0 if array.dtype == np.uint8 else 2**-15]]
    np.testing.assert_array_equal(load_split(folder, "train"), expected)


def test_the_conversion_of_clips_of_different_lengths_makes_a_ragged_split(tmp_path):
    clips = np.empty(2, object)
    clips[:] = [np.array([0.5, -1]), np.array([0.25, 0, 1])]
    np.save(tmp_path / "a_train.npy", clips, allow_pickle=True)
    converted(tmp_path)
    assert [clip.tolist() for clip in load_split(tmp_path, "train")] == [[0.5, -1], [0.25, 0, 1]]


def converted(folder: Path) -> None:
    """Run the command that the refusal of a split names."""
    with pytest.raises(DataError) as caught:
        load_split(folder, "train")
    command = str(caught.value).partition(": python ")[2]
    subprocess.run(f"{sys.executable} {command}", shell=True, check=True)


@pytest.mark.parametrize("protocol", ["in an array", 0, 2, 5])
def test_a_pickle_is_refused_and_not_executed(tmp_path, protocol):
    if protocol == "in an array":
        np.save(tmp_path / "a_train.npy", np.array([[Touch(tmp_path / "executed")]]), allow_pickle=True)
    else:
        (tmp_path / "a_train.npy").write_bytes(pickle.dumps(Touch(tmp_path / "executed"), protocol))
    with pytest.raises(DataError, match="a_train.npy"):
        load_split(tmp_path, "train")
    assert not (tmp_path / "executed").exists()


def test_a_truncated_or_damaged_file(tmp_path):
    path = tmp_path / "a_train.npy"
    np.save(path, np.zeros((4, 16), np.float16))
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="a_train.npy"):
            load_split(tmp_path, "train")
    for position in range(128):  # of the header
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            load_split(tmp_path, "train")
        except DataError as error:
            assert "a_train.npy" in str(error)
    with path.open("wb") as file:
        np.savez(file, clips=np.zeros((2, 8)))
    with pytest.raises(DataError, match="a_train.npy"):
        load_split(tmp_path, "train")


# --- of different lengths


def write_ragged(folder: Path, data: np.ndarray, offsets: np.ndarray) -> None:
    np.save(folder / "a_train.npy", data)
    np.save(folder / "a_train_offsets.npy", offsets)


def test_ragged_clips_are_read_as_they_lie(tmp_path):
    data = np.arange(10, dtype=np.float16)
    write_ragged(tmp_path, data, np.array([0, 4, 5, 10], np.int32))
    clips = load_split(tmp_path, "train")
    assert isinstance(clips, Ragged) and len(clips) == 3
    assert isinstance(clips.data, np.memmap) and clips.data.dtype == np.float16
    assert [clip.tolist() for clip in clips] == [[0, 1, 2, 3], [4], [5, 6, 7, 8, 9]]
    assert lengths(clips).tolist() == [4, 1, 5]
    assert lengths(np.zeros((2, 7))).tolist() == [7, 7]


@pytest.mark.parametrize(
    "message, offsets",
    [
        *(
            ("a_train_offsets.npy does not fit a_train.npy", offsets)
            for offsets in ([1, 5, 10], [0, 5, 9], [0, 5, 11], [0, 7, 5, 10], [0, 5, 5, 10], [-1, 5, 10], [0])
        ),
        *(
            (r"a_train_offsets.npy holds .* integers \(clips \+ 1,\) are needed", offsets)
            for offsets in ([0.0, 10.0], [[0, 10]], [], True)
        ),
        ("a_train.npy holds clips of different .*a_train_offsets.npy", None),
    ],
)
def test_offsets_that_do_not_fit(tmp_path, message, offsets):
    write_ragged(tmp_path, np.zeros(10, np.float16), np.array(offsets))
    if offsets is None:
        (tmp_path / "a_train_offsets.npy").unlink()
    with pytest.raises(DataError, match=message):
        load_split(tmp_path, "train")


# --- in memory


def resident_file_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("ragged", [False, True])
def test_clips_that_are_forgotten_take_no_memory_and_can_be_read_again(tmp_path, ragged):
    noise = np.random.RandomState(0).normal(size=2**16).astype(np.float16)
    clips = np.tile(noise, (32, 16))  # 64 MiB
    if ragged:
        write_ragged(tmp_path, clips.reshape(-1), np.arange(33) * 2**20)
    else:
        np.save(tmp_path / "a_train.npy", clips)
    mapped = load_split(tmp_path, "train")
    before = resident_file_mib()
    assert sum(float(clip[::512].sum()) for clip in mapped) != 0
    assert resident_file_mib() > before + 50
    release(mapped)
    assert resident_file_mib() < before + 10
    np.testing.assert_array_equal(mapped[31], clips[31])
    mean, _ = statistics(mapped)
    assert abs(mean - clips.mean(dtype=np.float64)) < 1e-12
    assert resident_file_mib() < before + 20


def test_nothing_is_forgotten_that_no_file_holds(tmp_path):
    array = np.ones((2, 5000))
    release(array)
    np.save(tmp_path / "a.npy", array)
    changed = np.load(tmp_path / "a.npy", mmap_mode="c")
    changed[:] = 2
    release(changed)
    assert (array == 1).all() and (changed == 2).all()


# --- statistics


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_statistics_are_those_of_all_samples_in_float64(dtype, monkeypatch, tmp_path):
    """Chunk by chunk, with the samples that no minibatch holds, and far from zero too."""
    clips = np.random.RandomState(0).normal(size=(13, 50)).astype(dtype)
    np.save(tmp_path / "a_train.npy", clips)
    mapped = load_split(tmp_path, "train")
    for chunk in (1, 50, 170, 10**6):
        monkeypatch.setattr(clips_module, "_CHUNK", chunk)
        mean, std = statistics(mapped)
        assert type(mean) is type(std) is float
        np.testing.assert_allclose(mean, clips.mean(dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(std, clips.std(dtype=np.float64), rtol=1e-12)
    far = 1000 + np.random.RandomState(0).normal(size=(13, 50)) * 1e-6
    np.testing.assert_allclose(statistics(far), (far.mean(), far.std()), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("level", [0.0, 0.1, np.nan, np.inf])
def test_clips_without_a_standard_deviation_are_refused(level):
    with pytest.raises(DataError, match="no standard deviation"):
        statistics(np.full((3, 70), level, np.float16))
    if not np.isfinite(level):
        clips = np.random.RandomState(0).normal(size=(3, 70))
        clips[1, 5] = level
        with pytest.raises(DataError, match="no standard deviation"):
            statistics(clips)


def test_statistics_of_ragged_clips_are_those_of_all_samples():
    data = np.random.RandomState(0).normal(size=100)
    mean, std = statistics(Ragged(data, np.array([0, 30, 31, 100])))
    np.testing.assert_allclose((mean, std), (data.mean(), data.std()), rtol=1e-12)


@pytest.mark.parametrize(
    ("clip", "silent"),
    [([0, 0], True), ([0.5, 0.5], True), ([0, 2**-11], True), ([0, -(2**-10)], False), ([0, 2**-10], False)],
)
def test_what_is_silent(clip, silent):
    assert is_silent(np.array(clip, np.float16)) is silent
