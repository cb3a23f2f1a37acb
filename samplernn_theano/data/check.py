"""Is a data set fit for training: `samplernn check-data DIR`.

Reads every clip once, prints a short report and draws a picture. What is wrong for training (silent clips,
samples that are no numbers, clips that share sound between the splits, ...) is kept apart from what is only
worth knowing (a DC offset, clipping, ...).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano.data.clip_statistics import Levels
from samplernn_theano.data.dataset import (
    SPLITS,
    Clips,
    Ragged,
    array_of,
    forget,
    lengths,
    load_split,
    offsets_path,
)
from samplernn_theano.data.duplicates import MOST, SPAN, WINDOW, Anchors, Overlap, longest_overlaps
from samplernn_theano.data.manifest import MANIFEST, PICTURE, count_of, hours, printable
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils import plotting
from samplernn_theano.utils.files import sha256
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

AUTHORS = {
    "music": (-2.7492260671334582e-05, 0.056233098718291352, (3828, 256, 256)),
    "blizzard": (0.0008558356760380169, 0.098437514304141299, (9216, 768, 768)),
}
"""By what the files' names begin with: mean and standard deviation of the authors' training set (from their
feeders), and clips of their splits. Their own files are `music_train.npy` and `Blizzard9k_train.npy`."""

SHORTEST_OVERLAP = 0.25
"""Seconds: less in common than this is no overlap."""

BATCH = 128
"""Clips in a batch of the paper; what is left over after the last whole batch is not used."""


@dataclass(frozen=True)
class Split:
    """One split, and what was found in it."""

    name: str
    path: Path
    clips: Clips
    levels: Levels
    anchors: Anchors


@dataclass(frozen=True)
class Report:
    """What `check` found."""

    lines: list[str]  # the figures
    wrong: list[str]  # what spoils training, or the scores of what was trained
    noted: list[str]  # what is worth knowing
    splits: dict[str, Split]
    rate: int  # Hz

    def __str__(self) -> str:
        """The report for people."""
        parts = list(self.lines)
        for title, items in (("Wrong for training:", self.wrong), ("Worth knowing:", self.noted)):
            if items:
                parts += [title, *(f"  - {item}" for item in items)]
        if not self.wrong:
            parts.append("Nothing is wrong for training.")
        return printable("\n".join(parts))


def run(folder: str | Path, picture: str | Path | None = None, progress: bool = True) -> int:
    """Check the data set in `folder`, print the report and draw the picture.

    Parameters
    ----------
    picture
        Where the picture goes; `check.png` in `folder` by default.

    Returns
    -------
    int
        0 if nothing is wrong for training, 1 if something is.

    Raises
    ------
    DataError
        If the data set cannot be read.
    OutputError
        If the picture cannot be written.
    """
    report = check(folder, progress)
    print(report, flush=True)
    picture = Path(folder, PICTURE) if picture is None else picture
    parts = report.splits.values()
    histograms = {part.name: part.levels.histogram for part in parts}
    clips = {part.name: np.asarray(part.clips[0]) for part in parts if len(part.clips)}
    try:
        plotting.data_set(picture, histograms, clips, report.rate)
    except OutputError as error:
        raise OutputError(f"{error} Name another place for the picture with --picture.") from error
    print(printable(f"Picture: {picture}"))
    return int(bool(report.wrong))


def check(folder: str | Path, progress: bool = True) -> Report:
    """Read the data set in `folder` and say what is wrong with it.

    What is found in a clip, and when it counts:

    - silent, NaN or infinite (wrong), clipped, beyond full scale, DC offset (noted): see `levels`;
    - shares sound with a clip of another split (wrong), or of its own (noted for train): see `overlaps`.

    Memory: a clip and 1 % to 2 % of the size of the set.

    Raises
    ------
    DataError
        If a split or the manifest is missing where it is needed, or cannot be read.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    rate = _of(manifest, "rate")
    rate_known = isinstance(rate, int) and rate > 0
    rate = rate if rate_known else SAMPLE_RATE
    splits = _open(folder, rate)
    size = sum(array_of(part.clips).nbytes for part in splits.values())
    total = (2 if manifest else 1) * size  # to be hashed, and to be read
    with tqdm(total=total, desc="check", unit="B", unit_scale=True, disable=not progress) as bar:
        changed = _changed(splits, manifest, bar)
        for part in splits.values():
            _read(part, bar)

    lines, wrong, noted = _figures(folder, splits, rate, rate_known), changed, []
    for found_lines, found_notes in (_authors(splits["train"]), _recordings(manifest, rate)):
        lines += found_lines
        noted += found_notes
    hashed = any(_of(manifest, "splits", name, "sha256") for name in SPLITS)
    lines.append("SHA-256 of the files: compared." if hashed else "SHA-256 of the files: not recorded.")
    wrong += _unequal(splits.values())
    for found_wrong, found_notes in (*map(_faults, splits.values()), _overlaps(splits, rate, progress)):
        wrong += found_wrong
        noted += found_notes
    return Report(lines, wrong, noted, splits, rate)


