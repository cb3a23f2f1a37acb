"""HTTP server of a listening test: serves the page and stores the result of each listener."""

import json
import signal
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import links, responses, store
from samplernn_theano.utils.text import say

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page has its own in addition
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

SLOW = "It took too long to arrive, or there were too many at once."


def serve(folder: Path, host: str, port: int, url: str = "") -> None:
    """Serve the listening test in `folder` until Ctrl-C or SIGTERM; see `make`."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with make(folder, host, port, url) as server, suppress(KeyboardInterrupt):
            say(f"The listening test is at {server.url} (Ctrl-C to stop)", sys.stdout)
            if server.tokens.invited:
                n = count_of(len(server.tokens.invited), "link")
                say(f"Only those with one of the {n} in {folder / links.LINKS} can take part.", sys.stdout)
            server.serve_forever()
        say(server.describe(), sys.stdout)
    finally:
        signal.signal(signal.SIGTERM, before)


def make(folder: Path, host: str, port: int, url: str = "") -> "Server":
    """Make a server of the listening test in `folder`, bound to `host` and `port` (0: any free one).

    Listeners reach it at `url`, by default at the address to which it is bound.
    """
    test = responses.read_test(folder)
    page = _read_page(folder)
    secret = store.create(folder / store.STORE)
    try:
        server = Server(host, port, test, page, folder / store.STORE)
    except (OSError, UnicodeError) as error:
        raise OutputError(
            f"Cannot serve at {host}, port {port}: {getattr(error, 'strerror', '') or error}; give another "
            "--port, or an address of this machine with --host."
        ) from error
    try:
        server.url = url or links.address_of(host, *server.socket.getsockname()[:2])
        server.tokens = links.Tokens(test.id, secret, _read_links(folder, server.url))
    except BaseException:
        server.server_close()
        raise
    return server


def _read_page(folder: Path) -> bytes:
    """The page in `folder`; made again if it is of an earlier version, which has no tokens."""
    try:
        found = (folder / "index.html").read_bytes()
    except OSError as error:
        raise DataError(f"There is no page index.html in {folder}; make the test again.") from error
    if responses.PAGE.encode() in found:
        return found
    from samplernn_theano.listening import page

    say("The page index.html is of an earlier version; listeners will see a new one.", sys.stdout)
    return page.render(folder).encode()


def _read_links(folder: Path, url: str) -> frozenset[str]:
    """The tokens of those who are invited, none if all are; their links get the address of the server."""
    path = folder / links.LINKS
    try:
        text = path.read_bytes().decode(errors="surrogateescape")  # a name may be of any encoding
        links.write_private(path, links.complete(text, url))
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise DataError(f"{path} cannot be read; restore a copy, or move it away.") from error
    if not (tokens := links.invited(text)):
        raise DataError(f"There is no link in {path}; restore a copy, or move it away.")
    return tokens


class Server(ThreadingHTTPServer):
    """HTTP server with a thread for each request."""

    request_queue_size = 128
    max_connections = 200  # the oldest is given up for a further one
    url: str
    tokens: links.Tokens

    def __init__(self, host: str, port: int, test: responses.Test, page: bytes, path: Path) -> None:
        self.test, self.page, self.store = test, page, path
        self.names = {"localhost", socket.gethostname(), host or "localhost"}
        self.deadlines: dict[socket.socket, float] = {}  # of the connections, the oldest first
        self.refused: Counter[str] = Counter()
        self.lock = threading.Lock()
        kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
        self.address_family, *_, address = socket.getaddrinfo(host or None, port, 0, kind, 0, flags)[0]
        super().__init__(address, Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Bind without a DNS look-up of the machine's name, which can take long."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a request in a thread, of which there are not too many."""
        for oldest in list(self.deadlines)[: max(0, len(self.deadlines) + 1 - self.max_connections)]:
            self._give_up(oldest)
        self.deadlines[request] = time.monotonic() + Handler.header_timeout
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Give up requests that take too long to arrive, and answers that take too long to leave."""
        now = time.monotonic()
        for request, deadline in list(self.deadlines.items()):
            if deadline < now:
                self._give_up(request)

    def _give_up(self, request: socket.socket) -> None:
        if self.deadlines.pop(request, None):
            self.refuse(SLOW)
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def refuse(self, reason: str) -> None:
        """Count a refusal, and say the first for this reason."""
        with self.lock:
            self.refused[reason] += 1
            first = self.refused[reason] == 1
        if first:
            say(f"samplernn: A request was refused: {reason}")

    def describe(self) -> str:
        """What was stored and what was refused."""
        try:
            n = store.count(self.store, self.test)
            stored = f"The votes of {count_of(n, 'listener')} are in {self.store}"
        except OutputError as error:
            n, stored = 1, f"The votes in {self.store} cannot be read: {error}"
        refused = (
            f"{count_of(times, 'request')} refused: {why}" for why, times in self.refused.most_common()
        )
        return "\n".join(["The server has stopped.", stored if n else "No votes have arrived.", *refused])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnected."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            say(f"samplernn: A request failed: {error!r}")


class Handler(BaseHTTPRequestHandler):
    """Handler of requests for the page and of posted results; no other file is served."""

    server: Server
    server_version = "samplernn"
    sys_version = ""
    timeout = 30.0  # seconds to wait for the client to send something
    header_timeout = 60.0  # seconds for all headers of a request, however often it does
    body_timeout = 120.0  # seconds for its content
    answer_timeout = 600.0  # seconds for a whole answer: a page of megabytes on a slow line

    def parse_request(self) -> bool:
        """Read the headers."""
        whole = super().parse_request()
        self._allow(self.body_timeout)
        return whole

    def _is_foreign(self) -> bool:
        """Answer a request that comes through the name or a page of another site; else return False."""
        host, origin = f"//{self.headers.get('Host', '')}", self.headers.get("Origin")
        names = {*self.server.names, _split(self.server.url).hostname or "localhost"}
        if not links.is_own(_split(host).hostname or "", names):
            message = "Open the address that the server printed, or start it with --url and this address."
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, message)
            return True
        if origin is not None and _site(origin) not in (_site(host), _site(self.server.url)):
            self._answer(HTTPStatus.FORBIDDEN, "The request comes from a page of another site.")
            return True
        return False

    def do_GET(self) -> None:
        """Send the page; whoever comes without a token gets one, unless listeners are invited."""
        if self._is_foreign():
            return
        target = _split(self.path)
        if target.path not in ("/", "/index.html"):
            return self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
        query = dict(parse_qsl(target.query))
        if self.server.tokens.admit(token := query.get("token", "")):
            try:
                store.first_opening(self.server.store, token)
            except OutputError as error:  # the votes could not be stored either
                return self._cannot_store("The opening of the page", error, "Please open it again later.")
            return self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        if self.server.tokens.invited:
            return self._answer(
                HTTPStatus.FORBIDDEN, "This test is for invited listeners; open your own link."
            )
        again = urlencode(query | {"token": self.server.tokens.draw()})
        self._send(HTTPStatus.FOUND, "text/plain", b"", Location=f"?{again}")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Store the result of a listener."""
        length = self.headers.get("Content-Length", "")
        if not (length.isdecimal() and len(length) < 10):
            return self._answer(HTTPStatus.LENGTH_REQUIRED, "The request does not say how long it is.")
        raw = self._read(int(length))
        if self._is_foreign():
            return
        if _split(self.path).path != "/results":
            return self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
        # Pages of other sites cannot post this type without the server's permission.
        if self.headers.get_content_type() != "application/json":
            return self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Results must be application/json.")
        if len(raw) > responses.MAX_BYTES:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, responses.TOO_LARGE)
        try:
            listener, result = responses.parse(raw, self.server.test)
        except DataError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, str(error))
        if not self.server.tokens.admit(listener.token):
            message = "The page was not opened by a link of this test; open the link again."
            return self._answer(HTTPStatus.FORBIDDEN, message)
        if not responses.presented(listener.name, listener.votes, self.server.test):
            return self._answer(HTTPStatus.BAD_REQUEST, "The votes are not on the pairs of this listener.")
        try:
            stored = store.add(self.server.store, self.server.test, result)
        except OutputError as error:
            return self._cannot_store("The votes", error, "Please keep the file.")
        self._accept(listener.name, stored)

    def _cannot_store(self, what: str, error: OutputError, advice: str) -> None:
        message = f"{what} could not be stored: {error}"
        say(f"samplernn: {message}")
        self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{message} {advice}")

    def _accept(self, name: str, stored: store.Stored) -> None:
        so_far = f"{count_of(stored.listeners, 'listener')} so far"
        message, known = "Your votes were accepted. Thank you!", f"{stored.name}: accepted, {so_far}"
        if stored.repeated:
            message, known = "Your votes were accepted before. Thank you!", f"{stored.name}: sent again"
        elif name != stored.name:
            reason = f"because there are other votes of {name}"
            message = f"Your votes were accepted under the name {stored.name}, {reason}. Thank you!"
            known += f" ({reason})"
        say(known, sys.stdout)
        self._answer(HTTPStatus.OK, message)

    def _read(self, length: int) -> bytes:
        """The content of a request, or as much of it as shows that it is too large."""
        raw = self.rfile.read(min(length, responses.MAX_BYTES + 1))
        left = min(length, 8 * responses.MAX_BYTES) - len(raw)
        while left > 0:  # else no answer reaches the client
            if not (more := len(self.rfile.read(min(left, 2**16)))):
                raise ConnectionError("the client has gone")
            left -= more
        return raw

    def _allow(self, seconds: float) -> None:
        if self.connection in self.server.deadlines:
            self.server.deadlines[self.connection] = time.monotonic() + seconds

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that cannot be read."""
        self._answer(HTTPStatus(code), f"{HTTPStatus(code).phrase}.")

    def _answer(self, status: HTTPStatus, message: str) -> None:
        if status.is_client_error:
            self.server.refuse(message)
        body = json.dumps({"ok": status == HTTPStatus.OK, "message": message})
        self._send(status, "application/json", body.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes, **more: str) -> None:
        self._allow(self.answer_timeout)
        self.connection.settimeout(self.answer_timeout)
        self.send_response(status)
        more |= {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in {**HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""


def _site(url: str) -> tuple[str, str]:
    """Host and port of an address as browsers send them, who leave out that of the protocol."""
    parts = _split(url)
    port = parts.netloc.rpartition("]")[2].partition(":")[2]
    return links.ascii_name(parts.hostname or ""), "" if port in ("80", "443") else port


def _split(url: str) -> SplitResult:
    """The parts of an address; none if it is not one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
