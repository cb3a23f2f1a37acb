"""What a folder of generated sounds shows: records of their making, a spectrogram sheet, an HTML page."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from html import escape
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import atomic_write, write_text
from samplernn_theano.utils.plotting import _save, new
from samplernn_theano.utils.text import duration, visible

PAGE = "index.html"
PICTURES = "spectrograms"
"""The folder, beside the page, of the pictures that it shows."""

MARK = "samplernn generate"
"""In a record, and in the page, what says that they are ours."""

SHOWN = 8
"""Sounds on one sheet."""

COLUMNS = 2000
"""Columns of a spectrogram on a sheet at most; of a longer sound, each is the mean power over some time."""

WIDTH, HEIGHT = 400, 128
"""Of a spectrogram on the page, in pixels, at most and exactly."""

WINDOW, HOP = 1024, 256
RANGE = 90
"""Decibels from the loudest point of a spectrogram to black."""

COLOURS: dict[str, Any] = {"vmin": -RANGE, "vmax": 0, "cmap": "magma", "origin": "lower"}

# --- records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A sound file that was generated."""

    file: str
    """Its name, in the folder of the record."""
    peak: float
    """Largest magnitude, of 1."""
    rms_dbfs: float | None
    """Root mean square in dB, where 0 is a constant of 1; None: silence."""
    seconds: float
    nll_bits: float | None = None
    """Bits per sample under the model that made it, where they are known."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """How one call of `samplernn generate` made its sounds.

    Raises
    ------
    ValueError
        If a name is none of a file in one folder, the date cannot be read, or the counts disagree.
    """

    stem: str
    """What the names of its files begin with; the record is the file STEM.json."""
    checkpoint: str
    family: str
    seed: int
    temperatures: tuple[float, ...]
    """One per sound."""
    top_p: float | None
    """Share of the probability that was drawn from; None: all of it."""
    seconds: float
    """Length that was asked for."""
    backend: str
    date: str
    """When they were made, ISO 8601."""
    versions: Mapping[str, str]
    """Of each package that computed."""
    sounds: tuple[Sound, ...]
    silence: str = ""
    """Which stretch was silenced, in words, or nothing."""
    primes: tuple[str, ...] = ()
    """What each sound goes on from, in words, or nothing."""

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
    """Write `record` to STEM.json in `folder`, in place of what bears this name; return its path.

    Raises
    ------
    OutputError
        If it cannot be written.
    ValueError
        If a number in it is NaN or infinite.
    """
    path = Path(folder, f"{record.stem}.json")
    text = json.dumps({"made_by": MARK} | asdict(record), indent=1, allow_nan=False)
    write_text(path, text + "\n")
    return path


def read_records(folder: str | os.PathLike[str]) -> list[Record]:
    """All records in `folder`, the newest first; what else ends in .json is skipped."""
    records = [_read_record(path) for path in sorted(Path(folder).glob("*.json"))]
    found = [record for record in records if record is not None]
    return sorted(found, key=lambda r: datetime.fromisoformat(r.date).astimezone(), reverse=True)


def _read_record(path: Path) -> Record | None:
    """The record in `path`, or None: it may be anybody's file, and a record that somebody edited."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if read.pop("made_by") != MARK:
            return None
        read["sounds"] = tuple(_made(Sound, sound) for sound in read["sounds"])
        read["temperatures"] = tuple(_checked(t, float) for t in read["temperatures"])
        read["primes"] = tuple(_checked(prime, str) for prime in read["primes"])
        read["versions"] = {name: _checked(version, str) for name, version in read["versions"].items()}
        return _made(Record, read)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
        return None


def _made(kind: Any, values: dict[str, Any]) -> Any:
    """The dataclass `kind` of `values`, of which texts and numbers are seen to be what it says."""
    return kind(**{own.name: _checked(values.pop(own.name), own.type) for own in fields(kind)}, **values)


def _checked(value: Any, kind: Any) -> Any:
    number = type(value) in (int, float) and isfinite(value)
    fits = {str: isinstance(value, str), int: number, float: number, float | None: number or value is None}
    if not fits.get(kind, True):
        raise TypeError(f"{value!r} is no {kind}")
    return value


# --- spectrograms -------------------------------------------------------------------------------------------