# --- reading ------------------------------------------------------------------------------------------------


def _open(folder: Path, rate: int) -> dict[str, Split]:
    clips = {name: load_split(folder, name) for name in SPLITS}
    # Splits of different types are compared as the widest of them; the hashes have 8 bytes.
    widest = np.result_type(*(array_of(c).dtype for c in clips.values()))
    kind = widest if widest.itemsize <= 8 else np.dtype(np.float64)
    shortest = max(WINDOW + SPAN, int(SHORTEST_OVERLAP * rate))
    return {
        name: Split(name, next(folder.glob(f"*_{name}.npy")), c, Levels(), Anchors(c, kind, shortest))
        for name, c in clips.items()
    }


def _read(part: Split, bar: tqdm) -> None:
    for number in range(len(part.clips)):
        clip = np.asarray(part.clips[number])
        part.levels.add(number, clip)
        if number not in part.levels.faults["silent"][-1:]:
            part.anchors.add(number, clip)
        bar.update(clip.nbytes)
        if number % 64 == 63:
            forget(part.clips)
    part.anchors.sort()
    forget(part.clips)


def _changed(splits: dict[str, Split], manifest: Any, bar: tqdm) -> list[str]:
    """Return a sentence for every file whose hash is not that of the manifest."""
    wrong = []
    for name, part in splits.items():
        files = [(part.path, "sha256")]
        if isinstance(part.clips, Ragged):
            files.append((offsets_path(part.path), "offsets_sha256"))
        for path, key in files:
            expected = _of(manifest, "splits", name, key)
            if expected is not None and sha256(path, bar.update) != expected:
                wrong.append(
                    f"{path.name} is not the file that {MANIFEST} describes (its SHA-256 differs): "
                    "it was damaged or changed; make the data set again."
                )
    return wrong


def _read_manifest(folder: Path) -> Any:
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it or remove it.") from error


def _of(manifest: Any, *keys: str) -> Any:
    """What the manifest says under `keys`, or None: it may be missing, or not one of ours."""
    for key in keys:
        manifest = manifest.get(key) if isinstance(manifest, dict) else None
    return manifest


# --- the report ---------------------------------------------------------------------------------------------


def _figures(folder: Path, splits: dict[str, Split], rate: int, known_rate: bool) -> list[str]:
    kinds = ", ".join(sorted({str(array_of(part.clips).dtype) for part in splits.values()}))
    source = f"from {MANIFEST}" if known_rate else "assumed"
    ragged = any(isinstance(part.clips, Ragged) for part in splits.values())
    length = "shortest-median-longest" if ragged else "length"
    lines = [
        f"Data set in {folder}: {kinds}, {rate} Hz ({source}).",
        f"{'':5} {'clips':>7} {length:>23} {'duration':>9} {'peak':>7} {'RMS':>10} {'mean':>11} {'std':>9}",
    ]
    for part in splits.values():
        seconds = lengths(part.clips) / rate
        lines.append(
            f"{part.name:5} {len(part.clips):7,} {_span(part.clips, seconds):>23} {hours(seconds.sum()):>9} "
            f"{part.levels.peak:7.4f} {part.levels.rms:5.1f} dBFS "
            f"{part.levels.mean:11.3e} {part.levels.std:9.5f}"
        )
    return lines


def _span(clips: Clips, seconds: NDArray[np.float64]) -> str:
    if not len(seconds):
        return ""
    if not isinstance(clips, Ragged):
        return f"{seconds[0]:g} s"
    return f"{seconds.min():.2f}-{np.median(seconds):.2f}-{seconds.max():.2f} s"


_WRONG = {
    "silent": "silent clips, to be removed",
    "not finite": "clips with NaN or infinite samples, to be removed or repaired",
}
_NOTED = {
    "clipped": "clips that are cut off at the peak for 3 samples or more",
    "beyond": "clips that go beyond full scale",
    "offset": "clips with a DC offset above 0.01 of full scale, the worst {worst:+.3f}",
}


