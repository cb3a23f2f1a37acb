"""Figure of `samplernn check-data`: amplitudes and one clip of every split."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.utils.plotting import decibels, new_figure, power_spectrogram, save_figure
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def plot_data_set(
    path: str | Path,
    histograms: Mapping[str, NDArray[np.integer]],
    clips: Mapping[str, NDArray[np.floating]],
    rate: int = SAMPLE_RATE,
) -> None:
    """Plot the histogram of amplitudes of every split of a data set, and the spectrogram of one clip.

    Counts (bins,) are over amplitudes from -1 to 1; those outside are in the outermost bins. Clips (samples,)
    at `rate` Hz may hold NaN, plotted as 0, and infinite amplitudes, plotted as full scale.
    """
    figure = new_figure(8, 3 + 1.9 * len(clips))
    axes, *panels = figure.subplots(1 + len(clips), height_ratios=[1.5] + [1] * len(clips), squeeze=False)[
        :, 0
    ]
    for split, counts in histograms.items():
        if counts.sum():
            share = np.where(counts, counts / counts.sum(), np.nan)  # no line for empty bins
            axes.stairs(share, np.linspace(-1, 1, len(counts) + 1), label=split, lw=1, baseline=None)
    axes.set(yscale="log", xlim=(-1, 1), xlabel="amplitude", ylabel="share of samples", title="amplitudes")
    axes.grid(alpha=0.3)
    if any(counts.sum() for counts in histograms.values()):
        axes.legend(fontsize=8)
    for panel, (split, x) in zip(panels, clips.items(), strict=True):
        x = np.nan_to_num(np.asarray(x, np.float64), posinf=1, neginf=-1)
        look = {"origin": "lower", "aspect": "auto", "vmin": -90, "vmax": 0, "cmap": "magma"}
        extent = (0, len(x) / rate, 0, rate / 2000)
        panel.imshow(decibels(power_spectrogram(x, 1024)), extent=extent, **look)
        panel.set_title(f"{split}, the first clip", fontsize=9)
        panel.set(xlabel="seconds", ylabel="kHz")
    save_figure(path, figure)
