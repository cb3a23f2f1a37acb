"""The stimuli of a listening test: random clips of equal length and loudness (ITU-R BS.1770-4)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyloudnorm
from numpy.typing import NDArray
from scipy.signal import resample_poly, welch

from samplernn_theano.data import audio, recordings
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError
from samplernn_theano.generation.encoders import pcm_16
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

LOUDNESS = -23.0  # loudness of all sounds in LUFS (EBU R 128); lower if a sound would exceed `PEAK`
PEAK = -1.0  # maximum true peak in dB of full scale
NOISE = 0.5
"""Spectral flatness above which a clip counts as noise: white noise has 0.97 to 1, speech and piano have
0 to 0.15 at 16 kHz."""

FADE = 0.01  # seconds of fade-in and fade-out, so that cuts do not click
BLOCK = 0.4  # seconds of a block of the loudness measure: a sound must not be shorter


@dataclass(frozen=True, eq=False)
class Clip:
    """The beginning of a sound file."""

    path: Path
    samples: NDArray[np.float32]  # (samples,), 16 kHz
    loudness: float = -np.inf  # LUFS


@dataclass(frozen=True, eq=False)
class Stimuli:
    """The stimuli of a test."""

    clips: Mapping[str, Sequence[Clip]]  # by name of the system; of equal number and length
    loudness: float  # of all sounds, in LUFS
    remarks: Sequence[str]  # about silent, noisy or missing clips, length and loudness

    def pcm(self, clip: Clip) -> NDArray[np.int16]:
        """The samples of a clip at the common loudness."""
        return pcm_16(clip.samples * np.float32(10 ** ((self.loudness - clip.loudness) / 20)))


def loudness(samples: NDArray[np.floating]) -> float:
    """Integrated loudness of at least 0.4 s of mono sound at 16 kHz in LUFS; -inf for silence."""
    # At 48 kHz, the rate of the filters in the standard, this agrees with its tables to 0.001 dB.
    meter = pyloudnorm.Meter(3 * SAMPLE_RATE, filter_class="DeMan")
    return float(meter.integrated_loudness(resample_poly(samples.astype(np.float64), 3, 1)))


def flatness(samples: NDArray[np.floating]) -> float:
    """Spectral flatness: geometric over arithmetic mean of the power spectrum; 1 for white noise or a click.

    The spectrum is averaged over windows of 512 samples; silence has 0.
    """
    _, power = welch(samples.astype(np.float64), nperseg=min(512, len(samples)))
    power = power[1:-1]  # without 0 Hz and the Nyquist frequency
    return float(np.exp(np.log(power).mean()) / power.mean()) if power.all() else 0.0


def _peak(samples: NDArray[np.floating]) -> float:
    """True peak in dB, which includes magnitudes between samples."""
    return float(20 * np.log10(np.abs(resample_poly(samples.astype(np.float64), 4, 1)).max()))


def choose(
    systems: Mapping[str, Path], clips: int, seconds: float, seed: int, leave_out_noise: bool
) -> Stimuli:
    """Choose equally many sounds of each system at random, all of equal length and loudness.

    Each is the beginning of a file in the folder of the system or below, at most `seconds` long. Silent ones
    are left out, because their loudness cannot be matched, and with `leave_out_noise` those that are noise
    (see `NOISE`), as in the paper. There are at most `clips` per system, fewer if one system has fewer.
    """
    longest = round(seconds * SAMPLE_RATE)
    found = {
        name: [
            Clip(recording.path, audio.read_mono(recording.path)[:longest].copy())
            for recording in recordings.find(folder).recordings
        ]
        for name, folder in systems.items()
    }
    shortest = min((clip for of_system in found.values() for clip in of_system), key=lambda c: len(c.samples))
    length = len(shortest.samples)
    if length < SAMPLE_RATE * BLOCK:
        raise DataError(
            f"{shortest.path} lasts {length / SAMPLE_RATE:.2f} s; all sounds of a test are as long as the "
            f"shortest, at least {BLOCK} s; remove that file or generate a longer one."
        )
    remarks = []
    if length < longest:
        remarks.append(f"All sounds last {length / SAMPLE_RATE:.2f} s, as long as {shortest.path}.")
    usable = {}
    for name, of_system in found.items():
        cut = [_cut(clip, length) for clip in of_system]
        usable[name] = _usable(name, systems[name], cut, leave_out_noise, remarks)
    fewest = min(usable, key=lambda name: len(usable[name]))
    n = min(clips, len(usable[fewest]))
    if n < clips:
        reason = f"instead of {clips}, because {fewest} has no more."
        remarks.append(f"{count_of(n, 'clip')} of each system {reason}")
    rng = np.random.default_rng(seed)
    taken = {name: [own[i] for i in sorted(rng.permutation(len(own))[:n])] for name, own in usable.items()}
    highest, path = min(
        (clip.loudness + PEAK - _peak(clip.samples), clip.path) for own in taken.values() for clip in own
    )
    if highest < LOUDNESS:
        remarks.append(
            f"All sounds are at {highest:.1f} LUFS instead of {LOUDNESS:g}: the peaks of {path} would clip."
        )
    return Stimuli(taken, min(LOUDNESS, highest), remarks)


def _cut(clip: Clip, length: int) -> Clip:
    samples = clip.samples[:length] - clip.samples[:length].mean()  # an offset reduces headroom, and clicks
    n = round(FADE * SAMPLE_RATE)
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
    samples[:n] *= rise
    samples[-n:] *= rise[::-1]
    return Clip(clip.path, samples, loudness(samples))


def _usable(
    name: str, folder: Path, clips: Sequence[Clip], leave_out_noise: bool, remarks: list[str]
) -> list[Clip]:
    """The usable clips; adds to `remarks`."""
    silent = [clip for clip in clips if clip.loudness == -np.inf]
    noise = [clip for clip in clips if clip not in silent and flatness(clip.samples) > NOISE]
    noisy = "left out" if leave_out_noise else "kept (see --leave-out-noise)"
    for found, action, kind in (
        (silent, "left out", "silence, which biases the test in its favour"),
        (noise, noisy, f"noise (spectral flatness above {NOISE})"),
    ):
        if found:
            names = ", ".join(os.fspath(clip.path.relative_to(folder)) for clip in found)
            remarks.append(f"{name}: {action} {count_of(len(found), 'clip')} of {kind}: {names}.")
    without = silent + noise if leave_out_noise else silent
    if len(without) == len(clips):
        kinds = "silent or noise" if leave_out_noise else "silent"
        raise DataError(f"All clips of {name} in {folder} are {kinds}; leave this system out of the test.")
    return [clip for clip in clips if clip not in without]
