"""The report's section on listening tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import SampleRNNError
from samplernn_theano.listening import analysis
from samplernn_theano.reproduction import charts
from samplernn_theano.reproduction.experiments import Experiment, ListeningTest
from samplernn_theano.reproduction.measured import badge
from samplernn_theano.reproduction.records import Results
from samplernn_theano.reproduction.substitutes import is_substitute


def section(
    results: Results, tests: Mapping[str, ListeningTest], known: Mapping[str, Experiment], report: Path
) -> list[dict[str, Any]]:
    """The votes of each listening test, or why there are none."""
    return [_votes(test, results, known, report) for test in tests.values()]


def _votes(
    test: ListeningTest, results: Results, known: Mapping[str, Experiment], report: Path
) -> dict[str, Any]:
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
    return found | {
        "votes": summary["votes"],
        "counts": f"{count_of(summary['listeners'], 'listener')}, {count_of(summary['votes'], 'vote')}",
        "pairs": summary["pairs"],
        "badge": badge(attempts, any(is_substitute(results, known[name].data) for name in test.systems)),
        "sentences": [*summary["problems"], *analysis.few(summary)],
        "picture": charts.picture_of(path, f"{test.title}: preferences as bars"),
    }


def votes(number: int, share: Mapping[str, Any]) -> str:
    """A number of votes with its share of a pair's and the interval of that."""
    if share["value"] is None:
        return f"{number}"
    return f"{number} ({100 * share['value']:.0f} %, {100 * share['low']:.0f} to {100 * share['high']:.0f})"
