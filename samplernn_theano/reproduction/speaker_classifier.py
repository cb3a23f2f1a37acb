"""A classifier of two speakers on segments of 2 s: cepstral features and a linear discriminant.

The features of a segment are the mean and standard deviation of mel-frequency cepstral coefficients over its
loud frames (Davis and Mermelstein, 1980), and its pitch. None depends on the level or offset of the sound. A
segment without voice has no features and is not classified. If the two speakers were recorded differently,
the classifier may recognise the rooms instead of the voices.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.stats import binomtest

from samplernn_theano.data import clip_table
from samplernn_theano.data.dataset import is_silent, load_split
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, ReproductionError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SEGMENT = 2 * SAMPLE_RATE  # samples of a segment
MAX_CLIPS = 200  # maximum number of clips of a split and speaker: more do not improve the classifier

FRAME, HOP = 512, 160  # samples: 32 and 10 ms
BANDS, LOWEST, HIGHEST = 32, 80.0, 7600.0  # the mel filters, Hz
COEFFICIENTS = slice(1, 14)  # without the first, which is the level
PITCHES = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 70)  # periods in samples: 400 to 70 Hz
LOUD = 1e-3  # minimum power of a loud frame, relative to the loudest frame's power: -30 dB
PERIODIC = 0.6  # minimum correlation of a voiced frame, one of the loud, with itself one period later
OCTAVE_COST = 0.05  # of correlation: periodic sound also correlates after two periods
VOICED_FRAMES = 20  # minimum of a segment: 0.2 s

type Transform = Callable[[NDArray[np.floating]], NDArray[np.floating]]
"""Transforms a clip (samples,) of the data set to a model's input."""


@dataclass(frozen=True)
class Classifier:
    """A linear classifier of two speakers, whose names are sorted."""

    speakers: tuple[str, str]
    model: "Pipeline"

    def posterior(self, sound: NDArray[np.floating]) -> float:
        """Probability of the second speaker in `sound` (samples,), with equal priors; NaN without voice."""
        x = features(sound)
        return float("nan") if x is None else float(self.model.predict_proba(x[None])[0, 1])


def features(sound: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """The features (D,) of a sound (samples,) at 16 kHz; None with less than 0.2 s of voice."""
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
    """Period and strength of the largest autocorrelation of each frame, from power spectra (n, FRAME + 1)."""
    window = np.abs(np.fft.rfft(np.hanning(FRAME), 2 * FRAME)) ** 2
    own, of_window = np.fft.irfft(power), np.fft.irfft(window)
    # Divided by the window's (Boersma, 1993), so that short periods are not favoured.
    correlation = own[:, PITCHES] / own[:, :1] / (of_window[PITCHES] / of_window[0])
    octaves = np.log2(np.arange(PITCHES.start, PITCHES.stop) / PITCHES.start)
    best = (correlation - OCTAVE_COST * octaves).argmax(axis=1)
    strength = correlation[np.arange(len(best)), best]
    return best + PITCHES.start, np.where(best > 0, strength, 0.0)  # the first is best in low-pass noise


@cache
def _filters() -> NDArray[np.float64]:
    """Triangular mel filters, (BANDS, FRAME + 1)."""
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, HIGHEST))  # in mel
    corners = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)  # in Hz
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hertz = np.linspace(0, SAMPLE_RATE / 2, FRAME + 1)
    return np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))


def train(folder: str | Path, transform: Transform = np.asarray) -> Classifier:
    """Train a classifier on the training split of a data set of two speakers.

    The shrunk covariance of Ledoit and Wolf (2004) suits few segments and many features.
    """
    try:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ReproductionError(
            'scikit-learn is not installed: pip install "samplernn-theano[reproduce]".'
        ) from error
    names = _speakers(folder)
    found = [(who, features(sound)) for who, sound in segments(folder, "train", transform)]
    labels = [who for who, x in found if x is not None]
    fewest = min(names, key=labels.count)
    if labels.count(fewest) < 2:
        raise DataError(
            f"The train split in {folder} has {labels.count(fewest)} segments of 2 s with the voice of "
            f"{fewest} and at least 2 are needed; add recordings."
        )
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    model = make_pipeline(StandardScaler(), discriminant)
    return Classifier(names, model.fit([x for _, x in found if x is not None], labels))


def held_out(
    classifier: Classifier, folder: str | Path, split: str, transform: Transform = np.asarray
) -> dict[str, Any]:
    """Test a classifier on a split that it was not trained on.

    Returns
    -------
    dict
        pieces: number of segments with voice; accuracy; low and high: its 95-% interval (Wilson);
        cannot_tell: number of segments without voice; confusion: matrix of segments, rows by speaker, columns
        by prediction.
    """
    confusion, unvoiced = np.zeros((2, 2), int), 0
    for speaker, segment in segments(folder, split, transform):
        posterior = classifier.posterior(segment)
        if np.isnan(posterior):
            unvoiced += 1
        else:
            confusion[classifier.speakers.index(speaker), int(posterior > 0.5)] += 1
    right, n = int(confusion.trace()), int(confusion.sum())
    if n == 0:
        raise DataError(
            f"No clip of the {split} split in {folder} has 2 s with voice, so the classifier of speakers "
            "cannot be tested; add recordings, or make clips of 2 s or more."
        )
    counts = {"pieces": n, "cannot_tell": unvoiced, "confusion": confusion.tolist()}
    return {"accuracy": right / n} | interval(right, n) | counts


def interval(k: int, n: int) -> dict[str, float]:
    """Wilson's 95-% interval of a share k / n, as {"low", "high"}."""
    found = binomtest(k, n).proportion_ci(0.95, "wilson")
    return {"low": float(found.low), "high": float(found.high)}


def _speakers(folder: str | Path) -> tuple[str, str]:
    """The names of the two speakers of a data set, sorted."""
    names = sorted({clip.speaker for own in clip_table.read(folder, "speaker").values() for clip in own})
    if len(names) != 2:
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise DataError(
            f"The data set in {folder} has {count_of(len(names), 'speaker')} ({shown}) and two are needed; "
            "make one from two sub-folders: samplernn prepare RECORDINGS --speakers --out FOLDER"
        )
    return names[0], names[1]


def segments(
    folder: str | Path, split: str, transform: Transform = np.asarray
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Speaker and samples (SEGMENT,) of all segments of 2 s of at most `MAX_CLIPS` clips per speaker."""
    clips = load_split(folder, split)
    speakers = [clip.speaker for clip in clip_table.read(folder, "speaker")[split]]
    chosen: list[int] = []
    for name in set(speakers):
        own = [i for i, speaker in enumerate(speakers) if speaker == name]
        spread = np.linspace(0, len(own) - 1, min(len(own), MAX_CLIPS))  # evenly spaced
        chosen += [own[i] for i in spread.astype(int)]
    for i in sorted(chosen):
        clip = transform(clips[i])
        for start in range(0, len(clip) - SEGMENT + 1, SEGMENT):
            yield speakers[i], clip[start : start + SEGMENT]
