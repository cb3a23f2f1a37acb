"""Figures of evaluations: two models compared, and the NLL of recordings over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy
from numpy.typing import NDArray

from samplernn_theano.evaluation.score_report import WIDEST_NAME, shorten_path
from samplernn_theano.utils.plotting import decibels, new_figure, save_figure
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from samplernn_theano.evaluation.nll import RecordingScore


def plot_comparison(
    path: str | Path,
    distances: Mapping[str, tuple[float, float | None]],
    differences: NDArray[np.float64] | None = None,
) -> None:
    """Plot the distances between the parameters of two models A and B, and the differences of their costs.

    `distances` are by name: relative, and of the effective weights or None. A distance of zero has no bar; an
    infinite one has the longest. `differences` (clips,) are bits per sample, A's minus B's.
    """
    heights = [1 + 0.19 * len(distances)] + ([] if differences is None else [3.2])
    figure = new_figure(9, sum(heights))
    bars, *below = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    drawn = [d for pair in distances.values() for d in pair if d and np.isfinite(d)]
    shortest, longest = (min(drawn) / 3, max(drawn) * 3) if drawn else (0.1, 1.0)
    bars.set(xscale="log", xlim=(shortest, longest))  # before zeros are plotted, which have no logarithm
    rows = np.arange(len(distances))
    lengths = [relative for relative, _ in distances.values()]
    bars.barh(rows, [min(length, longest) for length in lengths], color="tab:blue", height=0.7)
    for row, length in zip(rows, lengths, strict=True):
        bars.text(1.01, row, f"{length:.2g}", transform=bars.get_yaxis_transform(), va="center", fontsize=7)
    marks = [(effective, i) for i, (_, effective) in enumerate(distances.values()) if effective]
    if marks:
        bars.plot(*zip(*marks, strict=True), "D", ms=4, color="tab:orange", label="of the effective weights")
        bars.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1))
    bars.set_yticks(rows, list(distances), fontsize=7)
    bars.set(ylim=(len(rows) - 0.4, -0.6), xlabel="||A - B|| / ||A||")
    title = "relative distance of each parameter" if distances else "no parameter to compare"
    bars.set_title(title, loc="left")
    bars.grid(axis="x", alpha=0.3)
    if differences is not None:
        axes = below[0]
        axes.plot(np.arange(1, len(differences) + 1), np.sort(differences), ".-", lw=0.8)
        axes.axhline(0, color="black", lw=0.8)
        axes.axhline(differences.mean(), color="tab:orange", lw=1, label=f"mean: {differences.mean():+.4f}")
        axes.set(xlabel="clips, by their difference", ylabel="A - B (bits per sample)")
        axes.set_title("difference of the cost of each clip", loc="left")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(path, figure)


def plot_nll_over_time(
    path: str | Path, scored: Sequence["RecordingScore"], sound: NDArray[np.floating] | None = None
) -> None:
    """Plot the NLL of recordings over time, and the spectrogram of one of them on the same time axis.

    `sound` has its amplitudes (samples,) at 16 kHz.
    """
    heights = [3.5] + ([] if sound is None else [2.5])
    figure = new_figure(10, sum(heights) + 0.2 * len(scored))
    axes, *below = figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for i, one in enumerate(scored):
        rank = f"{i + 1}. " if len(scored) > 1 else ""
        label = f"{one.bits:.3f}  {rank}{shorten_path(one.path, 2 * WIDEST_NAME)}"
        edges = np.append(one.times, one.seconds)
        axes.stairs(one.curve, edges, baseline=None, lw=1, color=f"C{i}", label=label)
    axes.set_ylabel("NLL (bits per sample)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), title="mean, recording")
    if sound is not None:
        _draw_columns(below[0], sound)
    figure.axes[-1].set_xlabel("seconds")
    axes.set_xlim(0, max(one.seconds for one in scored))
    save_figure(path, figure)


def _draw_columns(axes: "Axes", x: NDArray[np.floating]) -> None:
    """Plot the spectrogram of x (samples,) with at most about 2,000 columns, each centred on its time."""
    if len(x) < 512:
        x = np.pad(x, (0, 512 - len(x)))  # the transform needs half a window
    hop = max(256, len(x) // 2000)
    n = 1 + len(x) // hop
    transform = scipy.signal.ShortTimeFFT(scipy.signal.windows.hann(1024, sym=False), hop=hop, fs=SAMPLE_RATE)
    power = transform.spectrogram(x, p0=0, p1=n)
    edges = (-0.5 * hop / SAMPLE_RATE, (n - 0.5) * hop / SAMPLE_RATE)
    extent = (*edges, 0, SAMPLE_RATE / 2000)
    axes.imshow(decibels(power), origin="lower", aspect="auto", extent=extent, vmin=-90, vmax=0, cmap="magma")
    axes.set_ylabel("kHz")
