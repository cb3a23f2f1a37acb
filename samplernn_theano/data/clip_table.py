"""The table of clips of a data set, `clips.csv`: recording, position and speaker of each clip of each split.

It may have been saved by a spreadsheet, with other delimiters, encodings and an order of its own.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import SPLITS, load_split
from samplernn_theano.data.manifest import CLIPS, read_manifest
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_write

COLUMNS = ("split", "clip", "recording", "begins_at_s", "length_s", "speaker")
ROUNDING = 1e-3  # seconds; those in the table are rounded


class Origin(NamedTuple):
    """Where a clip is from; a text is empty and a number NaN where the table does not say it."""

    recording: str  # in which it begins
    begins: float  # seconds from the beginning of that recording
    seconds: float  # length of the clip
    speaker: str


def write(path: Path, splits: Mapping[str, Iterable[Origin]]) -> None:
    """Write the table atomically."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for split, origins in splits.items():
            for i, (recording, begins, seconds, speaker) in enumerate(origins):
                table.writerow([split, i, recording, f"{begins:.4f}", f"{seconds:.4f}", speaker])


def read(folder: str | Path, needed: str) -> dict[str, list[Origin]]:
    """The origins of the clips of each split; the column `needed`, recording or speaker, has no empty cell.

    Raises DataError if the table is missing, damaged, or of other clips than the splits.
    """
    path = Path(folder) / CLIPS
    table: dict[str, dict[int, Origin]] = {}
    try:
        for line, row in _rows(path.read_bytes(), needed):
            split, clip, value = (row.get(name, "") for name in ("split", "clip", needed))
            number = re.fullmatch(r"(\d+)([.,]0*)?", clip)  # some spreadsheets write 3.0, or 3,0
            if not split or not number or not value:
                raise ValueError(f"line {line} gives split {split!r}, clip {clip!r} and {needed} {value!r}")
            clips = table.setdefault(split.lower(), {})
            if int(number[1]) in clips:
                raise ValueError(f"line {line} is another one on clip {clip} of the {split} split")
            begins, seconds = _number(row.get("begins_at_s", "")), _number(row.get("length_s", ""))
            clips[int(number[1])] = Origin(row.get("recording", ""), begins, seconds, row.get("speaker", ""))
        for split, clips in table.items():
            if missing := set(range(len(clips))) - set(clips):
                raise ValueError(f"clip {min(missing)} of the {split} split is missing")
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        option = " --speakers" if needed == "speaker" else ""
        raise DataError(
            f"{path}, the table of clips, cannot be used: {reason}. Needed are columns split, clip (in each "
            f"split from 0 on) and {needed}; make the data set with: "
            f"samplernn prepare RECORDINGS{option} --out {folder}"
        ) from error
    for split in dict.fromkeys([*SPLITS, *table]):
        listed, count = len(table.get(split, ())), len(load_split(folder, split))
        if listed != count:
            raise DataError(
                f"{path} lists {listed} clips of the {split} split, which has {count}; "
                "make the data set again."
            )
    return {split: [clips[i] for i in range(len(clips))] for split, clips in table.items()}


def recordings(folder: str | Path) -> dict[str, list[tuple[int, ...]]] | None:
    """Numbers of the recordings that each clip of each split holds sound of, from the one it begins in on.

    A recording has one number in all splits. None if the set has no table, or one without recordings.
    """
    path = Path(folder) / CLIPS
    if not path.is_file() or "recording" not in _text(path.read_bytes()).partition("\n")[0].lower():
        return None
    table = read(folder, "recording")
    manifest = read_manifest(Path(folder))
    sources = manifest.get("sources") if isinstance(manifest, dict) else None
    used = [s for s in sources or [] if isinstance(s, dict) and s.get("status") == "used"]
    numbers: dict[str, int] = {name: i for i, name in enumerate(str(s.get("path")) for s in used)}
    for origins in table.values():
        for origin in origins:
            numbers.setdefault(origin.recording, len(numbers))
    found = {}
    for split, origins in table.items():
        own = [s for s in used if split in s.get("splits", [split])]  # concatenated in this order
        place = {str(s.get("path")): i for i, s in enumerate(own)}
        found[split] = [
            tuple(numbers[name] for name in _names(origin, own, place.get(origin.recording)))
            for origin in origins
        ]
    return found


def shared_with_train(found: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, int]:
    """Number of clips of valid and of test that hold sound of recordings of train; see `recordings`."""
    of_train = set().union(*found["train"])
    return {name: sum(not of_train.isdisjoint(own) for own in found[name]) for name in ("valid", "test")}


def recordings_of(folder: str | Path, split: str) -> NDArray[np.int64] | None:
    """Number of the recording in which each clip of a split begins, (clips,); None if the set has none.

    Raises DataError if the table of clips is damaged, or of other clips.
    """
    found = recordings(folder)
    return None if found is None else np.array([own[0] for own in found[split]], np.int64)


def _names(origin: Origin, sources: list[dict[str, Any]], at: int | None) -> Iterator[str]:
    """The recording in which a clip begins, number `at` of the `sources`, and those into which it goes on."""
    yield origin.recording
    if at is not None:
        left = origin.begins + origin.seconds - sources[at]["seconds"]
        while left > ROUNDING and (at := at + 1) < len(sources):
            yield sources[at]["path"]
            left -= sources[at]["seconds"]


def _number(cell: str) -> float:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return float("nan")


def _text(data: bytes) -> str:
    """The text of a table in the encoding that it was saved in, with line ends of Unix."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        of_macintosh = b"\r" in data and b"\n" not in data
        text = data.decode("mac_roman" if of_macintosh else "cp1252", "replace")
    return re.sub(r"\r\n?", "\n", text)


def _rows(data: bytes, needed: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of the line and cells by the names of the columns, for each row that is not blank."""
    text, of_excel = re.subn(r"\Asep=.\n+", "", _text(data))
    head = text.partition("\n")[0]
    delimiter = max(",;\t|", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    names = [name.strip().lower() for name in next(reader, [])]
    if lacking := {"split", "clip", needed} - set(names):
        raise ValueError(f"it has no column {min(lacking)}")
    for cells in reader:
        if any(cells):
            yield reader.line_num + of_excel, dict(zip(names, map(str.strip, cells), strict=False))
