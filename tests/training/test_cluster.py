"""The workflow, and training in two tasks, on a SLURM of one node: see tests/training/cluster/start.sh."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from samplernn_theano.checkpoints import npz, run_folder

ROOT = Path(__file__).parents[2]
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
    options = "--slurm-init-seconds-before-status-checks 5 --set-resources train:gpu=1 train:gpus=1"
    _call(
        [
            *[sys.executable, "-m", "samplernn_theano", "reproduce", "table1/music/one_tier"],
            *["--scale", "smoke", "--out", out, "--profile", "slurm", f"--snakemake={options}"],
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
    """Jobs known to SLURM, each as NAME: VALUE."""
    lines = _call(["scontrol", "--oneliner", "show", "jobs"], environment).stdout.splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


# --- one training in several tasks


def script_for_several_nodes() -> str:
    """The one in docs/cluster.md, for this cluster: two tasks on one node without GPUs, and a small model."""
    blocks = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").split("```bash\n")[1:]
    (script,) = (block.split("```")[0] for block in blocks if "#SBATCH --nodes=2" in block)
    small = "--preset tiny --dim 16 --emb_size 8 --q_levels 32 --n_seqs 0"
    for words, instead in {
        "--nodes=2": "--nodes=1",
        "--ntasks-per-node=4": "--ntasks-per-node=2",
        "#SBATCH --gpus-per-node=4\n": "",
        "--cpus-per-task=4": "--cpus-per-task=1",
        "--mem=64G": "--mem=4G",
        "train three_tier": f"train three_tier {small} --max-iters 100000 --monitor-iters 1000",
        "--max-time 23.5h": "$LIMIT",
    }.items():
        assert script.count(words) == 1, words
        script = script.replace(words, instead)
    return script


def test_two_tasks_train_one_model_are_requeued_and_resume(
    cluster: dict[str, str], small_data: Path, tmp_path: Path
) -> None:
    """The job runs out of time, resumes, and is ended by scancel: it saves a checkpoint."""
    script, run = tmp_path / "script.sh", run_folder.Run(tmp_path / "run")
    script.write_text(script_for_several_nodes())
    path = os.pathsep.join([str(Path(sys.executable).parent), cluster["PATH"]])
    environment = cluster | {"PATH": path, "DATA": str(small_data), "RUN": str(run.folder)}
    environment |= {"LIMIT": "--max-time 30s", "OMP_NUM_THREADS": "1", "NPROC": "1"}
    output = tmp_path / "job.txt"
    submitted = _call(["sbatch", "--parsable", f"--output={output}", script], environment)
    number = submitted.stdout.strip()

    def state() -> str:
        (job,) = (job for job in _jobs(cluster) if job["JobId"] == number)
        return job["JobState"]

    def events() -> list[str]:
        return [line["event"] for line in run_folder.read_log(run)] if run.log.exists() else []

    _wait_for(lambda: "stopped" in events(), 300, output)
    (stopped,) = [line for line in run_folder.read_log(run) if line["event"] == "stopped"]
    assert stopped["why"] == "--max-time"
    _wait_for(lambda: state() == "PENDING", 100, output)
    _call(["scontrol", "update", f"jobid={number}", "StartTime=now"], cluster)  # it would wait two minutes
    _wait_for(lambda: "resume" in events() and events()[-1] == "train", 300, output)
    _call(["scancel", "--signal=TERM", number], cluster)
    _wait_for(lambda: events().count("stopped") == 2, 100, output)
    assert [line["why"] for line in run_folder.read_log(run) if line["event"] == "stopped"][1] == "SIGTERM"
    _call(["scancel", number], cluster)
    text = output.read_text()
    assert text.count("Compiling three_tier") == 2 and "Stopped by --max-time" in text, text
    last = npz.load(run.last)
    assert last.settings["n_devices"] == 2 and last.progress["iteration"] > stopped["iteration"]


def _wait_for(condition: Callable[[], bool], seconds: float, output: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, output.read_text() if output.exists() else "It has not started."
        time.sleep(0.5)
