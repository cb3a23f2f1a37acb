"""Every experiment of the paper's tables at the scale smoke, then each command in reproduce/README.md.

It takes some minutes on two cores, so it runs only with: pytest -m smoke. SAMPLERNN_SMOKE names
the folder of a finished `make reproduce-smoke`, which is then used.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from samplernn_theano.reproduction import plan
from samplernn_theano.reproduction.experiments import read_experiments, read_listening_tests

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).parents[2]


def samplernn(*words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "samplernn_theano", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """The folder of a workflow with every experiment."""
    if "SAMPLERNN_SMOKE" in os.environ:
        return Path(os.environ["SAMPLERNN_SMOKE"]).absolute()
    out = tmp_path_factory.mktemp("smoke") / "out"
    done = samplernn("reproduce", "all", "--scale", "smoke", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_step_is_done(out):
    everything = plan.load(out)
    for step, unit, seed in plan.steps(replace(everything, experiments=everything.before)):
        record = json.loads(plan.record_path(out, step, unit, seed).read_text())
        assert record["status"] == "done", record
    assert set(plan.load(out).before) == {*read_experiments(), *read_listening_tests()}


def test_the_report_has_a_number_for_every_experiment_with_a_badge(out):
    text = (out / "report" / "report.md").read_text()
    assert "not run" not in text and "failed" not in text
    assert "Figure 1: the three-tier" in text and "Figure 2: waveforms" in text
    of_tables = [experiment for experiment in read_experiments().values() if not experiment.retention]
    for experiment in of_tables:
        scores = json.loads(plan.record_path(out, "evaluate", experiment.run, 123).read_text())["result"]
        for split in experiment.splits:
            pattern = rf"\*\*{scores[split]['score']:.3f}\b.*?\*\* *{experiment.mark} *<kbd>smoke</kbd>"
            assert re.search(pattern, text), experiment.name


def test_again_nothing_is_left_to_do(out):
    done = samplernn("reproduce", "all", "--scale", "smoke", "--out", str(out))
    assert done.returncode == 0 and "0 steps to do" in done.stdout


def commands() -> list[str]:
    """The lines of the code blocks of reproduce/README.md that call samplernn, backslashes joined."""
    text = (ROOT / "reproduce" / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line for line in blocks.replace("\\\n", " ").splitlines() if line.startswith("samplernn ")]
    return [line for line in lines if "--verify" not in line]  # downloads: see test_verify_pretrained.py


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_runs(out, tmp_path, line):
    words = shlex.split(line)[1:]
    if "EXPERIMENT" in words or words[:2] == ["listening-test", "serve"]:
        pytest.skip("a form, or a server, which the tests of the listening tests start")
    names = {"OUT": str(out), "DATA": str(out / "data" / "music"), "FOLDER": str(tmp_path)}
    words = [re.sub(r"\b(OUT|DATA|FOLDER)\b", lambda m: names[m[1]], word) for word in words]
    words = [str(tmp_path / word) if word.endswith((".png", ".csv")) else word for word in words]
    if words[0] == "reproduce" and words[1:] != ["--list"]:
        words += [] if "--scale" in words else ["--scale", ""]
        words[words.index("--scale") + 1] = "smoke"
        own = any(word.startswith(("--data", "--recordings", "--profile")) for word in words)
        words += ["--out", str(tmp_path / "new"), "--dry-run"] if own or "--seeds" in words else []
        words += [] if "--out" in words else ["--out", str(out)]
    if words[0] == "search":
        words[words.index("--max-minutes") : words.index("--max-minutes") + 2] = ["--max-iters", "4"]
        words[words.index("--trials") + 1] = "2"
        words += ["--preset", "tiny"]
    done = samplernn(*words)
    nobody = words[:2] == ["listening-test", "analyse"] and "There are no votes in" in done.stderr
    assert done.returncode == 0 or nobody, done.stderr
