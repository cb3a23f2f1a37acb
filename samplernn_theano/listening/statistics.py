"""Statistics of votes: shares with intervals, a significance test over listeners, mean preferences.

Listeners are the sampling unit, not votes: the votes of one person are not independent.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


def bootstrap(counts: NDArray[np.int64], draws: int = 10_000) -> NDArray[np.int64]:
    """Sums (draws, ...) of `counts` (listeners, ...) over listeners drawn with replacement (fixed seed)."""
    listeners = len(counts)
    times = np.random.default_rng(123).multinomial(listeners, np.full(listeners, 1 / listeners), size=draws)
    return np.tensordot(times, counts, 1)


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The central 95 % of draws (draws,), without NaN; None if there are no others."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def share(part: int, whole: int, drawn: NDArray[np.float64] | None) -> dict[str, float | None]:
    """A share of votes, ``value``, and its 95 % interval, ``low`` and ``high``; None without votes.

    The limits are the outer ones of Wilson's interval for independent votes and of the bootstrap's draws of
    the share, `drawn` (draws,), which alone is too narrow with few or unanimous listeners.
    """
    if not whole:
        return {"value": None, "low": None, "high": None}
    wilson = binomtest(part, whole).proportion_ci(method="wilson")
    low, high = float(wilson.low), float(wilson.high)
    if drawn is not None and (limits := interval(drawn)):
        low, high = min(low, limits[0]), max(high, limits[1])
    return {"value": part / whole, "low": low, "high": high}


def sign_flip_test(differences: NDArray[np.int64]) -> float:
    """The exact two-sided p-value of a sign-flip test (Fisher, The Design of Experiments, 1935, section 21).

    `differences` (listeners,) are each listener's votes for A minus those for B. p is the share of all
    assignments of signs whose sum is at least as far from 0 as theirs: at least 2^(1 - n) if n are not 0.
    """
    sizes = np.abs(differences)
    chance = np.ones(1)  # probability of each sum of the positive differences, from 0
    for size in sizes:
        chance = (np.pad(chance, (0, size)) + np.pad(chance, (size, 0))) / 2
    sums = 2 * np.arange(len(chance)) - sizes.sum()
    return min(1.0, float(chance[np.abs(sums) >= abs(differences.sum())].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values with Holm's correction for multiple tests (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p_values)
    steps = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected.tolist()


def mean_preference(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of votes preferring each system (..., systems), averaged over its opponents; NaN without votes.

    `counts` (..., 2, systems, systems) are those of `analysis.count`; no preference counts half.
    """
    wins, none = counts[..., 0, :, :], counts[..., 1, :, :]
    whole = wins + np.swapaxes(wins, -1, -2) + none
    shares = (wins + none / 2) / np.maximum(whole, 1)
    with np.errstate(invalid="ignore"):
        return shares.sum(axis=-1) / (whole > 0).sum(axis=-1)
