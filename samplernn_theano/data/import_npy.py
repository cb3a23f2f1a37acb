"""Import of a data set in .npy files, such as the authors'."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import SPLITS, Ragged, load_split, release
from samplernn_theano.data.recordings import staging_directory
from samplernn_theano.data.set_folder import check_overwrite, finish, new_manifest, write_split
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import sha256
from samplernn_theano.utils.progress import counted
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

MAX_PEAK = 32
"""Clips are not louder than this times full scale; above, they are integers, or in other units."""


def import_npy(source: Path, out: Path, set_: str, name: str, overwrite: bool = False) -> dict[str, Any]:
    """Copy the splits in `source` to `out` as float16, and write a manifest; return it.

    `source` holds ``NAME_train.npy``, ``NAME_valid.npy`` and ``NAME_test.npy``: floats (clips, samples), 16
    kHz. The manifest calls the set `set_`.
    """
    if source.resolve() == out.resolve():
        raise DataError(f"{out} holds the files to import; choose another folder for the data set.")
    check_overwrite(out, name, overwrite)
    splits = {split: _one_length(source, name, split) for split in SPLITS}
    lengths = {clips.shape[1] for clips in splits.values()}
    if len(lengths) > 1:
        raise DataError(f"The splits in {source} hold clips of different lengths: {sorted(lengths)} samples.")
    manifest = new_manifest(set_, {"name": name, "clip_seconds": lengths.pop() / SAMPLE_RATE})
    manifest["adopted_from"] = {}
    with staging_directory(out) as work:
        for split, clips in splits.items():
            path = work / "new" / f"{name}_{split}.npy"
            parts = (_in_range(clip, source) for clip in counted(clips, f"copy {split}", len(clips), "clips"))
            manifest["splits"][split] = write_split(path, len(clips), clips.shape, parts)
            manifest["adopted_from"][path.name] = sha256(source / path.name)
            release(clips)
        finish(work / "new", out, manifest)
    return manifest


def _one_length(source: Path, name: str, split: str) -> NDArray:
    clips = load_split(source, split)
    if not (source / f"{name}_{split}.npy").is_file():
        raise DataError(f"{source} holds no {name}_{split}.npy, which belongs to {name}_train.npy.")
    if isinstance(clips, Ragged):
        raise DataError(
            f"The {split} split in {source} is ragged and needs no import: train --data {source}."
        )
    if not clips.size:
        raise DataError(f"The {split} split in {source} holds no clips; get {name}_{split}.npy again.")
    return clips


def _in_range(clip: NDArray[np.floating], source: Path) -> NDArray[np.floating]:
    """The clip, (samples,), if it is not of integers or of other units."""
    peak = np.abs(clip).max()
    if peak > MAX_PEAK:
        raise DataError(
            f"The clips in {source} reach {peak:,.6g}, and full scale is from -1 to 1: divide them "
            "(by 32768, if they were integers of 16 bits)."
        )
    return clip