def _faults(part: Split) -> tuple[list[str], list[str]]:
    """What is wrong with one split by itself, and what is worth knowing."""
    count = len(part.clips)
    few = (
        f"{part.name} holds {count_of(count, 'clip')}, too few for a batch of {BATCH} clips, as the paper's."
    )
    wrong = [] if count else [f"{part.name} holds no clips."]
    noted = [few] if 0 < count < BATCH else []
    for sentences, words in ((wrong, _WRONG), (noted, _NOTED)):
        for fault, what in words.items():
            if found := part.levels.faults[fault]:
                what = what.format(worst=part.levels.worst_offset)
                sentences.append(f"{part.name}: {what}: {len(found):,} of {count:,} (numbers {_few(found)}).")
    return wrong, noted


def _few(items: Iterable[Any], most: int = 5) -> str:
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")


def _unequal(splits: Iterable[Split]) -> list[str]:
    """Say so if the splits differ in the length of their clips."""
    kinds = {
        part.name: "ragged" if isinstance(part.clips, Ragged) else f"{part.clips.shape[1]} samples"
        for part in splits
    }
    if len(set(kinds.values())) == 1:
        return []
    listed = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    return [f"The splits differ in the length of their clips: {listed}; make the data set again."]


def _overlaps(splits: dict[str, Split], rate: int, progress: bool) -> tuple[list[str], list[str]]:
    """Sentences on clips that share sound: wrong between splits, worth knowing within one."""
    wrong: list[str] = []
    noted: list[str] = []
    for later, earlier in (("test", "train"), ("valid", "train"), ("test", "valid"), ("train", "train")):
        found, missed = longest_overlaps(splits[later].anchors, splits[earlier].anchors, progress)
        if found:
            count, all_ = f"{len(found):,}", f"{len(splits[later].clips):,}"
            (noted if later == earlier else wrong).append(
                f"{later} clips that share sound with {'other ' if later == earlier else ''}{earlier} clips: "
                f"{'at least ' if missed else ''}{count} of {all_}, {_longest(found, rate)}."
            )
        elif missed and later != earlier:
            noted.append(
                f"{earlier} repeats some sounds over {MOST} times, and {later} was not compared with all of "
                "them: sound that is shared and consists of those alone may be missed."
            )
    return wrong, noted


def _longest(found: dict[int, Overlap], rate: int) -> str:
    order = sorted(found, key=lambda number: -found[number].samples)
    identical = sum(overlap.identical for overlap in found.values())
    examples = [f"number {i} and {found[i].partner}: {found[i].samples / rate:.2f} s" for i in order]
    whole = f"{identical:,} of them from end to end, " if identical else ""
    return f"{whole}up to {found[order[0]].samples / rate:.2f} s in common ({_few(examples, 3)})"


def _authors(train: Split) -> tuple[list[str], list[str]]:
    """The authors' figures, and a note if ours are far from them; empty for sets that are not theirs."""
    known = [theirs for name, theirs in AUTHORS.items() if train.path.name.lower().startswith(name)]
    if not known:
        return [], []
    mean, std, counts = known[0]
    ratio = train.levels.std / std
    line = (
        f"The authors': {' / '.join(f'{n:,}' for n in counts)} clips; train mean {mean:.3e}, std {std:.5f}. "
        f"Our std is {ratio:.3f} times theirs."
    )
    if abs(ratio - 1) <= 0.05 and abs(train.levels.mean - mean) <= 0.01 * std:
        return [line], []
    return [line], ["Mean or std of train are far from the authors': other recordings or another level."]


def _recordings(manifest: Any, rate: int) -> tuple[list[str], list[str]]:
    """What the manifest says of speakers and recordings, and a note on recordings that were upsampled."""
    lines = []
    for name in SPLITS:
        speakers = _of(manifest, "splits", name, "speakers")
        if isinstance(speakers, dict) and speakers:
            listed = _few((f"{who} {clips}" for who, clips in speakers.items()), 8)
            lines.append(f"Speakers of {name}, with clips: {len(speakers)} ({listed}).")
    sources = _of(manifest, "sources")
    used = [s for s in sources if _of(s, "status") == "used"] if isinstance(sources, list) else []
    rates = sorted(r for r in (_of(source, "rate") for source in used) if isinstance(r, int))
    if rates:
        listed = _few((f"{rates.count(r):,} of {r} Hz" for r in sorted(set(rates))), 8)
        lines.append(f"Recordings: {len(rates):,} ({listed}).")
    low = sum(r < rate for r in rates)
    return lines, [f"Upsampled, so they lack the high tones: {count_of(low, 'recording')}."] if low else []
