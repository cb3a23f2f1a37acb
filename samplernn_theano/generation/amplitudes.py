"""Generated samples as amplitudes, and the peak at which they are written."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, RealValued
from samplernn_theano.data.quantization import dequantize

PEAK = 0.9  # largest magnitude in a written file: -0.9 dBFS


def amplitudes(samples: NDArray, hp: HyperParameters) -> NDArray[np.float32]:
    """Amplitudes in [-1, 1] from levels, or from the normalised samples of a real-valued family."""
    if isinstance(hp, Quantised):
        return dequantize(samples, hp.q_levels, hp.q_type)
    assert isinstance(hp, RealValued)
    return (samples * np.float32(hp.std or 1.0) + np.float32(hp.mean or 0.0)).astype(np.float32)


def mean_and_scale(segments: Iterable[NDArray[np.float32]]) -> tuple[np.float32, np.float32]:
    """Mean of a sound, and the factor that scales it, mean removed, to a peak of 0.9; 0 for a constant."""
    total, n, low, high = 0.0, 0, np.inf, -np.inf
    for x in segments:
        total, n = total + float(x.sum(dtype=np.float64)), n + len(x)
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    mean = np.float32(total / n)
    peak = max(high - mean, mean - low)
    return mean, np.float32(PEAK / peak if peak > 1e-6 else 0)


def waveform(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the mean of amplitudes (samples,) and scale their peak to 0.9; a constant becomes silence."""
    mean, scale = mean_and_scale([x])
    return (x - mean) * scale
