"""The folder of a data set: its file names, overwriting, and writing."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import SPLITS, load_split, offsets_path, statistics
from samplernn_theano.data.manifest import CLIPS, MANIFEST, PICTURE
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_replace, atomic_write, sha256, sync, write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.version import package_version

UNFINISHED = ".unfinished"
"""A mark in the folder of a set, from before its first file is moved in until the work is done."""


def set_files(out: Path, name: str) -> list[Path]:
    """Paths of all files that a data set of this name may have in `out`."""
    arrays = [out / f"{name}_{split}.npy" for split in SPLITS]
    return [*arrays, *map(offsets_path, arrays), out / CLIPS, out / MANIFEST, out / PICTURE]


def check_overwrite(out: Path, name: str, overwrite: bool) -> None:
    """Raise DataError if `out` holds another data set, or one of this name and not `overwrite`.

    What an interrupted command left of a set is replaced without it.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 200:
        raise DataError(f"{name!r} cannot begin a file name; give a name such as clips.")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder; give a folder for the data set.")
    own = set_files(out, name)
    others = {path for split in SPLITS for path in out.glob(f"*_{split}.npy")} - set(own)
    if others:
        raise DataError(f"{out} holds another data set ({min(others).name}); choose another folder.")
    held = [path.name for path in own if path.exists()]
    if held and not overwrite and not (out / UNFINISHED).exists():
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


def new_manifest(set_: str, options: dict[str, Any], layout: str = "fixed") -> dict[str, Any]:
    """The beginning of a manifest, without splits."""
    return {
        "version": package_version(),
        "set": set_,
        "options": options,
        "layout": layout,
        "rate": SAMPLE_RATE,
        "splits": {},
    }


def write_split(path: Path, clips: int, shape: tuple[int, ...], parts: Iterable[NDArray]) -> dict[str, Any]:
    """Write the samples of a split, (clips, samples) or (samples,); return its entry in the manifest."""
    write_npy(path, shape, parts, "<f2")
    seconds = int(np.prod(shape)) / SAMPLE_RATE
    return {"file": path.name, "clips": clips, "seconds": seconds, "sha256": sha256(path)}


def finish(new: Path, out: Path, manifest: dict[str, Any]) -> None:
    """Complete and write the manifest, and move the finished set from `new` to `out`."""
    manifest["train_mean"], manifest["train_std"] = statistics(load_split(new, "train"))
    write_text(new / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    move_in(new, out, manifest["options"]["name"])


def move_in(new: Path, out: Path, name: str) -> None:
    """Move the finished set of this name from `new` to `out`.

    The old set is removed first, and the manifest is moved last: after a crash in between, `out` may lack
    splits, but never holds those of two data sets. `UNFINISHED` stays until
    the caller has cleaned up.
    """
    (out / UNFINISHED).touch()
    sync(out)
    for path in reversed(set_files(out, name)):
        path.unlink(missing_ok=True)
    for path in set_files(new, name):
        if path.exists() and path.name != MANIFEST:
            atomic_replace(path, out / path.name)
    atomic_replace(new / MANIFEST, out / MANIFEST)