def spectrogram(
    path: str | os.PathLike[str], columns: int = COLUMNS
) -> tuple[NDArray[np.float32], float, int]:
    """The spectrogram of a sound file, which is read in blocks; its length in seconds; its rate in Hz.

    It is float32 (WINDOW / 2 + 1, n), n the hops in the sound, but `columns` at most: means over time then.

    Raises
    ------
    DataError
        If the file is missing or cannot be decoded.
    """
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            hops = max(1, file.frames // HOP)
            n = min(hops, columns)
            sums, counts = np.zeros((n, WINDOW // 2 + 1)), np.zeros(n, int)
            for first, powers in _powers(file, hops):
                column = (first + np.arange(len(powers))) * n // hops
                starts = np.flatnonzero(np.diff(column, prepend=-1))
                sums[column[starts]] += np.add.reduceat(powers, starts)
                counts += np.bincount(column, minlength=n)
            power = (sums / np.maximum(counts, 1)[:, None]).T.astype(np.float32)
            return power, file.frames / file.samplerate, file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise DataError(f"{path} cannot be drawn ({reason}); generate it again.") from error


def _powers(file: soundfile.SoundFile, hops: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The power at the hops of a sound, (some, WINDOW / 2 + 1) each, and the index of the first of them.

    The window of hop i is centred at the sample i * HOP, as in `plots`; around the sound is silence.
    """
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)  # periodic; scipy.signal is slow to import
    waiting, done, ended = np.zeros(WINDOW // 2, np.float32), 0, False
    while done < hops and not ended:
        block = file.read(1024 * HOP, dtype="float32", always_2d=True).mean(axis=1)
        ended = len(block) == 0
        if ended:
            block = np.zeros(WINDOW, np.float32)
        waiting = np.concatenate([waiting, np.nan_to_num(block, posinf=1, neginf=-1)])
        if len(waiting) >= WINDOW:
            frames = np.lib.stride_tricks.sliding_window_view(waiting, WINDOW)[::HOP][: hops - done]
            yield done, np.abs(scipy.fft.rfft(frames * window)) ** 2
            done += len(frames)
            waiting = waiting[len(frames) * HOP :]


def _decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """From 0 at the loudest point down to -RANGE, where silence is."""
    loudest = max(power.max(), np.float32(1e-12))
    return 10 * np.log10(np.maximum(power / loudest, np.float32(10 ** (-RANGE / 10))))


def write_sheet(path: str | os.PathLike[str], sounds: Mapping[str, str | os.PathLike[str]]) -> None:
    """Draw the spectrograms of up to `SHOWN` sound files below each other; say how many more there are.

    Each goes from 0 to half its rate and 90 dB down from its loudest point. An hour needs no more memory than
    a minute: the files are read in blocks, and `COLUMNS` are drawn at most.

    Parameters
    ----------
    sounds : mapping of title to the path of a sound file

    Raises
    ------
    DataError
        If a sound file is missing or cannot be decoded.
    OutputError
        If the picture cannot be written.
    """
    shown = dict(islice(sounds.items(), SHOWN))
    figure = new(10, 0.6 + 1.9 * len(shown))
    if len(sounds) > len(shown):
        figure.suptitle(
            f"{len(shown)} of {len(sounds)} sounds; {len(sounds) - len(shown)} more are not drawn"
        )
    panels = figure.subplots(max(1, len(shown)), squeeze=False)[:, 0]
    for axes, (title, sound) in zip(panels, shown.items(), strict=False):
        power, seconds, rate = spectrogram(sound)
        extent = (0, max(seconds, 1 / rate), 0, rate / 2000)
        axes.imshow(_decibels(power), aspect="auto", extent=extent, **COLOURS)
        axes.set_title(visible(title), fontsize=9, parse_math=False)
        axes.set(xlabel="seconds", ylabel="kHz")
    _save(Path(path), figure)


def draw_small(sound: Path, picture: Path) -> None:
    """Write the spectrogram of `sound` without axes, unless `picture` is newer than it."""
    if picture.exists() and picture.stat().st_mtime_ns > sound.stat().st_mtime_ns:
        return
    from matplotlib.image import imsave  # slow to import

    power, _, _ = spectrogram(sound, WIDTH)
    decibels = _decibels(power[:-1].reshape(HEIGHT, -1, power.shape[1]).mean(axis=1))
    steps = 2 * np.rint(decibels / 2)  # nobody sees the difference, and the file is half as large
    with atomic_write(picture, durable=False) as temporary:
        imsave(temporary, steps, **COLOURS)


# --- the page -----------------------------------------------------------------------------------------------

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
    """Write index.html in `folder`: a player and a picture for each sound of all records, the newest first.

    The page needs nothing but the sound files, which it names, and the pictures, which are drawn into the
    folder `PICTURES` where they are missing or older than their sound. A sound that was removed, or cannot be
    read, is said to be so.

    Returns
    -------
    path : Path
        Of the page.

    Raises
    ------
    OutputError
        If something cannot be written, or the folder has a page of that name that is not ours.
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
<meta name="generator" content="{MARK}">
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
    """The page in a folder. Raise OutputError if there is one that is not ours."""
    path = folder / PAGE
    if path.exists() and MARK.encode() not in path.read_bytes()[:1000]:
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
    """The settings of a generation in words."""
    t = record.temperatures
    length = f"{count_of(len(record.sounds), 'sequence')} of {duration(record.seconds)}"
    parts = [f"{length} from {record.checkpoint} ({record.family})", f"seed {record.seed}"]
    parts += (
        [f"temperatures {min(t):g} to {max(t):g}"]
        if len(set(t)) > 1
        else [f"temperature {x:g}" for x in t[:1]]
    )
    parts += [] if record.top_p is None else [f"top-p {record.top_p:g}"]
    parts += ["going on from several recordings"] if len(set(record.primes)) > 1 else record.primes[:1]
    parts += [record.silence] if record.silence else []
    return ", ".join([*parts, f"computed by {record.backend}"]) + "."


def _item(folder: Path, record: Record, i: int) -> str:
    sound, name = record.sounds[i], _html(record.sounds[i].file)
    if not (folder / sound.file).is_file():
        return f"<li><p>{name}</p><p>This file is no longer there.</p></li>\n"
    level = "silent" if sound.rms_dbfs is None else f"peak {sound.peak:.2f}, RMS {sound.rms_dbfs:.1f} dBFS"
    facts = [duration(sound.seconds), level]
    facts += [] if sound.nll_bits is None else [f"{sound.nll_bits:.3f} bits per sample"]
    facts += [f"temperature {record.temperatures[i]:g}"] if len(set(record.temperatures)) > 1 else []
    facts += [record.primes[i]] if len(set(record.primes)) > 1 else []
    try:
        picture = f"{sound.file}.png"
        draw_small(folder / sound.file, folder / PICTURES / picture)
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
    return escape(visible(text))


def _url(name: str) -> str:
    return quote(os.fsencode(name), safe="")  # a colon, too: no name is taken for an address
