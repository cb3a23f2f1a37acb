"""README and docs: links resolve, commands parse, and the README is short and right about itself."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from samplernn_theano.cli.main import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "datasets" / "README.md",
    ROOT / "reproduce" / "README.md",
]
WITHOUT_COMMANDS = [
    ROOT / "docs" / "tour.ipynb",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "RESULTS.md",
    ROOT / "docs" / "laptop" / "report.md",
]
FOR_DEVELOPERS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "tests" / "golden").rglob("README.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[list[str]]:
    """The words after `samplernn` of each command in code blocks; `python datasets/SET.py` is `data SET`."""
    found = []
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    for block in (text for language, text in blocks if language != "text"):  # of output
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\|\||&&|[|;]", line):
                words = shlex.split(part, comments=True)
                if "samplernn" in words[:4]:
                    found.append(words[words.index("samplernn") + 1 :])
                elif words[:1] == ["python"] and (script := re.fullmatch(r"datasets/(\w+)\.py", words[1])):
                    command = ["prepare"] if script[1] == "folder" else ["data", script[1]]
                    found.append(command + words[2:])
    return found


@pytest.mark.parametrize("page", [*PAGES, *FOR_DEVELOPERS, *WITHOUT_COMMANDS], ids=name)
def test_relative_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{name(page)} links to {link}"


@pytest.mark.parametrize(
    "page, words",
    [
        pytest.param(page, words, id=f"{name(page)}: {shlex.join(words)}")
        for page in [*PAGES, *FOR_DEVELOPERS]
        for words in commands(page)
    ],
)
def test_commands_parse(page: Path, words: list[str]) -> None:
    if "..." in words:  # samplernn train ... --distributed
        words[words.index("...") : words.index("...") + 1] = ["three_tier", "--data", "DATA"]
    if words[:2] == ["train", "--config"]:  # the family is that of the file
        words.insert(1, "three_tier")
    words = [word for word in words if word != "--version"]
    assert callable(build_parser().parse_args(words).command)


def test_the_readme_is_short_and_links_every_page_and_pages_show_commands() -> None:
    assert len(README.splitlines()) <= 187
    links = set(re.findall(r"\]\(([^)#\s]+)", README))
    assert {name(page) for page in PAGES[1:]} <= links
    assert sum(len(commands(page)) for page in PAGES) >= 60


@pytest.mark.parametrize("page", ["generating.md", "api.md"])
def test_pages_that_take_a_model_name_the_command_that_lists_those_of_the_package(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert "`samplernn pretrained` lists" in text and "pretrained/speech_two_tier" in text


def test_readme_names_the_two_files_that_matter_and_their_length() -> None:
    third = re.split(r"(?<=[a-z]\.) (?=[A-Z])", " ".join(README.split("\n\n")[1].split()))[2]
    named = re.findall(r"\[`([\w/.]+)`\]\([\w/.]+\) \((\d+) lines\)", third)
    assert [path for path, _ in named] == [
        "samplernn_theano/models/samplernn.py",
        "samplernn_theano/training/loop.py",
    ]
    for path, lines in named:
        assert int(lines) == len((ROOT / path).read_text(encoding="utf-8").splitlines()), path


def test_readme_lists_the_packages_in_the_words_of_their_docstrings() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*\.) \|$", README, flags=re.MULTILINE))
    sentences = {}
    for path in (ROOT / "samplernn_theano").glob("*/__init__.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring is not None, path
        sentences[path.parent.name] = " ".join(docstring.split("\n\n")[0].split())
    assert listed == sentences


def test_tests_that_are_named_exist() -> None:
    named = [
        hit
        for page in PAGES
        for hit in re.findall(r"`(tests/\S+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    ]
    assert len(named) > 20
    missing = [hit for hit in named if f"def {hit[1]}(" not in (ROOT / hit[0]).read_text(encoding="utf-8")]
    assert missing == []


def test_the_speed_tables_of_the_readme_are_those_of_the_results() -> None:
    def section(text: str, heading: str) -> str:
        return re.split(rf"^## {heading}.*$", text, flags=re.MULTILINE)[1].split("\n## ")[0]

    def numbers(text: str) -> set[str]:
        return {number.rstrip(",.") for number in re.findall(r"\d[\d,.]*", text)}

    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    speed = section(README, "Speed")
    first, second = (
        set(table.splitlines()) for table in re.findall(r"(?:^\|.*\n)+", speed, flags=re.MULTILINE)
    )
    for table, heading in ((first, "Training step, 2026-11-23"), (second, "Generation, 2026-11-23")):
        measured = numbers(section(results, heading))
        assert len(table) >= 5 and all(numbers(row) <= measured for row in table), heading
    cold, warm = re.findall(r"to first training step\*\* \| \*\*([\d.]+)\*\* \| \*\*([\d.]+)", results)[0]
    assert f"comes {cold} s after the command, {warm} s once" in " ".join(speed.split())
