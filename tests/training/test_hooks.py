"""Hooks of the training loop: a diagnostic that fails is survived, a checkpoint that fails ends the run."""

import errno
import io
import os
import resource
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy
from matplotlib.figure import Figure
from matplotlib.image import imread

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.cli.main import main
from samplernn_theano.errors import OutputError
from samplernn_theano.generation import evaluation_samples, samplers
from samplernn_theano.original import results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import hooks, loop, tensorboard
from tests.conftest import started
from tests.training.conftest import Killed, assert_same, evaluations, failing, listed, log

FLAGS = "--preset tiny --dim 16 --emb_size 8 --q_levels 32 --max-iters 12 --monitor-iters 5 --n_seqs 2 "
FLAGS += "--sample-seconds 0.05 --exp x --original-layout"
EVALUATED = [5, 10, 12]


def train(data: Path, run: Path, *others: object) -> int:
    words = ("train", "one_tier", "--data", data, "--run", run, *FLAGS.split(), *others)
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> Path:
    """A run in which nothing fails."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert train(data, run) == 0
    return run


def assert_same_run(one: Path, two: Path, missing: set[str] = frozenset()) -> None:
    """The same checkpoint, evaluations, files and sounds, but for those that are missing in the second."""
    assert_same(one, two)
    assert evaluations(one) == evaluations(two)
    assert listed(two) == listed(one) - missing
    for file in (file for file in listed(two) if file.endswith(".wav")):
        assert (one / file).read_bytes() == (two / file).read_bytes()


def on_call(number: int, real: Callable, error: BaseException) -> Callable:
    """The function, which raises the error when it is called for this time, from 1."""
    calls = []

    def call(*arguments, **named):
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return real(*arguments, **named)

    return call


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAILURES = {
    "picture": ("learning curve", Figure, "savefig", RuntimeError("findfont: no fonts\nat all")),
    "memory": ("samples", samplers, "_with_kernels", MemoryError()),
    "full disk for a sound": ("samples", scipy.io.wavfile, "write", FULL),
    "original's parameters": ("original layout", results_folder, "write_params", OutputError("No space.")),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_diagnostic_that_fails_is_logged_said_once_and_survived(
    undisturbed, data, tmp_path, monkeypatch, capsys, case
):
    name, owner, function, error = FAILURES[case]
    monkeypatch.setattr(owner, function, failing(error))
    run = tmp_path / "run"
    assert train(data, run) == 0
    out = capsys.readouterr().out
    reason = "No disk space left" if error is FULL else str(error).partition("\n")[0]
    assert out.count("Warning") == 1
    assert f"Warning: no {name} after iteration 5 (" in out and f"{reason}" in out
    assert [(r["iteration"], r["what"]) for r in log(run, "warning")] == [(i, name) for i in EVALUATED]
    assert all(reason in r["error"] and "Traceback" in r["traceback"] for r in log(run, "warning"))

    # All else is as if nothing had failed.
    own = {"learning curve": ("train_log.png",), "samples": ("samples/",)}
    missing = {
        file for file in listed(undisturbed) if file.startswith(own.get(name, ("params/", "train_log.pkl")))
    }
    assert_same_run(undisturbed, run, missing)
    assert missing

    # It still fails, and the run is resumed all the same.
    assert main(["resume", str(run), "--max-iters", "14"]) == 0
    assert npz.load(run_folder.Run(run).last).progress["iteration"] == 14
    assert capsys.readouterr().out.count("Warning") == 1


def test_the_log_of_the_original_catches_up_with_an_evaluation_that_it_missed(
    undisturbed, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(results_folder, "write_params", on_call(1, results_folder.write_params, FULL))
    assert train(data, tmp_path / "run") == 0
    ours, whole = (results_folder.read_log(ResultTree(run)) for run in (tmp_path / "run", undisturbed))
    assert ours["iter"] == EVALUATED
    assert all(ours[key] == whole[key] for key in whole if "time" not in key)
    assert len(list((tmp_path / "run" / "params").iterdir())) == len(EVALUATED) - 1


def test_a_learning_curve_that_fails_after_an_interruption_changes_no_exit_code(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", failing(FULL))
    run = tmp_path / "run"
    assert train(data, run, "--max-time", "0.001s") == loop.OUT_OF_TIME
    assert [r["event"] for r in log(run)][-2:] == ["stopped", "warning"]
    assert main(["resume", str(run), "--max-iters", "2", "--n_seqs", "0"]) == 0


@pytest.mark.parametrize("at", [2, 3, 7], ids=["before an evaluation", "after one", "after the last one"])
def test_a_full_disk_ends_the_run_where_a_checkpoint_is_written(
    undisturbed, data, tmp_path, monkeypatch, capsys, at
):
    """Two checkpoints belong to an evaluation, and the first step has one."""
    run, before, write = run_folder.Run(tmp_path / "run"), [], on_call(at, np.savez, FULL)

    def full(*arguments, **arrays):
        before[:] = [run.last.read_bytes()] if run.last.exists() else []
        write(*arguments, **arrays)

    with monkeypatch.context() as context:
        context.setattr(np, "savez", full)
        assert train(data, run.folder) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("samplernn: ")]
    assert "No disk space left while writing" in line and ".npz; free some space" in line
    assert run.last.read_bytes() == before[0]
    assert main(["resume", str(run.folder)]) == 0
    assert_same_run(undisturbed, run.folder)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of a running process needs Linux")
def test_a_disk_that_takes_no_more_of_a_running_process(data, tmp_path):
    """No file may become larger than a limit: after the first evaluation sounds, later checkpoints too."""
    run = run_folder.Run(tmp_path / "run")
    flags = "--max-iters 100000 --monitor-iters 100 --sample-seconds 5 --n_seqs 1".split()
    words = ("train", "one_tier", "--data", data, "--run", run.folder, *FLAGS.split(), *flags)
    with started(*words) as process:

        def limit_files(condition: Callable[[], object], size: Callable[[], int]) -> None:
            while not condition() and process.poll() is None:
                time.sleep(0.01)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size(), size()))

        def checkpoint() -> int:
            return run.last.stat().st_size

        limit_files(lambda: list(run.samples.glob("sample_*_0.wav")), lambda: 2 * checkpoint())
        assert 2 * checkpoint() < next(run.samples.glob("*.wav")).stat().st_size
        limit_files(lambda: len(log(run.folder, "warning")) > 1, lambda: checkpoint() // 2)
        out, errors = process.communicate(timeout=300)
    assert process.returncode == 2 and "Traceback" not in errors, errors
    assert out.count("Warning: no samples after iteration") == 1 and "File too large" in out
    (line,) = [line for line in errors.splitlines() if line.startswith("samplernn: ")]
    assert "Could not write" in line and "File too large" in line
    iteration = npz.load(run.last).progress["iteration"] + 1
    assert main(["resume", str(run.folder), "--n_seqs", "0", "--max-iters", str(iteration)]) == 0
    assert npz.load(run.last).progress["iteration"] == iteration


def test_a_kill_while_samples_are_generated_repeats_no_evaluation(undisturbed, data, tmp_path, monkeypatch):
    run, real, numbers = tmp_path / "run", on_call(2, evaluation_samples.write, Killed()), []

    def write(*arguments):
        numbers.append(arguments[-1])
        real(*arguments)

    monkeypatch.setattr(evaluation_samples, "write", write)
    with pytest.raises(Killed):
        train(data, run)
    before = log(run, "monitor")
    assert [r["iteration"] for r in before] == [5, 10]
    assert not npz.load(run_folder.Run(run).last).progress["eval_due"]
    assert main(["resume", str(run)]) == 0
    assert log(run, "monitor")[:2] == before  # the same records, times included
    assert numbers == [1, 2, 3]  # the random streams go on as if the second had been generated
    lost = {file for file in listed(undisturbed) if file.startswith("samples/") and "_i10_" in file}
    assert_same_run(undisturbed, run, lost)
    assert len(lost) == 2


# --- the backend of samples ---------------------------------------------------------------------------------


def test_a_backend_that_is_given_generates_the_samples_too(data, tmp_path, monkeypatch):
    """As with samplernn generate: without --backend it is the fastest sampler. A resumed run keeps it."""
    used, real = [], hooks.create_sampler

    def recorded(params, hp, n_seqs, backend):
        used.append(backend)
        return real(params, hp, n_seqs, None)  # which compiles faster

    monkeypatch.setattr(hooks, "create_sampler", recorded)
    for given, resumed in (([], []), (["--backend", "jax"], []), ([], ["--backend", "jax"])):
        run = tmp_path / f"run{given}{resumed}"
        assert train(data, run, "--max-iters", 1, *given) == 0
        assert main(["resume", str(run), "--max-iters", "2", *resumed]) == 0
    assert used == [None, None, "jax", "jax", None, "jax"]


def test_samples_of_a_given_backend_are_those_of_its_graph(undisturbed, data, tmp_path, monkeypatch):
    monkeypatch.setattr(samplers, "_with_kernels", failing(AssertionError("not the kernels")))
    assert train(data, tmp_path / "run", "--backend", "jax") == 0
    assert not log(tmp_path / "run", "warning")
    assert_same_run(undisturbed, tmp_path / "run")  # both draw the same levels


# --- TensorBoard --------------------------------------------------------------------------------------------

type Events = dict[str, dict[int, object]]
"""Values by tag and step."""


def read_events(run: Path) -> Events:
    """What TensorBoard shows: at a start, events from its step on are discarded; no step comes twice."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    from tensorboardX.record_writer import masked_crc32c

    events: Events = {}
    for path in sorted((run / "tensorboard").iterdir()):
        content = path.read_bytes()
        while len(content) > 12:
            length, checksum = struct.unpack("QI", content[:12])
            if checksum != masked_crc32c(content[:8]):
                break  # half an event
            data = content[12 : 12 + length]
            assert struct.unpack("I", content[12 + length : 16 + length]) == (masked_crc32c(data),)
            content = content[16 + length :]
            event = event_pb2.Event.FromString(data)
            if event.session_log.status == event_pb2.SessionLog.START:
                events = {
                    tag: {step: value for step, value in values.items() if step < event.step}
                    for tag, values in events.items()
                }
            for value in event.summary.value:
                steps = events.setdefault(value.tag, {})
                assert event.step not in steps, (value.tag, event.step)
                steps[event.step] = getattr(value, value.WhichOneof("value"))
    return {tag: values for tag, values in events.items() if values}


