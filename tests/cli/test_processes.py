"""Commands as processes, in surroundings that lack something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from samplernn_theano.checkpoints import run_folder

ROOT = Path(__file__).parents[2]
SAMPLERNN = f"'{sys.executable}' -m samplernn_theano"
TRAIN = (
    "train one_tier --preset tiny --dim 16 --max-iters 2 --monitor-iters 1 --n_seqs 1 --sample-seconds 0.01"
)


@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("2>&1 | true; exit ${PIPESTATUS[0]}", {}),
        (">/dev/full 2>&-", {"PYTHONIOENCODING": "ascii"}),
        (
            "2>&1 | cat >&2; exit ${PIPESTATUS[0]}",
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        ),
    ],
)
def test_a_training_whose_output_is_lost_or_cannot_be_encoded_is_whole(tmp_path, data, shell, env):
    run = tmp_path / "läuft ♪"
    command = f"{SAMPLERNN} {TRAIN} --data '{data}' --run '{run}' {shell}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    records = run_folder.read_log(run_folder.Run(run))
    assert [r["iteration"] for r in records if r["event"] in ("monitor", "end")] == [1, 2, 2]
    assert len(list((run / "samples").glob("*.wav"))) == 2


def test_a_user_without_a_home_and_a_checkout_that_was_never_installed(tmp_path):
    """As in a container with a number for a user: PyTensor asks for a home when it is imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata, pwd\n"
        "def none(*_): raise KeyError('uid not found')\n"
        "pwd.getpwuid = pwd.getpwnam = none\n"
        "distribution = metadata.distribution\n"
        "def missing(name):\n"
        "    if name == 'samplernn-theano': raise metadata.PackageNotFoundError(name)\n"
        "    return distribution(name)\n"
        "metadata.distribution = missing\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    env |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "TMPDIR": str(tmp_path)}
    script = (
        "import sys; from samplernn_theano.cli.main import main; main(['info', '--backend', 'numba']); "
        "from samplernn_theano.backends.provenance import provenance; "
        "print(provenance('numba')['versions']['samplernn-theano'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("backend:                numba (given)")
    assert done.stdout.endswith("\n0+unknown\n")
    assert [path.name for path in tmp_path.iterdir()] == ["sitecustomize.py"]  # no folder named ~, no rest


@pytest.mark.parametrize(
    ("home", "is_kept"),
    [("", True), ("new/home", True), ("file", False), ("file/below", False), ("shut", False)],
)
def test_a_home_that_cannot_be_written_to_is_not_used(tmp_path, home, is_kept):
    """As / of a container's user: PyTensor writes there."""
    (tmp_path / "file").touch()
    (tmp_path / "shut").mkdir(mode=0o500)
    if home == "shut" and os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    env = {**os.environ, "HOME": str(tmp_path / home), "PYTHONPATH": str(ROOT)}
    env.pop("PYTENSORRC", None)
    code = "import os, samplernn_theano; print(os.environ['HOME'], os.access(os.environ['HOME'], os.W_OK))"
    code += "; print(os.environ.get('PYTENSORRC'))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    line, settings = done.stdout.splitlines()
    found, _, is_writable = line.rpartition(" ")
    assert settings == ("None" if is_kept else f"{env['HOME']}/.pytensorrc")  # which may be there to be read
    assert (found == env["HOME"]) == is_kept and (is_kept or is_writable == "True")


@pytest.mark.parametrize("words", ["--version", "--help", "train --help", "listening-test make -h"])
@pytest.mark.parametrize(
    ("shell", "code"), [(">&-", 2), (">/dev/full", 2), ("| true; exit ${PIPESTATUS[0]}", 0)]
)
def test_help_that_cannot_be_written_is_an_error(words, shell, code):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", f"{SAMPLERNN} {words} {shell}"], env=env, capture_output=True)
    assert done.returncode == code
    assert done.stderr.startswith(b"samplernn: Standard output could not be written: " * bool(code))
    assert len(done.stderr.splitlines()) == bool(code)
