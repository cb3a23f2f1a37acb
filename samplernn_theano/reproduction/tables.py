"""Tables 1 to 4 of the paper with our scores next to the published ones."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from samplernn_theano.reproduction.differences import Difference, applying
from samplernn_theano.reproduction.document import Block, Entry, Heading, Line, Paragraph, Span, Table, line
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.measured import BITS, NATS, Column, Filled, Layout, Score, lines, score
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.records import Results
from samplernn_theano.reproduction.substitutes import describe_substitute, is_substitute

MODELS = ("one_tier", "wavenet", "two_tier", "three_tier")
SETS = ("blizzard", "onomatopoeia", "music")
SUBSTITUTE = Span("substitute data", "badge")
CAPTION = "Grey: published numbers, and ours minus published"

LENGTHS = ("32", "64", "128", "256", "512")
VARIANTS = ("two_tier", "without_embedding_one_hot", "without_embedding_real", "multi_softmax")


def layouts(experiments: Mapping[str, Experiment]) -> list[Layout]:
    """The four tables."""
    rows1 = [[f"table1/{s}/{m}" for s in SETS] for m in MODELS]
    return [
        Layout(
            "table1",
            "Table 1: test NLL, bits per sample",
            [Column(name.capitalize(), "test", BITS, name) for name in SETS],
            [(_title(experiments, names), names) for names in rows1],
        ),
        Layout(
            "table2",
            "Table 2: test NLL of real-valued output, Blizzard",
            [Column(unit, "test", unit, "blizzard") for unit in (NATS, BITS)],
            [
                (_title(experiments, [name]), [name] * 2)
                for name in ("table2/rnn_gmm", "table2/samplernn_gmm")
            ],
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
            [(_title(experiments, [f"table4/{v}"]), [f"table4/{v}"] * 2) for v in VARIANTS],
        ),
    ]


def _title(experiments: Mapping[str, Experiment], names: Sequence[str]) -> str:
    """The title of the first of these experiments that exists, else the last part of its name."""
    titles = [experiments[name].title for name in names if name in experiments]
    return titles[0] if titles else names[0].rpartition("/")[2]


def _experiment(experiments: Mapping[str, Experiment], name: str, data: str) -> Experiment:
    """An experiment; if its file no longer exists, an empty one, so that its results are still shown."""
    empty = Experiment(
        name, _title(experiments, [name]), "", data, flags={}, splits=(), retention=False, run=name
    )
    return experiments.get(name, empty)


def ordered(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Sort experiments in the order of the tables, all others last."""
    names = [name for layout in layouts(experiments) for _, row in layout.rows for name in row]
    return {name: experiments[name] for name in dict.fromkeys([*names, *experiments]) if name in experiments}


def groups(experiments: Mapping[str, Experiment]) -> dict[str, list[str]]:
    """Group the names of experiments by table and data set."""
    found: dict[str, list[str]] = {}
    for name in experiments:
        found.setdefault(name.rpartition("/")[0], []).append(name)
    return found


def fill(
    layout: Layout, results: Results, experiments: Mapping[str, Experiment], numbers: Sequence[Number]
) -> Filled:
    """Fill a table with scores."""

    def filled(name: str, column: Column) -> Score:
        experiment, substitute = (
            _experiment(experiments, name, column.data),
            is_substitute(results, column.data),
        )
        return score(results, experiment, column.split, column.unit, numbers, substitute)

    scores = [[filled(*pair) for pair in zip(names, layout.columns, strict=True)] for _, names in layout.rows]
    return Filled(layout, scores)


def blocks(
    filled: Filled,
    results: Results,
    experiments: Mapping[str, Experiment],
    known: Sequence[Difference],
    files: Path,
) -> list[Block]:
    """A table with notes on substitute data, errors and differences from the paper.

    Differences that apply to all scores are listed below the table, others next to their score.
    """
    layout = filled.layout
    own = {score.experiment: _deviations(score, results, experiments, known) for score in filled.shown}
    common = set.intersection(*map(set, own.values())) if own else set()
    rows: list[list[Entry]] = [
        [
            [line(title)],
            *(
                lines(score, [d for d in own.get(score.experiment, []) if d not in common])
                for score in scores
            ),
        ]
        for (title, _), scores in zip(layout.rows, filled.scores, strict=True)
    ]
    sets = dict.fromkeys(column.data for column in layout.columns)
    substitutes = {name: about for name in sets if (about := describe_substitute(results, name, files))}
    found: list[Block] = [
        Heading(3, layout.title),
        Table(CAPTION, _head(layout.columns, substitutes), rows),
        *(
            Paragraph(line(SUBSTITUTE, f" for {name.capitalize()}: {about}."))
            for name, about in substitutes.items()
        ),
        Paragraph(_errors(filled)),
    ]
    if common:
        found.append(Paragraph(_common(sorted(common))))
    return found


def _deviations(
    shown: Score, results: Results, experiments: Mapping[str, Experiment], known: Sequence[Difference]
) -> list[int]:
    """The numbers of the differences that apply to a score, by its experiment and the one that was run."""
    run = experiments[shown.experiment].run if shown.experiment in experiments else shown.experiment
    scales = {attempt.planned_scale for attempt in results.of(run)}
    found = {
        d.number for name in (shown.experiment, run) for scale in scales for d in applying(known, name, scale)
    }
    return sorted(found)


def _head(columns: Sequence[Column], substitutes: Container[str]) -> list[Entry]:
    """The titles of the columns, with badges for substitute data: once, if all columns have the same data."""
    if len({column.data for column in columns}) == 1:
        first = SUBSTITUTE if columns[0].data in substitutes else Span("")
        return [[line(first)], *([line(column.title)] for column in columns)]
    badges = [[line(SUBSTITUTE)] if column.data in substitutes else [] for column in columns]
    titled = zip(columns, badges, strict=True)
    return [[line("")], *([line(column.title), *own] for column, own in titled)]


def _errors(filled: Filled) -> Line:
    """A note on the meaning of ±."""
    over = {score.over for score in filled.shown}
    meanings = []
    if "seeds" in over:
        meanings.append("means over seeds ± their standard error over seeds")
    if "clips" in over:
        counts = sorted({score.n for score in filled.shown if score.over == "clips"})
        clips = " to ".join(f"{n:,}" for n in dict.fromkeys([counts[0], counts[-1]]))
        meanings.append(f"one seed ± the standard error over clips ({clips}), not over seeds")
    note = f"Ours: {'; or '.join(meanings)}." if meanings else "None of these has been scored yet."
    return line(Span(note, "quiet"))


def _common(numbers: Sequence[int]) -> Line:
    spans = [Span(f"{', ' * (i > 0)}{n}", "", f"#difference-{n}") for i, n in enumerate(numbers)]
    return line("Differences from the paper that apply to all of our numbers in this table: ", *spans, ".")
