"""Figures 1 and 2 of the paper, of the models and sounds of a workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.errors import SampleRNNError
from samplernn_theano.reproduction import figures, sounding
from samplernn_theano.reproduction.cells import Cell
from samplernn_theano.reproduction.document import Block, Paragraph, Picture, line
from samplernn_theano.reproduction.results import Attempt, Results

SECONDS = 5.0
"""Of a generated sound, from its beginning, of which figure 2 shows two."""


def drawn(results: Results, cells: Mapping[str, Cell], report: Path) -> list[Block]:
    """The unrolled model of each family that was trained, and waveforms of each set beside generated ones."""
    told = [*_unrolled(results, cells, report), *_waveforms(results, cells, report)]
    return told or [Paragraph(line("No model has been trained yet."))]


def _unrolled(results: Results, cells: Mapping[str, Cell], report: Path) -> list[Block]:
    found: dict[str, HyperParameters] = {}
    for cell in cells.values():
        for attempt in results.of(cell.run):
            if cell.family not in found and (hp := _hyperparameters(attempt)):
                found[cell.family] = hp
    told: list[Block] = []
    for family, hp in found.items():
        path = report / "pictures" / f"unrolled_{family}.png"
        figures.unrolled(path, hp)
        told.append(_picture(path, f"Figure 1: {family} as it was trained here, unrolled"))
    return told


def _hyperparameters(attempt: Attempt) -> HyperParameters | None:
    try:
        return FAMILIES[attempt.settings["family"]](**attempt.settings["hyperparameters"])
    except (KeyError, TypeError, SampleRNNError):  # not begun, or damaged
        return None


def _waveforms(results: Results, cells: Mapping[str, Cell], report: Path) -> list[Block]:
    sounds = columns(results, cells)
    if not sounds:
        return []
    path = report / "pictures" / "waveforms.png"
    try:
        figures.waveforms(path, sounds)
    except SampleRNNError as error:
        return [Paragraph(line(f"Figure 2 is not drawn: {error}"))]
    return [_picture(path, "Figure 2: waveforms of data and of generated sound, 2 s and 100 ms of them")]


def columns(
    results: Results, cells: Mapping[str, Cell]
) -> dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """By titles, of each set a clip and a generated sound, (samples,), of a 3-tier model if there is one."""
    found: dict[str, tuple[str, NDArray[np.floating], NDArray[np.floating]]] = {}
    for cell in sorted(cells.values(), key=lambda cell: cell.family != "three_tier"):
        if cell.data in found or (sound := _first(results.of(cell.run))) is None:
            continue
        if (clip := sounding.clip_of(results, cell.data)) is not None:
            found[cell.data] = (f"{cell.data}, {cell.family}", clip, sound)
    return {title: (clip, sound) for title, clip, sound in found.values()}


def _first(attempts: Sequence[Attempt]) -> NDArray[np.floating] | None:
    sounds = (sounding.read(path, SECONDS) for attempt in attempts for path in attempt.sounds)
    return next((sound for sound in sounds if sound is not None), None)


def _picture(path: Path, title: str) -> Picture:
    height, width = matplotlib.image.imread(path).shape[:2]
    return Picture(f"pictures/{path.name}", title, width, height)
