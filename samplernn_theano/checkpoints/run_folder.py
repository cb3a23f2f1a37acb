"""The folder of a run: settings, log, learning curve, checkpoints and samples.

RUN/settings.json        arguments and versions
RUN/log.jsonl            one JSON object per line
RUN/train_log.png        the learning curve
RUN/index.html           its page, by samplernn show --page
RUN/checkpoints/last.npz, best.npz, with --keep also i10000_v2.3456.npz
RUN/samples/
RUN/tensorboard/         events, with --tensorboard

With --original-layout there are also args.pkl, train_log.pkl, params/ ...; see
`samplernn_theano.original.results_folder`.
"""

import json
import math
import re
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import pretrained
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.utils.files import LOCK, OWNER, write_error_message, write_text
from samplernn_theano.utils.text import parse_json


class Run:
    """Paths inside the folder of a run."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.settings = self.folder / "settings.json"
        self.log = self.folder / "log.jsonl"
        self.plot = self.folder / "train_log.png"
        self.last = self.folder / "checkpoints" / "last.npz"
        self.best = self.folder / "checkpoints" / "best.npz"  # with the lowest validation NLL
        self.samples = self.folder / "samples"

    @property
    def has_checkpoint(self) -> bool:
        """True if the run can be resumed or generate."""
        return self.last.exists() or self.best.exists()

    def evaluation_checkpoint(self, iteration: int, valid: float) -> Path:
        """The checkpoint of one evaluation, with --keep above 1."""
        return self.folder / "checkpoints" / f"i{iteration}_v{valid:.4f}.npz"


def no_run(run: Run) -> CheckpointError:
    """The error that a folder is not that of a run, which says what it is if it is a model."""
    if pretrained.checkpoint(run.folder) != run.folder:
        name = run.folder.name
        return CheckpointError(
            f"{run.folder} is a model without its run; samplernn pretrained {name} shows its card."
        )
    return CheckpointError(
        f"{run.folder} is not the folder of a run: it has neither settings.json and log.jsonl nor params/."
    )


_PART = r"(.*/)?\.[^/]+\.\d+\.part[^/]*"
_START = (
    r"settings\.json|log\.jsonl|args\.pkl|model_settings\.txt|\.lock(\.owner)?|tensorboard/events\.out\.[^/]+"
)
_CHECKPOINT = r"(best|last|i\d+_v(-?\d+\.\d+|-?inf|nan))"
_COSTS = r"e\d+_i\d+_t\d+\.\d+_tr[^/_]+_v[^/_]+(_best)?"

BEFORE_CHECKPOINT = re.compile(rf"{_START}|{_PART}")
"""Names of the files that a run writes before its first checkpoint, which may be replaced."""


def own_files(folder: Path) -> re.Pattern[str]:
    """Names of the files that the run in `folder` writes, with those of sounds made of its checkpoints."""
    names = [re.escape(path.stem) for path in folder.glob("params/params_e*.pkl")]
    model = "|".join([rf"{re.escape(folder.resolve().name[:40])}_{_CHECKPOINT}", *names])
    generated = rf"({model})_(seed\d+_t\d[^/]*|like-original_g\d+)"
    sound = rf"(sample_(i\d+|{_COSTS})_\d+\.wav|{generated}_\d+\.(wav|flac|ogg))"
    return re.compile(
        rf"{_START}|{_PART}|index\.html|train_log\.png|train_log(_i\d+)?\.pkl|th_conf\.txt"
        rf"|checkpoints/{_CHECKPOINT}\.npz"
        rf"|params/params_{_COSTS}\.pkl|samples/({sound}|spectrograms/{sound}\.png|index\.html)"
        rf"|samples/{generated}(_spectrograms\.png|\.json)"
    )


def _files(folder: Path) -> set[Path]:
    """The files and folders in `folder` and below, also those of its folders that are links to elsewhere."""
    linked = [folder / name for name in ("checkpoints", "params", "samples", "tensorboard")]
    return {path for top in (folder, *linked) for path in top.rglob("*")}


def other_files(folder: Path, own: re.Pattern[str] | None = None) -> list[Path]:
    """Files in `folder` and below with other names, by default than those of `own_files`."""
    own = own or own_files(folder)
    files = (path for path in sorted(_files(folder)) if not path.is_dir())
    return [path for path in files if not own.fullmatch(path.relative_to(folder).as_posix())]


def check_free(folder: str | Path, overwrite: bool = False) -> None:
    """Raise OutputError if a new run may not use `folder`.

    It may be missing, empty, or hold a run without a checkpoint; with `overwrite`, any run.
    """
    run = Run(folder)
    if run.folder.exists() and not run.folder.is_dir():
        raise OutputError(f"{run.folder} is a file; choose another folder with --run.")
    if run.has_checkpoint and not overwrite:
        raise OutputError(
            f"The folder {run.folder} holds a run; resume it with samplernn resume {run.folder}, "
            "choose another folder with --run, or replace the run with --overwrite."
        )
    if not run.has_checkpoint and (others := other_files(run.folder, BEFORE_CHECKPOINT)):
        raise OutputError(
            f"The folder {run.folder} holds other files ({others[0].name}); choose an empty one with --run."
        )


def check_overwrite(folder: Path, source: Path, is_run: bool, overwrite: bool) -> None:
    """Raise OutputError if a conversion of `source` may not write `folder`.

    It may be missing, empty, or with `overwrite` a run (`is_run`) without other files or `source` in it.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder, or a file that ends in .npz or .pkl.")
    if is_run and source.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{source} is in {folder}, which would be replaced; name another folder.")
    others = [f" ({path.name})" for path in other_files(folder)] if is_run else [""]
    if others:
        raise OutputError(f"The folder {folder} holds other files{others[0]}; name an empty or new one.")
    if not overwrite:
        raise OutputError(f"The folder {folder} holds a run; name another one, or give --overwrite.")


