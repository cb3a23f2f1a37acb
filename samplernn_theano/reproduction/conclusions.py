"""Conclusions that the scale and the scores of a report allow."""

from collections.abc import Mapping, Sequence
from itertools import chain

from samplernn_theano.config.hyperparameters import FAMILIES, RealValued
from samplernn_theano.data.manifest import count_of
from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.comparisons import FEWEST, Comparison
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.records import PAPER, Results, number, part
from samplernn_theano.reproduction.tables import Filled, Score, title_of

BASELINES = {
    "unigram": "the distribution of levels",
    "bigram": "that after each level",
    "linear": "linear prediction",
}
MEANINGS = {
    "smoke": "A test that every step runs. The numbers mean nothing.",
    "laptop": "Small models, trained for minutes. Not the paper's experiment, and not its numbers.",
    "study": "Small models on sets that anyone can make, to be compared after equal updates or time. Not "
    "the paper's experiment, and not its numbers.",
    PAPER: "Planned with the authors' hyper-parameters and updates, as far as they are known. Only "
    "numbers without a badge were made with them.",
}


def banner(scale: str) -> tuple[str, str]:
    """The name of a scale and its meaning."""
    unknown = "Not one of the scales that come with the package."
    return f"Scale: {scale or 'unknown'}", MEANINGS.get(scale, unknown)


def statements(
    results: Results,
    tables: Sequence[Filled],
    compared: Sequence[Comparison],
    experiments: Mapping[str, Experiment],
) -> list[str]:
    """Conclusions, a sentence or two each."""
    scores = [score for table in tables for score in table.shown]
    if not scores:
        return ["No model has been scored yet, so there is nothing to conclude."]
    if results.scale == "smoke":
        return [
            "Nothing can be concluded from these numbers: each model was trained for seconds, on synthetic "
            "audio. A number shows only that its steps ran."
        ]
    learned, orders = _learned(results, experiments), _orders(compared)
    return list(filter(None, [*learned, _training_time(results), *orders, _comparison(scores)]))


def _learned(results: Results, experiments: Mapping[str, Experiment]) -> list[str]:
    """How many quantised models of each set are better than simple predictors, by their test scores."""
    found = []
    for name, record in results.data.items():
        own = [e for e in experiments.values() if e.data == name and e.run == e.name]
        quantised = [e for e in own if not issubclass(FAMILIES[e.family], RealValued)]
        attempts = chain.from_iterable(results.of(experiment.name) for experiment in quantised)
        scores = [number(part(attempt.result("evaluate"), "test").get("score")) for attempt in attempts]
        bits = [score for score in scores if score is not None]
        if not bits:
            continue
        known = part(record, "result", "baselines")
        if len(known) < len(BASELINES):
            found.append(
                f"{title_of(name)}: whether the models learned something is unknown, because the record "
                "of the data has no baselines; the same samplernn reproduce again measures them, if it has "
                "the data."
            )
            continue
        counts = ", ".join(
            f"{sum(score < known[key] for score in bits)} below {text} ({known[key]:.3f})"
            for key, text in BASELINES.items()
        )
        found.append(
            f"Learned, {title_of(name)}: of {count_of(len(bits), 'trained model')}, by test NLL, {counts} "
            "bits per sample."
        )
    return found


def _training_time(results: Results) -> str:
    """A warning about trainings shorter than the paper's."""
    attempts = chain.from_iterable(results.attempts.values())
    found = [(a.scale, number(a.result("train").get("train_seconds"))) for a in attempts]
    trained = [(scale, seconds / 60) for scale, seconds in found if seconds is not None]
    minutes = [own for scale, own in trained if scale != PAPER]
    if not minutes:
        return ""
    models = "the models" + " that had less than the paper's time" * (len(minutes) < len(trained))
    if results.scale in scales.names() and scales.read(results.scale).seconds_per_update:
        return (
            f"Cannot: rank {models} by their best checkpoints, for their budgets differ: compare after equal "
            "updates and after equal time. The order holds for models of this size, not for the paper's."
        )
    time = " to ".join(dict.fromkeys(f"{limit:.1f}" for limit in (min(minutes), max(minutes))))
    return (
        f"Cannot: rank {models}. Each was trained for {time} minutes; the order then shows how fast "
        "each learns on this machine at this size, not its final score. Only the order of magnitude is "
        "meaningful."
    )


def _orders(compared: Sequence[Comparison]) -> list[str]:
    """How many pairs of models have the paper's order, clearly or not, and which have not."""
    found: list[str] = []
    for one in compared:
        parts = [_order(one, kind) for kind in ("sound", "seeds")]
        if any(parts):
            where = f"{one.name}, {one.after or 'best checkpoints by validation'}"
            found.append(f"{where}. {' '.join(filter(None, parts))}")
    if found:
        found.append(
            "Clear: p below 5 % in a t-test of paired differences, with Holm's correction over the pairs of "
            "a column. Over recordings (or clips, where recordings are unknown): of these trained models, on "
            "new sound. Over seeds: of the models trained again, on these clips. a < b: the paper's order."
        )
    if any(pair.sound is None for one in compared for pair in one.pairs):
        found.append(
            "Evaluations by an earlier version have no scores of clips, so their models are not compared on "
            "new sound; the same samplernn reproduce again repeats these evaluations, not the trainings."
        )
    for caution in dict.fromkeys(one.caution for one in compared if one.caution):
        names = dict.fromkeys(one.name for one in compared if one.caution == caution)
        found.append(f"New sound, {'; '.join(names)}: {caution}")
    few = [test for one in compared for pair in one.pairs if (test := pair.sound) and test.p is None]
    if few:
        found.append(f"Fewer than {FEWEST[few[0].over]} {few[0].over} of a split are not tested.")
    return found


def _order(compared: Comparison, kind: str) -> str:
    """A sentence on the pairs that the paper orders, by their tests of a kind; empty without any."""
    tests = [(pair, getattr(pair, kind)) for pair in compared.pairs if pair.published]
    tested = [(pair, test) for pair, test in tests if test and test.p is not None]
    if not tested:
        return ""
    groups: dict[str, list[str]] = {}
    for pair, test in tested:
        groups.setdefault(pair.agreement(test), []).append(f"{pair.first} < {pair.second}")
    agreed = len(groups.pop("as in the paper, clear", []))
    others = [f"; {title}: {', '.join(pairs)}" for title, pairs in groups.items()]
    over = f"{min(test.n for _, test in tested)} {tested[0][1].over}"
    return f"Over {over}: {agreed} of {len(tested)} pairs as in the paper, clear{''.join(others)}."


def _comparison(scores: Sequence[Score]) -> str:
    badged = sum(bool(score.badge) for score in scores)
    if badged == len(scores):
        return (
            "Cannot: compare with the published numbers. They are shown in grey for orientation; "
            "differences from them are neither success nor failure."
        )
    exception = f" {badged} of {len(scores)} numbers have a badge: they cannot be compared." if badged else ""
    return (
        "Can: compare with the published numbers, given the errors and the differences below, "
        f"above all the overlap of clips.{exception}"
    )
