"""What the server of a listening test stores: the results, and what it must remember, in SQLite databases.

They are two files in its folder, so that a server that begins with new results still knows its listeners.
"""

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import links
from samplernn_theano.listening.responses import Listener, Test, free_name, parse
from samplernn_theano.utils.text import parse_json

STORE, MEMORY = "results.sqlite", "server.sqlite"  # files in the folder of a test

TABLES = {
    STORE: """
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
);
CREATE TABLE IF NOT EXISTS openings (
    result INTEGER PRIMARY KEY,
    opened REAL NOT NULL
);
""",
    MEMORY: """
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS openings (token TEXT PRIMARY KEY, opened REAL NOT NULL);
""",
}
"""Times are in seconds since 1970, but for ISO times in texts."""

REASONS = {
    "SQLITE_FULL": "The disk is full; free some space.",
    "SQLITE_READONLY": "The folder of the test is not writable; change its permissions.",
    "SQLITE_CANTOPEN": "The folder of the test is not writable; change its permissions.",
    "SQLITE_CORRUPT": "The file {} is damaged; move it away.",
    "SQLITE_NOTADB": "The file {} is damaged; move it away.",
}
"""What to do about errors of the database, by the beginning of their names."""


def create(store: Path) -> bytes:
    """Make the databases if there are none; return the secret of the server, which stays the same."""
    try:
        with _transaction(store):  # fails if the database cannot be written
            pass
        with _transaction(store.with_name(MEMORY)) as database:
            new = "INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT * FROM secret)"
            database.execute(new, (secrets.token_bytes(32),))
            return bytes(database.execute("SELECT value FROM secret").fetchone()[0])
    except OutputError as error:
        raise OutputError(f"Results cannot be stored in {store}: {error}") from error


def first_opening(store: Path, token: str) -> float:
    """When the page was first opened with a token, in seconds since 1970: now, if it was not before."""
    if drawn := links.drawn_at(token):
        return drawn
    with _transaction(store.with_name(MEMORY)) as database:
        database.execute("INSERT OR IGNORE INTO openings VALUES (?, ?)", (token, time.time()))
        found = database.execute("SELECT opened FROM openings WHERE token = ?", (token,))
        return float(found.fetchone()[0])


class Stored(NamedTuple):
    """What became of a result."""

    name: str  # of the listener, another one than in the result if that was taken
    repeated: bool  # the same result was stored before
    listeners: int  # number of all


def add(store: Path, test: Test, result: Any) -> Stored:
    """Store a checked result durably, once, under a name of its own."""
    row = {name: result[name] for name in ("started", "finished")} | {"test": test.id}
    opened = first_opening(store, token) if (token := result.get("token")) else None
    with _transaction(store) as database:
        found = database.execute("SELECT listener FROM results WHERE test = :test", row)
        names = {name for (name,) in found}
        same = "test = :test AND started = :started AND finished = :finished"
        for name, raw in database.execute(f"SELECT listener, raw FROM results WHERE {same}", row):
            if _without_token(parse_json(raw)) == _without_token(result):
                return Stored(name, True, len(names))
        row |= {"listener": free_name(result["listener"], names)}
        row |= {"received": datetime.now(UTC).isoformat(timespec="milliseconds")}
        row |= {"votes": len(result["votes"]), "raw": json.dumps(result)}
        columns = ", ".join(row)
        new = f"INSERT INTO results ({columns}) VALUES (:{columns.replace(', ', ', :')})"
        number = database.execute(new, row).lastrowid
        if opened is not None:
            database.execute("INSERT INTO openings VALUES (?, ?)", (number, opened))
    return Stored(row["listener"], False, len(names) + 1)


def count(store: Path, test: Test) -> int:
    """The number of stored results of a test."""
    with _transaction(store) as database:
        found = database.execute("SELECT COUNT(*) FROM results WHERE test = ?", (test.id,))
        return int(found.fetchone()[0])


def _without_token(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "token"}


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """Change a database, durably, if the block succeeds; an OutputError says what is wrong with it."""
    try:
        with closing(_open(path)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            yield database
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        reasons = (reason for start, reason in REASONS.items() if name.startswith(start))
        reason = next(reasons, f"The database failed ({error}).")
        raise OutputError(reason.replace("{}", path.name)) from error


def _open(path: Path) -> sqlite3.Connection:
    with suppress(OSError):  # SQLite says what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # only its owner can read it
    database = sqlite3.connect(path, timeout=30.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # a commit survives a power failure
        database.executescript(TABLES[path.name])
    except BaseException:
        database.close()
        raise
    return database


def read(path: Path, test: Test) -> tuple[list[Listener], list[str]]:
    """Read the results stored by the server, and a sentence for each that cannot be read."""
    if not path.exists():
        return [], []
    # Without writing or locking out a running server; SQLite needs auxiliary files unless told "immutable".
    mode = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)) as database:
            rows = database.execute("SELECT id, received, raw FROM results ORDER BY id").fetchall()
            kept = database.execute("SELECT * FROM sqlite_master WHERE name = 'openings'").fetchone()
            openings = dict(database.execute("SELECT result, opened FROM openings")) if kept else {}
    except sqlite3.Error as error:
        return [], [f"{path} cannot be read ({error}); restore a copy, or move it away."]
    listeners, problems = [], []
    for number, received, raw in rows:
        raw = raw.encode() if isinstance(raw, str) else bytes(raw or b"")
        try:
            listeners.append(parse(raw, test, openings.get(number), _seconds(received))[0])
        except DataError as error:
            problems.append(f"{path}, row {number}, is left out: {error}")
    return listeners, problems


def _seconds(received: Any) -> float | None:
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(received).timestamp()
    return None
