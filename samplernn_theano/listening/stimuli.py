"""The stimuli of a listening test: random clips of equal length and loudness.

Loudness is measured by ITU-R BS.1770-4: the mean square after two filters that model head and ear (K
weighting), over blocks above a gate.
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
"""Loudness of all sounds in LUFS (EBU R 128); lower if a sound would exceed `PEAK`."""

PEAK = -1.0
"""Maximum true peak in dB of full scale."""

NOISE = 0.5
"""Spectral flatness above which a clip counts as noise: white noise has 0.97 to 1, speech and piano have
0 to 0.15 at 16 kHz."""

FADE = 0.01
"""Seconds of fade-in and fade-out, so that cuts do not click."""

BLOCK, STEP = 0.4, 0.1
"""Length and hop of the blocks of the loudness measure, in seconds."""

SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
"""The filters of BS.1770, tables 1 and 2, for 48 kHz: 3 times our rate."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A stimulus."""

    path: Path
    """Its source file."""
    pcm: NDArray[np.int16]
    """(samples,), 16 kHz."""
    loudness: float
    """LUFS in the file."""
    gain: float
    """Gain of `pcm` in dB."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """The stimuli of a test."""

    clips: dict[str, list[Clip]]
    """Clips by name of the system; of equal number and length."""
    loudness: float
    """Common loudness in LUFS."""
    remarks: list[str]
    """Sentences about silent, noisy or missing clips, and about length and loudness."""


@dataclass(frozen=True, eq=False)
class _Excerpt:
    path: Path
    samples: NDArray[np.float32]
    loudness: float = -np.inf


# --- measures -----------------------------------------------------------------------------------------------


def loudness(samples: NDArray[np.floating]) -> float:
    """Integrated loudness of a mono sound by ITU-R BS.1770-4, in LUFS; -inf for silence.

    Blocks of 0.4 s overlap by three quarters. Blocks below -70 LUFS are gated, then those 10 LU below the
    mean of the others.

    Parameters
    ----------
    samples : (samples,)
        16 kHz, in [-1, 1]; at least 0.4 s.

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
    """Spectral flatness: geometric over arithmetic mean of the power spectrum; 1 for white noise.

    The spectrum is averaged over windows of 512 samples, without 0 Hz and the Nyquist frequency; silence has
    0. A single click in a quiet sound is flat too.
    """
    _, power = welch(samples.astype(np.float64), nperseg=min(512, len(samples)))
    power = power[1:-1]
    if not power.all():
        return 0.0
    return float(np.exp(np.log(power).mean()) / power.mean())


def _peak(samples: NDArray[np.floating]) -> float:
    """True peak in dB, which includes magnitudes between samples."""
    return float(20 * np.log10(np.abs(resample_poly(samples.astype(np.float64), 4, 1)).max()))


# --- choice -------------------------------------------------------------------------------------------------


def choose(
    systems: Mapping[str, Path], clips: int, seconds: float, seed: int, leave_out_noise: bool
) -> Stimuli:
    """Choose equally many sounds of each system at random, all of equal length and loudness.

    Each is the beginning of a file. Silent ones are left out, because their loudness cannot be matched, and
    with `leave_out_noise` those that are noise (see `NOISE`), as in the paper.

    Parameters
    ----------
    systems : mapping of a name to the folder of the sounds, searched recursively
    clips : int
        Maximum number per system; fewer if one system has fewer.
    seconds : float
        Maximum length.

    Raises
    ------
    DataError
        If a folder has no usable sound, a file cannot be read, or one is shorter than 0.4 s.
    """
    read = {name: _read(folder, seconds) for name, folder in systems.items()}
    shortest = min(
        (excerpt for excerpts in read.values() for excerpt in excerpts), key=lambda p: len(p.samples)
    )
    length = len(shortest.samples)
    if length < SAMPLE_RATE * BLOCK:
        raise DataError(
            f"{shortest.path} lasts {length / SAMPLE_RATE:.2f} s; all sounds of a test are as long as the "
            f"shortest, at least {BLOCK} s; remove that file or generate a longer one."
        )
    remarks = []
    if length < round(seconds * SAMPLE_RATE):
        remarks.append(f"All sounds last {length / SAMPLE_RATE:.2f} s, as long as {shortest.path}.")
    usable = {
        name: _usable(name, systems[name], excerpts, length, leave_out_noise, remarks)
        for name, excerpts in read.items()
    }
    fewest = min(usable, key=lambda name: len(usable[name]))
    n = min(clips, len(usable[fewest]))
    if n < clips:
        remarks.append(
            f"{count_of(n, 'clip')} of each system instead of {clips}, because {fewest} has no more."
        )
    rng = np.random.default_rng(seed)
    taken = {
        name: [excerpts[i] for i in sorted(rng.permutation(len(excerpts))[:n])]
        for name, excerpts in usable.items()
    }
    level = _level([excerpt for excerpts in taken.values() for excerpt in excerpts], remarks)
    return Stimuli(
        {name: [_clip(excerpt, level) for excerpt in excerpts] for name, excerpts in taken.items()},
        level,
        remarks,
    )


