"""A run in TensorBoard: the costs of its log, its learning curve, its samples and their spectrograms."""

import importlib.util
import io
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.errors import BackendError
from samplernn_theano.generation import spectrograms
from samplernn_theano.utils import plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from samplernn_theano.training.step import Due, TrainingState


def check_installed() -> None:
    """Raise BackendError if tensorboardX is missing."""
    if not importlib.util.find_spec("tensorboardX"):
        raise BackendError(
            "--tensorboard needs tensorboardX: pip install 'samplernn-theano[tensorboard]', or leave it out."
        )


class TensorBoard:
    """A hook that copies new records of the log, and what belongs to an evaluation, to RUN/tensorboard.

    A resumed run, `iteration` iterations old, discards later events of a process that was killed, and writes
    those of this iteration again, which may be incomplete. Events are written at once, not by the thread of
    tensorboardX's own writer, for which training would wait for ever on a full disk.
    """

    def __init__(self, run: Run, iteration: int) -> None:
        self.run = run
        self.folder = run.folder / "tensorboard"
        self.first = iteration if self.folder.is_dir() else 0  # whose events are written
        self.position = 0  # in the log
        self.writer: Any = None

    def __call__(self, t: "TrainingState", due: "Due") -> None:
        """Write the events of new records; after a failure, from the next evaluation on."""
        if not (due.event or due.evaluation or due.log and self.writer):
            return
        try:
            self._write_new_records()
        except Exception:
            # The file may end in half an event, behind which nothing is read. The next events get a new one.
            with suppress(OSError, AttributeError):
                self.writer.close()
            self.writer, self.first = None, t.progress.iteration + 1
            raise

    def _write_new_records(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        def write(step: int, **content: Any) -> None:
            self.writer.write_event(Event(wall_time=time.time(), step=step, **content))

        if self.writer is None:
            self.folder.mkdir(exist_ok=True)
            # Its own names differ in the second only.
            self.writer = EventsWriter(str(self.folder / "events"), f".{time.time_ns()}")
            # A start discards what other files have from this step on.
            write(self.first, session_log=SessionLog(status=SessionLog.START))
        start, self.position = self.position, self.run.log.stat().st_size
        for record in run_folder.read_log(self.run, start):
            if record.get("iteration", -1) >= self.first:
                for tag, value in self._values(record, Summary):
                    write(record["iteration"], summary=Summary(value=[Summary.Value(tag=tag, **value)]))
        self.writer.flush()

    def _values(self, record: Mapping[str, Any], summary: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Tags and values of a record: of training its cost, of an evaluation costs, pictures and sounds."""
        if record["event"] == "train":
            yield "nll_bits/train", {"simple_value": record["nll_bits"]}
        if record["event"] != "monitor":
            return
        for split in ("valid", "test"):
            if record[split] is not None:
                yield f"nll_bits/{split}", {"simple_value": record[split]}
        so_far = [r for r in run_folder.read_log(self.run) if r.get("iteration", 0) <= record["iteration"]]
        yield "learning_curve", {"image": _image(plotting.draw_learning_curve(so_far), summary)}
        sounds = run_folder.sample_files(self.run.samples, {record["iteration"]})
        for _, number, path in sounds:
            yield f"samples/{number}", {"audio": _audio(path, summary)}
        if sounds:
            paths = {path.name: path for _, _, path in sounds}
            yield "spectrograms", {"image": _image(spectrograms.draw_figure(paths), summary)}


def _image(figure: "Figure", summary: Any) -> Any:
    png = io.BytesIO()
    figure.savefig(png, dpi=110, format="png")
    width, height = struct.unpack(">II", png.getvalue()[16:24])
    return summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png.getvalue())


def _audio(path: Path, summary: Any) -> Any:
    about = soundfile.info(path)
    return summary.Audio(
        sample_rate=about.samplerate,
        num_channels=about.channels,
        length_frames=about.frames,
        encoded_audio_string=path.read_bytes(),
        content_type="audio/wav",
    )
