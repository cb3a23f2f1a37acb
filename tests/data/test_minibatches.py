"""Minibatches: equality with the original's, ragged clips, reading ahead, and errors."""

import json
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.config.hyperparameters import (
    FAMILIES,
    RNNGMM,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Ragged, data_sha256, load_split, statistics
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, HyperParameterError

FEEDERS = Path(__file__).parents[1] / "golden" / "feeders"
ABOUT = json.loads((FEEDERS / "feeders.json").read_text())
EPOCHS = np.load(FEEDERS / "epochs.npz")
ORDERS = json.loads((FEEDERS / "shuffle_orders.json").read_text())
FOLDERS = {"music": FEEDERS / "corpus" / "music", "blizz": FEEDERS / "corpus" / "Blizzard"}
# Mean and standard deviation with which the original feeds these data sets as real numbers.
REAL_VALUED_CONSTANTS = {
    "blizz": (0.0008558356760380169, 0.098437514304141299),
    "music": (-2.7492260671334582e-05, 0.056233098718291352),
}
CONFIGURATIONS = {name: about for name, about in ABOUT.items() if isinstance(about, dict)}


def epoch(about: dict, split: str) -> list[minibatches.Minibatch]:
    clips = load_split(FOLDERS[about["dataset"]], split)
    shape = [about[name] for name in ("batch_size", "seq_len", "overlap")]
    if about["real_valued"]:
        constants = REAL_VALUED_CONSTANTS[about["dataset"]]
        return list(minibatches.real_minibatches(clips, *shape, *constants))
    return list(minibatches.minibatches(clips, *shape, about["q_levels"], about["q_type"]))


@pytest.mark.parametrize("split", SPLITS)
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
    """Quirk: the shuffle is seeded again each time."""
    assert len(CONFIGURATIONS) == 10
    about = CONFIGURATIONS[name]
    assert about["second_epoch_identical"]
    for first, second in zip(epoch(about, "train"), epoch(about, "train"), strict=True):
        np.testing.assert_array_equal(first.sequences, second.sequences)
        assert first.reset == second.reset


BATCHES = ORDERS["make_random_batches_first_index_and_len"]  # of N clips, b in a batch


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", BATCHES)
def test_batches_come_in_the_order_of_the_original(name, ragged):
    """The first clip of each batch and how many there are; every clip says its number."""
    n, batch_size = (int(word[1:]) for word in name.split("_"))
    numbers = np.arange(n, dtype=np.float64)
    clips = Ragged(numbers, np.arange(n + 1)) if ragged else numbers[:, None]
    fed = [batch.sequences for batch in minibatches.real_minibatches(clips, batch_size, 1, 0, 0.0, 1.0)]
    assert [[int(batch[0, 0]), len(batch)] for batch in fed] == BATCHES[name]
    assert all((np.diff(batch, axis=0) == 1).all() for batch in fed)


@pytest.mark.parametrize("length, seq_len, padded", ABOUT["round_to"])
def test_clips_are_padded_to_a_multiple_of_the_pass_as_in_the_original(length, seq_len, padded):
    clips = np.broadcast_to(np.float16(0), (2, length))
    assert minibatches.chunks_per_epoch(clips, 1, seq_len) == 2 * padded // seq_len


@st.composite
def small_sets(draw):
    """Clips, fixed or ragged, with their batch size, seq_len and context."""
    n, seed = draw(st.integers(1, 9)), draw(st.integers(0, 99))
    sizes = [draw(st.integers(2, 30))] * n
    ragged = draw(st.booleans())
    if ragged:
        sizes = draw(st.lists(st.integers(2, 30), min_size=n, max_size=n))
    rows = [np.random.RandomState(seed + i).normal(size=size) for i, size in enumerate(sizes)]
    for row in rows:
        row[0] = 5  # louder than any normal draw: two equal samples would be a constant clip
    data = np.concatenate(rows).astype(np.float16)
    clips = Ragged(data, np.cumsum([0, *sizes])) if ragged else data.reshape(n, -1)
    return clips, draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 20))


