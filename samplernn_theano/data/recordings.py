"""Recordings: found in a folder, decoded once to 16 kHz mono 16 bit, and read as one stream."""

import hashlib
import json
import os
import shutil
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano.data import audio
from samplernn_theano.data.set_folder import save
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import locked, sha256, write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.version import package_version

SUFFIXES = audio.SUFFIXES + audio.FFMPEG_SUFFIXES
"""A file is a recording if its name ends so, in small or capital letters."""

MOST_AT_ONCE = 4
"""Recordings that are decoded at once: an hour of sound needs up to 650 MB of memory."""


class Recording(NamedTuple):
    """A file with sound."""

    path: Path
    name: str
    """Its path relative to the folder it was found in, with slashes."""

    @property
    def speaker(self) -> str | None:
        """The sub-folder it lies in, the first one of its name; None if it lies in none."""
        first, slash, _ = self.name.partition("/")
        return first if slash else None


class Found(NamedTuple):
    """What there is in a folder."""

    recordings: list[Recording]
    """Sorted by name, as text."""
    ignored: int
    """How many other files there are."""
    skipped: list[dict[str, str]]
    """Folders not entered, each with path and reason."""


def find(folder: str | os.PathLike[str], without: Iterable[Path] = ()) -> Found:
    """Find the recordings in `folder` and below.

    Hidden files and folders (names that start with a dot) are passed over. Links to folders are not followed:
    they may lead in circles. Files in `without` are neither recordings nor counted.

    Raises
    ------
    DataError
        If `folder` is no folder, or holds no recording.
    """
    folder = Path(folder)
    if not folder.exists():
        raise DataError(f"There is no folder {folder}; give the folder that holds the recordings.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the recordings.")
    own = {path.resolve() for path in without}
    found = Found([], 0, [])
    ignored = 0

    def skip(path: str | Path, reason: str | None) -> None:
        found.skipped.append(
            {"path": Path(path).relative_to(folder).as_posix(), "reason": reason or "unreadable"}
        )

    for root, folders, names in os.walk(folder, onerror=lambda error: skip(error.filename, error.strerror)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(root, name) for name in folders):
            if path.is_symlink():
                skip(path, "a link to a folder")
        here = Path(root).resolve()
        for path in (
            Path(root, name) for name in names if not name.startswith(".") and here / name not in own
        ):
            # A pipe would hang; a dangling link cannot be read, which is reported later.
            if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
                found.recordings.append(Recording(path, path.relative_to(folder).as_posix()))
            else:
                ignored += 1
    if not found.recordings:
        reasons = "".join(
            f" {entry['path']} was not entered ({entry['reason']})." for entry in found.skipped[:1]
        )
        raise DataError(
            f"No recordings in {folder}; give a folder that holds wav, flac, ogg, mp3 or other sound files."
            f"{reasons}"
        )
    found.recordings.sort(key=lambda recording: recording.name)
    found.skipped.sort(key=lambda entry: entry["path"])
    return found._replace(ignored=ignored)


@contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """Yield a hidden folder in `out` for work in progress; it goes when the block ends well.

    After an error or an interruption it stays, so that the next run finds there what this one has decoded.
    Its sub-folder `new`, for the finished data set, is not there at first.

    Raises
    ------
    OutputError
        If it cannot be made, or another process makes a data set in `out`.
    """
    folder = out / ".building"
    with locked(folder):
        shutil.rmtree(folder / "new", ignore_errors=True)
        try:
            yield folder
        except BaseException:
            if any(folder.glob("*.json")):
                print(
                    f"What is decoded is kept in {folder}; the next run goes on from there.", file=sys.stderr
                )
            else:
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):
                    out.rmdir()  # if it is empty
            raise
        shutil.rmtree(folder, ignore_errors=True)


class Decoded(NamedTuple):
    """A recording that was decoded."""

    path: Path
    """.npy file: int16 (samples,) at 16 kHz."""
    length: int
    """Samples."""

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """The samples from `start` to `stop`. No file stays open: a set may be made of very many."""
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[start:stop])


