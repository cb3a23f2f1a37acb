"""Recordings: find them in a folder, decode them once to 16 kHz mono 16 bit, and read them as one stream."""

import hashlib
import json
import os
import shutil
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.field_types import fits
from samplernn_theano.data import audio, decoders
from samplernn_theano.data.set_folder import UNFINISHED, write_npy
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import locked, sha256, write_text
from samplernn_theano.utils.progress import progress_bar
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import parse_json
from samplernn_theano.utils.version import package_version

SUFFIXES = decoders.SUFFIXES + decoders.FFMPEG_SUFFIXES
"""File extensions of recordings, in lower or upper case."""

PROPERTIES = {"seconds": float, "rate": int, "channels": int, "clipped": int, "sha256": str}
"""Properties of a recording that are kept with its decoded sound, and their types."""

MAX_PARALLEL = 4
"""Recordings that are decoded at the same time: an hour of sound needs up to 650 MB of memory."""


class Recording(NamedTuple):
    """A file with sound."""

    path: Path
    name: str  # the path relative to the folder it was found in, with slashes

    @property
    def speaker(self) -> str | None:
        """The first sub-folder in its name; None if there is none."""
        first, slash, _ = self.name.partition("/")
        return first if slash else None


class Found(NamedTuple):
    """Recordings found in a folder."""

    recordings: list[Recording]  # sorted by name, as text
    ignored: int  # number of other files
    skipped: list[dict[str, str]]  # path and reason of folders that were not entered


