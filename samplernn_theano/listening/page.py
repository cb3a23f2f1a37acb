"""The folder of a listening test: the page for listeners, what it knows, and the key to it."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from itertools import chain
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from samplernn_theano.data.audio import write_wav
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import OutputError
from samplernn_theano.listening.stimuli import Chosen, Clip, choose
from samplernn_theano.utils.files import whole_folder, write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import visible

PAGE, TEST, KEY, SOUNDS = "index.html", "test.json", "key.json", "sounds"
"""What a test consists of."""

FORMAT, KEY_FORMAT = "samplernn listening test 1", "samplernn listening key 1"

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Made:
    """A test that was made."""

    folder: Path
    test: dict[str, Any]
    """What stands in test.json."""
    chosen: Chosen
    page_bytes: int


def make(
    systems: Mapping[str, Path],
    out: Path,
    *,
    title: str = "Listening test",
    pairs: int = 20,
    seconds: float = 5.0,
    clips: int = 20,
    seed: int = 0,
    post: bool = False,
    leave_out_noise: bool = False,
    overwrite: bool = False,
) -> Made:
    """Make an A/B preference test of the sounds of at least two systems.

    The same arguments and files give the same test, with the same id.

    Parameters
    ----------
    systems : mapping of a name to the folder of its sounds
    out : Path
        Folder to be made.
    title : str
        What listeners read above; it should not tell the systems.
    pairs : int
        That each listener hears.
    seconds, clips, seed, leave_out_noise
        See `sounds.choose`.
    post : bool
        Whether the page sends the answers to the server that it came from.
    overwrite : bool
        Replace a test that is there, if it has no results.

    Raises
    ------
    DataError
        If sounds are missing or unfit.
    OutputError
        If `out` may not be replaced or cannot be written.
    """
    check_out(out, overwrite)
    chosen = choose(systems, clips, seconds, seed, leave_out_noise)
    named = _identified(chosen, seed)
    ids = _system_ids(chosen, seed)
    test: dict[str, Any] = {
        "format": FORMAT,
        "title": title,
        "pairs": pairs,
        "seconds": len(next(iter(named.values()))[1].pcm) / SAMPLE_RATE,
        "post": post,
        "systems": {
            ids[name]: sorted(sound for sound, (system, _) in named.items() if system == name)
            for name in sorted(ids, key=lambda name: ids[name])
        },
    }
    test["id"] = hashlib.sha256(json.dumps(test, sort_keys=True).encode()).hexdigest()[:16]
    page = _page(test, {sound: clip.pcm for sound, (_, clip) in named.items()})
    with whole_folder(out, out.parent, overwrite) as folder:
        for sound, (_, clip) in named.items():
            write_wav(folder / SOUNDS / f"{sound}.wav", clip.pcm / 32768)
        write_text(folder / TEST, json.dumps(test, indent=1))
        write_text(folder / KEY, json.dumps(_key(test["id"], ids, named), indent=1))
        write_text(folder / PAGE, page)
    return Made(out, test, chosen, len(page.encode()))


def check_out(out: Path, overwrite: bool) -> None:
    """Raise OutputError if the folder of a new test may not be made or replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise OutputError(f"{out} is a file; name a folder.")
    if not _is_test(out):
        raise OutputError(f"The folder {out} holds other files; name an empty or new one.")
    if others := sorted(path.name for path in out.iterdir() if path.name not in (PAGE, TEST, KEY, SOUNDS)):
        raise OutputError(
            f"The folder {out} holds more than a test ({others[0]}), which may be the votes of listeners; "
            "name an empty or new one."
        )
    if not overwrite:
        raise OutputError(f"The folder {out} holds a test; name another one, or give --overwrite.")


def _is_test(folder: Path) -> bool:
    with suppress(OSError, ValueError, AttributeError):
        return json.loads((folder / TEST).read_text(encoding="utf-8")).get("format") == FORMAT
    return False


# --- ids ----------------------------------------------------------------------------------------------------


def _identified(chosen: Chosen, seed: int) -> dict[str, tuple[str, Clip]]:
    """The name of the system and the clip of each sound, by an id in which neither name nor file enters."""
    all_clips = [(name, clip) for name, clips in chosen.clips.items() for clip in clips]
    order = np.random.default_rng([seed, 1]).permutation(len(all_clips))
    named = {}
    for position, i in enumerate(order):
        text = f"{seed} {position} ".encode() + all_clips[i][1].pcm.tobytes()
        named[hashlib.sha256(text).hexdigest()[:12]] = all_clips[i]
    return dict(sorted(named.items()))


def _system_ids(chosen: Chosen, seed: int) -> dict[str, str]:
    order = np.random.default_rng([seed, 2]).permutation(len(chosen.clips))
    return {name: f"system{number}" for name, number in zip(chosen.clips, order + 1, strict=True)}


def _key(test: str, ids: Mapping[str, str], named: Mapping[str, tuple[str, Clip]]) -> dict[str, Any]:
    return {
        "format": KEY_FORMAT,
        "test": test,
        "systems": {system: name for name, system in ids.items()},
        "sounds": {
            sound: {
                "system": ids[name],
                "file": str(clip.path),
                "loudness": round(clip.loudness, 2),
                "gain": round(clip.gain, 2),
            }
            for sound, (name, clip) in named.items()
        },
    }


# --- the page -----------------------------------------------------------------------------------------------


def _page(test: Mapping[str, Any], sounds: Mapping[str, NDArray[np.int16]]) -> str:
    html, style, script = (
        (TEMPLATES / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    return Template(html).substitute(
        title=escape(visible(test["title"])),
        pairs=test["pairs"],
        seconds=f"{test['seconds']:.3g}",
        style=style,
        script=script,
        test=json.dumps(test).replace("<", r"\u003c"),  # a title must not end the element
        sounds="\n".join(
            f'<script type="text/plain" id="sound-{sound}">{_flac(pcm)}</script>'
            for sound, pcm in sounds.items()
        ),
    )


def _flac(pcm: NDArray[np.int16]) -> str:
    """The sound as base64 of a FLAC file, which all browsers play and which takes half the room of a wav."""
    file = io.BytesIO()
    soundfile.write(file, pcm, SAMPLE_RATE, "PCM_16", format="FLAC")
    return base64.b64encode(file.getvalue()).decode("ascii")


# --- what a person is told ----------------------------------------------------------------------------------


def describe(made: Made) -> str:
    """What was made, what was noticed, and how often a listener hears the same."""
    per_system = {name: len(clips) for name, clips in made.chosen.clips.items()}
    n = next(iter(per_system.values()))
    lines = [
        f"{made.folder}: {count_of(len(per_system), 'system')}, {count_of(n, 'sound')} of each, "
        f"{made.test['seconds']:.3g} s long, at {made.chosen.loudness:.1f} LUFS; "
        f"{count_of(made.test['pairs'], 'pair')} for each listener.",
        *made.chosen.remarks,
    ]
    most = -(-2 * made.test["pairs"] // (n * len(per_system)))
    if most > 1:
        lines.append(
            f"A listener hears the same sound up to {most} times: there are few sounds for so many pairs."
        )
    lines.append(
        f"The page is {made.folder / PAGE} ({made.page_bytes / 2**20:.1f} MiB). {made.folder / KEY} says "
        "which sound is whose; give it to nobody who listens."
    )
    return "\n".join(visible(line) for line in chain.from_iterable(line.splitlines() for line in lines))
