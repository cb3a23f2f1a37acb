"""Checkpoints: round trip; damaged files are refused, and nothing in a file is executed."""

import io
import json
import pickle
import tracemalloc
import warnings
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samplernn_theano.checkpoints import exports, npz
from samplernn_theano.checkpoints.npz import FORMAT, Checkpoint
from samplernn_theano.config.hyperparameters import ThreeTier, to_store
from samplernn_theano.config.schedule import Progress
from samplernn_theano.errors import CheckpointError, OutputError
from tests.conftest import Touch

GROUPS = ("parameters", "adam", "states")
SMALL = Checkpoint(
    ThreeTier(dim=8),
    parameters={
        "A.W0": np.arange(6, dtype=np.float32).reshape(2, 3),
        "SampleLevel.Embedding": np.linspace(-1, 1, 1280, dtype=np.float32).reshape(40, 32),
    },
    adam={"adam.t": np.float32(3)},
    states={"h0": np.ones((4, 1, 8), np.float32)},
    progress={"iteration": 12, "seconds": 3.25, "best": None},
)
"""One of its arrays is longer than what is read at once, 4096 bytes."""


def assert_equal(ours: Checkpoint, expected: Checkpoint) -> None:
    assert ours.hp == expected.hp
    assert ours.progress == expected.progress
    for group in GROUPS:
        mine, theirs = getattr(ours, group), getattr(expected, group)
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name], strict=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """The bytes of SMALL as a file."""
    path = tmp_path_factory.mktemp("whole") / "whole.npz"
    npz.save(path, SMALL)
    return path.read_bytes()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        npz.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
dtypes = st.sampled_from([np.float32, np.float64])
groups = st.dictionaries(names, dtypes.flatmap(lambda d: arrays(d, array_shapes(min_dims=0))), max_size=4)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([ThreeTier(), ThreeTier(dim=3, n_rnn=2, rnn_type="LSTM", skip_conn=True)]),
    groups,
    groups,
    groups,
    st.dictionaries(st.text(), plain | st.lists(plain, max_size=3), max_size=4),
)
def test_what_is_saved_comes_back(tmp_path, hp, parameters, adam, states, progress):
    saved = Checkpoint(hp, parameters, adam, states, progress)
    npz.save(tmp_path / "a.npz", saved)
    assert_equal(npz.load(tmp_path / "a.npz"), saved)


def test_the_file_is_an_npz_that_numpy_reads_by_itself(tmp_path):
    npz.save(str(tmp_path / "a.npz"), SMALL)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["parameters/A.W0"], SMALL.parameters["A.W0"])
        about = json.loads(str(archive["about"]))
    assert about["format"] == FORMAT and about["family"] == "three_tier"
    assert about["hyperparameters"] == to_store(SMALL.hp) and "rate" not in about["hyperparameters"]


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, whole, monkeypatch):
    def savez(path, **_):
        Path(path).write_bytes(whole[:100])
        raise OSError(28, "No space left on device")

    path = tmp_path / "last.npz"
    path.write_bytes(whole)
    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(OutputError, match=f"No disk space left while writing {path}"):
        npz.save(path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["last.npz"]
    assert_equal(npz.load(path), SMALL)


def test_former_keys_of_the_progress_are_read(tmp_path):
    """Checkpoints that were written before two keys were renamed."""
    before = {"iteration": 12, "look_due": True, "looks_without_gain": 3}
    npz.save(tmp_path / "a.npz", replace(SMALL, progress=before))
    progress = npz.load(tmp_path / "a.npz").progress
    assert progress == {"iteration": 12, "eval_due": True, "evals_without_improvement": 3}
    Progress(**progress)


def positions(whole: bytes) -> list[int]:
    """Every other byte, but only every 32nd of the long array's numbers."""
    start = whole.index(SMALL.parameters["SampleLevel.Embedding"].tobytes())
    return [p for p in range(0, len(whole), 2) if not start <= p < start + 5120 or p % 32 == 0]


def test_a_file_cut_at_any_byte_is_refused(tmp_path, whole):
    for length in positions(whole):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        refused(tmp_path / "a.npz")


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, whole):
    """Nothing: in the dates of the archive, for one."""
    path, directory, refusals = tmp_path / "a.npz", whole.index(b"PK\x01\x02"), 0
    for position in positions(whole):
        one = position // 2 % 8
        for bit in {one, 7} if position >= directory else [one]:
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                loaded = npz.load(path)
            except CheckpointError:
                refusals += 1
            else:
                assert_equal(loaded, SMALL)
    assert refusals > 1000, refusals


SHAPES = [b"(40, 12)", b"(32, 40)", b"(40,932)", b"(99999, ", b"('0, 32)", b"(40, 32\x00"]
CHANGED = [(b"(40, 32)", new) for new in SHAPES] + [(b"False", b"True ")]


@pytest.mark.parametrize("old, new", CHANGED + [(b"'<f4'", new) for new in (b"'<i4'", b"'<f2'", b"'|O1'")])
def test_a_damaged_header_of_an_array_is_refused(tmp_path, whole, old, new):
    """In a long array: its checksum is known only after the last of its bytes."""
    header = whole.rindex(b"\x93NUMPY", 0, whole.index(b"(40, 32)"))
    position = whole.index(old, header)
    (tmp_path / "a.npz").write_bytes(whole[:position] + new + whole[position + len(old) :])
    refused(tmp_path / "a.npz")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        b"Dear diary,\n" * 50,
        b"\xff\xfe\x00PK\x03\x04",
        json.dumps({"format": FORMAT}).encode(),
        pickle.dumps({"A": [1.0]}, protocol=0),
        pickle.dumps({"A": [1.0]}, protocol=2),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert "damaged or not one of this package" in refused(tmp_path / "a.npz")


