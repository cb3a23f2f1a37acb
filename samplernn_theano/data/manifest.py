"""The description of a data set: `manifest.json`, and a summary of it as text."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from samplernn_theano.errors import DataError
from samplernn_theano.utils.text import escape_control_characters, parse_json

MANIFEST = "manifest.json"
CLIPS = "clips.csv"
PICTURE = "check.png"


class SplitSizes(NamedTuple):
    """Number of clips in each split."""

    train: int
    valid: int
    test: int


def read_manifest(folder: Path) -> Any:
    """The manifest of the data set in `folder`, perhaps of another program; None without one."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it or remove it.") from error


def check_rate(folder: str | Path, rate: int, remedy: str = "give a set of that rate") -> None:
    """Raise DataError if the manifest of the data set says that its sound is not at `rate` Hz."""
    manifest = None
    with suppress(DataError):
        manifest = read_manifest(Path(folder))
    stated = manifest.get("rate") if isinstance(manifest, dict) else None
    if isinstance(stated, int) and stated != rate:  # of other programs it can be anything
        raise DataError(
            f"By its {MANIFEST}, {folder} holds sound at {stated} Hz, and the model is one of {rate} Hz; "
            f"{remedy}."
        )


def describe(manifest: dict[str, Any]) -> str:
    """Summarise the manifest of a data set in a few lines."""
    splits, options, sources = manifest["splits"], manifest["options"], manifest.get("sources", [])
    clips = sum(split["clips"] for split in splits.values())
    seconds = sum(split["seconds"] for split in splits.values())
    used = [source for source in sources if source["status"] == "used"]
    unreadable = [source["reason"] for source in sources if source["status"] == "unreadable"]
    left_out = [source["reason"] for source in sources if source["status"] == "left out"]
    upsampled = [source["path"] for source in used if source["rate"] < manifest["rate"]]
    clipped = [f"{source['path']} ({source['clipped']})" for source in used if source["clipped"]]
    doubtful = [f"{s['path']}: {doubt}" for s in used for doubt in s.get("doubts", {}).values()]
    silent = [f"{clip['path']} at {clip['seconds']:.1f} s" for clip in manifest.get("silent_clips", [])]
    skipped = [f"{entry['path']} ({entry['reason']})" for entry in manifest.get("skipped_folders", [])]

    origin = count_of(len(used), "recording") if sources else ", ".join(manifest["adopted_from"])
    lines = [f"Data set {options['name']}: {_kind(manifest, clips)}, {hours(seconds)}, from {origin}."]
    for name, split in splits.items():
        speakers = ", ".join(f"{speaker} {n:,}" for speaker, n in split.get("speakers", {}).items())
        shares = f" ({speakers})" if 1 < len(split.get("speakers", {})) <= 4 else ""
        lines.append(f"  {name:5}  {count_of(split['clips'], 'clip')}, {hours(split['seconds'])}{shares}")
    lines.append(
        f"Training set: mean {manifest['train_mean']:.6g}, standard deviation {manifest['train_std']:.6g}."
    )
    lines += _notes(manifest, clips)
    lines += _split_by(manifest, used)
    if manifest.get("ignored_files"):
        lines.append(f"Not recordings, ignored: {count_of(manifest['ignored_files'], 'file')}.")
    lines += listed("Missing", manifest.get("missing", []))
    lines += listed("Silent clips, dropped", silent)
    lines += listed(f"Recorded below {manifest['rate']} Hz, so they lack high frequencies", upsampled)
    lines += listed("Beyond full scale, clipped (samples)", clipped)
    lines += listed("Doubtful recordings", doubtful)
    lines += listed("Folders left out", skipped)
    lines += listed("Left out", left_out)
    lines += listed("Recordings that cannot be used", unreadable)
    return escape_control_characters("\n".join(lines), keep="\n")


def _notes(manifest: dict[str, Any], clips: int) -> list[str]:
    """Lines on clips that overlap, and on sound and clips that are not used."""
    options, lines = manifest["options"], []
    stride, length = options.get("stride_seconds"), options["clip_seconds"]
    if stride and stride < length:
        lines.append(
            f"The clips overlap: each begins {stride:g} s after the one before and lasts {length:g} s."
        )
    if options.get("most") and options["most"] > clips + manifest["clips_left_out"]:
        lines.append(f"Fewer clips than the {options['most']:,} of --clips: there is no more sound.")
    if manifest.get("rest_seconds"):
        lines.append(f"After the last clip, not used: {manifest['rest_seconds']:,.2f} s.")
    if manifest.get("clips_left_out"):
        lines.append(f"Beyond the splits, left out: {count_of(manifest['clips_left_out'], 'clip')}.")
    if manifest.get("recordings_not_needed"):
        lines.append(f"Recordings not needed, not read: {manifest['recordings_not_needed']:,}.")
    return lines


def _split_by(manifest: dict[str, Any], used: list[dict[str, Any]]) -> list[str]:
    """Lines on what is in one split only, unless the clips were split."""
    options, fraction = manifest["options"], manifest.get("fraction_without_cuts")
    if options.get("split_by", "clip") == "clip":
        return []
    if parts := [source["path"] for source in used if len(source.get("splits", ())) > 1]:
        title = (
            "Recordings cut in time, the last parts for valid and test, as whole ones give no splits of "
            "about the sizes asked for"
        )
        whole = f"  --valid-fraction {fraction} --test-fraction {fraction} would leave them whole."
        return [*listed(title, parts), *[whole] * (fraction is not None)]
    return [f"Split by {options['split_by']}: none is in two splits."]


def _kind(manifest: dict[str, Any], clips: int) -> str:
    if manifest["layout"] == "fixed":
        return f"{count_of(clips, 'clip')} of {manifest['options']['clip_seconds']:g} s"
    limits = [split["seconds_shortest_longest"] for split in manifest["splits"].values()]
    shortest, longest = min(low for low, _ in limits), max(high for _, high in limits)
    return f"{count_of(clips, 'clip')} of {shortest:.2f} to {longest:.2f} s"


def count_of(number: int, noun: str) -> str:
    """`number` and the noun in singular or plural: 2,094 clips, 1 clip of 8 s."""
    first, *rest = noun.split(" ", 1) if " of " in noun else [noun]
    return " ".join([f"{number:,} {first}" + ("" if number == 1 else "s"), *rest])


def hours(seconds: float) -> str:
    """A duration in hours, or in minutes below one hour."""
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def listed(title: str, items: list[str], limit: int = 10) -> list[str]:
    """Lines of a list with its title and length, at most `limit` items; no lines if it is empty."""
    if not items:
        return []
    more = [f"  ... and {len(items) - limit:,} more"] if len(items) > limit else []
    return [
        f"{title}: {len(items):,}",
        *(f"  {escape_control_characters(item)}" for item in items[:limit]),
        *more,
    ]
