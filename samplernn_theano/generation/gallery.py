"""Gallery of a folder of generated sounds: records of the generations, and an HTML page."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.generation.spectrograms import HEIGHT, RANGE, WIDTH, draw_thumbnail
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.text import escape_control_characters, format_duration

PAGE = "index.html"
PICTURES = "spectrograms"
"""Folder of the thumbnails, next to the page."""

GENERATOR = "samplernn generate"
"""Value of "made_by" in our records, and of the meta tag "generator" in our pages."""

# --- records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A generated sound file."""

    file: str
    """File name, in the folder of the record."""
    peak: float
    """Largest magnitude; full scale is 1."""
    rms_dbfs: float | None
    """Root mean square in dB; 0 is a constant of 1, None silence."""
    seconds: float
    nll_bits: float | None = None
    """Bits per sample under the generating model, if known."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record of one call of `samplernn generate`.

    Raises
    ------
    ValueError
        If a name is not a plain file name, the date cannot be parsed, or the counts disagree.
    """

    stem: str
    """Beginning of the names of its files; the record is the file STEM.json."""
    checkpoint: str
    family: str
    seed: int
    temperatures: tuple[float, ...]
    """One per sound."""
    top_p: float | None
    """Probability of the nucleus that was drawn from; None: 1."""
    seconds: float
    """Requested length."""
    backend: str
    date: str
    """Time of generation, ISO 8601."""
    versions: Mapping[str, str]
    """Version of each package used."""
    sounds: tuple[Sound, ...]
    silence: str = ""
    """Description of the silenced interval, or empty."""
    primes: tuple[str, ...] = ()
    """Description of the prime of each sound, or empty."""

    def __post_init__(self) -> None:
        for name in (f"{self.stem}.json", *(sound.file for sound in self.sounds)):
            if Path(name).name != name or "\0" in name or len(os.fsencode(name)) > 255:
                raise ValueError(f"{name!r} is not the name of a file in the folder")
        datetime.fromisoformat(self.date).astimezone()
        if len(self.temperatures) != len(self.sounds):
            raise ValueError("there must be a temperature for each sound")
        if len(self.primes) not in (0, len(self.sounds)):
            raise ValueError("there must be a prime for each sound, or none")


def write_record(folder: str | os.PathLike[str], record: Record) -> Path:
    """Write `record` to STEM.json in `folder`, replacing an existing file; return its path.

    Raises
    ------
    OutputError
        If it cannot be written.
    ValueError
        If a number in it is NaN or infinite.
    """
    path = Path(folder, f"{record.stem}.json")
    text = json.dumps({"made_by": GENERATOR} | asdict(record), indent=1, allow_nan=False)
    write_text(path, text + "\n")
    return path


def read_records(folder: str | os.PathLike[str]) -> list[Record]:
    """All records in `folder`, the newest first; other .json files are skipped."""
    records = [_read_record(path) for path in sorted(Path(folder).glob("*.json"))]
    found = [record for record in records if record is not None]
    return sorted(found, key=lambda r: datetime.fromisoformat(r.date).astimezone(), reverse=True)


def _read_record(path: Path) -> Record | None:
    """The record in `path`, or None if it is another file or an invalid record."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if read.pop("made_by") != GENERATOR:
            return None
        read["sounds"] = tuple(_from_dict(Sound, sound) for sound in read["sounds"])
        read["temperatures"] = tuple(_checked(t, float) for t in read["temperatures"])
        read["primes"] = tuple(_checked(prime, str) for prime in read["primes"])
        read["versions"] = {name: _checked(version, str) for name, version in read["versions"].items()}
        return _from_dict(Record, read)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
        return None


def _from_dict(kind: Any, values: dict[str, Any]) -> Any:
    """Build the dataclass `kind` from `values`, checking the types of texts and numbers."""
    return kind(**{own.name: _checked(values.pop(own.name), own.type) for own in fields(kind)}, **values)


def _checked(value: Any, kind: Any) -> Any:
    number = type(value) in (int, float) and isfinite(value)
    fits = {str: isinstance(value, str), int: number, float: number, float | None: number or value is None}
    if not fits.get(kind, True):
        raise TypeError(f"{value!r} is not of type {kind}")
    return value


# --- page ---------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --quiet: #555; --paper: #fff; --card: #f3f3f3;
  --line: #ccc; --link: #0b50c0; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --quiet: #b0b0b0; --paper: #141414;
  --card: #222; --line: #444; --link: #8ab4f8; } }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; background: var(--paper); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 0; border-top: 1px solid var(--line); padding-top: 1rem; }
p { margin: .3rem 0; }
.quiet { color: var(--quiet); font-size: .9rem; }
a { color: var(--link); }
ul { list-style: none; margin: .8rem 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
li { background: var(--card); border-radius: .4rem; padding: .6rem; }
img { display: block; width: 100%; height: 8rem; background: #000; border-radius: .2rem; }
audio { display: block; width: 100%; margin: .5rem 0; }
"""


