"""The report on information retention and on listening tests."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image

from samplernn_theano.files import atomic_write
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
from samplernn_theano.reproduction.results import Attempt, Results, number, part, text
from samplernn_theano.reproduction.scores import mark

PICTURES = "pictures"

EMPTY: list[Entry] = [[line("")]] * 4
"""The columns of what has no numbers."""


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
            rows.append([[line(title)], *_retained(attempt, published, differs)])
            found = attempt.result("retention") if attempt else {}
            interval = _interval(found)
            if attempt and interval:
                marked = mark([attempt], differs)
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


def _retained(attempt: Attempt | None, published: Line, differs: bool) -> list[Entry]:
    """The columns of an attempt."""
    if attempt is None:
        return [[line("not run"), published], *EMPTY]
    found = attempt.result("retention")
    interval = _interval(found)
    if interval is None:
        why = attempt.standing("retention") or "the record has no share"
        return [[line(Span(why, "bad" if "failed" in why else "")), published], *EMPTY]
    share, low, high = interval
    marked = mark([attempt], differs)
    marks = [Span(" "), Span(marked, "mark")] if marked else []
    ours = line(Span(f"{100 * share:.0f} %", "strong"), f" ({100 * low:.0f} to {100 * high:.0f})", *marks)
    accuracy = number(part(found, "classifier", "test").get("accuracy"))
    rest: list[str] = [
        _count(found.get("clips")),
        _count(found.get("cannot_tell")),
        _percent(number(found.get("chance"))),
        _percent(accuracy),
    ]
    return [[ours, published], *([line(words)] for words in rest)]


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
        summary = results.listening.get(test.name, {})
        pairs = [pair for pair in summary.get("pairs") or [] if isinstance(pair, dict)]
        if pairs:
            told += _votes(test, summary, pairs, results, known)
            told += _preference(results.out / test.name / "preference.png", report, test)
        else:
            told.append(Paragraph(_how(test, results)))
    return told


def _votes(
    test: ListeningTest,
    summary: Mapping[str, Any],
    pairs: Sequence[Mapping[str, Any]],
    results: Results,
    known: Mapping[str, Cell],
) -> list[Block]:
    rows: list[list[Entry]] = [
        [
            [line(f"{text(pair.get('a'))} or {text(pair.get('b'))}")],
            *([line(_count(pair.get(key)))] for key in ("a_votes", "none", "b_votes")),
            [line("" if (p := number(pair.get("p_value"))) is None else f"{p:.3g}")],
        ]
        for pair in pairs
    ]
    head = ["A or B", "prefer A", "no preference", "prefer B", "p (sign test)"]
    attempts = [attempt for name in test.systems for attempt in results.of(name)]
    marked = mark(attempts, any(origin.differs(results, known[name].data) for name in test.systems))
    who = line(f"{_count(summary.get('listeners'))} listeners, {_count(summary.get('votes'))} votes. ")
    marks = [Span(marked, "mark"), Span(" sounds of these systems.")] if marked else []
    return [Table(f"{test.title}: votes", [[line(name)] for name in head], rows), Paragraph([*who, *marks])]


def _preference(source: Path, report: Path, test: ListeningTest) -> list[Block]:
    """A copy of the picture that the analysis drew."""
    target = report / PICTURES / f"{test.name.replace('/', '_')}.png"
    try:
        height, width = matplotlib.image.imread(source).shape[:2]
    except (OSError, ValueError, SyntaxError):
        return []
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
    return [Picture(f"{PICTURES}/{target.name}", f"{test.title}: preferences as bars", width, height)]


def _how(test: ListeningTest, results: Results) -> Line:
    place = f"OUT/{test.name}"
    if test.name in results.pages:
        return line(
            "Nobody has listened yet. ",
            Span(f"samplernn listening-test serve {place}", "code"),
            " shows the page to listeners; ",
            Span(f"samplernn listening-test analyse {place}", "code"),
            " counts their votes.",
        )
    systems = " ".join(test.systems)
    return line(
        "Not run. ",
        Span(f"samplernn reproduce {systems} {test.name} --out OUT", "code"),
        " makes the page with pairs of sounds.",
    )
