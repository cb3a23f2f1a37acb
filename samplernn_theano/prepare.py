"""A folder of recordings becomes a data set: `samplernn prepare FOLDER --out DIR`.

As the original made its music set: all recordings one after the other, at 16 kHz and mono, are cut into clips
of 8 s that do not overlap; the clips are shuffled with a fixed seed; the last ones are the test set, those
before them the validation set, the others the training set. A clip may begin in one recording and end in the
next, and clips of one recording land in all three splits: so did the original's.

Not as the original: recordings are taken in the order of their names (the original took the order of the file
system), and silent clips, on which the normalisation of the feeder divides by zero, are dropped.
"""

import hashlib
import json
import math
import os
from bisect import bisect_right
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from samplernn_theano import __version__, audio
from samplernn_theano.audio import SAMPLE_RATE
from samplernn_theano.errors import DataError
from samplernn_theano.files import atomic_write
from samplernn_theano.original.python2 import shuffle

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
"""A file is a recording if its name ends so, in small or capital letters."""

SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"


def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    name: str = "clips",
    clip_seconds: float = 8.0,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 123,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Build a data set out of the recordings in `folder` and below; return its manifest.

    Writes `<name>_train.npy`, `<name>_valid.npy`, `<name>_test.npy`, each float16 (clips, samples per clip)
    in [-1, 1], and, last, `manifest.json`. The same recordings and options give the same bytes. All of them
    appear at the end; an error before that leaves `out` as it was. Takes 115 MB of memory per hour of sound,
    and besides what the longest recording needs (4 bytes for each sample of a channel, a few times over).

    Hidden files and folders (names that start with a dot) are passed over. Links to folders are not followed.
    A recording that cannot be read is reported in the manifest and left out.

    Parameters
    ----------
    folder
        Where the recordings are.
    out
        Where the data set goes; made if it is missing. It may lie inside `folder`.
    name
        What the names of the split files begin with.
    clip_seconds
        Length of a clip in seconds, rounded to whole samples.
    valid_fraction, test_fraction
        Parts of the clips that go to the validation and test split; at least one clip goes to each.
    seed
        Seed of the shuffle; the original's is 123.
    overwrite
        Whether a data set of the same name in `out` may be replaced.
    progress
        Whether to show a progress bar on the standard error.

    Returns
    -------
    dict
        What `manifest.json` holds; `describe` puts it into words.

    Raises
    ------
    DataError
        If `folder` is missing or holds too little readable sound, if `out` holds a data set already, or if an
        option makes no sense.
    OutputError
        If the files cannot be written.
    """
    folder, out = Path(folder), Path(out)
    length = _clip_length(clip_seconds)
    _check_options(name, valid_fraction, test_fraction)
    files = {split: f"{name}_{split}.npy" for split in SPLITS}
    _check_folder(folder)
    own = {*files.values(), MANIFEST}
    _check_out(out, own, overwrite)

    recordings, ignored, skipped = _find(folder, out, own)
    if not recordings:
        raise DataError(f"No recordings in {folder}; give a folder that holds {', '.join(SUFFIXES)} files.")
    sources, clips, silent, rest_seconds = _cut(folder, recordings, length, progress)
    if all(source["status"] == "unreadable" for source in sources):
        raise DataError(f"No recording in {folder} can be read; of the first: {sources[0]['reason']}")
    train, valid = _split_sizes(len(clips), valid_fraction, test_fraction)
    if train < 1:
        raise DataError(_too_little(folder, sources, len(clips), len(silent), length))

    shuffled = [clips[i] for i in original_order(len(clips), seed)]
    end = train + valid
    splits = {"train": shuffled[:train], "valid": shuffled[train:end], "test": shuffled[end:]}
    mean, std = _mean_and_std(splits["train"])
    manifest: dict[str, Any] = {
        "version": __version__,
        "options": {
            "name": name,
            "clip_seconds": length / SAMPLE_RATE,
            "valid_fraction": valid_fraction,
            "test_fraction": test_fraction,
            "seed": seed,
        },
        "rate": SAMPLE_RATE,
        "train_mean": mean,
        "train_std": std,
        "splits": {
            split: {"file": files[split], "clips": len(rows), "seconds": len(rows) * length / SAMPLE_RATE}
            for split, rows in splits.items()
        },
        "silent_clips": silent,
        "rest_seconds": rest_seconds,
        "ignored_files": ignored,
        "skipped_folders": skipped,
        "sources": sources,
    }
    _write(out, manifest, splits)
    return manifest


def original_order(count: int, seed: int = 123) -> list[int]:
    """Return the order in which the original's script put clips 0 .. `count` - 1 of its music set.

    The script named clip k `p<k>`, sorted the names as text (p0, p1, p10, ..., p2, ...) and shuffled them.
    """
    order = sorted(range(count), key=str)
    shuffle(order, seed)
    return order


def describe(manifest: dict[str, Any]) -> str:
    """Put the manifest of a data set into a few lines for people."""
    splits, options, sources = manifest["splits"], manifest["options"], manifest["sources"]
    clips = sum(split["clips"] for split in splits.values())
    seconds = sum(split["seconds"] for split in splits.values())
    used = [source for source in sources if source["status"] == "used"]
    unreadable = [source["reason"] for source in sources if source["status"] == "unreadable"]
    upsampled = [source["path"] for source in used if source["rate"] < manifest["rate"]]
    clipped = [f"{source['path']} ({source['clipped']})" for source in used if source["clipped"]]
    silent = [f"{clip['path']} at {clip['seconds']:.1f} s" for clip in manifest["silent_clips"]]
    skipped = [f"{entry['path']} ({entry['reason']})" for entry in manifest["skipped_folders"]]

    lines = [
        f"Data set {options['name']}: {_count(clips, 'clip')} of {options['clip_seconds']:g} s, "
        f"{_hours(seconds)}, from {_count(len(used), 'recording')}."
    ]
    lines += [
        f"  {key:5}  {_count(splits[key]['clips'], 'clip')}, {_hours(splits[key]['seconds'])}"
        for key in SPLITS
    ]
    lines.append(
        f"Training set: mean {manifest['train_mean']:.6g}, standard deviation {manifest['train_std']:.6g}."
    )
    if manifest["rest_seconds"]:
        lines.append(f"Left over at the end, less than a clip: {manifest['rest_seconds']:.2f} s.")
    if manifest["ignored_files"]:
        lines.append(f"Not recordings, ignored: {_count(manifest['ignored_files'], 'file')}.")
    lines += _listed("Silent clips, dropped", silent)
    lines += _listed(f"Recorded below {manifest['rate']} Hz, so they lack the high tones", upsampled)
    lines += _listed("Beyond full scale, clipped (samples)", clipped)
    lines += _listed("Folders left out", skipped)
    lines += _listed("Recordings left out", unreadable)
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()  # names need not be valid text


def _clip_length(clip_seconds: float) -> int:
    """Return the samples in a clip."""
    if not (math.isfinite(clip_seconds) and round(clip_seconds * SAMPLE_RATE) >= 2):
        raise DataError(
            f"--clip-seconds is {clip_seconds}; give the length of a clip in seconds, for instance 8."
        )
    return round(clip_seconds * SAMPLE_RATE)


def _check_options(name: str, valid_fraction: float, test_fraction: float) -> None:
    if not name or name.startswith(".") or "/" in name or os.sep in name or "\0" in name:
        raise DataError(f"{name!r} cannot begin a file name; give a name such as clips.")
    for option, fraction in (("--valid-fraction", valid_fraction), ("--test-fraction", test_fraction)):
        if not 0 < fraction < 1:
            raise DataError(f"{option} is {fraction}; give a part of the clips, for instance 0.1.")
    if valid_fraction + test_fraction >= 1:
        raise DataError(
            f"--valid-fraction {valid_fraction} and --test-fraction {test_fraction} leave no training set; "
            "their sum must be below 1."
        )


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise DataError(f"There is no folder {folder}; give the folder that holds the recordings.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the recordings.")


def _check_out(out: Path, own: set[str], overwrite: bool) -> None:
    """Refuse to mix two data sets in `out`, or to replace one unasked; `own`: names of the files to write."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder; give a folder for the data set.")
    held = {path.name for split in SPLITS for path in out.glob(f"*_{split}.npy")}
    if held - own:
        raise DataError(f"{out} holds another data set ({min(held - own)}); choose another folder.")
    if not overwrite and (held or (out / MANIFEST).exists()):
        raise DataError(f"{out} holds a data set already; choose another folder, or pass --overwrite.")


