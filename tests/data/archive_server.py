"""A small archive.org on this machine: /metadata/ID and /download/ID/NAME, with faults on request."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit


class Request(NamedTuple):
    path: str  # without the query
    range: str | None
    agent: str | None


class Fault(NamedTuple):
    """A failure: `kind` is a status (404, 503, ...) or one of

    - "cut": the connection breaks after `n` bytes of the response;
    - "wrong": the last byte is changed;
    - "page": a web page with status 200;
    - "whole": the requested range is ignored;
    - "moved": the client is sent to this server under another name;
    - "slow": `n` bytes at a time, 50 a second.
    """

    kind: int | str
    n: int = 0


class ArchiveServer:
    """Serves ``items``, {identifier: {file name: bytes}}, at `url` until the context ends.

    `requests` lists all requests. `metadata` holds the responses to /metadata/ID; it may be changed.
    """

    def __init__(self, items: dict[str, dict[str, bytes]]) -> None:
        self.items = items
        self.metadata: dict[str, Any] = {name: _metadata(name, files) for name, files in items.items()}
        self.requests: list[Request] = []
        self._faults: dict[str, list[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ArchiveServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, path: str, kind: int | str, n: int = 0, times: int | None = None) -> None:
        """Let the next `times` requests of `path` (such as /download/ID/NAME) fail, or all (None)."""
        if times is None:
            self._always[path] = Fault(kind, n)
        else:
            self._faults.setdefault(path, []).extend([Fault(kind, n)] * times)

    def repair(self) -> None:
        """Remove all faults and clear the requests."""
        self._faults.clear()
        self._always.clear()
        self.requests.clear()

    def next_fault(self, path: str) -> Fault | None:
        waiting = self._faults.get(path)
        return waiting.pop(0) if waiting else self._always.get(path)

    def downloads(self) -> list[str]:
        """ID/NAME of the requested files, in order."""
        start = "/download/"
        return [r.path.removeprefix(start) for r in self.requests if r.path.startswith(start)]


def _metadata(identifier: str, files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "metadata": {"identifier": identifier, "mediatype": "audio"},
        "files": [
            {"name": name, "size": str(len(content)), "md5": hashlib.md5(content).hexdigest()}
            for name, content in files.items()
        ],
    }


def _handler(archive: ArchiveServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            range_header = self.headers.get("Range")
            archive.requests.append(Request(path, range_header, self.headers.get("User-Agent")))
            fault = archive.next_fault(path) or Fault("none")
            body, kind = self.content(path)
            if isinstance(fault.kind, int) or body is None:
                return self.send_error(fault.kind if isinstance(fault.kind, int) else 404)
            if fault.kind == "moved":
                self.send_response(302)
                self.send_header("Location", archive.url.replace("127.0.0.1", "localhost") + self.path)
                return self.end_headers()
            if fault.kind == "page":
                body, kind = b"<!DOCTYPE html><title>Sign in</title>", "text/html; charset=utf-8"
            if fault.kind == "wrong":
                body = body[:-1] + bytes([body[-1] ^ 1])
            start = int(range_header.removeprefix("bytes=").split("-")[0]) if range_header else 0
            if fault.kind in ("whole", "page"):
                start = 0
            if start and start >= len(body):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.send_body(body[start:], fault)

        def content(self, path: str) -> tuple[bytes | None, str]:
            _, what, identifier, *name = path.split("/", 3)
            if what == "metadata":
                return json.dumps(archive.metadata.get(identifier, {})).encode(), "application/json"
            return archive.items.get(identifier, {}).get("".join(name)), "audio/ogg"

        def send_body(self, body: bytes, fault: Fault) -> None:
            if fault.kind == "cut":
                body = body[: fault.n]
            step = fault.n if fault.kind == "slow" else len(body) or 1
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                if fault.kind == "slow" and archive.stopping.wait(0.02):
                    return

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # the client went away
                pass

    return Handler
