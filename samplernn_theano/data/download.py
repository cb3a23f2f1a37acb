"""Download and verify recordings from archive.org.

A recording gets its name only when it is complete and has the checksum listed by its item. Until then it is
stored as ``.NAME.part``; the next run resumes from there, even if the last one was killed.

The client `internetarchive` provides the session, its retries and the addresses of files. Its own download is
not used: it deletes partial files when the connection breaks too often, and verifies only resumed files.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import quote, urlsplit

from samplernn_theano.data.manifest import listed
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import atomic_replace, locked, sync, write_error_message
from samplernn_theano.utils.progress import Bar, progress_bar
from samplernn_theano.utils.text import parse_json
from samplernn_theano.utils.version import package_version

if TYPE_CHECKING:
    from internetarchive import ArchiveSession
    from requests import Response

SERVER = "https://archive.org"

_CHUNK = 2**14  # bytes: at most so much is lost when the connection breaks
_TIMEOUT = 30  # seconds without data from the server
_PAUSE = 3  # seconds before resuming after a broken connection
_TRIES = 4  # consecutive requests without new data


class _Recording(NamedTuple):
    identifier: str  # of its item
    name: str
    url: str
    size: int  # bytes
    md5: str
    path: Path  # destination


class _AbsentError(Exception):
    """Not in the archive, or not public."""


class _FailedError(Exception):
    """A failed download of something that should be in the archive."""


class _BrokenError(Exception):
    """The connection broke during a response."""


def download(
    identifiers: Sequence[str],
    folder: str | Path,
    suffixes: Sequence[str] = (".ogg",),
    server: str = SERVER,
    progress: bool = True,
) -> list[str]:
    """Download the recordings of items to ``folder/IDENTIFIER/NAME``.

    Files with the right size and checksum (MD5) are not downloaded again; partial files are resumed. An error
    is raised after all others were downloaded, unless the server becomes unreachable.

    Parameters
    ----------
    identifiers
        Names of items, as in ``https://archive.org/details/IDENTIFIER``.
    suffixes
        Suffixes of recordings in any case, the preferred one first. From each item all files with the first
        suffix that occurs are taken: ``("_64kb.mp3", ".mp3")`` gives one format of each chapter.

    Returns
    -------
    list of str
        Name and reason of the items that do not exist, are withdrawn or restricted or have no such file, and
        of files that are not on the server. All others are complete. If that is every item, it is an error.
    """
    session = _session(server)
    missing: list[tuple[str, str]] = []  # identifier, reason
    failures: list[str] = []

    @contextmanager
    def attempt(identifier: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except _AbsentError as absent:
            missing.append((identifier, f"{name} {absent}".lstrip()))
        except _FailedError as error:
            failures.append(f"Item {identifier}{f', file {name}' if name else ''}: {error}")
        except OSError as error:
            raise OutputError(write_error_message(Path(folder, identifier, name), error)) from error

    with locked(Path(folder)), progress_bar("look up", unit="B", visible=progress) as bar:
        recordings: list[_Recording] = []
        for identifier in identifiers:
            bar.stage = f"look up {identifier}"
            with attempt(identifier):
                recordings += _recordings(session, identifier, Path(folder), suffixes)
        bar.total = sum(recording.size for recording in recordings)
        for recording in recordings:
            bar.stage = f"download {recording.identifier}"
            with attempt(recording.identifier, recording.name):
                _fetch(session, recording, bar)
    if failures:
        more = f" (and {len(failures) - 1} more that failed)" if len(failures) > 1 else ""
        raise DataError(f"{failures[0]}{more}; run the command again: complete files are kept.")
    lines = [f"{identifier}: {reason}" for identifier, reason in missing]
    if missing and {identifier for identifier, _ in missing} == set(identifiers):
        raise DataError("\n".join(listed(f"{server} has none of the items", lines)))
    return lines


def _session(server: str) -> "ArchiveSession":
    try:
        import internetarchive
        from urllib3 import Retry
    except ImportError as error:
        raise DataError(
            "Downloading needs the package internetarchive: pip install 'samplernn-theano[datasets]' "
            "(conda: conda install -c conda-forge internetarchive); "
            "or give a folder with the recordings by --source."
        ) from error
    address = urlsplit(server)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise DataError(f"{server} is not the address of a server; write it like https://archive.org.")
    retry = Retry(4, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    # An empty configuration file: no account is needed.
    session = internetarchive.get_session(config_file=os.devnull, http_adapter_kwargs={"max_retries": retry})
    session.protocol, session.host = f"{address.scheme}:", address.netloc
    session.headers["User-Agent"] = (
        f"samplernn-theano/{package_version()} internetarchive/{internetarchive.__version__}"
    )
    session.mount_http_adapter(host=address.netloc)
    # The archive redirects to the host of the item, where requests must be retried too.
    session.mount(f"{session.protocol}//", session.get_adapter(server))
    return session


def _recordings(
    session: "ArchiveSession", identifier: str, folder: Path, suffixes: Sequence[str]
) -> list[_Recording]:
    """The recordings of an item, sorted by name."""
    if not _is_safe(identifier):
        raise _FailedError("this is not the name of an item")
    metadata = _metadata(session, identifier)
    if metadata == {}:
        raise _AbsentError("there is no such item")
    try:
        if metadata.get("is_dark"):
            raise _AbsentError("withdrawn from the archive")
        if "files" not in metadata:
            raise _FailedError(f"the server answers {metadata.get('error', 'without a list of its files')}")
        item = session.get_item(identifier, item_metadata=metadata)
        files = [(file.name.lower(), file) for file in item.get_files()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _FailedError("the server does not send the list of its files") from error
    for suffix in suffixes:
        if found := [file for lower, file in files if lower.endswith(suffix.lower())]:
            break
    else:
        raise _AbsentError(f"has no file named {' or '.join('*' + suffix for suffix in suffixes)}")
    for file in found:
        if not _is_safe(file.name):
            raise _FailedError(f"it has a file named {file.name!r}, which is not safe, so it is left out")
        if not file.md5 or not file.size:
            raise _FailedError(f"it lists no size or no checksum of {file.name}, so it is left out")
    return [
        _Recording(identifier, file.name, file.url, file.size, file.md5, folder / identifier / file.name)
        for file in sorted(found, key=lambda file: file.name)
    ]


def _is_safe(name: str) -> bool:
    """True if `name`, from the server, stays inside the destination folder."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)


