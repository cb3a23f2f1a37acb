"""The feeder: every minibatch of the original's, what is fed, and what is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano import feeder
from samplernn_theano.errors import DataError
from samplernn_theano.quantize import quantize

FEEDERS = Path(__file__).parent / "golden" / "feeders"
ABOUT = json.loads((FEEDERS / "feeders.json").read_text())
EPOCHS = np.load(FEEDERS / "epochs.npz")
FOLDERS = {"music": FEEDERS / "corpus" / "music", "blizz": FEEDERS / "corpus" / "Blizzard"}
CONFIGURATIONS = {
    name: about for name, about in ABOUT.items() if isinstance(about, dict) and not about["real_valued"]
}


def epoch(about: dict, split: str) -> list[feeder.Minibatch]:
    clips = feeder.load_split(FOLDERS[about["dataset"]], split)
    names = ("batch_size", "seq_len", "overlap", "q_levels", "q_type")
    return list(feeder.minibatches(clips, *(about[name] for name in names)))


# --- as the original


def test_there_are_golden_configurations():
    assert len(CONFIGURATIONS) == 8


@pytest.mark.parametrize("split", feeder.SPLITS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_epoch_is_the_originals(name, split):
    about, key = CONFIGURATIONS[name], f"{name}/{split}"
    fed = epoch(about, split)
    assert len(fed) == about[f"{split}_n"]
    if not fed:
        assert f"{key}/reset" not in EPOCHS
        return
    sequences = np.array([minibatch.sequences for minibatch in fed])
    assert list(sequences.shape) == about[f"{split}_shape"]
    assert [sequences.min(), sequences.max()] == about[f"{split}_seq_minmax"]
    np.testing.assert_array_equal([minibatch.reset for minibatch in fed], EPOCHS[f"{key}/reset"])
    np.testing.assert_array_equal(sequences.sum(axis=2, dtype=np.float64), EPOCHS[f"{key}/row_sums"])
    if f"{key}/sequences" in EPOCHS:
        np.testing.assert_array_equal(sequences, EPOCHS[f"{key}/sequences"])
    else:
        assert split != "train"
    assert about[f"{split}_mask_all_ones"]
    for minibatch in fed:
        assert [field.dtype.name for field in minibatch] == about[f"{split}_dtypes"]
        assert minibatch.reset.shape == ()
        assert minibatch.mask.shape == minibatch.sequences.shape and (minibatch.mask == 1).all()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_second_epoch_is_the_first_again(name):
    """Quirk: the shuffle is seeded anew each time."""
    about = CONFIGURATIONS[name]
    assert about["second_epoch_identical"]
    for first, second in zip(epoch(about, "train"), epoch(about, "train"), strict=True):
        np.testing.assert_array_equal(first.sequences, second.sequences)
        assert first.reset == second.reset


@pytest.mark.parametrize("length, seq_len, padded", ABOUT["round_to"])
def test_clips_are_padded_to_a_multiple_of_the_pass_as_in_the_original(length, seq_len, padded):
    clips = np.broadcast_to(np.float16(0), (2, length))
    assert feeder.passes_per_epoch(clips, 1, seq_len) == 2 * padded // seq_len


# --- properties


@st.composite
def small_sets(draw):
    n, length = draw(st.integers(1, 9)), draw(st.integers(2, 30))
    clips = np.random.RandomState(draw(st.integers(0, 99))).normal(size=(n, length)).astype(np.float16)
    clips[:, 0] = 5  # louder than any normal draw: two equal samples would be a constant clip, which is refused
    return clips, draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(small_sets())
def test_every_sample_of_every_full_batch_is_fed_once_and_in_order(small_set):
    clips, batch_size, seq_len, overlap = small_set
    q_levels, padding = 200, -clips.shape[1] % seq_len
    batches, whole = [], None
    for sequences, reset, _ in feeder.minibatches(clips, batch_size, seq_len, overlap, q_levels):
        assert sequences.shape == (batch_size, overlap + seq_len)
        if reset == 1:
            np.testing.assert_array_equal(sequences[:, :overlap], q_levels // 2)
            whole = sequences
            batches.append(whole)
        else:  # what overlaps is what came before
            np.testing.assert_array_equal(sequences[:, :overlap], whole[:, -overlap:])
            whole = batches[-1] = np.hstack([whole, sequences[:, overlap:]])
    padded = np.pad(clips, ((0, 0), (0, padding)))
    expected = [
        quantize(padded[start : start + batch_size], q_levels, "linear")
        for start in range(0, len(clips) - batch_size + 1, batch_size)
    ]
    assert sorted(b[:, overlap:].tolist() for b in batches) == sorted(b.tolist() for b in expected)


@settings(max_examples=30, deadline=None)
@given(small_sets())
def test_passes_per_epoch_counts_the_minibatches(small_set):
    clips, batch_size, seq_len, overlap = small_set
    fed = sum(1 for _ in feeder.minibatches(clips, batch_size, seq_len, overlap, 256))
    assert feeder.passes_per_epoch(clips, batch_size, seq_len) == fed


def test_a_minibatch_is_not_changed_by_the_next_one():
    clips = np.random.RandomState(0).normal(size=(4, 64))
    one_by_one = [m.sequences.copy() for m in feeder.minibatches(clips, 2, 16, 4, 256)]
    at_once = [m.sequences for m in list(feeder.minibatches(clips, 2, 16, 4, 256))]
    np.testing.assert_array_equal(one_by_one, at_once)


def test_padding_takes_part_in_the_scaling():
    """Quirk: a clip of 0.5 and 1 is padded with zeros, so 0.5 is in the middle and not at the bottom."""
    ((sequences, _, _),) = feeder.minibatches(np.array([[0.5, 1.0]]), 1, 4, 1, 256)
    assert sequences.tolist() == [[128, 128, 255, 0, 0]]


# --- what is refused


def test_a_silent_clip_is_named_with_its_batch():
    clips = np.random.RandomState(0).normal(size=(6, 8))
    clips[3] = 0
    with pytest.raises(DataError, match="clips 2 to 3: Clip 1 is constant .*samplernn prepare"):
        list(feeder.minibatches(clips, 2, 8, 1, 256))


def test_a_split_is_read_as_it_lies(tmp_path):
    clips = np.random.RandomState(0).normal(size=(3, 8)).astype(np.float16)
    np.save(tmp_path / "any_valid.npy", clips)
    np.save(tmp_path / "any_train.npy", clips + 1)
    read = feeder.load_split(str(tmp_path), "valid")
    np.testing.assert_array_equal(read, clips)
    assert isinstance(read, np.memmap) and read.dtype == np.float16


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=f"no data folder {tmp_path}/gone.*samplernn prepare"):
        feeder.load_split(tmp_path / "gone", "train")


def test_a_folder_without_the_split(tmp_path):
    np.save(tmp_path / "a_train.npy", np.zeros((2, 8), np.float16))
    with pytest.raises(DataError, match=r"has no file named \*_test.npy.*samplernn prepare"):
        feeder.load_split(tmp_path, "test")


def test_a_folder_with_two_data_sets(tmp_path):
    for name in ("a_train.npy", "b_train.npy"):
        np.save(tmp_path / name, np.zeros((2, 8), np.float16))
    with pytest.raises(DataError, match="has 2 files"):
        feeder.load_split(tmp_path, "train")


@pytest.mark.parametrize("array", [np.zeros((2, 8), np.int16), np.zeros(8, np.float16), np.zeros((2, 3, 4))])
def test_an_array_of_another_kind(tmp_path, array):
    np.save(tmp_path / "a_train.npy", array)
    with pytest.raises(DataError, match=r"a_train.npy holds .*floats \(clips, samples\) are needed"):
        feeder.load_split(tmp_path, "train")


class Touch:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickled_array_is_refused_and_not_executed(tmp_path):
    np.save(tmp_path / "a_train.npy", np.array([[Touch(tmp_path / "executed")]]), allow_pickle=True)
    with pytest.raises(DataError, match="a_train.npy cannot be read"):
        feeder.load_split(tmp_path, "train")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_plain_pickle_is_refused_and_not_executed(tmp_path, protocol):
    (tmp_path / "a_train.npy").write_bytes(pickle.dumps(Touch(tmp_path / "executed"), protocol))
    with pytest.raises(DataError, match="a_train.npy"):
        feeder.load_split(tmp_path, "train")
    assert not (tmp_path / "executed").exists()


def npy(folder: Path) -> bytes:
    np.save(folder / "whole.npy", np.zeros((4, 16), np.float16))
    return (folder / "whole.npy").read_bytes()


def test_a_truncated_file(tmp_path):
    whole = npy(tmp_path)
    for length in range(1, len(whole), 3):
        (tmp_path / "a_train.npy").write_bytes(whole[:length])
        with pytest.raises(DataError, match="a_train.npy"):
            feeder.load_split(tmp_path, "train")


def test_an_empty_file(tmp_path):
    (tmp_path / "a_train.npy").write_bytes(b"")
    with pytest.raises(DataError, match="a_train.npy"):
        feeder.load_split(tmp_path, "train")


def test_an_npz_under_the_name_of_an_npy(tmp_path):
    with (tmp_path / "a_train.npy").open("wb") as file:
        np.savez(file, clips=np.zeros((2, 8)))
    with pytest.raises(DataError, match="a_train.npy"):
        feeder.load_split(tmp_path, "train")


def test_a_flipped_byte_in_the_header_gives_a_data_error_or_the_array(tmp_path):
    whole = npy(tmp_path)
    for position in range(128):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "a_train.npy").write_bytes(damaged)
        try:
            feeder.load_split(tmp_path, "train")
        except DataError as error:
            assert "a_train.npy" in str(error)


def test_a_split_with_too_few_clips_or_too_short_ones():
    clips = np.random.RandomState(0).normal(size=(4, 100))
    feeder.check_split(clips, "train", 4, 100)
    with pytest.raises(DataError, match="valid split has 4 clips and --batch_size 5 .*smaller --batch_size"):
        feeder.check_split(clips, "valid", 5, 100)
    with pytest.raises(DataError, match="test split are 100 samples long.*--seq_len 101.*smaller --seq_len"):
        feeder.check_split(clips, "test", 4, 101)


@pytest.mark.parametrize("length", [2000, 2001])
@pytest.mark.parametrize("level", [0.0, 0.25])
def test_a_constant_clip_is_told_before_it_is_fed(length, level):
    """One that is not zero can be fed if zeros are added to it."""
    clips = np.random.RandomState(0).normal(size=(4, length)).astype(np.float16)
    clips[2] = level
    if level and length == 2001:
        feeder.check_split(clips, "valid", 2, 1000)
        list(feeder.minibatches(clips, 2, 1000, 4, 256))
    else:
        with pytest.raises(DataError, match="Clip 2 of the valid split is constant.*samplernn prepare"):
            feeder.check_split(clips, "valid", 2, 1000)
        with pytest.raises(DataError, match="constant"):
            list(feeder.minibatches(clips, 2, 1000, 4, 256))


def test_a_clip_with_a_long_constant_beginning_is_fine():
    clips = np.zeros((2, 2000), np.float16)
    clips[:, -1] = 0.5
    feeder.check_split(clips, "train", 2, 1000)