def assert_tells_of_the_log(run: Path, evaluated: list[int]) -> Events:
    """Every cost of the log, and every figure and sound, at its iteration."""
    events = read_events(run)
    costs = {"nll_bits/train": {r["iteration"]: r["nll_bits"] for r in log(run, "train")}}
    for split in ("valid", "test"):
        costs[f"nll_bits/{split}"] = {
            r["iteration"]: r[split] for r in log(run, "monitor") if r[split] is not None
        }
    for tag, values in costs.items():
        assert events[tag] == pytest.approx(values, rel=1e-6), tag
    others = {"learning_curve", "spectrograms", "samples/0", "samples/1"}
    assert events.keys() == costs.keys() | others
    assert all(sorted(events[tag]) == evaluated for tag in others)
    return events


@pytest.fixture
def logs_every_step(monkeypatch):
    monkeypatch.setattr(loop, "LOG_SECONDS", 0.0)


def test_tensorboard_has_the_costs_the_figures_and_the_sounds(data, tmp_path, logs_every_step):
    run = tmp_path / "run"
    assert train(data, run, "--tensorboard") == 0
    assert not log(run, "warning")
    events = assert_tells_of_the_log(run, EVALUATED)
    assert len(events["nll_bits/train"]) == 12
    for step in EVALUATED:
        for number in (0, 1):
            (sound,) = (run / "samples").glob(f"sample_*i{step}_*_{number}.wav")
            audio = events[f"samples/{number}"][step]
            assert audio.encoded_audio_string == sound.read_bytes()
            assert (audio.sample_rate, audio.length_frames, audio.content_type) == (16000, 800, "audio/wav")
        for tag in ("learning_curve", "spectrograms"):
            picture = events[tag][step]
            pixels = imread(io.BytesIO(picture.encoded_image_string))
            assert pixels.shape == (picture.height, picture.width, picture.colorspace)


