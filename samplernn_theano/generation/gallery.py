"""Gallery of a folder of generated sounds: records of the generations, and an HTML page."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from samplernn_theano.checkpoints.run_folder import sample_files
from samplernn_theano.data import decoders
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.generation.spectrograms import (
    HEIGHT,
    RANGE,
    WIDTH,
    draw_thumbnail,
    length_and_rate,
    round_marks,
)
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.progress import counted
from samplernn_theano.utils.text import escape_control_characters, format_duration, parse_json

PICTURES = "spectrograms"  # folder of the thumbnails, next to the page
GENERATOR = "samplernn generate"
"""Value of "made_by" in our records, and of the meta tag "generator" in our pages."""

LONGEST_OTHER = 60.0  # seconds of a sound of somebody else whose spectrogram is drawn
MAX_NAME = 230  # bytes of the name of a sound whose picture can be named after it


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A generated sound file, in the folder of its record."""

    file: str
    peak: float  # largest magnitude; full scale is 1
    rms_dbfs: float | None  # root mean square in dB; 0 is a constant of 1, None silence
    seconds: float
    nll_bits: float | None = None  # bits per sample under the generating model, if known
    near_silent: bool = False  # before it was scaled to its peak; then it is not scored

    @property
    def level(self) -> str:
        """Its loudness, in words."""
        rms = self.rms_dbfs
        amplified = ", nearly silent before it was amplified" * bool(self.near_silent)
        return "silent" if rms is None else f"peak {self.peak:.2f}, RMS {rms:.1f} dBFS{amplified}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record of one call of `samplernn generate`."""

    stem: str  # beginning of the names of its files; the record is the file STEM.json
    checkpoint: str
    family: str
    seed: int
    temperatures: tuple[float, ...]  # one per sound
    top_p: float | None  # None: 1
    seconds: float  # requested length
    backend: str
    date: str  # of generation, ISO 8601
    versions: Mapping[str, str]  # of each package used
    sounds: tuple[Sound, ...] = ()
    silence: str = ""  # description of the silenced interval
    primes: tuple[str, ...] = ()  # description of the prime of each sound, or empty

    @property
    def made(self) -> datetime:
        """Time of generation."""
        return datetime.fromisoformat(self.date)


def write_record(folder: Path, record: Record) -> None:
    """Write `record` to STEM.json in `folder`, replacing an existing file."""
    text = json.dumps({"made_by": GENERATOR} | asdict(record), indent=1, allow_nan=False)
    write_text(folder / f"{record.stem}.json", text + "\n")


def read_records(folder: Path) -> list[Record]:
    """All records in `folder`, the newest first; other .json files are skipped."""
    records = [_read_record(path) for path in sorted(folder.glob("*.json"))]
    return sorted((r for r in records if r is not None), key=lambda r: r.made.astimezone(), reverse=True)


def _read_record(path: Path) -> Record | None:
    """The record in `path`, or None if it is another file or an invalid record."""
    try:
        read = parse_json(path.read_text(encoding="utf-8"))
        if read.pop("made_by") != GENERATOR:
            return None
        read |= {name: tuple(read[name]) for name in ("temperatures", "primes")}
        read |= {"versions": dict(read["versions"]), "sounds": tuple(Sound(**s) for s in read["sounds"])}
        record, n = Record(**read), len(read["sounds"])
        record.made.astimezone(), describe(record), [_facts(record, i) for i in range(n)]  # or they raise
        names = [f"{record.stem}.json", *(sound.file for sound in record.sounds)]
        plain = all(Path(n).name == n and "\0" not in n and len(os.fsencode(n)) <= 255 for n in names)
        return record if plain and len(record.temperatures) == n and len(record.primes) in (0, n) else None
    except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
        return None


def describe(record: Record, sequence: int | None = None) -> str:
    """One-line description of the settings of a generation, or of one of its sequences."""
    one = slice(sequence, None if sequence is None else sequence + 1)
    temperatures, primes = record.temperatures[one], record.primes[one]
    what = f"sequence {sequence}" if sequence is not None else count_of(len(temperatures), "sequence")
    parts = [f"{what} of {format_duration(record.seconds)} from {record.checkpoint} ({record.family})"]
    parts += [f"seed {record.seed:d}"]
    low, high = min(temperatures, default=1), max(temperatures, default=1)
    parts += [f"temperatures {low:g} to {high:g}" if high > low else f"temperature {low:g}"]
    parts += [] if record.top_p is None else [f"top-p {record.top_p:g}"]
    parts += ["continuing several recordings"] if len(set(primes)) > 1 else primes[:1]
    parts += [record.silence] if record.silence else []
    return ", ".join([*parts, f"computed by {record.backend}"])


