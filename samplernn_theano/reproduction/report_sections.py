"""The values of the report's sections, which its template shows."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import count_of, hours
from samplernn_theano.errors import SampleRNNError
from samplernn_theano.listening import analysis
from samplernn_theano.reproduction import charts
from samplernn_theano.reproduction.experiments import Experiment, ListeningTest
from samplernn_theano.reproduction.published import Difference, Number, applying
from samplernn_theano.reproduction.records import STEPS, Attempt, Results, hardware, number, part, text
from samplernn_theano.reproduction.tables import authors_of, badge, is_substitute
from samplernn_theano.utils.text import format_duration


def retention(
    results: Results, experiments: Mapping[str, Experiment], numbers: Sequence[Number], report: Path
) -> dict[str, Any]:
    """Shares of clips that keep the voice, for each model and seed, as rows of a table and a chart."""
    rows: list[dict[str, Any]] = []
    published = {n.experiment: n.value for n in numbers if n.unit == "%"}
    for experiment in (experiment for experiment in experiments.values() if experiment.retention):
        attempts: Sequence[Attempt | None] = results.of(experiment.run) or [None]
        for attempt in attempts:
            row = _row(attempt, experiment, is_substitute(results, experiment.data))
            seed = f", seed {attempt.seed}" if attempt and len(attempts) > 1 else ""
            own = {
                "title": experiment.marked_title + seed,
                "mark": experiment.mark,
                "basis": experiment.basis,
            }
            rows.append({"published": published.get(experiment.name)} | own | row)
    drawn = [
        (row["title"] + (f" ({row['badge']})" if row["badge"] else ""), *row["interval"], row["ceiling"])
        for row in rows
        if row["interval"]
    ]
    return {"rows": rows, "picture": charts.retention(report / "pictures" / "retention.png", drawn)}


def _row(attempt: Attempt | None, experiment: Experiment, substitute: bool) -> dict[str, Any]:
    if attempt is None:
        empty = {"classifier": (), "ceiling": (), "doubt": ""}
        return {"reason": "not run", "found": {}, "badge": "", "interval": ()} | empty
    reason = attempt.why_missing("retention")
    found = attempt.result("retention")
    tested = part(found, "classifier")
    return {
        "reason": reason,
        "found": {} if reason else found,
        "classifier": _limits(tested, "accuracy"),
        "ceiling": _limits(part(found, "ceiling"), "value"),
        "doubt": text(tested.get("doubt")),
        "badge": badge([(attempt, experiment)], substitute),
        "interval": _limits(found, "share"),
    }


def _limits(found: Mapping[str, Any], name: str) -> Sequence[float]:
    """A value with the limits of its interval; empty if one of them is missing."""
    limits = [number(found.get(key)) for key in (name, "low", "high")]
    return [x for x in limits if x is not None] if None not in limits else ()


def listening(
    results: Results, test: ListeningTest, known: Mapping[str, Experiment], report: Path
) -> dict[str, Any]:
    """The votes of a listening test, or why there are none."""
    made = test.name in results.pages
    found = {"name": test.name, "title": test.title, "made": made, "votes": 0}
    if not made:
        return found | {"failure": results.failures.get(test.name, "")}
    try:
        summary = analysis.summary(results.out / test.name)
    except SampleRNNError as error:
        return found | {"sentences": [str(error)]}
    if not summary["votes"]:
        return found | {"sentences": summary["problems"]}
    path = report / "pictures" / f"{test.name.replace('/', '_')}.png"
    analysis.draw(path, summary)
    attempts = [(attempt, known[name]) for name in test.systems for attempt in results.of(known[name].run)]
    titles = {known[name].title: known[name].marked_title for name in test.systems}
    return found | {
        "votes": summary["votes"],
        "counts": f"{count_of(summary['listeners'], 'listener')}, {count_of(summary['votes'], 'vote')}",
        "marked": any(known[name].mark for name in test.systems),
        "pairs": [pair | {x: titles.get(pair[x], pair[x]) for x in "ab"} for pair in summary["pairs"]],
        "badge": badge(attempts, any(is_substitute(results, known[name].data) for name in test.systems)),
        "sentences": [*summary["problems"], *analysis.few(summary)],
        "picture": charts.picture_of(path, f"{test.title}: preferences as bars"),
    }


def votes(number: int, share: Mapping[str, Any]) -> str:
    """A number of votes with its share of a pair's and the interval of that."""
    if share["value"] is None:
        return f"{number}"
    return f"{number} ({100 * share['value']:.0f} %, {100 * share['low']:.0f} to {100 * share['high']:.0f})"


