"""What several test files share."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from nbformat import NotebookNode

GOLDEN = Path(__file__).parent / "golden"

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Compiled steps are kept for the tests that follow, in all their processes, but not in the user's own folder.
if "SAMPLERNN_CACHE" not in os.environ:
    _kept = tempfile.TemporaryDirectory(prefix="samplernn-tests-", ignore_cleanup_errors=True)
    os.environ["SAMPLERNN_CACHE"] = _kept.name

# Most of the time of the tests is compilation, and half of that XLA's optimisations; see `optimised` below.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# With `--dist loadfile` one process runs all tests of a file, so that what they share is compiled once. Files
# that take long come first, lest one process ends long after the other.
LONG = {"test_verify.py", "test_benchmarks.py", "test_kernels.py", "test_distributed.py", "test_workflow.py"}


def started(*words: object, **options) -> subprocess.Popen[str]:
    """The command in a process of its own, with pipes for its output and its errors."""
    command, pipe = [sys.executable, "-m", "samplernn_theano", *map(str, words)], subprocess.PIPE
    return subprocess.Popen(command, **({"stdout": pipe, "stderr": pipe, "text": True} | options))


def wait_until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait until it is true, at most two minutes and as long as the process runs."""
    end = time.monotonic() + 120
    while not condition():
        assert (process is None or process.poll() is None) and time.monotonic() < end
        time.sleep(0.02)


class Touch:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files that take long to the front."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def optimised():
    """Programs as users have them, with all of XLA's optimisations: for comparisons with the original."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of the cases that the original produced."""
    return GOLDEN / "cases"


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one-second tones: 8 / 4 / 4 clips of 2,000 samples, float16."""
    folder = tmp_path_factory.mktemp("small_data")
    rng = np.random.RandomState(0)
    time = np.arange(2000) / 16000
    for split, n in (("train", 8), ("valid", 4), ("test", 4)):
        pitch = rng.uniform(200, 800, (n, 1))
        np.save(folder / f"tones_{split}.npy", (0.5 * np.sin(2 * np.pi * pitch * time)).astype(np.float16))
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 / 4 / 4 clips of 2,000 samples of noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("valid", 4), ("test", 4)):
        np.save(folder / f"x_{split}.npy", rng.uniform(-1, 1, (n, 2000)).astype(np.float16))
    return folder


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[["NotebookNode"], "NotebookNode"]:
    """Execute a notebook in a new kernel, in an empty folder, and return it with its outputs."""
    from nbclient import NotebookClient

    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):  # not the user's own
        monkeypatch.setenv(name, str(tmp_path / name))
    resources = {"metadata": {"path": str(tmp_path)}}
    return lambda notebook: NotebookClient(notebook, kernel_name="python3", resources=resources).execute()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, in order."""
    saved, save = [], Figure.savefig

    def record(self, *args, **kwargs):
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", record)
    return saved
