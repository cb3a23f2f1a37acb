"""Sound files: any rate and any number of channels in, 16 kHz mono out, as in the paper."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.io import wavfile
from scipy.signal import resample_poly

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.files import atomic_write

SAMPLE_RATE = 16000
"""Samples per second (Hz) of every data set and every generated sound of the paper."""

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
"""Rates (Hz) outside of this range come from damaged headers, and would make enormous filters or arrays."""

BLOCK = 1 << 16
"""Samples per channel that are decoded at once."""


class Sound(NamedTuple):
    """What `read` made of a file."""

    samples: np.ndarray
    """float32 (samples,), mono, in [-1, 1), at the rate that was asked for."""
    file_rate: int
    """Samples per second (Hz) in the file."""
    channels: int
    """Channels in the file."""
    clipped: int
    """How many of `samples` lay outside [-1, 1) and were clipped."""


def read(path: str | os.PathLike[str], rate: int = SAMPLE_RATE) -> Sound:
    """Read a recording as mono at `rate` Hz.

    The channels are averaged. Another rate is converted by a polyphase filter (`scipy.signal.resample_poly`),
    which gives ceil(samples * rate / file_rate) samples. Lossy formats, the filter and float files may go
    beyond full scale: what lies outside [-1, 1) is clipped and counted.

    An mp3 of changing bit rate that lacks the header which states its length may end early: libsndfile stops
    where it guesses the end to be. Convert such files to flac first.

    Raises
    ------
    DataError
        If the file is missing, cannot be decoded from start to end, is empty, or holds NaN or infinite
        samples.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no recording {path}; check its name.")
    samples, file_rate, channels = _decode(path)
    if samples.size == 0:
        raise DataError(f"{path} holds no samples; remove it or export it again.")
    if not LOWEST_RATE <= file_rate <= HIGHEST_RATE:
        raise DataError(f"{path} has an impossible sample rate of {file_rate} Hz; export it again.")
    divisor = math.gcd(rate, file_rate)
    if file_rate != rate:
        samples = resample_poly(samples, rate // divisor, file_rate // divisor)
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds samples that are NaN or infinite; export it again.")
    clipped = int(np.count_nonzero((samples < -1) | (samples >= 1)))
    highest = np.nextafter(np.float32(1), np.float32(0))
    return Sound(np.clip(samples, np.float32(-1), highest), file_rate, channels, clipped)


def read_mono(path: str | os.PathLike[str], rate: int = SAMPLE_RATE) -> np.ndarray:
    """Read a recording as float32 (samples,) in [-1, 1), mono, at `rate` Hz: the samples of `read`.

    Raises
    ------
    DataError
        As `read`.
    """
    return read(path, rate).samples


def write_wav(path: str | os.PathLike[str], samples: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write mono `samples`, floats (samples,) in [-1, 1), to a 16-bit PCM wav file of `rate` Hz, atomically.

    A sample x becomes the integer nearest to 32768 x; what lies outside [-1, 1) is clipped.

    Raises
    ------
    OutputError
        If the file cannot be written, or a sample is NaN or infinite.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(samples).all():
        raise OutputError(f"{path} was not written: the sound holds NaN or infinite samples.")
    integers = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    with atomic_write(path) as temporary:
        wavfile.write(temporary, rate, integers)


class _Stream(soundfile.SoundFile):
    """A sound file that is only ever read from start to end.

    After each block `SoundFile.read` seeks to where it is already, unless the file cannot seek. In mp3 that
    damages the sound, as its decoder needs the data before.
    """

    def seekable(self) -> bool:
        return False


def _decode(path: Path) -> tuple[np.ndarray, int, int]:
    """Return the mean of the channels, float32 (samples,), the rate in Hz and the number of channels."""
    blocks = [np.empty(0, np.float32)]
    try:
        with _Stream(path) as stream:
            while len(block := stream.read(BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))
            return np.concatenate(blocks), stream.samplerate, stream.channels
    except soundfile.LibsndfileError as error:
        raise DataError(_undecodable(path, error.error_string)) from error
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # a headerless format: .raw
        raise DataError(_undecodable(path, str(error))) from error


def _undecodable(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be decoded ({reason.strip().rstrip('.')}); convert it to wav or flac, or remove it."
    )
