"""Several processes that train one model together, on one machine or on many.

JAX connects the devices: it finds the processes, and computes with the arrays of all. All else that the
processes say to each other goes over a TCP connection between process 0 and each other one, a line of JSON
at a time: what to do next (`agree`), a signal that asks for the end, and that a process ends. Where a process
is killed the system closes its connection, and where a machine vanishes TCP's keep-alive does: the others
know at once, or within half a minute, and end with a sentence. JAX alone would notice after 100 s and abort
with a stack trace.

In a process that was started alone every function is the identity, and JAX is not imported.
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
from samplernn_theano.training.rank_and_size import local_devices, place
from samplernn_theano.utils.commands import run_command

START_SECONDS = 300.0
"""So long the processes wait for each other at the start."""

GRACE_SECONDS = 10.0
"""So long a process may take to end by itself once another one has."""

LINE_SECONDS = 5.0
"""So long a process may take to say who it is."""

_ADDRESS = "samplernn-theano/address"  # of process 0, among the values that JAX's runtime keeps


class _Links:
    """The connections of this process: of process 0 with all others, of another one with process 0."""

    def __init__(self, rank: int, n_processes: int) -> None:
        self.rank = rank
        self.n_processes = n_processes
        self.sockets: dict[int, socket.socket] = {}
        self.threads: list[threading.Thread] = []  # that listen to them
        self.agreed: queue.SimpleQueue[list[float]] = queue.SimpleQueue()
        self.stop = 0  # the largest that another process has told, in process 0
        self.told = 0  # what this one has told
        self.first_has_ended = threading.Event()
        self.ends = threading.Event()  # this process is about to end by itself
        self.leaving = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message to all that this one is connected with; that one is gone is noticed elsewhere."""
        line = json.dumps(message).encode() + b"\n"
        for connection in self.sockets.values():
            with suppress(OSError):
                connection.sendall(line)

    def listen(self, peer: int) -> None:
        """Heed what another process says, until it is gone: in a thread of its own."""
        with suppress(OSError), self.sockets[peer].makefile(encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if "agreed" in message:
                    self.agreed.put(message["agreed"])
                elif "stop" in message:
                    self.stop = max(self.stop, message["stop"])
                elif "lost" in message:
                    self.leave(message["lost"], message["how"])
                elif "end" in message:
                    self.first_has_ended.set()
                    if not self.ends.wait(GRACE_SECONDS):
                        self.leave(peer, f"has ended with exit code {message['end']}")
                    return
        if not self.ends.is_set():
            self.leave(peer, "was lost: it was killed, or its machine is gone")

    def wait(self, seconds: float) -> None:
        """Wait until the others are gone, but no longer than so: JAX aborts whoever outlives process 0."""
        end = time.monotonic() + seconds
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))

    def leave(self, lost: int, how: str) -> NoReturn:
        """End this process, because another one is gone."""
        self.leaving.acquire()  # never released: once is enough
        if self.rank == 0:
            self.send(lost=lost, how=how)
            self.wait(1.0)
        print(
            f"samplernn: Process {lost} of {self.n_processes} {how}. All others end too; the last checkpoint "
            "is whole: start all of them again with --resume.",
            file=sys.stderr,
        )
        _exit(2)


_links: _Links | None = None


# --- who is who ---------------------------------------------------------------------------------------------


def n_processes() -> int:
    """How many processes train together."""
    return _links.n_processes if _links else 1


def rank() -> int:
    """The number of this process, from 0."""
    return _links.rank if _links else 0


def is_first() -> bool:
    """Whether this is process 0: the one that writes, draws and speaks."""
    return rank() == 0


def rows(batch_size: int) -> slice:
    """The rows of every minibatch that this process feeds to its devices.

    Raises
    ------
    HyperParameterError
        If the processes cannot share a minibatch evenly.
    """
    n = n_processes()
    if batch_size % n:
        raise HyperParameterError(
            f"{n} processes cannot share minibatches of {batch_size} evenly; start as many as divide "
            "--batch_size."
        )
    share = batch_size // n
    return slice(rank() * share, (rank() + 1) * share)


# --- decisions ----------------------------------------------------------------------------------------------


def agree(*values: float, stop: int = 0) -> tuple[list[float], int]:
    """What process 0 says, and the largest `stop` that any process has told so far.

    All processes call it at the same places, so that they decide alike: by the clock of process 0, and on a
    signal that only one of them was sent. A `stop` that process 0 does not know of yet is part of a later
    call's. Who comes early waits for process 0, as long as it takes.
    """
    if _links is None:
        return list(values), stop
    if not is_first():
        if stop > _links.told:
            _links.told = stop
            _links.send(stop=stop)
        *heard, most = _links.agreed.get()
        return heard, int(most)
    stop = max(stop, _links.stop)
    _links.send(agreed=[*values, stop])
    return list(values), stop


def meet() -> None:
    """Wait until all processes are here."""
    if _links is not None:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("meet")


# --- the life of the processes ------------------------------------------------------------------------------


