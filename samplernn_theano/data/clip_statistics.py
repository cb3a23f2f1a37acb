"""Loudness statistics of the clips of a split, and faults of single clips."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import is_silent
from samplernn_theano.data.doubts import MAX_CLIPPED, cut_off

BINS = 256
"""Of the histogram, over amplitudes from -1 to 1."""


class ClipStatistics:
    """Statistics of a split, accumulated clip by clip, without samples that are NaN or infinite.

    `faults` holds the numbers of the clips that are

    - ``silent``: constant, or below 2**-10 of full scale; the normalisation divides by zero there;
    - ``not finite``: NaN or infinite in places;
    - ``clipped``: the highest or lowest sample is within 1 % of full scale or beyond, and at least 3
      samples in a row have that value, so the wave is cut off;
    - ``mostly clipped``: more than 1 % of the samples are in such rows;
    - ``beyond``: beyond full scale, outside [-1, 1];
    - ``mostly beyond``: more than 1 % of the samples are;
    - ``offset``: further than 0.01 of full scale from 0 in the mean.
    """

    def __init__(self) -> None:
        self.faults: defaultdict[str, list[int]] = defaultdict(list)
        self.worst_offset = 0.0
        self.peak = 0.0
        self.histogram = np.zeros(BINS, np.int64)
        self._samples = 0
        self._sum = self._squares = 0.0

    def add(self, number: int, clip: NDArray[np.floating]) -> None:
        """Add clip `number`, (samples,)."""
        x = clip.astype(np.float64)
        finite = np.isfinite(x)
        if not finite.all():
            self.faults["not finite"].append(number)
            x = x[finite]
        if not len(x):
            return
        if is_silent(x):
            self.faults["silent"].append(number)
        elif clipped := float(cut_off(x).mean()):
            self.faults["mostly clipped" if clipped > MAX_CLIPPED else "clipped"].append(number)
        peak, mean = float(max(x.max(), -x.min())), float(x.mean())
        if peak > 1:
            spoilt = np.count_nonzero(abs(x) > 1) > MAX_CLIPPED * len(x)
            self.faults["mostly beyond" if spoilt else "beyond"].append(number)
        if abs(mean) > 0.01:
            self.faults["offset"].append(number)
            self.worst_offset = max(self.worst_offset, mean, key=abs)
        self.peak = max(self.peak, peak)
        self._samples += len(x)
        self._sum += float(x.sum())
        self._squares += float(np.vdot(x, x))
        bins = np.clip((x.astype(np.float32) + 1) * (BINS / 2), 0, BINS - 1).astype(np.uint8)
        self.histogram += np.bincount(bins, minlength=BINS)

    @property
    def mean(self) -> float:
        """Of all samples."""
        return self._sum / max(1, self._samples)

    @property
    def std(self) -> float:
        """Standard deviation of all samples."""
        return float(np.sqrt(max(0.0, self._squares / max(1, self._samples) - self.mean**2)))

    @property
    def rms(self) -> float:
        """RMS in dB of full scale, whose mean square is 1; -inf if all samples are 0."""
        return 10 * float(np.log10(self._squares / self._samples)) if self._squares else -np.inf
