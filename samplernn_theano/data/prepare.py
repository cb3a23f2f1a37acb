"""Build a data set from recordings: cut, shuffle, split, and write with a manifest.

As the original: the concatenated recordings, at 16 kHz, mono and 16 bit, are cut into clips of 8 s; the clips
are shuffled with a fixed seed; the last ones are the test set, those before them the validation set, the
others the training set. A clip may begin in one recording and end in the next, and clips of one recording are
in all three splits. A `Recipe` holds the differences of a set; one that splits by recording or by speaker
shuffles and splits those, as `split_by` describes, and then the clips of each split by themselves.

Unlike the original: recordings are sorted by name (the original took the order of the file system), and
silent clips, on which the normalisation of the feeder divides by zero, are dropped.
"""

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data import clip_table
from samplernn_theano.data.clip_table import Origin
from samplernn_theano.data.dataset import SPLITS, is_silent, offsets_path
from samplernn_theano.data.manifest import CLIPS, SplitSizes, count_of, listed
from samplernn_theano.data.recipes import Recipe
from samplernn_theano.data.recordings import Decoded, Found, Recording, Stream, decode_all, staging_directory
from samplernn_theano.data.set_folder import check_overwrite, finish, new_manifest, write_npy, write_split
from samplernn_theano.data.split_by import Piece, fraction_without_cuts, split_pieces
from samplernn_theano.errors import DataError
from samplernn_theano.original.shuffle import shuffle
from samplernn_theano.utils.files import sha256
from samplernn_theano.utils.progress import Bar, progress_bar
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


class Clip(NamedTuple):
    """A segment of a stream of recordings."""

    stream: Stream
    start: int
    stop: int


def original_order(count: int, seed: int = 123) -> list[int]:
    """Order of clips 0 .. `count` - 1 by the original's script for its music set.

    The script named clip k `p<k>`, sorted the names as text (p0, p1, p10, ..., p2, ...) and shuffled them.
    """
    order = sorted(range(count), key=str)
    shuffle(order, seed)
    return order


