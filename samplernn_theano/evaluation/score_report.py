"""Scores of the clips of splits and of recordings, as text, tables and files."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.data.manifest import count_of
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters, format_table

if TYPE_CHECKING:
    from samplernn_theano.checkpoints.load import LoadedModel
    from samplernn_theano.evaluation.nll import RecordingScore, Scores

WIDEST_NAME = 36  # in the table, in characters


def describe_model(model: "LoadedModel") -> str:
    """Describe the file, the family and the source of the hyper-parameters."""
    text = (
        f"{escape_control_characters(str(model.path))}: {model.hp.family}, hyper-parameters of {model.source}"
    )
    if model.left_out:
        text += f"\n  left out, because they are no arrays: {', '.join(model.left_out)}"
    if model.of_fork:
        text += f"\n  {model.of_fork} is none of the original's; a fork's feeder may do otherwise"
        text += ", such as --set normalisation=none --set rate=32000" * bool(model.assumed)
    if model.hp.rate != SAMPLE_RATE:
        text += f"\n  of recordings at {model.hp.rate:,} Hz"
    if model.assumed:
        assumed = ", ".join(f"{name}={getattr(model.hp, name)}" for name in model.assumed)
        text += f"\n  assumed, because unknown: {assumed} (change them with --set NAME=VALUE)"
    return text


def describe_split(scores: "Scores", split: str, hp: HyperParameters) -> str:
    """Describe the scores on a split."""

    def per_sample(bits: float) -> str:
        nats = f" ({bits * np.log(2):.4f} nats)" if isinstance(hp, RealValued) else ""
        return f"{bits:.4f} bits{nats} per sample"

    n, error = len(scores.clips), scores.standard_error
    spread = "one clip" if n == 1 else population(scores)
    if np.isfinite(error):
        spread = f"standard error {error:.4f} over {spread}"
    text = f"{split}: {per_sample(scores.bits)} ({spread})"
    if scores.left_out:
        text += (
            f"; {scores.left_out} of {n + scores.left_out} clips left out, too few for a batch "
            "(--set batch_size=1 scores all)"
        )
    if scores.ip_bits is not None:
        text += f"\nindependent predictions: {per_sample(scores.ip_bits)}"
    return text


def population(scores: "Scores") -> str:
    """Number of the independent observations of a score: of recordings, or of clips if these are unknown."""
    if scores.recordings is None:
        return f"{len(scores.clips)} clips"
    return f"{count_of(len(np.unique(scores.recordings)), 'recording')} ({len(scores.clips)} clips)"


def describe_recordings(scored: Sequence["RecordingScore"], hp: HyperParameters) -> str:
    """A table of the scores, with ranks if there are several, and the files that were resampled."""
    lines = [
        f"{escape_control_characters(str(one.path))}: {one.file_rate:,} Hz resampled to {hp.rate:,} Hz"
        for one in scored
        if one.file_rate != hp.rate
    ]
    columns = {
        "rank": [str(rank) for rank in range(1, len(scored) + 1)] if len(scored) > 1 else [],
        "file": [shorten_path(one.path, WIDEST_NAME) for one in scored],
        "seconds": [f"{one.seconds:,.2f}" for one in scored],
        "bits per sample": [f"{one.bits:.4f}" for one in scored],
        "nats": [f"{one.bits * np.log(2):.4f}" for one in scored if isinstance(hp, RealValued)],
        "worst window": [f"{max(one.curve):.2f} at {one.times[one.curve.argmax()]:,.2f} s" for one in scored],
    }
    columns = {name: column for name, column in columns.items() if column}
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    right = [i for i, name in enumerate(columns) if name != "file"]
    return "\n".join([*lines, *format_table(rows, right)])


def shorten_path(path: Path, width: int) -> str:
    """Shorten a path to at most `width` characters: drop the first folders, then the start of the name."""
    name = escape_control_characters(str(path))
    if len(name) <= width:
        return name
    tails = (".../" + escape_control_characters("/".join(path.parts[i:])) for i in range(1, len(path.parts)))
    return next((tail for tail in tails if len(tail) <= width), "..." + name[3 - width :])


# --- files --------------------------------------------------------------------------------------------------


def write_clips(path: str | Path, scores: Mapping[str, "Scores"]) -> None:
    """Write a CSV file with one line per clip: split, index from 0, bits per sample."""
    rows = ((split, i, bits) for split in scores for i, bits in enumerate(scores[split].clips.tolist()))
    write_text(path, _as_csv([["split", "clip", "nll_bits"]], rows))


def write_windows(path: str | Path, scored: Sequence["RecordingScore"]) -> None:
    """Write a CSV file with one line per window: file, start in seconds, bits per sample."""
    write_text(path, windows_as_csv(scored))


def windows_as_csv(scored: Sequence["RecordingScore"], header: bool = True) -> str:
    """The lines of `write_windows`."""
    rows = (
        (escape_control_characters(str(one.path)), second, bits)
        for one in scored
        for second, bits in zip(one.times.tolist(), one.curve.tolist(), strict=True)
    )
    return _as_csv([["file", "seconds", "nll_bits"]] * header, rows)


def _as_csv(header: Sequence[Sequence[str]], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*header, *rows])
    return text.getvalue()


def write_json(path: str | Path, model: "LoadedModel", scores: Mapping[str, "Scores"]) -> None:
    """Write the model, and the scores of each split: of the whole, of each clip, and the standard error."""
    _write_record(path, model, _splits(model, scores))


def write_kept_json(
    path: str | Path, model: "LoadedModel", kept: Mapping[int, Mapping[str, "Scores"]]
) -> None:
    """Write a run, and the scores of each of its checkpoints, by iteration, as `write_json` does."""
    _write_record(path, model, {"kept": [{"iteration": i} | _splits(model, kept[i]) for i in kept]})


def _write_record(path: str | Path, model: "LoadedModel", scores: dict[str, Any]) -> None:
    about = {"checkpoint": str(model.path), "family": model.hp.family, "unit": "bits per sample"}
    write_text(path, json.dumps(about | scores, indent=2) + "\n")


def _splits(model: "LoadedModel", scores: Mapping[str, "Scores"]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for split, of_split in scores.items():
        own = record[split] = {
            "score": of_split.bits,
            "clips": len(of_split.clips),
            "left_out": of_split.left_out,
        }
        if np.isfinite(of_split.standard_error):
            own["standard_error"] = of_split.standard_error
        if isinstance(model.hp, RealValued):
            own["score_nats"] = of_split.bits * float(np.log(2))
        if of_split.ip_bits is not None:
            own["independent_predictions"] = of_split.ip_bits
        own["bits_of_clips"] = of_split.clips.tolist()
        if of_split.recordings is not None:
            own["recordings"] = of_split.recordings.tolist()
    return record
