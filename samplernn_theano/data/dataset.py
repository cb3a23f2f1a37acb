"""The clips of a data set in its folder: all of one length, or ragged.

A folder holds, for each split (train, valid, test), ``<name>_<split>.npy``. Clips of one length are one array
of floats (clips, samples), as the authors' files are. Ragged clips are concatenated in one array of
floats (samples,), and ``<name>_<split>_offsets.npy``, integers (clips + 1,), gives their limits: clip i is
``data[offsets[i] : offsets[i + 1]]``. The package writes float16 and int64.
"""

import hashlib
import json
import mmap
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import DataError

SPLITS = ("train", "valid", "test")

SILENCE = 2**-10
"""Of full scale: a clip that stays below is silent."""

_CHUNK = 2**22  # samples to hold in float64 at a time


@dataclass(frozen=True)
class Ragged:
    """Clips of different lengths; clip i is (samples,)."""

    data: NDArray[np.floating]  # (samples,), the concatenated clips
    offsets: NDArray[np.integer]  # (clips + 1,): the start of each, and the end of the last

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> NDArray[np.floating]:
        return self.data[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        return (self[i] for i in range(len(self)))


type Clips = NDArray[np.floating] | Ragged
"""(clips, samples), or ragged. Both have a length and are indexed by the number of a clip."""


def lengths(clips: Clips) -> NDArray[np.integer]:
    """Samples in each clip, (clips,)."""
    return np.diff(clips.offsets) if isinstance(clips, Ragged) else np.full(len(clips), clips.shape[1])


def samples_of(clips: Clips) -> NDArray[np.floating]:
    """The array of all samples: (clips, samples), or (samples,) if the clips are ragged."""
    return clips.data if isinstance(clips, Ragged) else clips


def load_split(folder: str | Path, split: str) -> Clips:
    """Map the clips of one split, ``*_SPLIT.npy`` in `folder`, into memory."""
    path = split_path(folder, split)
    clips = _map(path)
    if clips.dtype.kind != "f" or clips.ndim not in (1, 2):
        raise DataError(
            f"{path} holds {clips.dtype} of shape {clips.shape}; floats (clips, samples) are needed"
            + _conversion(path, clips)
        )
    return clips if clips.ndim == 2 else _ragged(path, clips)


def split_path(folder: str | Path, split: str) -> Path:
    """The file of one split, ``*_SPLIT.npy`` in `folder`."""
    folder = Path(folder)
    make = f"samplernn prepare RECORDINGS --out {folder}"
    if not folder.is_dir():
        raise DataError(f"There is no data folder {folder}; make one with: {make}")
    found = sorted(folder.glob(f"*_{split}.npy"))
    if len(found) != 1:
        count = f"has {len(found)} files" if found else "has no file"
        raise DataError(
            f"The data folder {folder} {count} named *_{split}.npy and exactly one is needed; "
            f"make a data set with: {make}"
        )
    return found[0]


def check_unchanged(clips: Clips) -> None:
    """Raise DataError if the file that `clips` are mapped from was removed or cut short since.

    Reading beyond the end of a mapped file kills the process.
    """
    data = samples_of(clips)
    if not isinstance(data, np.memmap) or data.filename is None:
        return
    what = "cut short"
    try:
        if os.path.getsize(data.filename) >= data.offset + data.nbytes:
            return
    except OSError:
        what = "removed"
    raise DataError(f"{data.filename} was {what} while it was read; restore it and run again.")


def offsets_path(path: Path) -> Path:
    """The file with the offsets of the ragged clips in `path`."""
    return path.with_name(f"{path.stem}_offsets.npy")


def _ragged(path: Path, data: NDArray) -> Ragged:
    other = offsets_path(path)
    if not other.is_file():
        raise DataError(
            f"{path} holds clips of different lengths and {other.name} with their limits is missing; "
            "restore it, or write it: np.save(FILE, np.cumsum([0, *lengths])), their lengths in samples."
        )
    read = _map(other)
    if read.ndim != 1 or read.dtype.kind not in "iu" or len(read) < 1:
        raise DataError(
            f"{other} holds {read.dtype} of shape {read.shape}; integers (clips + 1,) are needed."
        )
    offsets = np.array(read, np.int64)
    if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 1).any():
        raise DataError(f"{other} does not fit {path.name}; make the data set again.")
    return Ragged(data, offsets)


