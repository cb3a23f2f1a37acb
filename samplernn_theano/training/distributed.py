"""Distributed training: several processes that train one model, on one machine or on many.

JAX finds the processes and computes with the devices of all. Broadcasts, signals and exits are messages over
connections of our own, for when a process is lost, JAX aborts the others with a stack trace; they are to exit
with a one-line error.

In a single process every function is the identity, and JAX is not imported.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

import numpy as np

from samplernn_theano.errors import BackendError, HyperParameterError, SampleRNNError
from samplernn_theano.training.peers import LOST_SECONDS, Peers, connect, exit_now
from samplernn_theano.utils.commands import run_command

START_SECONDS = 300.0  # in which all processes have to connect

_peers: Peers | None = None


# --- the launcher: srun, Open MPI's mpirun, or variables set by hand ----------------------------------------

_BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_SLURM = {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"}
_OPEN_MPI = {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"}


def rank_and_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Rank of this process and number of processes: set by hand, else by srun, else by mpirun."""
    if environment.keys() >= set(_BY_HAND):
        names = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")
    elif environment.keys() >= _SLURM:
        names = ("SLURM_PROCID", "SLURM_NTASKS")
    elif environment.keys() >= _OPEN_MPI:
        names = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
        if not {"JAX_COORDINATOR_ADDRESS", "OMPI_MCA_orte_hnp_uri"} & environment.keys():
            raise BackendError(
                "Open MPI 5 does not set the address of process 0; give mpirun -x "
                "JAX_COORDINATOR_ADDRESS=HOST:PORT, the first host and a free port on it."
            )
    else:
        raise BackendError(
            "--distributed found no other processes: start all with srun or mpirun, or set "
            f"{', '.join(_BY_HAND[:2])} and {_BY_HAND[2]} in each."
        )
    number, size = (environment[name] for name in names)
    if not number.isdecimal() or not size.isdecimal() or not int(number) < int(size):
        raise BackendError(
            f"{names[0]}={number} and {names[1]}={size} are not the rank of a process, from 0, and the "
            "number of processes; correct them."
        )
    return int(number), int(size)


