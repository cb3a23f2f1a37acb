"""The report's section on information retention."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samplernn_theano.reproduction import charts
from samplernn_theano.reproduction.document import Block, Entry, Line, Paragraph, Span, Table, line
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.reproduction.measured import badge
from samplernn_theano.reproduction.published import Number
from samplernn_theano.reproduction.records import Attempt, Results, number, part
from samplernn_theano.reproduction.substitutes import is_substitute

EMPTY: list[Entry] = [[line("")]] * 4
"""The columns of an attempt without a result."""


def blocks(
    results: Results, experiments: Mapping[str, Experiment], numbers: Sequence[Number], report: Path
) -> list[Block]:
    """Shares of clips that keep the voice, for each model and seed, as a table and a chart."""
    rows: list[list[Entry]] = []
    drawn: list[tuple[str, float, float, float]] = []
    for experiment in experiments.values():
        if not experiment.retention:
            continue
        substitute = is_substitute(results, experiment.data)
        theirs = next((n for n in numbers if n.experiment == experiment.name and n.unit == "%"), None)
        published = line(
            Span("not published" if theirs is None else f"published {theirs.value:g} %", "quiet")
        )
        attempts: Sequence[Attempt | None] = results.of(experiment.run) or [None]
        for attempt in attempts:
            title = experiment.title
            if attempt is not None and len(attempts) > 1:
                title += f", seed {attempt.seed}"
            if attempt is None:
                rows.append([[line(title)], [line("not run"), published], *EMPTY])
                continue
            scale = badge([(attempt, experiment)], substitute)
            rows.append([[line(title)], *_retained(attempt, published, scale)])
            if interval := _interval(attempt.result("retention")):
                drawn.append((f"{title} ({scale})" if scale else title, *interval))
    head = ["", "kept", "clips", "cannot tell", "by chance", "classifier on the test set"]
    found: list[Block] = [
        Paragraph(
            line(
                "A model trained on two voices generates 2 s, is fed 1 s of silence, and generates 2 s more. "
                "Kept: the share of clips with the same voice before and after. A model whose receptive "
                "field is shorter than the silence is at chance level: 50 % if both voices are equally "
                "frequent."
            )
        ),
        Table("Information retention", [[line(name)] for name in head], rows),
    ]
    if drawn:
        found.append(charts.retention(report / "pictures" / "retention.png", drawn))
    return found


def _interval(found: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The share and the limits of its interval."""
    share, low, high = (number(found.get(name)) for name in ("share", "low", "high"))
    return None if share is None or low is None or high is None else (share, low, high)


def _retained(attempt: Attempt, published: Line, scale: str) -> list[Entry]:
    """The columns of an attempt."""
    if reason := attempt.why_missing("retention"):
        return [[line(Span(reason, "bad" if "failed" in reason else "")), published], *EMPTY]
    found = attempt.result("retention")
    badges = [Span(" "), Span(scale, "badge")] if scale else []
    ours = [*_kept(found), *badges]
    accuracy = number(part(found, "classifier", "test").get("accuracy"))
    rest: list[str] = [
        _count(found.get("clips")),
        _count(found.get("cannot_tell")),
        _percent(number(found.get("chance"))),
        _percent(accuracy),
    ]
    return [[ours, published], *([line(text)] for text in rest)]


def _kept(found: Mapping[str, Any]) -> Line:
    """The share with its interval, or the reason why there is none."""
    if interval := _interval(found):
        share, low, high = interval
        return line(Span(f"{100 * share:.0f} %", "strong"), f" ({100 * low:.0f} to {100 * high:.0f})")
    clips = number(found.get("clips"))
    if clips and clips == number(found.get("cannot_tell")):
        return line(f"no clip can be classified: {clips:,.0f} of {clips:,.0f} without voice")
    return line("the record has no share")


def _count(value: Any) -> str:
    found = number(value)
    return "" if found is None else f"{found:,.0f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"
