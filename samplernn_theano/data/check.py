"""Check a data set before training: `samplernn check-data DIR`.

Reads every clip, prints a short report and draws a picture. The report separates problems (silent clips,
NaN, clips that share sound between the splits, ...) from notes (a DC offset, clipping, ...).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.data import baselines, clip_table
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
    split_path,
)
from samplernn_theano.data.doubts import MIN_PEAK
from samplernn_theano.data.duplicates import MAX_MATCHES, SPAN, WINDOW, Fingerprints, longest_duplicates
from samplernn_theano.data.manifest import MANIFEST, PICTURE, count_of, hours, read_manifest
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import sha256
from samplernn_theano.utils.progress import Bar, progress_bar
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters

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


class Split:
    """One split, with its statistics and fingerprints."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.path = name, split_path(folder, name)
        self.clips: Clips = load_split(folder, name)
        self.statistics = ClipStatistics()
        self.fingerprints: Fingerprints

    def read(self, dtype: np.dtype, min_samples: int, bar: Bar) -> None:
        """Read every clip for the statistics, and for the fingerprints of clips of this `dtype`."""
        self.fingerprints = Fingerprints(self.clips, dtype, min_samples)
        for number in range(len(self.clips)):
            clip = np.asarray(self.clips[number])
            self.statistics.add(number, clip)
            if number not in self.statistics.faults["silent"][-1:]:
                self.fingerprints.add(number, clip)
            bar.advance(clip.nbytes)
            if number % 64 == 63:
                release(self.clips)
        self.fingerprints.sort()
        release(self.clips)


@dataclass
class Report:
    """Result of `check`."""

    splits: dict[str, Split]
    rate: int  # Hz
    lines: list[str] = field(default_factory=list)  # summary
    problems: list[str] = field(default_factory=list)  # they spoil training, or the scores
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The report as text."""
        parts = list(self.lines)
        for title, items in (("Wrong for training:", self.problems), ("Worth knowing:", self.notes)):
            if items:
                parts += [title, *(f"  - {item}" for item in items)]
        if not self.problems:
            parts.append("Nothing is wrong for training.")
        return escape_control_characters("\n".join(parts), keep="\n")


def run(folder: str | Path, picture: str | Path | None = None, progress: bool = True) -> int:
    """Check the data set in `folder`, print the report and draw the picture (`check.png` in it by default).

    Returns 0 if there is no problem, 1 if there is one.
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
    print(escape_control_characters(f"Picture: {picture}"))
    return int(bool(report.problems))


def check(folder: str | Path, progress: bool = True) -> Report:
    """Check the data set in `folder` and return the report.

    - A clip that is silent, NaN or infinite is a problem; clipped, beyond full scale or with a DC offset, a
      note: see `clip_statistics`.
    - Sound shared with another split is a problem, within train a note: see `duplicates`.

    Memory: a clip and 1 % to 2 % of the size of the set.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    rate = _get(manifest, "rate")
    rate_known = isinstance(rate, int) and rate > 0
    splits = {name: Split(folder, name) for name in SPLITS}
    report = Report(splits, rate if rate_known else SAMPLE_RATE)
    arrays = [samples_of(part.clips) for part in splits.values()]
    # Splits of different types are compared in the widest of them; the hashes have 8 bytes.
    widest = np.result_type(*(array.dtype for array in arrays))
    dtype = widest if widest.itemsize <= 8 else np.dtype(np.float64)
    total = (2 if manifest else 1) * sum(array.nbytes for array in arrays)  # hashed and read
    with progress_bar("check", total, "B", progress) as bar:
        _compare_hashes(report, manifest, bar)
        for part in splits.values():
            part.read(dtype, max(WINDOW + SPAN, int(MIN_DUPLICATE * report.rate)), bar)
    source = f"from {MANIFEST}" if rate_known else "assumed"
    kinds = ", ".join(sorted({str(array.dtype) for array in arrays}))
    report.lines.append(f"Data set in {folder}: {kinds}, {report.rate} Hz ({source}).")
    _summarise(report)
    _compare_with_authors(report)
    _describe_sources(report, manifest)
    _compare_recordings(report, folder, manifest)
    hashed = any(_get(manifest, "splits", name, "sha256") for name in SPLITS)
    report.lines.append(f"SHA-256 of the files: {'compared' if hashed else 'not recorded'}.")
    _compare_lengths(report)
    for part in splits.values():
        _list_faults(report, part)
    _list_duplicates(report, progress)
    if found := baselines.measure(splits["train"].clips, splits["test"].clips):
        report.lines.append(f"On the test split {baselines.describe(found)}.")
    return report


def _get(manifest: Any, *keys: str) -> Any:
    """The manifest's value under `keys`, or None: it may be missing, or of another program."""
    for key in keys:
        manifest = manifest.get(key) if isinstance(manifest, dict) else None
    return manifest


