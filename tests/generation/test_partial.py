"""Partial output: interrupted at any moment, a generation resumes to the same sounds."""

import contextlib
import errno
import io
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.checkpoints import load, npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import HyperParameters, ThreeTier
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.generation import gallery, generate, partial, priming, samplers, write
from samplernn_theano.generation.generator import BlockSampler, Generator, take
from samplernn_theano.generation.partial import PartialOutput
from samplernn_theano.generation.random_streams import NumpyStreams
from samplernn_theano.generation.request import Request
from tests.generation.test_samplers import RNNGMM, interpreted, parameters
from tests.training.test_kills import in_a_new_process, kill_before

HP = ThreeTier(dim=16, emb_size=4, q_levels=32, seq_len=16, big_frame_size=8, frame_size=2, batch_size=1)
REAL = RNNGMM(dim=4, n_components=2, seq_len=16, batch_size=1, mean=0.01, std=0.1)


def simple(n_seqs: int = 2, length: int = 10, hp: HyperParameters = HP, seed: int = 3) -> Generator:
    """A generator that draws 0 to 7 and outputs the cumulative sum modulo 32."""
    real = hp.real_valued

    def run(state, noise, silent):
        sums = state["h0"][None] + np.cumsum((8 * noise["uniforms"]).astype(np.int64), axis=0)
        samples = (sums % 32).T.astype(np.float32 if real else np.int32)
        return samples, {"h0": sums[-1].copy()}

    sampler = BlockSampler(n_seqs, length, ("uniforms",), lambda: {"h0": np.zeros(n_seqs, np.int64)}, run)
    return Generator(hp, sampler, NumpyStreams(seed, n_seqs), sampler.start())


def failing(after: int, error: BaseException) -> Generator:
    """As `simple`, but it raises `error` after `after` blocks."""
    generator = simple()
    sampler, count = generator.sampler, itertools.count()

    def run(*arguments):
        if next(count) == after:
            raise error
        return sampler.run(*arguments)

    return replace(generator, sampler=replace(sampler, run=run))


def opened(folder: Path, generator: Generator | None = None, overwrite: bool = False) -> PartialOutput:
    folder.mkdir(exist_ok=True)
    return PartialOutput(folder, "1", generator or simple(), overwrite)


def filled(folder: Path, n_samples: int, generator: Generator | None = None, overwrite=False) -> np.ndarray:
    """Fill the partial output in `folder`; return all samples (n_seqs, n_samples)."""
    output = opened(folder, generator, overwrite)
    output.fill(n_samples)
    return np.stack([output.sequence(i, n_samples) for i in range(2)])


@pytest.mark.parametrize("hp", [HP, REAL], ids=lambda hp: hp.family)
@pytest.mark.parametrize(("first", "segment"), [(1, 1), (7, 25), (10, 2**20), (95, 25), (200, 25)])
def test_the_samples_are_read_back_and_extended(tmp_path, monkeypatch, hp, first, segment):
    """In segments of any size, to more samples, and those of fewer."""
    monkeypatch.setattr(partial, "SEGMENT", segment)
    whole = take(simple(hp=hp), 95)
    np.testing.assert_array_equal(filled(tmp_path / "a", first, simple(hp=hp))[:, :95], whole[:, :first])
    samples = filled(tmp_path / "a", 95, simple(hp=hp))
    np.testing.assert_array_equal(samples, whole)
    assert samples.dtype == (np.float32 if hp.real_valued else np.int16)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), CheckpointError("not finite")])
@pytest.mark.parametrize("save_seconds", [0, 10])
def test_samples_before_an_interruption_are_kept(tmp_path, monkeypatch, error, save_seconds):
    monkeypatch.setattr(partial, "SAVE_SECONDS", save_seconds)
    positions = []
    for after in (3, 0, 4):
        with pytest.raises(type(error)):
            filled(tmp_path / "a", 95, failing(after, error))
        positions.append(opened(tmp_path / "a").position)
    assert positions == [30, 30, 70]  # not one block is generated again
    with open(tmp_path / "a" / "samples", "ab") as file:
        file.write(b"half a block")
    np.testing.assert_array_equal(filled(tmp_path / "a", 95), take(simple(), 95))
    assert (tmp_path / "a" / "samples").stat().st_size == 100 * 2 * 2


def test_the_state_is_saved_every_ten_seconds(tmp_path, monkeypatch):
    """A kill cannot be handled, so only what is on disk counts."""
    now = itertools.count(0, 4.0)
    monkeypatch.setattr(partial.time, "monotonic", lambda: next(now))  # a block takes 4 s
    saved, reported, save = [], [], PartialOutput._save
    monkeypatch.setattr(PartialOutput, "_save", lambda self, f: (saved.append(self.position), save(self, f)))
    opened(tmp_path / "a").fill(95, reported.append)
    assert partial.SAVE_SECONDS == 10 and saved == [30, 60, 90, 100]
    assert reported == list(range(10, 101, 10))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def changed(**arrays) -> Callable[[Path], None]:
    """Replace arrays of a state, or remove those that are None."""

    def change(path: Path) -> None:
        with np.load(path) as stored:
            new = dict(stored) | arrays
        np.savez(path, **{name: value for name, value in new.items() if value is not None})

    return change