def test_an_archive_of_another_kind_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("about", "hello")
    refused(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", W=np.zeros(3))
    assert "holds arrays that NumPy saved; if they are a model's, make a pickle" in refused(
        tmp_path / "b.npz"
    )
    (tmp_path / "c.npz").write_bytes(npy(np.zeros(3)))
    assert "is one array of NumPy" in refused(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("model/data.pkl", "hello")
    assert "is a file of PyTorch" in refused(tmp_path / "d.npz")


@pytest.mark.parametrize("packed_by", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_that_is_packed_is_refused(tmp_path, packed_by):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packed_by) as archive:
        archive.writestr("W.npy", npy(np.random.default_rng(0).random(1000)))
    content = (tmp_path / "a.npz").read_bytes()
    for damage in (b"\0" * 40, b"\xff" * 40, content[100:140]):
        (tmp_path / "a.npz").write_bytes(content[:35] + damage + content[75:])
        assert "damaged" in refused(tmp_path / "a.npz")


def test_what_a_file_unpacks_to_is_bounded_before_it_is_unpacked(tmp_path, whole):
    path = tmp_path / "a.npz"
    path.write_bytes(whole)
    with np.load(path) as archive:
        content = dict(archive)
    np.savez_compressed(path, **content)  # as a user might
    assert_equal(npz.load(path), SMALL)
    np.savez_compressed(path, **content, bomb=np.zeros(10_000_000, np.float32))
    tracemalloc.start()
    message = refused(path)
    assert "would unpack to 40," in message and "it is no checkpoint" in message
    with zipfile.ZipFile(path, "w") as archive:  # a header that tells of more than there is
        for name, array in content.items():
            archive.writestr(f"{name}.npy", npy(array).replace(b"(", b"(9999999,", 1))
    refused(path)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def test_an_archive_that_numpy_would_read_otherwise_is_refused(tmp_path, whole, monkeypatch):
    """Of two members of one name it reads the last, and a file with other bytes in front as a pickle."""
    path = tmp_path / "a.npz"
    path.write_bytes(b"#!/bin/sh\n" + whole)
    message = refused(path)
    assert "something stands before its arrays" in message and "pickle" not in message
    path.write_bytes(whole)
    monkeypatch.setattr(exports, "MAX_ARRAYS", 3)
    assert "arrays)" in refused(path)
    monkeypatch.undo()
    for name in ("parameters/W.npy", "parameters/W"):
        path.write_bytes(whole)
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings(action="ignore"):
            archive.writestr("parameters/W.npy", npy(np.zeros(3)))
            archive.writestr(name, npy(np.zeros(3)))
        assert "two of its arrays have the name parameters/W" in refused(path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": "samplernn-theano checkpoint 9"}, "'samplernn-theano checkpoint 9'; this version reads"),
        ({"family": "four_tier"}, "unknown family 'four_tier'"),
        ({"hyperparameters": asdict(ThreeTier()) | {"n_rnn": 0}}, "--n_rnn is 0"),
        ({"hyperparameters": asdict(ThreeTier()) | {"colour": 6}}, "colour"),
        ({"hyperparameters": asdict(ThreeTier()) | {"dim": "wide"}}, "damaged"),
        ({"hyperparameters": [1]}, "damaged"),
        ({"family": ["three_tier"]}, "unknown family"),
        *((about, "") for about in ("null", "[]", "3", "{", '{"format": 1}', "[" * 100_000)),
    ],
)
def test_a_checkpoint_of_another_version_or_model_or_without_a_description_is_refused(
    tmp_path, changes, message
):
    path = tmp_path / "a.npz"
    npz.save(path, SMALL)
    with np.load(path, allow_pickle=False) as archive:
        content = {name: archive[name] for name in archive.files}
    about = str(content["about"])
    for new in (about, changes if isinstance(changes, str) else json.dumps(json.loads(about) | changes)):
        np.savez(path, **content | {"about": np.array(new)})
        if new == about:
            assert_equal(npz.load(path), SMALL)  # one thing only is changed below
    assert message in refused(path)


@pytest.mark.parametrize("name", ["about", "parameters/A.W0", "extra"])
def test_a_pickled_array_is_refused_and_not_executed(tmp_path, whole, name):
    path, executed = tmp_path / "a.npz", tmp_path / "executed"
    with np.load(io.BytesIO(whole)) as archive:
        content = {key: archive[key] for key in archive.files}
    np.savez(path, **content | {name: np.array([Touch(executed)], dtype=object)})
    refused(path)
    assert not executed.exists()

    with np.load(path, allow_pickle=True) as archive:  # it would have been
        archive[name]
    assert executed.exists()


def test_a_file_that_is_not_there_or_may_not_be_read(tmp_path, monkeypatch):
    def load(*_, **__):
        raise PermissionError(13, "Permission denied")

    assert refused(tmp_path / "a.npz") == f"There is no checkpoint {tmp_path / 'a.npz'}."
    refused(tmp_path)
    monkeypatch.setattr(zipfile, "ZipFile", load)
    assert refused(tmp_path / "a.npz") == f"No permission to read the checkpoint {tmp_path / 'a.npz'}."
