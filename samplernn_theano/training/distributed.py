"""Distributed training: several processes that train one model, on one machine or on many.

JAX finds the processes and computes with the devices of all. Other messages (broadcasts, signals, exits) are
lines of JSON over a TCP connection between process 0, the main process, and each of the others. If a process
is killed the operating system closes its connection, and if a machine is lost TCP keep-alive does so within
30 s: the others then exit with a one-line error. JAX alone would abort with a stack trace after 100 s.

In a single process every function is the identity, and JAX is not imported.
"""

import json
import os
import queue
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import numpy as np

from samplernn_theano.errors import BackendError, HyperParameterError, SampleRNNError
from samplernn_theano.training.rank_and_size import local_devices, rank_and_size
from samplernn_theano.utils.commands import run_command

START_SECONDS = 300.0
"""Timeout of the start: all processes have to connect."""

GRACE_SECONDS = 10.0
"""Time for a process to exit by itself after another one has."""

LINE_SECONDS = 5.0
"""Timeout of the first line on a connection, which names the process."""

_ADDRESS = "samplernn-theano/address"  # key of process 0's address in JAX's key-value store


class _Links:
    """Connections of this process: process 0 has one to every other, the others have one to process 0."""

    def __init__(self, rank: int, n_processes: int) -> None:
        self.rank = rank
        self.n_processes = n_processes
        self.sockets: dict[int, socket.socket] = {}
        self.threads: list[threading.Thread] = []  # listeners
        self.broadcasts: queue.SimpleQueue[list[float]] = queue.SimpleQueue()
        self.received_signal = 0  # in process 0: the largest that another process has sent
        self.sent_signal = 0  # by this process
        self.main_has_ended = threading.Event()
        self.ending = threading.Event()  # this process is about to exit by itself
        self.aborting = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message on every connection; lost connections are noticed by the listeners."""
        line = json.dumps(message).encode() + b"\n"
        for connection in self.sockets.values():
            with suppress(OSError):
                connection.sendall(line)

    def listen(self, peer: int) -> None:
        """Handle the messages of another process until it exits; runs in a thread of its own."""
        with suppress(OSError), self.sockets[peer].makefile(encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if "broadcast" in message:
                    self.broadcasts.put(message["broadcast"])
                elif "signal" in message:
                    self.received_signal = max(self.received_signal, message["signal"])
                elif "lost" in message:
                    self.abort(message["lost"], message["how"])
                elif "end" in message:
                    self.main_has_ended.set()
                    if not self.ending.wait(GRACE_SECONDS):
                        self.abort(peer, f"has ended with exit code {message['end']}")
                    return
        if not self.ending.is_set():
            self.abort(peer, "was lost: it was killed, or its machine is gone")

    def wait(self, seconds: float) -> None:
        """Wait until the others have exited, with a timeout: JAX aborts processes that outlive process 0."""
        end = time.monotonic() + seconds
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))

    def abort(self, lost: int, how: str) -> NoReturn:
        """Exit, because another process has exited."""
        self.aborting.acquire()  # never released: only one thread aborts
        if self.rank == 0:
            self.send(lost=lost, how=how)
            self.wait(1.0)
        print(
            f"samplernn: Process {lost} of {self.n_processes} {how}. All others exit too; the last "
            "checkpoint is intact: restart all of them with --resume.",
            file=sys.stderr,
        )
        _exit(2)


_links: _Links | None = None


# --- ranks --------------------------------------------------------------------------------------------------


def n_processes() -> int:
    """Number of processes."""
    return _links.n_processes if _links else 1


def rank() -> int:
    """Rank of this process, from 0."""
    return _links.rank if _links else 0


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
    if _links is None:
        return list(values), signal_number
    if not is_main_process():
        if signal_number > _links.sent_signal:
            _links.sent_signal = signal_number
            _links.send(signal=signal_number)
        *received, number = _links.broadcasts.get()
        return received, int(number)
    signal_number = max(signal_number, _links.received_signal)
    _links.send(broadcast=[*values, signal_number])
    return list(values), signal_number


def barrier() -> None:
    """Block until all processes have called this."""
    if _links is not None:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("barrier")


# --- start and exit -----------------------------------------------------------------------------------------


def run_distributed(work: Callable[[], int]) -> int:
    """Connect with the processes that the launcher started, and do `work` in each of them.

    `work` returns an exit code, the same in all. If a process is lost, the others exit at once with a
    one-line error and code 2; if one exits with an error, those that have not exited after `GRACE_SECONDS`.

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
        return _end(_guarded(work))

    code = run_command(connected)
    if _links is None or not _links.ending.is_set():  # an error, which the others may not know of
        _exit_with_message(code)
    return code


