"""The report as HTML: one page, with pictures and audio in files next to it."""

from datetime import datetime
from functools import singledispatch
from html import escape
from pathlib import Path
from urllib.parse import quote

from samplernn_theano.generation import spectrograms
from samplernn_theano.reproduction.document import (
    Banner,
    Block,
    Commands,
    Document,
    Entry,
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

STYLE = Path(__file__).with_name("report.css")

POLICY = "default-src 'none'; img-src 'self' data: file:; media-src 'self' file:; style-src 'unsafe-inline'"
"""Content security policy: only local images and audio, no scripts."""


def render(document: Document) -> str:
    """The HTML text of a document."""
    title = _text(document.title)
    made = datetime.fromisoformat(document.date)
    body = "\n".join(_html(block) for block in document.blocks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="quiet">Written <time datetime="{document.date}">{made:%Y-%m-%d %H:%M} UTC</time></p>
</header>
{_contents(document)}<main>
{body}
</main>
</body>
</html>
"""


def _contents(document: Document) -> str:
    titles = [block.text for block in document.blocks if isinstance(block, Heading) and block.level == 2]
    links = " ".join(f'<a href="#{anchor(title)}">{_text(title)}</a>' for title in titles)
    return f'<nav aria-label="Contents">{links}</nav>\n'


def anchor(title: str) -> str:
    """The URL fragment of a heading."""
    kept = "".join(c if c.isalnum() else " " for c in title.lower())
    return "-".join(kept.split())


@singledispatch
def _html(block: Block) -> str:
    raise TypeError(f"{block!r} is not a block")


@_html.register
def _(block: Heading) -> str:
    return f'<h{block.level} id="{_text(anchor(block.text))}">{_text(block.text)}</h{block.level}>'


@_html.register
def _(block: Paragraph) -> str:
    return f"<p>{_line(block.line)}</p>"


@_html.register
def _(block: Banner) -> str:
    return f'<p class="banner"><strong>{_text(block.title)}</strong> {_line(block.line)}</p>'


@_html.register
def _(block: Items) -> str:
    if block.names:
        named = zip(block.names, block.items, strict=True)
        rows = [f'<li id="{_text(name)}" tabindex="-1">{_line(item)}</li>' for name, item in named]
        return "<ul class=named>\n" + "\n".join(rows) + "\n</ul>"
    return "<ul>\n" + "\n".join(f"<li>{_line(item)}</li>" for item in block.items) + "\n</ul>"


@_html.register
def _(block: Table) -> str:
    head = "".join(f'<th scope="col">{_lines(cell)}</th>' for cell in block.head)
    rows = "\n".join(
        f'<tr><th scope="row">{_lines(row[0])}</th>'
        + "".join(f"<td>{_lines(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in block.rows
    )
    caption = _text(block.caption)
    return f"""<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>
<caption>{caption}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>"""


@_html.register
def _(block: Picture) -> str:
    file = _url(block.file)
    return (
        f'<a class="picture" href="{file}"><img src="{file}" alt="{_text(block.alt)}" '
        f'width="{block.width}" height="{block.height}"></a>'
    )


@_html.register
def _(block: Sounds) -> str:
    items = "\n".join(
        f"""<li>
<p>{_text(sound.title)}</p>
<img src="{_url(sound.picture)}" alt="Spectrogram of {_text(sound.title)}" \
width="{spectrograms.WIDTH}" height="{spectrograms.HEIGHT}">
<audio controls preload="none" src="{_url(sound.file)}" aria-label="{_text(sound.title)}"></audio>
<p class="quiet">{_text(sound.facts)}</p>
</li>"""
        for sound in block.sounds
    )
    return f'<ul class="sounds">\n{items}\n</ul>'


@_html.register
def _(block: Commands) -> str:
    lines = "\n".join(_text(one) for one in block.lines)
    return f"<details><summary>{_text(block.summary)}</summary>\n<pre>{lines}</pre>\n</details>"


def _lines(lines: Entry) -> str:
    return "<br>".join(_line(one) for one in lines)


def _line(spans: Line) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    shown = _text(span.text)
    if span.link:
        shown = f'<a href="{_url(span.link)}">{shown}</a>'
    tags = {"strong": "strong", "note": "sup", "code": "code"}
    if tag := tags.get(span.style):
        return f"<{tag}>{shown}</{tag}>"
    return f'<span class="{span.style}">{shown}</span>' if span.style else shown


def _text(plain: str) -> str:
    return escape(escape_control_characters(plain))


def _url(address: str) -> str:
    """A relative URL; quoting keeps file names from acting as absolute ones."""
    return address if address.startswith("#") else quote(address)
