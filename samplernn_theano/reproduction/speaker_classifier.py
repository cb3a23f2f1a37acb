"""A classifier of two speakers on segments of 2 s: cepstral features and a linear discriminant.

The features of a segment are the mean and standard deviation of mel-frequency cepstral coefficients over its
loud frames (Davis and Mermelstein, 1980), and its pitch. None depends on the level or offset of the sound. A
segment without voice has no features and is not classified.

A classifier also recognises rooms and microphones, so it is tested on other recordings than it is trained
on, by cross-validation over the recordings. If the two speakers were recorded differently throughout, it may
still recognise the rooms instead of the voices.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.stats import norm
from scipy.stats import t as student

from samplernn_theano.data import clip_table
from samplernn_theano.data.dataset import SPLITS, is_silent, load_split
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, ReproductionError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SEGMENT = 2 * SAMPLE_RATE  # samples of a segment
FOLDS = 10  # parts of the recordings of a speaker in a cross-validation
MIN_SEGMENTS = 2  # with voice, of each speaker, to train on
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


class Sample(NamedTuple):
    """A segment of 2 s of a clip."""

    speaker: str
    split: str
    clip: int  # its number in the split
    recordings: tuple[int, ...]  # of which the clip holds sound; empty if the set does not say it
    features: NDArray[np.float64] | None  # None without voice


def samples(folder: str | Path, transform: Transform = np.asarray) -> list[Sample]:
    """All segments of at most `MAX_CLIPS` clips per speaker of each split of a set of two speakers."""
    table = clip_table.read(folder, "speaker")
    known = clip_table.recordings(folder) if all(clip.recording for clip in chain(*table.values())) else None
    names = sorted({clip.speaker for clip in chain(*table.values())})
    if len(names) != 2:
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise DataError(
            f"The data set in {folder} has {count_of(len(names), 'speaker')} ({shown}) and two are needed; "
            "make one from two sub-folders: samplernn prepare RECORDINGS --speakers --out FOLDER"
        )
    found = []
    for split in SPLITS:
        clips, speakers = load_split(folder, split), [clip.speaker for clip in table[split]]
        for i in _spread(speakers):
            recordings = known[split][i] if known else ()
            clip = transform(clips[i])
            for start in range(0, len(clip) - SEGMENT + 1, SEGMENT):
                x = features(clip[start : start + SEGMENT])
                found.append(Sample(speakers[i], split, i, recordings, x))
    if missing := set(names) - set(speakers_of(found)):
        raise DataError(f"No clip of {min(missing)} in {folder} is 2 s long; make longer clips.")
    return found


def speakers_of(segments: Sequence[Sample]) -> tuple[str, ...]:
    """The names of the speakers, sorted."""
    return tuple(sorted({segment.speaker for segment in segments}))


def training_split(segments: Sequence[Sample]) -> list[Sample]:
    """The segments of the training split."""
    return [segment for segment in segments if segment.split == "train"]


def _spread(speakers: Sequence[str]) -> list[int]:
    """Numbers of at most `MAX_CLIPS` clips of each speaker, evenly spaced."""
    chosen: list[int] = []
    for name in set(speakers):
        own = [i for i, speaker in enumerate(speakers) if speaker == name]
        spread = np.linspace(0, len(own) - 1, min(len(own), MAX_CLIPS))
        chosen += [own[i] for i in spread.astype(int)]
    return sorted(chosen)


def train(segments: Sequence[Sample], speakers: Sequence[str]) -> Classifier:
    """Train a classifier of two speakers on the segments with voice.

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
    first, second = speakers
    for name in speakers:
        if (number := _voiced(segments, name)) < MIN_SEGMENTS:
            raise DataError(
                f"The train split has {number} segments of 2 s with the voice of {name} and at least "
                f"{MIN_SEGMENTS} are needed; add recordings."
            )
    voiced = [segment for segment in segments if segment.features is not None]
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    model = make_pipeline(StandardScaler(), discriminant)
    model.fit([segment.features for segment in voiced], [segment.speaker for segment in voiced])
    return Classifier((first, second), model)


def _voiced(segments: Sequence[Sample], speaker: str) -> int:
    """Number of segments with the voice of a speaker."""
    return sum(one.speaker == speaker and one.features is not None for one in segments)


