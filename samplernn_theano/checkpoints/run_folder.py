"""The folder of a run: where its settings, log, pictures, checkpoints and samples lie.

RUN/settings.json        what was asked for, and with which versions
RUN/log.jsonl            one JSON object per line, for programs
RUN/train_log.png        the learning curve
RUN/checkpoints/last.npz, best.npz, with --keep also i10000_v2.3456.npz
RUN/samples/

With --original-layout there are args.pkl, train_log.pkl, params/ ... beside them: see
`samplernn_theano.original.results_folder`.
"""

import json
import re
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import LOCK, explain, write_text


@dataclass(frozen=True)
class Run:
    """Paths inside the folder of a run."""

    folder: Path

    @property
    def settings(self) -> Path:
        """What was asked for."""
        return self.folder / "settings.json"

    @property
    def log(self) -> Path:
        """One JSON object per line."""
        return self.folder / "log.jsonl"

    @property
    def plot(self) -> Path:
        """The learning curve."""
        return self.folder / "train_log.png"

    @property
    def last(self) -> Path:
        """The latest checkpoint."""
        return self.folder / "checkpoints" / "last.npz"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation NLL."""
        return self.folder / "checkpoints" / "best.npz"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is anything to go on from or to generate with."""
        return self.last.exists() or self.best.exists()

    def kept(self, iteration: int, valid: float) -> Path:
        """The checkpoint of one look, where more than the last and the best are kept."""
        return self.folder / "checkpoints" / f"i{iteration}_v{valid:.4f}.npz"

    @property
    def samples(self) -> Path:
        """Generated sound."""
        return self.folder / "samples"


OWN = re.compile(
    r"settings\.json|log\.jsonl|train_log\.png|args\.pkl|train_log\w*\.pkl|(model_settings|th_conf)\.txt|\.lock"
    r"|checkpoints/[^/]+\.npz|samples/(spectrograms/)?[^/]+\.(wav|flac|ogg|png)|samples/index\.html"
    r"|samples/[^/]+_(seed\d+_t|like-original_g)[^/]+\.json|params/params_[^/]+\.pkl|(.*/)?\.[^/]+\.part[^/]*"
)
"""The names of what a run leaves in its folder."""

BEFORE_CHECKPOINT = re.compile(
    r"settings\.json|log\.jsonl|args\.pkl|model_settings\.txt|\.lock|(.*/)?\.[^/]+\.part[^/]*"
)
"""The names of what it leaves there before its first checkpoint: nothing of value."""


def other_files(folder: Path, own: re.Pattern[str] = OWN) -> list[Path]:
    """The files below `folder` that have other names."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return [path for path in files if not own.fullmatch(path.relative_to(folder).as_posix())]


def check_free(folder: str | Path, overwrite: bool = False) -> None:
    """Raise OutputError if a new run may not be made in `folder`.

    It may be missing, empty, or hold a run that ended before its first checkpoint; with `overwrite`, any run.
    """
    run = Run(Path(folder))
    if not run.folder.exists():
        return
    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is a file; choose another folder with --run.")
    if run.has_checkpoint:
        if overwrite:
            return
        raise OutputError(
            f"The folder {run.folder} holds a run; go on with it by samplernn resume {run.folder}, "
            "choose another with --run, or replace it with --overwrite."
        )
    if others := other_files(run.folder, BEFORE_CHECKPOINT):
        raise OutputError(
            f"The folder {run.folder} holds other files ({others[0].name}); choose an empty one with --run."
        )


def create(folder: str | Path, settings: Mapping[str, Any], overwrite: bool = False) -> Run:
    """Make the folder of a new run, clear it of an old one, and write its settings.

    Raises
    ------
    OutputError
        If the folder may not be used (see `check_free`) or cannot be made.
    """
    run = Run(Path(folder))
    check_free(folder, overwrite)
    _clear(run)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        run.log.write_bytes(b"")  # here from first to last: by it the folder of a killed process is known
    except OSError as error:
        raise OutputError(explain(run.log, error)) from error
    write_text(run.settings, json.dumps(settings, indent=2) + "\n")
    return run


def _clear(run: Run) -> None:
    """Delete the files of an old run, but for its log, and folders that are empty then; nothing else."""
    for path in sorted(run.folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        name = path.relative_to(run.folder).as_posix()
        if path.is_dir():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif OWN.fullmatch(name) and path not in (run.log, run.folder / LOCK):
            path.unlink(missing_ok=True)


def append(run: Run, event: str, **values: Any) -> None:
    """Add one line to the log; a last line that was cut short is ended first.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        with run.log.open("ab+") as log:
            cut = b""
            if log.tell():
                log.seek(-1, 2)
                cut = b"" if log.read(1) == b"\n" else b"\n"
            log.write(cut + json.dumps({"event": event, **values}).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"Could not write {run.log}: {error.strerror or error}.") from error


def undone(run: Run, iteration: int, look_due: bool) -> list[dict[str, Any]]:
    """The records of the log that tell of what will be trained, or looked at, again.

    Parameters
    ----------
    iteration : int
        Of the checkpoint that the run goes on from.
    look_due : bool
        Whether the look at that iteration is still to be made.
    """
    return [
        record
        for record in read_log(run)
        if record.get("iteration", 0) > iteration
        or (look_due and record["event"] == "monitor" and record["iteration"] == iteration)
    ]


def rewind(run: Run, lost: Sequence[Mapping[str, Any]]) -> None:
    """Take the records `lost` out of the log, and away what a killed process left half-written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    kept = [record for record in read_log(run) if record not in lost]
    write_text(run.log, "".join(json.dumps(record) + "\n" for record in kept))
    _remove_half_written(run)


def _remove_half_written(run: Run) -> None:
    for folder in (run.folder, run.folder / "checkpoints", run.samples, run.folder / "params"):
        for path in folder.glob(".*.part*"):
            path.unlink(missing_ok=True)


def prune(run: Run, keep: int) -> None:
    """Delete checkpoints of looks, but for the `keep` latest and the `keep` best."""
    named = []
    for path in (run.folder / "checkpoints").glob("i*_v*.npz"):
        if found := re.fullmatch(r"i(\d+)_v(-?\d+\.\d+)", path.stem):
            named.append((int(found[1]), float(found[2]), path))
    named.sort()
    latest = named[-keep:]
    best = sorted(named, key=lambda item: item[1])[:keep]  # of equals the earlier, whatever glob finds first
    for item in named:
        if item not in latest and item not in best:
            item[2].unlink(missing_ok=True)


def read_log(run: Run) -> list[dict[str, Any]]:
    """The log's records, none where there is no log; lines that were cut short or damaged are left out."""
    if not run.log.exists():
        return []
    records = []
    for line in run.log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "event" in record:
            records.append(record)
    return records


def copy_samples(
    folder: Path, into: Path, name: Callable[[int, int], str], iterations: Container[int] | None = None
) -> None:
    """Copy generated sound, ours or the original's, under the name for its iteration and number."""
    for path in sorted(folder.glob("sample_*.wav")):
        found = re.fullmatch(r"sample_(?:e\d+_)?i(\d+)_(?:.*_)?(\d+)", path.stem)
        if found and (iterations is None or int(found[1]) in iterations):
            into.mkdir(exist_ok=True)
            shutil.copyfile(path, into / name(int(found[1]), int(found[2])))
