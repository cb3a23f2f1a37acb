"""The report's section with figures 1 and 2 of the paper, for the models and samples of a workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.errors import SampleRNNError
from samplernn_theano.reproduction import figures, report_audio
from samplernn_theano.reproduction.document import Block, Paragraph, Picture, line
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.records import Attempt, Results

SECONDS = 5.0
"""Length of the beginning of a generated sound, of which figure 2 shows 2 s."""


def blocks(results: Results, experiments: Mapping[str, Experiment], report: Path) -> list[Block]:
    """Unrolled models of the trained families, and waveforms of data and generated samples."""
    found = [*_unrolled(results, experiments, report), *_waveforms(results, experiments, report)]
    return found or [Paragraph(line("No model has been trained yet."))]


def _unrolled(results: Results, experiments: Mapping[str, Experiment], report: Path) -> list[Block]:
    found: dict[str, HyperParameters] = {}
    for experiment in experiments.values():
        for attempt in results.of(experiment.run):
            if experiment.family not in found and (hp := _hyperparameters(attempt)):
                found[experiment.family] = hp
    pictures: list[Block] = []
    for family, hp in found.items():
        path = report / "pictures" / f"unrolled_{family}.png"
        figures.unrolled(path, hp)
        pictures.append(_picture(path, f"Figure 1: {family} as it was trained here, unrolled"))
    return pictures


def _hyperparameters(attempt: Attempt) -> HyperParameters | None:
    try:
        return FAMILIES[attempt.settings["family"]](**attempt.settings["hyperparameters"])
    except (KeyError, TypeError, SampleRNNError):  # not started, or damaged
        return None


def _waveforms(results: Results, experiments: Mapping[str, Experiment], report: Path) -> list[Block]:
    sounds = columns(results, experiments)
    if not sounds:
        return []
    path = report / "pictures" / "waveforms.png"
    try:
        figures.waveforms(path, sounds)
    except SampleRNNError as error:
        return [Paragraph(line(f"Figure 2 was not drawn: {error}"))]
    return [_picture(path, "Figure 2: waveforms of data and of generated sound, 2 s and 100 ms of them")]


def columns(
    results: Results, experiments: Mapping[str, Experiment]
) -> dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """A clip and a generated sound of each data set, (samples,), by title; 3-tier models are preferred."""
    found: dict[str, tuple[str, NDArray[np.floating], NDArray[np.floating]]] = {}
    for experiment in sorted(experiments.values(), key=lambda experiment: experiment.family != "three_tier"):
        if experiment.data in found or (sound := _first(results.of(experiment.run))) is None:
            continue
        if (clip := report_audio.clip_of(results, experiment.data)) is not None:
            found[experiment.data] = (f"{experiment.data}, {experiment.family}", clip, sound)
    return {title: (clip, sound) for title, clip, sound in found.values()}


def _first(attempts: Sequence[Attempt]) -> NDArray[np.floating] | None:
    sounds = (report_audio.read(path, SECONDS) for attempt in attempts for path in attempt.sounds)
    return next((sound for sound in sounds if sound is not None), None)


def _picture(path: Path, title: str) -> Picture:
    height, width = matplotlib.image.imread(path).shape[:2]
    return Picture(f"pictures/{path.name}", title, width, height)
