"""The report's section on listening tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import SampleRNNError
from samplernn_theano.listening import analysis
from samplernn_theano.reproduction.document import (
    Block,
    Entry,
    Heading,
    Line,
    Paragraph,
    Picture,
    Span,
    Table,
    line,
)
from samplernn_theano.reproduction.experiments import Experiment, ListeningTest
from samplernn_theano.reproduction.measured import badge
from samplernn_theano.reproduction.records import Results
from samplernn_theano.reproduction.substitutes import is_substitute

SHARES = {"a_votes": "share_a", "none": "share_none", "b_votes": "share_b"}
"""Keys of a pair in the summary of a listening test: a count and its share."""


def blocks(
    results: Results, tests: Mapping[str, ListeningTest], known: Mapping[str, Experiment], report: Path
) -> list[Block]:
    """The votes of each listening test, or instructions to collect them."""
    found: list[Block] = [
        Paragraph(
            line(
                "The paper shows its listeners' preferences only in figures: there are no published numbers."
            )
        )
    ]
    for test in tests.values():
        found.append(Heading(3, test.title))
        summary = _summary(results.out / test.name) if test.name in results.pages else {}
        if summary.get("votes"):
            found += _votes(test, summary, results, known)
            found.append(_preferences(summary, report, test))
        else:
            found.append(Paragraph(_instructions(test, results, summary)))
    return found


def _summary(folder: Path) -> Mapping[str, Any]:
    """The summary of the votes, or the reason why they cannot be read."""
    try:
        return analysis.summary(folder)
    except SampleRNNError as error:
        return {"problems": [str(error)]}


def _votes(
    test: ListeningTest, summary: Mapping[str, Any], results: Results, known: Mapping[str, Experiment]
) -> list[Block]:
    rows: list[list[Entry]] = [
        [
            [line(f"{pair['a']} or {pair['b']}")],
            *([line(_share(pair[votes], pair[share]))] for votes, share in SHARES.items()),
            [line("" if pair["p_holm"] is None else f"{pair['p_holm']:.3g}")],
        ]
        for pair in summary["pairs"]
    ]
    head = ["A or B", "prefer A", "no preference", "prefer B", "p (over listeners, Holm)"]
    attempts = [(attempt, known[name]) for name in test.systems for attempt in results.of(known[name].run)]
    scale = badge(attempts, any(is_substitute(results, known[name].data) for name in test.systems))
    counts = line(f"{count_of(summary['listeners'], 'listener')}, {count_of(summary['votes'], 'vote')}. ")
    badges = [Span(scale, "badge"), Span(" sounds of these systems.")] if scale else []
    return [
        Table(f"{test.title}: votes, and shares with 95 % intervals", [[line(name)] for name in head], rows),
        Paragraph([*counts, *badges]),
        *(Paragraph(line(sentence)) for sentence in [*summary["problems"], *analysis.few(summary)]),
    ]


def _share(votes: int, share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return f"{votes}"
    return f"{votes} ({100 * share['value']:.0f} %, {100 * share['low']:.0f} to {100 * share['high']:.0f})"


def _preferences(summary: Mapping[str, Any], report: Path, test: ListeningTest) -> Block:
    """A bar chart as in the paper's figures 3 and 4."""
    path = report / "pictures" / f"{test.name.replace('/', '_')}.png"
    analysis.draw(path, summary)
    height, width = matplotlib.image.imread(path).shape[:2]
    return Picture(f"pictures/{path.name}", f"{test.title}: preferences as bars", width, height)


def _instructions(test: ListeningTest, results: Results, summary: Mapping[str, Any]) -> Line:
    folder = f"OUT/{test.name}"
    if test.name in results.pages:
        problems = "".join(f"{problem} " for problem in summary["problems"])
        return line(
            f"{problems}There are no votes yet. ",
            Span(f"samplernn listening-test serve {folder}", "code"),
            " shows the page to listeners; ",
            Span(f"samplernn listening-test analyse {folder}", "code"),
            " counts their votes.",
        )
    if failure := results.failures.get(test.name):
        return line(f"failed: {failure}")
    return line(
        "Not run. ",
        Span(f"samplernn reproduce {test.name} --out OUT", "code"),
        " makes the page with pairs of sounds.",
    )
