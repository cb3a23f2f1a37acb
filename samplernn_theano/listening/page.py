"""Making the folder of a listening test: the page for listeners, its data, and the key."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from html import escape
from math import comb
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
import soundfile

from samplernn_theano.data.audio import write_wav
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening.links import LINKS, new_links, write_private
from samplernn_theano.listening.responses import FORMAT, PAGE, read_test
from samplernn_theano.listening.statistics import lowest_p
from samplernn_theano.listening.stimuli import Clip, Stimuli, choose
from samplernn_theano.listening.store import MEMORY
from samplernn_theano.utils.files import atomic_folder, clear_abandoned, write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters, parse_json

FILES = {"index.html", "test.json", "key.json", "sounds", LINKS}  # contents of the folder
FILES |= {f"{MEMORY}{end}" for end in ("", "-shm", "-wal")}  # of a server that has ended without votes


LARGE = 20
"""MiB: listeners with a slow line wait for a page that is larger."""


class Result(NamedTuple):
    """A new listening test."""

    folder: Path
    test: dict[str, Any]  # the contents of test.json
    stimuli: Stimuli
    listeners: int  # number of links, 0: an open test


def make(
    systems: Mapping[str, Path],
    out: Path,
    *,
    title: str = "Listening test",
    pairs: int = 20,
    seconds: float = 5.0,
    clips: int = 20,
    seed: int = 0,
    listeners: int = 0,
    leave_out_noise: bool = False,
    overwrite: bool = False,
) -> Result:
    """Make an A/B preference test of the sounds of at least two systems, given as folders by their names.

    The same arguments and files give the same test. With `listeners` only so many can take part, each by a
    link of their own; `overwrite` replaces a test without results. `stimuli.choose` describes how sounds
    are chosen.
    """
    _check_out(out, overwrite)
    chosen = choose(systems, clips, seconds, seed, leave_out_noise)
    named = _identified(chosen, seed)
    pcm = {sound: chosen.pcm(clip) for sound, (_, clip) in named.items()}
    # Neither the ids nor the order of systems and sounds tell their names.
    order = np.random.default_rng([seed, 2]).permutation(len(systems))
    ids = {name: f"system{number}" for name, number in zip(chosen.clips, order + 1, strict=True)}
    test: dict[str, Any] = {"format": FORMAT, "title": title, "pairs": pairs}
    test["seconds"] = len(next(iter(pcm.values()))) / SAMPLE_RATE
    test["systems"] = {
        ids[name]: [sound for sound, (system, _) in named.items() if system == name]
        for name in sorted(ids, key=lambda name: ids[name])
    }
    test["id"] = hashlib.sha256(json.dumps(test, sort_keys=True).encode()).hexdigest()[:16]
    key: dict[str, Any] = {"format": "samplernn listening key 1", "test": test["id"]}
    key["systems"] = {system: name for name, system in ids.items()}
    key["sounds"] = {
        sound: {
            "system": ids[name],
            "file": str(clip.path),
            "loudness": round(clip.loudness, 2),
            "gain": round(chosen.loudness - clip.loudness, 2),
        }
        for sound, (name, clip) in named.items()
    }
    with atomic_folder(out, out.parent, overwrite) as folder:
        for sound, samples in pcm.items():
            write_wav(folder / "sounds" / f"{sound}.wav", samples / 32768)
        write_text(folder / "test.json", json.dumps(test, indent=1))
        write_private(folder / "key.json", json.dumps(key, indent=1))
        write_text(folder / "index.html", render(folder))
        if listeners:
            write_private(folder / LINKS, new_links(listeners))
    return Result(out, test, chosen, listeners)


def _check_out(out: Path, overwrite: bool) -> None:
    """Raise OutputError if `out` cannot become the folder of a new test."""
    clear_abandoned(out, out.parent)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        read_test(out)
    except DataError as error:
        raise OutputError(f"{out} holds other files; name an empty or new folder.") from error
    if others := sorted({path.name for path in out.iterdir()} - FILES):
        found = f"{others[0]}, which may be votes"
        raise OutputError(f"The folder {out} also holds {found}; name an empty or new folder.")
    if not overwrite:
        raise OutputError(f"The folder {out} holds a test; name another one, or give --overwrite.")


def _identified(chosen: Stimuli, seed: int) -> dict[str, tuple[str, Clip]]:
    """System and clip of each sound by an id that depends on neither the system's name nor the file."""
    all_clips = [(name, clip) for name, clips in chosen.clips.items() for clip in clips]
    named = {}
    for position, i in enumerate(np.random.default_rng([seed, 1]).permutation(len(all_clips))):
        text = f"{seed} {position} ".encode() + chosen.pcm(all_clips[i][1]).tobytes()
        named[hashlib.sha256(text).hexdigest()[:12]] = all_clips[i]
    return dict(sorted(named.items()))


def render(folder: Path) -> str:
    """The page for the test.json and the sounds in a folder."""
    html, style, script = (
        Path(__file__).with_suffix(f".{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    text = (folder / "test.json").read_text(encoding="utf-8")
    test = parse_json(text)
    return Template(html).substitute(
        version=PAGE,
        title=escape(escape_control_characters(test["title"])),
        pairs=test["pairs"],
        seconds=f"{test['seconds']:.3g}",
        style=style,
        script=script,
        test=json.dumps(test).replace("<", r"\u003c"),  # a title must not end the element
        sounds="\n".join(_element(folder, sound) for sounds in test["systems"].values() for sound in sounds),
    )


def _element(folder: Path, sound: str) -> str:
    """An element with a FLAC file in base64: supported by all browsers and half as large as wav."""
    path = folder / "sounds" / f"{sound}.wav"
    try:
        pcm, rate = soundfile.read(path, dtype="int16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{path} is missing or damaged; make the test again.") from error
    file = io.BytesIO()
    soundfile.write(file, pcm, rate, "PCM_16", format="FLAC")
    content = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<script type="text/plain" id="sound-{sound}">{content}</script>'


def describe(result: Result) -> str:
    """A description of a new test, with remarks on its sounds."""
    systems = result.stimuli.clips
    n = len(next(iter(systems.values())))
    pairs, seconds = result.test["pairs"], result.test["seconds"]
    megabytes = (result.folder / "index.html").stat().st_size / 2**20
    links = f"those with one of the {count_of(result.listeners, 'link')} in {LINKS}"
    who = links if result.listeners else "everybody who opens it"
    lines = [
        f"{result.folder}: {count_of(len(systems), 'system')}, {count_of(n, 'sound')} of each, "
        f"{seconds:.3g} s long, at {result.stimuli.loudness:.1f} LUFS; {count_of(pairs, 'pair')} for each "
        "listener.",
        *result.stimuli.remarks,
        f"The page is {result.folder}/index.html ({megabytes:.1f} MiB); `samplernn listening-test serve "
        f"{result.folder}` shows it to {who} and collects their votes. The file key.json names the systems "
        "of the sounds; do not give it to listeners.",
    ]
    if megabytes > LARGE:
        lines.append(
            f"Each listener loads all {megabytes:.0f} MiB before the first pair, which takes a fast line; "
            "fewer --clips or --seconds make the page smaller."
        )
    if (repeats := -(-2 * pairs // (n * len(systems)))) > 1:
        lines.insert(1, f"A listener hears the same sound up to {repeats} times: there are few sounds.")
    if lowest_p(n) * comb(len(systems), 2) > 0.05:
        sounds = f"{count_of(n, 'sound')} of each system"
        lines.insert(1, f"With {sounds} no difference can be significant at 5 %, however many listen.")
    return "\n".join(escape_control_characters(line) for line in lines)
