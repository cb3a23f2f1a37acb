"""Distributed training: ranks, broadcasts, and exits."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import OneTier
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.errors import BackendError, HyperParameterError
from samplernn_theano.training import distributed, loop
from samplernn_theano.training.distributed import local_devices, rank_and_size
from samplernn_theano.training.run import resume, train
from tests.training.conftest import log

# --- the launcher


def slurm(rank: int, n: int, **others: str) -> dict[str, str]:
    about = {"JOB_ID": "7", "STEP_NODELIST": "node[1-2]", "NTASKS": n, "PROCID": rank, "LOCALID": rank % 4}
    return {f"SLURM_{name}": str(value) for name, value in (about | others).items()}


def open_mpi(rank: int, n: int, **others: str) -> dict[str, str]:
    about = {"SIZE": n, "RANK": rank, "LOCAL_RANK": rank % 4, "LOCAL_SIZE": min(n, 4)}
    return {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in about.items()} | others


def by_hand(rank: object, n: object) -> dict[str, str]:
    return {
        "JAX_COORDINATOR_ADDRESS": "node1:61234",
        "JAX_NUM_PROCESSES": str(n),
        "JAX_PROCESS_ID": str(rank),
    }


@pytest.mark.parametrize(
    "environment",
    [
        slurm(5, 8),
        open_mpi(5, 8, JAX_COORDINATOR_ADDRESS="node1:61234"),
        open_mpi(5, 8, OMPI_MCA_orte_hnp_uri="1531576320.0;tcp://10.96.0.1:34911"),
        by_hand(5, 8),
        slurm(0, 1) | open_mpi(1, 2) | by_hand(5, 8),
    ],
    ids=["srun", "mpirun with an address", "mpirun, Open MPI 4", "by hand", "by hand before all others"],
)
def test_rank_and_size_from_the_launcher(environment: dict[str, str]) -> None:
    assert rank_and_size(environment) == (5, 8)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "srun or mpirun, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        (open_mpi(5, 8), "mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT"),
        (by_hand(8, 8), "JAX_PROCESS_ID=8 and JAX_NUM_PROCESSES=8 are not the rank"),
        (by_hand("one", 8), "JAX_PROCESS_ID=one and"),
    ],
)
def test_incomplete_launchers_are_errors(environment: dict[str, str], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        rank_and_size(environment)


FOUR = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        (slurm(5, 8, STEP_TASKS_PER_NODE="4(x2)") | FOUR, [1]),
        (slurm(5, 8, STEP_TASKS_PER_NODE="2(x4)", LOCALID="1") | FOUR, [2, 3]),
        (slurm(1, 2, STEP_TASKS_PER_NODE="1(x2)", LOCALID="0") | FOUR, [0, 1, 2, 3]),
        (slurm(5, 7, STEP_TASKS_PER_NODE="2(x3),1", NODEID="2", LOCALID="1") | FOUR, [2, 3]),
        (slurm(6, 7, STEP_TASKS_PER_NODE="2(x3),1", NODEID="3", LOCALID="0") | FOUR, [0, 1, 2, 3]),
        (
            slurm(5, 8, STEP_TASKS_PER_NODE="4(x2)", GPUS_PER_TASK="2") | {"CUDA_VISIBLE_DEVICES": "2,3"},
            [0, 1],
        ),
        (slurm(5, 8, STEP_TASKS_PER_NODE="4(x2)") | {"CUDA_VISIBLE_DEVICES": "GPU-5a"}, [0]),
        (open_mpi(5, 8) | FOUR, [1]),
        (open_mpi(5, 8), [1]),
        (by_hand(1, 2) | FOUR, [0, 1, 2, 3]),
        (by_hand(1, 2), None),
        (slurm(5, 8, STEP_TASKS_PER_NODE="4(x2)") | FOUR | {"JAX_LOCAL_DEVICE_IDS": "3"}, None),
    ],
)
def test_the_processes_of_a_machine_share_its_gpus(environment: dict[str, str], devices: list[int]) -> None:
    """None: all, or those that are named in the environment."""
    assert local_devices(environment) == devices


# --- alone


def test_a_process_alone_decides_by_itself_and_does_without_jax() -> None:
    code = """
import sys
from samplernn_theano.training import distributed
assert distributed.broadcast(1.5, 2.0, signal_number=15) == ([1.5, 2.0], 15)
assert (distributed.rank(), distributed.n_processes(), distributed.is_main_process()) == (0, 1, True)
assert list(range(6))[distributed.batch_shard(6)] == list(range(6))
assert distributed.run_distributed(lambda: 3) == 3
assert "jax" not in sys.modules
"""
    environment = os.environ | by_hand(0, 1)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- together

BEGIN = """
import os, signal, sys, time
from samplernn_theano.training import distributed, peers
from samplernn_theano.utils import signal_handling
from samplernn_theano.errors import DataError
me = distributed.rank
def note(*words):
    print(*words, file=sys.stderr, flush=True)
