"""Files that are there whole or not at all."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from samplernn_theano.errors import OutputError

LOCK = ".lock"
"""The file in a folder that says, while it is locked, that a process works there."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, sync it and rename it to `path`.

    The temporary name starts with a dot and keeps the suffix of `path` (libraries choose a format by it).
    If the block raises, the temporary file is removed and `path` is left as it was. What is not `durable` is
    not synced: many small files are written faster so, and a power failure may leave some of them empty.

    Raises
    ------
    OutputError
        If the file cannot be written: no space left, read-only folder, no permission.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except OSError as error:
        raise OutputError(explain(path, error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def replace(source: Path, path: Path) -> None:
    """Give a finished, synced file the name `path`, in place of what bears it.

    Raises
    ------
    OutputError
        If that cannot be done.
    """
    try:
        os.replace(source, path)
        sync(path.parent)
    except OSError as error:
        raise OutputError(explain(path, error)) from error


def link(source: Path, path: Path) -> None:
    """Give a finished file a second name, in place of what bears it; a copy where that cannot be done.

    The two names may share their bytes: a file is never written into, only replaced.

    Raises
    ------
    OutputError
        If that cannot be done.
    """
    with atomic_write(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keep other processes from working in `folder`, which is made, until the block ends.

    A file in it, `LOCK`, is locked (which other machines see too if the file system is shared) and removed at
    the end. One that a killed process left behind is not locked. Yields the lock's descriptor: a process that
    inherits it holds the lock as well.

    Raises
    ------
    OutputError
        If another process works there, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(folder / LOCK)
    except BlockingIOError as error:
        raise OutputError(f"Another process works in {folder}; wait for it to end.") from error
    except OSError as error:
        raise OutputError(explain(folder, error)) from error
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(descriptor)


def _lock(path: Path) -> int:
    """A descriptor of the file `path`, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # that file was removed meanwhile: its owner has just ended


def is_locked(folder: Path) -> bool:
    """Whether a process works in `folder` under `locked`; changes nothing."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: several may look at once
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)  # gives the lock back
    return False


def write_text(path: str | os.PathLike[str], text: str, durable: bool = True) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    with atomic_write(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path, told: Callable[[int], object] = lambda _: None) -> str:
    """The SHA-256 of a file, in hexadecimal digits; `told` hears of every so many bytes that are read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
            told(len(block))
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until the file or folder `path` is on the disk, not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explain(path: Path, error: OSError) -> str:
    """Say in one sentence why `path` could not be written and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No disk space left while writing {path}; free some space and run the command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"Not allowed to write {path}; choose a folder that you can write to."
    return f"Could not write {path}: {error.strerror or error}."


# --- new files and folders, and what may be replaced --------------------------------------------------------


def check_file_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError if there is something at `path`, which with `overwrite` may be a file."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; name another file, or give --overwrite.")


def check_folder_free(
    folder: Path,
    source: Path,
    is_run: bool,
    overwrite: bool,
    other_files: Callable[[Path], Sequence[Path]],
) -> None:
    """Raise OutputError if `folder` may not be made of `source`.

    It may be missing or empty; with `overwrite` it may be a run (`is_run`), but not the one that `source` is
    or lies in, and not if `other_files` finds files in it that a run does not have.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder, or a file that ends in .npz or .pkl.")
    if not is_run:
        raise OutputError(f"The folder {folder} holds other files; name an empty or new one.")
    if source.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{source} lies in {folder}, which would be replaced; name another folder.")
    if others := other_files(folder):
        raise OutputError(
            f"The folder {folder} holds other files ({others[0].name}); name an empty or new one."
        )
    if not overwrite:
        raise OutputError(f"The folder {folder} holds a run; name another one, or give --overwrite.")


@contextmanager
def whole_folder(folder: Path, root: Path, overwrite: bool) -> Iterator[Path]:
    """Yield where to build what `folder`, below `root`, will be when the block ends well.

    With `overwrite` a folder that stood there is replaced, but not while another process works in it.

    Raises
    ------
    OutputError
        If something cannot be written; what stood there is left as it was.
    """
    scratch = root / f".convert.{os.getpid()}.part"
    built = scratch / folder.relative_to(root)
    try:
        built.mkdir(parents=True)
        yield built
        folder.parent.mkdir(parents=True, exist_ok=True)
        if overwrite and folder.exists():
            with locked(folder):
                _exchange(built, folder)
        else:
            os.replace(built, folder)  # fails where a folder has been filled meanwhile
        sync(folder.parent)
    except OSError as error:
        raise OutputError(explain(folder, error)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _exchange(new: Path, folder: Path) -> None:
    """Give `new` the name `folder`, and delete what bore it; were that cut short, it lies beside as .old."""
    old = folder.with_name(f"{folder.name}.old")
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    shutil.rmtree(old)
