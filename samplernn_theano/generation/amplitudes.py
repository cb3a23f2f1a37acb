"""Samples of a model as amplitudes, and the peak at which they are written."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, RealValued
from samplernn_theano.data.quantization import dequantize

PEAK = 0.9
"""The largest magnitude of what is written to a file: -0.9 dBFS."""


def amplitudes(samples: NDArray, hp: HyperParameters) -> NDArray[np.float32]:
    """Levels, or the normalised numbers of a real-valued family, as amplitudes in [-1, 1]."""
    if isinstance(hp, Quantised):
        return dequantize(samples, hp.q_levels, hp.q_type)
    assert isinstance(hp, RealValued)
    return (samples * np.float32(hp.std or 1.0) + np.float32(hp.mean or 0.0)).astype(np.float32)


def level(pieces: Iterable[NDArray[np.float32]]) -> tuple[np.float32, np.float32]:
    """The mean of a sound that comes in pieces, and what scales it, without the mean, to a peak of 0.9.

    The scale of a constant is 0: silence.
    """
    total, n, low, high = 0.0, 0, np.inf, -np.inf
    for x in pieces:
        total, n = total + float(x.sum(dtype=np.float64)), n + len(x)
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    mean = np.float32(total / n)
    peak = max(high - mean, mean - low)
    return mean, np.float32(PEAK / peak if peak > 1e-6 else 0)


def waveform(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Amplitudes (samples,) with the mean removed, and the largest scaled to 0.9. A constant is silence."""
    mean, scale = level([x])
    return (x - mean) * scale
