"""The report on information retention and on listening tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import SampleRNNError
from samplernn_theano.listening import analysis
from samplernn_theano.reproduction import charts, origin
from samplernn_theano.reproduction.cells import Cell, ListeningTest
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
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.results import Attempt, Results, number, part
from samplernn_theano.reproduction.scores import mark

PICTURES = "pictures"

SHARES = {"a_votes": "share_a", "none": "share_none", "b_votes": "share_b"}
"""Of a pair in the summary of a listening test: a count, and where its share stands."""

EMPTY: list[Entry] = [[line("")]] * 4
"""The columns of what has no result."""


# --- information retention ----------------------------------------------------------------------------------


def retention(
    results: Results, cells: Mapping[str, Cell], numbers: Sequence[Number], report: Path
) -> list[Block]:
    """The share of clips that keep the voice, of each model and seed, with its interval; the 50 % line."""
    rows: list[list[Entry]] = []
    drawn: list[tuple[str, float, float, float]] = []
    for cell in cells.values():
        if not cell.retention:
            continue
        differs = origin.differs(results, cell.data)
        theirs = next((n for n in numbers if n.cell == cell.name and n.unit == "%"), None)
        published = line(
            Span("not published" if theirs is None else f"published {theirs.value:g} %", "quiet")
        )
        attempts: Sequence[Attempt | None] = results.of(cell.run) or [None]
        for attempt in attempts:
            title = (
                cell.title if attempt is None or len(attempts) == 1 else f"{cell.title}, seed {attempt.seed}"
            )
            if attempt is None:
                rows.append([[line(title)], [line("not run"), published], *EMPTY])
                continue
            marked = mark([(attempt, cell)], differs)
            rows.append([[line(title)], *_retained(attempt, published, marked)])
            if interval := _interval(attempt.result("retention")):
                drawn.append((f"{title} ({marked})" if marked else title, *interval))
    head = ["", "kept", "clips", "cannot tell", "by chance", "classifier on the test set"]
    told: list[Block] = [
        Paragraph(
            line(
                "A model that was trained on two voices generates 2 s, is fed silence for 1 s, and goes on "
                "for 2 s. In how many clips is the voice the same before and after? A receptive field "
                "shorter than the silence gives what chance gives: 50 % if both voices are equally frequent."
            )
        ),
        Table("Information retention", [[line(name)] for name in head], rows),
    ]
    if drawn:
        told.append(charts.retention(report / PICTURES / "retention.png", drawn))
    return told


def _interval(found: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The share and its limits."""
    share, low, high = (number(found.get(name)) for name in ("share", "low", "high"))
    return None if share is None or low is None or high is None else (share, low, high)


def _retained(attempt: Attempt, published: Line, marked: str) -> list[Entry]:
    """The columns of an attempt."""
    if why := attempt.standing("retention"):
        return [[line(Span(why, "bad" if "failed" in why else "")), published], *EMPTY]
    found = attempt.result("retention")
    marks = [Span(" "), Span(marked, "mark")] if marked else []
    ours = [*_kept(found), *marks]
    accuracy = number(part(found, "classifier", "test").get("accuracy"))
    rest: list[str] = [
        _count(found.get("clips")),
        _count(found.get("cannot_tell")),
        _percent(number(found.get("chance"))),
        _percent(accuracy),
    ]
    return [[ours, published], *([line(words)] for words in rest)]


def _kept(found: Mapping[str, Any]) -> Line:
    """The share with its limits, or why there is none."""
    if interval := _interval(found):
        share, low, high = interval
        return line(Span(f"{100 * share:.0f} %", "strong"), f" ({100 * low:.0f} to {100 * high:.0f})")
    clips = number(found.get("clips"))
    if clips and clips == number(found.get("cannot_tell")):
        return line(f"no clip can be judged: {clips:,.0f} of {clips:,.0f} without voice")
    return line("the record has no share")


def _count(value: Any) -> str:
    found = number(value)
    return "" if found is None else f"{found:,.0f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


# --- listening tests ----------------------------------------------------------------------------------------


def listening(
    results: Results, tests: Mapping[str, ListeningTest], known: Mapping[str, Cell], report: Path
) -> list[Block]:
    """The votes of each test, or how to come by them."""
    told: list[Block] = [
        Paragraph(
            line(
                "The paper shows its listeners' preferences only in pictures, so no published numbers stand "
                "beside ours."
            )
        )
    ]
    for test in tests.values():
        told.append(Heading(3, test.title))
        found = _summary(results.out / test.name) if test.name in results.pages else {}
        if found.get("votes"):
            told += _votes(test, found, results, known)
            told.append(_preferences(found, report, test))
        else:
            told.append(Paragraph(_how(test, results, found)))
    return told


def _summary(folder: Path) -> Mapping[str, Any]:
    """What the votes say; where they cannot be read, why."""
    try:
        return analysis.summary(folder)
    except SampleRNNError as error:
        return {"problems": [str(error)]}


def _votes(
    test: ListeningTest, found: Mapping[str, Any], results: Results, known: Mapping[str, Cell]
) -> list[Block]:
    rows: list[list[Entry]] = [
        [
            [line(f"{pair['a']} or {pair['b']}")],
            *([line(_share(pair[votes], pair[share]))] for votes, share in SHARES.items()),
            [line("" if pair["p_holm"] is None else f"{pair['p_holm']:.3g}")],
        ]
        for pair in found["pairs"]
    ]
    head = ["A or B", "prefer A", "no preference", "prefer B", "p (over listeners, Holm)"]
    attempts = [(attempt, known[name]) for name in test.systems for attempt in results.of(known[name].run)]
    marked = mark(attempts, any(origin.differs(results, known[name].data) for name in test.systems))
    who = line(f"{count_of(found['listeners'], 'listener')}, {count_of(found['votes'], 'vote')}. ")
    marks = [Span(marked, "mark"), Span(" sounds of these systems.")] if marked else []
    return [
        Table(f"{test.title}: votes, and shares with 95 % intervals", [[line(name)] for name in head], rows),
        Paragraph([*who, *marks]),
        *(Paragraph(line(words)) for words in [*found["problems"], *analysis.few(found)]),
    ]


def _share(votes: int, share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return f"{votes}"
    return f"{votes} ({100 * share['value']:.0f} %, {100 * share['low']:.0f} to {100 * share['high']:.0f})"


def _preferences(found: Mapping[str, Any], report: Path, test: ListeningTest) -> Block:
    """The bars of the paper's figures 3 and 4."""
    path = report / PICTURES / f"{test.name.replace('/', '_')}.png"
    analysis.draw(path, found)
    height, width = matplotlib.image.imread(path).shape[:2]
    return Picture(f"{PICTURES}/{path.name}", f"{test.title}: preferences as bars", width, height)


def _how(test: ListeningTest, results: Results, found: Mapping[str, Any]) -> Line:
    place = f"OUT/{test.name}"
    if test.name in results.pages:
        problems = "".join(f"{problem} " for problem in found["problems"])
        return line(
            f"{problems}Nobody has listened yet. ",
            Span(f"samplernn listening-test serve {place}", "code"),
            " shows the page to listeners; ",
            Span(f"samplernn listening-test analyse {place}", "code"),
            " counts their votes.",
        )
    if failure := results.failures.get(test.name):
        return line(f"failed: {failure}")
    return line(
        "Not run. ",
        Span(f"samplernn reproduce {test.name} --out OUT", "code"),
        " makes the page with pairs of sounds.",
    )
