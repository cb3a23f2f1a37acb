"""The other processes of a distributed training: messages to and from them, and the exit if one is lost.

Process 0, the main process, has a TCP connection to each of the others, which carries lines of JSON. If a
process is killed, the operating system closes its connection. If it is stopped, or its machine is lost, its
signs of life end. The others then exit with a one-line error.
"""

import json
import os
import queue
import secrets
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from samplernn_theano.errors import BackendError
from samplernn_theano.utils.text import parse_json

GRACE_SECONDS = 10.0  # for a process to exit by itself after another one has
LOST_SECONDS = 20.0  # without a message, after which a process is lost
BEAT_SECONDS = 1.0  # between two signs of life
HELLO_SECONDS = 5.0  # for the first message on a connection, which names the process

_ADDRESS = "samplernn-theano/address"  # key of process 0's port in JAX's key-value store
_LOST = "was lost: it was killed or stopped, or its machine is gone"


class Peers:
    """Connections of this process: process 0 has one to every other, the others have one to process 0.

    Threads handle the messages, and check that the others live.
    """

    def __init__(self, rank: int, n_processes: int, sockets: dict[int, socket.socket]) -> None:
        self.rank = rank
        self.n_processes = n_processes
        self.broadcasts: queue.SimpleQueue[list[float]] = queue.SimpleQueue()
        self.received_signal = 0  # in process 0: the largest that another process has sent
        self.main_has_ended = threading.Event()
        self._sockets = sockets
        self._silent_beats = dict.fromkeys(sockets, 0)  # since the last message of each
        self._ending = threading.Event()  # this process is about to exit by itself
        self._sending = threading.Lock()
        self._aborting = threading.Lock()
        self._listeners = [
            threading.Thread(target=self._listen, args=(peer,), daemon=True) for peer in sockets
        ]
        for thread in (*self._listeners, threading.Thread(target=self._beat, daemon=True)):
            thread.start()

    def send(self, **message: Any) -> None:
        """Send a message on every connection; the listeners notice connections that are lost."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            for connection in self._sockets.values():
                with suppress(OSError):
                    connection.sendall(line)

    def _beat(self) -> None:
        """Send signs of life, and count those that the others miss: a suspended job may be continued."""
        while not self._ending.wait(BEAT_SECONDS):
            for peer in self._silent_beats:
                self._silent_beats[peer] += 1
                if self._silent_beats[peer] * BEAT_SECONDS > LOST_SECONDS:
                    self._abort(peer, _LOST)
            self.send(alive=True)

    def _listen(self, peer: int) -> None:
        """Handle the messages of another process, lines of JSON, until it exits."""
        how = _LOST
        try:
            for line in self._sockets[peer].makefile("rb"):
                if not line.endswith(b"\n"):
                    break  # killed in the middle of it
                self._silent_beats[peer] = 0
                match parse_json(line):
                    case {"alive": True}:
                        pass
                    case {"broadcast": [*values]}:
                        self.broadcasts.put(values)
                    case {"signal": int(number)}:
                        self.received_signal = max(self.received_signal, number)
                    case {"lost": int(lost), "how": str(reason)}:
                        self._abort(lost, reason)
                    case {"end": code}:
                        how = f"has ended with exit code {code}"
                        self.main_has_ended.set()
                        self._ending.wait(GRACE_SECONDS)
                        break
                    case message:
                        raise ValueError(f"unknown: {message}")
        except OSError:
            pass
        except Exception as error:  # it would end this thread only, and all would wait for ever
            how = f"sent a message that cannot be read ({error})"
        if not self._ending.is_set():
            self._abort(peer, how)

    def _abort(self, lost: int, how: str) -> NoReturn:
        """Exit, because another process has exited."""
        self._aborting.acquire()  # never released: only one thread aborts
        if self.rank == 0:
            self.send(lost=lost, how=how)
            self._wait(1.0)
        exit_now(
            2,
            f"Process {lost} of {self.n_processes} {how}. All others exit too; the last checkpoint, if there "
            "is one, is intact. Start all of them again; samplernn train then needs --resume.",
        )

    def end(self, code: int) -> None:
        """Tell the others that this process is about to exit; process 0 waits until they have."""
        self._ending.set()
        self.send(end=code)
        if self.rank == 0:
            self._wait(GRACE_SECONDS + 5)

    def _wait(self, seconds: float) -> None:
        """Wait until the others have exited, with a timeout."""
        end = time.monotonic() + seconds
        for thread in self._listeners:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))


def exit_now(code: int, error: str = "") -> NoReturn:
    """Exit at once, without JAX's exit handlers, which would wait for the others."""
    with suppress(OSError, ValueError):
        if error:
            print(f"samplernn: {error}", file=sys.stderr)
        sys.stderr.flush()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


# --- connecting ---------------------------------------------------------------------------------------------


def connect(rank: int, n_processes: int, store: Any, host: str) -> dict[int, socket.socket]:
    """Connect process 0, on `host`, with all others, which get its port from JAX's key-value store."""
    if rank > 0:
        port, token = store.blocking_key_value_get(_ADDRESS, 1_000_000).split()  # the start has its timeout
        try:
            connection = socket.create_connection((host, int(port)))
            connection.sendall(f"{rank} {token}".encode())
        except OSError as error:
            raise BackendError(f"Process {rank} cannot reach port {port} of {host}: {error}.") from error
        return {0: _with_options(connection)}
    sockets: dict[int, socket.socket] = {}
    token = secrets.token_hex()  # refuses other programs that connect to the port
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=both, backlog=n_processes) as server:
        store.key_value_set(_ADDRESS, f"{server.getsockname()[1]} {token}")
        while len(sockets) < n_processes - 1:
            connection, _ = server.accept()
            connection.settimeout(HELLO_SECONDS)
            hello = b""
            with suppress(OSError):  # nothing comes from a port scanner
                hello = connection.recv(200)
            number, _, received = hello.partition(b" ")
            if received == token.encode():
                sockets[int(number)] = _with_options(connection)
            else:
                connection.close()
    return sockets


def _with_options(connection: socket.socket) -> socket.socket:
    """Send without delay, and do not block for longer than a second if the other end does not receive."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 1, 0))
    return connection
