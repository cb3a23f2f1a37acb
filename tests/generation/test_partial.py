"""A generation that is interrupted, at any moment, and goes on: the sounds are those of one that was not."""

import contextlib
import errno
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.checkpoints import load as saved
from samplernn_theano.checkpoints import npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import HyperParameters, ThreeTier
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.generation import (
    file_names,
    gallery,
    generate,
    partial,
    priming,
    samplers,
)
from samplernn_theano.generation import write as producing
from samplernn_theano.generation.generator import Engine, Generator, take
from samplernn_theano.generation.random_streams import OwnStreams
from samplernn_theano.generation.request import Request
from tests.generation.test_samplers import RNNGMM, parameters
from tests.training.test_kills import in_a_new_process, kill_before

HP = ThreeTier(dim=16, emb_size=4, q_levels=32, seq_len=16, big_frame_size=8, frame_size=2, batch_size=1)
REAL = RNNGMM(dim=4, n_components=2, seq_len=16, batch_size=1, frame_size=2, mean=0.01, std=0.1)


# --- a spool of a model that is as simple as can be ---------------------------------------------------------


def simple(n_seqs: int = 2, length: int = 10, hp: HyperParameters = HP) -> Generator:
    """Draws 0 to 7, and adds up what it has drawn."""
    real = hp.real_valued

    def run(state, noise, silent):
        sums = state["h0"][None] + np.cumsum((8 * noise["uniforms"]).astype(np.int64), axis=0)
        samples = (sums % 32).T.astype(np.float32 if real else np.int32)
        return samples, {"h0": sums[-1].copy()}

    engine = Engine(
        n_seqs, length, ("uniforms",), lambda: None, lambda: {"h0": np.zeros(n_seqs, np.int64)}, run
    )
    return Generator(hp, engine, OwnStreams(3, n_seqs), engine.start())


def failing(after: int, error: BaseException, **options) -> Generator:
    """The same; where it has made so many blocks, it fails."""
    generator = simple(**options)
    engine, count = generator.engine, itertools.count()

    def run(*arguments):
        if next(count) == after:
            raise error
        return engine.run(*arguments)

    return replace(generator, engine=replace(engine, run=run))


def opened(folder: Path, generator: Generator, request: object = 1, anew: bool = False) -> partial.Spool:
    folder.mkdir(exist_ok=True)
    return partial.open_spool(folder, {"request": request}, generator, anew)


def filled(folder: Path, n_samples: int, generator: Generator | None = None, **options) -> np.ndarray:
    """All samples of a spool in `folder` that is filled: (n_seqs, n_samples)."""
    generator = generator or simple()
    at = opened(folder, generator, **options)
    partial.fill(at, generator, n_samples)
    return np.stack([partial.raw(at, i, n_samples) for i in range(at.n_seqs)])


@pytest.mark.parametrize("hp", [HP, REAL], ids=lambda hp: hp.family)
def test_a_spool_gives_back_what_was_generated(tmp_path, hp):
    samples = filled(tmp_path / "a", 95, simple(hp=hp))
    np.testing.assert_array_equal(samples, take(simple(hp=hp), 95))
    assert samples.dtype == (np.float32 if hp.real_valued else np.int16)


@pytest.mark.parametrize("piece", [1, 10, 25, 2**20])
@pytest.mark.parametrize("mapped", [1, 100, 2**26])
def test_it_is_read_in_pieces_of_any_size(tmp_path, monkeypatch, piece, mapped):
    generator = simple(n_seqs=3)
    whole = take(simple(n_seqs=3), 95)
    at = opened(tmp_path / "a", generator)
    partial.fill(at, generator, 95)
    monkeypatch.setattr(partial, "PIECE", piece)
    monkeypatch.setattr(partial, "MAPPED", mapped)
    for i in range(3):
        pieces = list(partial.pieces(at, i, 95))
        assert max(map(len, pieces)) <= max(piece, 10)
        np.testing.assert_array_equal(np.concatenate(pieces), whole[i])


@pytest.mark.parametrize("first", [0, 7, 10, 95, 200])
def test_it_goes_on_to_more_samples_and_has_those_of_fewer(tmp_path, first):
    whole = filled(tmp_path / "whole", 95)
    np.testing.assert_array_equal(filled(tmp_path / "a", max(1, first))[:, :95], whole[:, : max(1, first)])
    np.testing.assert_array_equal(filled(tmp_path / "a", 95), whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), CheckpointError("not finite")])
