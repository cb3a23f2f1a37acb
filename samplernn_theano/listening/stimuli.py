"""The sounds of a listening test: chosen at random, cut to one length, made equally loud.

Loudness is that of ITU-R BS.1770-4: the mean square behind two filters that imitate the head and the ear (K),
over the blocks that are loud enough to count.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly, welch

from samplernn_theano.data import audio, recordings
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError
from samplernn_theano.generation.encoders import pcm_16
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

LOUDNESS = -23.0
"""LUFS (dB) of all sounds, the level of EBU R 128; lower where a sound would not fit below `PEAK` else."""

PEAK = -1.0
"""dB of full scale that no sound exceeds, between its samples neither."""

NOISE = 0.5
"""Spectral flatness from which a clip is taken for noise: white noise has 0.97 to 1, speech and piano have
0 to 0.15 at 16 kHz."""

FADE = 0.01
"""Seconds over which a sound begins and ends, so that a cut does not click."""

BLOCK, STEP = 0.4, 0.1
"""Seconds of a block of which the loudness is measured, and from block to block."""

SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
"""The filters of BS.1770, tables 1 and 2, for 48 kHz: 3 times our rate."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound as the listeners hear it."""

    path: Path
    """The file that it was taken from."""
    pcm: NDArray[np.int16]
    """(samples,), 16 kHz."""
    loudness: float
    """LUFS of the piece in the file."""
    gain: float
    """dB from there to `pcm`."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """The sounds of a test, and what was noticed while they were chosen."""

    clips: dict[str, list[Clip]]
    """By the name of the system; equally many for each, of the same length."""
    loudness: float
    """LUFS of all of them."""
    remarks: list[str]
    """Sentences about clips that are silent, noise or too few, and about what set length and level."""


@dataclass(frozen=True, eq=False)
class _Piece:
    path: Path
    samples: NDArray[np.float32]
    loudness: float = -np.inf


# --- measures -----------------------------------------------------------------------------------------------


def loudness(samples: NDArray[np.floating]) -> float:
    """The integrated loudness of a mono sound by ITU-R BS.1770-4, in LUFS; -inf if all of it is silent.

    Blocks of 0.4 s overlap by three quarters; first those below -70 LUFS do not count, then those 10 below
    the mean of the others.

    Parameters
    ----------
    samples : (samples,)
        16 kHz, in [-1, 1]; 0.4 s at least.

    Raises
    ------
    ValueError
        If the sound is shorter than a block.
    """
    weighted = resample_poly(samples.astype(np.float64), 3, 1)
    for b, a in (SHELF, HIGH_PASS):
        weighted = lfilter(b, a, weighted)
    block, step = round(3 * SAMPLE_RATE * BLOCK), round(3 * SAMPLE_RATE * STEP)
    if len(weighted) < block:
        raise ValueError(f"the loudness of less than {BLOCK} s is not defined")
    power = (np.lib.stride_tricks.sliding_window_view(weighted, block)[::step] ** 2).mean(axis=1)
    power = power[power > _power(-70)]
    if not len(power):
        return -np.inf
    power = power[power > power.mean() / 10]
    return float(-0.691 + 10 * np.log10(power.mean()))


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def flatness(samples: NDArray[np.floating]) -> float:
    """How flat the spectrum of a sound is: geometric by arithmetic mean of its power; white noise has 1.

    The power of 512 samples is averaged over the sound first, without 0 Hz and half the rate; silence has 0.
    A single click in a quiet sound is flat as well.
    """
    _, power = welch(samples.astype(np.float64), nperseg=min(512, len(samples)))
    power = power[1:-1]
    if not power.all():
        return 0.0
    return float(np.exp(np.log(power).mean()) / power.mean())


def _peak(samples: NDArray[np.floating]) -> float:
    """dB of the largest magnitude, also between the samples, where the wave may go higher."""
    return float(20 * np.log10(np.abs(resample_poly(samples.astype(np.float64), 4, 1)).max()))


# --- choice -------------------------------------------------------------------------------------------------


def choose(
    systems: Mapping[str, Path], clips: int, seconds: float, seed: int, leave_out_noise: bool
) -> Chosen:
    """Take equally many sounds of each system at random, as long as the shortest, and make them equally loud.

    Each is the beginning of a file. Silent ones are left out, for they cannot be made as loud as others, and
    with `leave_out_noise` those that are noise (see `NOISE`), as the paper did.

    Parameters
    ----------
    systems : mapping of a name to the folder of the sounds, also in its sub-folders
    clips : int
        At most so many of each system; fewer if one has fewer.
    seconds : float
        Longest sound.

    Raises
    ------
    DataError
        If a folder holds no usable sound, a file cannot be read, or one is shorter than 0.4 s.
    """
    read = {name: _read(folder, seconds) for name, folder in systems.items()}
    shortest = min((piece for pieces in read.values() for piece in pieces), key=lambda p: len(p.samples))
    length = len(shortest.samples)
    if length < SAMPLE_RATE * BLOCK:
        raise DataError(
            f"{shortest.path} lasts {length / SAMPLE_RATE:.2f} s; all sounds of a test are as long as the "
            f"shortest, {BLOCK} s at least; remove that file or generate a longer one."
        )
    remarks = []
    if length < round(seconds * SAMPLE_RATE):
        remarks.append(f"All sounds last {length / SAMPLE_RATE:.2f} s, as long as {shortest.path}.")
    usable = {
        name: _usable(name, systems[name], pieces, length, leave_out_noise, remarks)
        for name, pieces in read.items()
    }
    fewest = min(usable, key=lambda name: len(usable[name]))
    n = min(clips, len(usable[fewest]))
    if n < clips:
        remarks.append(f"{count_of(n, 'clip')} of each system instead of {clips}, for {fewest} has no more.")
    rng = np.random.default_rng(seed)
    taken = {
        name: [pieces[i] for i in sorted(rng.permutation(len(pieces))[:n])] for name, pieces in usable.items()
    }
    level = _level([piece for pieces in taken.values() for piece in pieces], remarks)
    return Chosen(
        {name: [_clip(piece, level) for piece in pieces] for name, pieces in taken.items()}, level, remarks
    )


def _read(folder: Path, seconds: float) -> list[_Piece]:
    longest = round(seconds * SAMPLE_RATE)
    paths = [recording.path for recording in recordings.find(folder).recordings]
    return [_Piece(path, audio.read_mono(path)[:longest].copy()) for path in paths]


def _usable(
    name: str, folder: Path, pieces: list[_Piece], length: int, leave_out_noise: bool, remarks: list[str]
) -> list[_Piece]:
    """The pieces that can be played, cut to `length`; what was noticed is added to `remarks`."""
    cut = [_cut(piece, length) for piece in pieces]
    silent = [piece for piece in cut if piece.loudness == -np.inf]
    noise = [piece for piece in cut if piece not in silent and flatness(piece.samples) > NOISE]
    if silent:
        remarks.append(
            f"{name}: left out {count_of(len(silent), 'silent clip')}, which makes it look better than it "
            f"is: {_names(silent, folder)}."
        )
    if noise:
        what = "left out" if leave_out_noise else "kept (--leave-out-noise drops such)"
        remarks.append(
            f"{name}: {what} {count_of(len(noise), 'clip')} of noise, of a spectral flatness above {NOISE}: "
            f"{_names(noise, folder)}."
        )
    without = silent + noise if leave_out_noise else silent
    left = [piece for piece in cut if piece not in without]
    if not left:
        kinds = "silent or noise" if leave_out_noise else "silent"
        raise DataError(f"All clips of {name} in {folder} are {kinds}; leave this system out of the test.")
    return left


def _cut(piece: _Piece, length: int) -> _Piece:
    samples = piece.samples[:length].copy()
    samples -= samples.mean()  # an offset is not heard, but takes room below full scale, and clicks
    n = round(FADE * SAMPLE_RATE)
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
    samples[:n] *= rise
    samples[-n:] *= rise[::-1]
    return _Piece(piece.path, samples, loudness(samples))


def _names(pieces: list[_Piece], folder: Path) -> str:
    return ", ".join(os.fspath(piece.path.relative_to(folder)) for piece in pieces)


def _level(pieces: list[_Piece], remarks: list[str]) -> float:
    """The loudness that all pieces can have, in LUFS."""
    highest = [piece.loudness + PEAK - _peak(piece.samples) for piece in pieces]
    lowest = int(np.argmin(highest))
    if highest[lowest] < LOUDNESS:
        remarks.append(
            f"All sounds are at {highest[lowest]:.1f} LUFS instead of {LOUDNESS:g}: the peaks of "
            f"{pieces[lowest].path} would be cut off else."
        )
    return min(LOUDNESS, highest[lowest])


def _clip(piece: _Piece, level: float) -> Clip:
    gain = level - piece.loudness
    return Clip(piece.path, pcm_16(piece.samples * np.float32(10 ** (gain / 20))), piece.loudness, gain)
