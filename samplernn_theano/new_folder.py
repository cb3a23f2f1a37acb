"""Folders that are there whole or not at all, and what may be replaced."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samplernn_theano import files
from samplernn_theano.errors import OutputError
from samplernn_theano.runs import other_files


def check_file_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError if there is something at `path`, which with `overwrite` may be a file."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; name another file, or give --overwrite.")


def check_folder_free(folder: Path, source: Path, is_run: bool, overwrite: bool) -> None:
    """Raise OutputError if `folder` may not be made of `source`.

    It may be missing or empty; with `overwrite` it may be a run (`is_run`), but not the one that `source` is
    or lies in.
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
            with files.locked(folder):
                _exchange(built, folder)
        else:
            os.replace(built, folder)  # fails where a folder has been filled meanwhile
        files.sync(folder.parent)
    except OSError as error:
        raise OutputError(files.explain(folder, error)) from error
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
