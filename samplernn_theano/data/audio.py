"""Read sound files of any rate and number of channels as 16 kHz mono, as in the paper; write wav files."""

import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import scipy

from samplernn_theano.data import containers, decoders
from samplernn_theano.data.clip_statistics import MAX_CLIPPED, MIN_PEAK, cut_off
from samplernn_theano.data.content import Content
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import say

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Rates (Hz) outside of this range come from damaged headers, and need enormous filters or arrays."""

MIN_POWER = 0.2
"""If the mean of n channels keeps a smaller part of their power than this / n, they cancel each other: of
unrelated channels, or with only one that sounds, it keeps 1 / n. For two channels the limit is -10 dB."""


class Sound(NamedTuple):
    """A decoded sound file."""

    samples: np.ndarray  # float32 (samples,), mono, in [-1, 1), at the requested rate
    file_rate: int  # Hz
    channels: int  # in the file
    clipped: int  # number of samples that were outside [-1, 1)
    power_kept: float  # of the mean of the channels, as a part of theirs: 1 of equal ones, 0 of opposite ones
    cut_off: int  # number of samples that were outside [-1, 1), or cut off in the file: see `cut_off`
    peak: float  # highest magnitude, before clipping


def read(path: str | os.PathLike[str], rate: int = SAMPLE_RATE, note: Callable[[str], object] = say) -> Sound:
    """Read a recording as mono at `rate` Hz.

    The channels are averaged. Other rates are converted by a polyphase filter (`scipy.signal.resample_poly`)
    to ceil(samples * rate / file_rate) samples. Lossy formats, the filter and float files may exceed full
    scale: samples outside [-1, 1) are clipped and counted. Needs 8 bytes of memory for each returned sample,
    and a few MB.

    A file of which more or less can be decoded than it states or holds is refused. Some do not state a length
    and are read to their end: raw streams (aac, ac3, amr, g722, gsm), voc, and files that were written into a
    pipe.

    `note` is called with a line for each of the `doubts` about the sound.
    """
    path = Path(path)
    highest = np.nextafter(np.float32(1), np.float32(0))
    parts, clipped, cut, peak = [np.empty(0, np.float32)], 0, 0, 0.0
    decoded = _Mono()
    try:
        with _open(path) as file, decoders.open_source(path, file) as source:
            if not MIN_RATE <= source.rate <= MAX_RATE:
                raise DataError(f"{path} has an impossible sample rate of {source.rate} Hz; export it again.")
            for part in resample(decoded.mean(source.blocks), source.rate, rate):
                if not np.isfinite(part).all():
                    raise DataError(f"{path} holds samples that are NaN or infinite; export it again.")
                parts.append(np.clip(part, np.float32(-1), highest))
                outside = parts[-1] != part
                clipped += int(np.count_nonzero(outside))
                cut += int(np.count_nonzero(outside | cut_off(parts[-1])))
                peak = max(peak, float(np.abs(part).max(initial=0)))
            containers.check(path, Content(file), source, decoded.frames)
            if source.faults:
                raise decoders.undecodable(path, source.faults[0])
    except FileNotFoundError as error:
        raise DataError(f"There is no recording {path}; check its name.") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be opened ({error.strerror}); check its permissions, or remove it."
        ) from error
    samples = np.concatenate(parts)
    if samples.size == 0:
        raise DataError(f"{path} holds no samples; export it again, or remove it.")
    sound = Sound(samples, source.rate, source.channels, clipped, decoded.power_kept, cut, peak)
    for doubt in doubts(sound).values():
        note(f"{path}: {doubt}")
    return sound


def doubts(sound: Sound) -> dict[str, str]:
    """What speaks against a sound: sentences on its `clipping`, `channels` and `level`."""
    found = {}
    clipped = sound.cut_off / len(sound.samples)
    if clipped > MAX_CLIPPED:
        if sound.peak > 32:
            largest = min((2**bits for bits in (7, 15, 23) if 2**bits >= sound.peak), default=2**31)
            cause = (
                f"at {sound.peak:,.0f} times full scale, they are floats in the range of integers; divide "
                f"them by {largest:,}."
            )
        elif sound.peak > 1.5:  # more than a filter adds to what was cut off before
            cause = f"it is {_decibels(sound.peak):.1f} dB too loud; lower its level by so much."
        else:
            cause = "it was recorded or exported too loud; get it at a lower level."
        found["clipping"] = f"{100 * clipped:.2f} % of its samples are clipped: {cause}"
    if sound.power_kept < MIN_POWER / sound.channels:
        below = -_decibels(max(sound.power_kept, 1e-10) ** 0.5)
        found["channels"] = (
            f"its {sound.channels} channels cancel each other, as of opposite polarity: their mean is "
            f"{below:.0f} dB below them; use one of them (ffmpeg -i FILE -af 'pan=mono|c0=c0' NEW.wav)."
        )
    elif sound.peak == 0:
        found["level"] = "it is silent; get it again, or remove it."
    elif sound.peak < MIN_PEAK:
        level = _decibels(sound.peak)
        found["level"] = (
            f"it is nearly silent, with a peak at {level:.0f} dBFS, as of integers in a format of more bits; "
            f"amplify it (ffmpeg -i FILE -af volume={int(-level)}dB NEW.wav)."
        )
    return found


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude)


class _Mono:
    """The mean of the channels; how long it is, and how much of their power is left in it."""

    def __init__(self) -> None:
        self.frames, self._power, self._channels_power = 0, 0.0, 0.0

    def mean(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:  # (frames, channels)
            mono = block.mean(axis=1)
            self.frames += len(mono)
            self._power += float(np.dot(mono, mono))
            self._channels_power += float(np.vdot(block, block)) / block.shape[1]
            yield mono

    @property
    def power_kept(self) -> float:
        return self._power / self._channels_power if self._channels_power else 1.0


def read_mono(
    path: str | os.PathLike[str], rate: int = SAMPLE_RATE, note: Callable[[str], object] = say
) -> np.ndarray:
    """Read a recording as float32 (samples,) in [-1, 1), mono, at `rate` Hz: the samples of `read`."""
    return read(path, rate, note).samples


def resample(blocks: Iterator[np.ndarray], file_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Convert blocks of sound, float32 (samples,) each, from `file_rate` to `rate` Hz.

    The concatenated result equals `scipy.signal.resample_poly` of the whole sound bit for bit.
    """
    divisor = math.gcd(rate, file_rate)
    up, down = rate // divisor, file_rate // divisor
    if up == down:
        yield from blocks
        return
    # SciPy's filter extends 10 * max(up, down) samples to either side, at up * file_rate Hz. Each part is
    # converted with that context on both sides, in whole steps: `down` samples become `up` samples.
    steps = math.ceil(10 / min(up, down))
    reach, skip = steps * down, steps * up
    waiting = np.zeros(reach, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        count = (len(waiting) - 2 * reach) // down
        if count > 0:
            converted = scipy.signal.resample_poly(waiting[: count * down + 2 * reach], up, down)
            yield converted[skip : skip + count * up]
            waiting = waiting[count * down :]
    yield scipy.signal.resample_poly(waiting, up, down)[skip:]


def write_wav(path: str | os.PathLike[str], samples: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write mono `samples`, floats (samples,) in [-1, 1), to a 16-bit PCM wav file of `rate` Hz, atomically.

    A sample x becomes the integer nearest to 32768 x; values outside [-1, 1) are clipped.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(samples).all():
        raise OutputError(f"{path} was not written: the sound holds NaN or infinite samples.")
    integers = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    with atomic_write(path) as temporary:
        scipy.io.wavfile.write(temporary, rate, integers)


def _open(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path} is a folder, a pipe or a device; give a sound file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; get it again, or remove it.")
    return open(path, "rb", buffering=0)  # no buffer: libsndfile moves the file position too
