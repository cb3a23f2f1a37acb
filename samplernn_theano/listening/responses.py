"""What a listening test is, and what a listener says in it: read from files and checked."""

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
"""In test.json and in the result of a listener."""

STORE = "results.sqlite"
"""The file, in the folder of a test, of the results that its server collected."""

LARGEST = 2**20
"""Bytes of a result at most."""

FIELDS = {"format", "test", "listener", "started", "finished", "votes"}
VOTE_FIELDS = {"pair", "a", "b", "vote", "seconds", "plays_a", "plays_b"}

# --- the test -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    """What test.json says."""

    id: str
    title: str
    pairs: int
    """That each listener hears."""
    seconds: float
    """The length of a sound."""
    system_of: dict[str, str]
    """Sound -> system, both as ids that tell nothing."""

    __test__ = False  # pytest takes classes of this name for its own


def read_test(folder: Path) -> Test:
    """The listening test in `folder`.

    Raises
    ------
    DataError
        If there is none, or its test.json is damaged.
    """
    path = folder / "test.json"
    said = _read_json(path, folder)
    try:
        sounds = {str(sound): str(system) for system, ids in said["systems"].items() for sound in ids}
        test = Test(str(said["id"]), str(said["title"]), int(said["pairs"]), float(said["seconds"]), sounds)
        if said["format"] != FORMAT or len(set(sounds.values())) < 2:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} describes no listening test; make the test again.") from error
    return test


def read_names(folder: Path, test: Test) -> dict[str, str]:
    """System (id) -> its name, from key.json.

    Raises
    ------
    DataError
        If the key is missing, damaged, or of another test.
    """
    path = folder / "key.json"
    said = _read_json(path, folder)
    try:
        names = {str(system): str(name) for system, name in said["systems"].items()}
        of = str(said["test"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no key of a listening test; take it from a copy of the folder."
        ) from error
    if of != test.id or not set(test.system_of.values()) <= set(names):
        raise DataError(f"{path} is the key of another test; take key.json and test.json of one folder.")
    return names


def _read_json(path: Path, folder: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"There is no {path.name} in {folder}; name a folder that `samplernn listening-test make` made."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: it is damaged; make the test again.") from error


# --- the result of a listener -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vote:
    """What a listener said of one pair of sounds."""

    a: str
    """The sound that was presented as A."""
    b: str
    vote: str
    """a, b or none."""
    seconds: float | None
    """That the pair was before the listener."""
    plays_a: int
    plays_b: int


@dataclass(frozen=True)
class Listener:
    """What one person said."""

    name: str
    votes: tuple[Vote, ...]
    unanswered: int = 0
    """Pairs that were shown and left without a vote."""


def check(said: Any, test: Test) -> Listener:
    """The result of a listener, from JSON: complete, and of this test.

    Raises
    ------
    DataError
        Which says in one sentence what does not fit.
    """
    _demand(isinstance(said, dict) and said.get("format") == FORMAT, "This is no result of a listening test.")
    _demand(said.get("test") == test.id, "This is the result of another test.")
    _demand(said.keys() == FIELDS, "The result lacks something, or has something more.")
    name = said["listener"]
    fit = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and not name.isspace()
    _demand(fit, "The listener must be a name of 1 to 100 characters.")
    started, finished = _time(said["started"]), _time(said["finished"])
    _demand(
        started is not None and finished is not None and started <= finished,
        "The times must be ISO times with a time zone, the start before the end.",
    )
    votes = said["votes"]
    _demand(isinstance(votes, list) and len(votes) == test.pairs, f"The result must have {test.pairs} votes.")
    checked = tuple(_vote(vote, number, test) for number, vote in enumerate(votes, 1))
    _demand(
        sorted(vote["pair"] for vote in votes) == list(range(test.pairs)),
        "The pairs must be numbered from 0, each once.",
    )
    return Listener(name, checked)


def _vote(said: Any, number: int, test: Test) -> Vote:
    where = f"Vote {number}"
    _demand(isinstance(said, dict) and said.keys() == VOTE_FIELDS, f"{where} lacks something, or has more.")
    a, b, seconds = said["a"], said["b"], said["seconds"]
    for sound in (a, b):
        _demand(isinstance(sound, str) and sound in test.system_of, f"{where} names an unknown sound.")
    _demand(test.system_of[a] != test.system_of[b], f"{where} is between two sounds of one system.")
    _demand(said["vote"] in ("a", "b", "none"), f"{where} is neither a, b nor none.")
    fit = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    _demand(fit and 0 <= seconds < 1e9, f"The seconds of vote {number} are no duration.")
    for count in ("pair", "plays_a", "plays_b"):
        _demand(
            type(said[count]) is int and 0 <= said[count] < 1e9, f"{where}: {count} must be a whole number."
        )
    return Vote(a, b, said["vote"], float(seconds), said["plays_a"], said["plays_b"])


def _demand(true: bool, sentence: str) -> None:
    if not true:
        raise DataError(sentence)


def _time(word: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(word)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else None


def parse(raw: bytes, test: Test) -> tuple[Listener, Mapping[str, Any]]:
    """The result of a listener from the bytes of a file or request, and what they say word for word.

    Raises
    ------
    DataError
        Which says in one sentence what does not fit.
    """
    _demand(len(raw) <= LARGEST, "This is too large to be the result of a listener.")
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError("This is no JSON; it is damaged or something else.") from error
    return check(said, test), said


# --- the store ----------------------------------------------------------------------------------------------


def read_store(path: Path, test: Test) -> tuple[list[Listener], list[str]]:
    """The results that the server stored, and a sentence for each row that does not fit the test.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    listeners, problems = [], []
    try:
        rows = _rows(path)
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be read ({error}); take it from a copy, or move it away.") from error
    for number, raw in rows:
        try:
            listeners.append(parse(raw.encode() if isinstance(raw, str) else bytes(raw or b""), test)[0])
        except DataError as error:
            problems.append(f"{path}, row {number}, is left out: {error}")
    return listeners, problems


def _rows(path: Path) -> list[tuple[int, Any]]:
    """The rows, in the order of arrival; nothing is written, and a running server is not disturbed."""
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    select = "SELECT id, raw FROM results ORDER BY id"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            return database.execute(select).fetchall()
    except sqlite3.OperationalError:  # a folder that is read-only has no place for SQLite's helper files
        with closing(sqlite3.connect(f"{address}&immutable=1", uri=True)) as database:
            return database.execute(select).fetchall()
