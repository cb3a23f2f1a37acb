"""The public API: its names, its examples, and what it leaves alone."""

import re
import signal
import subprocess
import sys
import threading
import typing
from pathlib import Path

import numpy as np
import pytest
import soundfile

import samplernn_theano as srnn
from samplernn_theano.backends import malloc
from tests.conftest import GOLDEN

ROOT = Path(__file__).parents[1]
FUNCTIONS = {"train", "resume", "load", "evaluate", "score", "generate", "prepare", "conformance"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three recordings, and what the examples leave in it."""
    folder = tmp_path_factory.mktemp("api")
    rng, time = np.random.default_rng(0), np.arange(16000 * 2) / 16000
    (folder / "recordings").mkdir()
    for i in range(3):
        tone = 0.4 * np.sin(2 * np.pi * (200 + 90 * i) * time * (1 + 0.1 * time))
        tone += 0.01 * rng.normal(size=len(time))
        soundfile.write(folder / "recordings" / f"tone{i}.wav", tone.astype(np.float32), 16000)
    (folder / "tests").symlink_to(ROOT / "tests")
    return folder


def test_the_examples_of_the_page_run_one_after_the_other(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "docs/api.md", "exec"), names)
    assert FUNCTIONS <= {name for example in examples for name in re.findall(r"srnn\.(\w+)\(", example)}
    out = capsys.readouterr().out
    assert "three_tier (16, 48)" in out  # family and shape of a parameter
    assert "True" in out and "bits per sample, standard error" in out


def test_all_names_are_there_and_typed():
    assert FUNCTIONS < set(dir(srnn)) and set(srnn.__all__) < set(dir(srnn))
    for name in srnn.__all__:
        assert getattr(srnn, name).__doc__
        if name in FUNCTIONS:
            assert "return" in typing.get_type_hints(getattr(srnn, name))
    assert (Path(srnn.__file__).parent / "py.typed").exists()
    assert not hasattr(srnn, "nothing")


def test_the_names_survive_the_import_of_every_package():
    """A package of the same name would take the place of a function once it is imported."""
    code = "import samplernn_theano.cli.main, samplernn_theano.verification.verify, samplernn_theano as s; "
    code += "print(*(callable(getattr(s, name)) for name in s.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"True"}


def test_arguments_are_checked_at_the_call(tmp_path, small_data):
    hp, run, nowhere = srnn.ThreeTier(dim=8, batch_size=4, seq_len=64), tmp_path / "run", tmp_path / "a.npz"
    model = srnn.load(GOLDEN / "version_0.1.0" / "run", {"batch_size": 2})
    assert model.hp.batch_size == 2
    of_train = {"backend": "torch", "devices": 0, "seed": -1, "learning_rate": 0}
    wrong = [
        *((srnn.train, (hp, small_data, run), {name: value}, "") for name, value in of_train.items()),
        (srnn.Schedule, (), {"max_iters": -5}, "must be a positive number"),
        (srnn.Schedule, (), {"patience": 0}, "must be a positive number"),
        (srnn.resume, (nowhere,), {}, ""),
        (srnn.load, (nowhere,), {}, ""),
        (srnn.generate, (nowhere, 1), {}, ""),  # not at the first next()
        (srnn.evaluate, (nowhere, small_data, "dev"), {}, "split"),
        (srnn.score, (nowhere, np.zeros(100, np.float32)), {}, ""),
        (srnn.score, (model, [[0.1, 0.2]]), {}, "array of floats"),
        (srnn.score, (model, [1, 2, 3]), {}, "array of floats"),
        (srnn.score, (model, [0.1, 0.2]), {"window": float("nan")}, "window"),
        (srnn.prepare, (nowhere, tmp_path / "out"), {}, ""),
        (srnn.prepare, (nowhere, run), {"clip_seconds": 4.0, "variable_length": True}, "no effect"),
        (srnn.prepare, (nowhere, run), {"shortest": 1.0}, "no effect"),
        (srnn.conformance, (tmp_path,), {}, ""),
        (srnn.conformance, (GOLDEN / "cases",), {"names": ["1t_gru1"], "form": "slow"}, "form"),
    ]
    for function, arguments, options, message in wrong:
        with pytest.raises(srnn.SampleRNNError, match=message or None):
            function(*arguments, **options)
    assert not run.exists()


def test_training_in_a_thread_leaves_signals_malloc_and_the_terminal_alone(
    small_data, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(malloc, "keep_freed_memory", None)  # not to be called
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    rates, seen = [], []

    def work():
        hp = srnn.OneTier(dim=16, batch_size=4, seq_len=128, emb_size=8, q_levels=32)
        schedule = srnn.Schedule(max_iters=1, learning_rate=0.5, n_seqs=0)
        train = srnn.train(hp, small_data, tmp_path / "run", schedule, learning_rate=0.01)
        assert capfd.readouterr() == ("", "")
        resumed = srnn.resume(tmp_path / "run", max_iters=2, learning_rate=0.02)
        again = srnn.resume(tmp_path / "run", max_iters=3)
        rates.extend((run.state, run.options["learning_rate"]) for run in (train, resumed, again))
        seen.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert rates == [("ended", 0.01), ("ended", 0.02), ("ended", 0.02)] and seen == handlers