def _conversion(path: Path, clips: NDArray) -> str:
    """How to convert an array of another type or shape."""
    bits = 16 if clips.itemsize > 4 else 8 * clips.itemsize
    half, shape = 2 ** (bits - 1), ".reshape(len(a), -1)" if clips.ndim > 2 else ""
    array = {"i": f"(a / {half})", "u": f"((a - {half}.0) / {half})", "f": "a"}.get(clips.dtype.kind)
    if array is None or (array == "a" and not shape):
        return "; make the data set again."
    what = "reshape them" if array == "a" else f"from -1 to 1: convert {bits}-bit sound"
    return f", {what}: " + _numpy(path, f'np.save(p, {array}{shape}.astype("float32"))')


def _numpy(path: Path, save: str, load: str = "np.load(p)") -> str:
    """A command that reads the array a from the path p, and saves another one."""
    code = f"import numpy as np; p = {json.dumps(str(path), ensure_ascii=False)}; a = {load}; {save}"
    return f"python -c {shlex.quote(code)}"


def _map(path: Path) -> NDArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # a damaged header can raise anything in NumPy's parser
        if "Python objects" in str(error):
            save = 'np.save(p, np.concatenate(a).astype("float32")); '
            save += 'np.save(p[:-4] + "_offsets.npy", np.cumsum([0, *map(len, a)]))'
            raise DataError(
                f"{path} holds Python objects, such as clips of different lengths, in a pickle, which may "
                "run any code; if it is yours and they are floats from -1 to 1, convert it: "
                + _numpy(path, save, "np.load(p, allow_pickle=True)")
            ) from error
        reason = str(error).rstrip(".")
        raise DataError(
            f"{path} cannot be read as a NumPy array ({reason}); get it again, or make the data set again."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} does not hold one array, as written by numpy.save; save it so.")
    return array


def release(clips: Clips) -> None:
    """Release the memory of mapped clips that were read; the next read maps them again.

    Without it, the resident set grows up to the size of the file.
    """
    data = samples_of(clips)
    mapped = getattr(data, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and not data.flags.writeable:  # changes would be lost
        mapped.madvise(mmap.MADV_DONTNEED)


def data_sha256(clips: Clips) -> str:
    """SHA-256 of the lengths of the clips and of all samples, in hexadecimal digits."""
    data, digest = samples_of(clips).reshape(-1), digest_of(lengths(clips))
    for start in range(0, len(data), _CHUNK):
        digest.update(np.ascontiguousarray(data[start : start + _CHUNK]).data)
        release(clips)
    return digest.hexdigest()


def digest_of(lengths: NDArray[np.integer]) -> "hashlib._Hash":
    """SHA-256 of the lengths of clips, to be updated with their samples."""
    return hashlib.sha256(lengths.astype("<i8").tobytes())


def is_silent(clip: NDArray[np.floating]) -> bool:
    """True if `clip`, (samples,) in [-1, 1], is constant or stays below `SILENCE`."""
    lowest, highest = float(clip.min()), float(clip.max())
    return lowest == highest or max(-lowest, highest) < SILENCE


def statistics(clips: Clips) -> tuple[float, float]:
    """Mean and standard deviation of all samples, in float64, read in chunks."""
    data = samples_of(clips).reshape(-1)
    shift = np.float64(data[0])  # sums of differences from one sample: no cancellation
    total = squares = 0.0
    for start in range(0, len(data), _CHUNK):
        difference = np.asarray(data[start : start + _CHUNK], np.float64) - shift
        release(clips)
        total += float(difference.sum())
        squares += float(np.vdot(difference, difference))
    mean = total / len(data)
    variance = squares / len(data) - mean**2
    if not 0 < variance < np.inf:
        raise DataError(
            "All samples of the clips are equal, or some are NaN or infinite: there is no standard deviation "
            "to divide by; remove or repair such clips."
        )
    return float(shift + mean), float(np.sqrt(variance))
