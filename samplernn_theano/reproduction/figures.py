"""Figure 2 of the paper: waveforms of data and of generated samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import ConnectionPatch
from numpy.typing import NDArray

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.plotting import save_figure
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

LONG, SHORT = 2.0, 0.1  # seconds that figure 2 shows
COLOURS = {"data": "tab:blue", "samples": "tab:orange"}

type Columns = Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]
"""Titles, and the amplitudes (samples,) at 16 kHz of a recording and of a generated sound."""


def waveforms(path: str | Path, columns: Columns) -> None:
    """Draw a column per data set: at most 2 s of each sound, and below them their loudest 100 ms.

    Each sound has its own scale of amplitudes, because generated samples are often louder. `path` ends in
    .png, .pdf or .svg.
    """
    if Path(path).suffix not in (".png", ".pdf", ".svg"):
        raise OutputError(f"{path} was not drawn: its name must end in .png, .pdf or .svg.")
    if not columns:
        raise DataError("Figure 2 needs at least one data set; give its name, a recording and a sound.")
    figure = Figure(figsize=(max(4.0, 2.75 * len(columns)), 6.4), layout=ConstrainedLayoutEngine(h_pad=0.1))
    panels = figure.subplots(4, len(columns), squeeze=False)
    for (title, sounds), column in zip(columns.items(), panels.T, strict=True):
        for (kind, colour), x, pair in zip(COLOURS.items(), sounds, (column[:2], column[2:]), strict=True):
            _draw_sound(pair[0], pair[1], _checked(x, f"{kind} of {title}"), colour)
        column[0].set_title(title, size=10)
    for axes, label in zip(panels[:, 0], ("data", "data", "samples", "samples"), strict=True):
        axes.set_ylabel(f"{label}\namplitude", size=8)
    save_figure(path, figure, dpi=150)


def loudest(x: NDArray[np.floating], length: int) -> int:
    """Start of the `length` samples of x (samples,) with the highest variance."""
    sums = np.concatenate([np.zeros((2, 1)), np.cumsum([x, np.square(x)], axis=1, dtype=np.float64)], axis=1)
    total, squares = sums[:, length:] - sums[:, :-length]
    return int(np.argmax(squares - np.square(total) / length))


def _draw_sound(whole: Axes, part: Axes, x: NDArray[np.floating], colour: str) -> None:
    """Draw the first 2 s of a sound, 100 ms of them below, and lines that connect the two."""
    x = x[: round(LONG * SAMPLE_RATE)]
    length = round(SHORT * SAMPLE_RATE)
    begin = loudest(x, length)
    start, end = begin / SAMPLE_RATE, (begin + length) / SAMPLE_RATE
    top = 1.05 * max(np.abs(x).max(), 1e-3)
    whole.plot(np.arange(len(x)) / SAMPLE_RATE, x, lw=0.35, color=colour, rasterized=True)
    whole.axvspan(start, end, color="0.2", alpha=0.25, lw=0)
    whole.set(xlim=(0, LONG), ylim=(-top, top))
    whole.set_xlabel("s", size=8, labelpad=2)
    whole.xaxis.tick_top()  # the space below is for the connecting lines
    whole.xaxis.set_label_position("top")
    part.plot(1000 * np.arange(length) / SAMPLE_RATE, x[begin : begin + length], lw=0.7, color=colour)
    part.set(xlim=(0, 1000 * SHORT), ylim=(-top, top))
    part.set_xlabel(f"ms after {start:.2f} s", size=8, labelpad=1)
    for axes in (whole, part):
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    for second, corner in ((start, 0), (end, 1)):
        transforms = (whole.transData, part.transAxes)
        style: dict[str, Any] = {"axesA": whole, "axesB": part, "color": "0.5", "lw": 0.6}
        line = ConnectionPatch((second, -top), (corner, 1), *transforms, **style)
        line.set_in_layout(False)
        whole.figure.add_artist(line)


def _checked(x: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    x = np.asarray(x).astype(np.float64)
    if x.ndim != 1:
        problem = f"has the shape {x.shape}; figure 2 needs mono sound, (samples,)"
    elif len(x) < SHORT * SAMPLE_RATE:
        seconds = len(x) / SAMPLE_RATE
        problem = f"lasts {seconds:.3f} s; figure 2 needs at least {SHORT} s, better {LONG} s"
    elif not np.isfinite(x).all():
        problem = "has samples that are NaN or infinite; give another sound"
    else:
        return x
    raise DataError(f"The {name} {problem}.")
