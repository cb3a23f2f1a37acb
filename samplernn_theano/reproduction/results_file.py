"""The scores of a workflow as a file, OUT/report/results.json, for tables of one's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.records import Attempt, Results, hardware, part, text
from samplernn_theano.reproduction.tables import Column, Filled, Score, describe_substitute


def entries(tables: Sequence[Filled], results: Results) -> list[dict[str, Any]]:
    """An object for each score of the tables.

    It has table, experiment, title, split, unit, scale, data (what replaces the paper's; "" if nothing does),
    basis, published, ours (the mean over seeds), error (standard error) over n recordings, clips or seeds,
    differences (numbers), seconds_per_update (on a core of its own; None if not measured), and `seeds`.
    """
    return [
        _entry(table, column, score, results)
        for table in tables
        for _, row in table.rows
        for column, score in zip(table.layout.columns, row, strict=True)
        if score.value is not None
    ]


def _entry(table: Filled, column: Column, score: Score, results: Results) -> dict[str, Any]:
    done = [attempt for attempt in results.of(score.run) if not attempt.why_missing("evaluate")]
    return {
        "table": table.layout.name,
        "experiment": score.experiment,
        "title": score.title,
        "split": column.split,
        "unit": column.unit,
        "scale": score.badge or results.scale,
        "data": describe_substitute(results, column.data),
        "basis": score.basis,
        "published": score.published,
        "ours": score.value,
        "error": score.error,
        "over": score.over,
        "n": score.n,
        "differences": list(score.differences),
        "seconds_per_update": scales.seconds_per_update(results.scale, score.run),
        "seeds": [_seed(attempt, column.split) for attempt in done],
    }


def _seed(attempt: Attempt, split: str) -> Mapping[str, Any]:
    """Score in bits, extent, machine and learning curve of a training."""
    trained = attempt.result("train")
    return {
        "seed": attempt.seed,
        "bits": part(attempt.result("evaluate"), split).get("score"),
        "updates": trained.get("iterations"),
        "best_update": trained.get("best_iteration"),
        "epochs": trained.get("epochs"),
        "train_seconds": trained.get("train_seconds"),
        "hardware": hardware(part(attempt.steps["train"], "machine")),
        "revision": text(attempt.settings.get("git_revision")),
        "evaluations": [[own["iteration"], own["valid"], own.get("test")] for own in attempt.evaluations],
    }
