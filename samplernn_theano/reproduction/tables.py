"""Tables 1 to 4 of the paper with our scores next to the published ones; our data next to the paper's."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev

from samplernn_theano.config import presets
from samplernn_theano.config.schedule import RATES, scaled_later_from, stored_schedule
from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.published import BITS, NATS, Difference, Number, applying
from samplernn_theano.reproduction.records import PAPER, Attempt, Results, number, part, text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

CLOSE = 0.05
"""Relative difference of sizes and standard deviations up to which recordings count as the same: other cuts
change them a little, other recordings far more."""

MODELS = ("one_tier", "wavenet", "two_tier", "three_tier")
SETS = {
    "blizzard": "Blizzard",
    "onomatopoeia": "Onomatopoeia",
    "music": "Music",
    "music_overlap": "Music, overlapping clips",
}
LENGTHS = ("32", "64", "128", "256", "512")
VARIANTS = ("two_tier", "without_embedding_one_hot", "without_embedding_real", "multi_softmax")


@dataclass(frozen=True)
class Score:
    """A score of an experiment on a split."""

    experiment: str
    run: str  # the experiment that was trained for it
    title: str  # of the experiment, with its mark
    value: float | None  # mean over seeds; None if no seed is done
    error: float | None  # standard error over seeds if there are several, else over recordings or clips
    over: str  # population of the error: "seeds", "recordings", "clips" (whose recordings are unknown) or ""
    n: int  # size of that population
    seeds: tuple[int, int]  # number of finished seeds, and of started or requested ones
    badge: str  # see `badge`
    problems: tuple[str, ...]  # reasons why seeds have no score
    published: float | None
    doubt: str  # uncertainty about the published number
    extent: str  # updates, epochs and hours of a training at the paper's scale, with those of the plan
    mark: str = ""  # of a number that rests on our choice; see `Experiment`
    basis: str = ""  # see `Experiment`
    differences: tuple[int, ...] = ()  # numbers of the differences from the paper that apply

    @property
    def ours(self) -> str:
        """Our score with its standard error."""
        return f"{self.value:.3f}" + ("" if self.error is None else f" ± {self.error:.3f}")

    @property
    def difference(self) -> float | None:
        """Ours minus the published one."""
        return None if self.value is None or self.published is None else self.value - self.published


def score(
    results: Results,
    experiment: Experiment,
    split: str,
    unit: str,
    numbers: Sequence[Number],
    substitute: bool,
) -> Score:
    """The score of an experiment on a split, in `unit`."""
    attempts = results.of(experiment.run)
    found = [(attempt, _value(attempt, split, unit)) for attempt in attempts]
    done = [attempt for attempt, pair in found if pair]
    values = [pair[0] for _, pair in found if pair]
    error, over, n = None, "", len(values)
    if n > 1:
        error, over = stdev(values) / math.sqrt(n), "seeds"
    elif n == 1:
        error, record = next(pair[1] for _, pair in found if pair), part(done[0].result("evaluate"), split)
        recordings = record.get("recordings")
        over, n = "clips", int(number(record.get("clips")) or 0)
        if isinstance(recordings, list):
            over, n = "recordings", len(set(map(number, recordings)))
    requested = {*results.requested.get(experiment.name, ()), *results.requested.get(experiment.run, ())}
    total = max(1, len(attempts), len(requested))
    theirs = next((n for n in numbers if n.experiment == experiment.name and n.split == split), None)
    doubt = f"if in {unit.split()[0]}" if theirs and theirs.unit != unit else theirs.doubt if theirs else ""
    return Score(
        experiment=experiment.name,
        run=experiment.run,
        title=experiment.marked_title,
        value=fmean(values) if values else None,
        error=error,
        over=over,
        n=n,
        seeds=(len(values), total),
        badge=badge([(attempt, experiment) for attempt in done], substitute),
        problems=_problems([attempt for attempt in attempts if attempt not in done], len(done), total),
        published=theirs.value if theirs else None,
        doubt="unverified" if theirs and theirs.certainty == "memory" else doubt,
        extent=_extent(done),
        mark=experiment.mark,
        basis=experiment.basis,
    )


def _value(attempt: Attempt, split: str, unit: str) -> tuple[float, float | None] | None:
    """The score of an attempt and its standard error over recordings or clips, or None."""
    found = part(attempt.result("evaluate"), split)
    bits, error = number(found.get("score")), number(found.get("standard_error"))
    if bits is None or attempt.why_missing("evaluate"):
        return None
    if unit == BITS:
        return bits, error
    return bits * math.log(2), None if error is None else error * math.log(2)


def badge(attempts: Sequence[tuple[Attempt, Experiment]], substitute: bool) -> str:
    """The scale of these attempts at experiments, or another difference from the paper's.

    It is empty only for the authors' hyper-parameters, trained for their time on their data; `substitute` is
    True if the data are not the paper's.
    """
    departures = list(filter(None, dict.fromkeys(_departure(*attempt) for attempt in attempts)))
    return ", ".join(departures or ["other data"] * bool(attempts and substitute))


def _departure(attempt: Attempt, experiment: Experiment) -> str:
    """The difference of a training from the paper's in scale, time or hyper-parameters."""
    if attempt.planned_scale != PAPER:
        return attempt.scale or "scale unknown"
    if not _is_best(attempt, experiment):
        return "other hyper-parameters"
    return attempt.scale if attempt.scale != PAPER else ""


