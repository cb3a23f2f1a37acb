"""The report of a workflow: one HTML page and the same as Markdown, with pictures and short sounds.

OUT/report/index.html   OUT/report/report.md   OUT/report/pictures/   OUT/report/sounds/
OUT/report/results.json   the scores of its tables

It can be written at any time. Its text is in files/report/report.jinja, the parts of each format
in html.jinja and markdown.jinja.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from samplernn_theano.reproduction import (
    charts,
    comparisons,
    conclusions,
    equal_budgets,
    records,
    report_audio,
    report_sections,
    results_file,
    scales,
    tables,
)
from samplernn_theano.reproduction.experiments import (
    FILES,
    OURS,
    OURS_MEANS,
    Experiment,
    read_experiments,
    read_listening_tests,
)
from samplernn_theano.reproduction.published import read_differences, read_numbers
from samplernn_theano.reproduction.records import Attempt, Results
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.text import escape_control_characters, format_duration

SPECIAL = re.compile(r"([\\`*_\[\]~|#])")  # characters with a meaning in Markdown
MODEL = "three_tier.svg"


def write(out: Path) -> Path:
    """Write the report on the workflow in `out` to OUT/report, and return the path of its page."""
    folder = out / "report"
    experiments = tables.ordered(read_experiments())
    tests = read_listening_tests()
    results = records.read(out, [*experiments, *tests], scales.schedules(records.PAPER))
    numbers, known = read_numbers(), read_differences()
    layouts = tables.layouts(experiments)
    filled = [tables.fill(layout, results, experiments, numbers, known) for layout in layouts]
    write_text(folder / "pictures" / MODEL, (FILES / MODEL).read_text(encoding="utf-8"))
    compared = {table.layout.name: comparisons.of_table(table, results) for table in filled}
    equal = [column for table in filled for column in equal_budgets.of_table(table, results)]
    both = [one for column in equal for one in (column.updates, column.time) if one]
    content = {
        "title": f"SampleRNN, reproduced: {results.scale or 'unknown'} scale",
        "made": datetime.now(UTC),
        "ours": f"{OURS} {OURS_MEANS}",
        "banner": conclusions.banner(results.scale),
        "progress": _progress(results, experiments),
        "conclusions": conclusions.statements(
            results, filled, [*chain.from_iterable(compared.values()), *both], experiments
        ),
        "tables": [(table, charts.table(folder, table), compared[table.layout.name]) for table in filled],
        "equal": [(column, charts.equal_budgets(folder, column)) for column in equal],
        "substitutes": {name: tables.describe_substitute(results, name) for name in results.data},
        "retention": report_sections.retention(results, experiments, numbers, folder),
        "listening": [report_sections.listening(results, t, experiments, folder) for t in tests.values()],
        "curves": _curves(results, experiments, folder),
        "model": charts.Picture(f"pictures/{MODEL}", "Figure 1: the three-tier model, unrolled", 960, 500),
        "waveforms": charts.waveforms(folder, report_audio.pairs(results, experiments)),
        "sounds": _sounds(results, experiments, folder),
        **report_sections.trainings(results),
        "data": report_sections.data(results),
        "differences": report_sections.differences(known, results, experiments),
        "commands": report_sections.commands(results),
    }
    write_text(folder / "report.md", _render("markdown", content))
    lines = map(json.dumps, results_file.entries(filled, results))
    write_text(folder / "results.json", "[\n" + ",\n".join(lines) + "\n]\n")
    page = _render("html", content)
    write_text(folder / "index.html", page)
    for path in [*folder.glob("pictures/*.png"), *folder.glob("sounds/*.png"), *folder.glob("sounds/*.ogg")]:
        if quote(path.relative_to(folder).as_posix()) not in page:  # of an earlier report
            path.unlink(missing_ok=True)
    return folder / "index.html"


def _render(kind: str, content: Mapping[str, Any]) -> str:
    """The report as html or markdown. Whatever is inserted is escaped."""
    environment = Environment(
        loader=FileSystemLoader(FILES / "report"),
        autoescape=True,
        finalize={"html": _html, "markdown": _markdown}[kind],
        undefined=StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "anchor": lambda title: "-".join(re.findall(r"[^\W_]+", title.lower())),
        "duration": lambda value: "" if records.number(value) is None else format_duration(value),
        "fence": _fence,
        "number": _number,
        "percent": lambda value: _number(value, ".0f", 100, " %"),
        "set_title": tables.title_of,
        "sections": lambda html: [map(Markup, two) for two in re.findall(r'<h2 id="(.*)">(.*)</h2>', html)],
        "url": lambda address: Markup(quote(address)),
        "verbatim": lambda line: Markup(escape_control_characters(line)),
        "votes": report_sections.votes,
    }
    text = environment.get_template("report.jinja").render(content, format=kind)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _html(value: Any) -> Any:
    """A value to be inserted, before Jinja escapes it."""
    return value if isinstance(value, Markup) else escape_control_characters(str(value))


def _markdown(value: Any) -> Markup:
    if isinstance(value, Markup):
        return value
    text = escape_control_characters(str(value)).replace("&", "&amp;").replace("<", "&lt;")
    return Markup(SPECIAL.sub(r"\\\1", text.replace(">", "&gt;")))


def _fence(lines: Sequence[str]) -> Markup:
    """A fence of code in Markdown, longer than any in the code."""
    longest = max(map(len, re.findall("`+", "\n".join(lines))), default=0)
    return Markup("`" * max(3, longest + 1))


def _number(value: Any, spec: str = "g", factor: float = 1, unit: str = "") -> str:
    """Format a number of a record; "" if it is none."""
    found = records.number(value)
    return "" if found is None else format(found * factor, spec) + unit


def _progress(results: Results, experiments: Mapping[str, Experiment]) -> str:
    """Number of experiments that are done or have failed."""
    requested = [name for name in results.requested if name in experiments] or list(experiments)
    reasons = {n: [a.why_missing("evaluate") for a in results.of(experiments[n].run)] for n in requested}
    done = sum(not all(found) for found in reasons.values())
    failed = sum(any("failed" in reason for reason in found) for found in reasons.values())
    seeds = sorted({seed for own in results.requested.values() for seed in own})
    text = f"{done} of {len(requested)} requested experiments are done"
    text += f", seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    return text + (f"; {failed} failed." if failed else ".")


def _curves(results: Results, experiments: Mapping[str, Experiment], folder: Path) -> list[charts.Picture]:
    """Learning curves for each table and data set."""
    groups: dict[str, dict[str, Sequence[Attempt]]] = {}
    for experiment in experiments.values():
        group = groups.setdefault(experiment.name.rpartition("/")[0], {})
        group[experiment.marked_title] = results.of(experiment.run)
    pictures = []
    for name, runs in groups.items():
        path = folder / "pictures" / f"curves_{name.replace('/', '_')}.png"
        title = name.replace("table", "Table ").replace("/", ", ").replace("_", " ")
        pictures.append(charts.curves(path, title, runs))
    return list(filter(None, pictures))


def _sounds(
    results: Results, experiments: Mapping[str, Experiment], folder: Path
) -> dict[str, list[report_audio.Sound]]:
    """For each data set, a clip of it and sounds generated by each of its experiments."""
    sounds: dict[str, list[report_audio.Sound]] = {}
    for experiment in experiments.values():
        attempt = next((a for a in results.of(experiment.name) if a.sounds), None)
        if attempt and experiment.run == experiment.name:
            sounds.setdefault(experiment.data, []).extend(report_audio.of_attempt(attempt, folder))
    return {
        name: report_audio.of_data(results, name, folder) + sounds[name]
        for name in dict.fromkeys(experiment.data for experiment in experiments.values())
        if sounds.get(name)
    }
