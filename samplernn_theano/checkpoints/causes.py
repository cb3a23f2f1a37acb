"""What may put a run outside its band, by what can be measured: the set, the schedule, the log."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints.status import RunStatus, is_cost
from samplernn_theano.config.schedule import original_learning_rate
from samplernn_theano.data.baselines import LEVELS, evenly_spaced
from samplernn_theano.data.dataset import Clips, Ragged, is_silent, lengths
from samplernn_theano.data.doubts import MAX_CLIPPED, cut_off
from samplernn_theano.data.minibatches import chunks_per_epoch
from samplernn_theano.data.quantization import linear_quantize, normalise
from samplernn_theano.utils.text import format_duration

FACTOR = 3
"""Learning rates that differ from the family's by less are not suspected."""

EPOCHS = 3
"""Of fewer, a model learns no clips by heart."""

PARTS, RISE = 10, 1.0
"""A cost rises if its mean over the last tenth of its values is so many bits above that of the lowest one."""

LOST = 0.7
"""Bits: the levels that a clip takes are too few if they are 2**-LOST of what they could be."""

OFFSET = 0.01
"""Of full scale: a smaller mean of a clip is no DC offset."""

MAX_SILENT = 0.1  # of the clips


class Cause(NamedTuple):
    """Something that may move a cost."""

    name: str
    text: str  # what was measured, and what to do
    bits: float  # by how much, roughly; to put the causes into an order
    towards: str  # "lower" or "higher" costs, a higher "gap" from train to valid; "any"


@dataclass(frozen=True)
class Sound:
    """Measures of a split: medians of its clips, and below parts of all."""

    offset: float  # mean of a clip, of full scale
    peak: float  # largest magnitude
    levels: float  # that a clip takes of 256, as the model reads it
    centred: float  # as many, if the clip had no offset
    full: float  # as many, if it were also scaled to its own peak
    cut_off: float  # part of all samples that is clipped
    silent: float  # part of the clips
    unigram: float  # entropy in bits of the levels from minimum to maximum, of samples that are not clipped


def listen(clips: Clips, normalisation: str) -> Sound | None:
    """Measure the clips of a split; None without any that sounds. Of a large split evenly spaced clips."""
    medians, clipped, silent, counts = [], [], 0, np.zeros(LEVELS)
    padded = isinstance(clips, Ragged)
    for clip in (stored.astype(np.float64) for stored in evenly_spaced(clips)):
        if not -np.inf < clip.min() <= clip.max() < np.inf or is_silent(clip):
            silent += 1
            continue
        cut, centred = cut_off(clip), clip - clip.mean()
        counts += np.bincount(linear_quantize(normalise(clip), LEVELS)[~cut], minlength=LEVELS)
        ways = (clip, normalisation), (centred, normalisation), (centred, "absmax")
        medians.append([clip.mean(), np.abs(clip).max(), *(_levels(x, way, padded) for x, way in ways)])
        clipped.append(cut.mean())
    if not medians:
        return None
    shares = counts[counts > 0] / counts.sum()
    parts = np.mean(clipped), silent / (silent + len(medians)), -np.sum(shares * np.log2(shares))
    return Sound(*map(float, (*np.median(medians, axis=0), *parts)))


def _levels(clip: NDArray[np.float64], normalisation: str, padded: bool) -> float:
    """Levels from the lowest to the highest that a clip takes, of 256; zeros that pad it are part of it."""
    low, high = float(clip.min()), float(clip.max())
    zero = [0.0] * padded
    scales = {
        "none": 2.0,
        "absmax": 2 * max(high, -low),
        "min-max": max(high, *zero, low) - min(low, *zero, high),
    }
    return LEVELS * (high - low) / scales[normalisation]


def find(run: RunStatus, clips: Mapping[str, Clips], sound: Sound | None, cost: float) -> list[Cause]:
    """What may move the costs of a run, the weightiest first.

    `clips` are the splits that can be read, and `sound` the measures of train; `cost`, in bits per sample, is
    about what the run should have.
    """
    found = [*_of_training(run), *_of_sizes(run, clips)]
    if "train" in clips and not sound:
        text = "no clip of train sounds: all are silent, constant or not finite; get the recordings again."
        found.append(Cause("silence", text, math.inf, "any"))
    elif sound and run.hp:
        found += _of_sound(sound, getattr(run.hp, "normalisation", None), cost)
    return sorted(found, key=lambda cause: -cause.bits)


