"""The workflow on a real SLURM: one node on this machine, as tests/cluster/start.sh makes it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent / "cluster"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="no SLURM: apt-get install slurm-wlm munge"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a started cluster, which ends with the tests."""
    environment = os.environ | {"SLURM_TEST_FOLDER": str(tmp_path_factory.mktemp("slurm") / "cluster")}
    started = _call([HERE / "start.sh"], environment)
    try:
        yield environment | {"SLURM_CONF": started.stdout.strip()}
    finally:
        _call([HERE / "stop.sh"], environment)


def _call(words: Sequence[object], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_cell_is_run_by_slurm(cluster: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = "--slurm-init-seconds-before-status-checks 5 --set-resources train:gpu=1 train:gpus=1"
    _call(
        [
            *[sys.executable, "-m", "samplernn_theano", "reproduce", "table1/music/one_tier"],
            *["--scale", "smoke", "--out", out, "--profile", "slurm", f"--snakemake={asked}"],
        ],
        cluster,
    )
    jobs = _jobs(cluster)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    rules = [job["Comment"].partition("_wildcards_")[0] for job in jobs]
    assert sorted(rules) == ["rule_data", "rule_data", "rule_of_a_run", "rule_of_a_run", "rule_train"]
    train = jobs[rules.index("rule_train")]
    assert (train["NumCPUs"], train["TimeLimit"], train["TresPerJob"]) == ("1", "00:02:00", "gres:gpu:1")
    assert "mem=2G" in train["TRES"]
    steps = out / "steps" / "table1" / "music" / "one_tier" / "seed123"
    for name in ("train", "evaluate", "generate"):
        record = json.loads((steps / f"{name}.json").read_text())
        assert record["status"] == "done", record
    log = out / "slurm_logs" / "rule_train" / "table1_music_one_tier_123" / f"{train['JobId']}.log"
    assert "train     table1/music/one_tier seed 123: done" in log.read_text()
    assert (out / "report" / "index.html").is_file()


def test_starting_it_again_leaves_it_as_it_is(cluster: dict[str, str]) -> None:
    folder = Path(cluster["SLURM_TEST_FOLDER"])
    before = (folder / "slurmctld.pid").read_text()
    assert _call([HERE / "start.sh"], cluster).stdout.strip() == cluster["SLURM_CONF"]
    assert (folder / "slurmctld.pid").read_text() == before


def _jobs(environment: dict[str, str]) -> list[dict[str, str]]:
    """What SLURM knows of the jobs that it has had: a line of words NAME=VALUE for each."""
    lines = _call(["scontrol", "--oneliner", "show", "jobs"], environment).stdout.splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
