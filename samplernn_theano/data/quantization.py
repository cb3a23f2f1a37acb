"""Normalisation per clip; linear, mu-law and A-law quantisation of amplitudes, and its inverse."""

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import DataError

_EPSILON = 1e-5
_MU = 255.0
_A = 87.6
_A_LAW_SCALE = 1.0 + np.log(_A)


def normalise(clip: NDArray, normalisation: str = "min-max", name: str = "Clip 0") -> NDArray[np.float64]:
    """Scale a clip, (samples,) of any float, to [0, 1]; an error calls it `name`.

    "min-max", the original's: the lowest sample becomes 0 and the highest 1. Quirk: amplitude 0 becomes
    another value in every clip. "absmax": x / max|x|, zeros unchanged; "none": x unchanged. Both then scale
    [-1, 1] to [0, 1], so amplitude 0 is 0.5 in every clip.
    """
    x = clip.astype(np.float64)
    low, high = x.min(), x.max()
    peak = max(-low, high)
    check_clip(name, peak, low == high, normalisation)
    if normalisation == "min-max":
        x -= low
        x /= high - low
        return x
    if normalisation == "absmax" and peak > 0:
        x /= peak
    x += 1.0
    x /= 2.0
    return x


def check_clip(name: str, peak: float, constant: bool, normalisation: str) -> None:
    """Raise DataError if a clip with this maximal magnitude cannot be normalised."""
    if not np.isfinite(peak):
        raise DataError(f"{name} holds NaN or infinite samples; remove or repair it.")
    if normalisation == "none" and peak > 1:
        raise DataError(
            f"{name} reaches {peak:.4g} and --normalisation none needs samples in -1..1; "
            "scale the recordings or use --normalisation absmax."
        )
    if normalisation == "min-max" and constant:
        raise DataError(
            f"{name} is constant (silence) and cannot be normalised; remove it "
            "(samplernn prepare does) or use --normalisation absmax. The original would divide by zero."
        )


def linear_quantize(x: NDArray[np.float64], q_levels: int) -> NDArray[np.int32]:
    """Quantise amplitudes in [0, 1] to levels 0..q_levels-1, rounding down."""
    y = x * (q_levels - _EPSILON)
    y += _EPSILON / 2
    return y.astype(np.int32)


def linear_dequantize(levels: NDArray, q_levels: int) -> NDArray[np.float32]:
    """Convert levels to amplitudes in (-1, 1): the middle of each level's interval."""
    return ((levels.astype(np.float32) + np.float32(0.5)) * np.float32(2.0 / q_levels)) - np.float32(1)


def mu_law_quantize(x: NDArray[np.float64]) -> NDArray[np.int16]:
    """Quantise amplitudes in [0, 1] to 256 mu-law levels: ITU-T G.711's curve with mu = 255."""
    y = 2.0 * x - 1.0
    y = np.sign(y) * np.log(1 + _MU * np.abs(y)) / np.log(1 + _MU)
    return ((y + 1) / 2 * _MU).astype(np.int16)


def mu_law_dequantize(levels: NDArray) -> NDArray[np.float32]:
    """Convert 256 mu-law levels to amplitudes in [-1, 1).

    Quirk: the inverse divides by 256 where the quantiser multiplies by 255: level 128 is exactly zero, and a
    round trip is up to two levels too low.
    """
    y = 2.0 * (levels.astype(np.float32) - np.float32(128)) / np.float32(256)
    return (np.sign(y) * (1.0 / _MU) * ((1.0 + _MU) ** np.abs(y) - 1.0)).astype(np.float32)


def a_law_quantize(x: NDArray[np.float64]) -> NDArray[np.int16]:
    """Quantise amplitudes in [0, 1] to 256 A-law levels: ITU-T G.711's curve with A = 87.6.

    The original accepts the name a-law and then raises an error: these levels are our choice. They are 256
    equal steps of the curve, two of which meet at amplitude zero; zero is in the upper one, 128.
    """
    y = 2.0 * x - 1.0
    steep = _A * np.abs(y)
    curve = np.where(steep < 1.0, steep, 1.0 + np.log(np.maximum(steep, 1.0))) / _A_LAW_SCALE
    return np.minimum((np.sign(y) * curve + 1.0) / 2.0 * 256.0, 255.0).astype(np.int16)


def a_law_dequantize(levels: NDArray) -> NDArray[np.float32]:
    """Convert 256 A-law levels to amplitudes in (-1, 1): the middle of each step of the curve."""
    curve = (levels.astype(np.float64) + 0.5) / 128.0 - 1.0
    steep = np.abs(curve) * _A_LAW_SCALE
    y = np.where(steep < 1.0, steep, np.exp(steep - 1.0)) / _A
    return (np.sign(curve) * y).astype(np.float32)


def quantize(
    clips: NDArray, q_levels: int, q_type: str, normalisation: str = "min-max"
) -> NDArray[np.integer]:
    """Normalise clips (n, samples) of any float one by one, and quantise them: linear, mu-law or a-law."""
    levels = np.empty(clips.shape, np.int32 if q_type == "linear" else np.int16)
    for i, clip in enumerate(clips):  # one by one: float64 of a whole batch takes much memory
        x = normalise(clip, normalisation, f"Clip {i}")
        if q_type == "linear":
            levels[i] = linear_quantize(x, q_levels)
        else:
            levels[i] = mu_law_quantize(x) if q_type == "mu-law" else a_law_quantize(x)
    return levels


def dequantize(levels: NDArray, q_levels: int, q_type: str) -> NDArray[np.float32]:
    """Convert levels to amplitudes in [-1, 1]."""
    if q_type == "mu-law":
        return mu_law_dequantize(levels)
    return a_law_dequantize(levels) if q_type == "a-law" else linear_dequantize(levels, q_levels)
