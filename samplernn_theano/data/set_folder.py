"""The folder of a data set: its file names, overwriting, and writing."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import SPLITS, offsets_path
from samplernn_theano.data.manifest import CLIPS, MANIFEST, PICTURE
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_replace, atomic_write


def set_files(out: Path, name: str) -> list[Path]:
    """Paths of all files that a data set of this name may have in `out`."""
    arrays = [out / f"{name}_{split}.npy" for split in SPLITS]
    return [*arrays, *map(offsets_path, arrays), out / CLIPS, out / MANIFEST, out / PICTURE]


def check_overwrite(out: Path, name: str, overwrite: bool) -> None:
    """Refuse to mix two data sets in `out`, or to replace files unless `overwrite`."""
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 200:
        raise DataError(f"{name!r} cannot begin a file name; give a name such as clips.")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder; give a folder for the data set.")
    own = set_files(out, name)
    others = {path for split in SPLITS for path in out.glob(f"*_{split}.npy")} - set(own)
    if others:
        raise DataError(f"{out} holds another data set ({min(others).name}); choose another folder.")
    held = [path.name for path in own if path.exists()]
    if held and not overwrite:
        raise DataError(
            f"{out} holds a data set already ({', '.join(held)}); choose another folder, or pass --overwrite."
        )


def write_npy(
    path: Path, shape: tuple[int, ...], parts: Iterable[NDArray], dtype: str, durable: bool = True
) -> None:
    """Write `parts`, concatenated, as one .npy array of this shape and `dtype`, atomically."""
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    with atomic_write(path, durable) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data.cast("B"))


def move_into_place(new: Path, out: Path, name: str) -> None:
    """Move a finished data set from the folder `new` to `out`, replacing an existing one.

    The old set is removed first, and the manifest is moved last: after a crash in between, `out` may lack
    splits, but never holds those of two data sets.
    """
    for path in reversed(set_files(out, name)):
        path.unlink(missing_ok=True)
    for path in set_files(new, name):
        if path.exists() and path.name != MANIFEST:
            atomic_replace(path, out / path.name)
    atomic_replace(new / MANIFEST, out / MANIFEST)
