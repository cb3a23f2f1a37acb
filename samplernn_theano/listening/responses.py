"""Reading and validating listening tests and the responses of listeners."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from samplernn_theano.errors import DataError

FORMAT = "samplernn listening test 1"
"""Format of test.json and of the result of a listener."""

STORE = "results.sqlite"
"""File in the folder of a test with the results collected by its server."""

MAX_BYTES = 2**20
"""Maximum size of a result."""

FIELDS = {"format", "test", "listener", "started", "finished", "votes"}
VOTE_FIELDS = {"pair", "a", "b", "vote", "seconds", "plays_a", "plays_b"}

# --- the test -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    """The contents of test.json."""

    id: str
    title: str
    pairs: int
    """Pairs per listener."""
    seconds: float
    """Length of a sound."""
    system_of: dict[str, str]
    """System of each sound, both as anonymous ids."""

    __test__ = False  # pytest would collect a class of this name


def read_test(folder: Path) -> Test:
    """Read the listening test in `folder`.

    Raises
    ------
    DataError
        If there is none, or its test.json is damaged.
    """
    path = folder / "test.json"
    found = _read_json(path, folder)
    try:
        sounds = {str(sound): str(system) for system, ids in found["systems"].items() for sound in ids}
        test = Test(
            str(found["id"]), str(found["title"]), int(found["pairs"]), float(found["seconds"]), sounds
        )
        if found["format"] != FORMAT or len(set(sounds.values())) < 2:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} does not describe a listening test; make the test again.") from error
    return test


def read_names(folder: Path, test: Test) -> dict[str, str]:
    """Read the names of the systems by id from key.json.

    Raises
    ------
    DataError
        If the key is missing, damaged, or of another test.
    """
    path = folder / "key.json"
    found = _read_json(path, folder)
    try:
        names = {str(system): str(name) for system, name in found["systems"].items()}
        test_id = str(found["test"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not the key of a listening test; restore it from a copy of the folder."
        ) from error
    if test_id != test.id or not set(test.system_of.values()) <= set(names):
        raise DataError(f"{path} is the key of another test; use key.json and test.json of one folder.")
    return names


def _read_json(path: Path, folder: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"There is no {path.name} in {folder}; name a folder made by `samplernn listening-test make`."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged; make the test again.") from error


# --- the result of a listener -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vote:
    """The vote of a listener on one pair of sounds."""

    a: str
    """The sound presented as A."""
    b: str
    vote: str
    """a, b or none."""
    seconds: float | None
    """Time that the listener spent on the pair."""
    plays_a: int
    plays_b: int


@dataclass(frozen=True)
class Listener:
    """The votes of one listener."""

    name: str
    votes: tuple[Vote, ...]
    unanswered: int = 0
    """Number of presented pairs without a vote."""


def check(found: Any, test: Test) -> Listener:
    """Validate the result of a listener, parsed from JSON.

    Raises
    ------
    DataError
        If it is invalid, incomplete or of another test.
    """
    _require(isinstance(found, dict) and found.get("format") == FORMAT, "Not the result of a listening test.")
    _require(found.get("test") == test.id, "This is the result of another test.")
    _require(found.keys() == FIELDS, "The result has missing or unknown fields.")
    name = found["listener"]
    valid = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and not name.isspace()
    _require(valid, "The listener must be a name of 1 to 100 characters.")
    started, finished = _time(found["started"]), _time(found["finished"])
    _require(
        started is not None and finished is not None and started <= finished,
        "The times must be ISO times with a time zone, the start before the end.",
    )
    votes = found["votes"]
    _require(
        isinstance(votes, list) and len(votes) == test.pairs, f"The result must have {test.pairs} votes."
    )
    checked = tuple(_vote(vote, number, test) for number, vote in enumerate(votes, 1))
    _require(
        sorted(vote["pair"] for vote in votes) == list(range(test.pairs)),
        "The pairs must be numbered from 0, each once.",
    )
    return Listener(name, checked)


def _vote(found: Any, number: int, test: Test) -> Vote:
    name = f"Vote {number}"
    complete = isinstance(found, dict) and found.keys() == VOTE_FIELDS
    _require(complete, f"{name} has missing or unknown fields.")
    a, b, seconds = found["a"], found["b"], found["seconds"]
    for sound in (a, b):
        _require(isinstance(sound, str) and sound in test.system_of, f"{name} names an unknown sound.")
    _require(test.system_of[a] != test.system_of[b], f"{name} is between two sounds of one system.")
    _require(found["vote"] in ("a", "b", "none"), f"{name} is neither a, b nor none.")
    valid = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    _require(valid and 0 <= seconds < 1e9, f"The seconds of vote {number} are not a duration.")
    for count in ("pair", "plays_a", "plays_b"):
        valid = type(found[count]) is int and 0 <= found[count] < 1e9
        _require(valid, f"{name}: {count} must be an integer from 0.")
    return Vote(a, b, found["vote"], float(seconds), found["plays_a"], found["plays_b"])


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(message)


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else None


def parse(raw: bytes, test: Test) -> tuple[Listener, Mapping[str, Any]]:
    """Parse the result of a listener from a file or request; also return the parsed JSON.

    Raises
    ------
    DataError
        If it is invalid, incomplete or of another test.
    """
    _require(len(raw) <= MAX_BYTES, "This is too large to be the result of a listener.")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError("This is not JSON, or it is damaged.") from error
    return check(found, test), found


# --- the store ----------------------------------------------------------------------------------------------


def read_store(path: Path, test: Test) -> tuple[list[Listener], list[str]]:
    """Read the results stored by the server, and a sentence for each invalid row.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    listeners, problems = [], []
    try:
        rows = _rows(path)
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be read ({error}); restore a copy, or move it away.") from error
    for number, raw in rows:
        try:
            listeners.append(parse(raw.encode() if isinstance(raw, str) else bytes(raw or b""), test)[0])
        except DataError as error:
            problems.append(f"{path}, row {number}, is left out: {error}")
    return listeners, problems


def _rows(path: Path) -> list[tuple[int, Any]]:
    """The rows in the order of arrival, read without writing or locking out a running server."""
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    select = "SELECT id, raw FROM results ORDER BY id"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            return database.execute(select).fetchall()
    except sqlite3.OperationalError:  # SQLite cannot write its auxiliary files in a read-only folder
        with closing(sqlite3.connect(f"{address}&immutable=1", uri=True)) as database:
            return database.execute(select).fetchall()