def together(work: Callable[[], int]) -> int:
    """Start the processes that the launcher tells of, and do `work` in each of them.

    `work` returns an exit code, the same in all. If one process is lost, the others end at once; if one ends
    by an error, which it tells, those do that have not ended by themselves after `GRACE_SECONDS`: with a
    sentence and exit code 2.

    Raises
    ------
    BackendError
        If no launcher is found.
    """
    number, n = place(os.environ)
    if n == 1:
        return work()

    def life() -> int:
        start(number, n)
        return _end(_outlived(work))

    code = run_command(life)
    if _links is None or not _links.ends.is_set():  # an error, which the others may not know of
        _leave_alone(code)
    return code


def _outlived(work: Callable[[], int]) -> int:
    """Do `work`; if it raises no error of ours, another process may be lost: wait, for that is told first."""
    try:
        return work()
    except (SampleRNNError, MemoryError, OSError):
        raise
    except (KeyboardInterrupt, SystemExit):  # before or after the loop, which heeds signals
        _leave_alone(128 + signal.SIGTERM)
    except BaseException:  # such as a collective that fails
        time.sleep(GRACE_SECONDS + 1)
        traceback.print_exc()
        _leave_alone(1)


def _leave_alone(code: int) -> NoReturn:
    """End this process whatever the others do."""
    if _links is not None:
        _links.ends.set()
        _links.send(end=code)
        if is_first():
            _links.wait(GRACE_SECONDS + 5)
    _exit(code)


def _end(code: int) -> int:
    """End in peace: process 0, which has the most to do, first."""
    import jax

    assert _links is not None
    if not is_first():
        _links.first_has_ended.wait()
    _links.ends.set()
    _links.send(end=code)
    jax.distributed.shutdown()  # waits for all
    return code


def start(number: int, n: int) -> None:
    """Connect this process, `number` of `n`, with the others; JAX must not be in use yet.

    From now on JAX's devices are those of all processes, and only process 0 has a standard output.

    Raises
    ------
    BackendError
        If the processes do not find each other, or have different numbers of devices.
    """
    global _links
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from us
    if number > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with _in_time(number, n):
        try:
            jax.distributed.initialize(
                num_processes=n,
                process_id=number,
                local_device_ids=local_devices(os.environ),
                # Where the address is said JAX need not ask the launcher, and Open MPI 5 would not tell it.
                cluster_detection_method="deactivate" if "JAX_COORDINATOR_ADDRESS" in os.environ else None,
                initialization_timeout=round(2 * START_SECONDS),  # past ours, for JAX would abort
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
def _in_time(number: int, n: int) -> Iterator[None]:
    """End this process if the block takes longer than `START_SECONDS`."""

    def end() -> None:
        missing = "process 0 was not found" if number else "some have not come"
        print(
            f"samplernn: Process {number} of {n} has waited {START_SECONDS:.0f} s for the others: {missing}; "
            "see that all start, and that their machines reach each other.",
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
    """Connect process 0 with all others, who hear where it listens from JAX's runtime."""
    from jax._src.distributed import global_state  # JAX has no other way to it

    client: Any = global_state.client
    if links.rank > 0:
        host = str(global_state.coordinator_address).rpartition(":")[0].strip("[]")
        port, word = client.blocking_key_value_get(_ADDRESS, round(1000 * START_SECONDS)).split()
        connection = socket.create_connection((host, int(port)))
        connection.sendall(f"{links.rank} {word}\n".encode())
        links.sockets[0] = _kept_alive(connection)
        return
    word = secrets.token_hex()  # whoever else finds the port does not know it
    with _server(links.n_processes) as server:
        client.key_value_set(_ADDRESS, f"{server.getsockname()[1]} {word}")
        while len(links.sockets) < links.n_processes - 1:
            connection, _ = server.accept()
            number, _, said = _read_line(connection).partition(" ")
            if said == word:
                links.sockets[int(number)] = _kept_alive(connection)
            else:
                connection.close()


def _server(backlog: int) -> socket.socket:
    """A socket that listens on a free port of all addresses."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    return socket.create_server(("", 0), backlog=backlog)


def _read_line(connection: socket.socket) -> str:
    """The first line that comes; what there is of it if it takes long, as from whoever scans for ports."""
    line = bytearray()
    connection.settimeout(LINE_SECONDS)
    with suppress(OSError):
        while (byte := connection.recv(1)) not in (b"", b"\n") and len(line) < 200:
            line += byte
    connection.settimeout(None)
    return line.decode("ascii", "replace")


def _kept_alive(connection: socket.socket) -> socket.socket:
    """Let the system ask every few seconds whether the other end is there, and give up after 30 s."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("KEEPIDLE", 10), ("KEEPINTVL", 5), ("KEEPCNT", 4), ("USER_TIMEOUT", 30_000)):
        if option := getattr(socket, f"TCP_{name}", None):  # Linux has all
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


def _check_devices() -> None:
    """Compute with the devices of all processes once; raise BackendError if they are not as many in each."""
    import jax
    from jax.experimental.multihost_utils import process_allgather

    with _silent_stdout():  # the library that connects CPUs tells of its success there
        counts = process_allgather(np.int32(jax.local_device_count())).ravel().tolist()
    if len(set(counts)) > 1:
        raise BackendError(
            f"The processes have {', '.join(map(str, counts))} devices; give each as many as the others."
        )


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Send what libraries write to the standard output nowhere."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") + "."


def _exit(code: int) -> NoReturn:
    """End at once: JAX's own way out would wait for the others."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
