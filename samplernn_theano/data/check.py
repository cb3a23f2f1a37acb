"""Check a data set before training: `samplernn check-data DIR`.

Reads every clip once, prints a short report and draws a picture. The report separates problems (silent clips,
NaN, clips that share sound between the splits, ...) from notes (a DC offset, clipping, ...).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.check_figure import plot_data_set
from samplernn_theano.data.clip_statistics import ClipStatistics
from samplernn_theano.data.dataset import (
    SPLITS,
    Clips,
    Ragged,
    lengths,
    load_split,
    offsets_path,
    release,
    samples_of,
)
from samplernn_theano.data.duplicates import (
    MAX_MATCHES,
    SPAN,
    WINDOW,
    Duplicate,
    Fingerprints,
    longest_duplicates,
)
from samplernn_theano.data.manifest import MANIFEST, PICTURE, count_of, hours, printable
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import sha256
from samplernn_theano.utils.progress import Bar, progress_bar
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

AUTHORS = {
    "music": (-2.7492260671334582e-05, 0.056233098718291352, (3828, 256, 256)),
    "blizzard": (0.0008558356760380169, 0.098437514304141299, (9216, 768, 768)),
}
"""By prefix of the file names (`music_train.npy`, `Blizzard9k_train.npy`): mean and standard deviation of the
authors' training set (from their feeders), and clips of their splits."""

MIN_DUPLICATE = 0.25
"""Minimum length of the common segment of duplicates, in seconds."""

BATCH = 128
"""Clips in a batch of the paper; an incomplete last batch is not used."""


@dataclass(frozen=True)
class Split:
    """One split, with its statistics and fingerprints."""

    name: str
    path: Path
    clips: Clips
    statistics: ClipStatistics
    fingerprints: Fingerprints


@dataclass(frozen=True)
class Report:
    """Result of `check`."""

    lines: list[str]  # summary
    problems: list[str]  # they spoil training, or the scores
    notes: list[str]
    splits: dict[str, Split]
    rate: int  # Hz

    def __str__(self) -> str:
        """The report as text."""
        parts = list(self.lines)
        for title, items in (("Wrong for training:", self.problems), ("Worth knowing:", self.notes)):
            if items:
                parts += [title, *(f"  - {item}" for item in items)]
        if not self.problems:
            parts.append("Nothing is wrong for training.")
        return printable("\n".join(parts))


def run(folder: str | Path, picture: str | Path | None = None, progress: bool = True) -> int:
    """Check the data set in `folder`, print the report and draw the picture.

    Parameters
    ----------
    picture
        Path of the picture; `check.png` in `folder` by default.

    Returns
    -------
    int
        0 if there is no problem, 1 if there is one.
    """
    report = check(folder, progress)
    print(report, flush=True)
    picture = Path(folder, PICTURE) if picture is None else picture
    parts = report.splits.values()
    histograms = {part.name: part.statistics.histogram for part in parts}
    clips = {part.name: np.asarray(part.clips[0]) for part in parts if len(part.clips)}
    try:
        plot_data_set(picture, histograms, clips, report.rate)
    except OutputError as error:
        raise OutputError(f"{error} Choose another path with --picture.") from error
    print(printable(f"Picture: {picture}"))
    return int(bool(report.problems))


