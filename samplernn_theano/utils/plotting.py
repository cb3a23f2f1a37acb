"""Figures: learning curves, spectrograms, and the parts of others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Plot the log of a run into a file; see `draw_learning_curve`."""
    save_figure(path, draw_learning_curve(records))


def draw_learning_curve(records: Sequence[Mapping[str, Any]]) -> "Figure":
    """Plot the log of a run (its records train and monitor): bits per sample over minutes of training."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    train = [r for r in records if r["event"] == "train"]
    monitor = [r for r in records if r["event"] == "monitor"]
    axes.plot([r["seconds"] / 60 for r in train], [r["nll_bits"] for r in train], lw=1, label="train")
    for split, marker in (("valid", "o"), ("test", "s")):
        points = [(r["seconds"] / 60, r[split]) for r in monitor if r.get(split) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, ms=4, label=f"{split}: {points[-1][1]:.3f}")
    axes.set(xlabel="minutes of training", ylabel="NLL (bits per sample)")
    axes.grid(alpha=0.3)
    if train or monitor:
        axes.legend()
    return figure


def spectrograms(
    path: str | Path, sounds: Mapping[str, NDArray[np.floating]], rate: int = SAMPLE_RATE
) -> None:
    """Plot the spectrogram of every sound, (samples,), and their mean spectra in a last panel.

    Spectrograms range to half the rate and 90 dB down from the loudest point; mean spectra from 0 to 2 kHz,
    the range of the notes and most overtones of an instrument, each relative to its own maximum.
    """
    figure = new_figure(10, 4 + 1.9 * len(sounds))
    *panels, last = figure.subplots(len(sounds) + 1)
    for axes, (title, x) in zip(panels, sounds.items(), strict=True):
        power = power_spectrogram(x, 1024)
        extent = (0, len(x) / rate, 0, rate / 2000)
        axes.imshow(
            decibels(power), origin="lower", aspect="auto", extent=extent, vmin=-90, vmax=0, cmap="magma"
        )
        axes.set_title(title, fontsize=9)
        axes.set(xlabel="seconds", ylabel="kHz")
        mean = power_spectrogram(x, 4096).mean(axis=1)
        hertz = np.linspace(0, rate / 2, len(mean))
        audible = hertz >= 30
        last.plot(hertz[audible], decibels(mean[audible]), lw=0.8, label=title)
    last.set(xlim=(0, 2000), ylim=(-70, 3), xlabel="Hz", ylabel="dB", title="mean spectra")
    last.legend(fontsize=7)
    save_figure(path, figure)


def power_spectrogram(x: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    """Power spectrogram of x (samples,): (window / 2 + 1, times)."""
    missing = max(0, window // 2 - len(x))  # the transform needs half a window
    x = np.pad(np.asarray(x, np.float64), (0, missing))
    hann = scipy.signal.windows.hann(window, sym=False)
    transform = scipy.signal.ShortTimeFFT(hann, hop=window // 4, fs=SAMPLE_RATE)
    return transform.spectrogram(x, p0=0, p1=max(1, len(x) // (window // 4)))


def decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decibels relative to the maximum; digital silence is -100 dB."""
    return 10 * np.log10(np.maximum(power, 1e-20) / max(power.max(), 1e-10))


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of `width` by `height` inches."""
    from matplotlib.figure import Figure  # takes half a second, which a training without plots saves

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(path: str | Path, figure: "Figure", dpi: float = 110) -> None:
    """Write a figure to `path`, atomically, with its texts as they are: a dollar sign begins no formula."""
    from matplotlib.axis import Tick
    from matplotlib.text import Text

    powers = {label for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)}
    for text in set(figure.findobj(Text)) - powers:
        text.set_parse_math(False)
        text.set_text(escape_control_characters(text.get_text(), keep="\n"))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
