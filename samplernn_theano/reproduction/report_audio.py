"""The report's audio players: excerpts of generated samples and of data."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from samplernn_theano.data.dataset import load_split
from samplernn_theano.errors import DataError
from samplernn_theano.generation import encoders, spectrograms
from samplernn_theano.reproduction.document import Sound
from samplernn_theano.reproduction.records import Attempt, Results, part, text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import format_duration

FOLDER = "sounds"
"""Folder of audio files and spectrograms in the report."""


def of_attempt(attempt: Attempt, report: Path, title: str, n: int, seconds: float) -> list[Sound]:
    """Copy the first `n` decodable sounds of an attempt, cut to `seconds`."""
    shown: list[Sound] = []
    for path in attempt.sounds:
        if len(shown) == n:
            break
        x = read(path, seconds)
        if x is not None:
            stem = f"{attempt.experiment.replace('/', '_')}_seed{attempt.seed}_{len(shown)}"
            shown.append(_copy(x, report, stem, f"{title}, sound {len(shown) + 1}"))
    return shown


def of_data(results: Results, name: str, report: Path, seconds: float) -> list[Sound]:
    """Copy a clip of a data set's test split; empty if it cannot be read."""
    clip = clip_of(results, name)
    if clip is None:
        return []
    title = f"data: {name}, a clip of the test set"
    return [_copy(clip[: round(seconds * SAMPLE_RATE)], report, f"data_{name}", title)]


def clip_of(results: Results, name: str) -> NDArray[np.float32] | None:
    """The loudest of the first 8 clips of a data set's test split, (samples,); None if it cannot be read."""
    folder = results.given.get(name) or text(part(results.data.get(name, {}), "result").get("folder"))
    for candidate in (Path(folder) if folder else None, results.out / "data" / name):
        if candidate is None or not candidate.is_dir():
            continue
        try:
            clips = load_split(candidate, "test")
            first = [np.asarray(clips[i], np.float32) for i in range(min(8, len(clips)))]
        except DataError:
            continue
        return np.nan_to_num(max(first, key=lambda clip: float(np.std(clip))))
    return None


def read(path: Path, seconds: float) -> NDArray[np.float32] | None:
    """The first `seconds` of an audio file, (samples,); None if it cannot be used."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if file.samplerate != SAMPLE_RATE:
                return None
            x = file.read(round(seconds * SAMPLE_RATE), dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError):
        return None
    return x if len(x) and np.isfinite(x).all() else None


def _copy(x: NDArray[np.float32], report: Path, stem: str, title: str) -> Sound:
    """Write a sound and its spectrogram unless they exist: their names hold a hash of the samples."""
    stem += f"_{hashlib.sha256(x.tobytes()).hexdigest()[:8]}"
    file, picture = f"{FOLDER}/{stem}.ogg", f"{FOLDER}/{stem}.png"
    if not (report / file).is_file():
        encoders.write(report / file, [np.clip(x, -1, 1)], {"title": title})
    spectrograms.draw_thumbnail(report / file, report / picture)
    return Sound(title, file, picture, _facts(x))


def _facts(x: Sequence[float] | NDArray[np.float32]) -> str:
    samples = np.asarray(x, np.float64)
    length, peak, square = (
        format_duration(len(samples) / SAMPLE_RATE),
        np.abs(samples).max(),
        np.mean(samples**2),
    )
    if square == 0:
        return f"{length}; silent"
    return f"{length}; peak {peak:.2f}, RMS {10 * np.log10(square):.1f} dBFS"