@pytest.mark.parametrize("save_seconds", [0, 10])
def test_what_was_generated_before_an_end_is_kept(tmp_path, monkeypatch, error, save_seconds):
    monkeypatch.setattr(partial, "SAVE_SECONDS", save_seconds)
    whole, heard = filled(tmp_path / "whole", 95), []
    for after in (3, 0, 4):
        with pytest.raises(type(error)):
            filled(tmp_path / "a", 95, failing(after, error))
        generator = simple()
        heard.append(partial.position(opened(tmp_path / "a", generator), generator))
    assert heard == [30, 30, 70]  # not one block is generated again
    np.testing.assert_array_equal(filled(tmp_path / "a", 95), whole)


def test_the_state_is_saved_so_often_that_a_kill_costs_seconds(tmp_path, monkeypatch):
    """Nothing can be done when it comes: what is on the disk counts."""
    now = itertools.count(0, 4.0)
    monkeypatch.setattr(partial.time, "monotonic", lambda: next(now))  # a block takes 4 s
    saved = []
    save = partial._save
    monkeypatch.setattr(partial, "_save", lambda *args: (saved.append(args[2]), save(*args)))
    filled(tmp_path / "a", 95)
    assert partial.SAVE_SECONDS == 10 and saved == [30, 60, 90, 100]


def test_progress_is_told_after_every_block(tmp_path):
    generator, told = simple(), []
    at = opened(tmp_path / "a", generator)
    partial.fill(at, generator, 25, told.append)
    assert told == [10, 20, 30] and partial.position(at, generator) == 30
    partial.fill(at, simple(), 45, told.append)
    assert told == [10, 20, 30, 40, 50]


# --- what is found there ------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def without_an_array(path: Path) -> None:
    with np.load(path) as kept:
        np.savez(path, position=kept["position"])


def of_another_shape(path: Path) -> None:
    np.savez(path, position=30, h0=np.zeros(3, np.int64))


def with_a_wrong_method(path: Path) -> None:
    """Bytes 8 and 9 of a member of a zip file name its compression; here in the directory at the end."""
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + 10] = 77
    path.write_bytes(content)


DAMAGE = [
    ("samples", Path.unlink),
    ("samples", cut),
    ("state.npz", cut),
    ("state.npz", lambda path: path.write_text("text")),
    ("state.npz", lambda path: path.write_bytes(b"")),
    ("state.npz", without_an_array),
    ("state.npz", of_another_shape),
    ("state.npz", with_a_wrong_method),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_one_is_refused_and_begun_anew_when_asked(tmp_path, name, damage):
    whole = filled(tmp_path / "a", 30)
    damage(tmp_path / "a" / name)
    with pytest.raises(OutputError, match="in .*a is damaged; give --overwrite, which begins anew"):
        filled(tmp_path / "a", 30)
    np.testing.assert_array_equal(filled(tmp_path / "a", 30, anew=True), whole)


def test_no_byte_of_a_state_that_is_wrong_goes_unseen(tmp_path):
    generator, rng = simple(), np.random.default_rng(0)
    at = opened(tmp_path / "a", generator)
    partial.fill(at, generator, 30)
    content, (_, good) = at.state.read_bytes(), partial._where(at, generator)
    for _ in range(400):
        wrong = bytearray(content)
        wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
        at.state.write_bytes(wrong)
        try:
            opened(tmp_path / "a", generator)
        except OutputError:
            continue
        kept, state = partial._where(at, generator)  # what is not used, such as a date, may be wrong
        assert kept == 30
        np.testing.assert_array_equal(state["h0"], good["h0"])


def test_a_block_that_was_half_written_is_written_again(tmp_path):
    whole = filled(tmp_path / "a", 95)
    assert (tmp_path / "a" / "samples").stat().st_size == 100 * 2 * 2
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path / "b", 95, failing(4, KeyboardInterrupt()))
    with open(tmp_path / "b" / "samples", "ab") as file:
        file.write(b"half a block")
    np.testing.assert_array_equal(filled(tmp_path / "b", 95), whole)


def test_another_request_is_refused_and_begun_anew_when_asked(tmp_path):
    filled(tmp_path / "a", 30)
    with pytest.raises(OutputError, match="is of another model or other settings; give --overwrite"):
        filled(tmp_path / "a", 30, request=2)
    with pytest.raises(OutputError, match="is of another model or other settings"):
        filled(tmp_path / "a", 30, simple(length=20))  # the blocks that are there have 10
    other = filled(tmp_path / "a", 30, simple(length=20), request=2, anew=True)
    np.testing.assert_array_equal(other, take(simple(), 30))


