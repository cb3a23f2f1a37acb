"""Information retention: the share of sequences with the same speaker before and after a second of silence.

The paper's experiment (second version): a model is trained on two speakers without speaker labels. It
generates 2 s, is fed 1 s of silence, and generates 2 s more. A model with a fixed receptive field shorter
than the silence keeps the speaker by chance. A classifier, trained on the data set as the model reads it,
recognises the speaker. If its accuracy is a, a model that always keeps the speaker measures a^2 + (1 - a)^2:
the ceiling, if it errs before and after the silence independently, and as often on generated voices. The
measured share is not corrected for it.
"""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import binomtest, fisher_exact

from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, WaveNet
from samplernn_theano.data import audio
from samplernn_theano.data.dataset import is_silent
from samplernn_theano.data.manifest import count_of
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.generation import generate
from samplernn_theano.generation.amplitudes import amplitudes, waveform
from samplernn_theano.reproduction import speaker_classifier
from samplernn_theano.reproduction.speaker_classifier import SEGMENT, Classifier
from samplernn_theano.utils.files import atomic_write, write_text
from samplernn_theano.utils.plotting import new_figure, save_figure
from samplernn_theano.utils.progress import progress_bar
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

SILENCE = 1.0  # seconds of silence
SILENT = range(SEGMENT, SEGMENT + round(SILENCE * SAMPLE_RATE))
LENGTH = SILENT.stop + SEGMENT  # samples of a sequence