def _find(folder: Path, out: Path, own: set[str]) -> tuple[list[Path], int, list[dict[str, str]]]:
    """Return the recordings below `folder`, the number of other files, and the folders not entered.

    Recordings are sorted by their path relative to `folder`, written with slashes. Files that an earlier run
    wrote (`own`, in `out`) are not counted.
    """
    recordings: list[Path] = []
    skipped: list[dict[str, str]] = []
    ignored = 0

    def skip(path: str | Path, reason: str | None) -> None:
        skipped.append({"path": Path(path).relative_to(folder).as_posix(), "reason": reason or "unreadable"})

    for root, folders, names in os.walk(folder, onerror=lambda error: skip(error.filename, error.strerror)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(root, name) for name in folders):
            if path.is_symlink():
                skip(path, "a link to a folder")
        written = own if Path(root).resolve() == out.resolve() else set()
        for path in (Path(root, name) for name in names if not name.startswith(".") and name not in written):
            # A pipe would hang; a dangling link cannot be read, which is reported later.
            if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
                recordings.append(path)
            else:
                ignored += 1
    recordings.sort(key=lambda path: path.relative_to(folder).as_posix())
    return recordings, ignored, sorted(skipped, key=lambda entry: entry["path"])


def _cut(
    folder: Path, recordings: list[Path], length: int, progress: bool
) -> tuple[list[dict[str, Any]], list[np.ndarray], list[dict[str, Any]], float]:
    """Read the recordings one after the other and cut them into clips.

    Returns
    -------
    sources
        What the manifest says of each recording.
    clips
        The clips that are not silent, in the order of the recordings, each float16 (length,).
    silent
        Where the silent clips lie: number among all clips, recording, and seconds from its start.
    rest_seconds
        What is left at the end, too short for a clip.
    """
    sources: list[dict[str, Any]] = []
    clips: list[np.ndarray] = []
    silent: list[dict[str, Any]] = []
    names, begins = [], []  # recordings used so far, and at which sample of the whole each begins
    total = 0
    rest = np.empty(0, "<f2")
    for path in tqdm(recordings, desc="prepare", unit="file", disable=not progress):
        name = path.relative_to(folder).as_posix()
        source: dict[str, Any] = {"path": name}
        sources.append(source)
        try:
            source["sha256"] = _sha256(path)
            sound = audio.read(path)
        except OSError as error:
            source.update(status="unreadable", reason=f"{name} cannot be opened ({error.strerror}).")
            continue
        except DataError as error:
            source.update(status="unreadable", reason=str(error).replace(str(path), name))
            continue
        source.update(
            status="used",
            seconds=len(sound.samples) / SAMPLE_RATE,
            rate=sound.file_rate,
            channels=sound.channels,
            clipped=sound.clipped,
        )
        names.append(name)
        begins.append(total)

        first = (total - len(rest)) // length  # number of the next clip
        total += len(sound.samples)
        waiting = np.concatenate([rest, sound.samples.astype("<f2")])
        rows = waiting[: len(waiting) // length * length].reshape(-1, length)
        rest = waiting[rows.size :].copy()
        for number, row in enumerate(rows, start=first):
            if not is_silent(row):
                clips.append(row)
                continue
            begin = number * length
            k = bisect_right(begins, begin) - 1
            silent.append({"clip": number, "path": names[k], "seconds": (begin - begins[k]) / SAMPLE_RATE})
    return sources, clips, silent, len(rest) / SAMPLE_RATE


def is_silent(clip: np.ndarray) -> bool:
    """Say whether `clip`, float (samples,), is constant or stays below 2**-10 of full scale."""
    lowest, highest = float(clip.min()), float(clip.max())
    return lowest == highest or max(-lowest, highest) < 2**-10


def _split_sizes(clips: int, valid_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Return the clips for training (below 1: too few) and for validation; the others are for the test."""
    valid = max(1, round(clips * valid_fraction))
    test = max(1, round(clips * test_fraction))
    return clips - valid - test, valid


def _too_little(folder: Path, sources: list[dict[str, Any]], clips: int, silent: int, length: int) -> str:
    found = sum(source.get("seconds", 0) for source in sources)
    dropped = f" besides {_count(silent, 'silent clip')}" if silent else ""
    if clips >= 3:
        return (
            f"{folder} gives {_count(clips, 'clip')}{dropped}, and none is left to train on; "
            "lower --valid-fraction and --test-fraction, or add recordings."
        )
    return (
        f"Found {found:.1f} s of sound in {folder}, which gives {_count(clips, 'clip')} of "
        f"{length / SAMPLE_RATE:g} s{dropped}; at least 3 clips ({3 * length / SAMPLE_RATE:g} s) are needed: "
        "add recordings or lower --clip-seconds."
    )


def _mean_and_std(clips: list[np.ndarray]) -> tuple[float, float]:
    """Return mean and standard deviation over all samples of `clips`, in float64."""
    count = sum(clip.size for clip in clips)
    mean = math.fsum(clip.sum(dtype=np.float64) for clip in clips) / count
    squares = math.fsum(np.square(clip.astype(np.float64) - mean).sum() for clip in clips)
    return mean, math.sqrt(squares / count)


def _write(out: Path, manifest: dict[str, Any], splits: dict[str, list[np.ndarray]]) -> None:
    """Write the splits, add their hashes to `manifest`, and write that.

    Everything is written under temporary names before the first file gets its own, so a full disk changes
    nothing. The manifest, opened first, is renamed last.
    """
    with ExitStack() as files:
        last = files.enter_context(atomic_write(out / MANIFEST))
        for split, clips in splits.items():
            entry = manifest["splits"][split]
            temporary = files.enter_context(atomic_write(out / entry["file"]))
            _save(temporary, clips)
            entry["sha256"] = _sha256(temporary)
        last.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _save(path: Path, clips: list[np.ndarray]) -> None:
    """Write `clips` as one .npy array (clips, samples), row by row: no second copy of them is needed."""
    header = {"descr": "<f2", "fortran_order": False, "shape": (len(clips), clips[0].size)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for clip in clips:
            file.write(clip.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _listed(title: str, items: list[str], most: int = 10) -> list[str]:
    """Return the lines of a list, at most `most` of its items, or nothing if it is empty."""
    if not items:
        return []
    more = [f"  ... and {len(items) - most:,} more, see {MANIFEST}"] if len(items) > most else []
    return [f"{title}: {len(items):,}", *(f"  {item}" for item in items[:most]), *more]
