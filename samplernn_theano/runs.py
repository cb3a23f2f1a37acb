"""The folder of a run: where its settings, log, pictures, checkpoints and samples lie.

RUN/settings.json        what was asked for, and with which versions
RUN/log.jsonl            one JSON object per line, for programs
RUN/train_log.png        the learning curve
RUN/checkpoints/last.npz, best.npz
RUN/samples/
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samplernn_theano.errors import OutputError
from samplernn_theano.files import write_text


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
    def samples(self) -> Path:
        """Generated sound."""
        return self.folder / "samples"


def check_free(folder: str | Path, overwrite: bool = False) -> None:
    """Raise OutputError if a new run may not be made in `folder`.

    It may be missing, empty, or hold a run that ended before its first checkpoint; with `overwrite`, any run.
    """
    run = Run(Path(folder))
    if not run.folder.exists():
        return
    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is a file; choose another folder with --run.")
    if run.last.exists() or run.best.exists():
        if not overwrite:
            raise OutputError(
                f"The folder {run.folder} holds a run; choose another with --run, or give --overwrite."
            )
    elif any(run.folder.iterdir()) and not run.log.exists():
        raise OutputError(f"The folder {run.folder} holds other files; choose an empty one with --run.")


def create(folder: str | Path, settings: Mapping[str, Any], overwrite: bool = False) -> Run:
    """Make the folder of a new run, clear it of an old one, and write its settings.

    Raises
    ------
    OutputError
        If the folder may not be used (see `check_free`) or cannot be made.
    """
    run = Run(Path(folder))
    check_free(folder, overwrite)
    if run.folder.is_dir():
        for path in (run.settings, run.log, run.plot, run.last, run.best):
            path.unlink(missing_ok=True)
        shutil.rmtree(run.samples, ignore_errors=True)
    write_text(run.settings, json.dumps(settings, indent=2) + "\n")
    return run


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


def rewind(run: Run, iteration: int) -> None:
    """Take the lines of the log that tell of later iterations out of it, for these will be trained again.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    kept = [record for record in read_log(run) if record.get("iteration", 0) <= iteration]
    write_text(run.log, "".join(json.dumps(record) + "\n" for record in kept))


def read_log(run: Run) -> list[dict[str, Any]]:
    """The log's records; lines that were cut short are left out."""
    records = []
    for line in run.log.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