def local_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Indices, among the visible GPUs, of those that this process uses; None: all, or JAX_LOCAL_DEVICE_IDS.

    Processes of one machine that see the same GPUs share them evenly. A process whose GPUs were chosen by the
    launcher uses all that it sees.
    """
    if "JAX_LOCAL_DEVICE_IDS" in environment:
        return None
    if environment.keys() >= _SLURM:
        # 2(x3),1: two tasks on each of three machines, one on the fourth
        items = [w.partition("(x") for w in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(",")]
        tasks = [int(n) for n, _, times in items for _ in range(int(times.rstrip(")") or 1))]
        n_here, here = tasks[int(environment.get("SLURM_NODEID", "0"))], int(environment["SLURM_LOCALID"])
        chosen = {"SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"} & environment.keys()
    else:
        n_here = int(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1"))
        here, chosen = int(environment.get("OMPI_COMM_WORLD_LOCAL_RANK", "0")), set()
    seen = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if not seen:
        return [here] if n_here > 1 else None
    if chosen or len(seen) < n_here:
        return list(range(len(seen)))
    share = len(seen) // n_here
    return list(range(here * share, (here + 1) * share))


# --- ranks and communication --------------------------------------------------------------------------------


def n_processes() -> int:
    """Number of processes."""
    return _peers.n_processes if _peers else 1


def rank() -> int:
    """Rank of this process, from 0."""
    return _peers.rank if _peers else 0


def is_main_process() -> bool:
    """True for process 0, the only one that writes files and messages."""
    return rank() == 0


def batch_shard(batch_size: int) -> slice:
    """Local shard of the batch: the rows of every minibatch that this process feeds to its devices."""
    share, rest = divmod(batch_size, n_processes())
    if rest:
        raise HyperParameterError(
            f"{n_processes()} processes cannot share minibatches of {batch_size} evenly; start a number of "
            "them that divides --batch_size."
        )
    return slice(rank() * share, (rank() + 1) * share)


def broadcast(*values: float, signal_number: int = 0) -> tuple[list[float], int]:
    """Broadcast values from process 0, with the largest signal number that any process has received.

    All processes call it at the same points, so that they decide alike: by the clock of process 0, and on a
    signal sent to only one of them. A signal that process 0 does not know of yet is part of a later call. The
    others block until process 0 calls.
    """
    if _peers is None:
        return list(values), signal_number
    if not is_main_process():
        if signal_number:
            _peers.send(signal=signal_number)
        *received, number = _peers.broadcasts.get()
        return received, int(number)
    signal_number = max(signal_number, _peers.received_signal)
    _peers.send(broadcast=[*values, signal_number])
    return list(values), signal_number


def barrier() -> None:
    """Block until all processes have called this."""
    if _peers is not None:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("barrier")


# --- start and exit -----------------------------------------------------------------------------------------


def run_distributed(work: Callable[[], int]) -> int:
    """Connect with the processes that the launcher started, do `work` in each of them, and exit.

    `work` returns an exit code, the same in all. If a process is lost, the others exit with a one-line error
    and code 2; if one exits with an error, those that have not exited `peers.GRACE_SECONDS` later.
    """
    number, n = rank_and_size(os.environ)
    if n == 1:
        return work()

    def connected() -> int:
        _start(number, n)
        try:
            code = work()
            if _peers and not is_main_process():
                _peers.main_has_ended.wait()  # it has the most to do
            return code
        except (SampleRNNError, MemoryError, OSError):
            raise
        except (KeyboardInterrupt, SystemExit):  # outside of the loop, which handles signals
            _exit(128 + signal.SIGTERM)
        except BaseException:  # such as a collective that fails, for another process was lost
            time.sleep(LOST_SECONDS + 2)  # so that its message comes first
            traceback.print_exc()
            _exit(1)

    _exit(run_command(connected))


def _exit(code: int) -> NoReturn:
    """Exit after a message to the others. Process 0 exits last, for JAX aborts those that outlive it."""
    if _peers is not None:
        _peers.end(code)
    exit_now(code)


def _start(number: int, n: int) -> None:
    """Connect this process, `number` of `n`, with the others, before the first use of JAX.

    Afterwards JAX's devices are those of all processes, and only process 0 has a standard output.
    """
    global _peers
    import jax
    from jax._src.distributed import global_state  # not public: the key-value store

    jax.config.update("jax_enable_preemption_service", False)  # it handles SIGTERM
    if number > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    missing = "process 0 was not found" if number else "some did not connect"
    error = (
        f"Process {number} of {n} has waited {START_SECONDS:.0f} s for the others: {missing}; check that all "
        "are started, and that their machines reach each other."
    )
    timer = threading.Timer(START_SECONDS, exit_now, (2, error))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            num_processes=n,
            process_id=number,
            local_device_ids=local_devices(os.environ),
            # With an address JAX need not ask the launcher; Open MPI 5 would not tell it.
            cluster_detection_method="deactivate" if "JAX_COORDINATOR_ADDRESS" in os.environ else None,
            initialization_timeout=round(2 * START_SECONDS),  # longer than ours, for JAX would abort
        )
        host = str(global_state.coordinator_address).rpartition(":")[0].strip("[]")
        _peers = Peers(number, n, connect(number, n, global_state.client, host))
        _check_devices()
    except (RuntimeError, ValueError) as failure:
        reason = str(failure).partition("\n")[0].rstrip(".")
        raise BackendError(f"JAX could not connect the {n} processes: {reason}.") from failure
    finally:
        timer.cancel()


def _check_devices() -> None:
    """Use the devices of all processes once; raise BackendError if their numbers differ."""
    import jax
    from jax.experimental.multihost_utils import process_allgather

    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the library that connects CPUs prints there
    try:
        counts = process_allgather(np.int32(jax.local_device_count())).ravel().tolist()
    finally:
        os.dup2(stdout, 1)
    if len(set(counts)) > 1:
        raise BackendError(
            f"The processes have {', '.join(map(str, counts))} devices; give each the same number."
        )
