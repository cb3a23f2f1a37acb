"""Normalisation per clip; linear, mu-law and A-law quantisation of amplitudes, and its inverse."""

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import DataError

_EPSILON = 1e-5
_MU = 255.0
_A = 87.6
_A_LAW_SCALE = 1.0 + np.log(_A)


def normalise(clips: NDArray, normalisation: str = "min-max") -> NDArray[np.float64]:
    """Scale each clip (row) to [0, 1] by itself.

    Parameters
    ----------
    clips : (n, samples) of any float
    normalisation : {"min-max", "absmax", "none"}
        "min-max", the original's: the lowest sample becomes 0 and the highest 1. Quirk: amplitude 0 becomes
        another value in every clip. "absmax": x / max|x|, zeros unchanged; "none": x unchanged. Both then
        scale [-1, 1] to [0, 1], so amplitude 0 is 0.5 in every clip.

    A clip with "min-max" that is constant is refused (quirk: the original divides by zero and feeds NaN).
    """
    x = np.array(clips, np.float64)
    for i, clip in enumerate(x):
        _normalise(clip, normalisation, i)
    return x


def _normalise(x: NDArray[np.float64], normalisation: str, i: int) -> None:
    """Scale clip number `i`, (samples,), to [0, 1] in place."""
    low, high = x.min(), x.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"Clip {i} holds NaN or infinite samples; remove or repair it.")
    if normalisation == "min-max":
        if low == high:
            raise DataError(
                f"Clip {i} is constant (silence) and cannot be normalised; remove it "
                "(samplernn prepare does)."
            )
        x -= low
        x /= high - low
        return
    peak = max(-low, high)
    if normalisation == "absmax" and peak > 0:
        x /= peak
    elif normalisation == "none" and peak > 1:
        raise DataError(
            f"Clip {i} reaches {peak:.4g} and --normalisation none needs samples in -1..1; "
            "scale the recordings or use --normalisation absmax."
        )
    x += 1.0
    x /= 2.0


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
        x = clip.astype(np.float64)
        _normalise(x, normalisation, i)
        if q_type == "mu-law":
            levels[i] = mu_law_quantize(x)
        else:
            levels[i] = a_law_quantize(x) if q_type == "a-law" else linear_quantize(x, q_levels)
    return levels


def dequantize(levels: NDArray, q_levels: int, q_type: str) -> NDArray[np.float32]:
    """Convert levels to amplitudes in [-1, 1]."""
    if q_type == "mu-law":
        return mu_law_dequantize(levels)
    return a_law_dequantize(levels) if q_type == "a-law" else linear_dequantize(levels, q_levels)
