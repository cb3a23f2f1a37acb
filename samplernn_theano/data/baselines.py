"""What simple predictors of a sample reach on a data set: a model has learned something if it is better.

They are fitted on the training split and scored on another one, on the levels that a model reads: each clip
from its minimum to its maximum, 256 linear levels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from samplernn_theano.data.dataset import Clips, lengths
from samplernn_theano.data.quantization import linear_quantize, normalise

LEVELS = 256
ORDER = 16
"""Samples that the linear predictor reads."""

MAX_SAMPLES = 10**7
"""Of a split; of a larger one evenly spaced clips are read."""

BLOCK = 2**14
"""Samples that are predicted at a time."""


class Baselines(NamedTuple):
    """NLL in bits per sample."""

    unigram: float  # the distribution of levels
    bigram: float  # that of a level after the one before
    linear: float  # that of the rounded residual of a linear prediction from the last `ORDER` levels


def measure(train: Clips, test: Clips) -> Baselines | None:
    """Fit the predictors on `train`, and score them on `test`; None if either has no sound."""
    weights = _linear_predictor(train)
    (pairs, residuals), (test_pairs, test_residuals) = (_counts(clips, weights) for clips in (train, test))
    if not (pairs.any() and test_pairs.any()):
        return None
    return Baselines(
        _bits(pairs.sum(axis=0), test_pairs.sum(axis=0)),
        _bits(pairs, test_pairs),
        _bits(residuals, test_residuals),
    )


def describe(found: Baselines) -> str:
    """The baselines in words."""
    return (
        f"simple predictors reach {found.unigram:.2f} bits per sample (the distribution of levels), "
        f"{found.bigram:.2f} (that after each level) and {found.linear:.2f} (linear prediction): "
        "a model that has learned the sound is below"
    )


def evenly_spaced(clips: Clips) -> Iterator[NDArray[np.floating]]:
    """The clips of a split; of one of more than `MAX_SAMPLES`, evenly spaced ones of about so many."""
    for i in range(0, len(clips), max(1, -(-int(lengths(clips).sum()) // MAX_SAMPLES))):
        yield np.asarray(clips[i])


def _blocks(clips: Clips) -> Iterator[NDArray[np.integer]]:
    """Blocks of levels: `ORDER`, and up to `BLOCK` to be predicted. Without constant clips, and NaN."""
    for clip in evenly_spaced(clips):
        if len(clip) > ORDER and -np.inf < clip.min() < clip.max() < np.inf:
            x = linear_quantize(normalise(clip), LEVELS)
            for begin in range(0, len(x) - ORDER, BLOCK):
                yield x[begin : begin + ORDER + BLOCK]


def _linear_predictor(clips: Clips) -> NDArray[np.float64]:
    """Least squares: weights of the last `ORDER` levels and of a constant, (ORDER + 1,)."""
    products = np.zeros((ORDER + 2, ORDER + 2))
    for x in _blocks(clips):
        windows = sliding_window_view(x.astype(np.float64), ORDER + 1)
        windows = np.column_stack((windows, np.ones(len(windows))))  # inputs, target, constant
        products += windows.T @ windows
    inputs = [*range(ORDER), ORDER + 1]
    return np.linalg.lstsq(products[np.ix_(inputs, inputs)], products[inputs, ORDER])[0]


def _counts(clips: Clips, weights: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """How often each pair of levels, (LEVELS, LEVELS), and each residual, (2 LEVELS - 1,), occurs."""
    pairs, residuals = np.zeros(LEVELS**2), np.zeros(2 * LEVELS - 1)
    for x in _blocks(clips):
        predicted = sliding_window_view(x[:-1].astype(np.float64), ORDER) @ weights[:ORDER] + weights[ORDER]
        residual = x[ORDER:] - np.rint(predicted.clip(0, LEVELS - 1)).astype(int)
        pairs += np.bincount(LEVELS * x[ORDER - 1 : -1] + x[ORDER:], minlength=len(pairs))
        residuals += np.bincount(residual + LEVELS - 1, minlength=len(residuals))
    return pairs.reshape(LEVELS, LEVELS), residuals


def _bits(fitted: NDArray, scored: NDArray) -> float:
    """Mean negative log2 of the probabilities by the counts `fitted`, over the events counted in `scored`."""
    fitted = fitted + 1  # so that what the training split lacks has a probability
    probabilities = fitted / fitted.sum(axis=-1, keepdims=True)
    return float(-np.sum(scored * np.log2(probabilities)) / scored.sum())
