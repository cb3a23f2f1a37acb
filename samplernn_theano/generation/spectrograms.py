"""Spectrograms of sound files: a figure of several, and thumbnails for the page."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray

from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.plotting import decibels, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SOUNDS, MAX_COLUMNS = 8, 2000  # of a figure, and of a spectrogram in it
WIDTH, HEIGHT = 400, 128  # maximum width and exact height of a thumbnail, in pixels
WINDOW, HOP, HOPS = 1024, 256, 1024  # of the transform, in samples, and of what is read at once
RANGE = 90  # decibels from the loudest point of a spectrogram to black
COLOURS: dict[str, Any] = {"vmin": -RANGE, "vmax": 0, "cmap": "magma", "origin": "lower"}


def spectrogram(path: Path, columns: int = MAX_COLUMNS) -> tuple[NDArray[np.float64], float, int]:
    """Power spectrogram of a sound file, its length in seconds and its rate in Hz.

    The spectrogram is (WINDOW / 2 + 1, n), with n hops or at most `columns` means over time. The window of
    hop i is centred at sample i * HOP. The file is read in parts; beyond its ends is silence.
    """
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)  # periodic; scipy.signal is slow to import
    with _opened(path) as file:
        hops = max(1, file.frames // HOP)
        column = np.arange(hops) * min(hops, columns) // hops
        sums = np.zeros((column[-1] + 1, WINDOW // 2 + 1))
        x = np.zeros(WINDOW // 2, np.float32)
        for first in range(0, hops, HOPS):
            own = column[first : first + HOPS]
            missing = (len(own) - 1) * HOP + WINDOW - len(x)
            new = file.read(missing, "float32", always_2d=True, fill_value=0).mean(axis=1)
            x = np.concatenate([x, np.nan_to_num(new, posinf=1, neginf=-1)])
            frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP]
            starts = np.flatnonzero(np.diff(own, prepend=-1))
            sums[own[starts]] += np.add.reduceat(np.abs(scipy.fft.rfft(frames * window)) ** 2, starts)
            x = x[HOP - WINDOW :]
        return (sums / np.bincount(column)[:, None]).T, file.frames / file.samplerate, file.samplerate


def length_and_rate(path: Path) -> tuple[float, int]:
    """Length of a sound file in seconds, and its rate in Hz."""
    with _opened(path) as file:
        return file.frames / file.samplerate, file.samplerate


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if file.frames >= 2**62:
                raise OSError("its header does not state its length")
            yield file
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise DataError(f"{path} cannot be drawn ({reason}); generate it again.") from error


def draw_figure(sounds: Mapping[str, Path]) -> "Figure":
    """Draw the spectrograms of up to `MAX_SOUNDS` sound files below each other; title the others' number."""
    shown = dict(islice(sounds.items(), MAX_SOUNDS))
    figure = new_figure(10, 0.6 + 1.9 * len(shown))
    if len(sounds) > len(shown):
        more = len(sounds) - len(shown)
        figure.suptitle(f"{len(shown)} of {len(sounds)} sounds; {more} more are not drawn")
    panels = figure.subplots(max(1, len(shown)), squeeze=False)[:, 0]
    for axes, (title, sound) in zip(panels, shown.items(), strict=False):
        power, seconds, rate = spectrogram(sound)
        extent = (0, max(seconds, 1 / rate), 0, rate / 2000)
        axes.imshow(decibels(power), aspect="auto", extent=extent, **COLOURS)
        axes.set_title(title, fontsize=9)
        axes.set(xlabel="seconds", ylabel="kHz")
    return figure


def round_marks(end: float) -> list[tuple[str, str]]:
    """Up to five round numbers from 0 to `end`, each with its place in percent of the way."""
    from matplotlib.ticker import MaxNLocator  # slow to import

    numbers = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(0, end)
    return [(f"{x:g}", f"{100 * x / end:.4g}") for x in numbers if 0 <= x <= end and end > 0]


def draw_thumbnail(sound: Path, picture: Path) -> None:
    """Draw the spectrogram of `sound` without axes, unless `picture` is newer than it."""
    if picture.exists() and picture.stat().st_mtime_ns > sound.stat().st_mtime_ns:
        return
    from matplotlib.image import imsave  # slow to import

    power, _, _ = spectrogram(sound, WIDTH)
    shown = power[:-1].reshape(HEIGHT, -1, power.shape[1]).mean(axis=1)
    steps = 2 * np.rint(decibels(shown) / 2)  # invisible, and halves the file
    with atomic_write(picture, durable=False) as temporary:
        imsave(temporary, steps, **COLOURS)