def build(
    found: Found,
    out: str | os.PathLike[str],
    recipe: Recipe,
    overwrite: bool = False,
    progress: bool = True,
    missing: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build a data set from recordings; return its manifest, with the `missing` ones and `extra` entries.

    Writes the splits as `samplernn_theano.data.dataset` describes, `clips.csv` (the origin of each clip) and,
    last, `manifest.json`. The same recordings and recipe give the same bytes. All files are complete before
    the first one gets its name; until then an error or interruption leaves an existing data set in `out`
    unchanged. Decoded sound is kept in a hidden folder there, 115 MB per hour, for the next run: after an
    interruption at any time the same command can be repeated.
    """
    out = Path(out)
    check_overwrite(out, recipe.name, overwrite)
    recordings = _with_speakers(found.recordings) if recipe.by_speaker else found.recordings
    with staging_directory(out) as work:
        sources, clips, silent, rest, uncut = _cut(recordings, work, recipe, progress)
        _check_sources(sources, found, recipe)
        if recipe.balanced:
            clips = _balance(clips, recipe.max_clips)
        sizes = _sizes(clips, recipe)
        if min(sizes) < 1:
            raise DataError(_too_little(sources, sizes, len(clips), silent, recipe))
        layout = "ragged" if recipe.variable_length else "fixed"
        manifest = new_manifest(recipe.set, recipe.options, layout) | {
            "silent_clips": silent,
            "clips_left_out": len(clips) - sum(sizes),
            "recordings_not_needed": len(recordings) - len(sources),
            "rest_seconds": rest,
            "missing": list(missing),
            "ignored_files": found.ignored,
            "skipped_folders": found.skipped,
            "sources": sources,
            **({"fraction_without_cuts": uncut} if uncut else {}),
            **(extra or {}),
        }
        splits = _split(clips, sizes, recipe)
        with progress_bar("write", sum(sizes), "clips", progress) as bar:
            for split, own in splits.items():
                path = work / "new" / f"{recipe.name}_{split}.npy"
                manifest["splits"][split] = _write(path, own, recipe, bar)
        origins = {split: _origins(own) for split, own in splits.items()}
        clip_table.write(work / "new" / CLIPS, origins)
        finish(work / "new", out, manifest)
    return manifest


def _with_speakers(recordings: Sequence[Recording]) -> list[Recording]:
    """Sort the recordings by speaker; raise DataError unless each has one, and there are at least two."""
    alone = [recording.name for recording in recordings if recording.speaker is None]
    if alone:
        raise DataError(
            f"{alone[0]} lies in no sub-folder, so its speaker is unknown; make one for each speaker."
        )
    speakers = {str(recording.speaker) for recording in recordings}
    if len(speakers) < 2:
        raise DataError(f"All recordings lie in one sub-folder ({min(speakers)}); give each speaker one.")
    return sorted(recordings, key=lambda recording: (str(recording.speaker), recording.name))


# --- clips --------------------------------------------------------------------------------------------------


def _cut(
    recordings: Sequence[Recording], work: Path, recipe: Recipe, progress: bool
) -> tuple[list[dict[str, Any]], list[Clip], list[dict[str, Any]], float, float | None]:
    """Decode the recordings and cut them into clips.

    Returns the recordings' entries in the manifest; the clips that are not silent, in their order; recording
    and seconds of the silent ones; the seconds of sound after the last clip of each speaker; and if
    recordings were cut in time, the fraction for each of validation and test that would leave them whole.
    """
    sources: list[dict[str, Any]] = []
    clips: list[Clip] = []
    silent: list[Clip] = []
    streams: list[Stream] = []
    uncut = None
    pieces: Iterable[Piece] = _used(recordings, work, recipe, progress, sources)
    if recipe.splits_first:
        found = list(pieces)
        pieces = split_pieces(found, recipe)
        uncut = fraction_without_cuts(found, recipe) if len(pieces) > len(found) else None
        by_name = {source["path"]: source for source in sources}
        for piece in pieces:
            by_name[piece.name].setdefault("splits", []).append(piece.split)
    for piece in pieces:
        here = piece.speaker, piece.split
        if recipe.variable_length or not streams or (streams[-1].speaker, streams[-1].split) != here:
            streams.append(Stream(*here))
        stream = streams[-1]
        stream.append(piece.name, piece.sound)
        length = stream.length if recipe.variable_length else recipe.length
        for start in _new_starts(stream, piece.sound.length, length, recipe.stride):
            samples = stream.read(start, start + length)
            extremes = _float16(np.array([samples.min(), samples.max()]))  # rounding preserves the order
            (silent if is_silent(extremes) else clips).append(Clip(stream, start, start + length))
        if recipe.max_clips is not None and recipe.takes_first and len(clips) >= recipe.max_clips:
            break
    heard = len(clips)
    if recipe.legacy_count:
        total = sum(stream.length for stream in streams) // SAMPLE_RATE
        count = total // round(recipe.clip_seconds) - 1
        clips = [clip for clip in clips if clip.start // recipe.stride < count]
    clips = _limit(clips, recipe)
    # Clips that are silent belong to the rest only behind the last one of a set that takes no more.
    last = clips if len(clips) < heard else clips + silent
    ends = {id(stream): 0 for stream in streams}
    for clip in last:
        ends[id(clip.stream)] = max(ends[id(clip.stream)], clip.stop)
    rest = sum(stream.length - ends[id(stream)] for stream in streams)
    origins = [clip.stream.origin(clip.start) for clip in silent if clip.stop <= ends[id(clip.stream)]]
    dropped = [{"path": name, "seconds": seconds} for name, seconds in origins]
    return sources, clips, dropped, rest / SAMPLE_RATE, uncut


def _used(
    recordings: Sequence[Recording],
    work: Path,
    recipe: Recipe,
    progress: bool,
    sources: list[dict[str, Any]],
) -> Iterator[Piece]:
    """Decode the recordings; yield those that the recipe uses, and add the entries of all to `sources`."""
    first_names: dict[str, str] = {}  # by SHA-256: the first recording with these bytes
    allowed = recipe.allow_upsampling, recipe.allow_clipping
    for recording, source, sound in decode_all(recordings, work, *allowed, progress):
        sources.append(source)
        if sound is not None and _is_used(source, sound, recipe, first_names):
            speaker = recording.speaker if recipe.by_speaker or recipe.variable_length else None
            if speaker is not None:
                source["speaker"] = speaker
            yield Piece(recording.name, speaker, sound)


def _is_used(source: dict[str, Any], sound: Decoded, recipe: Recipe, first_names: dict[str, str]) -> bool:
    """True if the recipe uses this recording; otherwise the reason is added to `source`."""
    name, seconds = source["path"], source["seconds"]
    first = first_names.setdefault(source["sha256"], name)
    if recipe.one_clip_each:
        if sound.length == recipe.length:
            return True
        reason = f"{name} is {seconds:.4f} s long and not a clip of {recipe.clip_seconds:g} s."
        source.update(status="unreadable", reason=reason)
    elif first != name:
        source.update(status="left out", reason=f"{name} is the same file as {first}.")
    elif recipe.variable_length and not recipe.shortest <= seconds <= recipe.longest:
        short = seconds < recipe.shortest
        limit = f"--shortest {recipe.shortest:g}" if short else f"--longest {recipe.longest:g}"
        source.update(status="left out", reason=f"{name} is {seconds:.2f} s long; {limit}.")
    else:
        return True
    return False


def _new_starts(stream: Stream, added: int, length: int, stride: int) -> range:
    """Starts of the clips that end in the last `added` samples of the stream."""
    before = stream.length - added - length  # the last possible start before
    first = 0 if before < 0 else (before // stride + 1) * stride
    return range(first, stream.length - length + 1, stride)


def _limit(clips: list[Clip], recipe: Recipe) -> list[Clip]:
    if recipe.takes_first:
        return clips[: recipe.max_clips]
    if recipe.max_clips is None or recipe.balanced or len(clips) <= recipe.max_clips:
        return clips
    chosen = random.Random(recipe.choice_seed).sample(range(len(clips)), recipe.max_clips)
    return [clips[i] for i in sorted(chosen)]


def _balance(clips: list[Clip], max_clips: int | None) -> list[Clip]:
    """The first clips of each speaker, as many as the speaker with the fewest has, at most `max_clips`."""
    by_speaker: dict[str | None, list[Clip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.stream.speaker, []).append(clip)
    fewest = min(map(len, by_speaker.values()), default=0)
    if max_clips is not None and by_speaker:
        fewest = min(fewest, max_clips // len(by_speaker))
    return [clip for own in by_speaker.values() for clip in own[:fewest]]


def _sizes(clips: list[Clip], recipe: Recipe) -> SplitSizes:
    if not recipe.splits_first:
        return recipe.sizes(len(clips))
    known = [clip.stream.split for clip in clips]
    return SplitSizes(*(known.count(split) for split in SPLITS))


def _split(clips: list[Clip], sizes: SplitSizes, recipe: Recipe) -> dict[str, list[Clip]]:
    """Shuffle the clips and split them; those of known splits, which are sorted by them, in each."""
    if recipe.order == "shuffled" and not recipe.splits_first:
        clips = _shuffled(clips, recipe.seed)
    train, end = sizes.train, sizes.train + sizes.valid
    splits = {"train": clips[:train], "valid": clips[train:end], "test": clips[end : end + sizes.test]}
    if recipe.order == "shuffled train":
        shuffle(splits["train"], recipe.seed)
    if recipe.splits_first:
        splits = {split: _shuffled(own, recipe.seed) for split, own in splits.items()}
    return splits


def _shuffled(clips: list[Clip], seed: int) -> list[Clip]:
    return [clips[i] for i in original_order(len(clips), seed)]


def _float16(samples: NDArray[np.int16]) -> NDArray[np.float16]:
    """Samples in [-1, 1], as stored by the original."""
    return (samples.astype(np.float32) / np.float32(32768)).astype("<f2")


# --- errors -------------------------------------------------------------------------------------------------


def _check_sources(sources: list[dict[str, Any]], found: Found, recipe: Recipe) -> None:
    unreadable = [source["reason"] for source in sources if source["status"] == "unreadable"]
    if recipe.strict:
        unreadable += [f"{entry['path']}: {entry['reason']}." for entry in found.skipped]
    if unreadable and recipe.strict:
        lines = "\n".join(listed("These recordings or folders cannot be used", unreadable))
        raise DataError(f"{lines}\nReplace them, or pass --allow-missing to continue without them.")
    if len(unreadable) == len(sources):
        raise DataError(
            f"None of {count_of(len(sources), 'recording')} can be used; of the first: {unreadable[0]}"
        )


def _too_little(
    sources: list[dict[str, Any]],
    sizes: SplitSizes,
    clips: int,
    silent: list[dict[str, Any]],
    recipe: Recipe,
) -> str:
    seconds = sum(source.get("seconds", 0) for source in sources)
    kind = "clip" if recipe.variable_length else f"clip of {recipe.clip_seconds:g} s"
    dropped = f" besides {count_of(len(silent), 'silent clip')}" if silent else ""
    left_out = [source["reason"] for source in sources if source["status"] == "left out"]
    why = f" ({count_of(len(left_out), 'recording')} left out: {left_out[0]})" if left_out else ""
    doubts = [f"{s['path']}: {doubt}" for s in sources for doubt in s.get("doubts", {}).values()]
    why += f" ({doubts[0]})" if silent and doubts else ""
    needed = next((f", which needs {n:,}" for n in range(clips, 1_000_000) if min(recipe.sizes(n)) > 0), "")
    shares, other = "", ""
    if recipe.splits_first:
        needed = ""  # it depends on the lengths of the recordings
        shares = f" ({' / '.join(map(str, sizes))} in train, valid and test)"
        other = "pass --split-by clip, or " if clips > 2 else ""
    return (
        f"Found {seconds:.1f} s of sound, which gives {count_of(clips, kind)}{dropped}{why}{shares}: too few "
        f"for a training, a validation and a test set{needed}. Add recordings, {other}see --help for the "
        "length of clips and the sizes of the splits."
    )


# --- writing ------------------------------------------------------------------------------------------------


def _write(path: Path, clips: list[Clip], recipe: Recipe, bar: Bar) -> dict[str, Any]:
    """Write the clips of one split; return its entry in the manifest."""
    lengths = [clip.stop - clip.start for clip in clips]
    shape = (sum(lengths),) if recipe.variable_length else (len(clips), recipe.length)
    entry = write_split(path, len(clips), shape, _samples(clips, bar))
    if recipe.variable_length:
        write_npy(offsets_path(path), (len(clips) + 1,), [np.cumsum([0, *lengths])], "<i8")
        entry["offsets_sha256"] = sha256(offsets_path(path))
        entry["seconds_shortest_longest"] = [min(lengths) / SAMPLE_RATE, max(lengths) / SAMPLE_RATE]
    if any(clip.stream.speaker is not None for clip in clips):
        speakers = [str(clip.stream.speaker) for clip in clips]
        entry["speakers"] = {name: speakers.count(name) for name in sorted(set(speakers))}
    return entry


def _samples(clips: Sequence[Clip], bar: Bar) -> Iterator[NDArray[np.float16]]:
    for clip in clips:
        yield _float16(clip.stream.read(clip.start, clip.stop))
        bar.advance()


def _origins(clips: Sequence[Clip]) -> Iterator[Origin]:
    for clip in clips:
        seconds = (clip.stop - clip.start) / SAMPLE_RATE
        yield Origin(*clip.stream.origin(clip.start), seconds, clip.stream.speaker or "")
