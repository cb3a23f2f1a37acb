"""The tour: a new kernel executes it, and the outputs in the repository are those of its code."""

import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: NotebookNode) -> list[str]:
    """What the outputs of a cell are, in order: stdout, stderr, text/plain, image/png or text/html."""
    names = [out.name if out.output_type == "stream" else min(out.data) for out in cell.outputs]
    return [name for name, _ in groupby(names)]


def lines(cell: NotebookNode) -> set[str]:
    """The lines of the outputs of a cell, in which # stands for a number."""
    texts = [out.text if out.output_type == "stream" else out.data["text/plain"] for out in cell.outputs]
    return set(re.sub(r"\d[\d.,:]*(e[+-]\d+)?", "#", "\n".join(texts)).splitlines())


@pytest.fixture
def committed() -> NotebookNode:
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder next to the tests, as `docs` is."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


def test_the_tour_was_executed_from_top_to_bottom_and_is_clean(committed) -> None:
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    text = TOUR.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/tmp/|/root|/work/|Warning|\\u001b|\\r", text)
    assert len(text) < 1_500_000
    for cell in cells:
        for out in cell.outputs:
            assert out.output_type != "error"
            assert out.get("name") != "stderr" or re.fullmatch(r"Compiling .+\n", out.text)


def test_a_new_kernel_executes_the_tour(committed, execute, monkeypatch) -> None:
    monkeypatch.setenv("SAMPLERNN_TOUR_SECONDS", "1")
    before = [(kinds(cell), lines(cell)) for cell in code_cells(committed)]
    done = code_cells(execute(committed))
    for cell, (kinds_before, lines_before) in zip(done, before, strict=True):
        assert kinds(cell) == kinds_before and lines(cell) <= lines_before, cell.source
    count = Counter(kind for cell in done for kind in kinds(cell))
    assert (count["image/png"], count["text/html"]) == (5, 3)  # pictures and sounds
    text = "".join(out.text for cell in done for out in cell.outputs if out.output_type == "stream")
    assert re.search(r"demo/run: \d\.\d{3} bits per sample over 8 s\npretrained/\w+: \d\.\d{3} bits", text)
    assert "\n4.9334 bits per sample\n" in text  # as the original computed it
    (largest,) = re.findall(r"all 40 parameters are within (\S+) of the original's", text)
    assert float(largest) < 1e-5
