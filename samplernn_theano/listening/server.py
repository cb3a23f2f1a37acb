"""HTTP server of a listening test: serves the page and stores each listener's result once."""

import errno
import hashlib
import json
import signal
import socketserver
import sqlite3
import sys
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import responses
from samplernn_theano.utils.text import escape_control_characters

TIMEOUT = 30.0
"""Seconds for a client's request, and for a thread to lock the database."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "media-src data: blob:; connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policy: the page is self-contained and connects to this server only."""

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

INSERT = """
INSERT INTO results (test, listener, received, started, finished, votes, raw) VALUES (?, ?, ?, ?, ?, ?, ?)"""

# --- serving ------------------------------------------------------------------------------------------------


def serve(folder: Path, host: str, port: int) -> None:
    """Serve the listening test in `folder` until Ctrl-C or SIGTERM.

    Raises
    ------
    DataError
        If the folder has no listening test, or its results are damaged.
    OutputError
        If results cannot be stored, or the address cannot be used.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with make(folder, host, port) as server:
            print(
                f"The listening test is at http://{host}:{server.server_port}/ (Ctrl-C to stop)", flush=True
            )
            server.serve_forever()
    except KeyboardInterrupt:
        print(f"The server has stopped; the results are in {folder / responses.STORE}", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def make(folder: Path, host: str, port: int) -> ThreadingHTTPServer:
    """Make a server of the listening test in `folder`, bound to `host` and `port` (0: any free one).

    Raises
    ------
    DataError
        If the folder has no listening test, or its results are damaged.
    OutputError
        If results cannot be stored, or the address cannot be used.
    """
    test = responses.read_test(folder)
    try:
        page = (folder / "index.html").read_bytes()
    except OSError as error:
        raise DataError(f"There is no page index.html in {folder}; make the test again.") from error
    store = folder / responses.STORE
    try:
        count_stored(store, test)
    except sqlite3.DatabaseError as error:
        status, reason = _explain(error)
        kind = OutputError if status == HTTPStatus.INSUFFICIENT_STORAGE else DataError
        raise kind(f"Results cannot be stored in {store}: {reason}") from error
    try:
        return Server((host, port), test, page, store)
    except OverflowError as error:
        raise OutputError(f"There is no port {port}; give one from 0 to 65535 with --port.") from error
    except OSError as error:
        raise OutputError(_no_address(host, port, error)) from error


def _no_address(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use; give another one with --port."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Not allowed to open port {port}; give one from 1024 on with --port."
    return f"Cannot serve at {host}: {error.strerror or error}; give an address of this machine with --host."


class Server(ThreadingHTTPServer):
    """HTTP server with a thread for each request."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], test: responses.Test, page: bytes, store: Path) -> None:
        self.test, self.page, self.store = test, page, store
        self.tag = f'"{hashlib.sha256(page).hexdigest()[:32]}"'
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without a DNS look-up of the machine's name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnected or timed out."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Handler of requests for the page and of posted results; no other file is served."""

    server: Server
    server_version = "samplernn"
    sys_version = ""

    def setup(self) -> None:
        """Set the timeout of the connection."""
        self.request.settimeout(TIMEOUT)
        super().setup()

    def do_GET(self) -> None:
        """Send the page unless the browser has it cached."""
        if urlsplit(self.path).path not in ("/", "/index.html"):
            self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
        elif self.headers.get("If-None-Match") == self.server.tag:
            self._send(HTTPStatus.NOT_MODIFIED, None, b"")
        else:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Store the result of a listener."""
        if (raw := self._body()) is None:
            return
        if urlsplit(self.path).path != "/results":
            return self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
        # Pages of other sites cannot post this type without the server's permission.
        if self.headers.get_content_type() != "application/json":
            return self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Results must be application/json.")
        try:
            listener, found = responses.parse(raw, self.server.test)
        except DataError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, str(error))
        try:
            count = add(self.server.store, self.server.test, found)
        except sqlite3.IntegrityError:
            return self._answer(HTTPStatus.CONFLICT, "The votes of this listener were accepted before.")
        except sqlite3.Error as error:
            status, reason = _explain(error)
            print(f"samplernn: A result could not be stored: {reason}", file=sys.stderr, flush=True)
            return self._answer(status, f"The votes could not be stored: {reason} Please keep the file.")
        with suppress(OSError):  # answer the listener even if the terminal is closed
            print(
                f"{escape_control_characters(listener.name)}: accepted, {_listeners(count)} so far",
                flush=True,
            )
        self._answer(HTTPStatus.OK, "Your votes were accepted. Thank you!")

    def _body(self) -> bytes | None:
        """The body of the request; None if it was refused."""
        try:
            length = int(self.headers.get("Content-Length") or "")
        except ValueError:
            length = -1
        if length < 0:
            self._answer(HTTPStatus.LENGTH_REQUIRED, "The request does not say how long it is.")
            return None
        body = self._read(min(length, 8 * responses.MAX_BYTES))  # clients get no answer to an unread body
        if length > responses.MAX_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A result may have 1 MiB at most.")
            return None
        if len(body) < length:
            self._answer(HTTPStatus.BAD_REQUEST, "The request was incomplete; send it again.")
            return None
        return body

    def _read(self, length: int) -> bytes:
        """Read at most `length` bytes; fewer if the client stops or times out."""
        end = time.monotonic() + TIMEOUT
        body = bytearray()
        try:
            while len(body) < length and (left := end - time.monotonic()) > 0:
                self.connection.settimeout(left)
                block = self.rfile.read1(min(2**16, length - len(body)))
                if not block:
                    break
                body += block
        except TimeoutError:
            pass
        self.connection.settimeout(TIMEOUT)
        return bytes(body)

    def _answer(self, status: HTTPStatus, message: str) -> None:
        body = json.dumps({"ok": status == HTTPStatus.OK, "message": message})
        self._send(status, "application/json", body.encode())

    def _send(self, status: HTTPStatus, kind: str | None, body: bytes) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        is_page = kind != "application/json"
        self.send_header("Cache-Control", "no-cache" if is_page else "no-store")
        if is_page:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""


def _listeners(count: int) -> str:
    return f"{count} listener" + "s" * (count != 1)


# --- storing ------------------------------------------------------------------------------------------------


def add(store: Path, test: responses.Test, result: Any) -> int:
    """Store a validated result durably; return the number of listeners.

    Raises
    ------
    sqlite3.IntegrityError
        If this listener's result is already stored.
    sqlite3.Error
        If it cannot be stored.
    """
    row = (
        test.id,
        result["listener"],
        datetime.now(UTC).isoformat(timespec="seconds"),
        result["started"],
        result["finished"],
        len(result["votes"]),
        json.dumps(result),
    )
    with closing(_open(store)) as database:
        with database:
            database.execute(INSERT, row)
        return _count(database, test)


def count_stored(store: Path, test: responses.Test) -> int:
    """Count the listeners of `test` in the database `store`, which is created if missing.

    Raises
    ------
    sqlite3.Error
        If the file is damaged or cannot be written.
    """
    with closing(_open(store)) as database:
        with database:
            database.execute("BEGIN IMMEDIATE")  # fails if the database cannot be written
        return _count(database, test)


def _count(database: sqlite3.Connection, test: responses.Test) -> int:
    return database.execute("SELECT COUNT(*) FROM results WHERE test = ?", (test.id,)).fetchone()[0]


def _open(store: Path) -> sqlite3.Connection:
    database = sqlite3.connect(store, timeout=TIMEOUT)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # a commit survives a power failure
        database.execute(TABLE)
    except BaseException:
        database.close()
        raise
    return database


def _explain(error: sqlite3.Error) -> tuple[HTTPStatus, str]:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return HTTPStatus.INSUFFICIENT_STORAGE, "The disk is full; free some space."
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return (
            HTTPStatus.INSUFFICIENT_STORAGE,
            "The folder of the test is not writable; change its permissions.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return HTTPStatus.INTERNAL_SERVER_ERROR, f"The file {responses.STORE} is damaged; move it away."
    return HTTPStatus.INTERNAL_SERVER_ERROR, f"The database failed ({error})."
