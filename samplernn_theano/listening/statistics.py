"""Statistics of votes: shares with intervals, a significance test over listeners, mean preferences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

DRAWS = 10000
"""Number of bootstrap resamples."""

SEED = 123

Z = float(norm.ppf(0.975))

A, NONE, B = range(3)
"""Indices of the last axis of counts."""


def bootstrap(counts: NDArray[np.int64], draws: int = DRAWS) -> NDArray[np.int64]:
    """Bootstrap resamples of the counts over listeners (Efron and Tibshirani, 1993).

    Listeners, not votes, are drawn with replacement: the votes of one person are not independent. The draws
    are seeded, so the same votes give the same intervals.

    Parameters
    ----------
    counts : (listeners, pairs, 3)

    Returns
    -------
    array (draws, pairs, 3)
    """
    listeners = len(counts)
    random = np.random.default_rng(SEED)
    flat = counts.reshape(listeners, -1).astype(np.float64)
    drawn = np.empty((draws, flat.shape[1]))
    for start in range(0, draws, 500):  # in parts, for the memory
        rows = slice(start, min(start + 500, draws))
        times = random.multinomial(listeners, np.full(listeners, 1 / listeners), size=rows.stop - rows.start)
        drawn[rows] = times @ flat
    return drawn.round().astype(np.int64).reshape(draws, *counts.shape[1:])


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The central 95 % of draws (draws,), without NaN; None if there are no others."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share of independent votes (Wilson, JASA 22, 1927)."""
    share, shrink = part / whole, 1 + Z**2 / whole
    middle = (share + Z**2 / (2 * whole)) / shrink
    half = Z / shrink * np.sqrt(share * (1 - share) / whole + Z**2 / (4 * whole**2))
    # Rounding must not exclude the share from its interval.
    return max(0.0, min(share, float(middle - half))), min(1.0, max(share, float(middle + half)))


def share(part: int, whole: int, drawn: NDArray[np.float64] | None) -> dict[str, Any]:
    """A share of votes and its 95 % intervals.

    Parameters
    ----------
    part, whole : counts of votes
    drawn : array (draws,), optional
        The share in bootstrap draws; None with fewer than two listeners.

    Returns
    -------
    dict
        ``value``, ``bootstrap`` (low, high, or None) and ``wilson`` (low, high); ``low`` and ``high`` are the
        outer limits of the two: with few or unanimous listeners, the bootstrap alone is too narrow.
    """
    if not whole:
        return {"value": None, "low": None, "high": None, "bootstrap": None, "wilson": None}
    limits = wilson(part, whole)
    resampled = None if drawn is None else interval(drawn)
    low, high = (limits[0], limits[1])
    if resampled:
        low, high = min(low, resampled[0]), max(high, resampled[1])
    return {"value": part / whole, "low": low, "high": high, "bootstrap": resampled, "wilson": limits}


def sign_flip_test(differences: NDArray[np.int64]) -> float:
    """The exact two-sided p-value of a sign-flip test over listeners.

    Under the null hypothesis both signs of each listener's difference are equally likely. Listeners are
    tested, not votes: the votes of one person are not independent. p is the share of all assignments of signs
    whose sum is at least as far from 0 as the observed sum (Fisher, The Design of Experiments, 1935,
    section 21).

    Parameters
    ----------
    differences : (listeners,)
        Votes for A minus votes for B of each listener. Differences of 0 have no effect.

    Returns
    -------
    float
        At least `smallest_p` of the number of nonzero differences: 1 with one listener, and above 0.05 with
        fewer than 6.
    """
    sizes = np.abs(differences)
    chance = np.ones(1)  # probability of each sum of the positive differences, from 0
    for size in sizes:
        chance = (np.pad(chance, (0, size)) + np.pad(chance, (size, 0))) / 2
    sums = 2 * np.arange(len(chance)) - sizes.sum()
    return min(1.0, float(chance[np.abs(sums) >= abs(differences.sum())].sum()))


def smallest_p(listeners: int) -> float:
    """The smallest p-value of `sign_flip_test`: all listeners prefer the same system."""
    return min(1.0, 2.0 ** (1 - listeners))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values with Holm's correction for multiple tests (Scandinavian Journal of Statistics 6, 1979)."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[i] = largest
    return corrected


def mean_preference(
    counts: NDArray[np.int64], pairs: Sequence[tuple[str, str]], systems: Sequence[str]
) -> Mapping[str, NDArray[np.float64]]:
    """Share of votes preferring a system, averaged over its opponents; no preference counts half.

    Parameters
    ----------
    counts : (..., pairs, 3)

    Returns
    -------
    mapping of system to array (...)
        From 0 to 1; 0.5 is the average. NaN without votes.
    """
    whole = counts.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        first = np.where(whole, (counts[..., A] + counts[..., NONE] / 2) / whole, np.nan)
    scores = {}
    for system in systems:
        shares = [
            first[..., i] if a == system else 1 - first[..., i]
            for i, (a, b) in enumerate(pairs)
            if system in (a, b)
        ]
        stacked = np.stack(shares)
        known = np.isfinite(stacked)
        with np.errstate(invalid="ignore"):
            scores[system] = np.where(known, stacked, 0).sum(axis=0) / known.sum(axis=0)
    return scores
