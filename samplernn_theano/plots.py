"""Pictures: learning curves and spectrograms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from samplernn_theano.audio import SAMPLE_RATE
from samplernn_theano.files import atomic_write


def learning_curve(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Draw a run's log: NLL in bits per sample over minutes of training.

    Parameters
    ----------
    records : sequence of dict
        Lines of the log; those with the events ``train`` and ``monitor`` are drawn.

    Raises
    ------
    OutputError
        If the picture cannot be written.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    train = [r for r in records if r["event"] == "train"]
    monitor = [r for r in records if r["event"] == "monitor"]
    axes.plot([r["seconds"] / 60 for r in train], [r["nll_bits"] for r in train], lw=1, label="train")
    for split, marker in (("valid", "o"), ("test", "s")):
        points = [(r["seconds"] / 60, r[split]) for r in monitor if r.get(split) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, ms=4, label=f"{split}: {points[-1][1]:.3f}")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("NLL (bits per sample)")
    axes.grid(alpha=0.3)
    if train or monitor:
        axes.legend()
    _save(path, figure)


def spectrograms(path: str | Path, sounds: Mapping[str, NDArray[np.floating]]) -> None:
    """Draw the spectrogram of every sound, one below the other, and their mean spectra in one last panel.

    Spectrograms go from 0 to 8 kHz and 90 dB down from the loudest point; the mean spectra show 0 to 2 kHz,
    where the notes and most overtones of an instrument lie, each relative to its own maximum.

    Parameters
    ----------
    sounds : mapping of title to amplitudes (samples,) at 16 kHz

    Raises
    ------
    OutputError
        If the picture cannot be written.
    """
    figure = Figure(figsize=(10, 4 + 1.9 * len(sounds)), layout="constrained")
    *panels, last = figure.subplots(len(sounds) + 1)
    for axes, (title, x) in zip(panels, sounds.items(), strict=True):
        power = _powers(x, 1024)
        extent = (0, len(x) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
        axes.imshow(
            _decibels(power), origin="lower", aspect="auto", extent=extent, vmin=-90, vmax=0, cmap="magma"
        )
        axes.set_title(title, fontsize=9)
        axes.set_ylabel("kHz")
        axes.set_xlabel("seconds")
        mean = _powers(x, 4096).mean(axis=1)
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(mean))
        audible = hertz >= 30
        last.plot(hertz[audible], _decibels(mean[audible]), lw=0.8, label=title)
    last.set(xlim=(0, 2000), ylim=(-70, 3), xlabel="Hz", ylabel="dB", title="mean spectra")
    last.legend(fontsize=7)
    _save(path, figure)


def data_set(
    path: str | Path,
    levels: Mapping[str, NDArray[np.integer]],
    clips: Mapping[str, NDArray[np.floating]],
    rate: int = SAMPLE_RATE,
) -> None:
    """Draw how often each amplitude occurs in every split of a data set, and the spectrogram of one clip.

    Parameters
    ----------
    levels : mapping of split to counts (bars,), over amplitudes from -1 to 1
        What is beyond is counted in the outermost bars.
    clips : mapping of split to amplitudes (samples,)
        NaN is drawn as 0, and infinite amplitudes as full scale.
    rate : samples per second of the clips

    Raises
    ------
    OutputError
        If the picture cannot be written.
    """
    figure = Figure(figsize=(8, 3 + 1.9 * len(clips)), layout="constrained")
    axes, *panels = figure.subplots(1 + len(clips), height_ratios=[1.5] + [1] * len(clips), squeeze=False)[
        :, 0
    ]
    for split, counts in levels.items():
        if counts.sum():
            share = np.where(counts, counts / counts.sum(), np.nan)  # no line where there is nothing
            axes.stairs(share, np.linspace(-1, 1, len(counts) + 1), label=split, lw=1, baseline=None)
    axes.set(yscale="log", xlim=(-1, 1), xlabel="amplitude", ylabel="share of samples", title="levels")
    axes.grid(alpha=0.3)
    if any(counts.sum() for counts in levels.values()):
        axes.legend(fontsize=8)
    for panel, (split, x) in zip(panels, clips.items(), strict=True):
        x = np.nan_to_num(np.asarray(x, np.float64), posinf=1, neginf=-1)
        extent = (0, len(x) / rate, 0, rate / 2000)
        panel.imshow(
            _decibels(_powers(x, 1024)),
            origin="lower",
            aspect="auto",
            extent=extent,
            vmin=-90,
            vmax=0,
            cmap="magma",
        )
        panel.set_title(f"{split}, the first clip", fontsize=9)
        panel.set(xlabel="seconds", ylabel="kHz")
    _save(path, figure)


def _powers(x: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    """The spectrogram of x (samples,): (window / 2 + 1, times)."""
    x = np.pad(
        np.asarray(x, np.float64), (0, max(0, window // 2 - len(x)))
    )  # the transform needs half a window
    transform = ShortTimeFFT(hann(window, sym=False), hop=window // 4, fs=SAMPLE_RATE)
    return transform.spectrogram(x, p0=0, p1=max(1, len(x) // (window // 4)))


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(power, 1e-20) / max(power.max(), 1e-20))


def _save(path: str | Path, figure: Figure) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
