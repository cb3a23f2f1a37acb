"""Spectrograms of sound files: a figure of several, and thumbnails for the page."""

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray

from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.plotting import new_figure, save_figure
from samplernn_theano.utils.text import escape_control_characters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SOUNDS = 8
"""Maximum sounds in a figure."""

MAX_COLUMNS = 2000
"""Maximum columns of a spectrogram in a figure; in a longer sound, each is a mean power over time."""

WIDTH, HEIGHT = 400, 128
"""Maximum width and exact height of a thumbnail, in pixels."""

WINDOW, HOP = 1024, 256
RANGE = 90
"""Decibels from the loudest point of a spectrogram to black."""

COLOURS: dict[str, Any] = {"vmin": -RANGE, "vmax": 0, "cmap": "magma", "origin": "lower"}


def spectrogram(
    path: str | os.PathLike[str], columns: int = MAX_COLUMNS
) -> tuple[NDArray[np.float32], float, int]:
    """Power spectrogram of a sound file, its length in seconds and its rate in Hz.

    The file is read in blocks. The spectrogram is float32 (WINDOW / 2 + 1, n) with n hops, or with at most
    `columns` means over time.

    Raises
    ------
    DataError
        If the file is missing or cannot be decoded.
    """
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            hops = max(1, file.frames // HOP)
            n = min(hops, columns)
            sums, counts = np.zeros((n, WINDOW // 2 + 1)), np.zeros(n, int)
            for first, powers in _powers(file, hops):
                column = (first + np.arange(len(powers))) * n // hops
                starts = np.flatnonzero(np.diff(column, prepend=-1))
                sums[column[starts]] += np.add.reduceat(powers, starts)
                counts += np.bincount(column, minlength=n)
            power = (sums / np.maximum(counts, 1)[:, None]).T.astype(np.float32)
            return power, file.frames / file.samplerate, file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise DataError(f"{path} cannot be drawn ({reason}); generate it again.") from error


def _powers(file: soundfile.SoundFile, hops: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Index of the first hop, and power (hops, WINDOW / 2 + 1), of consecutive parts of a sound.

    The window of hop i is centred at sample i * HOP, as in `plotting`; the sound is padded with silence.
    """
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)  # periodic; scipy.signal is slow to import
    pending, done, ended = np.zeros(WINDOW // 2, np.float32), 0, False
    while done < hops and not ended:
        block = file.read(1024 * HOP, dtype="float32", always_2d=True).mean(axis=1)
        ended = len(block) == 0
        if ended:
            block = np.zeros(WINDOW, np.float32)
        pending = np.concatenate([pending, np.nan_to_num(block, posinf=1, neginf=-1)])
        if len(pending) >= WINDOW:
            frames = np.lib.stride_tricks.sliding_window_view(pending, WINDOW)[::HOP][: hops - done]
            yield done, np.abs(scipy.fft.rfft(frames * window)) ** 2
            done += len(frames)
            pending = pending[len(frames) * HOP :]


def _decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decibels from 0 at the loudest point down to -RANGE, the value of silence."""
    loudest = max(power.max(), np.float32(1e-12))
    return 10 * np.log10(np.maximum(power / loudest, np.float32(10 ** (-RANGE / 10))))


def write_figure(path: str | os.PathLike[str], sounds: Mapping[str, str | os.PathLike[str]]) -> None:
    """Draw spectrograms into a file; see `draw_figure`.

    Raises
    ------
    DataError
        If a sound file is missing or cannot be decoded.
    OutputError
        If the figure cannot be written.
    """
    save_figure(Path(path), draw_figure(sounds))


def draw_figure(sounds: Mapping[str, str | os.PathLike[str]]) -> "Figure":
    """Draw the spectrograms of up to `MAX_SOUNDS` sound files below each other; title the others' number.

    Each shows 0 Hz to half the sample rate, and 90 dB below its loudest point. Memory does not grow with
    length: the files are read in blocks, and at most `MAX_COLUMNS` columns are drawn.

    Parameters
    ----------
    sounds : mapping of title to the path of a sound file

    Raises
    ------
    DataError
        If a sound file is missing or cannot be decoded.
    """
    shown = dict(islice(sounds.items(), MAX_SOUNDS))
    figure = new_figure(10, 0.6 + 1.9 * len(shown))
    if len(sounds) > len(shown):
        figure.suptitle(
            f"{len(shown)} of {len(sounds)} sounds; {len(sounds) - len(shown)} more are not drawn"
        )
    panels = figure.subplots(max(1, len(shown)), squeeze=False)[:, 0]
    for axes, (title, sound) in zip(panels, shown.items(), strict=False):
        power, seconds, rate = spectrogram(sound)
        extent = (0, max(seconds, 1 / rate), 0, rate / 2000)
        axes.imshow(_decibels(power), aspect="auto", extent=extent, **COLOURS)
        axes.set_title(escape_control_characters(title), fontsize=9, parse_math=False)
        axes.set(xlabel="seconds", ylabel="kHz")
    return figure


def draw_thumbnail(sound: Path, picture: Path) -> None:
    """Draw the spectrogram of `sound` without axes, unless `picture` is newer than it."""
    if picture.exists() and picture.stat().st_mtime_ns > sound.stat().st_mtime_ns:
        return
    from matplotlib.image import imsave  # slow to import

    power, _, _ = spectrogram(sound, WIDTH)
    decibels = _decibels(power[:-1].reshape(HEIGHT, -1, power.shape[1]).mean(axis=1))
    steps = 2 * np.rint(decibels / 2)  # invisible, and halves the file
    with atomic_write(picture, durable=False) as temporary:
        imsave(temporary, steps, **COLOURS)