def decode(recording: Recording, work: Path, allow_upsampling: bool) -> tuple[dict[str, Any], Decoded | None]:
    """Decode a recording, or find it decoded in `work` by an earlier run.

    Parameters
    ----------
    work
        Folder to keep the sound in. It is found again as long as the file has the same path, size and time.
    allow_upsampling
        Whether a recording of less than 16 kHz, which lacks the high tones, may be used.

    Returns
    -------
    source : dict
        What the manifest says of it: path, status (used, unreadable), reason or else seconds, rate, channels,
        clipped samples, sha256.
    sound : Decoded or None
        In a file in `work`; None if the recording cannot be used.
    """
    source: dict[str, Any] = {"path": recording.name}
    try:
        told, sound = _decoded(recording, work)
    except OSError as error:
        reason = f"{recording.name} cannot be opened ({error.strerror}); mend or remove it."
        return source | {"status": "unreadable", "reason": reason}, None
    except DataError as error:
        reason = str(error).replace(str(recording.path), recording.name)
        return source | {"status": "unreadable", "reason": reason}, None
    if told["rate"] < SAMPLE_RATE and not allow_upsampling:
        reason = (
            f"{recording.name} was recorded at {told['rate']} Hz and lacks the tones above "
            f"{told['rate'] // 2} Hz; pass --allow-upsampling to use it."
        )
        return source | {"status": "unreadable", "reason": reason}, None
    return source | {"status": "used"} | told, sound


def _decoded(recording: Recording, work: Path) -> tuple[dict[str, Any], Decoded]:
    """What is told of the sound, and the sound itself."""
    state = recording.path.stat()
    words = (package_version(), recording.path.resolve(), state.st_size, state.st_mtime_ns)
    key = hashlib.sha256("\0".join(map(str, words)).encode(errors="surrogateescape"))
    about = work / f"{key.hexdigest()[:32]}.json"  # written last
    path = about.with_suffix(".npy")
    with suppress(FileNotFoundError, ValueError, EOFError):  # never decoded, or cut short by a power failure
        told = json.loads(about.read_text(encoding="utf-8"))
        return told, Decoded(path, len(np.load(path, mmap_mode="r", allow_pickle=False)))
    digest = sha256(recording.path)
    heard = audio.read(recording.path)
    told = {
        "seconds": len(heard.samples) / SAMPLE_RATE,
        "rate": heard.file_rate,
        "channels": heard.channels,
        "clipped": heard.clipped,
        "sha256": digest,
    }
    samples = np.clip(np.rint(heard.samples * 32768), -32768, 32767)
    save(path, samples.shape, [samples], "<i2", durable=False)
    write_text(about, json.dumps(told), durable=False)
    return told, Decoded(path, len(samples))


@dataclass
class Stream:
    """Recordings one after the other, without a gap."""

    speaker: str | None = None
    names: list[str] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)  # where each recording begins
    parts: list[Decoded] = field(default_factory=list)
    length: int = 0  # samples of all

    def append(self, name: str, sound: Decoded) -> None:
        """Add a recording at the end."""
        self.names.append(name)
        self.begins.append(self.length)
        self.parts.append(sound)
        self.length += sound.length

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """The samples from `start` to `stop`, (stop - start,)."""
        pieces = []
        k = bisect_right(self.begins, start) - 1
        while k < len(self.parts) and self.begins[k] < stop:
            pieces.append(self.parts[k].read(max(0, start - self.begins[k]), stop - self.begins[k]))
            k += 1
        return np.concatenate(pieces)

    def where(self, start: int) -> tuple[str, float]:
        """The recording that sample `start` lies in, and the seconds from its beginning."""
        k = bisect_right(self.begins, start) - 1
        return self.names[k], (start - self.begins[k]) / SAMPLE_RATE


def decode_all(
    recordings: Sequence[Recording], work: Path, allow_upsampling: bool, progress: bool
) -> Iterator[tuple[Recording, dict[str, Any], Decoded | None]]:
    """`decode` recordings, a few at a time, with a progress bar over their bytes; they come in order."""
    sizes = [_size(recording.path) for recording in recordings]
    bar = tqdm(total=sum(sizes), desc="decode", unit="B", unit_scale=True, disable=not progress)
    pool = ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1))
    try:
        decoded = [pool.submit(decode, recording, work, allow_upsampling) for recording in recordings]
        for recording, size, future in zip(recordings, sizes, decoded, strict=True):
            yield recording, *future.result()
            bar.update(size)
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