def create(folder: str | Path, settings: Mapping[str, Any], overwrite: bool = False) -> Run:
    """Create the folder of a new run, delete an old run in it, and write its settings."""
    run = Run(folder)
    check_free(folder, overwrite)
    kept = {run.log, run.folder / LOCK, run.folder / OWNER, *other_files(run.folder)}
    for path in sorted(_files(run.folder) - kept, reverse=True):  # contents before their folder
        if path.is_dir():
            with suppress(OSError):  # not empty
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        run.log.write_bytes(b"")  # always there: it marks the folder of a killed process as a run
    except OSError as error:
        raise OutputError(write_error_message(run.log, error)) from error
    write_text(run.settings, json.dumps(settings, indent=2) + "\n")
    return run


def append(run: Run, event: str, **values: Any) -> None:
    """Append a line to the log, after ending a truncated last line."""
    try:
        with run.log.open("ab+") as log:
            log.seek(max(0, log.tell() - 1))
            separator = b"" if log.read(1) in (b"", b"\n") else b"\n"
            log.write(separator + json.dumps({"event": event, **values}).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"Could not write {run.log}: {error.strerror or error}.") from error


def records_to_discard(run: Run, iteration: int, eval_due: bool) -> list[dict[str, Any]]:
    """Log records that are repeated on resuming at this iteration, its evaluation too if it is due."""
    last = iteration - 0.5 if eval_due else iteration  # of evaluations
    records = [(r.get("iteration", 0), r) for r in read_log(run)]
    return [r for i, r in records if i > (last if r["event"] == "monitor" else iteration)]


def discard(run: Run, records: Sequence[Mapping[str, Any]]) -> None:
    """Remove records from the log, and the temporary files of a killed process."""
    discarded = {json.dumps(record) for record in records}  # NaN is not equal to itself
    write_log(run, [record for record in read_log(run) if json.dumps(record) not in discarded])
    for folder in (run.folder, run.folder / "checkpoints", run.samples, run.folder / "params"):
        for path in folder.glob(".*.part*"):
            path.unlink(missing_ok=True)


def kept(run: Run) -> list[tuple[int, float, Path]]:
    """Iteration, validation NLL and path of each checkpoint of an evaluation, sorted."""
    paths = (run.folder / "checkpoints").glob("i*_v*.npz")
    found = [(re.fullmatch(r"i(\d+)_v(-?\d+\.\d+)", path.stem), path) for path in paths]
    return sorted((int(match[1]), float(match[2]), path) for match, path in found if match)


def prune(run: Run, keep: int) -> None:
    """Delete checkpoints of evaluations except the `keep` latest and the `keep` best."""
    named = kept(run)
    best = sorted(named, key=lambda item: item[1])[:keep]  # of equal ones the earlier
    for item in named[:-keep]:
        if item not in best:
            item[2].unlink(missing_ok=True)


def write_log(run: Run, records: Sequence[Mapping[str, Any]]) -> None:
    """Replace the log."""
    write_text(run.log, "".join(json.dumps(record) + "\n" for record in records))


def read_log(run: Run, start: int = 0) -> list[dict[str, Any]]:
    """Records of the log from byte `start` on, without truncated and damaged lines; none without a log."""
    if not run.log.exists():
        return []
    records = []
    with run.log.open("rb") as log:
        log.seek(start)
        for line in log.read().decode("utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                records.append(parse_json(line))
    return [record for record in records if _is_record(record)]


COUNTS = ("iteration", "epoch", "parameters")
NUMBERS = (
    *("nll_bits", "minibatch", "train", "valid", "test", "best_valid", "best_test"),
    *("valid_seconds", "test_seconds", "wall_seconds"),
)


def _is_record(record: Any) -> bool:
    """True if these are the values of an event, whose numbers are numbers."""
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        return False
    if record["event"] in ("train", "monitor") and "iteration" not in record:
        return False
    counts, numbers = (
        [record[name] for name in names if name in record] for names in (COUNTS, (*NUMBERS, "seconds"))
    )
    seconds = record.get("seconds", 0)
    return (
        all(type(value) is int and 0 <= value < 2**63 for value in counts)
        and all(value is None or type(value) in (int, float) for value in numbers)
        and not any(type(value) is int and abs(value) >= 2**63 for value in numbers)
        and seconds is not None
        and 0 <= seconds < math.inf
    )


def evaluations(run: Run) -> list[dict[str, Any]]:
    """Records of evaluations in the log."""
    return [record for record in read_log(run) if record["event"] == "monitor"]


def sample_files(folder: Path, iterations: Container[int] | None = None) -> list[tuple[int, int, Path]]:
    """Iteration, number and path of each generated sample, ours or the original's, in this order."""
    files = []
    for path in folder.glob("sample_*.wav"):
        found = re.fullmatch(r"sample_(?:e\d+_)?i(\d+)_(?:.*_)?(\d+)", path.stem)
        if found and (iterations is None or int(found[1]) in iterations):
            files.append((int(found[1]), int(found[2]), path))
    return sorted(files)


def copy_samples(
    folder: Path, into: Path, name: Callable[[int, int], str], iterations: Container[int] | None = None
) -> None:
    """Copy generated samples, ours or the original's, under the name for their iteration and number."""
    for iteration, number, path in sample_files(folder, iterations):
        into.mkdir(exist_ok=True)
        shutil.copyfile(path, into / name(iteration, number))
