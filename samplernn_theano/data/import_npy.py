"""Import of a data set in .npy files, such as the authors'."""

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from samplernn_theano.data.dataset import SPLITS, Ragged, load_split, release, statistics
from samplernn_theano.data.manifest import MANIFEST
from samplernn_theano.data.recordings import staging_directory
from samplernn_theano.data.set_folder import check_overwrite, move_into_place, write_npy
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import sha256, write_text
from samplernn_theano.utils.progress import counted
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.version import package_version


def import_npy(source: Path, out: Path, set_: str, name: str, overwrite: bool = False) -> dict[str, Any]:
    """Copy the splits in `source` to `out` as float16, and write a manifest; return it.

    Parameters
    ----------
    source
        Folder with ``NAME_train.npy``, ``NAME_valid.npy`` and ``NAME_test.npy``: floats (clips, samples), 16
        kHz.
    set_
        Name of the data set, for the manifest.
    name
        Prefix of the file names, old and new.
    """
    if source.resolve() == out.resolve():
        raise DataError(f"{out} holds the files to import; choose another folder for the data set.")
    check_overwrite(out, name, overwrite)
    splits = {split: _one_length(source, name, split) for split in SPLITS}
    lengths = {clips.shape[1] for clips in splits.values()}
    if len(lengths) > 1:
        raise DataError(f"The splits in {source} hold clips of different lengths: {sorted(lengths)} samples.")
    length = lengths.pop()
    manifest: dict[str, Any] = {
        "version": package_version(),
        "set": set_,
        "options": {"name": name, "clip_seconds": length / SAMPLE_RATE},
        "layout": "fixed",
        "rate": SAMPLE_RATE,
        "splits": {},
        "adopted_from": {},
    }
    with staging_directory(out) as work:
        new = work / "new"
        for split, clips in splits.items():
            path = new / f"{name}_{split}.npy"
            write_npy(path, clips.shape, counted(clips, f"copy {split}", len(clips), "clips"), "<f2")
            release(clips)
            manifest["adopted_from"][path.name] = sha256(source / path.name)
            seconds = len(clips) * length / SAMPLE_RATE
            entry = {"file": path.name, "clips": len(clips), "seconds": seconds, "sha256": sha256(path)}
            manifest["splits"][split] = entry
        manifest["train_mean"], manifest["train_std"] = statistics(load_split(new, "train"))
        write_text(new / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        move_into_place(new, out, name)
    return manifest


def _one_length(source: Path, name: str, split: str) -> NDArray:
    clips = load_split(source, split)
    if not (source / f"{name}_{split}.npy").is_file():
        raise DataError(f"{source} holds no {name}_{split}.npy, which belongs to {name}_train.npy.")
    if isinstance(clips, Ragged) or not clips.size:
        raise DataError(f"The {split} split in {source} holds no clips of one length: (clips, samples).")
    return clips
