"""The report as Markdown for GitHub and similar hosts; audio files are links."""

import re
from functools import singledispatch
from urllib.parse import quote

from samplernn_theano.reproduction.document import (
    Banner,
    Block,
    Commands,
    Document,
    Heading,
    Items,
    Line,
    Paragraph,
    Picture,
    Sounds,
    Span,
    Table,
)
from samplernn_theano.utils.text import escape_control_characters

SPECIAL = re.compile(r"([\\`*_\[\]~|#])")
"""Characters with a meaning in Markdown."""


def render(document: Document) -> str:
    """The Markdown text of a document."""
    parts = [
        f"# {_text(document.title)}",
        f"Written {document.date}",
        *(_markdown(b) for b in document.blocks),
    ]
    return "\n\n".join(parts) + "\n"


@singledispatch
def _markdown(block: Block) -> str:
    raise TypeError(f"{block!r} is not a block")


@_markdown.register
def _(block: Heading) -> str:
    return f"{'#' * block.level} {_text(block.text)}"


@_markdown.register
def _(block: Paragraph) -> str:
    return _line(block.line)


@_markdown.register
def _(block: Banner) -> str:
    return f"> **{_text(block.title)}**\n>\n> {_line(block.line)}"


@_markdown.register
def _(block: Items) -> str:
    return "\n".join(f"- {_line(item)}" for item in block.items)


@_markdown.register
def _(block: Table) -> str:
    rows = [block.head, *block.rows]
    texts = [
        "| " + " | ".join("<br>".join(_line(one) for one in cell) for cell in row) + " |" for row in rows
    ]
    rule = "|" + " --- |" * len(block.head)
    return "\n".join([f"{_text(block.caption)}", "", texts[0], rule, *texts[1:]])


@_markdown.register
def _(block: Picture) -> str:
    return f"![{_text(block.alt)}]({quote(block.file)})"


@_markdown.register
def _(block: Sounds) -> str:
    return "\n".join(
        f"- [{_text(sound.title)}]({quote(sound.file)}): {_text(sound.facts)} "
        f"([spectrogram]({quote(sound.picture)}))"
        for sound in block.sounds
    )


@_markdown.register
def _(block: Commands) -> str:
    lines = "\n".join(escape_control_characters(one) for one in block.lines)
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    summary = _text(block.summary)
    return f"<details><summary>{summary}</summary>\n\n{fence}\n{lines}\n{fence}\n\n</details>"


def _line(spans: Line) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    shown = _text(span.text)
    if span.link and not span.link.startswith("#"):
        shown = f"[{shown}]({quote(span.link)})"
    around = {
        "strong": ("**", "**"),
        "quiet": ("*", "*"),
        "badge": ("<kbd>", "</kbd>"),
        "bad": ("**", "**"),
        "note": ("<sup>", "</sup>"),
        "code": ("<code>", "</code>"),
        "": ("", ""),
    }
    before, after = around[span.style]
    return f"{before}{shown}{after}" if shown else ""


def _text(plain: str) -> str:
    escaped = escape_control_characters(plain).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\1", escaped)
