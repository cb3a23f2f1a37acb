"""The choice of a backend, and life without JAX."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from samplernn_theano import backend
from samplernn_theano.errors import BackendError


def test_unknown_and_unusable_backends_are_refused_with_the_remedy(monkeypatch):
    with pytest.raises(BackendError, match="choose one of jax, numba, c"):
        backend.check_backend("theano")
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pip install"):
        backend.check_backend("jax")
    assert backend.default_backend() == "numba"


def test_info_names_the_backend_and_why():
    info = backend.describe()
    assert info["backend"] == "jax (JAX is installed)"
    assert info["pytensor"].startswith("3.3")
    assert info["devices"]


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
    asked = run(python_without_jax, "-m", "samplernn_theano", "info", "--backend", "jax")
    assert asked.returncode == 2 and "pip install 'samplernn-theano[jax]'" in asked.stderr


def test_without_jax_graphs_are_compiled_by_numba(python_without_jax):
    program = """
import numpy as np, pytensor.tensor as pt
from samplernn_theano import recurrent
from samplernn_theano.backend import compile_function
from samplernn_theano.parameters import Parameters
x = pt.tensor("x", dtype="float32", shape=(4, 2, 3))
h = pt.tensor("h", dtype="float32", shape=(2, 5))
outputs, last = recurrent.gru(Parameters(), "L", [x], h, True, "fast")
f = compile_function([x, h], [outputs, last])
ys, y = f(np.ones((4, 2, 3), np.float32), np.zeros((2, 5), np.float32))
assert ys.shape == (4, 2, 5) and (ys[-1] == y).all() and np.isfinite(ys).all()
"""
    done = run(python_without_jax, "-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_jax_a_model_trains_and_generates(python_without_jax, small_data, tmp_path):
    command = [python_without_jax, "-m", "samplernn_theano"]
    train = [
        *command,
        "train",
        "three_tier",
        "--data",
        small_data,
        "--run",
        tmp_path / "run",
        "--preset",
        "tiny",
    ]
    done = subprocess.run([*train, "--max-iters", "3", "--n_seqs", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    generate = [*command, "generate", tmp_path / "run", "--seconds", "0.05", "--n_seqs", "1"]
    done = subprocess.run(generate, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_threads_are_limited_before_anything_heavy_is_loaded():
    program = (
        "import os, sys; from samplernn_theano.cli import main; "
        "main(['info', '--threads', '1']); assert os.environ['NPROC'] == '1'"
    )
    done = run(Path(sys.executable), "-c", program)
    assert done.returncode == 0, done.stderr
    assert "NPROC=1" in done.stdout


def test_a_float64_graph_keeps_its_precision_after_a_float32_one():
    """On jax the precision is a setting of the process, and a graph's constants are arrays of their own."""
    third = 1 / 3
    for dtype in ("float32", "float64", "float32"):
        x = pt.vector("x", shape=(2,), dtype=dtype)
        constant = pt.constant(np.array([third, third], dtype))
        start = pt.constant(np.zeros(2, dtype))
        sums = pytensor.scan(lambda y, s, c: s + y * c, [x], [start[0]], [constant[0]], return_updates=False)
        (last,) = backend.compile_function([x], [sums[-1]], backend="jax")(np.ones(2, dtype))
        assert np.asarray(last) == 2 * np.dtype(dtype).type(third) and last.dtype == dtype
