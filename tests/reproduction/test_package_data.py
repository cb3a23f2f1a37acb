"""The files of the workflow and of the search are part of the package, and old workflows can be read."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.reproduction import plan, records

ROOT = Path(__file__).parents[2]


def test_the_files_of_workflow_and_search_are_package_data():
    """They are below a package, all of whose files a wheel has."""
    found = {path.name for path in files("samplernn_theano.reproduction").joinpath("files").iterdir()}
    assert {"Snakefile", "differences.toml", "published.toml", "three_tier.svg"} <= found
    assert {"experiments", "profiles", "report", "scales"} <= found
    ranges = files("samplernn_theano.search").joinpath("ranges")
    assert {f"{family}.toml" for family in FAMILIES} <= {path.name for path in ranges.iterdir()}


@pytest.mark.parametrize("script", ["tables", "search"])
def test_the_scripts_are_the_commands(script, tmp_path):
    command = [sys.executable, ROOT / "reproduce" / f"{script}.py", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"tables": "EXPERIMENT", "search": "FAMILY"}[script] in done.stdout


def test_a_workflow_of_an_earlier_version_can_be_read(tmp_path):
    """Its workflow.json says "cells", its records "cell" and "stopped", its commands call scripts."""
    old = {"out": "/elsewhere", "scale": "laptop", "cells": {"table3/32": [123]}, "data": {"blizzard": "/b"}}
    old |= {"recordings": {}, "about": {}, "max_minutes": None, "before": {"table3/64": [123]}}
    (tmp_path / plan.WORKFLOW).write_text(json.dumps(old))
    workflow = plan.load(tmp_path)
    assert workflow.experiments == {"table3/32": [123]} and workflow.out == tmp_path
    assert json.loads(plan.save(workflow).read_text()).keys() >= old.keys()

    record = {"step": "train", "cell": "table3/32", "seed": 123, "scale": "laptop", "status": "stopped"}
    path = plan.record_path(tmp_path, "train", "table3/32", 123)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record | {"command": ["python", "datasets/music.py"]}))
    assert records.read_record(path)["status"] == "interrupted"
    found = records.read(tmp_path, [])
    assert list(found.requested) == ["table3/64", "table3/32"]
    assert found.of("table3/32")[0].why_missing("evaluate") == "interrupted"