def _of_training(run: RunStatus) -> Iterator[Cause]:
    yield from _of_rates(run)
    both = [(r["iteration"], r[key]) for r in run.records for key in ("nll_bits", "valid") if key in r]
    wrong = [n for n, cost in both if cost is not None and not is_cost(cost)]
    if wrong:
        text = (
            f"a cost in the log is NaN or infinite, first at update {wrong[0]:,}: the gradients exploded, or "
            "a clip is damaged; see samplernn check-data, and try a smaller --learning-rate."
        )
        yield Cause("NaN", text, math.inf, "any")
    unstable = "training is unstable; train again with a smaller learning rate"
    by_heart = "training is unstable, or learns the clips by heart; see samplernn show, and use best.npz"
    costs = ("training", run.train, unstable, "higher"), ("validation", run.valid, by_heart, "any")
    for what, curve, why, towards in costs:
        means = [float(np.mean(part)) for part in np.array_split([c for _, c in curve], PARTS) if len(part)]
        if means and (risen := means[-1] - min(means)) > RISE:
            text = f"the {what} cost has risen by {risen:.2f} bits, to {means[-1]:.2f}: {why}."
            yield Cause("rising cost", text, risen, towards)
            return


def _of_rates(run: RunStatus) -> Iterator[Cause]:
    """Learning rates far from the family's; a low one at the end of a training is usual."""
    if not run.hp:
        return
    usual, updates, schedule = original_learning_rate(type(run.hp)), _updates(run), run.schedule
    first = (schedule.learning_rate if schedule else None) or run.options.get("learning_rate")
    rates = [("--learning-rate", first, 0)]
    if schedule and schedule.later_from is not None and schedule.later_from < updates:
        rates.append(("--later-rate", schedule.later_rate, schedule.later_from))
    for flag, rate, since in rates:
        if not (isinstance(rate, int | float) and rate > 0):
            continue
        octaves = math.log2(rate / usual)
        at_the_end = octaves < 0 and 2 * since > updates
        if abs(octaves) >= math.log2(FACTOR) and not at_the_end:
            after = f" after {since:,} updates" * (since > 0)
            times = f"{rate / usual:,.4g} times" if octaves > 0 else f"1/{usual / rate:.3g} of"
            yield Cause(
                "learning rate",
                f"the learning rate{after} is {rate:g}, {times} the family's {usual:g}: a rate that is too "
                f"high becomes unstable, one that is too low learns slowly; train with {flag} {usual:g}.",
                abs(octaves) / 2,
                "any",
            )


def _updates(run: RunStatus) -> int:
    return max((n for n, _ in run.train + run.valid), default=0)


def _of_sizes(run: RunStatus, clips: Mapping[str, Clips]) -> Iterator[Cause]:
    hp = run.hp
    if not hp:
        return
    for split, found in clips.items():
        if len(found) < hp.batch_size:
            yield Cause(
                "small split",
                f"{split} has {len(found)} clips, fewer than a batch of {hp.batch_size}: it has no minibatch "
                "and no cost; use more recordings, or a smaller --batch_size.",
                math.inf,
                "any",
            )
    train = clips.get("train")
    if train is not None and len(train) >= hp.batch_size:
        epochs = _updates(run) / chunks_per_epoch(train, hp.batch_size, hp.seq_len)
        if epochs >= EPOCHS:
            sound = format_duration(lengths(train).sum() / hp.rate)
            yield Cause(
                "few clips",
                f"train has {len(train)} clips, {sound} in all, and was read {epochs:.0f} times: the model "
                "learns them by heart; use more recordings, or the checkpoint of the lowest valid, best.npz.",
                math.log2(epochs) / 2,
                "gap",
            )


def _of_sound(sound: Sound, normalisation: str | None, cost: float) -> Iterator[Cause]:
    by_offset, by_level = math.log2(sound.centred / sound.levels), math.log2(sound.full / sound.centred)
    if normalisation and abs(sound.offset) > OFFSET:
        effect = f"which does not matter with --normalisation {normalisation}."
        if by_offset > LOST / 10:
            effect = (
                f"and take {sound.levels:.0f} of {LEVELS} levels, without it {sound.centred:.0f}. This "
                f"lowers the cost by about {by_offset:.1f} bits without any learning; remove it "
                "(ffmpeg -i FILE -af highpass=f=20 NEW.wav) and prepare the set again."
            )
        yield Cause(
            "DC offset",
            f"the clips of train have a DC offset of {sound.offset:+.3f} of full scale, {effect}",
            max(0.0, by_offset),
            "lower",
        )
    if normalisation == "none" and by_level > LOST:
        yield Cause(
            "normalisation",
            f"the clips of train reach {sound.peak:.3f} of full scale, and --normalisation none does not "
            f"scale them: they take {sound.levels:.0f} of {LEVELS} levels. This lowers the cost by about "
            f"{by_level:.1f} bits without any learning, and is heard as noise; train with min-max or absmax.",
            by_level,
            "lower",
        )
    if sound.cut_off > MAX_CLIPPED:
        yield Cause(
            "clipping",
            f"{100 * sound.cut_off:.1f} % of the samples of train are clipped. They cost almost nothing, "
            f"which lowers the mean by about {sound.cut_off * cost:.1f} bits; get the recordings at a lower "
            "level.",
            sound.cut_off * cost,
            "lower",
        )
    if sound.silent > MAX_SILENT:
        yield Cause(
            "silence",
            f"{100 * sound.silent:.0f} % of the clips of train are silent, constant or not finite; remove "
            "them (samplernn prepare does).",
            sound.silent * cost,
            "lower",
        )