"""

type Done = list[tuple[int, str, str]]
"""The exit code, output and errors of each process."""


def run(code: str, n: int = 2, missing: int = -1) -> Done:
    """Run a program in `n` processes together."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = []
    for rank in range(n):
        if rank != missing:
            environment = os.environ | by_hand(rank, n) | {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}
            words = [sys.executable, "-c", BEGIN + code]
            pipe = subprocess.PIPE
            started.append(subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True))
    outputs = [process.communicate(timeout=180) for process in started]
    return [(process.returncode, *words) for process, words in zip(started, outputs, strict=True)]


def processes(work: str, n: int = 2, missing: int = -1, before: str = "") -> Done:
    """Do `work`, the body of a function, in `n` processes together."""
    lines = "\n".join(f"    {line}" for line in work.strip().splitlines())
    return run(f"{before}\ndef work():\n{lines}\nsys.exit(distributed.run_distributed(work))", n, missing)


def test_all_decide_by_the_clock_of_process_0_and_on_a_signal_to_any() -> None:
    """Only process 0 has a standard output."""
    work = """
stopping = []
with signal_handling.handle_signals(stopping.append):
    print("from", me())
    for i in range(100_000):
        if i == 50 and me() == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001 * me())
        values, stop = distributed.broadcast(i + 1000 * me(), signal_number=max(stopping, default=0))
        assert values == [i]
        if stop:
            note("stops at", i)
            return 128 + stop
"""
    done = processes(work, n=3)
    assert [code for code, *_ in done] == [143] * 3, done
    assert [out for _, out, _ in done] == ["from 0\n", "", ""]
    assert len({errors for *_, errors in done}) == 1  # all at the same moment
    assert int(done[0][2].split()[-1]) >= 50


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_process_ends_the_others_with_a_one_line_error(lost: int) -> None:
    """Even where they wait for a result of all devices."""
    work = f"""
from jax.experimental.multihost_utils import sync_global_devices
for i in range(1000):
    if i == 20 and me() == {lost}:
        note(f"killed at {{time.time()}}")
        os.kill(os.getpid(), signal.SIGKILL)
    sync_global_devices("step")
"""
    done = processes(work)
    ended = time.time()
    assert done[lost][0] == -signal.SIGKILL
    code, _, errors = done[1 - lost]
    assert code == 2, errors
    assert f"samplernn: Process {lost} of 2 was lost: it was killed or stopped" in errors
    assert "Traceback" not in errors
    assert ended - float(done[lost][2].split()[-1]) < 10


@pytest.mark.parametrize("one", [0, 1])
def test_an_error_of_one_process_ends_the_others(one: int) -> None:
    work = f"""
if me() == {one}:
    raise DataError("A file has vanished.")
distributed.broadcast() if me() else time.sleep(60)
"""
    done = processes(work, before="peers.GRACE_SECONDS = 1.0")
    assert [code for code, *_ in done] == [2, 2]
    assert "samplernn: A file has vanished.\n" in done[one][2]
    assert f"samplernn: Process {one} of 2 has ended with exit code 2. All others exit" in done[1 - one][2]


def test_an_error_of_all_processes_is_printed_alone() -> None:
    done = processes('raise DataError("The cost became nan.")')
    assert [(code, errors) for code, _, errors in done] == [(2, "samplernn: The cost became nan.\n")] * 2


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_process_is_an_error(missing: int) -> None:
    before = "distributed.START_SECONDS = 2.0"
    ((code, _, errors),) = processes("return 0", missing=missing, before=before)
    assert code == 2
    assert f"Process {1 - missing} of 2 has waited 2 s for the others" in errors


def test_processes_cannot_share_a_batch_unevenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "n_processes", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert distributed.batch_shard(6) == slice(2, 4)
    with pytest.raises(HyperParameterError, match="3 processes cannot share minibatches of 8"):
        distributed.batch_shard(8)


# --- training

FLAGS = "--preset tiny --dim 16 --emb_size 8 --q_levels 32 --monitor-iters 10 --distributed --resume".split()


def samplernn(*words: object, rank: int = 1, number: int, step: int = 0, evaluation: int = 0) -> Done:
    """The command in two processes, every cost logged, without sounds: the diagnostic fails.

    One process sends itself a signal after a step, or in an evaluation of a split, both numbered from 1.
    """
    return run(f"""
from itertools import count
from samplernn_theano.cli.main import main
from samplernn_theano.training import hooks, loop
loop.LOG_SECONDS = 0.0
def fail(*_):
    raise RuntimeError("no sound")
hooks.evaluation_samples.write = fail
def send_signal(now):
    if now and me() == {rank}:
        note("signal at", time.time())
        os.kill(os.getpid(), {number:d})
train_step, evaluate_split, evaluations = loop.train_step, hooks.evaluate_split, count(1)
def step_and_signal(t, batch):
    train_step(t, batch)
    send_signal(t.progress.iteration == {step})
def signal_and_evaluate(*arguments):
    send_signal(next(evaluations) == {evaluation})
    return evaluate_split(*arguments)
loop.train_step, hooks.evaluate_split = step_and_signal, signal_and_evaluate
sys.exit(main({[str(word) for word in words]}))
""")


