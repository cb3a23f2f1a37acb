"""What can be concluded from votes: shares with intervals, a test over listeners, a ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

DRAWS = 10000
"""Of the bootstrap."""

SEED = 123

Z = float(norm.ppf(0.975))

A, NONE, B = range(3)
"""The last axis of counts."""


def bootstrap(counts: NDArray[np.int64], draws: int = DRAWS) -> NDArray[np.int64]:
    """Counts that other listeners of the same kind might have given.

    Listeners, not votes, are drawn with replacement: the votes of one person are not independent. The draws
    are seeded, so the same votes give the same intervals. (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993.)

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
    """The middle 95 % of draws (draws,), of which those that are NaN are left out; None if none is left."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share, taking votes as independent (Wilson, JASA 22, 1927)."""
    share, shrink = part / whole, 1 + Z**2 / whole
    middle = (share + Z**2 / (2 * whole)) / shrink
    half = Z / shrink * np.sqrt(share * (1 - share) / whole + Z**2 / (4 * whole**2))
    # Rounding must not put the end of an interval on the wrong side of its share.
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
        outer limits of the two: with few listeners, or all of one mind, the bootstrap alone is too narrow.
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

    The null hypothesis is that the difference of each listener is as likely to have the other sign. Listeners
    are tested, not votes: the votes of one person are not independent. p is the share of all ways to flip the
    signs whose sum is as far from 0 as the sum found, or further. (Fisher, The Design of Experiments, 1935,
    section 21.)

    Parameters
    ----------
    differences : (listeners,)
        Of each listener, votes for A less votes for B. A difference of 0 changes nothing.

    Returns
    -------
    float
        At least `smallest_p` of the listeners whose difference is not 0: however often one listener votes,
        p is 1 for one alone, and fewer than 6 cannot bring it to 0.05.
    """
    sizes = np.abs(differences)
    chance = np.ones(1)  # of each sum, from 0 upwards, of the differences that are flipped to be positive
    for size in sizes:
        chance = (np.pad(chance, (0, size)) + np.pad(chance, (size, 0))) / 2
    sums = 2 * np.arange(len(chance)) - sizes.sum()
    return min(1.0, float(chance[np.abs(sums) >= abs(differences.sum())].sum()))


def smallest_p(listeners: int) -> float:
    """The smallest p-value that `sign_flip_test` can have, when all listeners prefer the same system."""
    return min(1.0, 2.0 ** (1 - listeners))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
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
    """How often a system was preferred to another one, no preference as half; each opponent weighs the same.

    Parameters
    ----------
    counts : (..., pairs, 3)

    Returns
    -------
    mapping of system to array (...)
        From 0 to 1; 0.5 is the average. NaN where a system met none.
    """
    whole = counts.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        first = np.where(whole, (counts[..., A] + counts[..., NONE] / 2) / whole, np.nan)
    scores = {}
    for system in systems:
        met = [
            first[..., i] if a == system else 1 - first[..., i]
            for i, (a, b) in enumerate(pairs)
            if system in (a, b)
        ]
        stacked = np.stack(met)
        known = np.isfinite(stacked)
        with np.errstate(invalid="ignore"):
            scores[system] = np.where(known, stacked, 0).sum(axis=0) / known.sum(axis=0)
    return scores
