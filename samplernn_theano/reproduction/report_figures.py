"""The report's section with figures 1 and 2 of the paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import SampleRNNError
from samplernn_theano.reproduction import figures, report_audio
from samplernn_theano.reproduction.document import Block, Paragraph, Picture, line
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.paths import FILES
from samplernn_theano.reproduction.records import Attempt, Results
from samplernn_theano.utils.files import write_text

MODEL = "three_tier.svg"

SECONDS = 5.0
"""Length of the beginning of a generated sound, of which figure 2 shows 2 s."""


def blocks(results: Results, experiments: Mapping[str, Experiment], report: Path) -> list[Block]:
    """The three-tier model, and waveforms of data and generated samples."""
    path = report / "pictures" / MODEL
    write_text(path, (FILES / MODEL).read_text(encoding="utf-8"))
    model = Picture(
        f"pictures/{MODEL}", "Figure 1: the three-tier model, unrolled over one big frame", 960, 500
    )
    return [model, *_waveforms(results, experiments, report)]


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