def padded_batches(clips, batch_size, seq_len):
    """The full batches in order, float64, each padded as a whole; and where its clips end, or None."""
    for start in range(0, len(clips) - batch_size + 1, batch_size):
        rows = [clips[i].astype(np.float64) for i in range(start, start + batch_size)]
        longest = max(map(len, rows))
        length = longest + -longest % seq_len
        batch = np.array([np.pad(row, (0, length - len(row))) for row in rows])
        ends = [len(row) for row in rows] if isinstance(clips, Ragged) else [length] * batch_size
        yield batch, np.array([[1] * end + [0] * (length - end) for end in ends])


@pytest.mark.parametrize("real_valued", [False, True])
@settings(max_examples=80)
@given(small_set=small_sets())
def test_every_sample_of_every_full_batch_is_fed_once_and_in_order(real_valued, small_set):
    """Fixed and ragged; the mask counts the samples (and the padding of fixed clips: quirk)."""
    clips, batch_size, seq_len, context = small_set
    if real_valued:
        fed, padding = minibatches.real_minibatches(clips, batch_size, seq_len, context, 0.25, 3.0), 0
    else:
        fed, padding = minibatches.minibatches(clips, batch_size, seq_len, context, 200), 100
    batches, n_fed = [], 0  # sequences and mask, of all chunks
    for sequences, reset, mask in fed:
        n_fed += 1
        assert sequences.shape == mask.shape == (batch_size, context + seq_len)
        assert mask[:, context:].any()
        if reset == 1:
            np.testing.assert_array_equal(sequences[:, :context], padding)
            np.testing.assert_array_equal(mask[:, :context], 1)
            batches.append([sequences, mask])
        else:  # the context repeats the last samples
            for whole, part in zip(batches[-1], (sequences, mask), strict=True):
                np.testing.assert_array_equal(part[:, :context], whole[:, -context:])
            parts = zip(batches[-1], (sequences, mask), strict=True)
            batches[-1] = [np.hstack([whole, part[:, context:]]) for whole, part in parts]
    expected = []
    for batch, counts in padded_batches(clips, batch_size, seq_len):
        entered = ((batch - 0.25) / 3).astype(np.float32) if real_valued else quantize(batch, 200, "linear")
        expected.append((entered.tolist(), counts.tolist()))
    assert sorted((s[:, context:].tolist(), m[:, context:].tolist()) for s, m in batches) == sorted(expected)
    chunks = minibatches.chunks_per_epoch(clips, batch_size, seq_len)
    assert chunks == n_fed and type(chunks) is int
    total = batch_size * context * len(expected) + sum(np.sum(counts) for _, counts in expected)
    assert sum(mask.sum() for _, mask in batches) == total


def ragged(*clips):
    return Ragged(np.concatenate(clips), np.cumsum([0, *map(len, clips)]))