@pytest.mark.parametrize("killed_in", ["a step", "TensorBoard"])
def test_a_resumed_run_continues_in_tensorboard_where_its_checkpoint_is(
    data, tmp_path, monkeypatch, logs_every_step, killed_in
):
    """Steps after the checkpoint are not there twice, and what a killed process had not written is."""

    def kill(condition: bool) -> None:
        if condition:
            raise Killed

    real_step, real_audio = loop.train_step, tensorboard._audio

    def step(t, batch):
        kill(t.progress.iteration == 8)
        real_step(t, batch)

    def audio(path, *others):
        kill("_i10_" in path.name)
        return real_audio(path, *others)

    run = tmp_path / "run"
    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(
            *((loop, "train_step", step) if killed_in == "a step" else (tensorboard, "_audio", audio))
        )
        train(data, run, "--tensorboard")
    if killed_in == "a step":
        assert max(read_events(run)["nll_bits/train"]) == 8
    assert main(["resume", str(run)]) == 0  # from iteration 5 or 10; with TensorBoard, as before
    assert_tells_of_the_log(run, EVALUATED)


def test_tensorboard_may_be_switched_on_and_off_later(undisturbed, tmp_path):
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    assert main(["resume", str(run), "--max-iters", "14", "--tensorboard"]) == 0
    assert_tells_of_the_log(run, [*EVALUATED, 14])
    assert main(["resume", str(run), "--max-iters", "16", "--no-tensorboard"]) == 0
    assert log(run, "train")[-1]["iteration"] == 16
    assert max(step for values in read_events(run).values() for step in values) == 14


