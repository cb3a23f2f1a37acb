"""The paper's tables 1 to 4 as they stand there, ours beside the published numbers."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from samplernn_theano.reproduction import origin
from samplernn_theano.reproduction.cells import Cell
from samplernn_theano.reproduction.deviations import Deviation, applying
from samplernn_theano.reproduction.document import Block, Entry, Heading, Line, Paragraph, Span, Table, line
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.results import Results
from samplernn_theano.reproduction.scores import BITS, NATS, Column, Filled, Layout, Score, lines, score

MODELS = ("one_tier", "wavenet", "two_tier", "three_tier")
SETS = ("blizzard", "onomatopoeia", "music")
STAND_IN = Span("stand-in", "mark")
GREY = "In grey the published numbers, and ours minus published"

LENGTHS = ("32", "64", "128", "256", "512")
VARIANTS = ("two_tier", "without_embedding_one_hot", "without_embedding_real", "multi_softmax")


def layouts(cells: Mapping[str, Cell]) -> list[Layout]:
    """The four tables."""
    rows1 = [[f"table1/{s}/{m}" for s in SETS] for m in MODELS]
    return [
        Layout(
            "table1",
            "Table 1: test NLL, bits per sample",
            [Column(name.capitalize(), "test", BITS, name) for name in SETS],
            [(_title(cells, names), names) for names in rows1],
        ),
        Layout(
            "table2",
            "Table 2: test NLL of real-valued output, Blizzard",
            [Column(unit, "test", unit, "blizzard") for unit in (NATS, BITS)],
            [(_title(cells, [name]), [name] * 2) for name in ("table2/rnn_gmm", "table2/samplernn_gmm")],
        ),
        Layout(
            "table3",
            "Table 3: validation NLL by the length of subsequences, 3-tier, Blizzard, bits per sample",
            [Column(length, "valid", BITS, "blizzard") for length in LENGTHS],
            [("NLL", [f"table3/{length}" for length in LENGTHS])],
        ),
        Layout(
            "table4",
            "Table 4: variants of the 2-tier model, Blizzard, bits per sample",
            [
                Column(name, split, BITS, "blizzard")
                for name, split in (("Test", "test"), ("Validation", "valid"))
            ],
            [(_title(cells, [f"table4/{v}"]), [f"table4/{v}"] * 2) for v in VARIANTS],
        ),
    ]


def _title(cells: Mapping[str, Cell], names: Sequence[str]) -> str:
    """Of the first of these cells that is there, else a part of its name."""
    titles = [cells[name].title for name in names if name in cells]
    return titles[0] if titles else names[0].rpartition("/")[2]


def _cell(cells: Mapping[str, Cell], name: str, data: str) -> Cell:
    """A cell; if its file is gone, one without a family, so that what was run of it is still shown."""
    empty = Cell(name, _title(cells, [name]), "", data, flags={}, splits=(), retention=False, run=name)
    return cells.get(name, empty)


def ordered(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells in the order of the tables, then all others."""
    names = [name for layout in layouts(cells) for _, row in layout.rows for name in row]
    return {name: cells[name] for name in dict.fromkeys([*names, *cells]) if name in cells}


def groups(cells: Mapping[str, Cell]) -> dict[str, list[str]]:
    """The names of the cells of each table and set."""
    found: dict[str, list[str]] = {}
    for name in cells:
        found.setdefault(name.rpartition("/")[0], []).append(name)
    return found


def fill(layout: Layout, results: Results, cells: Mapping[str, Cell], numbers: Sequence[Number]) -> Filled:
    """Put the scores into a table."""

    def filled(name: str, column: Column) -> Score:
        cell, stand_in = _cell(cells, name, column.data), origin.differs(results, column.data)
        return score(results, cell, column.split, column.unit, numbers, stand_in)

    scores = [[filled(*pair) for pair in zip(names, layout.columns, strict=True)] for _, names in layout.rows]
    return Filled(layout, scores)


def blocks(
    filled: Filled, results: Results, cells: Mapping[str, Cell], known: Sequence[Deviation], files: Path
) -> list[Block]:
    """The table, what stands in for data, what its errors are over, and the deviations of all its cells.

    A deviation that concerns all numbers shown stands below the table, any other beside its number.
    """
    layout = filled.layout
    own = {score.cell: _deviations(score, results, cells, known) for score in filled.shown}
    common = set.intersection(*map(set, own.values())) if own else set()
    rows: list[list[Entry]] = [
        [
            [line(title)],
            *(lines(score, [d for d in own.get(score.cell, []) if d not in common]) for score in scores),
        ]
        for (title, _), scores in zip(layout.rows, filled.scores, strict=True)
    ]
    sets = dict.fromkeys(column.data for column in layout.columns)
    stand_ins = {name: words for name in sets if (words := origin.describe(results, name, files))}
    told: list[Block] = [
        Heading(3, layout.title),
        Table(GREY, _head(layout.columns, stand_ins), rows),
        *(
            Paragraph(line(STAND_IN, f" for {name.capitalize()}: {words}."))
            for name, words in stand_ins.items()
        ),
        Paragraph(_errors(filled)),
    ]
    if common:
        told.append(Paragraph(_common(sorted(common))))
    return told


def _deviations(
    shown: Score, results: Results, cells: Mapping[str, Cell], known: Sequence[Deviation]
) -> list[int]:
    """The numbers of those that concern a score; of the cell that shows it and of the one that was run."""
    run = cells[shown.cell].run if shown.cell in cells else shown.cell
    scales = {attempt.planned_scale for attempt in results.of(run)}
    found = {d.number for name in (shown.cell, run) for scale in scales for d in applying(known, name, scale)}
    return sorted(found)


def _head(columns: Sequence[Column], stand_ins: Container[str]) -> list[Entry]:
    """The titles of the columns, and where the data are a stand-in: once, if all have the same."""
    if len({column.data for column in columns}) == 1:
        first = STAND_IN if columns[0].data in stand_ins else Span("")
        return [[line(first)], *([line(column.title)] for column in columns)]
    marks = [[line(STAND_IN)] if column.data in stand_ins else [] for column in columns]
    titled = zip(columns, marks, strict=True)
    return [[line("")], *([line(column.title), *own] for column, own in titled)]


def _errors(filled: Filled) -> Line:
    """What stands behind ±."""
    over = {score.over for score in filled.shown}
    words = []
    if "seeds" in over:
        words.append("means over seeds ± their standard error over seeds")
    if "clips" in over:
        counts = sorted({score.n for score in filled.shown if score.over == "clips"})
        clips = " to ".join(f"{n:,}" for n in dict.fromkeys([counts[0], counts[-1]]))
        words.append(
            f"one seed ± the standard error over clips ({clips}), which knows nothing of other seeds"
        )
    told = f"Ours: {'; or '.join(words)}." if words else "None of these has been scored yet."
    return line(Span(told, "quiet"))


def _common(numbers: Sequence[int]) -> Line:
    spans = [Span(f"{', ' * (i > 0)}{n}", "", f"#deviation-{n}") for i, n in enumerate(numbers)]
    return line("Deviations that concern all of our numbers in this table: ", *spans, ".")