def test_clips_are_padded_with_zeros_that_take_part_in_the_scaling():
    """Quirk: so 0.5 is in the middle and not at the bottom. Ragged ones to the longest of their batch."""
    ((sequences, _, _),) = minibatches.minibatches(np.array([[0.5, 1.0]]), 1, 4, 1, 256)
    assert sequences.tolist() == [[128, 128, 255, 0, 0]]
    clips = ragged(np.array([-1.0, 1.0, 1.0]), np.array([0.5, 0.25, 1.0, 0.0, 1.0, 0.5]))
    first, second = list(minibatches.minibatches(clips, 2, 4, 2, 256))  # the first is not changed
    assert first.sequences.tolist() == [[128, 128, 0, 255, 255, 128], [128, 128, 128, 64, 255, 0]]
    assert first.mask.tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]
    assert second.sequences.tolist() == [[255, 128, 128, 128, 128, 128], [255, 0, 255, 128, 0, 0]]
    assert second.mask.tolist() == [[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert (first.reset, second.reset) == (1, 0)
    assert first.mask.dtype == np.float32


def test_padding_of_real_numbers_is_shifted_and_the_context_is_not():
    """Quirk: the zeros behind a clip are normalised with it, those in front are written afterwards."""
    ((sequences, reset, mask),) = minibatches.real_minibatches(np.array([[0.5, 1.0]]), 1, 4, 2, 0.5, 0.25)
    assert sequences.tolist() == [[0, 0, 0, 2, -2, -2]] and sequences.dtype == np.float32
    assert reset == 1 and (mask == 1).all()
    clips = ragged(np.array([0.5, 1.0]), np.array([1.0, 0.5, 1.0]))
    ((sequences, _, mask),) = minibatches.real_minibatches(clips, 2, 4, 1, 0.5, 0.25)
    assert sequences.tolist() == [[0, 0, 2, -2, -2], [0, 2, 0, 2, -2]]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]


def test_ragged_clips_of_one_length_are_fed_as_fixed_ones():
    noise = np.random.RandomState(0).normal(size=(5, 24)).astype(np.float16)
    fixed, other = (list(minibatches.minibatches(c, 2, 8, 3, 256)) for c in (noise, ragged(*noise)))
    assert len(fixed) == len(other)
    for batches in zip(fixed, other, strict=True):
        for ours, theirs in zip(*batches, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_ragged_clips_are_checked_before_they_are_fed():
    hp = OneTier(batch_size=2, seq_len=10)
    noise = np.random.RandomState(0).normal(size=40).astype(np.float16)
    short, constant, silence = noise[:4], np.full(7, 0.5, np.float16), np.zeros(7, np.float16)
    for good in (ragged(short, noise), ragged(constant, noise), ragged(noise, noise, silence)):
        minibatches.check_split(good, "train", hp)
        list(minibatches.feed(hp, good))
    for bad in (ragged(noise, silence), ragged(np.full(10, 0.5, np.float16), short, noise)):
        with pytest.raises(DataError, match="Clip [01] of the train split is constant"):
            minibatches.check_split(bad, "train", hp)
        with pytest.raises(DataError, match="Clip [01] is constant"):
            list(minibatches.feed(hp, bad))
    with pytest.raises(DataError, match="train split has 1 clips"):
        minibatches.check_split(ragged(noise), "train", hp)
    with pytest.raises(DataError, match="longest clip of the train split is 7 samples long"):
        minibatches.check_split(ragged(constant, short), "train", hp)
    noise[-1] = np.nan
    with pytest.raises(DataError, match="Clip 1 of the train split holds NaN"):
        minibatches.check_split(ragged(short, noise), "train", hp)


LENGTHS = [3, 25, 9, 10, 40, 1, 1, 2, 17, 8, 16, 24]


OF_EACH_KIND = pytest.mark.parametrize(
    "hp",
    [
        OneTier(seq_len=8, batch_size=4),
        OneTier(seq_len=8, batch_size=4, q_type="mu-law", normalisation="absmax"),
        TwoTier(n_frames=2, frame_size=4, batch_size=4),
        RNNGMM(seq_len=8, batch_size=4, mean=0.25, std=2.0),
    ],
    ids=["levels", "mu-law", "two_tier", "real"],
)
OF_EACH_LENGTH = pytest.mark.parametrize(
    "lengths", [[24] * 12, [20] * 9, LENGTHS], ids=["equal", "padded", "ragged"]
)


def noise_of(hp, lengths):
    """Clips, and hyper-parameters with which a clip of one sample can be normalised, if there are some."""
    rng = np.random.RandomState(0)
    noise = [rng.uniform(-1, 1, length).astype(np.float16) for length in lengths]
    if len(set(lengths)) == 1:
        return hp, np.stack(noise)
    return (hp if hp.real_valued else replace(hp, normalisation="absmax")), ragged(*noise)


@pytest.mark.parametrize("n", [2, 4])
@OF_EACH_LENGTH
@OF_EACH_KIND
def test_the_shards_of_processes_make_the_minibatches_of_one(hp, lengths, n):
    """The same chunks in the same order and padding; the clips of one process may end long before."""
    hp, clips = noise_of(hp, lengths)
    size = hp.batch_size // n
    shares = [minibatches.feed(hp, clips, slice(i * size, (i + 1) * size)) for i in range(n)]
    whole = list(minibatches.feed(hp, clips))
    for together, *parts in zip(whole, *shares, strict=True):
        for name in ("sequences", "mask"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(together, name))
            assert joined.dtype == getattr(together, name).dtype
        assert all(part.reset == together.reset for part in parts)
    if isinstance(clips, Ragged):
        masks = [batch.mask[i * size : (i + 1) * size, hp.overlap :] for batch in whole for i in range(n)]
        assert any(not mask.any() for mask in masks)


@OF_EACH_LENGTH
@OF_EACH_KIND
def test_an_epoch_is_resumed_at_any_minibatch(hp, lengths):
    hp, clips = noise_of(hp, lengths)
    whole = list(minibatches.feed(hp, clips))
    for first in range(len(whole) + 1):
        rest = list(minibatches.feed(hp, clips, first=first))
        assert len(rest) == len(whole) - first
        for ours, theirs in zip(rest, whole[first:], strict=True):
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def test_the_rest_of_an_epoch_does_not_read_the_batches_before_it():
    clips, all_of_it = watched(), watched()
    n = len(list(minibatches.minibatches(all_of_it, 4, 8, 1, 256)))
    order = list(dict.fromkeys(i // 4 for i, _ in all_of_it.read))
    list(minibatches.minibatches(clips, 4, 8, 1, 256, first=n - 1))
    assert {i // 4 for i, _ in clips.read} == {order[-1]}


def test_the_check_of_a_split_returns_its_sha256():
    for clips in (NOISE, NOISE[:, ::2], ragged(*NOISE, NOISE[0, :3])):
        hp = OneTier(seq_len=8, batch_size=5)
        assert minibatches.check_split(clips, "train", hp) == data_sha256(clips)


def test_a_process_reads_only_its_share():
    """A clip of it is named by its place in the set."""
    clips = watched()
    list(minibatches.minibatches(clips, 4, 8, 1, 256, shard=slice(2, 4)))
    assert sorted(i for i, _ in clips.read) == [2, 3, 6, 7, 10, 11]
    damaged = NOISE.copy()
    damaged[6] = 0.5
    with pytest.raises(DataError, match="clips 6 to 7: Clip 0 is constant"):
        list(minibatches.minibatches(damaged, 4, 8, 1, 256, shard=slice(2, 4)))
    list(minibatches.minibatches(damaged, 4, 8, 1, 256, shard=slice(0, 2)))


@pytest.mark.parametrize("normalisation", ["absmax", "none"])
def test_silence_stays_at_one_level_where_clips_are_not_scaled_by_min_and_max(normalisation):
    """In clips, between them and their padding, and in silent clips, which are fit then."""
    hp = OneTier(batch_size=2, seq_len=10, normalisation=normalisation)
    clips = ragged(np.zeros(13), np.array([0.75, 0, 0, -0.25]), np.array([0, 0.1, 0]), np.full(4, 0.5))
    minibatches.check_split(clips, "train", hp)
    for batch in minibatches.feed(hp, clips):
        padding = batch.mask == 0
        assert padding.any() and (batch.sequences[padding] == hp.silence).all()
    first = next(minibatches.feed(hp, clips)).sequences
    loudest = {"absmax": 255, "none": 140}[normalisation]
    assert first[0, :4].tolist() == [128, 128, loudest, 128]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_without_normalisation_samples_out_of_range_are_refused(dtype):
    hp = OneTier(batch_size=2, seq_len=10, normalisation="none")
    clips = np.random.RandomState(0).uniform(-1, 1, size=(4, 20)).astype(dtype)
    clips[:, 3], clips[:, 4] = -1, 1
    minibatches.check_split(clips, "valid", hp)
    clips[2, 5] = -1.25
    with pytest.raises(DataError, match=r"Clip 2 of the valid split reaches 1.25 .*--normalisation none"):
        minibatches.check_split(clips, "valid", hp)
    with pytest.raises(DataError, match=r"clips 2 to 3: Clip 0 reaches 1.25"):
        list(minibatches.feed(hp, clips))
    minibatches.check_split(clips, "valid", OneTier(batch_size=2, seq_len=10, normalisation="absmax"))


def resident_file_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_clips_that_were_checked_or_fed_do_not_stay_in_memory(tmp_path):
    noise = np.random.RandomState(0).normal(size=2**16).astype(np.float16)
    np.save(tmp_path / "a_train.npy", np.tile(noise, (64, 8)))  # 64 clips of a MiB
    clips = load_split(tmp_path, "train")
    hp = RNNGMM(batch_size=4, seq_len=2**19, mean=0.0, std=1.0)
    before = resident_file_mib()
    minibatches.check_split(clips, "train", hp)
    assert resident_file_mib() < before + 16
    for _ in minibatches.feed(hp, clips):
        assert resident_file_mib() < before + 16


def feeder_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("feeder")]


NOISE = np.random.RandomState(0).normal(size=(12, 16))


class Watched(np.ndarray):
    """Clips that note which of them are read, and by whom."""

    read: list[tuple[int, str]]

    def __getitem__(self, i):
        if isinstance(i, int):
            self.read.append((i, threading.current_thread().name))
        return np.asarray(super().__getitem__(i))


def watched() -> Watched:
    clips = NOISE.view(Watched)
    clips.read = []
    return clips


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def test_the_next_batch_is_prepared_while_one_is_fed_and_no_other():
    clips = watched()
    fed = minibatches.minibatches(clips, 2, 8, 1, 256)
    assert not clips.read and not feeder_threads()
    for batch in range(6):
        next(fed)
        expected = min(batch + 2, 6)
        wait_until(lambda n=expected: len(clips.read) >= 2 * n)
        next(fed)
        time.sleep(0.02)
        assert len(clips.read) == 2 * expected
    assert next(fed, None) is None
    assert {name for _, name in clips.read} == {"feeder_0"}
    assert not feeder_threads()


def test_no_more_than_two_prepared_batches_are_in_memory():
    class Batch:
        pass

    alive: weakref.WeakSet[Batch] = weakref.WeakSet()
    counts = []

    def work(_):
        time.sleep(0.005)  # for the caller to drop the one before the last
        batch = Batch()
        alive.add(batch)
        counts.append(len(alive))
        return batch

    for pause in (0, 0.02):
        for _batch in minibatches._prefetch(work, range(6)):
            time.sleep(pause)
        del _batch
    assert counts == [1, 2, 2, 2, 2, 2] * 2


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_feed_that_is_left_leaves_no_thread(taken):
    closed, dropped = (minibatches.minibatches(NOISE, 2, 8, 1, 256) for _ in range(2))
    for _ in range(taken):
        next(closed), next(dropped)
    assert bool(feeder_threads()) == bool(taken)
    closed.close()
    del dropped
    assert not feeder_threads()


def test_an_error_comes_in_its_turn():
    """All before it is fed; it is of the kind that was raised, and leaves no thread."""
    order = [starts[0] for starts in BATCHES["N12_b5"]]
    clips = NOISE.copy()
    clips[order[1] + 1] = 0.5
    fed = minibatches.minibatches(clips, 5, 8, 1, 256)
    assert [int(next(fed).reset) for _ in range(2)] == [1, 0]
    with pytest.raises(DataError, match="clips 0 to 4: Clip 1 is constant"):
        next(fed)
    assert not feeder_threads()


@pytest.mark.parametrize(
    "hp",
    [
        ThreeTier(seq_len=16, big_frame_size=8, batch_size=2, q_levels=100),
        TwoTier(n_frames=4, frame_size=4, batch_size=2, q_type="mu-law"),
        KTier(seq_len=16, frame_sizes=(8, 4, 2), batch_size=2, q_type="a-law"),
        OneTier(seq_len=16, batch_size=2),
        WaveNet(sequence_len_to_train=16, batch_size=2, wavenet_blocks=2, dilation_layers_per_block=4),
        SampleRNNGMM(n_frames=4, frame_size=4, batch_size=2, mean=0.25, std=2.0),
        RNNGMM(seq_len=16, batch_size=2, mean=0.25, std=2.0),
    ],
    ids=lambda hp: hp.family,
)
def test_a_model_is_fed_as_its_hyper_parameters_say(hp):
    clips = np.random.RandomState(0).normal(size=(5, 40)).astype(np.float16)
    fed = [batch.sequences for batch in minibatches.feed(hp, clips)]
    assert len(fed) == minibatches.chunks_per_epoch(clips, 2, 16) == 6
    assert {sequences.shape for sequences in fed} == {(2, hp.overlap + 16)}
    padded = np.pad(clips.astype(np.float64), ((0, 0), (0, 8)))
    entered = (padded - 0.25) / 2 if hp.real_valued else quantize(padded, hp.q_levels, hp.q_type)
    assert {sequences.dtype for sequences in fed} == {np.dtype(np.float32 if hp.real_valued else np.int32)}
    first = next(own for own in fed if (own[0, hp.overlap :] == entered[0, :16]).all())
    np.testing.assert_array_equal(first[:, : hp.overlap], hp.silence)
    np.testing.assert_array_equal(first[:, hp.overlap :], entered[:2, :16].astype(first.dtype))


def test_clips_fed_with_their_own_statistics_have_mean_0_and_standard_deviation_1():
    with pytest.raises(HyperParameterError, match="--mean and --std"):
        minibatches.feed(RNNGMM(), np.zeros((128, 512)))
    clips = np.random.RandomState(0).normal(0.3, 0.02, size=(4, 512)).astype(np.float16)
    fed = np.array([b.sequences for b in minibatches.real_minibatches(clips, 2, 128, 0, *statistics(clips))])
    assert fed.size == clips.size
    np.testing.assert_allclose([fed.mean(dtype=np.float64), fed.std(dtype=np.float64)], [0, 1], atol=1e-6)


REAL = RNNGMM(batch_size=2, seq_len=1000, mean=0.0, std=0.1)
MODELS = [  # with chunks of 100 samples, and the flag of that length
    (ThreeTier(seq_len=100, big_frame_size=4, batch_size=4), "--seq_len 100"),
    (KTier(seq_len=100, frame_sizes=(20, 4), batch_size=4), "--seq_len 100"),
    (OneTier(seq_len=100, batch_size=4), "--seq_len 100"),
    (RNNGMM(seq_len=100, batch_size=4), "--seq_len 100"),
    (TwoTier(n_frames=25, frame_size=4, batch_size=4), "--n_frames 25"),
    (SampleRNNGMM(n_frames=25, frame_size=4, batch_size=4), "--n_frames 25"),
    (WaveNet(sequence_len_to_train=100, batch_size=4), "--sequence_len_to_train 100"),
]


@pytest.mark.parametrize("hp, flag", MODELS, ids=lambda value: getattr(value, "family", None))
def test_a_split_with_too_few_clips_or_too_short_ones(hp, flag):
    assert {own.family for own, _ in MODELS} == set(FAMILIES)
    clips = np.random.RandomState(0).normal(size=(4, 100))
    minibatches.check_split(clips, "train", hp)
    with pytest.raises(DataError, match="valid split has 3 clips and --batch_size 4 .*smaller --batch_size"):
        minibatches.check_split(clips[:3], "valid", hp)
    message = rf"test split is 99 samples long and one chunk needs 100 \({flag}\); use a smaller"
    with pytest.raises(DataError, match=f"{message} {flag.split()[0]} "):
        minibatches.check_split(clips[:, :99], "test", hp)


@pytest.mark.parametrize("length", [2000, 2001])
@pytest.mark.parametrize("level", [0.0, 0.25])
@pytest.mark.parametrize("q_type", ["linear", "mu-law", "a-law", "real"])
def test_a_constant_clip_is_reported_before_it_is_used(length, level, q_type):
    """One that is not zero can be fed if zeros are added to it, and any to a model of real numbers."""
    hp = OneTier(batch_size=2, seq_len=1000, q_type=q_type) if q_type != "real" else REAL
    clips = np.random.RandomState(0).normal(size=(4, length)).astype(np.float16)
    clips[1, :-1] = 0.5  # not constant
    clips[2] = level
    if q_type == "real" or (level and length == 2001):
        minibatches.check_split(clips, "valid", hp)
        assert all(np.isfinite(minibatch.sequences).all() for minibatch in minibatches.feed(hp, clips))
    else:
        with pytest.raises(DataError, match="Clip 2 of the valid split is constant.*samplernn prepare"):
            minibatches.check_split(clips, "valid", hp)
        with pytest.raises(DataError, match="clips 2 to 3: Clip 0 is constant .*samplernn prepare"):
            list(minibatches.feed(hp, clips))


@pytest.mark.parametrize("family", [OneTier, RNNGMM])
def test_a_sample_that_is_nan_or_infinite_is_reported(family):
    hp = family(batch_size=2, seq_len=10)
    for bad in (np.nan, np.inf):
        clips = np.random.RandomState(0).normal(size=(5, 50))
        clips[4, 7] = bad  # never fed
        minibatches.check_split(clips, "test", hp)
        clips[3, 7] = bad
        with pytest.raises(DataError, match="Clip 3 of the test split holds NaN or infinite samples"):
            minibatches.check_split(clips, "test", hp)
