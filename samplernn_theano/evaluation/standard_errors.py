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


def standard_error(values: NDArray[np.float64]) -> float:
    """Standard error of the mean of values (n,): standard deviation / sqrt(n); NaN for fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
