"""Which of two speakers is heard in two seconds of sound: mel features and a linear classifier.

Features of a piece of sound are the mean and the standard deviation of mel-frequency cepstral coefficients
over its loud frames (Davis and Mermelstein, 1980), and its pitch. None of them depends on the level or on the
offset of the sound. A piece without voice has no features: nobody can tell who does not speak.

The classifier is Fisher's linear discriminant with the shrunk covariance of Ledoit and Wolf (2004), which
suits few pieces and many features. It fails where the two speakers were recorded differently: then it tells
the rooms apart, not the voices, and is right all the same.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import expit
from scipy.stats import binomtest

from samplernn_theano.data.dataset import is_silent, load_split
from samplernn_theano.data.manifest import CLIPS, count_of
from samplernn_theano.errors import DataError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

PIECE = 2 * SAMPLE_RATE
"""Samples that are judged at once."""

MOST_CLIPS = 200
"""Clips of a split that are heard, of each speaker: more make the classifier no better."""

FRAME, HOP = 512, 160  # samples: 32 and 10 ms
BANDS, LOWEST, HIGHEST = 32, 80.0, 7600.0  # the mel filters, Hz
COEFFICIENTS = slice(1, 14)  # without the first, which is the level
PITCHES = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 70)  # periods in samples: 400 to 70 Hz
LOUD = 1e-3  # of the power of the loudest frame: 30 dB below
PERIODIC = 0.6  # correlation of a voiced frame with itself one period later
OCTAVE_COST = 0.05  # of correlation: what repeats itself after a period does so after two
VOICED_FRAMES = 20  # which a piece needs: 0.2 s

type Hear = Callable[[NDArray[np.floating]], NDArray[np.floating]]
"""From a clip (samples,) as it lies in the data set to what a model has of it."""


@dataclass(frozen=True)
class Classifier:
    """Which of two speakers it is.

    Attributes
    ----------
    speakers : tuple of str
        Their names, sorted.
    mean, scale : (D,) float64
        What standardises the features.
    weights : (D,) float64
    bias : float
    """

    speakers: tuple[str, str]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def posterior(self, sound: NDArray[np.floating]) -> float:
        """The probability that the second speaker is heard in `sound` (samples,); NaN if there is no voice.

        Both are taken to be equally probable beforehand.
        """
        x = features(sound)
        if x is None:
            return float("nan")
        return float(expit(((x - self.mean) / self.scale) @ self.weights + self.bias))


# --- features -----------------------------------------------------------------------------------------------


def features(sound: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """The features (D,) of a sound (samples,) at 16 kHz, or None if less than 0.2 s of it is voice.

    A frame is loud if it is within 30 dB of the loudest one, and voice if it is loud and repeats itself after
    a period of 2.5 to 14 ms.
    """
    x = np.asarray(sound, np.float64)
    if len(x) < FRAME or is_silent(x - x.mean()):
        return None
    frames = np.lib.stride_tricks.sliding_window_view(x, FRAME)[::HOP]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames, 2 * FRAME)) ** 2  # (frames, FRAME + 1)
    energy = power.sum(axis=1)
    loud = energy > LOUD * energy.max()
    periods, strength = _periods(power[loud])
    voiced = strength > PERIODIC
    if voiced.sum() < VOICED_FRAMES:
        return None
    mel = power[loud] @ _filters().T
    logarithms = np.log(mel + 1e-9 * mel.max())
    cepstra = dct(logarithms, norm="ortho", axis=1)[:, COEFFICIENTS]
    pitch = np.log2(SAMPLE_RATE / periods[voiced])
    return np.concatenate([cepstra.mean(axis=0), cepstra.std(axis=0), [np.median(pitch)]])


def _periods(power: NDArray[np.float64]) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Of power spectra (n, FRAME + 1): the period after which each frame resembles itself most, and how much.

    The correlation is divided by that of the window, as Boersma (1993) does, lest short periods win. Where
    the shortest period is the best one, there is none: noise with more low than high tones is like that.
    """
    window = np.abs(np.fft.rfft(np.hanning(FRAME), 2 * FRAME)) ** 2
    own, of_window = np.fft.irfft(power), np.fft.irfft(window)
    correlation = own[:, PITCHES] / own[:, :1] / (of_window[PITCHES] / of_window[0])
    octaves = np.log2(np.arange(PITCHES.start, PITCHES.stop) / PITCHES.start)
    best = (correlation - OCTAVE_COST * octaves).argmax(axis=1)
    strength = correlation[np.arange(len(best)), best]
    return best + PITCHES.start, np.where(best > 0, strength, 0.0)


@cache
def _filters() -> NDArray[np.float64]:
    """The mel filters, triangles over the spectrum: (BANDS, FRAME + 1)."""
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, HIGHEST))  # in mel
    corners = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)  # in Hz
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hertz = np.linspace(0, SAMPLE_RATE / 2, FRAME + 1)
    return np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))


# --- the classifier -----------------------------------------------------------------------------------------


def fit(first: NDArray[np.float64], second: NDArray[np.float64], speakers: tuple[str, str]) -> Classifier:
    """Fisher's discriminant between the features (n, D) of the first and those of the second speaker."""
    both = np.concatenate([first, second])
    mean, scale = both.mean(axis=0), both.std(axis=0) + 1e-9
    first, second = (first - mean) / scale, (second - mean) / scale
    within = np.concatenate([first - first.mean(axis=0), second - second.mean(axis=0)])
    weights = np.linalg.solve(_covariance(within), second.mean(axis=0) - first.mean(axis=0))
    middle = (first.mean(axis=0) + second.mean(axis=0)) / 2
    return Classifier(speakers, mean, scale, weights, -float(weights @ middle))


