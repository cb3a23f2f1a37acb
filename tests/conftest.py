"""What several test files share."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient
from nbformat import NotebookNode

GOLDEN = Path(__file__).parent / "golden"

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Compiled steps are kept for the tests that follow, in all their processes, but not in the user's own folder.
if "SAMPLERNN_CACHE" not in os.environ:
    _kept = tempfile.TemporaryDirectory(prefix="samplernn-tests-", ignore_cleanup_errors=True)
    os.environ["SAMPLERNN_CACHE"] = _kept.name

# With `--dist loadfile` one process runs all tests of a file, so that what they share is compiled once. Files
# that take long come first, lest one process ends long after the other.
LONG = {"test_verify.py", "test_benchmarks.py", "test_loop.py", "test_distributed.py", "test_workflow.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files that take long to the front."""
    items.sort(key=lambda item: item.path.name not in LONG)


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
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[NotebookNode], NotebookNode]:
    """Execute a notebook in a new kernel, in an empty folder, and return it with its outputs."""
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
