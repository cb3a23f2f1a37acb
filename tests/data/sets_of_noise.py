"""Recordings of noise, and data sets of them."""

from pathlib import Path

import numpy as np
import soundfile

from samplernn_theano.data import prepare, recordings
from samplernn_theano.data.dataset import SPLITS, load_split
from samplernn_theano.data.recipes import Recipe, by_fractions
from samplernn_theano.data.set_folder import set_files

SECOND = 16000


def write(path: Path, samples: np.ndarray, rate: int = SECOND, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)


def record(path: Path, seconds: float, seed: int = 0, rate: int = SECOND, **options) -> np.ndarray:
    """Write noise of 16 bit; return it as float16, as a data set holds it."""
    samples = np.random.default_rng(seed).integers(-9000, 9000, round(seconds * rate)).astype(np.int16)
    write(path, samples, rate, **options)
    return (samples / 32768).astype(np.float16)


def build(folder: Path, out: Path, overwrite: bool = False, progress: bool = False, **options) -> dict:
    """Build a set of clips of 0.01 s as `samplernn prepare`, or with other options of a recipe."""
    given = {"name": "clips", "clip_seconds": 0.01, "sizes": by_fractions(0.1, 0.1), **options}
    recipe = Recipe(set="folder", **given)
    found = recordings.find(folder, set_files(out, recipe.name))
    return prepare.build(found, out, recipe, overwrite, progress)


def load(out: Path) -> dict[str, np.ndarray]:
    return {split: load_split(out, split) for split in SPLITS}


def in_order(out: Path) -> np.ndarray:
    """All clips of a set in the order before the shuffle; no clip may be left out."""
    together = np.concatenate(list(load(out).values()))
    return together[np.argsort(prepare.original_order(len(together)))]
