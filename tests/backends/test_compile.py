"""The choice of a backend, and life without JAX."""

import errno
import fcntl
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from samplernn_theano.backends import compile, jax_program
from samplernn_theano.cli.main import main
from samplernn_theano.config.settings import PRECISIONS
from samplernn_theano.errors import BackendError
from tests.backends.conftest import minibatch


@pytest.mark.parametrize(
    ("check", "arguments", "words"),
    [
        ("backend", ("theano",), "choose one of jax, numba, c"),
        ("precision", ("jax", "half"), "choose one of highest"),
        ("precision", ("c", "tf32"), "highest precision only"),
        ("devices", ("jax", 3, 4), "--devices 3 cannot split a batch evenly: --batch_size 4"),
        ("devices", ("jax", 64, 128), "--xla_force_host_platform_device_count=64"),
        ("devices", ("numba", 2, 4), "--backend numba uses one device"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_in_a_sentence(check, arguments, words):
    with pytest.raises(BackendError, match=words):
        getattr(compile, f"check_{check}")(*arguments)
    compile.check_devices("c", 1, 3)


@pytest.mark.parametrize(
    ("number", "module", "name", "problem"),
    [
        (errno.ENOLCK, fcntl, "flock", "has no file locks"),
        (errno.ENOSYS, fcntl, "flock", "has no file locks"),
        (errno.EACCES, tempfile, "TemporaryFile", "cannot be written to"),
    ],
)
def test_a_folder_of_compiled_code_that_cannot_be_used_is_told(monkeypatch, number, module, name, problem):
    """PyTensor itself says "No locks available", or ends with a traceback."""
    if not pytensor.config.cxx:
        pytest.skip("no C++ compiler")
    compile.check_backend("c")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(BackendError, match=f"{problem}; name another .* with PYTENSOR_FLAGS=base_compiledir"):
        compile.check_backend("c")
    compile.check_backend("jax")
    if module is fcntl:
        compile.check_backend("numba")  # needs none


@pytest.mark.parametrize(
    ("error", "platforms", "line"),
    [
        (AssertionError(), "cuda", "with JAX_PLATFORMS=cuda; unset JAX_PLATFORMS, or use --backend numba."),
        (
            RuntimeError("Unknown backend: 'x'.\nMore."),
            "x",
            r"with JAX_PLATFORMS=x \(Unknown backend: 'x'\); un",
        ),
        (RuntimeError("No driver"), "", r"device \(No driver\); use --backend numba."),
    ],
)
def test_a_machine_without_the_device_that_jax_is_to_use(monkeypatch, capsys, error, platforms, line):
    """As with JAX_PLATFORMS=cuda and no GPU: info says it, and a program is refused in a sentence."""

    def no_devices():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setattr(jax, "devices", no_devices)
    assert main(["info"]) == 0
    assert re.search(f"devices: +none: JAX finds no .*{line}", capsys.readouterr().out)
    x = pt.matrix("x", shape=(2, 2), dtype="float32")
    for use in (
        lambda: compile.compile_function([x], [x + 1], backend="jax"),
        lambda: compile.load_program({"backend": "jax"}),
        lambda: compile.check_devices("jax", 2, 4),
    ):
        with pytest.raises(BackendError, match=line):
            use()


@pytest.fixture(scope="module")
def python_without_jax(tmp_path_factory) -> Path:
    """The Python of a real environment that holds everything of ours but JAX."""
    folder = tmp_path_factory.mktemp("without_jax") / "env"
    venv.create(folder, with_pip=False)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("jax", "_jax", "__pycache__", "distutils-precedence")):
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def run(python: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([python, *words], capture_output=True, text=True, timeout=500)


def test_without_jax_numba_takes_over(python_without_jax):
    absent = run(python_without_jax, "-c", "import jax")
    assert "No module named 'jax'" in absent.stderr
    info = run(python_without_jax, "-m", "samplernn_theano", "info")
    assert info.returncode == 0, info.stderr
    assert "numba (JAX is not installed)" in info.stdout
    done = run(python_without_jax, "-m", "samplernn_theano", "info", "--backend", "jax")
    assert done.returncode == 2 and "pip install 'samplernn-theano[jax]'" in done.stderr


def test_without_jax_graphs_are_compiled_by_numba(python_without_jax):
    program = """
import numpy as np, pytensor.tensor as pt
from samplernn_theano.models import rnn
from samplernn_theano.config.hyperparameters import Recurrent
from samplernn_theano.backends.compile import compile_function
from samplernn_theano.models.parameters import Parameters
x = pt.tensor("x", dtype="float32", shape=(4, 2, 3))
h = pt.tensor("h", dtype="float32", shape=(2, 5))
outputs, last = rnn.gru(Parameters(), Recurrent(dim=5), "L", x, h)
f = compile_function([x, h], [outputs, last])
ys, y = f(np.ones((4, 2, 3), np.float32), np.zeros((2, 5), np.float32))
assert ys.shape == (4, 2, 5) and (ys[-1] == y).all() and np.isfinite(ys).all()
"""
    done = run(python_without_jax, "-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_jax_a_model_trains_and_generates(python_without_jax, small_data, tmp_path):
    train = f"train three_tier --data {small_data} --preset tiny --max-iters 3 --n_seqs 0 --run"
    for words in (train.split(), ["generate", "--seconds", "0.05", "--n_seqs", "1"]):
        done = run(python_without_jax, "-m", "samplernn_theano", *words, str(tmp_path / "run"))
        assert done.returncode == 0, done.stderr


def test_info_names_the_backend_and_why_and_the_limit_of_threads():
    done = run(Path(sys.executable), "-m", "samplernn_theano", "info", "--threads", "1")
    assert done.returncode == 0, done.stderr
    info = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert info["backend"].strip() == "jax (JAX is installed)" and "NPROC=1" in info["threads"]
    assert info["pytensor"].strip().startswith("3.3") and info["devices"].strip()


def test_between_steps_nothing_leaves_the_device(trainer):
    (state,) = trainer.step(*minibatch(), *trainer.zero_states())[1:]
    batch = [jax.device_put(array) for array in minibatch()]
    with jax.transfer_guard("disallow"):
        with pytest.raises(Exception, match="Disallowed host-to-device"):
            jax.numpy.ones(2) + np.ones(2)
        for _ in range(3):
            cost, state = trainer.step(*batch, state)
        score, _ = trainer.evaluate(*batch, state)
    assert np.isfinite([cost, score]).all()
    for variable in (*trainer.graph.parameters.trainable(), *trainer.adam.values()):
        assert isinstance(variable.get_value(borrow=True), jax.Array), variable


def test_a_step_writes_over_what_it_was_given(trainer):
    """Parameters, Adam's variables and states are in memory once."""
    moved = [*(trainer.graph.parameters[n[7:]] for n in trainer.adam if ".m." in n), *trainer.adam.values()]
    (state,) = trainer.step(*minibatch(), *trainer.zero_states())[1:]
    before = [variable.get_value(borrow=True) for variable in moved]
    trainer.step(*minibatch(), state)
    assert all(array.is_deleted() for array in (*before, state))
    aliases = trainer.step.compiled().as_text().splitlines()[0].count("-alias)")
    assert aliases == len(moved) + 1


def test_what_the_caller_holds_is_left_alone(trainer):
    """Arrays of NumPy, copies of parameters, the states that an evaluation is given."""
    zeros, (weights, *_) = trainer.zero_states(), trainer.graph.parameters.trainable()
    copy = weights.get_value()
    kept = np.array(copy)
    _, state = trainer.step(*minibatch(), *zeros)
    trainer.evaluate(*minibatch(), state)
    seen = np.asarray(state)
    trainer.step(*minibatch(), state)
    assert not zeros[0].any() and seen.any() and (np.asarray(copy) == kept).all()
    assert (np.asarray(weights.get_value()) != kept).any()


def test_a_value_that_is_set_is_the_one_that_counts(trainer):
    weights = trainer.graph.parameters.trainable()[0]
    score, _ = trainer.evaluate(*minibatch(), *trainer.zero_states())
    before = weights.get_value()
    weights.set_value(np.zeros(weights.type.shape, np.float32))
    other, _ = trainer.evaluate(*minibatch(), *trainer.zero_states())
    weights.set_value(before)
    again, _ = trainer.evaluate(*minibatch(), *trainer.zero_states())
    assert other != score == again


def test_a_lack_of_memory_is_said_so():
    with pytest.raises(MemoryError), jax_program.memory_errors():
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_compiles(precision):
    x = pt.matrix("x", shape=(4, 4), dtype="float32")
    f = compile.compile_function([x], [x @ x], backend="jax", precision=precision)
    assert (np.asarray(f(np.eye(4, dtype="f"))[0]) == np.eye(4)).all()


def test_a_float64_graph_keeps_its_precision_after_a_float32_one():
    """On jax the precision is a setting of the process, and a graph's constants are arrays of their own."""
    third = 1 / 3
    for dtype in ("float32", "float64", "float32"):
        x = pt.vector("x", shape=(2,), dtype=dtype)
        constant = pt.constant(np.array([third, third], dtype))
        start = pt.constant(np.zeros(2, dtype))
        sums = pytensor.scan(lambda y, s, c: s + y * c, [x], [start[0]], [constant[0]], return_updates=False)
        (last,) = compile.compile_function([x], [sums[-1]], backend="jax")(np.ones(2, dtype))
        assert np.asarray(last) == 2 * np.dtype(dtype).type(third) and last.dtype == dtype


def test_a_program_that_needs_much_memory_is_compiled_to_need_less(monkeypatch):
    x = pt.tensor("x", dtype="float32", shape=(64, 64))
    values = np.random.RandomState(0).normal(size=(64, 64)).astype(np.float32)

    def result(much):
        monkeypatch.setattr(jax_program, "MUCH_MEMORY", much)
        f = compile.compile_function([x], [pt.tanh(x @ x) @ x], backend="jax")
        return np.asarray(f(values)[0])

    np.testing.assert_allclose(result(-1), result(10**12), rtol=1e-6)
    monkeypatch.setattr(jax_program, "SAVE_MEMORY", {"no_such_option": "1"})
    result(10**12)
    with pytest.raises(RuntimeError, match="no_such_option"):
        result(-1)