def check_killed(done: Done, rank: int) -> None:
    """The other process of two has ended within 30 s, with a one-line error."""
    assert time.time() - float(done[rank][2].split()[-1]) < 30
    code, _, errors = done[1 - rank]
    assert (code, done[rank][0]) == (2, -signal.SIGKILL), done
    assert f"samplernn: Process {rank} of 2 was lost: it was killed or stopped" in errors
    assert "Traceback" not in errors


def costs(folder: Path) -> list[float]:
    return [record["nll_bits"] for record in log(folder, "train")]


def test_two_processes_train_as_one_stop_together_and_resume(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are interrupted in steps (in evaluations: below), one resumes alone: the costs of a single one.

    A diagnostic that fails in process 0 neither ends the other one nor lets it wait.
    """
    monkeypatch.setattr(loop, "LOG_SECONDS", 0.0)
    one, two = tmp_path / "one", tmp_path / "two"
    hp = OneTier(dim=16, emb_size=8, q_levels=32, seq_len=64, batch_size=4)
    train(hp, small_data, one, Schedule(max_iters=30, monitor_iters=10))
    command = ("train", "one_tier", "--data", small_data, "--run", two, *FLAGS, "--seq_len", 64)
    command += ("--max-iters", 30, "--n_seqs", 1, "--sample-seconds", 0.01)

    stopped = samplernn(*command, step=13, number=signal.SIGTERM)
    assert [code for code, *_ in stopped] == [143, 143], stopped
    assert "Stopped by SIGTERM after iteration 1" in stopped[0][1]
    assert stopped[0][1].count("Warning: no samples after iteration 10 (RuntimeError: no sound)") == 1
    assert stopped[1][1] == "" and stopped[1][2].startswith("signal at") and stopped[1][2].count("\n") == 1
    assert [record["iteration"] for record in log(two, "warning")] == [10]
    assert json.loads(run_folder.Run(two).settings.read_text())["n_devices"] == 2

    killed = samplernn(*command, "--save-minutes", 1e-9, step=18, number=signal.SIGKILL)
    check_killed(killed, rank=1)
    assert "Resuming after iteration 1" in killed[0][2]
    saved = npz.load(run_folder.Run(two).last)
    assert 16 <= saved.progress["iteration"] <= 18
    assert {array.shape[0] for array in saved.states.values()} == {hp.batch_size}

    assert resume(two, {"n_devices": 1, "n_seqs": 0}) == 0
    assert len(costs(two)) == len(costs(one)) == 30
    np.testing.assert_allclose(costs(two), costs(one), rtol=1e-4)
    alone, together = (log(folder, "monitor")[-1]["valid"] for folder in (one, two))
    assert together == pytest.approx(alone, rel=1e-4)


@pytest.mark.slow
def test_whichever_process_is_killed_a_run_resumes_bit_for_bit(small_data: Path, tmp_path: Path) -> None:
    """Each of two is killed in a step and in an evaluation, of the valid and of the test split."""
    command = ("train", "three_tier", "--data", small_data, *FLAGS, "--max-iters", 12, "--monitor-iters", 5)
    command += ("--n_seqs", 0)
    through, killed = run_folder.Run(tmp_path / "through"), run_folder.Run(tmp_path / "killed")
    done = samplernn(*command, "--run", through.folder, number=signal.SIGKILL)
    assert [code for code, *_ in done] == [0, 0], done
    for rank, when in ((1, {"step": 2}), (0, {"step": 4}), (1, {"evaluation": 1}), (0, {"evaluation": 2})):
        words = (*command, "--run", killed.folder, "--save-minutes", 1e-9)
        check_killed(samplernn(*words, rank=rank, number=signal.SIGKILL, **when), rank)
    done = samplernn(*command, "--run", killed.folder, number=signal.SIGKILL)
    assert [code for code, *_ in done] == [0, 0], done
    assert costs(killed.folder) == costs(through.folder)
    ours, expected = npz.load(killed.last), npz.load(through.last)
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(ours.parameters[name], array, strict=True)


def test_a_process_that_is_killed_at_the_very_end_does_not_matter() -> None:
    """JAX would abort the others after a minute."""
    work = """
if me() == 1:
    peers.Peers.end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
return 0
"""
    done = processes(work)
    assert [code for code, *_ in done] == [0, -signal.SIGKILL], done


def test_several_processes_need_jax_and_take_all_devices(capsys: pytest.CaptureFixture) -> None:
    for words in (["--backend", "c"], ["--devices", "2"]):
        assert main(["resume", "run", "--distributed", *words]) == 2
        errors = capsys.readouterr().err
        assert "--distributed needs --backend jax" in errors and f"leave {words[0]}" in errors
