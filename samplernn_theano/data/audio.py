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
from samplernn_theano.data.content import Content
from samplernn_theano.data.doubts import Channels, doubts
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import say

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Rates (Hz) outside of this range come from damaged headers, and need enormous filters or arrays."""


class Sound(NamedTuple):
    """A decoded sound file."""

    samples: np.ndarray  # float32 (samples,), mono, in [-1, 1), at the requested rate
    file_rate: int  # Hz
    channels: int  # in the file
    clipped: int  # number of samples that were outside [-1, 1)
    doubts: dict[str, str]  # what speaks against it: see `doubts`; also on several `tracks`


def read(path: str | os.PathLike[str], rate: int = SAMPLE_RATE, note: Callable[[str], object] = say) -> Sound:
    """Read a recording as mono at `rate` Hz.

    The channels are averaged. Other rates are converted by a polyphase filter (`scipy.signal.resample_poly`)
    to ceil(samples * rate / file_rate) samples. Lossy formats, the filter and float files may exceed full
    scale: samples outside [-1, 1) are clipped and counted. Needs 8 bytes of memory for each returned sample,
    and a few MB.

    A file of which more or less can be decoded than it states or holds is refused. Some do not state a length
    and are read to their end: raw streams (aac, ac3, amr, g722, gsm), and files that were written into a
    pipe.

    `note` is called with a line for each of its doubts.
    """
    path = Path(path)
    highest = np.nextafter(np.float32(1), np.float32(0))
    parts, clipped = [np.empty(0, np.float32)], 0
    try:
        with _open(path) as file, decoders.open_source(path, file) as source:
            if not MIN_RATE <= source.rate <= MAX_RATE:
                raise DataError(f"{path} has an impossible sample rate of {source.rate} Hz; export it again.")
            decoded = Channels(source.rate)
            for part in resample(decoded.mean(source.blocks), source.rate, rate):
                if not np.isfinite(part).all():
                    raise DataError(f"{path} holds samples that are NaN or infinite; export it again.")
                parts.append(np.clip(part, np.float32(-1), highest))
                clipped += int(np.count_nonzero(parts[-1] != part))
            doubt = containers.check(path, Content(file), source, decoded.frames)
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
    found = doubts(decoded, samples, clipped)
    if source.tracks > 1:
        found["tracks"] = (
            f"it holds {source.tracks} tracks of sound, of which the first is read; for the second: "
            "ffmpeg -i FILE -map 0:a:1 NEW.wav."
        )
    found |= {"end": doubt} if doubt else {}
    for text in found.values():
        note(f"{path}: {text}")
    return Sound(samples, source.rate, source.channels, clipped, found)


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
