"""Atomic writes, locks and checksums of files."""

import errno
import fcntl
import glob
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.text import say

LOCK, OWNER = ".lock", ".lock.owner"
"""Lock file in a folder that a process uses; where there are no locks, the file that names the process."""

MAX_PROCESSES = 10**7
"""More than the largest number of a process."""

ABANDONED = 24 * 3600.0
"""Seconds without a write after which a temporary file counts as left by a process that was killed."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to `path`; if the block succeeds, sync it and rename it to `path`.

    If the block raises, the temporary file is removed and `path` is unchanged; an OSError becomes an
    OutputError. With `durable` false the file is not synced: faster for many small files, but a power failure
    may leave some of them empty.
    """
    path = Path(path)
    # Libraries choose a format by the suffix.
    temporary = path.with_name(f".{path.stem}.{_this_process()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except OSError as error:
        raise OutputError(write_error_message(path, error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def atomic_replace(source: Path, path: Path) -> None:
    """Rename a complete, synced file to `path`, replacing an existing one."""
    try:
        os.replace(source, path)
        sync(path.parent)
    except OSError as error:
        raise OutputError(write_error_message(path, error)) from error


def atomic_link(source: Path, path: Path) -> None:
    """Link (or copy) a complete file to `path`: files are never modified, only replaced."""
    with atomic_write(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock `folder`, which is created if missing, against other processes until the block ends.

    The file `LOCK` in it is locked (on a shared file system also for other machines), and removed at the end;
    one left by a killed process is not locked. A process that inherits the descriptor that is yielded holds
    the lock as well. On a file system without locks the file `OWNER` names the process that works there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(folder)
    except BlockingIOError as error:
        raise OutputError(f"Another process works in {folder}; wait for it to end{_hint(folder)}.") from error
    except OSError as error:
        raise OutputError(write_error_message(folder, error)) from error
    try:
        yield descriptor
    finally:
        # Where the folder was moved away, those of another process may be in its place.
        with suppress(OSError):
            if (folder / OWNER).read_text(encoding="utf-8") == _process(os.getpid()):
                (folder / OWNER).unlink()
        with suppress(OSError):
            if _is_at(descriptor, folder / LOCK):
                (folder / LOCK).unlink()
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """A descriptor that locks `folder`."""
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _own(folder)
                return descriptor
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has just removed the file


def _is_at(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), os.stat(path))


def flock(descriptor: int, operation: int) -> bool:
    """Lock a file as `fcntl.flock` does; False on a file system without locks (Lustre, some NFS)."""
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK):
            return False
        raise
    return True


def _own(folder: Path) -> None:
    """Write `OWNER`; BlockingIOError if it names another process, unless that has ended."""
    path = folder / OWNER
    while True:
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(_process(os.getpid()))
            say(f"{folder} has no file locks; until this process ends, {path} keeps other processes away.")
            return
        except FileExistsError:
            pass
        if _is_owned(folder):
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        # Of two processes that find the file of one that has ended, only one can rename it.
        ended = folder / f"{OWNER}.{_this_process()}.part"
        with suppress(FileNotFoundError):
            os.rename(path, ended)
            if _has_ended(ended):
                ended.unlink()
            else:  # the other one was faster and has written its own
                os.rename(ended, path)


def _process(number: int) -> str:
    """A process as a line: its number, when it was started, the machine's name, and `_namespace`."""
    try:
        started = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # it has ended, or this is not Linux
        started = "-"
    return f"{number} {started} {socket.gethostname()} {_namespace()}\n"


def _namespace() -> int:
    """A hash of that in which process numbers are unique: machines and containers may share a host name."""
    about = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        about.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8"))
        about.append(os.readlink("/proc/self/ns/pid"))
    return int.from_bytes(hashlib.sha256("\n".join(about).encode()).digest()[:4])


def _this_process() -> int:
    """A number for the names of temporary files that no other process has, also not on another machine."""
    return _namespace() * MAX_PROCESSES + os.getpid()


def _is_owned(folder: Path) -> bool:
    return (folder / OWNER).exists() and not _has_ended(folder / OWNER)


def _has_ended(owner: Path) -> bool:
    """True if the process that a file names was one of this machine and container, and has ended."""
    with suppress(OSError, ValueError, OverflowError):
        line = owner.read_text(encoding="utf-8")
        number, _, _, namespace = line.split()
        if int(namespace) == _namespace():
            return not _runs(int(number)) or _process(int(number)) != line  # another one of this number
    return False


def _runs(number: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
    return True


def _hint(folder: Path) -> str:
    """What to do about a file `OWNER`, whose process may have ended on another machine."""
    if not (folder / OWNER).exists():
        return ""
    process = "none does"
    with suppress(OSError, ValueError):
        number, _, host = (folder / OWNER).read_text(encoding="utf-8").split()[:3]
        process = f"process {number} on {host} has ended"
    return f", or, if {process}, remove {folder / OWNER}"


def is_locked(folder: Path) -> bool:
    """Return True if a process has locked `folder` with `locked`."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared: several may check at once.
        return not flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB) and _is_owned(folder)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)  # releases the lock


def write_text(path: str | os.PathLike[str], text: str, durable: bool = True) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    with atomic_write(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path, on_progress: Callable[[int], object] = lambda _: None) -> str:
    """SHA-256 of a file in hexadecimal digits; `on_progress` gets the size of every block read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
            on_progress(len(block))
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush the file or folder `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error_message(path: Path, error: OSError) -> str:
    """A message on why `path` could not be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No disk space left while writing {path}; free some space and run the command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"Not allowed to write {path}; choose a folder that you can write to."
    return f"Could not write {path}: {error.strerror or error}."


def os_error_message(error: OSError) -> str:
    """A message on an operation on a file that failed, and what to do."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        while_writing = f" while writing {path}" if path else ""
        return f"No disk space left{while_writing}; free some space and run the command again."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "Too many files are open; raise the limit (ulimit -n) and run the command again."
    return f"{path and f'{path}: '}{error.strerror or error}."


@contextmanager
def atomic_folder(folder: Path, root: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a staging folder that becomes `folder`, below `root`, if the block succeeds.

    With `overwrite` an existing folder is replaced, unless another process has locked it.
    """
    created = [path for path in (root, *root.parents) if not path.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(f".{_this_process()}.part", ".convert.", root))
    except OSError as error:
        raise OutputError(write_error_message(folder, error)) from error
    built, mark = staging / "new" / folder.relative_to(root), staging / "mark"
    try:
        mark.touch()
        built.mkdir(parents=True)
        yield built
        mark.stat()  # else this process stood still so long that another one has cleared the folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        if overwrite and folder.exists():
            with locked(folder):
                _exchange(built, folder)
        else:
            os.replace(built, folder)  # fails if the folder has been filled meanwhile
        sync(folder.parent)
    except OSError as error:
        raise OutputError(write_error_message(folder, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for path in created:
            with suppress(OSError):  # not empty
                path.rmdir()


def clear_abandoned(path: Path, root: Path) -> None:
    """Remove what killed processes left of `path` in `root`; restore what one was replacing.

    What a process of another machine or container may still be writing is removed after `ABANDONED` seconds.
    """
    old = _replaced(path)
    if not is_locked(old):  # by the process that is replacing it
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)
    for staging in filter(_is_abandoned, root.glob(".convert.*.part")):
        shutil.rmtree(staging, ignore_errors=True)
    for part in path.parent.glob(f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}"):
        if part.is_file() and _is_abandoned(part):
            part.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    """True if the process in the name of a temporary file or folder has ended, or wrote nothing for long."""
    if not (found := re.search(r"\.(\d+)\.part", path.name)):
        return False
    namespace, number = divmod(int(found[1]), MAX_PROCESSES)  # earlier versions wrote the latter alone
    if namespace == _namespace() and not _runs(number):
        return True
    with suppress(OSError):  # it has just been removed
        written = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
        return time.time() - written > ABANDONED
    return False


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _exchange(new: Path, folder: Path) -> None:
    """Replace `folder` with `new` and delete the old one, which has a hidden name meanwhile."""
    old = _replaced(folder)
    shutil.rmtree(old, ignore_errors=True)  # of a process that was killed here
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    shutil.rmtree(old)
