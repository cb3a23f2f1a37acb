"""The report before it is HTML or Markdown: a list of blocks, so that both say the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

type Style = Literal["", "strong", "quiet", "mark", "bad", "note", "code"]
"""Of a piece of text: plain, important, published or of minor weight, the mark of a scale, a failure, the
numbers of deviations (raised), code."""


@dataclass(frozen=True)
class Span:
    """A piece of text on one line."""

    text: str
    style: Style = ""
    link: str = ""
    """A relative address, or nothing."""


type Line = Sequence[Span]

type Entry = Sequence[Line]
"""Of a table: lines, one below the other."""


def line(*pieces: "str | Span") -> Line:
    """A line of plain text and other pieces."""
    return [Span(piece) if isinstance(piece, str) else piece for piece in pieces]


@dataclass(frozen=True)
class Heading:
    """Of a section (level 2) or a part of one (3, 4)."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """One line of running text."""

    line: Line


@dataclass(frozen=True)
class Banner:
    """What nobody may overlook: a word, large, and a sentence."""

    word: str
    line: Line


@dataclass(frozen=True)
class Items:
    """A list; where `names` are given they stand in place of the bullets, and can be linked to."""

    items: Sequence[Line]
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """The first entry of each row is its name."""

    caption: str
    head: Sequence[Entry]
    rows: Sequence[Sequence[Entry]]


@dataclass(frozen=True)
class Picture:
    """A picture beside the page."""

    file: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Sound:
    """A player with its spectrogram."""

    title: str
    file: str
    picture: str
    facts: str


@dataclass(frozen=True)
class Sounds:
    """Players side by side."""

    sounds: Sequence[Sound]


@dataclass(frozen=True)
class Commands:
    """Lines of code, under a summary that opens them."""

    summary: str
    lines: Sequence[str]


type Block = Heading | Paragraph | Banner | Items | Table | Picture | Sounds | Commands


@dataclass(frozen=True)
class Document:
    """A title, a date (ISO 8601), and blocks."""

    title: str
    date: str
    blocks: Sequence[Block]