DAMAGE = [
    ("samples", Path.unlink),
    ("samples", cut),
    ("state.npz", cut),
    ("state.npz", lambda path: path.write_text("text")),
    ("state.npz", lambda path: path.write_bytes(b"")),
    ("state.npz", changed(h0=None)),
    ("state.npz", changed(request=None)),  # of an earlier version
    ("state.npz", changed(h0=np.zeros(3, np.int64))),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_one_is_rejected_unless_overwritten(tmp_path, name, damage):
    whole = filled(tmp_path / "a", 30)
    damage(tmp_path / "a" / name)
    with pytest.raises(OutputError, match="in .*a is damaged; give --overwrite to start again"):
        filled(tmp_path / "a", 30)
    np.testing.assert_array_equal(filled(tmp_path / "a", 30, overwrite=True), whole)


def test_every_corrupt_byte_of_a_state_is_detected(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a" / "state.npz"
    filled(tmp_path / "a", 30)
    content, good = path.read_bytes(), opened(tmp_path / "a")._reached[1]["h0"]
    for _ in range(400):
        wrong = bytearray(content)
        wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
        path.write_bytes(wrong)
        with contextlib.suppress(OutputError):  # unused bytes may differ
            position, state = opened(tmp_path / "a")._reached
            assert position == 30
            np.testing.assert_array_equal(state["h0"], good)


def test_samples_without_a_state_are_ignored(tmp_path):
    """Of a process killed before the first save, or during the clean-up."""
    filled(tmp_path / "a", 30)
    (tmp_path / "a" / "state.npz").unlink()
    assert not partial.is_unfinished(tmp_path / "a")
    other = filled(tmp_path / "a", 25, simple(seed=4))
    np.testing.assert_array_equal(other, take(simple(seed=4), 25))


def test_a_full_disk_is_an_error_and_the_generation_resumes_with_more_space(tmp_path, monkeypatch):
    class FullDisk(io.BufferedWriter):
        def write(self, content) -> int:
            if self.tell() + len(content) > 170:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(content)

    with monkeypatch.context() as context:
        context.setattr(partial, "open", lambda path, mode: FullDisk(io.FileIO(path, mode)), raising=False)
        with pytest.raises(OutputError, match="No disk space left while writing .*samples; free some"):
            filled(tmp_path / "a", 95)
    assert opened(tmp_path / "a").position == 40
    np.testing.assert_array_equal(filled(tmp_path / "a", 95), take(simple(), 95))


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    """Neither of the generation nor of writing the sound files."""
    monkeypatch.setattr(partial, "SEGMENT", 2**14)
    monkeypatch.setattr(write, "_draw", lambda figure, *_: figure.touch())  # tested in test_spectrograms.py
    monkeypatch.setattr(gallery, "draw_thumbnail", lambda *_: None)
    model = load.LoadedModel(Path("a.npz"), HP, {}, "")

    def peak(n_samples: int) -> int:
        monkeypatch.setattr(generate, "prepare_generator", lambda *_, **__: simple(length=1600))
        expected = write.name_files(model, Request(n_seqs=2), tmp_path / str(n_samples), "flac")
        tracemalloc.start()
        write.write_samples(model, Request(n_seqs=2), expected, n_samples, log=lambda _: None)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert soundfile.info(str(expected.sounds[1])).frames == n_samples
        return most

    peak(16_000)  # loads modules
    short, long = peak(2 * 16_000), peak(60 * 16_000)
    assert long < short + 100_000  # the samples alone have 4 MB, the amplitudes 8


REQUESTS: dict[str, tuple[HyperParameters, str]] = {
    "kernels": (HP, "--seconds 0.2 --n_seqs 3 --temperature 0.9 1 1.1"),
    "prime": (HP, "--seconds 0.1 --n_seqs 2 --prime PRIME --silence 0.01:0.02 --format flac"),
    "graph": (REAL, "--seconds 0.02 --n_seqs 2 --format ogg"),
    "original": (HP, "--seconds 0.05 --n_seqs 2 --like-original"),
}


class Command:
    """One `samplernn generate`, run in forks of this process, which must have no threads."""

    def __init__(self, name: str, folder: Path) -> None:
        hp, arguments = REQUESTS[name]
        checkpoint, prime = folder / "model.npz", folder / "prime.wav"
        npz.save(checkpoint, npz.Checkpoint(hp, parameters(hp).arrays()))
        soundfile.write(prime, np.random.default_rng(0).uniform(-0.5, 0.5, 50), 16000)
        self.arguments = ["generate", str(checkpoint), *arguments.replace("PRIME", str(prime)).split()]
        samplers.KERNEL_BLOCK, samplers.GRAPH_BLOCK, partial.SAVE_SECONDS = 160, 40, 0
        # Replace what takes most of the time and does not concern the files.
        load.build, priming.prime = once(load.build), once(priming.prime)
        samplers._with_graph = once(samplers._with_graph)
        samplers.compile_function = priming.compile_function = interpreted
        write._draw = lambda figure, *_: figure.touch()
        gallery.draw_thumbnail = lambda *_: None
        os.fsync = lambda descriptor: None
        self.whole = folder / "whole"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main([*self.arguments, "--out", str(self.whole)]) == 0

    def run(self, out: Path, operation: int = 0, seconds: float = 0.0, number: int = signal.SIGKILL) -> int:
        """Run the command, optionally kill it; return its exit code."""
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(out, operation))
        process.start()
        if seconds:
            time.sleep(seconds)
            process.kill() if number == signal.SIGKILL else process.terminate()
        process.join()
        return process.exitcode

    def _run(self, out: Path, operation: int) -> None:
        sys.stdout = sys.stderr = out.with_suffix(".txt").open("a", buffering=1)
        if operation:
            kill_before(operation, out)
        sys.exit(main([*self.arguments, "--out", str(out)]))

    def complete(self, out: Path, kills: list[dict]) -> int:
        """Kill the command like this, then let it end, as if not killed; return the number of runs."""
        n_runs = 0
        for kill in [*kills, {}]:
            n_runs += 1
            code = self.run(out, **kill)
            if code in (0, 2):
                break
            number = kill.get("number", signal.SIGKILL)
            assert kill and code in (-number, 128 + number), out.with_suffix(".txt").read_text()
        expected = {path.relative_to(self.whole): path for path in self.whole.rglob("*")}
        # A partially written page is left: another process may be writing it.
        found = {path.relative_to(out): path for path in out.rglob("*") if ".index." not in path.name}
        if code == 2:  # it was killed when all was done
            assert "already exists" in out.with_suffix(".txt").read_text().splitlines()[-1]
        assert expected.keys() == found.keys(), (code, expected.keys() ^ found.keys())
        for name, path in expected.items():
            if path.suffix in (".wav", ".flac", ".ogg"):  # the headers of two ogg files differ
                np.testing.assert_array_equal(soundfile.read(path)[0], soundfile.read(found[name])[0])
        assert len(gallery.read_records(out)) == len(gallery.read_records(self.whole)) > 0
        shutil.rmtree(out)
        return n_runs


def once(function: Callable) -> Callable:
    """Cache the result of the first call."""
    results: list[object] = []

    def known(*arguments: object, **options: object) -> object:
        results[:] = results or [function(*arguments, **options)]
        return results[0]

    return known


def kill_some_time(name: str, folder: Path, number: int) -> int:
    """Kill a generation four times at random moments until it is done; return how often it was resumed."""
    command, rng, n_resumed = Command(name, folder), random.Random(4), 0
    began = time.monotonic()
    assert command.run(folder / "first") == 0
    took = time.monotonic() - began
    for i in range(12):
        kills = [{"seconds": rng.uniform(0.2, 1) * took, "number": number} for _ in range(4)]
        command.complete(folder / f"killed{i}", kills)
        log = (folder / f"killed{i}.txt").read_text()
        n_resumed += log.count("Resuming after")
        assert log.count("Traceback") == log.count("Exception ignored")  # a signal during a destructor
    return n_resumed


def kill_everywhere(name: str, folder: Path, step: int = 1) -> int:
    """Kill a generation before each of its operations on files in turn, and once more when it resumes.

    With a `step`, only before every so many of them, and the last five.
    """
    command, rng = Command(name, folder), random.Random(0)

    def ends_before(operation: int) -> bool:
        kills = [{"operation": operation}, {"operation": rng.randrange(1, 60)}]
        return command.complete(folder / f"before{operation}", kills) == 1

    last = next(operation for operation in itertools.count(1, step) if ends_before(operation))
    late = itertools.filterfalse(ends_before, range(last, 0, -1))  # kills before these
    assert step == 1 or len(list(itertools.islice(late, 5))) == 5
    return last


def test_a_killed_generation_resumes_to_the_same_files(tmp_path, monkeypatch):
    assert in_a_new_process(monkeypatch, kill_everywhere, "prime", tmp_path, 23) > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
def test_a_kill_before_any_operation_on_files(tmp_path, monkeypatch, name):
    print(name, in_a_new_process(monkeypatch, kill_everywhere, name, tmp_path), "operations")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_kill_at_any_moment(tmp_path, monkeypatch, name, number):
    print(name, number, "resumed", in_a_new_process(monkeypatch, kill_some_time, name, tmp_path, number))