def check(folder: str | Path, progress: bool = True) -> Report:
    """Check the data set in `folder` and return the report.

    - A clip that is silent, NaN or infinite is a problem; clipped, beyond full scale or with a DC offset, a
      note: see `clip_statistics`.
    - Sound shared with another split is a problem, within train a note: see `duplicates`.

    Memory: a clip and 1 % to 2 % of the size of the set.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    rate = _get(manifest, "rate")
    rate_known = isinstance(rate, int) and rate > 0
    rate = rate if rate_known else SAMPLE_RATE
    splits = _open(folder, rate)
    size = sum(samples_of(part.clips).nbytes for part in splits.values())
    total = (2 if manifest else 1) * size  # hashed and read
    with progress_bar("check", total, "B", progress) as bar:
        changed = _changed(splits, manifest, bar)
        for part in splits.values():
            _read(part, bar)

    lines, problems, notes = _summary(folder, splits, rate, rate_known), changed, []
    for found_lines, found_notes in (_compare_with_authors(splits["train"]), _sources(manifest, rate)):
        lines += found_lines
        notes += found_notes
    hashed = any(_get(manifest, "splits", name, "sha256") for name in SPLITS)
    lines.append("SHA-256 of the files: compared." if hashed else "SHA-256 of the files: not recorded.")
    problems += _unequal_lengths(splits.values())
    for found_problems, found_notes in (
        *map(_faults, splits.values()),
        _duplicates(splits, rate, progress),
    ):
        problems += found_problems
        notes += found_notes
    return Report(lines, problems, notes, splits, rate)


# --- reading ------------------------------------------------------------------------------------------------


def _open(folder: Path, rate: int) -> dict[str, Split]:
    clips = {name: load_split(folder, name) for name in SPLITS}
    # Splits of different types are compared in the widest of them; the hashes have 8 bytes.
    widest = np.result_type(*(samples_of(c).dtype for c in clips.values()))
    dtype = widest if widest.itemsize <= 8 else np.dtype(np.float64)
    min_samples = max(WINDOW + SPAN, int(MIN_DUPLICATE * rate))
    paths = {name: next(folder.glob(f"*_{name}.npy")) for name in SPLITS}
    return {
        name: Split(name, paths[name], c, ClipStatistics(), Fingerprints(c, dtype, min_samples))
        for name, c in clips.items()
    }


def _read(part: Split, bar: Bar) -> None:
    for number in range(len(part.clips)):
        clip = np.asarray(part.clips[number])
        part.statistics.add(number, clip)
        if number not in part.statistics.faults["silent"][-1:]:
            part.fingerprints.add(number, clip)
        bar.advance(clip.nbytes)
        if number % 64 == 63:
            release(part.clips)
    part.fingerprints.sort()
    release(part.clips)


def _changed(splits: dict[str, Split], manifest: Any, bar: Bar) -> list[str]:
    """Problems: files whose hash differs from the manifest's."""
    problems = []
    for name, part in splits.items():
        files = [(part.path, "sha256")]
        if isinstance(part.clips, Ragged):
            files.append((offsets_path(part.path), "offsets_sha256"))
        for path, key in files:
            expected = _get(manifest, "splits", name, key)
            if expected is not None and sha256(path, bar.advance) != expected:
                problems.append(
                    f"{path.name} is not the file that {MANIFEST} describes (its SHA-256 differs): "
                    "it was damaged or changed; make the data set again."
                )
    return problems


def _read_manifest(folder: Path) -> Any:
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it or remove it.") from error


def _get(manifest: Any, *keys: str) -> Any:
    """The manifest's value under `keys`, or None: it may be missing, or of another program."""
    for key in keys:
        manifest = manifest.get(key) if isinstance(manifest, dict) else None
    return manifest


# --- the report ---------------------------------------------------------------------------------------------


def _summary(folder: Path, splits: dict[str, Split], rate: int, known_rate: bool) -> list[str]:
    kinds = ", ".join(sorted({str(samples_of(part.clips).dtype) for part in splits.values()}))
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
            f"{part.statistics.peak:7.4f} {part.statistics.rms:5.1f} dBFS "
            f"{part.statistics.mean:11.3e} {part.statistics.std:9.5f}"
        )
    return lines


def _span(clips: Clips, seconds: NDArray[np.float64]) -> str:
    if not len(seconds):
        return ""
    if not isinstance(clips, Ragged):
        return f"{seconds[0]:g} s"
    return f"{seconds.min():.2f}-{np.median(seconds):.2f}-{seconds.max():.2f} s"


_PROBLEMS = {
    "silent": "silent clips, to be removed",
    "not finite": "clips with NaN or infinite samples, to be removed or repaired",
}
_NOTES = {
    "clipped": "clips that are cut off at the peak for 3 samples or more",
    "beyond": "clips that go beyond full scale",
    "offset": "clips with a DC offset above 0.01 of full scale, the worst {worst:+.3f}",
}


def _faults(part: Split) -> tuple[list[str], list[str]]:
    """Problems and notes of one split by itself."""
    count = len(part.clips)
    few = (
        f"{part.name} holds {count_of(count, 'clip')}, too few for a batch of {BATCH} clips, as the paper's."
    )
    problems = [] if count else [f"{part.name} holds no clips."]
    notes = [few] if 0 < count < BATCH else []
    for lines, texts in ((problems, _PROBLEMS), (notes, _NOTES)):
        for fault, text in texts.items():
            if found := part.statistics.faults[fault]:
                text = text.format(worst=part.statistics.worst_offset)
                lines.append(f"{part.name}: {text}: {len(found):,} of {count:,} (numbers {_few(found)}).")
    return problems, notes


