"""The results that the server of a listening test has collected: an SQLite database in its folder."""

import json
import math
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import links
from samplernn_theano.listening.responses import Listener, Test, free_name, parse
from samplernn_theano.utils.text import parse_json

STORE = "results.sqlite"  # file in the folder of a test

TABLES = """
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
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
"""

REASONS = {
    "SQLITE_FULL": "The disk is full; free some space.",
    "SQLITE_READONLY": "The folder of the test is not writable; change its permissions.",
    "SQLITE_CANTOPEN": "The folder of the test is not writable; change its permissions.",
    "SQLITE_CORRUPT": f"The file {STORE} is damaged; move it away.",
    "SQLITE_NOTADB": f"The file {STORE} is damaged; move it away.",
}
"""What to do about errors of the database, by the beginning of their names."""


def create(store: Path) -> bytes:
    """Make the database if there is none; return the secret of the server, which stays the same."""
    try:
        with closing(_open(store)) as database, database:
            database.execute("BEGIN IMMEDIATE")  # fails if the database cannot be written
            new = "INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT * FROM secret)"
            database.execute(new, (secrets.token_bytes(32),))
            return bytes(database.execute("SELECT value FROM secret").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise OutputError(f"Results cannot be stored in {store}: {explain(error)}") from error


class Stored(NamedTuple):
    """What became of a result."""

    name: str  # of the listener, another one than in the result if that was taken
    repeated: bool  # the same result was stored before
    listeners: int  # number of all


def add(store: Path, test: Test, result: Any) -> Stored:
    """Store a checked result durably, once, under a name of its own."""
    row = {name: result[name] for name in ("started", "finished")} | {"test": test.id}
    with closing(_open(store)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        found = database.execute("SELECT listener FROM results WHERE test = :test", row)
        names = {name for (name,) in found}
        same = "test = :test AND started = :started AND finished = :finished"
        for name, raw in database.execute(f"SELECT listener, raw FROM results WHERE {same}", row):
            if _without_token(parse_json(raw)) == _without_token(result):
                return Stored(name, True, len(names))
        row |= {"listener": free_name(result["listener"], names)}
        row |= {"received": datetime.now(UTC).isoformat(timespec="seconds")}
        row |= {"votes": len(result["votes"]), "raw": json.dumps(result)}
        columns = ", ".join(row)
        database.execute(f"INSERT INTO results ({columns}) VALUES (:{columns.replace(', ', ', :')})", row)
    return Stored(row["listener"], False, len(names) + 1)


def count(store: Path, test: Test) -> int:
    """The number of stored results of a test."""
    with closing(_open(store)) as database:
        found = database.execute("SELECT COUNT(*) FROM results WHERE test = ?", (test.id,))
        return int(found.fetchone()[0])


def _without_token(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "token"}


def _open(store: Path) -> sqlite3.Connection:
    database = sqlite3.connect(store, timeout=30.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # a commit survives a power failure
        database.executescript(TABLES)
    except BaseException:
        database.close()
        raise
    return database


def explain(error: sqlite3.Error) -> str:
    """What is wrong with the database, and what to do."""
    name = getattr(error, "sqlite_errorname", "")
    reasons = (reason for start, reason in REASONS.items() if name.startswith(start))
    return next(reasons, f"The database failed ({error}).")


def read(path: Path, test: Test) -> tuple[list[Listener], list[str]]:
    """Read the results stored by the server, and a sentence for each that cannot be read."""
    if not path.exists():
        return [], []
    # Without writing or locking out a running server; SQLite needs auxiliary files unless told "immutable".
    mode = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)) as database:
            rows = database.execute("SELECT id, received, raw FROM results ORDER BY id").fetchall()
    except sqlite3.Error as error:
        return [], [f"{path} cannot be read ({error}); restore a copy, or move it away."]
    listeners, problems = [], []
    for number, received, raw in rows:
        try:
            own, _ = parse(raw.encode() if isinstance(raw, str) else bytes(raw or b""), test)
            listeners.append(replace(own, remarks=own.remarks + _early(own, received, test)))
        except DataError as error:
            problems.append(f"{path}, row {number}, is left out: {error}")
    return listeners, problems


def _early(listener: Listener, received: Any, test: Test) -> tuple[str, ...]:
    """Whether the votes were sent before the sounds can have been heard, by the clock of the server."""
    drawn, sounds = links.drawn_at(listener.token), 2 * test.seconds * len(listener.votes)
    try:
        taken = datetime.fromisoformat(received).timestamp() - drawn if drawn else math.inf
    except (TypeError, ValueError):
        taken = math.inf
    if taken + 1 >= sounds:
        return ()
    return (f"sent the votes {taken:.0f} s after opening the page, whose sounds last {sounds:.0f} s",)