def find(folder: str | os.PathLike[str], without: Iterable[Path] = ()) -> Found:
    """Find the recordings in `folder` and below.

    Hidden files and folders (names that start with a dot) are skipped. Links to folders are not followed,
    because they may form loops. Files in `without` are neither recordings nor counted.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = f"{folder} is not a folder" if folder.exists() else f"There is no folder {folder}"
        raise DataError(f"{what}; give the folder with the recordings.")
    own = {path.resolve() for path in without}
    found = Found([], 0, [])
    ignored = 0

    def skip(path: str | Path, reason: str | None) -> None:
        name = Path(path).relative_to(folder).as_posix()
        found.skipped.append({"path": name, "reason": reason or "unreadable"})

    for root, folders, names in os.walk(folder, onerror=lambda error: skip(error.filename, error.strerror)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(root, name).is_symlink():
                skip(Path(root, name), "a link to a folder")
        here = Path(root).resolve()
        for name in names:
            path = Path(root, name)
            if name.startswith(".") or here / name in own:
                continue
            # Reading a pipe would hang. A dangling link is reported as unreadable later.
            if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
                found.recordings.append(Recording(path, path.relative_to(folder).as_posix()))
            else:
                ignored += 1
    if not found.recordings:
        reasons = [f" {entry['path']} was not entered ({entry['reason']})." for entry in found.skipped[:1]]
        raise DataError(
            f"No recordings in {folder}; give a folder that holds wav, flac, ogg, mp3 or other sound files."
            + "".join(reasons)
        )
    found.recordings.sort(key=lambda recording: recording.name)
    found.skipped.sort(key=lambda entry: entry["path"])
    return found._replace(ignored=ignored)


@contextmanager
def staging_directory(out: Path) -> Iterator[Path]:
    """Yield a hidden folder in `out` for work in progress; remove it when the block succeeds.

    After an error or an interruption it is kept, so that the next run does not decode again. Its sub-folder
    `new`, for the finished data set, does not exist at first.
    """
    folder = out / ".building"
    with locked(folder):
        shutil.rmtree(folder / "new", ignore_errors=True)
        try:
            yield folder
        except BaseException:
            if any(folder.glob("*.json")):
                print(f"Decoded sound is kept in {folder}; run again to resume from there.", file=sys.stderr)
            else:
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):
                    out.rmdir()  # if it is empty
            raise
        shutil.rmtree(folder, ignore_errors=True)
    (out / UNFINISHED).unlink(missing_ok=True)


class Decoded(NamedTuple):
    """A decoded recording, or a part of one."""

    path: Path  # .npy file: int16 (samples,) at 16 kHz
    length: int  # samples
    begin: int = 0  # first sample of the part

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """Read the samples from `start` to `stop`. No file stays open: a set may have very many."""
        stop = self.begin + min(stop, self.length)
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[self.begin + start : stop])


def decode(
    recording: Recording, work: Path, allow_upsampling: bool = False, allow_clipping: bool = False
) -> tuple[dict[str, Any], Decoded | None]:
    """Decode a recording to a file in `work`, unless an earlier run did so.

    Returns its entry in the manifest (path, status, and the reason or the properties), and its sound, None if
    it cannot be used.
    """
    name = recording.name
    try:
        properties, sound = _decoded(recording, work)
        rate, clipping = properties["rate"], properties.get("doubts", {}).get("clipping")
        if rate < SAMPLE_RATE and not allow_upsampling:
            reason = (
                f"{name} was recorded at {rate} Hz and lacks the frequencies above {rate // 2} Hz; "
                "pass --allow-upsampling to use it."
            )
        elif clipping and not allow_clipping:
            reason = f"{name}: {clipping} Or pass --allow-clipping to use it as it is."
        else:
            return {"path": name, "status": "used"} | properties, sound
    except OSError as error:
        reason = f"{name} cannot be opened ({error.strerror}); fix or remove it."
    except DataError as error:
        reason = str(error).replace(str(recording.path), name)
    return {"path": name, "status": "unreadable", "reason": reason}, None


def _decoded(recording: Recording, work: Path) -> tuple[dict[str, Any], Decoded]:
    """Properties of the recording for the manifest, and its sound; again while it is the same file.

    A copy that keeps the time (cp -p, rsync -t) is another file, or was changed at another time.
    """
    s = recording.path.stat()
    identity = package_version(), recording.path.absolute(), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino
    key = hashlib.sha256("\0".join(map(str, identity)).encode(errors="surrogateescape"))
    properties_path = work / f"{key.hexdigest()[:32]}.json"  # written last
    path = properties_path.with_suffix(".npy")
    # Not decoded, or damaged by a power failure:
    with suppress(FileNotFoundError, ValueError, EOFError, TypeError, KeyError, AttributeError):
        properties: dict[str, Any] = parse_json(properties_path.read_text(encoding="utf-8"))
        kept = Decoded(path, len(np.load(path, mmap_mode="r", allow_pickle=False)))
        is_whole = all(fits(properties[name], kind) for name, kind in PROPERTIES.items())
        if is_whole and fits(properties.get("doubts", {}), Mapping[str, str]):
            return properties, kept
    digest = sha256(recording.path)
    sound = audio.read(recording.path, note=lambda _: None)
    properties = {
        "seconds": len(sound.samples) / SAMPLE_RATE,
        "rate": sound.file_rate,
        "channels": sound.channels,
        "clipped": sound.clipped,
        "sha256": digest,
    }
    if sound.doubts:
        properties["doubts"] = sound.doubts
    samples = np.clip(np.rint(sound.samples * 32768), -32768, 32767)
    write_npy(path, samples.shape, [samples], "<i2", durable=False)
    write_text(properties_path, json.dumps(properties), durable=False)
    return properties, Decoded(path, len(samples))


@dataclass
class Stream:
    """Concatenated recordings, or parts of them."""

    speaker: str | None = None
    split: str = ""  # if it is known before the stream is cut
    names: list[str] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)  # first sample of each
    parts: list[Decoded] = field(default_factory=list)
    length: int = 0  # samples of all

    def append(self, name: str, sound: Decoded) -> None:
        """Add a recording at the end."""
        self.names.append(name)
        self.begins.append(self.length)
        self.parts.append(sound)
        self.length += sound.length

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """Read the samples from `start` to `stop`, (stop - start,)."""
        segments = []
        k = bisect_right(self.begins, start) - 1
        while k < len(self.parts) and self.begins[k] < stop:
            segments.append(self.parts[k].read(max(0, start - self.begins[k]), stop - self.begins[k]))
            k += 1
        return np.concatenate(segments)

    def origin(self, start: int) -> tuple[str, float]:
        """The recording with sample `start`, and the seconds from the beginning of that recording."""
        k = bisect_right(self.begins, start) - 1
        return self.names[k], (start - self.begins[k] + self.parts[k].begin) / SAMPLE_RATE


def decode_all(
    recordings: Sequence[Recording], work: Path, allow_upsampling: bool, allow_clipping: bool, progress: bool
) -> Iterator[tuple[Recording, dict[str, Any], Decoded | None]]:
    """`decode` recordings in order, a few in parallel, with a progress bar over their bytes."""
    paths = [recording.path for recording in recordings]
    sizes = [os.path.getsize(path) if os.path.exists(path) else 0 for path in paths]
    pool = ThreadPoolExecutor(min(MAX_PARALLEL, os.cpu_count() or 1))
    with progress_bar("decode", sum(sizes), "B", progress) as bar:
        try:
            allowed = (allow_upsampling, allow_clipping)
            decoded = [pool.submit(decode, recording, work, *allowed) for recording in recordings]
            for recording, size, future in zip(recordings, sizes, decoded, strict=True):
                yield recording, *future.result()
                bar.advance(size)
        finally:
            pool.shutdown(cancel_futures=True)