def _covariance(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance (D, D) of x (n, D), whose mean is 0, shrunk to a multiple of the identity.

    Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices".
    """
    n, d = x.shape
    sample = x.T @ x / n
    target = np.trace(sample) / d * np.eye(d)
    distance = ((sample - target) ** 2).sum()
    error = (((x**2).sum(axis=1) ** 2).mean() - (sample**2).sum()) / n
    share = min(1.0, error / distance) if distance > 0 else 1.0
    return share * target + (1 - share) * sample + 1e-9 * np.eye(d)


def train(folder: str | Path, hear: Hear = np.asarray) -> Classifier:
    """A classifier trained on the training split of a data set of two speakers, in pieces of 2 s.

    Raises
    ------
    DataError
        If the set does not say who speaks, has not just two speakers, or has too little voice of one.
    """
    names = speakers_of(folder)
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for speaker, piece in pieces(folder, "train", hear):
        x = features(piece)
        if x is not None:
            found[speaker].append(x)
    for name, own in found.items():
        if len(own) < 2:
            raise DataError(
                f"The train split in {folder} has {len(own)} pieces of 2 s in which the voice of {name} is "
                "heard and at least 2 are needed; add recordings."
            )
    return fit(np.array(found[names[0]]), np.array(found[names[1]]), names)


def held_out(
    classifier: Classifier, folder: str | Path, split: str, hear: Hear = np.asarray
) -> dict[str, Any]:
    """How often the classifier is right on a split that it was not trained on.

    Returns
    -------
    dict
        pieces: those of 2 s that hold voice; accuracy: the share in which it is right; low and high: its 95-%
        interval (Wilson); cannot_tell: pieces without voice; confusion: pieces with it, rows by who speaks,
        columns by whom the classifier hears, in the order of its speakers.

    Raises
    ------
    DataError
        If no piece of the split holds voice.
    """
    confusion, silent = np.zeros((2, 2), int), 0
    for speaker, piece in pieces(folder, split, hear):
        posterior = classifier.posterior(piece)
        if np.isnan(posterior):
            silent += 1
        else:
            confusion[classifier.speakers.index(speaker), int(posterior > 0.5)] += 1
    right, n = int(confusion.trace()), int(confusion.sum())
    if n == 0:
        raise DataError(
            f"No clip of the {split} split in {folder} holds 2 s with voice, so the classifier of speakers "
            "cannot be tested; add recordings, or make clips of 2 s or more."
        )
    return (
        {"accuracy": right / n}
        | interval(right, n)
        | {
            "pieces": n,
            "cannot_tell": silent,
            "confusion": confusion.tolist(),
        }
    )


def interval(k: int, n: int) -> dict[str, float]:
    """The 95-% interval of Wilson (1927) of a share k / n, as {"low", "high"}."""
    found = binomtest(k, n).proportion_ci(0.95, "wilson")
    return {"low": float(found.low), "high": float(found.high)}


# --- data sets with speakers --------------------------------------------------------------------------------


def speakers_of(folder: str | Path) -> tuple[str, str]:
    """The names of the two speakers of a data set, sorted.

    Raises
    ------
    DataError
        If the set does not say who speaks, or has not just two speakers.
    """
    names = sorted({name for own in _table(folder).values() for name in own})
    if len(names) != 2:
        told = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise DataError(
            f"The data set in {folder} has {count_of(len(names), 'speaker')} ({told}) and two are needed; "
            "make one of a folder with two sub-folders: samplernn prepare RECORDINGS --speakers --out FOLDER"
        )
    return names[0], names[1]


def pieces(
    folder: str | Path, split: str, hear: Hear = np.asarray
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Speaker and samples (PIECE,) of all whole pieces of 2 s of the clips of a split.

    Of a speaker with more than `MOST_CLIPS` clips, so many are taken, evenly spread.

    Raises
    ------
    DataError
        If the split is missing or damaged, or the table of clips does not fit it.
    """
    clips, speakers = load_split(folder, split), _table(folder).get(split, [])
    if len(speakers) != len(clips):
        raise DataError(
            f"{Path(folder) / CLIPS} tells of {len(speakers)} clips of the {split} split, which has "
            f"{len(clips)}; make the data set again."
        )
    for i in _spread(speakers):
        clip = hear(clips[i])
        for start in range(0, len(clip) - PIECE + 1, PIECE):
            yield speakers[i], clip[start : start + PIECE]


def _spread(speakers: Sequence[str]) -> list[int]:
    """Numbers of the clips to hear, rising."""
    chosen: list[int] = []
    for name, n in Counter(speakers).items():
        own = [i for i, speaker in enumerate(speakers) if speaker == name]
        chosen += [own[i] for i in np.linspace(0, n - 1, min(n, MOST_CLIPS)).astype(int)]
    return sorted(chosen)


def _table(folder: str | Path) -> dict[str, list[str]]:
    """Who speaks in each clip of each split.

    Raises
    ------
    DataError
        If there is no table of clips, or it does not say so.
    """
    path = Path(folder) / CLIPS
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table: dict[str, list[str]] = {}
        for row in rows:
            table.setdefault(row["split"], []).append(row["speaker"])
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise DataError(
            f"{path}, which says who speaks in each clip, is missing or damaged; make the set with: "
            f"samplernn prepare RECORDINGS --speakers --out {folder}"
        ) from error
    if not all(name for own in table.values() for name in own):
        raise DataError(
            f"The data set in {folder} does not say who speaks; make it with --speakers: samplernn prepare "
            f"RECORDINGS --speakers --out {folder}"
        )
    return table