def accuracy(segments: Sequence[Sample]) -> dict[str, Any]:
    """The accuracy of a classifier on recordings that it was not trained on.

    The recordings of each speaker, in their order, are divided into at most `FOLDS` parts. For each part a
    classifier is trained on the clips that hold no sound of it, and tested on those that hold no other
    sound. Where that is impossible, one that is trained on the training split is tested on the other splits,
    and `doubt` says that the accuracy may be too high.

    Returns
    -------
    dict
        accuracy: share of the segments with voice that are classified right; low and high: its 95-% interval,
        of `interval_of_clusters`. sampled: what is sampled, "recording", or "clip" if there is a doubt;
        clusters: their number. pieces: segments with voice; cannot_tell: those without. folds: number of
        parts, None if there is a doubt. confusion: matrix of segments, rows by speaker, columns by
        prediction. doubt: None, or why the accuracy may be too high.
    """
    speakers = speakers_of(segments)
    doubt, tests = _tests(segments, speakers)
    confusion, unvoiced = np.zeros((2, 2), int), 0
    counts: dict[Any, list[int]] = {}  # of each cluster: right, all
    for training, tested in tests:
        voiced = [segment for segment in tested if segment.features is not None]
        unvoiced += len(tested) - len(voiced)
        if voiced:
            found = train(training, speakers).model.predict([segment.features for segment in voiced])
            for segment, name in zip(voiced, found, strict=True):
                confusion[speakers.index(segment.speaker), speakers.index(name)] += 1
                own = counts.setdefault(
                    (segment.split, segment.clip) if doubt else segment.recordings[0], [0, 0]
                )
                own[0] += segment.speaker == name
                own[1] += 1
    if not counts:
        raise DataError(
            "No clip outside the training set has 2 s with voice, so the classifier of speakers cannot be "
            "tested; add recordings, or make clips of 2 s or more."
        )
    right, pieces = np.array(list(counts.values())).T
    return {
        "accuracy": float(right.sum() / pieces.sum()),
        **interval_of_clusters(right, pieces),
        "sampled": "clip" if doubt else "recording",
        "clusters": len(pieces),
        "pieces": int(pieces.sum()),
        "cannot_tell": unvoiced,
        "folds": None if doubt else len(tests),
        "confusion": confusion.tolist(),
        "doubt": doubt,
    }


type Test = tuple[Sequence[Sample], Sequence[Sample]]
"""Segments to train a classifier on, and others to test it on."""


def _tests(segments: Sequence[Sample], speakers: Sequence[str]) -> tuple[str | None, list[Test]]:
    """Tests on parts of the recordings; or why there are none, and a test on the splits."""
    by_split = training_split(segments), [one for one in segments if one.split != "train"]
    if not all(segment.recordings for segment in segments):
        return "the set does not say which recording each clip is from", [by_split]
    own = {name: {r for one in segments if one.speaker == name for r in one.recordings} for name in speakers}
    fewest = min(speakers, key=lambda name: len(own[name]))
    number = min(FOLDS, len(own[fewest]))
    tests: list[Test] = []
    for part in range(number):
        held = {
            recording
            for recordings in own.values()
            for i, recording in enumerate(sorted(recordings))
            if i * number // len(recordings) == part
        }
        training = [one for one in segments if held.isdisjoint(one.recordings)]
        tests.append((training, [one for one in segments if held.issuperset(one.recordings)]))
    for name in speakers:
        enough_to_learn = all(_voiced(training, name) >= MIN_SEGMENTS for training, _ in tests)
        if not (enough_to_learn and any(_voiced(tested, name) for _, tested in tests)):
            recordings = count_of(len(own[name]), "recording")
            return f"{recordings} of {name} cannot be divided for training and testing", [by_split]
    return None, tests


def interval_of_clusters(right: NDArray[np.integer], pieces: NDArray[np.integer]) -> dict[str, float]:
    """95-% interval of the share sum(right) / sum(pieces), whose pieces were sampled in clusters (clusters,).

    Wilson's, with the number of independent pieces that has the variance between the clusters (at least
    the effective number of clusters, at most that of pieces), and Student's quantile for few clusters: as
    Korn and Graubard (1998), "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data".
    """
    clusters, n = len(pieces), float(pieces.sum())
    share = right.sum() / n
    independent = n**2 / np.sum(pieces.astype(float) ** 2)  # if all pieces of a cluster are alike
    variance = np.sum((right - share * pieces) ** 2) / n**2 * clusters / max(1, clusters - 1)
    if variance > 0:
        independent = np.clip(share * (1 - share) / variance, independent, n)
    if clusters > 1:
        independent *= (norm.ppf(0.975) / student.ppf(0.975, clusters - 1)) ** 2
    return _wilson(float(share), float(independent))


def interval(k: int, n: int) -> dict[str, float]:
    """Wilson's 95-% interval of a share k / n of independent pieces, as {"low", "high"}."""
    return _wilson(k / n, n)


def _wilson(share: float, n: float) -> dict[str, float]:
    z = float(norm.ppf(0.975))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return {"low": middle - half if share > 0 else 0.0, "high": middle + half if share < 1 else 1.0}
