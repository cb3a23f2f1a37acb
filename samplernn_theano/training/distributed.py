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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import numpy as np

from samplernn_theano.errors import BackendError, HyperParameterError, SampleRNNError
from samplernn_theano.training.peers import LOST_SECONDS, Peers, connect, exit_now
from samplernn_theano.training.rank_and_size import local_devices, rank_and_size
from samplernn_theano.utils.commands import run_command

START_SECONDS = 300.0
"""Timeout of the start: all processes have to connect."""

_peers: Peers | None = None


# --- ranks --------------------------------------------------------------------------------------------------


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
    """Local shard of the batch: the rows of every minibatch that this process feeds to its devices.

    Raises
    ------
    HyperParameterError
        If the processes cannot share a minibatch evenly.
    """
    n = n_processes()
    if batch_size % n:
        raise HyperParameterError(
            f"{n} processes cannot share minibatches of {batch_size} evenly; start a number of them that "
            "divides --batch_size."
        )
    share = batch_size // n
    return slice(rank() * share, (rank() + 1) * share)


# --- communication ------------------------------------------------------------------------------------------


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
    and code 2; if one exits with an error, those that have not exited `GRACE_SECONDS` later.

    Raises
    ------
    BackendError
        If no launcher is found.
    """
    number, n = rank_and_size(os.environ)
    if n == 1:
        return work()

    def connected() -> int:
        start(number, n)
        return _guarded(work)

    _exit(run_command(connected))


def _guarded(work: Callable[[], int]) -> int:
    """Do `work`. An unexpected error may come from the loss of another process: wait for that message."""
    try:
        code = work()
        if _peers and not is_main_process():
            _peers.main_has_ended.wait()  # it has the most to do
        return code
    except (SampleRNNError, MemoryError, OSError):
        raise
    except (KeyboardInterrupt, SystemExit):  # outside of the loop, which handles signals
        _exit(128 + signal.SIGTERM)
    except BaseException:  # such as a collective that fails
        time.sleep(LOST_SECONDS + 2)
        traceback.print_exc()
        _exit(1)


def _exit(code: int) -> NoReturn:
    """Exit after a message to the others. Process 0 exits last, for JAX aborts those that outlive it."""
    if _peers is not None:
        _peers.end(code)
    exit_now(code)


def start(number: int, n: int) -> None:
    """Connect this process, `number` of `n`, with the others, before the first use of JAX.

    Afterwards JAX's devices are those of all processes, and only process 0 has a standard output.

    Raises
    ------
    BackendError
        If the processes cannot connect, or have different numbers of devices.
    """
    global _peers
    import jax
    from jax._src.distributed import global_state  # not public: the key-value store

    jax.config.update("jax_enable_preemption_service", False)  # it handles SIGTERM
    if number > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with _start_timeout(number, n):
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
            _peers.watch()
            _check_devices()
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"JAX could not connect the {n} processes: {_first_line(error)}") from error


@contextmanager
def _start_timeout(number: int, n: int) -> Iterator[None]:
    """Exit if the block takes longer than `START_SECONDS`."""

    def end() -> None:
        missing = "process 0 was not found" if number else "some did not connect"
        exit_now(
            2,
            f"Process {number} of {n} has waited {START_SECONDS:.0f} s for the others: {missing}; check that "
            "all are started, and that their machines reach each other.",
        )

    timer = threading.Timer(START_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_devices() -> None:
    """Use the devices of all processes once; raise BackendError if their numbers differ."""
    import jax
    from jax.experimental.multihost_utils import process_allgather

    with _silent_stdout():  # the library that connects CPUs prints there
        counts = process_allgather(np.int32(jax.local_device_count())).ravel().tolist()
    if len(set(counts)) > 1:
        raise BackendError(
            f"The processes have {', '.join(map(str, counts))} devices; give each the same number."
        )


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Discard what libraries write to the standard output."""
    sys.stdout.flush()
    stdout, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(null)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") + "."
