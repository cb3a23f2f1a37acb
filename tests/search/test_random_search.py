"""Tests of the search: reproducible draws, no lost trials, results."""

import csv
import errno
import fcntl
import importlib.util
import json
import multiprocessing
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

if importlib.util.find_spec("optuna") is None:
    pytest.skip("Optuna is not installed", allow_module_level=True)

import optuna

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.cli.options import Parser
from samplernn_theano.cli.search import add_search
from samplernn_theano.config.hyperparameters import HyperParameters, WaveNet
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.errors import DivergedError, HyperParameterError, OutputError, ReproductionError
from samplernn_theano.search import random_search, search_space, summary
from samplernn_theano.training.step import check_finite
from samplernn_theano.utils.commands import run_command
from tests.conftest import wait_until

FORK = multiprocessing.get_context("fork")
RANGES = """
family = "one_tier"
[ranges.batch_size]
choices = [2]
[ranges.dim]
choices = [4, 8, 16]
[ranges.n_rnn]
low = 1
high = 3
[ranges.skip_conn]
choices = [false, true]
when = { n_rnn = [2, 3] }
[ranges.learning_rate]
low = 1e-4
high = 1e-2
log = true
"""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture after each trial, which takes half a second, unless a test asks for `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(summary, "draw", lambda *_: None)


@pytest.fixture
def pictures() -> None:
    """The pictures are drawn."""


@pytest.fixture
def ranges(tmp_path: Path) -> Path:
    path = tmp_path / "ranges.toml"
    path.write_text(RANGES)
    return path


@pytest.fixture
def task(tmp_path: Path, ranges: Path, small_data: Path) -> random_search.Task:
    space = search_space.read(ranges, "one_tier", "tiny")
    return random_search.Task(space, small_data, tmp_path / "study", 6, 0, ["--max-iters", "5"])


def search(task: random_search.Task, train: Callable[..., int | subprocess.Popen], **changes) -> int:
    """Run a search whose trials are trained by the function `train`."""

    def start(*arguments):
        code = train(*arguments)
        ended = SimpleNamespace(wait=lambda: code, terminate=lambda: None)
        return ended if isinstance(code, int) else code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_search, "start", start)
        return random_search.search(replace(task, **changes))


def flags_of(words: list[str]) -> dict[str, str]:
    """The flags of a command by their names."""
    return {flag: word for flag, word in zip(words, words[1:], strict=False) if flag.startswith("--")}


def train(words: list[str], *_) -> int:
    """In place of a training: a run whose score depends on the hyper-parameters, and is best half way."""
    flags = flags_of(words)
    run = run_folder.Run(Path(flags["--run"]))
    run.folder.mkdir(exist_ok=True)
    cost = 2 + int(flags["--dim"]) / 10 + float(flags["--learning_rate"])
    run_folder.append(run, "start", iteration=0, parameters=1000 * int(flags["--dim"]))
    run_folder.append(run, "monitor", iteration=3, seconds=60.0, valid=cost)
    run_folder.append(run, "monitor", iteration=5, seconds=90.0, valid=cost + 1)
    run_folder.append(run, "end", iteration=5, seconds=90.0)
    return 0


def slow_train(words: list[str], *_) -> int:
    time.sleep(0.05 if int(flags_of(words)["--dim"]) > 4 else 0.2)
    return train(words)


def trials_of(task: random_search.Task) -> dict[int, dict]:
    """What Optuna itself has of each trial that is done: its parameters."""
    storage = random_search.journal(task.folder / "journal.log")
    study = optuna.load_study(study_name=task.folder.name, storage=storage)
    assert len({trial.number for trial in study.trials}) == len(study.trials)
    return {trial.number: trial.params for trial in study.trials if trial.state.name == "COMPLETE"}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_trial_depends_on_seed_and_number_alone(task):
    ten, many = (search_space.draw(task.space, 0, n) for n in (10, 100))
    assert many[:10] == ten
    assert search_space.draw(task.space, 1, 10) != ten
    assert len({values["learning_rate"] for values in many}) == 100
    assert 35 < sum(values["learning_rate"] < 1e-3 for values in many) < 65  # even in the logarithm
    assert {values["n_rnn"] for values in many} == {1, 2, 3}
    assert all(("skip_conn" in values) == (values["n_rnn"] > 1) for values in many)


def multiplications(hp: HyperParameters) -> float:
    """Multiplications per sample of the largest matrices of a model."""
    square, outputs = hp.dim**2, 3 * hp.n_components if hp.real_valued else hp.q_levels
    if isinstance(hp, WaveNet):  # two taps for a filter and a gate, one each for residuals and skips
        return 6 * square * hp.wavenet_blocks * hp.dilation_layers_per_block + hp.dim * outputs
    sizes = getattr(hp, "sizes", (1,))
    recurrent = square * hp.n_rnn * (8 if hp.rnn_type == "LSTM" else 6)
    upsampled = sum(square / below for below in (*sizes[1:], 1)) if sizes != (1,) else 0
    return sum(recurrent / size for size in sizes) + upsampled + square + hp.dim * outputs


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family, presets in PRESETS.items() for name in presets]
)
def test_the_preset_bounds_the_models_of_the_default_ranges_which_have_no_contradictions(family, name):
    space = search_space.read(search_space.RANGES / f"{family}.toml", family, name)
    models = [search_space.hyperparameters(space, v) for v in search_space.draw(space, 0, 200)]
    assert len(set(models)) > 30
    own = multiplications(PRESETS[family][name])
    costs = [multiplications(model) / own for model in models]
    assert max(costs) < 5.5 and sum(costs) / len(costs) < 1.1 and min(costs) < 0.5
    assert len({model.dim for model in models}) == 3


def test_times_are_multiples_of_the_value_of_the_preset(ranges):
    ranges.write_text(
        'family = "one_tier"\n[ranges.dim]\ntimes = [0.01, 0.5, 0.6, 1, 1.001, 2]\n'
        "[ranges.emb_size]\ntimes = [0, 1]\n[ranges.skip_conn]\nchoices = [true]\nwhen = { dim = [16] }\n"
    )
    dims = {"tiny": [1, 16, 19, 32, 64], "demo": [1, 64, 77, 128, 256]}
    for name, expected in dims.items():
        space = search_space.read(ranges, "one_tier", name)
        assert space.ranges["dim"] == {"choices": expected}
        assert space.ranges["emb_size"]["choices"] == [0, PRESETS["one_tier"][name].emb_size]


def test_a_search_that_was_begun_keeps_its_ranges_when_the_default_ones_change(task, ranges):
    default = {"default_ranges": True}
    assert search(task, train, trials=3, **default) == 0
    begun = trials_of(task)
    ranges.write_text(RANGES.replace("[4, 8, 16]", "[32]"))
    changed = search_space.read(ranges, "one_tier", "tiny")
    assert search(task, train, space=changed, **default) == 0
    drawn = dict(enumerate(search_space.draw(task.space, task.seed, 6)))
    assert trials_of(task) == drawn and drawn.items() >= begun.items()
    with pytest.raises(ReproductionError, match="another ranges"):  # given, not the default ones
        search(task, train, space=changed)
    with pytest.raises(ReproductionError, match="another preset"):
        search(task, train, space=search_space.read(ranges, "one_tier", "demo"), **default)
    assert search(task, train, folder=task.folder.with_name("new"), space=changed, **default) == 0
    assert {row["dim"] for row in table(task.folder.with_name("new"))} == {"32"}


def test_one_or_three_workers_draw_the_same(task):
    assert search(task, train) == 0
    three = replace(task, folder=task.folder.with_name("three"))
    workers = [FORK.Process(target=search, args=(three, slow_train)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert trials_of(three) == trials_of(task)
    assert trials_of(task).keys() == set(range(6))
    assert [row["trial"] for row in table(three.folder)] == [row["trial"] for row in table(task.folder)]


def test_without_file_locks_there_is_one_worker(task, monkeypatch):
    """Lustre and NFS lock folders even if they lock no files."""

    def fail(descriptor, operation):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def meet_another_worker(words, *_):
        with pytest.raises(OutputError, match="Another process works in .*study"):
            search(task, train)
        return train(words)

    monkeypatch.setattr(fcntl, "flock", fail)
    assert search(task, meet_another_worker) == 0
    assert trials_of(task).keys() == set(range(6))


def test_tables_tell_what_was_found(task, capsys):
    assert search(task, train) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:6]] == [["trial", str(i)] for i in range(6)]
    rows = table(task.folder)
    costs = [float(row["valid_bits_per_sample"]) for row in rows]
    assert costs == sorted(costs)
    best = rows[0]
    assert costs[0] == pytest.approx(2 + int(best["dim"]) / 10 + float(best["learning_rate"]))
    assert int(best["parameters"]) == 1000 * int(best["dim"])
    assert (best["iterations"], best["best_iteration"], best["minutes"]) == ("5", "3", "1.5")
    assert f"Trials: 6 done. The table and figures are in {task.folder}" in lines
    further = f"samplernn resume {task.folder}/trial-{int(best['trial']):03d} --max-iters 50"
    assert lines[-2:] == [f"To train it further: {further}", f"To train it again: {best['command']}"]
    flags = flags_of(shlex.split(best["command"]))
    assert (flags["--dim"], flags["--learning_rate"]) == (best["dim"], best["learning_rate"])
    assert flags["--batch_size"] == "2"


def test_fifty_trials_are_drawn_with_importances(task, tmp_path, pictures):
    study = optuna.create_study()
    for values in search_space.draw(task.space, 0, 50):
        ranges = {name: search_space.distribution(task.space.ranges[name]) for name in values}
        study.add_trial(optuna.create_trial(value=values["dim"], params=values, distributions=ranges))
    summary.draw(tmp_path, study)
    for name in ("history", "search", "importances"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_more_trials_continue_a_finished_search(task):
    def never(*_):
        raise AssertionError("a trial was trained again")

    search(task, train, trials=2)
    first = trials_of(task)
    assert search(task, never, trials=2) == 0
    search(task, train)
    assert trials_of(task).keys() == set(range(6)) and first.items() <= trials_of(task).items()


def test_a_data_base_serves_as_well(task):
    url = f"sqlite:///{task.folder.parent}/optuna.db"
    assert search(task, train, trials=2, storage=url) == 0
    assert len(table(task.folder)) == 2
    assert not (task.folder / "journal.log").exists()


def test_failed_trials_are_reported_and_the_search_continues(task, capsys):
    state = SimpleNamespace(run=run_folder.Run(task.folder))
    error = pytest.raises(DivergedError, check_finite, state, "cost", float("nan"), 3).value
    nan = f"Compiling\nsamplernn: {error}\n"

    def exhaust():
        raise MemoryError

    assert run_command(exhaust) == 2
    said = {0: (2, nan), 1: (-11, ""), 2: (1, "Boom"), 3: (2, capsys.readouterr().err)}

    def fail(words, output, claim):
        code, text = said.get(int(output.stem[-3:]), (0, ""))
        output.write_text(text)
        return code or train(words)

    assert search(replace(task, folder=task.folder.with_name("other")), lambda *_: 0, trials=1) == 0
    assert "validation set" in table(task.folder.with_name("other"))[0]["message"]
    capsys.readouterr()
    assert search(task, fail) == 0
    rows = {int(row["trial"]): row for row in table(task.folder)}
    assert [rows[i]["state"] for i in range(6)] == ["failed"] * 4 + ["done"] * 2
    assert rows[0]["message"].startswith("The cost became nan after 3 updates")
    assert "SIGSEGV" in rows[1]["message"]
    assert rows[2]["message"] == "Boom"
    assert rows[3]["message"].startswith("Out of memory")
    said = capsys.readouterr().out
    assert "trial 0  failed: The cost became nan" in said and "2 done, 4 failed" in said


@pytest.mark.parametrize(
    "reason",
    ["JAX finds no device with JAX_PLATFORMS=cuda; unset JAX_PLATFORMS.", "No disk space left; free some."],
)
def test_an_error_of_the_machine_ends_the_search_and_the_trial_stays_to_be_done(task, reason):
    def fail(words, output, claim):
        if output.stem != "trial-001":
            return train(words)
        output.write_text(f"Compiling\nsamplernn: {reason}\n")
        return 2

    with pytest.raises(ReproductionError, match=f"Trial 1 could not be trained: {reason} Then run the same"):
        search(task, fail)
    assert {row["trial"]: row["state"] for row in table(task.folder)} == {"0": "done", "1": "interrupted"}
    assert search(task, train) == 0 and trials_of(task).keys() == set(range(6))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[ranges.dim]", "[ranges.width]", r"ranges\.width\]: .*unrecognized arguments: --width=4"),
        ("[ranges.dim]\n", "[ranges.ip_weight]\n", "unrecognized arguments: --ip_weight=4"),
        ("choices = [4, 8, 16]", "choices = []", "must contain one"),
        ("choices = [4, 8, 16]", "choices = [4]\nlog = true", "needs choices"),
        ("choices = [4, 8, 16]", 'choices = [4, "big"]', "'big'"),
        ("choices = [4, 8, 16]", "times = [0.5, -1]", "not below 0, of a whole number"),
        ("choices = [4, 8, 16]", 'times = ["big"]', "not below 0, of a whole number"),
        ("choices = [4, 8, 16]", "times = 2", "needs choices, times"),
        ("choices = [4, 8, 16]", "times = [2]\nchoices = [4]", "needs choices, times"),
        (
            "[ranges.learning_rate]\nlow = 1e-4\nhigh = 1e-2\nlog = true",
            "[ranges.learning_rate]\ntimes = [2]",
            "whole",
        ),
        ("low = 1\n", "low = 5\n", r"`low <= high` must hold"),
        ("low = 1\n", "", "needs choices"),
        ("low = 1e-4", "low = 0.0", "`low > 0` must hold"),
        ("low = 1e-4", "low = -1e-4", "`low > 0` must hold"),
        ("high = 1e-2", "high = inf", "not a positive number"),
        ("low = 1\n", "lowest = 1\n", "needs choices, times, or"),
        ("when = { n_rnn", "when = { learning_rate", "a range above"),
        ("[2, 3]", "2", "list values"),
        ("[ranges.dim]\nchoices = [4, 8, 16]", "[ranges.q_type]\nchoices = ['linear', 'mu-law']", "compared"),
        ('"one_tier"', '"two_tier"', "two_tier, not one_tier"),
        ("[ranges.batch_size]", "[fixed]", "unknown key fixed"),
        ("[ranges.dim]", "[ranges.dim", "is not TOML"),
    ],
)
def test_ranges_that_cannot_be_are_refused(ranges, old, new, words):
    assert old in RANGES
    ranges.write_text(RANGES.replace(old, new, 1))
    with pytest.raises(ReproductionError, match=words):
        search_space.read(ranges, "one_tier", "tiny")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("when = { n_rnn = [2, 3] }", "", "Trial .*--skip_conn True needs at least two recurrent layers"),
        ("choices = [2]", "choices = [5]", "Trial 0 .*needs at least 5"),
    ],
)
def test_trials_that_cannot_be_trained_are_found_before_any_is(task, ranges, old, new, words):
    ranges.write_text(RANGES.replace(old, new, 1))
    space = search_space.read(ranges, "one_tier", "tiny")
    with pytest.raises(HyperParameterError, match=words):
        search(task, train, space=space, trials=20)
    assert not task.folder.exists()


def test_a_folder_with_another_search_is_refused(task, ranges, data):
    search(task, train, trials=1)
    ranges.write_text(RANGES.replace("16]", "32]"))
    others = {
        "seed": {"seed": 1},
        "length": {"limit": ["--max-iters", "6"]},
        "data": {"data": data},
        "preset": {"space": search_space.read(ranges, "one_tier", "demo")},
        "ranges": {"space": search_space.read(ranges, "one_tier", "tiny")},
    }
    for words, changes in others.items():
        with pytest.raises(ReproductionError, match=f"another {words}"):
            search(task, train, **changes)


def test_a_damaged_journal_is_refused_and_a_truncated_one_is_resumed(task):
    search(task, train, trials=2)
    journal = task.folder / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')  # a worker was killed while it wrote
    search(task, train, trials=3)
    assert trials_of(task).keys() == {0, 1, 2}
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"\0\0\0\n", *lines[4:]]))
    with pytest.raises(ReproductionError, match=r"journal\.log is damaged"):
        search(task, train)


def hang(words: list[str], output: Path, claim: int) -> subprocess.Popen:
    """A training that never ends, in a process that creates its output when it has started."""
    script = f"import pathlib, time; pathlib.Path({str(output)!r}).touch(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script], pass_fds=(claim,))
    output.with_suffix(".pid").write_text(str(process.pid))
    return process


def start_hanging(task: random_search.Task) -> multiprocessing.Process:
    """A worker that trains its first two trials and hangs in the third."""

    def third_hangs(words, output, claim):
        return (hang if "trial-002" in str(output) else train)(words, output, claim)

    worker = FORK.Process(target=lambda: sys.exit(search(task, third_hangs)))
    worker.start()
    wait_until((task.folder / "trial-002.log").exists)
    return worker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_ends_its_training_and_can_be_resumed(task, number):
    worker = start_hanging(task)
    os.kill(worker.pid, number)
    worker.join(20)
    assert worker.exitcode == 128 + number
    states = {row["trial"]: row["state"] for row in table(task.folder)}
    assert states == {"0": "done", "1": "done", "2": "interrupted"}
    began = []

    def resumed(words, output, claim):
        began.append(output.stem)
        assert "--resume" in words
        return train(words)

    assert search(task, resumed) == 0
    assert began == [f"trial-00{i}" for i in (2, 3, 4, 5)]
    assert trials_of(task).keys() == set(range(6))


def test_the_trial_of_a_killed_worker_is_taken_again_when_its_training_has_ended(task):
    worker = start_hanging(task)
    worker.kill()
    worker.join()
    assert search(task, train) == 0  # its training still runs, and is left alone
    assert trials_of(task).keys() == {0, 1, 3, 4, 5}
    assert {row["trial"]: row["state"] for row in table(task.folder)}["2"] == "running"
    os.kill(int((task.folder / "trial-002.pid").read_text()), signal.SIGKILL)
    end = time.monotonic() + 10
    while len(trials_of(task)) < 6 and time.monotonic() < end:
        assert search(task, train) == 0
    drawn = search_space.draw(task.space, task.seed, 6)
    assert trials_of(task) == dict(enumerate(drawn))


def command(*words: object) -> int:
    parser = Parser(prog="samplernn")
    add_search(parser.add_subparsers(parser_class=Parser))
    arguments = parser.parse_args(["search", *map(str, words)])
    return run_command(lambda: arguments.command(arguments))


def test_the_command_trains_and_tells(tmp_path, small_data, capfd, pictures):
    ranges, study = tmp_path / "r.toml", tmp_path / "study"
    ranges.write_text(
        'family = "one_tier"\n[ranges.dim]\nchoices = [16]\n[ranges.learning_rate]\nlow = 1e-3\nhigh = 1e-2\n'
    )
    words = ["one_tier", "--data", small_data, "--study", study, "--ranges", ranges, "--preset", "tiny"]
    words += ["--trials", 2, "--max-iters", 4, "--threads", 1]
    assert command(*words) == 0
    output = capfd.readouterr()
    assert output.err == ""
    assert len(output.out.splitlines()) == 6
    for row in table(study):
        settings = json.loads((study / f"trial-00{row['trial']}" / "settings.json").read_text())
        assert str(settings["hyperparameters"]["dim"]) == row["dim"]
        assert repr(settings["schedule"]["learning_rate"]) == row["learning_rate"]
        assert 3 < float(row["valid_bits_per_sample"]) < 9
        assert (row["iterations"], row["state"]) == ("4", "done")
    assert command(*words) == 0
    assert "Trials: 2 done" in capfd.readouterr().out
    assert command(*words, "--seed", 5) == 2
    assert "another seed" in capfd.readouterr().err


def test_missing_data_are_reported_before_anything_is_imported(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "samplernn_theano.search.random_search", None)  # an import would fail
    assert command("one_tier", "--data", tmp_path / "none", "--study", tmp_path / "study") == 2
    assert "There is no data folder" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_without_optuna_the_command_says_what_to_install(small_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command("one_tier", "--data", small_data, "--study", tmp_path / "study") == 2
    assert "samplernn-theano[reproduce]" in capsys.readouterr().err