def measure(
    model: LoadedModel,
    data: str | Path,
    clips: int = 100,
    seed: int = 0,
    temperature: float = 1.0,
    *,
    backend: str | None = None,
    out: Path | None = None,
    sounds: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Generate sequences with a second of silence in them and count those that keep the speaker.

    `data` is a set of two speakers, ideally the training data. `out` is a folder for retention.json (the
    returned values), retention.csv, retention.png and the first `sounds` sequences as wav.

    Returns
    -------
    dict
        The values of `count`, and: speakers (names); classifier (the values of
        `speaker_classifier.accuracy`); ceiling (of `ceiling`); silence_seconds; receptive_field_samples
        (None unless fixed); family, checkpoint, seed and temperature.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise OutputError(f"{out} is not a folder; name a folder for the results.")
    if model.hp.rate != SAMPLE_RATE:
        raise DataError(
            f"{model.path} is a model of {model.hp.rate} Hz; speakers are told apart at {SAMPLE_RATE}."
        )
    transform = partial(as_model_input, hp=model.hp)
    segments = speaker_classifier.samples(data, transform)
    tested = speaker_classifier.accuracy(segments)
    training = speaker_classifier.training_split(segments)
    classifier = speaker_classifier.train(training, speaker_classifier.speakers_of(segments))
    waves = _generate(model, clips, seed, temperature, backend, progress)
    posteriors = classify(classifier, waves)
    result = count(posteriors) | {
        "speakers": list(classifier.speakers),
        "classifier": tested,
        "ceiling": ceiling(tested),
        "silence_seconds": SILENCE,
        "receptive_field_samples": model.hp.overlap if isinstance(model.hp, WaveNet) else None,
        "family": model.hp.family,
        "checkpoint": str(model.path),
        "seed": seed,
        "temperature": temperature,
    }
    if out is not None:
        _write(out, result, posteriors, waves[:sounds])
    return result


def as_model_input(clip: NDArray[np.floating], hp: HyperParameters) -> NDArray[np.floating]:
    """Normalise and quantise a clip (samples,) for a model of quantised samples."""
    if not isinstance(hp, Quantised) or is_silent(clip):
        return clip
    levels = quantize(clip[None], hp.q_levels, hp.q_type, hp.normalisation)[0]
    return amplitudes(levels, hp)


def _generate(
    model: LoadedModel, n: int, seed: int, temperature: float, backend: str | None, progress: bool
) -> NDArray[np.float32]:
    """Generate amplitudes (n, LENGTH), silent in `SILENT`."""
    options: dict[str, Any] = {"seed": seed, "temperature": temperature, "silent": SILENT, "backend": backend}
    blocks = []
    with progress_bar("generate", LENGTH, "samples", progress) as bar:
        for block in generate.generate(model, LENGTH / SAMPLE_RATE, n, **options):
            blocks.append(block)
            bar.advance(block.shape[1])
    return np.concatenate(blocks, axis=1)


def classify(classifier: Classifier, waves: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability (n, 2) of the second speaker before and after the silence of waves (n, LENGTH).

    It is NaN without voice.
    """
    parts = (slice(SILENT.start), slice(SILENT.stop, LENGTH))
    return np.array([[classifier.posterior(wave[part]) for part in parts] for wave in waves])


def count(posteriors: NDArray[np.float64]) -> dict[str, Any]:
    """Count the sequences that keep the speaker, by their posteriors (n, 2) of `classify`.

    Returns
    -------
    dict
        clips: n. cannot_tell: sequences without voice before or after the silence; the others are classified.
        kept: those with the same speaker before and after. share: kept / classified; low and high: its 95-%
        interval (Wilson). p_value: of the exact two-sided binomial test against 50 %. table: classified
        sequences, rows by the speaker before, columns after. chance: the expected share if the speakers
        before and after are independent, with their observed frequencies; p_value_chance: of Fisher's exact
        one-sided test against it. All but the counts are None if no sequence can be classified.
    """
    classified = posteriors[~np.isnan(posteriors).any(axis=1)] > 0.5
    table = np.zeros((2, 2), int)
    np.add.at(table, tuple(classified.T.astype(int)), 1)
    n, kept = len(classified), int(table.trace())
    found: dict[str, Any] = dict.fromkeys(("share", "low", "high", "p_value", "chance", "p_value_chance"))
    if n:
        found = {"share": kept / n} | speaker_classifier.interval(kept, n)
        found["p_value"] = float(binomtest(kept, n, 0.5).pvalue)
        found["chance"] = float((table.sum(axis=1) / n) @ (table.sum(axis=0) / n))
        found["p_value_chance"] = float(fisher_exact(table, alternative="greater").pvalue)
    counts = {"clips": len(posteriors), "cannot_tell": len(posteriors) - n, "kept": kept}
    return counts | found | {"table": table.tolist()}


def ceiling(tested: dict[str, Any]) -> dict[str, float]:
    """The share that a model which always keeps the speaker measures, by the accuracy of the classifier.

    low and high are its limits over the 95-% interval of the accuracy.
    """
    low, high, value = (a**2 + (1 - a) ** 2 for a in (tested["low"], tested["high"], tested["accuracy"]))
    low, high = min(low, high), max(low, high)
    return {"value": value, "low": 0.5 if tested["low"] < 0.5 < tested["high"] else low, "high": high}


def describe(result: dict[str, Any]) -> str:
    """Format the results as text."""
    tested, limit = result["classifier"], result["ceiling"]
    names = " and ".join(result["speakers"])
    lines = [f"Speakers: {names}. {_describe_classifier(tested)}"]
    n = result["clips"] - result["cannot_tell"]
    unvoiced = f"without voice before or after the silence: {result['cannot_tell']} of {result['clips']}"
    if n == 0:
        lines.append(f"No sequence can be classified ({unvoiced}); train the model longer.")
    else:
        lines += [
            f"The same speaker before and after {result['silence_seconds']:g} s of silence: "
            f"{result['kept']} of {n} sequences, {_percent(result['share'])} ({_range(result)}); {unvoiced}.",
            "Ceiling: a model that always keeps the speaker measures a^2 + (1 - a)^2 = "
            f"{_percent(limit['value'])} ({_range(limit)}), where a is the accuracy of the classifier. The "
            f"share is not corrected for it{_correction(result['share'])}.",
            f"By chance: 50 % with equally frequent speakers (exact test: p = {result['p_value']:.2g}); "
            f"{_percent(result['chance'])} with their frequencies here (p = {result['p_value_chance']:.2g}).",
        ]
    if result["receptive_field_samples"]:
        seconds = result["receptive_field_samples"] / SAMPLE_RATE
        longer = "longer" if seconds > result["silence_seconds"] else "shorter"
        lines.append(f"Its receptive field of {seconds:.3g} s is {longer} than the silence.")
    return "\n".join(lines)


def _describe_classifier(tested: dict[str, Any]) -> str:
    right = f"{_percent(tested['accuracy'])} of {tested['pieces']:,} segments of 2 s"
    clusters = count_of(tested["clusters"], tested["sampled"])
    if tested["doubt"]:
        return (
            f"The classifier recognises {right} outside the training set ({_range(tested)} for new clips of "
            f"these recordings, from {clusters}); without voice: {tested['cannot_tell']}. It is tested on "
            f"recordings that it is trained on, since {tested['doubt']}: its accuracy, and with it the "
            "ceiling, may be too high."
        )
    return (
        f"The classifier, trained and tested on different recordings in {tested['folds']} folds, recognises "
        f"{right} ({_range(tested)} for new recordings of these speakers, from {clusters}); without voice: "
        f"{tested['cannot_tell']}."
    )


def _correction(share: float) -> str:
    """Where a share that is corrected for the classifier's errors would be: farther from 50 %."""
    if share == 0.5:
        return ""
    return f"; a corrected one would be farther from 50 %: {'higher' if share > 0.5 else 'lower'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(found: dict[str, Any]) -> str:
    return f"95-% interval {100 * found['low']:.1f} to {100 * found['high']:.1f} %"


def _write(
    out: Path, result: dict[str, Any], posteriors: NDArray[np.float64], waves: NDArray[np.float32]
) -> None:
    for i, wave in enumerate(waves):
        sound = waveform(wave)
        sound[SILENT.start : SILENT.stop] = 0  # the level of silence has an offset from the mean
        audio.write_wav(out / f"retention_{i}.wav", sound)
    figure = new_figure(8, 4.5)
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    _draw_posteriors(left, result, posteriors)
    _draw_share(right, result)
    save_figure(out / "retention.png", figure)
    header = ["sequence", "posterior_before", "posterior_after", "speaker_before", "speaker_after", "kept"]
    rows = [_row(i, pair, result["speakers"]) for i, pair in enumerate(posteriors.tolist())]
    with atomic_write(out / "retention.csv") as temporary, open(temporary, "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    write_text(out / "retention.json", json.dumps(result, indent=2) + "\n")


def _row(number: int, pair: list[float], names: list[str]) -> list[Any]:
    """The row of a sequence in retention.csv; fields without voice are empty."""
    shown = ["" if np.isnan(p) else f"{p:.6f}" for p in pair]
    speakers = ["" if np.isnan(p) else names[int(p > 0.5)] for p in pair]
    return [number, *shown, *speakers, int(speakers[0] == speakers[1]) if all(speakers) else ""]


def _draw_posteriors(axes: Axes, result: dict[str, Any], posteriors: NDArray[np.float64]) -> None:
    """Draw a point per sequence and the count in each quadrant; those with the same speaker are shaded."""
    for corner in (0.0, 0.5):
        axes.fill_between([corner, corner + 0.5], corner, corner + 0.5, color="tab:blue", alpha=0.12, lw=0)
    axes.scatter(posteriors[:, 0], posteriors[:, 1], s=18, alpha=0.5, color="tab:blue", clip_on=False)
    for i, j in np.ndindex(2, 2):
        axes.text(0.25 + 0.5 * i, 0.25 + 0.5 * j, result["table"][i][j], ha="center", va="center", size=16)
    second = result["speakers"][1]
    axes.set(xlim=(0, 1), ylim=(0, 1), title="before and after the silence")
    axes.set_xlabel(f"probability of {second} before")
    axes.set_ylabel(f"probability of {second} after")


def _draw_share(axes: Axes, result: dict[str, Any]) -> None:
    """Draw the share that kept the speaker, with its interval, the ceiling, and the shares by chance."""
    share = result["share"]
    if share is not None:
        errors = [[share - result["low"]], [result["high"] - share]]
        axes.bar([0], [share], width=0.5, yerr=errors, capsize=6, color="tab:blue", alpha=0.6)
        axes.axhline(result["chance"], color="tab:orange", ls=":", label="chance, with these frequencies")
    limit = result["ceiling"]
    axes.axhspan(limit["low"], limit["high"], color="tab:green", alpha=0.15, lw=0)
    axes.axhline(limit["value"], color="tab:green", ls="-.", label="ceiling of the classifier")
    axes.axhline(0.5, color="0.3", ls="--", label="50 %: fixed, short receptive field")
    n = result["clips"] - result["cannot_tell"]
    axes.set(xlim=(-0.6, 0.6), ylim=(0, 1.02), xticks=[], ylabel="share of sequences")
    axes.set_title(f"kept the speaker: {result['kept']} of {n}")
    axes.legend(fontsize=7, loc="lower right")