def write_page(folder: str | os.PathLike[str]) -> Path:
    """Write index.html in `folder`: a player and a thumbnail for each sound of all records, the newest first.

    The page links to the sound files and to thumbnails in the folder `PICTURES`, which are drawn if missing
    or older than their sound. Sounds that were removed or cannot be decoded are marked as such.

    Returns
    -------
    path : Path
        The page.

    Raises
    ------
    OutputError
        If a file cannot be written, or the folder has an index.html that is not ours.
    """
    folder = Path(folder)
    path = check_page(folder)
    records = read_records(folder)
    sections = "".join(_section(folder, number, record) for number, record in enumerate(records, 1))
    sounds = sum(len(record.sounds) for record in records)
    title = f"Generated sounds: {_html(folder.resolve().name)}"
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{GENERATOR}">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="quiet">{count_of(sounds, "sound")} of {count_of(len(records), "generation")}, the newest first.
A picture shows time from left to right and pitch from 0 Hz, below, to half the sample rate; black is
{RANGE} dB below the loudest point.</p>
</header>
<main>
{sections}</main>
</body>
</html>
"""
    write_text(path, page)
    return path


def check_page(folder: Path) -> Path:
    """Path of the page in `folder`; raise OutputError if there is one that is not ours."""
    path = folder / PAGE
    if path.exists() and GENERATOR.encode() not in path.read_bytes()[:1000]:
        raise OutputError(f"{path} is a page that samplernn did not make; move it, or choose another folder.")
    return path


def _section(folder: Path, number: int, record: Record) -> str:
    made = datetime.fromisoformat(record.date)
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    items = "".join(_item(folder, record, i) for i in range(len(record.sounds)))
    return f"""<section aria-labelledby="generation-{number}">
<h2 id="generation-{number}">{_html(record.stem)}</h2>
<p>{_html(describe(record))}</p>
<p class="quiet">Made <time datetime="{_html(record.date)}">{f"{made:%Y-%m-%d %H:%M %Z}".strip()}</time>\
{_html(f" with {versions}" if versions else "")}.</p>
<ul>
{items}</ul>
</section>
"""


def describe(record: Record) -> str:
    """One-line description of the settings of a generation."""
    t = record.temperatures
    length = f"{count_of(len(record.sounds), 'sequence')} of {format_duration(record.seconds)}"
    parts = [f"{length} from {record.checkpoint} ({record.family})", f"seed {record.seed}"]
    parts += (
        [f"temperatures {min(t):g} to {max(t):g}"]
        if len(set(t)) > 1
        else [f"temperature {x:g}" for x in t[:1]]
    )
    parts += [] if record.top_p is None else [f"top-p {record.top_p:g}"]
    parts += ["continuing several recordings"] if len(set(record.primes)) > 1 else record.primes[:1]
    parts += [record.silence] if record.silence else []
    return ", ".join([*parts, f"computed by {record.backend}"]) + "."


def _item(folder: Path, record: Record, i: int) -> str:
    sound, name = record.sounds[i], _html(record.sounds[i].file)
    if not (folder / sound.file).is_file():
        return f"<li><p>{name}</p><p>This file no longer exists.</p></li>\n"
    level = "silent" if sound.rms_dbfs is None else f"peak {sound.peak:.2f}, RMS {sound.rms_dbfs:.1f} dBFS"
    facts = [format_duration(sound.seconds), level]
    facts += [] if sound.nll_bits is None else [f"{sound.nll_bits:.3f} bits per sample"]
    facts += [f"temperature {record.temperatures[i]:g}"] if len(set(record.temperatures)) > 1 else []
    facts += [record.primes[i]] if len(set(record.primes)) > 1 else []
    try:
        picture = f"{sound.file}.png"
        draw_thumbnail(folder / sound.file, folder / PICTURES / picture)
        shown = (
            f'<img src="{PICTURES}/{_url(picture)}" alt="Spectrogram of {name}" loading="lazy" '
            f'width="{WIDTH}" height="{HEIGHT}">'
        )
    except DataError:
        shown = "<p>This file cannot be decoded.</p>"
    return f"""<li>
{shown}
<audio controls preload="none" src="{_url(sound.file)}" aria-label="{name}"></audio>
<p><a href="{_url(sound.file)}">{name}</a></p>
<p class="quiet">{_html("; ".join(facts))}</p>
</li>
"""


def _html(text: str) -> str:
    return escape(escape_control_characters(text))


def _url(name: str) -> str:
    return quote(os.fsencode(name), safe="")  # also a colon, so that no name is parsed as a URL scheme
