"""The report as a list of blocks, rendered by `html` and `markdown`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

type Style = Literal["", "strong", "quiet", "badge", "bad", "note", "code"]
"""Style of a span: plain, important, published or minor, a badge, a failure, numbers of differences
(superscript), code."""


@dataclass(frozen=True)
class Span:
    """Text of one style on one line."""

    text: str
    style: Style = ""
    link: str = ""
    """A relative URL, or empty."""


type Line = Sequence[Span]

type Entry = Sequence[Line]
"""An entry of a table: lines, one below the other."""


def line(*parts: "str | Span") -> Line:
    """A line of plain text and spans."""
    return [Span(part) if isinstance(part, str) else part for part in parts]


@dataclass(frozen=True)
class Heading:
    """Heading of a section (level 2) or a part of one (3, 4)."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """One line of running text."""

    line: Line


@dataclass(frozen=True)
class Banner:
    """A prominent notice: a title and a sentence."""

    title: str
    line: Line


@dataclass(frozen=True)
class Items:
    """A list, with bullets or with `names` that can be linked to."""

    items: Sequence[Line]
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table; the first entry of each row is its name."""

    caption: str
    head: Sequence[Entry]
    rows: Sequence[Sequence[Entry]]


@dataclass(frozen=True)
class Picture:
    """An image file."""

    file: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Sound:
    """An audio player with a spectrogram."""

    title: str
    file: str
    picture: str
    facts: str


@dataclass(frozen=True)
class Sounds:
    """Audio players side by side."""

    sounds: Sequence[Sound]


@dataclass(frozen=True)
class Commands:
    """Lines of code that unfold below a summary."""

    summary: str
    lines: Sequence[str]


type Block = Heading | Paragraph | Banner | Items | Table | Picture | Sounds | Commands


@dataclass(frozen=True)
class Document:
    """A title, a date (ISO 8601), and blocks."""

    title: str
    date: str
    blocks: Sequence[Block]