def test_what_a_request_that_is_done_left_behind_is_not_gone_on_from(tmp_path):
    """A process was killed after it had ended the generation and before it had removed it all."""
    filled(tmp_path / "a", 30)
    (tmp_path / "a" / partial.REQUEST).unlink()
    assert not partial.is_begun(tmp_path / "a")
    other = replace(simple(), streams=OwnStreams(4, 2))
    expected = take(replace(simple(), streams=OwnStreams(4, 2)), 30)
    np.testing.assert_array_equal(filled(tmp_path / "a", 30, other, request=2), expected)


def test_removing_one_that_is_not_there_is_nothing(tmp_path):
    partial.remove(tmp_path / "a")
    filled(tmp_path / "a", 30)
    partial.remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()


# --- disks --------------------------------------------------------------------------------------------------


class FullDisk:
    """A file that takes so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, content: bytes) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __getattr__(self, name: str):
        return getattr(self.file, name)


def test_a_full_disk_is_a_sentence_and_with_more_room_it_goes_on(tmp_path, monkeypatch):
    whole = filled(tmp_path / "whole", 95)

    @contextlib.contextmanager
    def opened_there(path, mode):
        with open(path, mode) as file:
            yield FullDisk(file, 170)

    with monkeypatch.context() as context:
        context.setattr(partial, "open", opened_there, raising=False)
        with pytest.raises(OutputError, match="No disk space left while writing .*samples; free some"):
            filled(tmp_path / "a", 95)
    generator = simple()
    assert partial.position(opened(tmp_path / "a", generator), generator) == 40
    np.testing.assert_array_equal(filled(tmp_path / "a", 95), whole)


# --- memory -------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    """Neither where it is generated nor where the sound files are written of it."""
    monkeypatch.setattr(partial, "PIECE", 2**14)
    monkeypatch.setattr(producing, "draw", lambda *_: None)  # of that is a test in test_gallery.py
    model = producing.Saved(Path("a.npz"), HP, {}, "")

    def peak(n_samples: int) -> int:
        generator = simple(length=1600)
        monkeypatch.setattr(generate, "prepare", lambda *_, **__: generator)
        request = Request(n_seqs=2)
        wanted = file_names.name_files(model, request, tmp_path / str(n_samples), "flac", False)
        tracemalloc.start()
        producing.produce(model, request, wanted, n_samples, say=lambda _: None)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert soundfile.info(str(wanted.sounds[1])).frames == n_samples
        return most

    peak(16_000)  # the first time more is loaded
    short, long = peak(2 * 16_000), peak(60 * 16_000)
    assert long < short + 100_000  # the samples themselves have 4 MB, as amplitudes 8


# --- kills --------------------------------------------------------------------------------------------------

REQUESTS: dict[str, tuple[HyperParameters, str]] = {
    "kernels": (HP, "--seconds 0.2 --n_seqs 3 --temperature 0.9 1 1.1"),
    "prime": (HP, "--seconds 0.1 --n_seqs 2 --prime PRIME --silence 0.01:0.02 --format flac"),
    "graph": (REAL, "--seconds 0.02 --n_seqs 2 --format ogg"),
    "original": (HP, "--seconds 0.05 --n_seqs 2 --like-original"),
}


class Lives:
    """Processes that run one `samplernn generate`, in forks of this process, which must have no threads."""

    def __init__(self, name: str, folder: Path) -> None:
        hp, words = REQUESTS[name]
        checkpoint, prime = folder / "model.npz", folder / "prime.wav"
        npz.save(checkpoint, npz.Checkpoint(hp, parameters(hp).arrays()))
        soundfile.write(prime, np.random.default_rng(0).uniform(-0.5, 0.5, 50), 16000)
        self.words = ["generate", str(checkpoint), *words.replace("PRIME", str(prime)).split()]
        samplers.KERNEL_BLOCK, samplers.GRAPH_BLOCK, partial.SAVE_SECONDS = 160, 40, 0
        # What takes most of the time, and has nothing to do with the files.
        saved.build, priming.prime = once(saved.build), once(priming.prime)
        samplers._with_graph = once(samplers._with_graph)
        samplers.compile_function = priming.compile_function = interpreted
        gallery.write_sheet = lambda path, sounds: path.touch()
        gallery.draw_small = lambda *_: None
        os.fsync = lambda descriptor: None
        self.whole = folder / "whole"
        with (folder / "whole.txt").open("w") as said, contextlib.redirect_stdout(said):
            with contextlib.redirect_stderr(said):
                assert main([*self.words, "--out", str(self.whole)]) == 0

    def live(self, out: Path, operation: int = 0, seconds: float = 0.0, number: int = signal.SIGKILL) -> int:
        """Run the command; kill it before an operation on files, or after some seconds. The exit code."""
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
        sys.exit(main([*self.words, "--out", str(out)]))

    def assert_done(self, out: Path, code: int) -> None:
        """What is in the folder is what is in that of a generation that was not killed."""
        whole = self.whole
        wanted = {path.relative_to(whole): path for path in whole.rglob("*")}
        # A page that was half written is left: another process may be writing it.
        found = {path.relative_to(out): path for path in out.rglob("*") if ".index." not in path.name}
        if code == 2:  # it was killed when it had nothing left to do but to tidy up
            assert "is there already" in out.with_suffix(".txt").read_text().splitlines()[-1]
            found = {name: path for name, path in found.items() if not str(name).startswith(".")}
        assert wanted.keys() == found.keys(), (code, wanted.keys() ^ found.keys())
        for name, path in wanted.items():
            if path.suffix in (".wav", ".flac", ".ogg"):
                assert path.read_bytes() == found[name].read_bytes(), name
        assert len(gallery.read_records(out)) == len(gallery.read_records(whole)) > 0


def once(function: Callable) -> Callable:
    """It is called once; then its result is known."""
    results = []

    def known(*arguments: object, **options: object) -> object:
        if not results:
            results.append(function(*arguments, **options))
        return results[0]

    return known


def interpreted(inputs: Sequence, outputs: Sequence, backend: object = None):
    """A function that is evaluated node by node: for a graph as small as these quicker than to compile it."""
    import pytensor
    from pytensor.compile.mode import Mode

    with pytensor.config.change_flags(floatX="float32", linker="py"):  # the linker of what scans repeat
        return pytensor.function(list(inputs), list(outputs), mode=Mode("py", None), on_unused_input="ignore")


def kill_some_time(name: str, folder: Path, times: int, kills: int, number: int) -> int:
    """So many times, a generation that is killed at random moments until it was so often, or is done.

    How many lives went on from what another had left.
    """
    lives, rng = Lives(name, folder), random.Random(kills)
    began = time.monotonic()
    assert lives.live(folder / "first") == 0
    took, codes = time.monotonic() - began, {-number, 128 + number}
    went_on = 0
    for i in range(times):
        out = folder / f"killed{i}"
        for seconds in [rng.uniform(0.2, 1) * took for _ in range(kills)] + [0]:
            code = lives.live(out, seconds=seconds, number=number)
            if code in (0, 2):
                break
            assert code in codes and seconds, out.with_suffix(".txt").read_text()
        lives.assert_done(out, code)
        said = out.with_suffix(".txt").read_text()
        went_on += said.count("Going on after")
        assert "Traceback" not in said
        shutil.rmtree(out)
    return went_on


def kill_everywhere(name: str, folder: Path, step: int = 1) -> int:
    """Kill a generation before each of its operations on files in turn, and once more when it goes on."""
    lives, rng = Lives(name, folder), random.Random(0)
    for operation in itertools.count(1, step):
        out = folder / f"before{operation}"
        for number in (operation, rng.randrange(1, 60), 0):
            code = lives.live(out, number)
            if code in (0, 2):
                break
            assert code == -signal.SIGKILL and number, out.with_suffix(".txt").read_text()
        lives.assert_done(out, code)
        if number == operation:  # it ended before there were so many
            return operation
        shutil.rmtree(out)
    raise AssertionError


def test_a_generation_that_is_killed_ends_as_the_one_that_was_not(tmp_path, monkeypatch):
    assert in_a_new_process(monkeypatch, kill_everywhere, "prime", tmp_path, 23) > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
def test_it_may_be_killed_before_any_operation_on_files(tmp_path, monkeypatch, name):
    print(name, in_a_new_process(monkeypatch, kill_everywhere, name, tmp_path), "operations")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", REQUESTS)
def test_it_may_be_killed_at_any_moment(tmp_path, monkeypatch, name, number):
    went_on = in_a_new_process(monkeypatch, kill_some_time, name, tmp_path, 12, 4, number)
    print(name, number, "gone on", went_on, "times")