def _few(items: Iterable[Any], limit: int = 5) -> str:
    texts = [str(item) for item in items]
    return ", ".join(texts[:limit]) + (", ..." if len(texts) > limit else "")


def _unequal_lengths(splits: Iterable[Split]) -> list[str]:
    """A problem if the splits differ in the length of their clips."""
    kinds = {
        part.name: "ragged" if isinstance(part.clips, Ragged) else f"{part.clips.shape[1]} samples"
        for part in splits
    }
    if len(set(kinds.values())) == 1:
        return []
    listed = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    return [f"The splits differ in the length of their clips: {listed}; make the data set again."]


def _duplicates(splits: dict[str, Split], rate: int, progress: bool) -> tuple[list[str], list[str]]:
    """Clips that share sound: problems between splits, notes within one."""
    problems: list[str] = []
    notes: list[str] = []
    for later, earlier in (("test", "train"), ("valid", "train"), ("test", "valid"), ("train", "train")):
        found, missed = longest_duplicates(splits[later].fingerprints, splits[earlier].fingerprints, progress)
        if found:
            count, all_ = f"{len(found):,}", f"{len(splits[later].clips):,}"
            (notes if later == earlier else problems).append(
                f"{later} clips that share sound with {'other ' if later == earlier else ''}{earlier} clips: "
                f"{'at least ' if missed else ''}{count} of {all_}, {_longest(found, rate)}."
            )
        elif missed and later != earlier:
            notes.append(
                f"{earlier} repeats some sounds over {MAX_MATCHES} times, and {later} was not compared with "
                "all of them: shared sound that consists of those alone may be missed."
            )
    return problems, notes


def _longest(found: dict[int, Duplicate], rate: int) -> str:
    order = sorted(found, key=lambda number: -found[number].samples)
    identical = sum(duplicate.identical for duplicate in found.values())
    examples = [f"number {i} and {found[i].partner}: {found[i].samples / rate:.2f} s" for i in order]
    whole = f"{identical:,} of them from end to end, " if identical else ""
    return f"{whole}up to {found[order[0]].samples / rate:.2f} s in common ({_few(examples, 3)})"


def _compare_with_authors(train: Split) -> tuple[list[str], list[str]]:
    """The authors' statistics, and a note if ours differ much; empty for sets that are not theirs."""
    known = [theirs for name, theirs in AUTHORS.items() if train.path.name.lower().startswith(name)]
    if not known:
        return [], []
    mean, std, counts = known[0]
    ratio = train.statistics.std / std
    line = (
        f"The authors': {' / '.join(f'{n:,}' for n in counts)} clips; train mean {mean:.3e}, std {std:.5f}. "
        f"Our std is {ratio:.3f} times theirs."
    )
    if abs(ratio - 1) <= 0.05 and abs(train.statistics.mean - mean) <= 0.01 * std:
        return [line], []
    return [line], ["Mean or std of train differ much from the authors': other recordings or another volume."]


def _sources(manifest: Any, rate: int) -> tuple[list[str], list[str]]:
    """Speakers and recordings in the manifest, and a note on recordings that were upsampled."""
    lines = []
    for name in SPLITS:
        speakers = _get(manifest, "splits", name, "speakers")
        if isinstance(speakers, dict) and speakers:
            listed = _few((f"{who} {clips}" for who, clips in speakers.items()), 8)
            lines.append(f"Speakers of {name}, with clips: {len(speakers)} ({listed}).")
    sources = _get(manifest, "sources")
    used = [s for s in sources if _get(s, "status") == "used"] if isinstance(sources, list) else []
    rates = sorted(r for r in (_get(source, "rate") for source in used) if isinstance(r, int))
    if rates:
        listed = _few((f"{rates.count(r):,} of {r} Hz" for r in sorted(set(rates))), 8)
        lines.append(f"Recordings: {len(rates):,} ({listed}).")
    low = sum(r < rate for r in rates)
    return lines, [f"Upsampled, so they lack high frequencies: {count_of(low, 'recording')}."] if low else []