def _few(items: Iterable[Any], limit: int = 5) -> str:
    texts = [str(item) for item in items]
    return ", ".join(texts[:limit]) + (", ..." if len(texts) > limit else "")


# --- parts of the report ------------------------------------------------------------------------------------


def _compare_hashes(report: Report, manifest: Any, bar: Bar) -> None:
    for name, part in report.splits.items():
        files = [(part.path, "sha256")]
        if isinstance(part.clips, Ragged):
            files.append((offsets_path(part.path), "offsets_sha256"))
        for path, key in files:
            expected = _get(manifest, "splits", name, key)
            if expected is not None and sha256(path, bar.advance) != expected:
                report.problems.append(
                    f"{path.name} is not the file that {MANIFEST} describes (its SHA-256 differs): "
                    "it was damaged or changed; make the data set again."
                )


def _summarise(report: Report) -> None:
    ragged = any(isinstance(part.clips, Ragged) for part in report.splits.values())
    length = "shortest-median-longest" if ragged else "length"
    report.lines.append(
        f"{'':5} {'clips':>7} {length:>23} {'duration':>9} {'peak':>7} {'RMS':>10} {'mean':>11} {'std':>9}"
    )
    for part in report.splits.values():
        seconds, own = lengths(part.clips) / report.rate, part.statistics
        span = f"{seconds[0]:g} s" if len(seconds) else ""
        if span and isinstance(part.clips, Ragged):
            span = f"{seconds.min():.2f}-{np.median(seconds):.2f}-{seconds.max():.2f} s"
        report.lines.append(
            f"{part.name:5} {len(part.clips):7,} {span:>23} {hours(seconds.sum()):>9} "
            f"{own.peak:7.4f} {own.rms:5.1f} dBFS {own.mean:11.3e} {own.std:9.5f}"
        )


_PROBLEMS = {
    "silent": "silent clips, to be removed",
    "mostly clipped": "clips of which more than 1 % is cut off at full scale, to be replaced by quieter ones",
    "mostly beyond": (
        "clips of which more than 1 % is beyond full scale, from -1 to 1, and up to {peak:,.6g}; convert them"
    ),
    "not finite": "clips with NaN or infinite samples, to be removed or repaired",
}
_NOTES = {
    "clipped": "clips that are cut off at the peak for 3 samples or more",
    "beyond": "clips that go beyond full scale",
    "offset": "clips with a DC offset above 0.01 of full scale, the worst {worst:+.3f}",
}


def _list_faults(report: Report, part: Split) -> None:
    """Problems and notes of one split by itself."""
    name, count = part.name, len(part.clips)
    if not count:
        report.problems.append(f"{name} holds no clips.")
    elif count < BATCH:
        report.notes.append(
            f"{name} holds {count_of(count, 'clip')}, too few for a batch of {BATCH} clips, as the paper's: "
            f"--batch_size may be {count} at most."
        )
    if 0 < part.statistics.peak < MIN_PEAK:
        report.notes.append(f"{name} is nearly silent: its highest peak is {part.statistics.peak:.2g}.")
    for lines, texts in ((report.problems, _PROBLEMS), (report.notes, _NOTES)):
        for fault, text in texts.items():
            if found := part.statistics.faults[fault]:
                text = text.format(worst=part.statistics.worst_offset, peak=part.statistics.peak)
                lines.append(f"{name}: {text}: {len(found):,} of {count:,} (numbers {_few(found)}).")


def _compare_lengths(report: Report) -> None:
    kinds = {
        name: "ragged" if isinstance(part.clips, Ragged) else f"{part.clips.shape[1]} samples"
        for name, part in report.splits.items()
    }
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        report.problems.append(
            f"The splits differ in the length of their clips: {listed}; make the data set again."
        )