def _metadata(session: "ArchiveSession", identifier: str) -> dict:
    url = f"{session.protocol}//{session.host}/metadata/{quote(identifier, safe='')}"
    for _ in range(_TRIES):
        try:
            with _get(session, url) as response:
                if _is_web_page(response):
                    raise _FailedError("the server sends a web page instead of the list of its files")
                return parse_json(b"".join(_chunks(response)))
        except _BrokenError:
            time.sleep(_PAUSE)
        except ValueError as error:
            raise _FailedError("the server does not send the list of its files") from error
    raise _FailedError("the connection keeps breaking")


def _fetch(session: "ArchiveSession", recording: _Recording, bar: Bar) -> None:
    """Download and verify a recording, unless it is complete already."""
    path = recording.path
    if _is_complete(path, recording):
        bar.advance(recording.size)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    for _ in range(2):
        with open(partial, "ab") as out:
            bar.advance(out.tell())
            _receive(session, recording, out, bar)
        if _is_complete(partial, recording):
            sync(partial)
            atomic_replace(partial, path)
            return
        bar.advance(-partial.stat().st_size)
        partial.unlink()
    raise _FailedError("its checksum differs from the one that its item lists, twice")


def _is_complete(path: Path, recording: _Recording) -> bool:
    if not path.is_file() or path.stat().st_size != recording.size:
        return False
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest() == recording.md5


def _receive(session: "ArchiveSession", recording: _Recording, out: BinaryIO, bar: Bar) -> None:
    """Append the rest to `out`, over several connections if necessary."""
    failures = 0
    while out.tell() < recording.size:
        if failures == _TRIES:
            raise _FailedError("the connection keeps breaking")
        before = out.tell()
        try:
            if not _append(session, recording, out, bar):
                return
        except _BrokenError:
            time.sleep(_PAUSE)
        failures = 0 if out.tell() > before else failures + 1


def _append(session: "ArchiveSession", recording: _Recording, out: BinaryIO, bar: Bar) -> bool:
    """Append the response of one request to `out`; return False if the server has no more data."""
    start = out.tell()
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with _get(session, recording.url, headers) as response:
        if response.status_code == 416:
            return False
        if _is_web_page(response):
            raise _FailedError("the server sends a web page instead of the recording")
        if start and response.status_code != 206:  # the whole file, although a part was requested
            out.seek(0)
            out.truncate()
            bar.advance(-start)
        for chunk in _chunks(response):
            out.write(chunk)
            bar.advance(len(chunk))
            if out.tell() > recording.size:
                break
    return True


def _get(session: "ArchiveSession", url: str, headers: dict[str, str] | None = None) -> "Response":
    try:
        # The client uses this parameter so that requests do not count as views.
        response = session.get(url, params={"cnt": 0}, headers=headers, stream=True, timeout=_TIMEOUT)
    except OSError as error:  # base class of all errors of requests
        cause = error.args[0] if error.args else error
        reason = str(getattr(cause, "reason", cause)).rsplit(": ", 1)[-1]
        raise DataError(
            f"{session.protocol}//{session.host}: no connection ({reason}); check the connection and run the "
            "command again: complete files are kept."
        ) from error
    code, status = response.status_code, f"{response.status_code} {response.reason}"
    if code in (401, 403, 404):
        raise _AbsentError(f"is not {'on the server' if code == 404 else 'public'} ({status})")
    if code >= 400 and code != 416:
        raise _FailedError(f"the server answers {status}")
    return response


def _is_web_page(response: "Response") -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def _chunks(response: "Response") -> Iterator[bytes]:
    try:
        yield from response.iter_content(_CHUNK)
    except OSError as error:  # base class of all errors of requests
        raise _BrokenError from error
