"""Files are there whole or not at all, and what stops a write is said in one sentence."""

import errno
import os
from pathlib import Path

import pytest

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import atomic_write, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_with(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def test_content_appears_whole_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        temporary.write_text("half and half")
    assert path.read_text() == "half and half"
    assert names(tmp_path) == ["a.txt"]


def test_the_temporary_file_is_hidden_beside_the_target_and_keeps_the_suffix(tmp_path):
    with atomic_write(str(tmp_path / "model.best.npz")) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".") and temporary.suffix == ".npz"
        temporary.touch()


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "naïve ♪")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "naïve ♪".encode()


def test_the_file_is_synced_before_it_gets_its_name_and_the_folder_after(tmp_path, monkeypatch):
    """Else a power cut could leave an empty file under the name."""
    calls, sync, replace = [], os.fsync, os.replace

    def record_sync(descriptor):
        calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def record_replace(source, target):
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert calls == [temporary.name, "replace", tmp_path.name]


@pytest.mark.parametrize("reason", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_an_exception_in_the_block_leaves_the_old_file(tmp_path, reason):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(reason)) as caught, atomic_write(path) as temporary:
        temporary.write_text("new")
        raise reason
    assert caught.value is reason
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_exception_in_the_block_leaves_no_file_where_none_was(tmp_path):
    with pytest.raises(ValueError), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        raise ValueError
    assert names(tmp_path) == []


SENTENCES = {
    errno.ENOSPC: "No disk space left while writing {path}; free some space and run the command again.",
    errno.EDQUOT: "No disk space left while writing {path}; free some space and run the command again.",
    errno.EACCES: "Not allowed to write {path}; choose a folder that you can write to.",
    errno.EPERM: "Not allowed to write {path}; choose a folder that you can write to.",
    errno.EROFS: "Not allowed to write {path}; choose a folder that you can write to.",
    errno.EIO: "Could not write {path}: Input/output error.",
}


@pytest.mark.parametrize("number", SENTENCES, ids=errno.errorcode.get)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_step_that_fails_is_told_and_the_old_file_stays(tmp_path, monkeypatch, number, step):
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, step, fail_with(number))
    with pytest.raises(OutputError) as caught:
        write_text(path, "new")
    assert str(caught.value) == SENTENCES[number].format(path=path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", SENTENCES, ids=errno.errorcode.get)
def test_a_write_that_fails_in_the_block_is_told_and_the_old_file_stays(tmp_path, number):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError) as caught, atomic_write(path) as temporary:
        temporary.write_text("ne")
        fail_with(number)()
    assert str(caught.value) == SENTENCES[number].format(path=path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match="No disk space left"), atomic_write(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_told(tmp_path):
    folder = tmp_path / "shut"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Not allowed to write"):
        write_text(folder / "a.txt", "new")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "folder" / "a.txt"):
        with pytest.raises(OutputError, match=f"Could not write {path}"):
            write_text(path, "new")


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="a.txt"):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"]
