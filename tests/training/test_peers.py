"""Messages between the processes of a distributed training, and what ends one that waits for another."""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from samplernn_theano.training import peers

type Exits = queue.SimpleQueue[tuple[int, str]]

LOST = "was lost: it was killed or stopped, or its machine is gone"


@pytest.fixture
def exits() -> Exits:
    """The exit code and error of each exit, which only stops the thread that wants to.

    The real one does not come back: a thread that outlives its test would end the process of the tests.
    """
    happened: Exits = queue.SimpleQueue()

    def exit_now(code: int, error: str = "") -> None:
        happened.put((code, error))
        threading.Event().wait()

    peers.exit_now = exit_now  # type: ignore[assignment]
    return happened


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    ("received", "how"),
    [
        (b"", LOST),
        (b'{"broadcast": [1.0', LOST),
        (b'{"alive": true}\n{"broadcast"', LOST),
        (b'{"broadcast": [1.0\n', "sent a message that cannot be read"),
        (b'{"broadcast": "\xff\xfe"}\n', "sent a message that cannot be read"),
        (b'{"pause": 3}\n', "sent a message that cannot be read (unknown: {'pause': 3})"),
        (b"3\n", "sent a message that cannot be read"),
        (b'{"end": 7}\n', "has ended with exit code 7"),
        (b'{"lost": 2, "how": "was lost"}\n', None),
    ],
)
def test_whatever_ends_a_connection_ends_this_process(received, how, exits, pair, monkeypatch):
    """Such as a process that is killed in the middle of a message."""
    monkeypatch.setattr(peers, "GRACE_SECONDS", 0.1)
    ours, theirs = pair
    peers.Peers(1, 3, {0: ours})
    theirs.sendall(received)
    theirs.close()
    code, error = exits.get(timeout=10)
    assert code == 2
    assert error.startswith(f"Process 0 of 3 {how}" if how else "Process 2 of 3 was lost. All others exit")


def test_a_process_that_gives_no_sign_of_life_is_lost(exits, pair, monkeypatch):
    """Its connection stays open: it is stopped, or its machine is frozen."""
    monkeypatch.setattr(peers, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(peers, "LOST_SECONDS", 1.0)
    ours, theirs = pair
    peers.Peers(0, 2, {1: ours})
    for _ in range(30):
        theirs.sendall(b'{"alive": true}\n')
        time.sleep(0.05)
    assert exits.empty()
    code, error = exits.get(timeout=10)
    assert code == 2 and error.startswith(f"Process 1 of 2 {LOST}.")
    sent = [json.loads(line) for line in theirs.recv(1 << 16).splitlines()]
    assert sent[0] == {"alive": True} and sent[-1] == {"lost": 1, "how": LOST}


def test_messages_arrive_in_pieces(exits, pair):
    ours, theirs = pair
    watching = peers.Peers(1, 2, {0: ours})
    for piece in (b'{"broad', b'cast": [1.5, 0]}\n{"broadcast": [2.5', b", 15]}\n"):
        theirs.sendall(piece)
        time.sleep(0.05)
    assert [watching.broadcasts.get(timeout=10) for _ in range(2)] == [[1.5, 0], [2.5, 15]]
    watching.end(0)


class Store(queue.SimpleQueue):
    """JAX's key-value store."""

    def key_value_set(self, key: str, value: str) -> None:
        self.put(value)

    def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
        return self.get(timeout=10)


def test_other_programs_may_connect_to_the_port_and_a_peer_may_stop_receiving(exits, monkeypatch):
    monkeypatch.setattr(peers, "HELLO_SECONDS", 0.2)
    store = Store()
    connected = ThreadPoolExecutor().submit(peers.connect, 0, 2, store, "127.0.0.1")
    address = store.get(timeout=10)
    port = int(address.split()[0])
    silent = socket.create_connection(("127.0.0.1", port))
    for hello in (b"", b"GET / HTTP/1.1\r\n\r\n", b"1 secret", b"\xff\xfe\n"):
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(hello)
    store.put(address)
    (theirs,) = peers.connect(1, 2, store, "127.0.0.1").values()
    (ours,) = connected.result(timeout=30).values()
    with silent, theirs, ours:
        watching = peers.Peers(0, 2, {1: ours})
        start = time.monotonic()
        watching.send(how="x" * 20_000_000)  # more than the system keeps for a process that does not receive
        assert 0.5 < time.monotonic() - start < 10


def test_a_port_that_cannot_be_reached_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = Store()
    store.put(f"{port} token")
    with pytest.raises(peers.BackendError, match=f"Process 1 cannot reach port {port} of 127.0.0.1: "):
        peers.connect(1, 2, store, "127.0.0.1")


def test_a_process_exits_even_if_nobody_reads_its_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "from samplernn_theano.training import peers; peers.exit_now(2, 'Process 1 of 2 was lost.')"
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run([sys.executable, "-c", code], stderr=closed, check=False, timeout=60)
    assert done.returncode == 2
