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
    """Draw the spectrogram of every sound, one below the other: 0 to 8 kHz, 90 dB below the loudest point.

    Parameters
    ----------
    sounds : mapping of title to amplitudes (samples,) at 16 kHz

    Raises
    ------
    OutputError
        If the picture cannot be written.
    """
    figure = Figure(figsize=(10, 2 + 1.9 * len(sounds)), layout="constrained")
    transform = ShortTimeFFT(hann(1024, sym=False), hop=256, fs=SAMPLE_RATE)
    for axes, (title, x) in zip(np.atleast_1d(figure.subplots(len(sounds))), sounds.items(), strict=True):
        x = np.pad(x, (0, max(0, 512 - len(x))))  # the transform needs half a window at least
        power = transform.spectrogram(np.asarray(x, np.float64), p0=0, p1=max(1, len(x) // 256))
        decibels = 10 * np.log10(np.maximum(power, 1e-20) / max(power.max(), 1e-20))
        extent = (0, len(x) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
        axes.imshow(decibels, origin="lower", aspect="auto", extent=extent, vmin=-90, vmax=0, cmap="magma")
        axes.set_title(title, fontsize=9)
        axes.set_ylabel("kHz")
    axes.set_xlabel("seconds")
    _save(path, figure)


def _save(path: str | Path, figure: Figure) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