def _guarded(work: Callable[[], int]) -> int:
    """Do `work`. An unexpected error may come from the loss of another process: wait for that message."""
    try:
        return work()
    except (SampleRNNError, MemoryError, OSError):
        raise
    except (KeyboardInterrupt, SystemExit):  # outside of the loop, which handles signals
        _exit_with_message(128 + signal.SIGTERM)
    except BaseException:  # such as a collective that fails
        time.sleep(GRACE_SECONDS + 1)
        traceback.print_exc()
        _exit_with_message(1)


def _exit_with_message(code: int) -> NoReturn:
    """Exit after a message to the others, without waiting for their work to end."""
    if _links is not None:
        _links.ending.set()
        _links.send(end=code)
        if is_main_process():
            _links.wait(GRACE_SECONDS + 5)
    _exit(code)


def _end(code: int) -> int:
    """End normally: process 0, which has the most to do, first."""
    import jax

    assert _links is not None
    if not is_main_process():
        _links.main_has_ended.wait()
    _links.ending.set()
    _links.send(end=code)
    jax.distributed.shutdown()  # waits for all
    return code


def start(number: int, n: int) -> None:
    """Connect this process, `number` of `n`, with the others, before the first use of JAX.

    Afterwards JAX's devices are those of all processes, and only process 0 has a standard output.

    Raises
    ------
    BackendError
        If the processes cannot connect, or have different numbers of devices.
    """
    global _links
    import jax

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
                shutdown_timeout_seconds=60,
            )
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"JAX could not connect the {n} processes: {_first_line(error)}") from error
        links = _Links(number, n)
        _connect(links)
    links.threads = [
        threading.Thread(target=links.listen, args=(peer,), daemon=True) for peer in links.sockets
    ]
    for thread in links.threads:
        thread.start()
    _links = links
    _check_devices()


@contextmanager
def _start_timeout(number: int, n: int) -> Iterator[None]:
    """Exit if the block takes longer than `START_SECONDS`."""

    def end() -> None:
        missing = "process 0 was not found" if number else "some did not connect"
        print(
            f"samplernn: Process {number} of {n} has waited {START_SECONDS:.0f} s for the others: {missing}; "
            "check that all are started, and that their machines reach each other.",
            file=sys.stderr,
        )
        _exit(2)

    timer = threading.Timer(START_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _connect(links: _Links) -> None:
    """Connect process 0 with all others, which get its address from JAX's key-value store."""
    from jax._src.distributed import global_state  # not public

    client: Any = global_state.client
    if links.rank > 0:
        host = str(global_state.coordinator_address).rpartition(":")[0].strip("[]")
        port, token = client.blocking_key_value_get(_ADDRESS, round(1000 * START_SECONDS)).split()
        connection = socket.create_connection((host, int(port)))
        connection.sendall(f"{links.rank} {token}\n".encode())
        links.sockets[0] = _with_keep_alive(connection)
        return
    token = secrets.token_hex()  # refuses other programs that connect to the port
    with _server(links.n_processes) as server:
        client.key_value_set(_ADDRESS, f"{server.getsockname()[1]} {token}")
        while len(links.sockets) < links.n_processes - 1:
            connection, _ = server.accept()
            number, _, received = _read_line(connection).partition(" ")
            if received == token:
                links.sockets[int(number)] = _with_keep_alive(connection)
            else:
                connection.close()


def _server(backlog: int) -> socket.socket:
    """Socket that listens on a free port of all addresses."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    return socket.create_server(("", 0), backlog=backlog)


def _read_line(connection: socket.socket) -> str:
    """First line of a connection; a part of it after `LINE_SECONDS`, as from a port scanner."""
    line = bytearray()
    connection.settimeout(LINE_SECONDS)
    with suppress(OSError):
        while (byte := connection.recv(1)) not in (b"", b"\n") and len(line) < 200:
            line += byte
    connection.settimeout(None)
    return line.decode("ascii", "replace")


def _with_keep_alive(connection: socket.socket) -> socket.socket:
    """Switch on TCP keep-alive, which closes the connection if the other end is lost for 30 s."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("KEEPIDLE", 10), ("KEEPINTVL", 5), ("KEEPCNT", 4), ("USER_TIMEOUT", 30_000)):
        if option := getattr(socket, f"TCP_{name}", None):  # Linux has all
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


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


def _exit(code: int) -> NoReturn:
    """Exit at once: JAX's exit handlers would wait for the others."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
