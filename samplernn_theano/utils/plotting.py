"""Pictures: learning curves, spectrograms, data sets, two models side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    figure = new(8, 4.5)
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
    figure = new(10, 4 + 1.9 * len(sounds))
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
    figure = new(8, 3 + 1.9 * len(clips))
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


def comparison(
    path: str | Path,
    distances: Mapping[str, tuple[float, float | None]],
    differences: NDArray[np.float64] | None = None,
) -> None:
    """Draw how far the parameters of two models A and B are apart, and the difference of their costs.

    Parameters
    ----------
    distances : mapping of name to relative distance and, or None, that of the effective weights
        A distance of zero has no bar; an infinite one has the longest.
    differences : (clips,), optional
        Bits per sample, A's minus B's; they are drawn in rising order.

    Raises
    ------
    OutputError
        If the picture cannot be written.
    """
    heights = [1 + 0.19 * len(distances)] + ([] if differences is None else [3.2])
    figure = new(9, sum(heights))
    bars, *below = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    drawn = [d for pair in distances.values() for d in pair if d and np.isfinite(d)]
    shortest, longest = (min(drawn) / 3, max(drawn) * 3) if drawn else (0.1, 1.0)
    bars.set(xscale="log", xlim=(shortest, longest))  # before zeros are drawn, which have no logarithm
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
        _draw_differences(below[0], differences)
    _save(path, figure)


def _draw_differences(axes: "Axes", differences: NDArray[np.float64]) -> None:
    axes.plot(np.arange(1, len(differences) + 1), np.sort(differences), ".-", lw=0.8)
    axes.axhline(0, color="black", lw=0.8)
    axes.axhline(differences.mean(), color="tab:orange", lw=1, label=f"mean: {differences.mean():+.4f}")
    axes.set(xlabel="clips, by their difference", ylabel="A - B (bits per sample)")
    axes.set_title("difference of the cost of each clip", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def nll_over_time(
    path: str | Path,
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    sound: NDArray[np.floating] | None = None,
) -> None:
    """Draw the NLL of recordings over time, and below them the spectrogram of one, aligned in time.

    Parameters
    ----------
    curves : mapping of title to edges (n + 1,) and bits (n,)
        Where the windows begin and the last one ends, in seconds, and the bits per sample of each.
    sound : amplitudes (samples,) at 16 kHz, optional
        Of a long one, 2,000 columns are drawn, with gaps between them.

    Raises
    ------
    OutputError
        If the picture cannot be written.
    """
    heights = [3.5] + ([] if sound is None else [2.5])
    figure = new(10, sum(heights) + 0.2 * len(curves))
    axes, *below = figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for i, (title, (edges, bits)) in enumerate(curves.items()):
        mean = np.average(bits, weights=np.diff(edges))
        axes.stairs(bits, edges, baseline=None, lw=1, color=f"C{i}", label=f"{mean:.3f}  {title}")
    axes.set_ylabel("NLL (bits per sample)")
    axes.grid(alpha=0.3)
    legend = axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), title="mean, recording")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar sign in a file's name
    if sound is not None:
        _draw_columns(below[0], sound)
    figure.axes[-1].set_xlabel("seconds")
    axes.set_xlim(0, max(edges[-1] for edges, _ in curves.values()))
    _save(path, figure)


def _draw_columns(axes: "Axes", x: NDArray[np.floating]) -> None:
    """Draw the spectrogram of x (samples,), each column around its time; about 2,000 at most."""
    if len(x) < 512:
        x = np.pad(x, (0, 512 - len(x)))  # the transform needs half a window
    hop = max(256, len(x) // 2000)
    n = 1 + len(x) // hop
    transform = scipy.signal.ShortTimeFFT(scipy.signal.windows.hann(1024, sym=False), hop=hop, fs=SAMPLE_RATE)
    power = transform.spectrogram(x, p0=0, p1=n)
    edges = (-0.5 * hop / SAMPLE_RATE, (n - 0.5) * hop / SAMPLE_RATE)
    extent = (*edges, 0, SAMPLE_RATE / 2000)
    axes.imshow(
        _decibels(power), origin="lower", aspect="auto", extent=extent, vmin=-90, vmax=0, cmap="magma"
    )
    axes.set_ylabel("kHz")


def _powers(x: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    """The spectrogram of x (samples,): (window / 2 + 1, times)."""
    x = np.pad(
        np.asarray(x, np.float64), (0, max(0, window // 2 - len(x)))
    )  # the transform needs half a window
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.windows.hann(window, sym=False), hop=window // 4, fs=SAMPLE_RATE
    )
    return transform.spectrogram(x, p0=0, p1=max(1, len(x) // (window // 4)))


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Below the loudest point, 0 dB; digital silence is -100 dB throughout."""
    return 10 * np.log10(np.maximum(power, 1e-20) / max(power.max(), 1e-10))


def new(width: float, height: float) -> "Figure":
    """A figure of so many inches, empty."""
    from matplotlib.figure import Figure  # takes half a second, and a training may never draw

    return Figure(figsize=(width, height), layout="constrained")


def _save(path: str | Path, figure: "Figure") -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
