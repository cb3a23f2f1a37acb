"""Imports of the commands: slow libraries are loaded only where they are used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = {
    "numpy",
    "scipy",
    "soundfile",
    "pytensor",
    "jax",
    "numba",
    "matplotlib",
    "optuna",
    "rich",
    "shtab",
}


def loaded_by(program: str, *arguments: str | Path) -> set[str]:
    """Modules loaded at the end of a program."""
    ending = "\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    command = [sys.executable, "-c", program + ending, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


COMMAND = """
import sys
from samplernn_theano.cli.main import main
for command in " ".join(sys.argv[1:]).split(" ; "):
    try:
        code = main(command.split())
    except SystemExit as end:  # of argparse, after --help
        code = end.code
    assert not code
"""


def test_help_and_version_load_no_library():
    commands = "--help ; --version ; train --help ; train three_tier --help ; generate --help"
    modules = loaded_by(COMMAND, *f"{commands} ; data music --help ; reproduce --help".split())
    assert "samplernn_theano.cli.train" in modules
    assert not LIBRARIES & modules


@pytest.mark.parametrize("name", ["training.run", "evaluation.nll", "generation.write"])
def test_the_module_of_a_command_does_not_import_optional_libraries(name):
    modules = loaded_by(f"import samplernn_theano.{name}")
    assert {"numpy", "pytensor"} <= modules
    assert not {"jax", "numba", "matplotlib", "scipy.linalg", "scipy.signal", "scipy.io"} & modules


def test_a_training_loads_neither_matplotlib_nor_numba_until_it_draws_or_generates(data, tmp_path):
    pytest.importorskip("jax")
    not_drawing = "from samplernn_theano.utils import plotting\nplotting.learning_curve = lambda *_: None\n"
    arguments = "train one_tier --preset tiny --seq_len 16 --max-iters 1 --n_seqs 0 --backend jax".split()
    run = tmp_path / "run"
    modules = loaded_by(not_drawing + COMMAND, *arguments, "--data", data, "--run", run)
    assert (run / "checkpoints" / "best.npz").exists()
    assert "jax" in modules
    assert not {"numba", "matplotlib", "samplernn_theano.generation.kernels.sample_loop"} & modules
