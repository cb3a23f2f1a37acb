"""What speaks against a decoded sound: clipping, channels that cancel each other, near silence."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_CLIPPED = 0.01
"""A sound of which a larger part is clipped is spoilt."""

MIN_PEAK = 0.01
"""A sound that stays below, at -40 dBFS, is nearly silent."""

MIN_POWER = 0.2
"""If the mean of n channels keeps a smaller part of their power than this / n, they cancel each other: of
unrelated channels, or with only one that sounds, it keeps 1 / n. For two channels the limit is -10 dB."""

MAX_CANCELLED = 0.05
"""Channels may cancel each other in such a part of the time, as for an effect."""

HUM = 400
"""Hz. Offset, hum and rumble far below do not tell whether channels cancel each other."""


class Channels:
    """The channels of a file at `rate` Hz during decoding: their mean, and measures of them."""

    def __init__(self, rate: int) -> None:
        self.frames = self.cut_off = 0  # samples per channel: all, and those cut off in any
        self.lowest, self.highest = math.inf, -math.inf
        self.number = 1
        self._rate = rate
        self._powers: list[tuple[float, float, int]] = []  # of the mean, of the channels; samples

    def mean(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Measure blocks, float32 (samples, channels) each, and yield their means, (samples,)."""
        for block in filter(len, blocks):
            with np.errstate(over="ignore", invalid="ignore"):  # infinite samples are found in the result
                self._measure(block)
                mono = block.mean(axis=1)
            yield mono

    def _measure(self, block: np.ndarray) -> None:
        sound = np.ascontiguousarray(block.T)  # (channels, samples)
        self.number, self.frames = len(sound), self.frames + len(block)
        self.lowest = min(self.lowest, float(sound.min()))
        self.highest = max(self.highest, float(sound.max()))
        self.cut_off += int(np.any([cut_off(x) for x in sound], axis=0).sum())
        if self.number > 1:
            from scipy.ndimage import uniform_filter1d  # takes a third of a second to load

            sound = sound - uniform_filter1d(sound, max(3, self._rate // HUM))
            for begin in range(0, len(block), self._rate):  # each second
                part = sound[:, begin : begin + self._rate]
                mono = part.mean(axis=0)
                powers = float(np.dot(mono, mono)), float(np.vdot(part, part)) / self.number
                self._powers.append((*powers, len(mono)))

    def cancelled(self) -> tuple[float, float]:
        """The part of the time with sound in which channels cancel each other, and what they keep of it.

        The latter is the power of the mean as a part of the power of the channels.
        """
        if not self._powers:
            return 0.0, 1.0
        mono, channels, samples = np.array(self._powers).T
        sounding = channels > 1e-3 * samples * (channels / samples).max()
        lost = sounding & (mono < MIN_POWER / self.number * channels)
        if not lost.any():
            return 0.0, 1.0
        return samples[lost].sum() / samples[sounding].sum(), mono[lost].sum() / channels[lost].sum()


def doubts(channels: Channels, samples: np.ndarray, clipped: int) -> dict[str, str]:
    """What speaks against a sound: sentences on its `clipping`, `channels` and `level`.

    The mean of the channels was converted to `samples`, (samples,), of which so many were clipped.
    """
    found = {}
    part = max(channels.cut_off / channels.frames, clipped / len(samples))
    if part > MAX_CLIPPED:
        found["clipping"] = f"{100 * part:.2f} % of its samples are clipped: {_cause(channels)}"
    offset, level = _level_around_offset(samples)
    time, kept = channels.cancelled()
    if time > MAX_CANCELLED:
        below = -_decibels(max(kept, 1e-10) ** 0.5)
        found["channels"] = (
            f"its {channels.number} channels cancel each other, as of opposite polarity, in {100 * time:.0f} "
            f"% of the time: there their mean is {below:.0f} dB below them; use one of them (ffmpeg -i FILE "
            "-af 'pan=mono|c0=c0' NEW.wav)."
        )
    elif level == 0 and not clipped:
        spots = " but for a few samples" if np.ptp(samples) else ""
        found["level"] = f"it is silent{spots}; get it again, or remove it."
    elif level < MIN_PEAK and not clipped:
        around, centre = (f" around {offset:+.3f}", "highpass=f=20,") if abs(offset) > level else ("", "")
        found["level"] = (
            f"it is nearly silent, at {_decibels(level):.0f} dBFS{around}, as of integers in a format of "
            f"more bits; amplify it (ffmpeg -i FILE -af {centre}volume={int(-_decibels(level))}dB NEW.wav)."
        )
    return found


def _level_around_offset(samples: np.ndarray) -> tuple[float, float]:
    """Median of a sound (samples,), and its largest distance from there, without single clicks."""
    some = samples[:: max(1, len(samples) // 2**20)]
    offset = float(np.median(some))
    return offset, float(np.quantile(np.abs(some - offset), 0.999))


def _cause(channels: Channels) -> str:
    """Why a sound is clipped, and what to do."""
    low, high = channels.lowest, channels.highest
    peak = max(high, -low)
    if peak > 32:
        scale = next((2**bits for bits in (15, 23, 31) if 2**bits / 8 < peak <= 2**bits), None)
        if scale and low < -peak / 8:
            return (
                f"at {peak:,.0f} times full scale, they are floats in the range of integers; divide them by "
                f"{scale:,}."
            )
        return f"its values are from {low:,.4g} to {high:,.4g}, and full scale is from -1 to 1; convert them."
    if peak > 1.5:  # more than a lossy format adds to what was cut off before
        return f"it is {_decibels(peak):.1f} dB too loud; lower its level by so much."
    return "it was recorded or exported too loud; get it at a lower level."


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude)


def cut_off(x: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which samples (n,) are cut off: three or more in a row at the peak, beyond 0.99 of full scale."""
    cut = np.zeros(len(x), bool)
    for extreme in (x.max(initial=0), x.min(initial=0)):
        if abs(extreme) >= 0.99:
            flat = x == extreme
            rows = flat[:-2] & flat[1:-1] & flat[2:]
            for part in (cut[:-2], cut[1:-1], cut[2:]):
                part |= rows
    return cut
