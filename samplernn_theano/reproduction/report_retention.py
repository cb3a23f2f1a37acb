"""The report's section on information retention."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samplernn_theano.reproduction import charts
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.measured import badge
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.records import Attempt, Results, number, part
from samplernn_theano.reproduction.substitutes import is_substitute


def section(
    results: Results, experiments: Mapping[str, Experiment], numbers: Sequence[Number], report: Path
) -> dict[str, Any]:
    """Shares of clips that keep the voice, for each model and seed, as rows of a table and a chart."""
    rows: list[dict[str, Any]] = []
    for experiment in experiments.values():
        if experiment.retention:
            published = {n.experiment: n.value for n in numbers if n.unit == "%"}.get(experiment.name)
            attempts: Sequence[Attempt | None] = results.of(experiment.run) or [None]
            for attempt in attempts:
                row = _row(attempt, experiment, is_substitute(results, experiment.data))
                seed = f", seed {attempt.seed}" if attempt and len(attempts) > 1 else ""
                rows.append({"published": published, "title": experiment.title + seed} | row)
    drawn = [
        (f"{row['title']} ({row['badge']})" if row["badge"] else row["title"], *row["interval"])
        for row in rows
        if row["interval"]
    ]
    return {"rows": rows, "picture": charts.retention(report / "pictures" / "retention.png", drawn)}


def _row(attempt: Attempt | None, experiment: Experiment, substitute: bool) -> dict[str, Any]:
    if attempt is None:
        return {"reason": "not run", "found": {}, "accuracy": None, "badge": "", "interval": ()}
    reason = attempt.why_missing("retention")
    found = attempt.result("retention")
    limits = [number(found.get(name)) for name in ("share", "low", "high")]
    return {
        "reason": reason,
        "found": {} if reason else found,
        "accuracy": None if reason else part(found, "classifier", "test").get("accuracy"),
        "badge": badge([(attempt, experiment)], substitute),
        "interval": () if None in limits else limits,
    }
