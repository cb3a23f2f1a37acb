"""Tables 1 to 4 of the paper with our scores next to the published ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.measured import BITS, NATS, Score, is_substitute, score
from samplernn_theano.reproduction.published import Difference, Number, applying
from samplernn_theano.reproduction.records import Results

MODELS = ("one_tier", "wavenet", "two_tier", "three_tier")
SETS = ("blizzard", "onomatopoeia", "music")
LENGTHS = ("32", "64", "128", "256", "512")
VARIANTS = ("two_tier", "without_embedding_one_hot", "without_embedding_real", "multi_softmax")


@dataclass(frozen=True)
class Column:
    """A column of a table: split, unit and data set."""

    title: str
    split: str
    unit: str
    data: str


@dataclass(frozen=True)
class Layout:
    """A table: rows have a title, and the name of an experiment for each column."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Filled:
    """A table with its scores; rows have a title, and a score for each column."""

    layout: Layout
    rows: Sequence[tuple[str, Sequence[Score]]]

    @property
    def sets(self) -> list[str]:
        """The data sets of the columns."""
        return list(dict.fromkeys(column.data for column in self.layout.columns))

    @property
    def shown(self) -> list[Score]:
        """All scores with a value."""
        return [score for _, row in self.rows for score in row if score.value is not None]

    @property
    def common(self) -> list[int]:
        """The numbers of the differences from the paper that apply to all scores."""
        own = [set(score.differences) for score in self.shown]
        return sorted(set.intersection(*own)) if own else []

    @property
    def note(self) -> str:
        """The meaning of ±."""
        meanings = []
        if any(score.over == "seeds" for score in self.shown):
            meanings.append("means over seeds ± their standard error over seeds")
        if counts := sorted({score.n for score in self.shown if score.over == "clips"}):
            clips = " to ".join(f"{n:,}" for n in dict.fromkeys([counts[0], counts[-1]]))
            meanings.append(f"one seed ± the standard error over clips ({clips}), not over seeds")
        return f"Ours: {'; or '.join(meanings)}." if meanings else "None of these has been scored yet."


def layouts(experiments: Mapping[str, Experiment]) -> list[Layout]:
    """The four tables."""

    def rows(*names: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
        return [(experiments[own[0]].title, own) for own in names]

    return [
        Layout(
            "table1",
            "Table 1: test NLL, bits per sample",
            [Column(name.capitalize(), "test", BITS, name) for name in SETS],
            rows(*([f"table1/{name}/{model}" for name in SETS] for model in MODELS)),
        ),
        Layout(
            "table2",
            "Table 2: test NLL of real-valued output, Blizzard",
            [Column(unit, "test", unit, "blizzard") for unit in (NATS, BITS)],
            rows(["table2/rnn_gmm"] * 2, ["table2/samplernn_gmm"] * 2),
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
            [Column("Test", "test", BITS, "blizzard"), Column("Validation", "valid", BITS, "blizzard")],
            rows(*([f"table4/{variant}"] * 2 for variant in VARIANTS)),
        ),
    ]


def ordered(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Sort experiments in the order of the tables, all others last."""
    names = [name for layout in layouts(experiments) for _, row in layout.rows for name in row]
    return {name: experiments[name] for name in dict.fromkeys([*names, *experiments])}


def fill(
    layout: Layout,
    results: Results,
    experiments: Mapping[str, Experiment],
    numbers: Sequence[Number],
    known: Sequence[Difference] = (),
) -> Filled:
    """Fill a table with scores, and with the numbers of the differences that apply to each."""

    def filled(name: str, column: Column) -> Score:
        experiment = experiments[name]
        substitute = is_substitute(results, column.data)
        found = score(results, experiment, column.split, column.unit, numbers, substitute)
        scales = {attempt.planned_scale for attempt in results.of(experiment.run)}
        own = {d.number for n in (name, experiment.run) for s in scales for d in applying(known, n, s)}
        return replace(found, differences=tuple(sorted(own)))

    return Filled(layout, [(title, list(map(filled, names, layout.columns))) for title, names in layout.rows])
