"""Files are there whole or not at all, and what stops a write is said in one sentence."""

import errno
import fcntl
import multiprocessing
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import atomic_write, is_locked, locked, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path):
    """A file that is old unless a test writes it, with nothing left beside it."""
    path = tmp_path / "model.best.npz"
    path.write_text("old")
    yield path
    assert names(tmp_path) == [path.name]


def test_content_appears_whole_when_the_block_ends(path):
    with atomic_write(str(path)) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".") and temporary.suffix == ".npz"
        temporary.write_text("half")
        assert path.read_text() == "old"
        temporary.write_text("half and half")
    assert path.read_text() == "half and half"


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
def test_an_exception_in_the_block_leaves_the_old_file(path, reason):
    with pytest.raises(type(reason)) as caught, atomic_write(path) as temporary:
        temporary.write_text("new")
        raise reason
    assert caught.value is reason and path.read_text() == "old"


FULL = "No disk space left while writing {path}; free some space and run the command again."
DENIED = "Not allowed to write {path}; choose a folder that you can write to."
SENTENCES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: DENIED,
    errno.EIO: "Could not write {path}: Input/output error.",
}


@pytest.mark.parametrize("number", SENTENCES, ids=errno.errorcode.get)
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_step_that_fails_is_told_and_the_old_file_stays(path, monkeypatch, number, step):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    if step != "write":
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OutputError) as caught, atomic_write(path) as temporary:
        temporary.write_text("new")
        if step == "write":
            fail()
    assert str(caught.value) == SENTENCES[number].format(path=path)
    assert path.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told(path):
    with pytest.raises(OutputError, match="No disk space left"), atomic_write(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert path.read_text() == "old"


def test_a_path_that_cannot_be_written_is_told(path, tmp_path):
    for below in (path / "a.txt", path / "folder" / "a.txt"):
        with pytest.raises(OutputError, match=f"Could not write {below}"):
            write_text(below, "new")
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=path.name):
        write_text(path, "new")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_told(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Not allowed to write"):
        write_text(tmp_path / "shut" / "a.txt", "new")


def refused(folder: Path) -> str:
    """The refusal to lock a folder a second time."""
    with pytest.raises(OutputError, match=f"Another process works in {re.escape(str(folder))};") as caught:
        with locked(folder):
            pass
    return str(caught.value)


@pytest.fixture(params=[None, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK], ids=errno.errorcode.get)
def has_locks(request, monkeypatch):
    """File systems with and without locks."""
    if request.param:

        def fail(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", fail)
    return request.param is None


def test_a_folder_is_locked_by_one_process_at_a_time_also_without_locks(tmp_path, capsys, has_locks):
    folder = tmp_path / "run"
    for _ in range(2):
        with locked(folder):
            assert is_locked(folder)
            assert refused(folder).endswith("wait for it to end.") == has_locks
            assert is_locked(folder)
        assert not is_locked(folder) and names(folder) == []
    assert capsys.readouterr().err.count(f"{folder} has no file locks") == (0 if has_locks else 2)


def test_without_locks_a_process_that_has_ended_keeps_nobody_away(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: exec("raise OSError(38, 'Function not implemented')"))
    code = "from pathlib import Path; from samplernn_theano.utils import files; files._own(Path('.'))"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True)
    owner = tmp_path / ".lock.owner"
    number, started, host = owner.read_text().split()
    assert host == socket.gethostname() and not is_locked(tmp_path)
    with locked(tmp_path):
        assert owner.read_text().startswith(f"{os.getpid()} ")
    # Another process has its number now.
    owner.write_text(f"{os.getpid()} {started} {host}\n")
    with locked(tmp_path):
        pass
    owner.write_text(f"{number} {started} another-machine\n")
    assert refused(tmp_path).endswith(f"if process {number} on another-machine has ended, remove {owner}.")
    for damaged in ("", "x", f"{10**30} - {host}\n", f"x - {host}\n"):
        owner.write_text(damaged)
        assert f"remove {owner}." in refused(tmp_path)


def count(folder: Path, barrier) -> None:
    """Count in a file 20 times, each time under the lock; processes that meet would lose a count."""
    barrier.wait()
    done = 0
    while done < 20:
        try:
            with locked(folder):
                number = int((folder / "count").read_text())
                (folder / "count").write_text(str(number + 1))
                done += 1
        except OutputError:
            pass


def test_without_locks_processes_that_race_for_a_folder_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: exec("raise OSError(38, 'Function not implemented')"))
    (tmp_path / "count").write_text("0")
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(4)
    processes = [fork.Process(target=count, args=(tmp_path, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "count").read_text() == "80"
