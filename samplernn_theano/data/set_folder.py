"""The folder of a data set: which files are its own, when they may be replaced, how they are written."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import SPLITS, offsets_path
from samplernn_theano.data.manifest import CLIPS, MANIFEST, PICTURE
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_write, replace


def own_files(out: Path, name: str) -> list[Path]:
    """All files that a data set of this name may have in `out`."""
    arrays = [out / f"{name}_{split}.npy" for split in SPLITS]
    return [*arrays, *map(offsets_path, arrays), out / CLIPS, out / MANIFEST, out / PICTURE]


def check_out(out: Path, name: str, overwrite: bool) -> None:
    """Refuse to mix two data sets in `out`, or to replace a file unasked.

    Raises
    ------
    DataError
        If so, or if `name` cannot begin a file name.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 200:
        raise DataError(f"{name!r} cannot begin a file name; give a name such as clips.")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder; give a folder for the data set.")
    own = own_files(out, name)
    others = {path for split in SPLITS for path in out.glob(f"*_{split}.npy")} - set(own)
    if others:
        raise DataError(f"{out} holds another data set ({min(others).name}); choose another folder.")
    held = [path.name for path in own if path.exists()]
    if held and not overwrite:
        raise DataError(
            f"{out} holds a data set already ({', '.join(held)}); choose another folder, or pass --overwrite."
        )


def save(
    path: Path, shape: tuple[int, ...], parts: Iterable[NDArray], dtype: str, durable: bool = True
) -> None:
    """Write `parts`, arrays of this type, one after the other as one .npy array of this shape, atomically.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    with atomic_write(path, durable) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data.cast("B"))


def move_in(new: Path, out: Path, name: str) -> None:
    """Move a finished data set from the folder `new` to `out`, in place of the one that may be there.

    That one goes first, and the manifest comes last. So whoever reads `out` after a crash in between finds
    splits of one data set, or too few splits, but never those of two.

    Raises
    ------
    OutputError
        If that cannot be done.
    """
    for path in reversed(own_files(out, name)):
        path.unlink(missing_ok=True)
    for path in own_files(new, name):
        if path.exists() and path.name != MANIFEST:
            replace(path, out / path.name)
    replace(new / MANIFEST, out / MANIFEST)