def test_tensorboard_goes_on_after_a_disk_was_full(data, tmp_path, monkeypatch, logs_every_step, capsys):
    event_file_writer = pytest.importorskip("tensorboardX.event_file_writer")
    real, calls = event_file_writer.EventsWriter.flush, []

    def full_at_times(self):
        calls.append(self)
        if len(calls) in (4, 5):
            self._py_recordio_writer._writer.write(b"half an event")
            raise FULL
        real(self)

    monkeypatch.setattr(event_file_writer.EventsWriter, "flush", full_at_times)
    run = tmp_path / "run"
    assert train(data, run, "--tensorboard") == 0
    assert capsys.readouterr().out.count("Warning: no TensorBoard after iteration") == 1
    events = read_events(run)
    assert set(range(6, 13)) <= events["nll_bits/train"].keys()
    assert sorted(events["learning_curve"])[-2:] == [10, 12]


def test_tensorboard_that_fails_at_the_end_leaves_a_run_ended(data, tmp_path, monkeypatch, capsys):
    event_file_writer = pytest.importorskip("tensorboardX.event_file_writer")
    monkeypatch.setattr(event_file_writer.EventsWriter, "flush", failing(FULL))
    run = tmp_path / "run"
    assert train(data, run, "--tensorboard", "--n_seqs", "0") == 0
    assert [r["event"] for r in log(run)][-2:] == ["end", "warning"]
    capsys.readouterr()
    assert main(["resume", str(run)]) == 0
    assert "has ended, at iteration 12" in capsys.readouterr().out


def test_without_tensorboardx_nothing_is_started(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    for call in (
        lambda: train(data, tmp_path / "run", "--tensorboard"),
        lambda: main(["resume", "run", "--tensorboard"]),
    ):
        assert call() == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("samplernn: --tensorboard needs tensorboardX: pip install 'samplernn-theano[")
    assert not (tmp_path / "run").exists()


def test_a_run_resumes_where_tensorboardx_is_missing(data, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--tensorboard", "--max-iters", "3") == 0
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    assert main(["resume", str(run), "--max-iters", "6"]) == 0
    assert capsys.readouterr().out.count("Warning: no TensorBoard after iteration 3") == 1


def test_an_overwritten_run_loses_its_events(data, tmp_path):
    run = tmp_path / "run"
    for _ in range(2):
        assert train(data, run, "--tensorboard", "--overwrite", "--max-iters", 1, "--n_seqs", 0) == 0
        assert len(list((run / "tensorboard").iterdir())) == 1
