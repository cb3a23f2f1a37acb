"""The feeder: every minibatch of the original's, what is fed, and what is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano import feeder
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.hyperparameters import (
    FAMILIES,
    RNNGMM,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.quantize import quantize

FEEDERS = Path(__file__).parent / "golden" / "feeders"
ABOUT = json.loads((FEEDERS / "feeders.json").read_text())
EPOCHS = np.load(FEEDERS / "epochs.npz")
FOLDERS = {"music": FEEDERS / "corpus" / "music", "blizz": FEEDERS / "corpus" / "Blizzard"}
# Mean and standard deviation with which the original feeds these data sets as real numbers.
REAL_VALUED_CONSTANTS = {
    "blizz": (0.0008558356760380169, 0.098437514304141299),
    "music": (-2.7492260671334582e-05, 0.056233098718291352),
}
CONFIGURATIONS = {name: about for name, about in ABOUT.items() if isinstance(about, dict)}


def epoch(about: dict, split: str) -> list[feeder.Minibatch]:
    clips = feeder.load_split(FOLDERS[about["dataset"]], split)
    shape = [about[name] for name in ("batch_size", "seq_len", "overlap")]
    if about["real_valued"]:
        constants = REAL_VALUED_CONSTANTS[about["dataset"]]
        return list(feeder.real_minibatches(clips, *shape, *constants))
    return list(feeder.minibatches(clips, *shape, about["q_levels"], about["q_type"]))


# --- as the original


def test_there_are_golden_configurations():
    assert len(CONFIGURATIONS) == 10
    assert {name for name, about in CONFIGURATIONS.items() if about["real_valued"]} == {
        "blizz_real_pad",
        "music_real",
    }


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
    clips[:, 0] = (
        5  # louder than any normal draw: two equal samples would be a constant clip, which is refused
    )
    return clips, draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 20))


@pytest.mark.parametrize("real_valued", [False, True])
@settings(max_examples=60, deadline=None)
@given(small_set=small_sets())
def test_every_sample_of_every_full_batch_is_fed_once_and_in_order(real_valued, small_set):
    clips, batch_size, seq_len, overlap = small_set
    padded = np.pad(clips.astype(np.float64), ((0, 0), (0, -clips.shape[1] % seq_len)))
    if real_valued:
        fed, silence = feeder.real_minibatches(clips, batch_size, seq_len, overlap, 0.25, 3.0), 0
        entered = ((padded - 0.25) / 3).astype(np.float32)
    else:
        fed, silence = feeder.minibatches(clips, batch_size, seq_len, overlap, 200), 100
        entered = quantize(padded, 200, "linear")
    batches, whole = [], None
    for sequences, reset, _ in fed:
        assert sequences.shape == (batch_size, overlap + seq_len)
        if reset == 1:
            np.testing.assert_array_equal(sequences[:, :overlap], silence)
            whole = sequences
            batches.append(whole)
        else:  # what overlaps is what came before
            np.testing.assert_array_equal(sequences[:, :overlap], whole[:, -overlap:])
            whole = batches[-1] = np.hstack([whole, sequences[:, overlap:]])
    expected = [
        entered[start : start + batch_size] for start in range(0, len(clips) - batch_size + 1, batch_size)
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


def test_padding_of_real_numbers_is_shifted_and_the_overlap_is_not():
    """Quirk: the zeros behind a clip are normalised with it, those in front are written afterwards."""
    ((sequences, reset, mask),) = feeder.real_minibatches(np.array([[0.5, 1.0]]), 1, 4, 2, 0.5, 0.25)
    assert sequences.tolist() == [[0, 0, 0, 2, -2, -2]] and sequences.dtype == np.float32
    assert reset == 1 and (mask == 1).all()


# --- as a model reads it


@pytest.mark.parametrize(
    "hp",
    [
        ThreeTier(seq_len=16, big_frame_size=8, batch_size=2, q_levels=100),
        TwoTier(n_frames=4, frame_size=4, batch_size=2, q_type="mu-law"),
        KTier(seq_len=16, frame_sizes=(8, 4, 2), batch_size=2, q_type="a-law"),
        OneTier(seq_len=16, batch_size=2),
        WaveNet(sequence_len_to_train=16, batch_size=2, wavenet_blocks=2, dilation_layers_per_block=4),
        SampleRNNGMM(n_frames=4, frame_size=4, batch_size=2, mean=0.25, std=2.0),
        RNNGMM(seq_len=16, frame_size=2, batch_size=2, mean=0.25, std=2.0),
    ],
    ids=lambda hp: hp.family,
)
def test_a_model_is_fed_as_its_hyper_parameters_say(hp):
    clips = np.random.RandomState(0).normal(size=(5, 40)).astype(np.float16)
    fed = list(feeder.feed(hp, clips))
    assert len(fed) == feeder.passes_per_epoch(clips, 2, 16) == 6
    padded = np.pad(clips.astype(np.float64), ((0, 0), (0, 8)))
    entered = (padded - 0.25) / 2 if hp.real_valued else quantize(padded, hp.q_levels, hp.q_type)
    dtype = np.float32 if hp.real_valued else np.int32
    for minibatch in fed:
        assert minibatch.sequences.dtype == dtype
        assert minibatch.sequences.shape == minibatch.mask.shape == (2, hp.overlap + 16)
    first = next(
        batch.sequences for batch in fed if (batch.sequences[0, hp.overlap :] == entered[0, :16]).all()
    )
    np.testing.assert_array_equal(first[:, : hp.overlap], hp.silence)
    np.testing.assert_array_equal(first[:, hp.overlap :], entered[:2, :16].astype(dtype))


def test_a_model_of_real_numbers_needs_their_mean_and_standard_deviation():
    with pytest.raises(HyperParameterError, match="--mean and --std"):
        feeder.feed(RNNGMM(), np.zeros((128, 512)))


# --- statistics


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_statistics_are_those_of_all_samples_in_float64(dtype, monkeypatch, tmp_path):
    """Chunk by chunk, with the samples that no minibatch holds, and far from zero too."""
    clips = np.random.RandomState(0).normal(size=(13, 50)).astype(dtype)
    np.save(tmp_path / "a_train.npy", clips)
    mapped = feeder.load_split(tmp_path, "train")
    for chunk in (1, 50, 170, 10**6):
        monkeypatch.setattr(feeder, "_CHUNK", chunk)
        mean, std = feeder.statistics(mapped)
        assert type(mean) is type(std) is float
        np.testing.assert_allclose(mean, clips.mean(dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(std, clips.std(dtype=np.float64), rtol=1e-12)
    far = 1000 + np.random.RandomState(0).normal(size=(13, 50)) * 1e-6
    np.testing.assert_allclose(feeder.statistics(far), (far.mean(), far.std()), rtol=1e-9)


def test_clips_fed_with_their_own_statistics_have_mean_0_and_standard_deviation_1():
    clips = np.random.RandomState(0).normal(0.3, 0.02, size=(4, 512)).astype(np.float16)
    fed = np.array(
        [b.sequences for b in feeder.real_minibatches(clips, 2, 128, 0, *feeder.statistics(clips))]
    )
    assert fed.size == clips.size
    np.testing.assert_allclose([fed.mean(dtype=np.float64), fed.std(dtype=np.float64)], [0, 1], atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("level", [0.0, 0.1, np.nan, np.inf])
def test_clips_without_a_standard_deviation_are_refused(level):
    with pytest.raises(DataError, match="no standard deviation"):
        feeder.statistics(np.full((3, 70), level, np.float16))
    if not np.isfinite(level):
        clips = np.random.RandomState(0).normal(size=(3, 70))
        clips[1, 5] = level
        with pytest.raises(DataError, match="no standard deviation"):
            feeder.statistics(clips)


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


MODELS = {  # of passes of 100 samples, and the flag that says so
    "three_tier": (ThreeTier(seq_len=100, big_frame_size=4, batch_size=4), "--seq_len 100"),
    "two_tier": (TwoTier(n_frames=25, frame_size=4, batch_size=4), "--n_frames 25"),
    "one_tier": (OneTier(seq_len=100, batch_size=4), "--seq_len 100"),
    "wavenet": (WaveNet(sequence_len_to_train=100, batch_size=4), "--sequence_len_to_train 100"),
    "k_tier": (KTier(seq_len=100, frame_sizes=(20, 4), batch_size=4), "--seq_len 100"),
    "rnn_gmm": (RNNGMM(seq_len=100, batch_size=4), "--seq_len 100"),
    "samplernn_gmm": (SampleRNNGMM(n_frames=25, frame_size=4, batch_size=4), "--n_frames 25"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_split_with_too_few_clips_or_too_short_ones(family):
    hp, flag = MODELS[family]
    clips = np.random.RandomState(0).normal(size=(4, 100))
    feeder.check_split(clips, "train", hp)
    with pytest.raises(DataError, match="valid split has 3 clips and --batch_size 4 .*smaller --batch_size"):
        feeder.check_split(clips[:3], "valid", hp)
    told = (
        rf"test split are 99 samples long and one pass needs 100 \({flag}\); use a smaller {flag.split()[0]} "
    )
    with pytest.raises(DataError, match=told):
        feeder.check_split(clips[:, :99], "test", hp)


@pytest.mark.parametrize("length", [2000, 2001])
@pytest.mark.parametrize("level", [0.0, 0.25])
@pytest.mark.parametrize("q_type", ["linear", "mu-law", "a-law"])
def test_a_constant_clip_is_told_before_it_is_fed(length, level, q_type):
    """One that is not zero can be fed if zeros are added to it."""
    hp = OneTier(batch_size=2, seq_len=1000, q_type=q_type)
    clips = np.random.RandomState(0).normal(size=(4, length)).astype(np.float16)
    clips[2] = level
    if level and length == 2001:
        feeder.check_split(clips, "valid", hp)
        list(feeder.feed(hp, clips))
    else:
        with pytest.raises(DataError, match="Clip 2 of the valid split is constant.*samplernn prepare"):
            feeder.check_split(clips, "valid", hp)
        with pytest.raises(DataError, match="constant"):
            list(feeder.feed(hp, clips))


def test_a_constant_clip_is_fit_for_a_model_of_real_numbers():
    hp = RNNGMM(batch_size=2, seq_len=1000, mean=0.0, std=0.1)
    clips = np.random.RandomState(0).normal(size=(4, 2000))
    clips[2] = 0
    feeder.check_split(clips, "train", hp)
    assert all(np.isfinite(minibatch.sequences).all() for minibatch in feeder.feed(hp, clips))


@pytest.mark.parametrize("family", [OneTier, RNNGMM])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_no_finite_number_is_told(family, bad):
    clips = np.random.RandomState(0).normal(size=(5, 50))
    hp = family(batch_size=2, seq_len=10)
    clips[4, 7] = bad  # never fed
    feeder.check_split(clips, "test", hp)
    clips[3, 7] = bad
    with pytest.raises(DataError, match="Clip 3 of the test split holds NaN or infinite samples"):
        feeder.check_split(clips, "test", hp)


def test_a_clip_with_a_long_constant_beginning_is_fine():
    clips = np.zeros((2, 2000), np.float16)
    clips[:, -1] = 0.5
    feeder.check_split(clips, "train", OneTier(batch_size=2, seq_len=1000))