def write_page(folder: Path) -> None:
    """Write index.html in `folder`: a player and a spectrogram for each sound in it.

    Those of records come first, the newest on top, then the samples of evaluations, then all others.
    Spectrograms are drawn if missing or older than their sound. Missing and damaged sounds are marked.
    """
    path, records = check_page(folder), read_records(folder)

    def cards_of(record: Record) -> list[Card]:
        return [card(folder, folder / sound.file, _facts(record, i)) for i, sound in enumerate(record.sounds)]

    listed = {sound.file for record in records for sound in record.sounds}
    left = {path for path in folder.iterdir() if path.name not in listed and _is_sound(path)}
    samples = sorted((-i, number, path) for i, number, path in sample_files(folder) if path in left)
    others = sorted(left - {path for *_, path in samples})
    cards = {
        "Samples of the evaluations": [
            card(folder, path, f"iteration {-i:,}")
            for i, _, path in counted(samples, "draw", len(samples), "samples", bool(samples))
        ],
        "Other sounds": [card(folder, path, longest=LONGEST_OTHER) for path in others],
    }
    counts = count_of(sum(len(record.sounds) for record in records), "sound")
    counts += f" of {count_of(len(records), 'generation')}" + f" and {len(left)} more" * bool(left)
    values = {"name": folder.resolve().name, "counts": counts, "records": records, "others": cards}
    write_text(path, render("gallery.html", describe=describe, cards_of=cards_of, **values))


def _is_sound(path: Path) -> bool:
    suffixes = decoders.SUFFIXES + decoders.FFMPEG_SUFFIXES
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def render(template: str, **values: Any) -> str:
    """HTML of a template of this package; control characters in texts are escaped."""
    from jinja2 import Environment, FileSystemLoader  # slow to import

    def shown(value: Any) -> Any:
        return escape_control_characters(value) if isinstance(value, str) else value

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, finalize=shown, trim_blocks=True, lstrip_blocks=True
    )
    values |= {"generator": GENERATOR, "range": RANGE, "width": WIDTH, "height": HEIGHT}
    return environment.get_template(template).render(values)


def check_page(folder: Path) -> Path:
    """Path of the page in `folder`; raise OutputError if there is one that is not ours."""
    path = folder / "index.html"
    if path.exists() and GENERATOR.encode() not in path.read_bytes()[:1000]:
        raise OutputError(f"{path} is a page that samplernn did not make; move it away.")
    return path


@dataclass(frozen=True, kw_only=True)
class Card:
    """A sound file on a page."""

    name: str
    address: str  # relative to the page
    facts: str
    exists: bool
    is_damaged: bool = False
    picture: str = ""  # address of its spectrogram, if there is one
    seconds: Sequence[tuple[str, str]] = ()  # marks along it, each at a percentage of its width
    kilohertz: Sequence[tuple[str, str]] = ()  # and of its height


def card(page: Path, sound: Path, facts: str = "", longest: float = math.inf) -> Card:
    """Card of a sound, by default with its length, for a page in the folder `page`, at or above the sound's.

    The spectrogram is drawn of a sound of up to `longest` seconds.
    """
    picture = sound.parent / PICTURES / f"{sound.name}.png"
    about: dict[str, Any] = {}
    try:
        seconds, rate = length_and_rate(sound)
        facts = facts or format_duration(seconds)
        if seconds <= longest and len(os.fsencode(sound.name)) <= MAX_NAME:
            draw_thumbnail(sound, picture)
            about = {"picture": _address(picture, page), "seconds": round_marks(seconds)}
            about |= {"kilohertz": round_marks(rate / 2000)}
    except DataError:
        about = {"is_damaged": sound.suffix.lower() in decoders.SUFFIXES}
    return Card(name=sound.name, address=_address(sound, page), facts=facts, exists=sound.is_file(), **about)


def _facts(record: Record, i: int) -> str:
    """Length and loudness of a sound, and what differs between those of the record."""
    sound = record.sounds[i]
    facts = [format_duration(sound.seconds), sound.level]
    facts += [] if sound.nll_bits is None else [f"{sound.nll_bits:.3f} bits per sample"]
    facts += [f"temperature {record.temperatures[i]:g}"] if len(set(record.temperatures)) > 1 else []
    facts += [record.primes[i]] if len(set(record.primes)) > 1 else []
    return "; ".join(facts)


def _address(path: Path, page: Path) -> str:
    """Address of a file, relative to the folder of the page; no name in it is parsed as a URL scheme."""
    return quote(os.fsencode(path.relative_to(page)))