def _read(folder: Path, seconds: float) -> list[_Excerpt]:
    longest = round(seconds * SAMPLE_RATE)
    paths = [recording.path for recording in recordings.find(folder).recordings]
    return [_Excerpt(path, audio.read_mono(path)[:longest].copy()) for path in paths]


def _usable(
    name: str, folder: Path, excerpts: list[_Excerpt], length: int, leave_out_noise: bool, remarks: list[str]
) -> list[_Excerpt]:
    """The usable excerpts, cut to `length`; adds to `remarks`."""
    cut = [_cut(excerpt, length) for excerpt in excerpts]
    silent = [excerpt for excerpt in cut if excerpt.loudness == -np.inf]
    noise = [excerpt for excerpt in cut if excerpt not in silent and flatness(excerpt.samples) > NOISE]
    if silent:
        remarks.append(
            f"{name}: left out {count_of(len(silent), 'silent clip')}, which biases the test in its favour: "
            f"{_names(silent, folder)}."
        )
    if noise:
        action = "left out" if leave_out_noise else "kept (see --leave-out-noise)"
        remarks.append(
            f"{name}: {action} {count_of(len(noise), 'clip')} of noise (spectral flatness above {NOISE}): "
            f"{_names(noise, folder)}."
        )
    without = silent + noise if leave_out_noise else silent
    left = [excerpt for excerpt in cut if excerpt not in without]
    if not left:
        kinds = "silent or noise" if leave_out_noise else "silent"
        raise DataError(f"All clips of {name} in {folder} are {kinds}; leave this system out of the test.")
    return left


def _cut(excerpt: _Excerpt, length: int) -> _Excerpt:
    samples = excerpt.samples[:length].copy()
    samples -= samples.mean()  # an offset is inaudible, but reduces headroom and clicks
    n = round(FADE * SAMPLE_RATE)
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
    samples[:n] *= rise
    samples[-n:] *= rise[::-1]
    return _Excerpt(excerpt.path, samples, loudness(samples))


def _names(excerpts: list[_Excerpt], folder: Path) -> str:
    return ", ".join(os.fspath(excerpt.path.relative_to(folder)) for excerpt in excerpts)


def _level(excerpts: list[_Excerpt], remarks: list[str]) -> float:
    """The common loudness of all excerpts, in LUFS."""
    highest = [excerpt.loudness + PEAK - _peak(excerpt.samples) for excerpt in excerpts]
    lowest = int(np.argmin(highest))
    if highest[lowest] < LOUDNESS:
        remarks.append(
            f"All sounds are at {highest[lowest]:.1f} LUFS instead of {LOUDNESS:g}, to avoid clipping the "
            f"peaks of {excerpts[lowest].path}."
        )
    return min(LOUDNESS, highest[lowest])


def _clip(excerpt: _Excerpt, level: float) -> Clip:
    gain = level - excerpt.loudness
    return Clip(excerpt.path, pcm_16(excerpt.samples * np.float32(10 ** (gain / 20))), excerpt.loudness, gain)
