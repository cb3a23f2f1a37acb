"""The site of the documentation is built without a warning, whole, and asks no other host for anything."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import samplernn_theano

pytest.importorskip("zensical", reason="the extra docs is not installed")

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "audio": "src", "source": "src"}


class Page(HTMLParser):
    """The ids of a page, its links, and what a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if address := values.get(LOADED.get(tag, "")):
            self.loaded.append(address)


@pytest.fixture(scope="module")
def output() -> str:
    command = [sys.executable, str(ROOT / "docs" / "build.py")]
    built = subprocess.run(command, capture_output=True, text=True)
    text = re.sub(r"\x1b\[[\d;]*m", "", built.stdout + built.stderr)  # without colours
    assert built.returncode == 0, text
    return text


@pytest.fixture(scope="module")
def pages(output: str) -> dict[Path, Page]:
    return {path: Page(path) for path in SITE.rglob("*.html") if path.name != "404.html"}


def test_the_build_has_no_warning(output: str) -> None:
    # Those of mkdocstrings and griffe do not count as issues.
    lines = [line for line in output.splitlines() if not re.match(r"Build (started|finished)", line)]
    assert lines == ["No issues found"]


def test_links_anchors_and_pictures_exist(pages: dict[Path, Page]) -> None:
    missing = []
    for path, page in pages.items():
        for address in page.links + page.loaded:
            if re.match(r"\w+:", address):
                continue
            file, _, anchor = unquote(address).partition("#")
            target = (path.parent / file).resolve() if file else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids):
                missing.append(f"{path.relative_to(SITE)} -> {address}")
    assert missing == []


def test_no_page_loads_anything_from_another_host(pages: dict[Path, Page]) -> None:
    loaded = {address for page in pages.values() for address in page.loaded}
    assert len(loaded) > 20
    assert {address for address in loaded if re.match(r"(\w+:)?//", address)} == set()
    styles = "".join(sheet.read_text(encoding="utf-8") for sheet in SITE.rglob("*.css"))
    assert re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles) is None


def test_every_page_of_the_documentation_is_in_the_menu(pages: dict[Path, Page]) -> None:
    without_links = SITE / "CITATION.cff.html"
    menu = {(SITE / link.partition("#")[0]).resolve() for link in pages[without_links].links}
    texts = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
    assert {SITE / text.with_suffix(".html") for text in texts} <= menu
    assert SITE / "docs" / "tour.ipynb.html" in menu
    assert set((SITE / "reference").glob("*.html")) <= menu


def test_the_reference_describes_every_public_name_and_the_fields_of_classes(pages: dict[Path, Page]) -> None:
    ids = pages[SITE / "reference" / "api.html"].ids
    assert {f"samplernn_theano.{name}" for name in samplernn_theano.__all__} <= ids
    assert "samplernn_theano.evaluation.nll.Scores.left_out" in ids  # described by a comment


def test_the_notebook_is_a_page_with_its_sounds_and_pictures(pages: dict[Path, Page]) -> None:
    loaded = pages[SITE / "docs" / "tour.ipynb.html"].loaded
    assert sum(address.startswith("data:audio/wav") for address in loaded) == 3
    assert sum(address.startswith("data:image/png") for address in loaded) == 5


def test_the_readme_leads_to_the_text_of_the_files_it_names(pages: dict[Path, Page]) -> None:
    page = "samplernn_theano/models/samplernn.py.html"
    assert page in pages[SITE / "index.html"].links
    assert "independent_predictions" in (SITE / page).read_text(encoding="utf-8")
