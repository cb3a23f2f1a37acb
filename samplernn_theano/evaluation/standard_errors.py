"""Standard errors of scores on clips, of which those of one recording are one observation."""

import numpy as np
from numpy.typing import NDArray


def by_recording(values: NDArray[np.float64], recordings: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Independent observations: the mean of the clips' values (clips,) for each recording, (recordings,).

    Clips of one recording resemble each other. If their recordings are unknown, each clip counts as one.
    """
    if recordings is None:
        return values
    _, own = np.unique(recordings, return_inverse=True)
    return np.bincount(own, values) / np.bincount(own)


def standard_error(values: NDArray[np.float64], recordings: NDArray[np.int64] | None = None) -> float:
    """Standard error of the mean of the clips' values (clips,), those of a recording being one observation.

    Each recording, number `recordings` (clips,), weighs as many as its clips, as in the mean: the standard
    error of a ratio, sqrt(G / (G - 1) · sum over the G recordings of (sum of its deviations)²) / clips. With
    one clip each, or recordings unknown, that is standard deviation / sqrt(clips). NaN for fewer than two.
    """
    _, own = np.unique(np.arange(len(values)) if recordings is None else recordings, return_inverse=True)
    n = len(np.unique(own))
    if n < 2:
        return float("nan")
    sums = np.bincount(own, values - values.mean())
    return float(np.sqrt(n / (n - 1) * np.sum(sums**2)) / len(values))
