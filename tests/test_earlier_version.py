"""A run and a data set written by version 0.1.0, before its modules moved into packages, stay usable."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.schedule import Progress
from tests.conftest import GOLDEN

OLD = GOLDEN / "version_0.1.0"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run, which trained for 12 iterations, with evaluations after 5, 10 and 12."""
    return shutil.copytree(OLD / "run", tmp_path / "run")


def test_its_data_set_is_checked(tmp_path, capsys):
    data = shutil.copytree(OLD / "tones", tmp_path / "tones")
    assert main(["check-data", str(data)]) == 0
    out = capsys.readouterr().out
    for split, clips in (("train", 18), ("valid", 9), ("test", 9)):
        assert re.search(rf"{split}\s+{clips}\s", out), out


def test_its_run_is_shown(run, capsys):
    assert main(["show", str(run)]) == 0
    out = capsys.readouterr().out
    assert "three_tier" in out and "4.9528" in out
    assert re.search(r"learning rate +0\.001\n", out)


def test_its_checkpoint_is_inspected_and_evaluated(run, capsys):
    assert main(["inspect", str(run)]) == 0
    out = capsys.readouterr().out
    assert "BigFrameLevel.GRU1.Step.Input.W0" in out and "learning rate: 0.001\n" in out
    assert main(["evaluate", str(run), "--data", str(OLD / "tones"), "--split", "valid"]) == 0
    logged = json.loads((run / "log.jsonl").read_text().splitlines()[-2])["valid"]
    assert f"{logged:.4f} bits per sample" in capsys.readouterr().out


def test_its_run_is_resumed(run, capsys):
    before = npz.load(run / "checkpoints" / "last.npz")
    assert Progress(**before.progress).iteration == 12
    assert main(["resume", str(run), "--data", str(OLD / "tones"), "--max-iters", "14"]) == 0
    assert "learning rate" not in capsys.readouterr().err  # where it is stored has changed, not its value
    after = npz.load(run / "checkpoints" / "last.npz")
    assert after.settings["schedule"]["learning_rate"] == 0.001 and "learning_rate" not in after.settings
    assert Progress(**after.progress).iteration == 14
    assert float(after.adam["adam.t"]) == 14
    assert not np.array_equal(after.parameters["SampleLevel.L2.W0"], before.parameters["SampleLevel.L2.W0"])
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [r["iteration"] for r in records if r["event"] == "monitor"] == [5, 10, 12, 14]