def trainings(results: Results) -> dict[str, Any]:
    """Hardware, duration, iterations and versions of each training."""
    attempts = [a for a in chain.from_iterable(results.attempts.values()) if "train" in a.steps]
    rows = [
        {
            "attempt": attempt,
            "result": attempt.result("train"),
            "machine": hardware(part(attempt.steps["train"], "machine")),
            "limits": part(attempt.settings, "schedule"),
            "iterations": number(attempt.result("train").get("iterations")) or attempt.iteration,
            "energy": attempt.steps["train"].get("energy_joules"),
        }
        for attempt in attempts
    ]
    total = sum(number(a.result("train").get("train_seconds")) or 0 for a in attempts)
    return {"trainings": rows, "trained_seconds": total, "versions": _versions(attempts)}


def _versions(attempts: Sequence[Attempt]) -> list[str]:
    """Sets of versions, each with all revisions of the code used with it."""
    found: dict[str, dict[str, None]] = {}
    for attempt in attempts:
        names = part(attempt.settings, "versions")
        versions = ", ".join(f"{name} {version}" for name, version in names.items())
        found.setdefault(versions, {})[text(attempt.settings.get("git_revision"))] = None
    lines = []
    for versions, revisions in found.items():
        if known := list(filter(None, revisions)):
            versions += f"; revision{'s' * (len(known) > 1)} {', '.join(known)}"
        lines.append(versions.removeprefix("; "))
    return [f"Made with {line}." for line in lines if line]


def data(results: Results) -> list[dict[str, Any]]:
    """Size and statistics of each data set next to the authors', or why it has none."""
    return [{"name": name} | _set(name, record) for name, record in results.data.items()]


def _set(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    result = part(record, "result")
    if not result:
        status = text(record.get("status"))
        message = f": {text(record.get('message'))}" if status == "failed" else ""
        return {"reason": status + message}
    splits = [part(result, "splits", split) for split in SPLITS]
    clips = [number(split.get("clips")) for split in splits]
    moments = [number(result.get(key)) for key in ("train_mean", "train_std")]
    found = {
        "clips": " / ".join("?" if n is None else f"{n:,.0f}" for n in clips),
        "hours": hours(sum(number(split.get("seconds")) or 0 for split in splits)),
        "stride": part(result, "manifest", "options").get("stride_seconds"),
        "moments": ", ".join("" if x is None else f"{x:.4g}" for x in moments),
        "baselines": part(result, "baselines"),
        "authors": None,
    }
    if authors := authors_of(name):
        mean, std, sizes = authors
        found["authors"] = (" / ".join(f"{n:,}" for n in sizes), f"{mean:.4g}, {std:.4g}")
    return found


def commands(results: Results) -> list[tuple[str, list[str]]]:
    """Command and duration of each step that was started; names such as OUT replace folders."""
    names = {str(results.out.absolute()): "OUT"}
    names |= {folder: name.upper() for name, folder in results.given.items()}
    steps: dict[str, list[Mapping[str, Any]]]
    steps = {f"data: {name}": [record] for name, record in results.data.items()}
    for attempt in chain.from_iterable(results.attempts.values()):
        title = f"{attempt.experiment}, seed {attempt.seed}"
        steps[title] = [attempt.steps[step] for step in STEPS if step in attempt.steps]
    return [
        (title, [line for record in own for line in _command(record, names)])
        for title, own in steps.items()
        if own
    ]


def _command(record: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    command = record.get("command")
    shown = shlex.join(map(str, command)) if isinstance(command, list) else "# prepared data set"
    for folder, name in names.items():
        shown = shown.replace(folder, name)
    seconds = number(record.get("seconds"))
    took = f", {format_duration(seconds)}" if seconds is not None else ""
    return [f"# {text(record.get('step'))}: {record['status']}{took}", shown]


def differences(
    known: Sequence[Difference], results: Results, experiments: Mapping[str, Experiment]
) -> list[Difference]:
    """The differences that apply to the started experiments; if there are none, all of the scale."""
    names = {e.name for e in experiments.values() if e.run in results.attempts} or set(experiments)
    attempts = chain.from_iterable(results.attempts.values())
    scales = {attempt.planned_scale for attempt in attempts} or {results.scale}
    numbers = {d.number for name in names for scale in scales for d in applying(known, name, scale)}
    return [d for d in known if d.number in numbers]
