"""Checks before a conversion overwrites files or runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from samplernn_theano.errors import OutputError


def check_overwrite_file(path: Path, overwrite: bool) -> None:
    """Raise OutputError if `path` exists, unless it is a file and `overwrite` is true."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; name another file, or give --overwrite.")


def check_overwrite_folder(
    folder: Path,
    source: Path,
    is_run: bool,
    overwrite: bool,
    other_files: Callable[[Path], Sequence[Path]],
) -> None:
    """Raise OutputError if `folder` cannot be written from `source`.

    It may be missing or empty; with `overwrite` it may be a run (`is_run`), but not one that contains
    `source`, nor one in which `other_files` finds files that a run does not have.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder, or a file that ends in .npz or .pkl.")
    if not is_run:
        raise OutputError(f"The folder {folder} holds other files; name an empty or new one.")
    if source.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{source} is in {folder}, which would be replaced; name another folder.")
    if others := other_files(folder):
        raise OutputError(
            f"The folder {folder} holds other files ({others[0].name}); name an empty or new one."
        )
    if not overwrite:
        raise OutputError(f"The folder {folder} holds a run; name another one, or give --overwrite.")
