"""The report's sounds: excerpts of generated samples and of data, as players and for figure 2."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from samplernn_theano.data.dataset import load_split
from samplernn_theano.errors import DataError
from samplernn_theano.generation import encoders, spectrograms
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.records import Attempt, Results, part, text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import format_duration

N, SECONDS = 2, 5.0
"""Sounds of an attempt, and their maximum length."""


class Sound(NamedTuple):
    """An audio player with a spectrogram: title, files in the report's folder, loudness."""

    title: str
    file: str
    picture: str
    facts: str
    width: int = spectrograms.WIDTH
    height: int = spectrograms.HEIGHT


def of_attempt(attempt: Attempt, report: Path) -> list[Sound]:
    """Copy the first decodable sounds of an attempt."""
    shown: list[Sound] = []
    for path in attempt.sounds:
        if len(shown) < N and (x := read(path)) is not None:
            stem = f"{attempt.experiment.replace('/', '_')}_seed{attempt.seed}_{len(shown)}"
            title = f"{attempt.experiment} ({attempt.scale or 'scale unknown'}), sound {len(shown) + 1}"
            shown.append(_copy(x, report, stem, title))
    return shown


def of_data(results: Results, name: str, report: Path) -> list[Sound]:
    """Copy a clip of a data set's test split; empty if it cannot be read."""
    if (clip := clip_of(results, name)) is None:
        return []
    title = f"data: {name}, a clip of the test set"
    return [_copy(clip[: round(SECONDS * SAMPLE_RATE)], report, f"data_{name}", title)]


def pairs(
    results: Results, experiments: Mapping[str, Experiment]
) -> dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """A clip and a generated sound of each data set, (samples,), by title; 3-tier models are preferred."""
    found: dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]] = {}
    shown: set[str] = set()
    for experiment in sorted(experiments.values(), key=lambda experiment: experiment.family != "three_tier"):
        sounds = (read(path) for attempt in results.of(experiment.run) for path in attempt.sounds)
        if experiment.data in shown or (sound := next((x for x in sounds if x is not None), None)) is None:
            continue
        if (clip := clip_of(results, experiment.data)) is not None:
            shown.add(experiment.data)
            found[f"{experiment.data}, {experiment.family}"] = (clip, sound)
    return found


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


def read(path: Path) -> NDArray[np.float32] | None:
    """The first seconds of an audio file, (samples,); None if it cannot be used."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if file.samplerate != SAMPLE_RATE:
                return None
            x = file.read(round(SECONDS * SAMPLE_RATE), dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError):
        return None
    return x if len(x) and np.isfinite(x).all() else None


def _copy(x: NDArray[np.float32], report: Path, stem: str, title: str) -> Sound:
    """Write a sound and its spectrogram unless they exist: their names hold a hash of the samples."""
    stem += f"_{hashlib.sha256(x.tobytes()).hexdigest()[:8]}"
    file, picture = f"sounds/{stem}.ogg", f"sounds/{stem}.png"
    if not (report / file).is_file():
        encoders.write(report / file, [np.clip(x, -1, 1)], {"title": title})
    spectrograms.draw_thumbnail(report / file, report / picture)
    square = np.mean(x.astype(np.float64) ** 2)
    level = f"peak {np.abs(x).max():.2f}, RMS {10 * np.log10(square):.1f} dBFS" if square else "silent"
    return Sound(title, file, picture, f"{format_duration(len(x) / SAMPLE_RATE)}; {level}")
