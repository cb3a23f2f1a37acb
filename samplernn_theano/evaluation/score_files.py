"""Score recordings in files: one on each core at once, each stored as soon as it is scored."""

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from samplernn_theano.backends import compile
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.data import audio, recordings
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.evaluation import nll, score_report
from samplernn_theano.evaluation.nll import RecordingScore, Scorer
from samplernn_theano.utils.files import sha256, write_error_message, write_text
from samplernn_theano.utils.progress import Bar, progress_bar
from samplernn_theano.utils.text import parse_json, say
from samplernn_theano.utils.version import package_version

# --- scoring ------------------------------------------------------------------------------------------------


def find_recordings(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Files, and all recordings in folders, each once; also messages on folders without any."""
    found: list[Path] = []
    problems = []
    for path in paths:
        try:
            found += [r.path for r in recordings.find(path).recordings] if path.is_dir() else [path]
        except DataError as error:
            problems.append(str(error))
    return list(dict.fromkeys(found)), problems


@contextmanager
def scoring(
    model: LoadedModel,
    paths: Sequence[Path],
    window: float = 0.1,
    backend: str | None = None,
    progress: bool = False,
) -> Iterator[tuple[Iterator[tuple[Path, RecordingScore | DataError]], Bar]]:
    """Score recordings of any rate and number of channels: each when it is done, and the bar of progress.

    A file that cannot be scored gives its error. At the end of the block what is in work is given up.
    """
    at_once = min(len(paths), compile.allow_concurrent_calls(backend or compile.default_backend()))
    scorer = nll.compile_scorer(model, backend, for_recordings=True)
    cost = _seconds_per_second(scorer) / at_once  # compiles, before there are threads
    if progress:
        say(f"A second of sound takes about {cost:.2g} s; recordings that are scored at once: {at_once}.")
    sizes = [max(1, path.stat().st_size) if path.is_file() else 1 for path in paths]
    done, ended, reading = [0.0] * len(paths), threading.Event(), threading.Lock()

    def score(i: int) -> RecordingScore | DataError:
        def report(share: float) -> None:
            if ended.is_set():
                raise InterruptedError
            done[i] += share * sizes[i]
            bar.at(sum(done))

        try:
            digest = _digest(paths[i])  # before it is decoded: it may be replaced meanwhile
            with reading:  # decoders write to standard error, which is the process's
                sound = audio.read(paths[i], model.hp.rate)
            one = nll.score_recording(scorer, sound.samples, paths[i], window, report)
            return replace(one, file_rate=sound.file_rate, sha256=digest)
        except DataError as error:
            return error
        finally:
            done[i] = sizes[i]

    with progress_bar("score", sum(sizes), "B", progress) as bar:
        threads = ThreadPoolExecutor(at_once)
        try:
            work = {threads.submit(score, i): path for i, path in enumerate(paths)}
            yield ((work[future], future.result()) for future in as_completed(work)), bar
        finally:
            ended.set()
            threads.shutdown(cancel_futures=True)


def _seconds_per_second(scorer: Scorer) -> float:
    """The time that a second of sound takes, after a first call, which compiles."""
    n = scorer.hp.seq_len
    noise = np.random.default_rng(0).uniform(-1, 1, n).astype(np.float32)
    for _ in range(2):
        began = time.perf_counter()
        with suppress(DataError):  # not finite: each recording will say so
            nll.score_recording(scorer, noise)
    return (time.perf_counter() - began) * scorer.hp.rate / n


# --- the table ----------------------------------------------------------------------------------------------


class ScoreTable:
    """A CSV file that has the windows of each recording as soon as it is scored.

    The scores are also in a file next to it, from which the same command continues: lines of JSON, the first
    on the model and the window.
    """

    def __init__(self, path: Path, model: LoadedModel, window: float, backend: str | None) -> None:
        self.path, self.scores = path, path.with_name(f"{path.name}.scores")
        self._key = json.dumps({"model": _hash(model), "window": window, "backend": backend})
        self._begun = False

    def stored(self, paths: Sequence[Path]) -> list[RecordingScore]:
        """The scores of those recordings that an earlier command stored, and that have not changed since."""
        with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):  # the last line may be cut
            key, *lines = self.scores.read_text(encoding="utf-8").splitlines()
            found: dict[str, RecordingScore] = {}
            if key == self._key:
                with suppress(ValueError):
                    for record in map(parse_json, lines):
                        record |= {name: np.array(record[name]) for name in ("times", "curve")}
                        found[record["path"]] = RecordingScore(**record | {"path": Path(record["path"])})
            known = [one for path in paths if (one := found.get(str(path)))]
            return [one for one in known if one.sha256 and one.sha256 == _digest(one.path)]
        return []

    def begin(self, stored: Sequence[RecordingScore]) -> None:
        """Begin with these scores; an existing CSV file stays until the first new one."""
        write_text(self.scores, "".join([f"{self._key}\n", *map(_record, stored)]))

    def add(self, scored: Sequence[RecordingScore]) -> None:
        """Store the last of `scored`, which are all in the table: they are on the disk when this returns."""
        _append(self.scores, _record(scored[-1]))
        if self._begun:
            _append(self.path, score_report.windows_as_csv(scored[-1:], header=False))
        else:
            score_report.write_windows(self.path, scored)
            self._begun = True

    def complete(self, scored: Sequence[RecordingScore]) -> None:
        """Write all recordings, if any, in this order."""
        if scored:
            score_report.write_windows(self.path, scored)
        else:
            self.scores.unlink(missing_ok=True)
        names = f"(?:{re.escape(self.path.stem)}|{re.escape(self.path.name)})"
        for path in self.path.parent.glob(".*.part*"):  # of commands that were killed
            if re.fullmatch(rf"\.{names}\.\d+\.part\.(csv|scores)", path.name):
                path.unlink(missing_ok=True)


def _record(one: RecordingScore) -> str:
    """A line on a recording."""
    arrays = {"times": one.times.tolist(), "curve": one.curve.tolist()}
    return json.dumps(asdict(one) | {"path": str(one.path)} | arrays) + "\n"


def _digest(path: Path) -> str:
    """SHA-256 of a file, which costs little next to its score; empty if there is none."""
    with suppress(OSError):
        return sha256(path) if path.is_file() else ""
    return ""


def _hash(model: LoadedModel) -> str:
    """A hash of a model and of the version of this package."""
    digest = hashlib.sha256(f"{package_version()} {model.hp}".encode())
    for name, array in sorted(model.parameters.items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def _append(path: Path, text: str) -> None:
    """Append to a file, durably."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(write_error_message(path, error)) from error