def _list_duplicates(report: Report, progress: bool) -> None:
    """Clips that share sound: problems between splits, notes within one."""
    for later, earlier in (("test", "train"), ("valid", "train"), ("test", "valid"), ("train", "train")):
        ours, theirs = report.splits[later], report.splits[earlier]
        found, missed = longest_duplicates(ours.fingerprints, theirs.fingerprints, progress)
        if found:
            order = sorted(found, key=lambda number: -found[number].samples)
            seconds = {number: f"{found[number].samples / report.rate:.2f} s" for number in order}
            examples = [f"number {number} and {found[number].partner}: {seconds[number]}" for number in order]
            identical = sum(duplicate.identical for duplicate in found.values())
            (report.notes if later == earlier else report.problems).append(
                f"{later} clips that share sound with {'other ' if later == earlier else ''}{earlier} clips: "
                f"{'at least ' if missed else ''}{len(found):,} of {len(ours.clips):,}, "
                f"{f'{identical:,} of them from end to end, ' if identical else ''}"
                f"up to {seconds[order[0]]} in common ({_few(examples, 3)})."
            )
        elif missed and later != earlier:
            report.notes.append(
                f"{earlier} repeats some sounds over {MAX_MATCHES} times, and {later} was not compared with "
                "all of them: shared sound that consists of those alone may be missed."
            )


def _compare_with_authors(report: Report) -> None:
    """The authors' statistics, and a note if ours differ much; nothing for sets that are not theirs."""
    train = report.splits["train"]
    for name, (mean, std, counts) in AUTHORS.items():
        if train.path.name.lower().startswith(name):
            ratio = train.statistics.std / std
            report.lines.append(
                f"The authors': {' / '.join(f'{n:,}' for n in counts)} clips; train mean {mean:.3e}, "
                f"std {std:.5f}. Our std is {ratio:.3f} times theirs."
            )
            if abs(ratio - 1) > 0.05 or abs(train.statistics.mean - mean) > 0.01 * std:
                report.notes.append(
                    "Mean or std of train differ much from the authors': other recordings or another volume."
                )


def _describe_sources(report: Report, manifest: Any) -> None:
    """Speakers and recordings in the manifest; problems and notes on those that are doubtful."""
    for name in SPLITS:
        speakers = _get(manifest, "splits", name, "speakers")
        if isinstance(speakers, dict) and speakers:
            listed = _few((f"{who} {clips}" for who, clips in speakers.items()), 8)
            report.lines.append(f"Speakers of {name}, with clips: {len(speakers)} ({listed}).")
    sources = _get(manifest, "sources")
    used = [s for s in sources if _get(s, "status") == "used"] if isinstance(sources, list) else []
    for kind, lines, text in (
        ("clipping", report.problems, "Recordings that are clipped"),
        ("channels", report.problems, "Recordings whose channels cancel each other, in part or in whole"),
        ("level", report.notes, "Recordings that are nearly silent"),
        ("tracks", report.notes, "Recordings with further tracks, which are not read"),
        ("end", report.notes, "Recordings that may lack their end"),
    ):
        if found := [s for s in used if _get(s, "doubts", kind) is not None]:
            example = f"{found[0].get('path')}: {found[0]['doubts'][kind]}"
            lines.append(f"{text}: {len(found):,} of {len(used):,}, such as {example}")
    rates = sorted(r for r in (_get(source, "rate") for source in used) if isinstance(r, int))
    if rates:
        listed = _few((f"{rates.count(r):,} of {r} Hz" for r in sorted(set(rates))), 8)
        report.lines.append(f"Recordings: {len(rates):,} ({listed}).")
    if low := sum(r < report.rate for r in rates):
        report.notes.append(f"Upsampled, so they lack high frequencies: {count_of(low, 'recording')}.")


def _compare_recordings(report: Report, folder: Path, manifest: Any) -> None:
    """A note on clips of valid and test from recordings that train holds too."""
    try:
        found = clip_table.recordings(folder)
    except DataError as error:
        report.notes.append(str(error))
        return
    if found is None:
        report.lines.append("Recordings of the clips: not recorded.")
        return
    shared = clip_table.shared_with_train(found)
    if any(shared.values()):
        counts = " and ".join(f"{n:,} of {len(found[name]):,} of {name}" for name, n in shared.items())
        remedy = "samplernn prepare --split-by recording keeps recordings apart where it can."
        if _get(manifest, "options", "split_by") == "recording":
            remedy = "there are too few to keep them apart: add recordings, and prepare the set again."
        report.notes.append(
            f"Clips from recordings that are also in train: {counts}. Scores on them say little about new "
            f"recordings; {remedy}"
        )
    else:
        report.lines.append("No clip of valid or test is from a recording of train.")