def _is_best(attempt: Attempt, experiment: Experiment) -> bool:
    """True if a training had the authors' best hyper-parameters with the experiment's flags."""
    settings = attempt.settings
    if settings.get("family") != experiment.family:
        return False
    flags = {name: value for name, value in experiment.flags.items() if name != "learning_rate"}
    moments = {"mean": None, "std": None}  # of the data, with which real-valued models normalise
    best = asdict(presets.preset(experiment.family, "best", flags)) | moments
    expected = json.loads(json.dumps(best))
    actual = {"rate": SAMPLE_RATE, **part(settings, "hyperparameters"), **moments}
    own, paper = stored_schedule(settings), attempt.paper
    rates, updates = {name: getattr(paper, name) for name in RATES}, number(own.get("max_iters"))
    if paper.later_from and paper.max_iters and updates:  # the same part of another number of updates
        rates["later_from"] = scaled_later_from(paper.later_from, paper.max_iters, int(updates))
    return actual == expected and all(own.get(name) == rate for name, rate in rates.items())


def _extent(attempts: Sequence[Attempt]) -> str:
    """Updates, epochs and hours of trainings at the paper's scale, done and planned."""
    own = [attempt for attempt in attempts if attempt.planned_scale == PAPER]
    trained = [attempt.result("train") for attempt in own]
    updates, hours = (own[0].paper.max_iters, own[0].paper.max_minutes) if own else (None, None)
    counts = []
    for name, of, unit, factor in (
        ("iterations", f" of {updates:,}" if updates else "", "updates", 1),
        ("epochs", "", "epochs", 1),
        ("train_seconds", f" of {hours / 60:g}" if hours else "", "h", 3600),
    ):
        if values := [
            value / factor for result in trained if (value := number(result.get(name))) is not None
        ]:
            spec = ",.0f" if factor == 1 else ".3g"
            limits = dict.fromkeys(format(value, spec) for value in (min(values), max(values)))
            unit = "epoch" if unit == "epochs" and max(values) == 1 else unit
            counts.append(f"{' to '.join(limits)}{of} {unit}")
    return ", ".join(counts)


def _problems(unscored: Sequence[Attempt], done: int, total: int) -> tuple[str, ...]:
    """Reasons why attempts have no score, and the number of seeds, of `total`, without an attempt."""
    missing = total - len(unscored) - done
    problems = [
        (f"seed {attempt.seed}: " if total > 1 else "")
        + (attempt.why_missing("evaluate") or "scored, but the score is NaN or infinite")
        for attempt in unscored
    ]
    if missing:
        problems.append("not run" if missing == total else f"{missing} of {total} seeds: not run")
    return tuple(problems)


def is_substitute(results: Results, name: str) -> bool:
    """True unless the data set `name` has the size and statistics of the paper's."""
    result = part(results.data.get(name, {}), "result")
    authors = authors_of(name)
    if _about(results, name) or authors is None:
        return True  # the authors' recordings of other sets are unknown
    _, std, sizes = authors
    clips = [number(part(result, "splits", split).get("clips")) for split in SPLITS]
    ours, theirs = [number(result.get("train_std")), *clips], [std, *sizes]
    pairs = zip(ours, theirs, strict=True)
    return not all(n is not None and abs(n - expected) <= CLOSE * expected for n, expected in pairs)


def title_of(name: str) -> str:
    """The title of a data set."""
    return SETS.get(name, name.capitalize())


def authors_of(name: str) -> tuple[float, float, tuple[int, int, int]] | None:
    """Mean, standard deviation and clips of the authors' files, in which the clips of Music may overlap."""
    return AUTHORS.get(name.removesuffix("_overlap"))


def describe_substitute(results: Results, name: str) -> str:
    """A description of the data that replace the paper's; empty if none do."""
    record = results.data.get(name, {})
    if not part(record, "result") or not is_substitute(results, name):
        return ""
    about = _about(results, name)
    if not about and record.get("scale") == "smoke" and name not in results.given:
        about = "synthetic demo set"
    elif not about and authors_of(name):
        about = "size and statistics are not the authors'"
    seconds = sum(number(part(record, "result", "splits", split).get("seconds")) or 0 for split in SPLITS)
    return f"{about or "the authors' recordings are not public"}; {hours(seconds)}"


def _about(results: Results, name: str) -> str:
    """The description of a set given with the last command, else when the set was made."""
    return results.about.get(name) or text(part(results.data.get(name, {}), "result").get("about"))


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
    def marked(self) -> str:
        """Whose the marked experiments are, which rest on our choices, and which choices."""
        groups: dict[str, dict[str, None]] = {}
        for title, row in self.rows:
            whole = len(self.rows) > 1 and len({score.basis for score in row}) == 1
            for column, one in zip(self.layout.columns, row, strict=True):
                if one.mark:
                    name = title if whole else f"{title} ({column.title})"
                    groups.setdefault(one.basis.partition(": ")[2], {})[name] = None
        return "; ".join(f"{', '.join(titles)}: {what}" for what, titles in groups.items())

    @property
    def note(self) -> str:
        """The meaning of ±."""
        meanings = []
        if any(score.over == "seeds" for score in self.shown):
            meanings.append("means over seeds ± their standard error over seeds")
        for over in ("recordings", "clips"):
            if counts := sorted({score.n for score in self.shown if score.over == over}):
                numbers = " to ".join(f"{n:,}" for n in dict.fromkeys([counts[0], counts[-1]]))
                meanings.append(f"one seed ± the standard error over {over} ({numbers}), not over seeds")
        return f"Ours: {'; or '.join(meanings)}." if meanings else "None of these has been scored yet."


def layouts(experiments: Mapping[str, Experiment]) -> list[Layout]:
    """The four tables."""

    def rows(*names: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
        return [(experiments[own[0]].title, own) for own in names]

    return [
        Layout(
            "table1",
            "Table 1: test NLL, bits per sample",
            [Column(title, "test", BITS, name) for name, title in SETS.items()],
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
