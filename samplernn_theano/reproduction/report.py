"""The report of a workflow: one HTML page and the same as Markdown, with pictures and short sounds.

OUT/report/index.html   OUT/report/report.md   OUT/report/pictures/   OUT/report/sounds/

It can be written at any time and shows which steps have not run, failed or are running.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from samplernn_theano.reproduction import (
    charts,
    conclusions,
    html,
    markdown,
    records,
    report_audio,
    report_details,
    report_figures,
    report_listening,
    report_retention,
    tables,
)
from samplernn_theano.reproduction.differences import Difference, read_differences
from samplernn_theano.reproduction.document import (
    Banner,
    Block,
    Document,
    Heading,
    Items,
    Paragraph,
    Picture,
    Sounds,
    line,
)
from samplernn_theano.reproduction.experiments import Experiment, read_experiments, read_listening_tests
from samplernn_theano.reproduction.measured import Filled
from samplernn_theano.reproduction.published import read_numbers
from samplernn_theano.reproduction.records import Results
from samplernn_theano.reproduction.substitutes import describe_substitute
from samplernn_theano.utils.files import write_text

OVERLAP = (
    "Overlap: when the paper was written, the authors' script cut clips of 8 s that overlap by "
    "7 s and shuffled them before the split, so test clips share audio with training clips. Whether the "
    "published numbers were made with such files is unknown. Our data sets have no overlap by "
    "default; expect worse scores than the published ones for this reason alone."
)


def write(out: Path, files: Path, sounds: int = 2, seconds: float = 5.0) -> Path:
    """Write the report on the workflow in `out` to OUT/report, and return the path of its page.

    Pictures and sounds of earlier reports that this one does not show are removed.

    Parameters
    ----------
    out : Path
        Folder of the workflow; only its folder `report` is written.
    files : Path
        Experiments, scales, published numbers and differences; see `paths.FILES`.
    sounds : int
        Maximum number per experiment.
    seconds : float
        Maximum length of a sound.

    Raises
    ------
    ReproductionError
        If one of `files` is missing or malformed.
    OutputError
        If the report cannot be written.
    """
    folder = out / "report"
    experiments = tables.ordered(read_experiments(files))
    tests = read_listening_tests(files)
    results = records.read(out, [*experiments, *tests])
    numbers = read_numbers(files)
    differences = read_differences(files)
    filled = [tables.fill(layout, results, experiments, numbers) for layout in tables.layouts(experiments)]
    substitutes = {name: describe_substitute(results, name, files) for name in results.data}
    blocks = [
        *_head(results, experiments, filled),
        *_tables(filled, results, experiments, differences, files, folder),
        *report_details.heading(
            "Information retention", report_retention.blocks(results, experiments, numbers, folder)
        ),
        *report_details.heading(
            "Listening tests", report_listening.blocks(results, tests, experiments, folder)
        ),
        *report_details.heading("Training", _curves(results, experiments, folder)),
        *report_details.heading("Figures 1 and 2", report_figures.blocks(results, experiments, folder)),
        *report_details.heading("Sounds", _sounds(results, experiments, folder, sounds, seconds)),
        *report_details.heading("Machines", report_details.machines(results)),
        *report_details.heading("Data", report_details.data(results, substitutes)),
        *report_details.heading(
            "Differences from the paper", report_details.differences(differences, results, experiments)
        ),
        *report_details.heading("Commands", report_details.commands(results)),
    ]
    date = datetime.now(UTC).isoformat(timespec="minutes")
    document = Document(f"SampleRNN, reproduced: {results.scale or 'unknown'} scale", date, blocks)
    write_text(folder / "report.md", markdown.render(document))
    write_text(folder / "index.html", html.render(document))
    _remove_others(folder, blocks)
    return folder / "index.html"


def _head(results: Results, experiments: Mapping[str, Experiment], filled: Sequence[Filled]) -> list[Block]:
    title, meaning = conclusions.banner(results.scale)
    requested = [name for name in results.experiments if name in experiments] or list(experiments)
    reasons = {n: [a.why_missing("evaluate") for a in results.of(experiments[n].run)] for n in requested}
    done = sum(not all(found) for found in reasons.values())
    failed = sum(any("failed" in reason for reason in found) for found in reasons.values())
    seeds = f", seeds {', '.join(map(str, results.seeds))}" if len(results.seeds) > 1 else ""
    progress = f"{done} of {len(requested)} requested experiments are done{seeds}"
    progress += f"; {failed} failed." if failed else "."
    return [
        Banner(title, line(meaning)),
        Paragraph(line(progress)),
        Paragraph(line(OVERLAP)),
        Heading(2, "What can be concluded"),
        Items(conclusions.statements(results, filled)),
    ]


def _tables(
    filled: Sequence[Filled],
    results: Results,
    experiments: Mapping[str, Experiment],
    differences: Sequence[Difference],
    files: Path,
    folder: Path,
) -> list[Block]:
    blocks: list[Block] = [Heading(2, "Tables")]
    for table in filled:
        blocks += tables.blocks(table, results, experiments, differences, files)
        name = table.layout.name
        if name == "table3":
            blocks.append(charts.lengths(folder / "pictures" / "table3.png", table))
        else:
            blocks.append(charts.table(folder / "pictures" / f"{name}.png", table))
    return blocks


def _curves(results: Results, experiments: Mapping[str, Experiment], folder: Path) -> list[Block]:
    """Learning curves for each table and data set."""
    pictures: list[Block] = []
    for group, names in tables.groups(experiments).items():
        runs = {experiments[name].title: results.of(experiments[name].run) for name in names}
        path = folder / "pictures" / f"curves_{group.replace('/', '_')}.png"
        title = group.replace("table", "Table ").replace("/", ", ").replace("_", " ")
        if picture := charts.curves(path, title, runs):
            pictures.append(picture)
    return pictures or [Paragraph(line("No model has been evaluated during training yet."))]


def _sounds(
    results: Results, experiments: Mapping[str, Experiment], folder: Path, n: int, seconds: float
) -> list[Block]:
    """For each data set, a clip of it and sounds generated by each of its experiments."""
    blocks: list[Block] = []
    for name in dict.fromkeys(experiment.data for experiment in experiments.values()):
        shown = []
        for experiment in experiments.values():
            if experiment.data == name and experiment.run == experiment.name:
                attempt = next((a for a in results.of(experiment.name) if a.sounds), None)
                title = f"{experiment.name} ({(attempt.scale or 'scale unknown') if attempt else ''})"
                shown += report_audio.of_attempt(attempt, folder, title, n, seconds) if attempt else []
        if shown:
            blocks += [
                Heading(3, f"Sounds: {name}"),
                Sounds([*report_audio.of_data(results, name, folder, seconds), *shown]),
            ]
    return blocks or [Paragraph(line("Nothing has been generated yet."))]


def _remove_others(folder: Path, blocks: Sequence[Block]) -> None:
    """Delete pictures and sounds that are not in `blocks`."""
    shown = {block.file for block in blocks if isinstance(block, Picture)}
    for block in blocks:
        if isinstance(block, Sounds):
            shown |= {name for sound in block.sounds for name in (sound.file, sound.picture)}
    for path in [*folder.glob("pictures/*.png"), *folder.glob("sounds/*.png"), *folder.glob("sounds/*.ogg")]:
        if path.relative_to(folder).as_posix() not in shown:
            path.unlink(missing_ok=True)
