"""The report of a workflow: one HTML page and the same as Markdown, with pictures and short sounds.

OUT/report/index.html   OUT/report/report.md   OUT/report/pictures/   OUT/report/sounds/

It can be written at any moment: what was not run, failed or still runs is said to be so.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from samplernn_theano.reproduction import cells as cells_
from samplernn_theano.reproduction import (
    charts,
    conclusions,
    details,
    experiments,
    illustrations,
    markdown,
    origin,
    page,
    sounding,
    tables,
)
from samplernn_theano.reproduction import deviations as deviations_
from samplernn_theano.reproduction import published as published_
from samplernn_theano.reproduction import results as results_
from samplernn_theano.reproduction.cells import Cell
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
from samplernn_theano.reproduction.results import Results
from samplernn_theano.reproduction.scores import Filled
from samplernn_theano.utils.files import write_text

OVERLAP = (
    "The overlap caveat: when the paper was written, the authors' script cut clips of 8 s that overlap by "
    "7 s and shuffled them before the split, so test clips share sound with training clips. Whether the "
    "published numbers rest on such files cannot be known without them. Our scripts cut without overlap by "
    "default; expect worse scores than the published ones for that alone."
)


def write(out: Path, files: Path, sounds: int = 2, seconds: float = 5.0) -> Path:
    """Write the report on the workflow in `out` to OUT/report, and return its page.

    Files of an earlier report that this one does not show are removed.

    Parameters
    ----------
    out : Path
        Folder of the workflow; nothing else in it is written.
    files : Path
        The folder `reproduce`.
    sounds : int
        Shown of each cell at most.
    seconds : float
        Of each sound at most.

    Raises
    ------
    ReproductionError
        If a file of `reproduce` is missing or malformed.
    OutputError
        If something cannot be written.
    """
    folder = out / "report"
    cells = tables.ordered(cells_.read(files))
    tests = cells_.listening_tests(files)
    results = results_.read(out, [*cells, *tests])
    numbers = published_.numbers(files)
    deviations = deviations_.deviations(files)
    filled = [tables.fill(layout, results, cells, numbers) for layout in tables.layouts(cells)]
    where = {name: origin.describe(results, name, files) for name in results.data}
    blocks = [
        *_head(results, cells, filled),
        *_tables(filled, results, cells, deviations, files, folder),
        *details.heading("Information retention", experiments.retention(results, cells, numbers, folder)),
        *details.heading("Listening tests", experiments.listening(results, tests, cells, folder)),
        *details.heading("Training", _curves(results, cells, folder)),
        *details.heading("Figures 1 and 2", illustrations.drawn(results, cells, folder)),
        *details.heading("Sounds", _sounds(results, cells, folder, sounds, seconds)),
        *details.heading("Machines", details.machines(results)),
        *details.heading("Data", details.data(results, where)),
        *details.heading("Deviations", details.deviations(deviations, results, cells)),
        *details.heading("Commands", details.commands(results)),
    ]
    date = datetime.now(UTC).isoformat(timespec="minutes")
    document = Document(f"SampleRNN, reproduced: {results.scale or 'unknown'} scale", date, blocks)
    write_text(folder / "report.md", markdown.render(document))
    write_text(folder / "index.html", page.render(document))
    _remove_others(folder, blocks)
    return folder / "index.html"


def _head(results: Results, cells: Mapping[str, Cell], filled: Sequence[Filled]) -> list[Block]:
    word, meaning = conclusions.banner(results.scale)
    asked = [name for name in results.cells if name in cells] or list(cells)
    done = [n for n in asked if any(not a.standing("evaluate") for a in results.of(cells[n].run))]
    failed = [n for n in asked if any("failed" in a.standing("evaluate") for a in results.of(cells[n].run))]
    seeds = f", seeds {', '.join(map(str, results.seeds))}" if len(results.seeds) > 1 else ""
    told = f"{len(done)} of {len(asked)} cells asked for are done{seeds}"
    told += f"; {len(failed)} failed." if failed else "."
    return [
        Banner(word, line(meaning)),
        Paragraph(line(told)),
        Paragraph(line(OVERLAP)),
        Heading(2, "What can be concluded"),
        Items(conclusions.statements(results, filled)),
    ]


def _tables(
    filled: Sequence[Filled],
    results: Results,
    cells: Mapping[str, Cell],
    deviations: Sequence[deviations_.Deviation],
    files: Path,
    folder: Path,
) -> list[Block]:
    told: list[Block] = [Heading(2, "Tables")]
    for table in filled:
        told += tables.blocks(table, results, cells, deviations, files)
        name = table.layout.name
        if name == "table3":
            told.append(charts.lengths(folder / "pictures" / "table3.png", table))
        else:
            told.append(charts.table(folder / "pictures" / f"{name}.png", table))
    return told


def _curves(results: Results, cells: Mapping[str, Cell], folder: Path) -> list[Block]:
    """A picture for each table and set."""
    told: list[Block] = []
    for group, names in tables.groups(cells).items():
        runs = {cells[name].title: results.of(cells[name].run) for name in names}
        path = folder / "pictures" / f"curves_{group.replace('/', '_')}.png"
        title = group.replace("table", "Table ").replace("/", ", ").replace("_", " ")
        if picture := charts.curves(path, title, runs):
            told.append(picture)
    return told or [Paragraph(line("No model has been looked at in its training yet."))]


def _sounds(
    results: Results, cells: Mapping[str, Cell], folder: Path, most: int, seconds: float
) -> list[Block]:
    """For each set, a clip of the data and then the sounds of each cell that was run on it."""
    told: list[Block] = []
    for name in dict.fromkeys(cell.data for cell in cells.values()):
        shown = []
        for cell in cells.values():
            if cell.data == name and cell.run == cell.name:
                attempt = next((a for a in results.of(cell.name) if a.sounds), None)
                title = f"{cell.name} ({(attempt.scale or 'scale unknown') if attempt else ''})"
                shown += sounding.of_attempt(attempt, folder, title, most, seconds) if attempt else []
        if shown:
            told += [
                Heading(3, f"Sounds: {name}"),
                Sounds([*sounding.of_data(results, name, folder, seconds), *shown]),
            ]
    return told or [Paragraph(line("Nothing has been generated yet."))]


def _remove_others(folder: Path, blocks: Sequence[Block]) -> None:
    """Delete pictures and sounds of earlier reports."""
    shown = {block.file for block in blocks if isinstance(block, Picture)}
    for block in blocks:
        if isinstance(block, Sounds):
            shown |= {name for sound in block.sounds for name in (sound.file, sound.picture)}
    for path in [*folder.glob("pictures/*.png"), *folder.glob("sounds/*.png"), *folder.glob("sounds/*.ogg")]:
        if path.relative_to(folder).as_posix() not in shown:
            path.unlink(missing_ok=True)
