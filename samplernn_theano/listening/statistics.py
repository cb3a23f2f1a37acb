"""Statistics of votes: preferences with intervals and p-values over listeners and sounds.

Listeners and sounds are random samples: the votes of one listener, and those on one sound, are not
independent. A share of votes is estimated as a sum of independent effects of listeners, of the sounds of both
systems and of votes. Their variances are those whose expected sums of squares equal the sums found
(Henderson, Biometrics 9, 1953, method 1), none of them negative.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import stdtr, stdtrit


class Estimate(NamedTuple):
    """A share of the population of listeners and sounds."""

    value: float
    low: float  # limits of the 95 % interval
    high: float
    p_value: float  # two-sided, of a share of 1/2


def estimate(
    values: NDArray[np.floating], units: NDArray[np.int64], opponents: NDArray[np.int64]
) -> Estimate:
    """Estimate the mean of `values` (votes,) from 0 to 1, averaged over the opponents of a system.

    `units` (3, votes) are the listener of each vote, the sound of the system and that of the opponent, and
    `opponents` (votes,) the opponents, all as numbers. Limits and p-value are those of a score test (Wilson)
    with the estimated variance and quantiles of t, whose degrees of freedom are as Satterthwaite's. They are
    never sharper than those of as many unanimous votes as there are listeners, or sounds of a system: see
    `lowest_p`. benchmarks/listening.py shows by simulation that they hold.
    """
    *groups, versus = (np.unique(own, return_inverse=True)[1] for own in (*units, opponents))
    numbers = [int(own.max()) + 1 for own in groups]
    votes = np.bincount(versus)
    weight = 1 / (len(votes) * votes)  # of a vote against each opponent
    means = np.bincount(versus, values) / votes
    value = float(means.mean())
    variances = _variances(values - means[versus], groups, versus, weight)
    variance = variances.sum()
    freedom = np.array([*(n - 1 for n in numbers[:3]), sum(numbers[:3]) - 3])
    # A part is the difference of a mean square and that of votes; one that is 0 is known not to be less.
    noise = np.where(variances > 0, variances + variances[3], 0)
    noise[3] = variances[3]
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = float(variance**2 / np.nansum(noise**2 / freedom))
        size = float(value * (1 - value) / variance)  # number of independent votes of the same variance
    if not (np.isfinite(degrees) and size > 0):  # all votes are the same
        degrees, size = float(min(freedom)), float(len(values))
    return _score_test(value, size, max(degrees, 1.0), min(numbers[:3]))


def _variances(
    errors: NDArray[np.floating],
    groups: Sequence[NDArray[np.int64]],
    versus: NDArray[np.int64],
    weight: NDArray[np.floating],
) -> NDArray[np.floating]:
    """The parts of a weighted mean's variance: of listeners, sounds, opponents' sounds and votes (4,)."""
    weights = weight[versus]
    votes = np.bincount(versus)
    tables = [_table(own, versus) for own in groups]  # votes (units, opponents)
    # squares[i]: sum over the units i of their squared errors; shares[i, j]: what effects of the units j with
    # a variance of 1 add to its expectation.
    squares = [np.square(np.bincount(own, weights * errors)).sum() for own in groups]
    squares.append(np.square(weights * errors).sum())
    shares = np.empty((4, 4))
    for i, own in enumerate(groups):
        for j, other in enumerate(groups[: i + 1]):
            centred = _table(own, other, weights) - (tables[i] * (weight / votes)) @ tables[j].T
            shares[i, j] = shares[j, i] = np.square(centred).sum()
        shares[i, 3] = shares[3, i] = weight**2 @ (votes - np.square(tables[i]).sum(axis=0) / votes)
    shares[3, 3] = weight**2 @ (votes - 1)
    sizes = np.array([np.square(np.bincount(own, weights)).sum() for own in groups] + [weights @ weights])
    scale = 1 / np.sqrt(np.maximum(shares.diagonal(), 1e-12))
    found, _ = nnls(shares * np.outer(scale, scale), scale * squares)
    return found * scale * sizes


def _score_test(value: float, size: float, degrees: float, units: int) -> Estimate:
    """The interval of Wilson and the p-value for `size` independent votes, with quantiles of t."""
    t2 = float(stdtrit(degrees, 0.975)) ** 2
    middle = (value + t2 / (2 * size)) / (1 + t2 / size)
    half = np.sqrt(t2 * (value * (1 - value) / size + t2 / (4 * size**2))) / (1 + t2 / size)
    least = 0.025 ** (1 / units)
    p = 2 * stdtr(degrees, -abs(2 * value - 1) * np.sqrt(size))
    low, high = min(middle - half, least), max(middle + half, 1 - least)
    return Estimate(value, float(low), float(high), float(max(p, lowest_p(units))))


def lowest_p(units: int) -> float:
    """The p-value of a sign test of so many listeners, or sounds of a system, that are all of one mind.

    With that few, be they listeners or sounds, no vote on however many pairs can make a p-value smaller.
    """
    return min(1.0, 2.0 ** (1 - units))


def _table(
    rows: NDArray[np.int64], columns: NDArray[np.int64], weights: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """The number (or sum of weights) of votes for each pair of a row and a column."""
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    flat = np.bincount(rows * shape[1] + columns, weights, shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values with Holm's correction for multiple tests (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p_values)
    steps = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected.tolist()
