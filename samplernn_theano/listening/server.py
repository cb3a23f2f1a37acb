"""HTTP server of a listening test: serves the page and stores each listener's result once."""

import json
import signal
import socket
import socketserver
import sqlite3
import sys
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import responses
from samplernn_theano.utils.text import escape_control_characters

TABLE = """
CREATE TABLE IF NOT EXISTS results (
    id INTEGER PRIMARY KEY,
    test TEXT NOT NULL,
    listener TEXT NOT NULL,
    received TEXT NOT NULL,
    started TEXT NOT NULL,
    finished TEXT NOT NULL,
    votes INTEGER NOT NULL,
    raw TEXT NOT NULL,
    UNIQUE (test, listener)
)"""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page has its own in addition
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

REASONS = {
    "SQLITE_FULL": "The disk is full; free some space.",
    "SQLITE_READONLY": "The folder of the test is not writable; change its permissions.",
    "SQLITE_CANTOPEN": "The folder of the test is not writable; change its permissions.",
    "SQLITE_CORRUPT": f"The file {responses.STORE} is damaged; move it away.",
    "SQLITE_NOTADB": f"The file {responses.STORE} is damaged; move it away.",
}
"""What to do about errors of the database, by the beginning of their names."""


def serve(folder: Path, host: str, port: int) -> None:
    """Serve the listening test in `folder` until Ctrl-C or SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with make(folder, host, port) as server:
            address = f"http://{host}:{server.server_port}/"
            print(f"The listening test is at {address} (Ctrl-C to stop)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print(f"The server has stopped; the results are in {folder / responses.STORE}", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def make(folder: Path, host: str, port: int) -> "Server":
    """Make a server of the listening test in `folder`, bound to `host` and `port` (0: any free one)."""
    test = responses.read_test(folder)
    try:
        page = (folder / "index.html").read_bytes()
    except OSError as error:
        raise DataError(f"There is no page index.html in {folder}; make the test again.") from error
    store = folder / responses.STORE
    try:
        with closing(_open(store)) as database, database:
            database.execute("BEGIN IMMEDIATE")  # fails if the database cannot be written
    except sqlite3.DatabaseError as error:
        raise OutputError(f"Results cannot be stored in {store}: {_explain(error)}") from error
    try:
        return Server((host, port), test, page, store)
    except OSError as error:
        raise OutputError(
            f"Cannot serve at {host}, port {port}: {error.strerror or error}; give another --port, or an "
            "address of this machine with --host."
        ) from error


class Server(ThreadingHTTPServer):
    """HTTP server with a thread for each request."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], test: responses.Test, page: bytes, store: Path) -> None:
        self.test, self.page, self.store = test, page, store
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without a DNS look-up of the machine's name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnected."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Handler of requests for the page and of posted results; no other file is served."""

    server: Server
    server_version = "samplernn"
    sys_version = ""
    timeout = 30.0  # seconds to wait for the client to send something
    request_timeout = 120.0  # seconds for a whole request, however often it does
    answer_timeout = 600.0  # seconds for a whole answer: a page of megabytes on a slow line

    def handle(self) -> None:
        """Handle a request, and end a connection on which it takes too long to arrive."""
        self.timer = threading.Timer(self.request_timeout, self._disconnect)
        self.timer.daemon = True
        self.timer.start()
        try:
            super().handle()
        finally:
            self.timer.cancel()

    def _disconnect(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """Send the page."""
        if urlsplit(self.path).path not in ("/", "/index.html"):
            return self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
        self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Store the result of a listener."""
        length = self.headers.get("Content-Length", "")
        if not (length.isdecimal() and len(length) < 10):
            return self._answer(HTTPStatus.LENGTH_REQUIRED, "The request does not say how long it is.")
        raw = self.rfile.read(min(int(length), 8 * responses.MAX_BYTES))  # else no answer reaches the client
        if urlsplit(self.path).path != "/results":
            return self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
        # Pages of other sites cannot post this type without the server's permission.
        if self.headers.get_content_type() != "application/json":
            return self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Results must be application/json.")
        if len(raw) > responses.MAX_BYTES:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, responses.TOO_LARGE)
        try:
            _, result = responses.parse(raw, self.server.test)
            count = add(self.server.store, self.server.test, result)
        except DataError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, str(error))
        except sqlite3.IntegrityError:
            return self._answer(HTTPStatus.CONFLICT, "The votes of this listener were accepted before.")
        except sqlite3.Error as error:
            print(f"samplernn: A result could not be stored: {_explain(error)}", file=sys.stderr, flush=True)
            message = f"The votes could not be stored: {_explain(error)} Please keep the file."
            return self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, message)
        with suppress(OSError):  # answer the listener even if the terminal is closed
            name = escape_control_characters(result["listener"])
            print(f"{name}: accepted, {count_of(count, 'listener')} so far", flush=True)
        self._answer(HTTPStatus.OK, "Your votes were accepted. Thank you!")

    def _answer(self, status: HTTPStatus, message: str) -> None:
        body = json.dumps({"ok": status == HTTPStatus.OK, "message": message})
        self._send(status, "application/json", body.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.timer.cancel()
        self.connection.settimeout(self.answer_timeout)
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""


def add(store: Path, test: responses.Test, result: Any) -> int:
    """Store a checked result durably; return the number of listeners."""
    row = {name: result[name] for name in ("listener", "started", "finished")}
    row |= {"test": test.id, "received": datetime.now(UTC).isoformat(timespec="seconds")}
    row |= {"votes": len(result["votes"]), "raw": json.dumps(result)}
    names = ", ".join(row)
    with closing(_open(store)) as database:
        with database:
            database.execute(f"INSERT INTO results ({names}) VALUES (:{names.replace(', ', ', :')})", row)
        return database.execute("SELECT COUNT(*) FROM results WHERE test = ?", (test.id,)).fetchone()[0]


def _open(store: Path) -> sqlite3.Connection:
    database = sqlite3.connect(store, timeout=30.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # a commit survives a power failure
        database.execute(TABLE)
    except BaseException:
        database.close()
        raise
    return database


def _explain(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    reasons = (reason for start, reason in REASONS.items() if name.startswith(start))
    return next(reasons, f"The database failed ({error}).")
