"""Files are there whole or not at all, and what stops a write is said in one sentence."""

import errno
import fcntl
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import (
    atomic_folder,
    atomic_write,
    clear_abandoned,
    is_locked,
    locked,
    write_text,
)


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
    number, started, host, namespace = owner.read_text().split()
    assert host == socket.gethostname() and not is_locked(tmp_path)
    with locked(tmp_path):
        assert owner.read_text().startswith(f"{os.getpid()} ")
    # Another process has its number now.
    owner.write_text(f"{os.getpid()} {started} {host} {namespace}\n")
    with locked(tmp_path):
        pass
    elsewhere = int(namespace) + 1  # another container, or another machine, of this or another name
    for name, of in ((host, f" {elsewhere}"), ("another-machine", f" {elsewhere}"), (host, "")):
        owner.write_text(f"{number} {started} {name}{of}\n")
        assert refused(tmp_path).endswith(f"if process {number} on {name} has ended, remove {owner}.")
    for damaged in ("", "x", f"{10**30} - {host} {namespace}\n", f"x - {host} {namespace}\n"):
        owner.write_text(damaged)
        assert f"remove {owner}." in refused(tmp_path)


CONTAINER = """
import fcntl, sys
from pathlib import Path
from samplernn_theano.utils import files
def fail(*_):
    raise OSError(38, "Function not implemented")
fcntl.flock, out = fail, Path("out").absolute()
files.clear_abandoned(out / sys.argv[1], out)
with files.atomic_folder(out / sys.argv[1], out, False) as folder, files.atomic_write("file") as part:
    part.write_text(sys.argv[1])
    (folder / "file").touch()
    print("writing", flush=True)
    with files.locked(Path("run")) if input() else open("file"):
        pass
"""


def test_the_lock_of_a_folder_in_place_of_one_that_was_moved_stays(tmp_path):
    with ExitStack() as first:
        first.enter_context(locked(tmp_path / "a"))
        (tmp_path / "a").rename(tmp_path / "b")
        with locked(tmp_path / "a"):
            first.close()
            assert is_locked(tmp_path / "a")
    assert names(tmp_path / "a") == []


def test_containers_with_one_host_name_and_equal_process_numbers_do_not_meet(tmp_path):
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of processes here")
    (tmp_path / "file").touch()
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    one, two, three = (
        subprocess.Popen(
            [*unshare, sys.executable, "-c", CONTAINER, name], cwd=tmp_path, env=env, text=True, **pipes
        )
        for name in "abc"
    )
    assert [process.stdout.readline() for process in (one, two, three)] == ["writing\n"] * 3
    with locked(tmp_path / "run"):  # as if one of them did
        (tmp_path / "run" / ".lock.owner").write_text(f"1 - {socket.gethostname()} 7\n")
        assert "Another process works in run" in two.communicate("lock\n", 60)[1]
    assert one.communicate("\n", 60)[1] == three.communicate("\n", 60)[1] == ""
    assert names(tmp_path / "out") == ["a", "c"] and names(tmp_path / "out" / "a") == ["file"]
    assert (tmp_path / "file").read_text() in "ac"


@pytest.mark.parametrize(
    ("elsewhere", "is_running", "hours", "is_left"),
    [
        (0, True, 0, True),
        (0, False, 0, False),
        (1, False, 0, True),  # on another machine or in another container, where it may run
        (1, False, 23, True),
        (1, True, 25, False),
    ],
)
def test_what_killed_processes_left_is_cleared(tmp_path, elsewhere, is_running, hours, is_left):
    with atomic_write(tmp_path / "a.npz") as temporary:
        temporary.touch()
    ended = subprocess.Popen(["true"])
    ended.wait()
    number = int(temporary.name.split(".")[2]) + elsewhere * 10**7
    number += 0 if is_running else ended.pid - os.getpid()
    folder, file = tmp_path / f".convert.x.{number}.part", tmp_path / f".a.{number}.part.npz"
    older = tmp_path / f".convert.{ended.pid}.part"  # of an earlier version
    for path in (folder / "a" / "file", older / "a" / "file", file):
        write_text(path, "")
    for path in (file, *folder.rglob("*"), folder, *older.rglob("*"), older):
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    clear_abandoned(tmp_path / "a.npz", tmp_path)
    assert [file.exists(), folder.exists(), older.exists()] == [is_left, is_left, hours < 24]


def test_a_folder_that_was_cleared_meanwhile_is_an_error(tmp_path):
    """Of a process that stood still for more than a day: what it writes from then on would be half."""
    with pytest.raises(OutputError, match="Could not write .*a: No such file"):
        with atomic_folder(tmp_path / "a", tmp_path, False) as folder:
            shutil.rmtree(folder.parents[1])
            write_text(folder / "rest", "rest")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["mark", "new", "new/mark"])
def test_a_folder_of_any_name_is_made(tmp_path, name):
    with atomic_folder(tmp_path / name, tmp_path, False) as folder:
        write_text(folder / "file", "")
    assert names(tmp_path / name) == ["file"]


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
