"""Reading and validating listening tests and the responses of listeners."""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from samplernn_theano.errors import DataError

FORMAT = "samplernn listening test 1"  # format of test.json and of the result of a listener
STORE = "results.sqlite"  # file in the folder of a test with the results collected by its server
MAX_BYTES = 2**20  # maximum size of a result
TOO_LARGE = "This is too large to be the result of a listener."

FIELDS = {"format", "test", "listener", "started", "finished", "votes"}
VOTE_FIELDS = {"pair", "a", "b", "vote", "seconds", "plays_a", "plays_b"}


@dataclass(frozen=True)
class Test:
    """The contents of test.json."""

    id: str
    title: str
    pairs: int  # per listener
    seconds: float  # length of a sound
    system_of: dict[str, str]  # system of each sound, both as anonymous ids

    __test__ = False  # pytest would collect a class of this name


def read_test(folder: Path) -> Test:
    """Read the listening test in `folder`."""
    with _reading(folder / "test.json", "is no listening test; make the test again.") as found:
        systems = {str(sound): str(system) for system, ids in found["systems"].items() for sound in ids}
        if found["format"] != FORMAT or len(set(systems.values())) < 2:
            raise ValueError
        name, length = str(found["title"]), float(found["seconds"])
        return Test(str(found["id"]), name, int(found["pairs"]), length, systems)


def read_names(folder: Path, test: Test) -> dict[str, str]:
    """Read the names of the systems by id from key.json."""
    with _reading(folder / "key.json", "is not the key of this test; restore it from a copy.") as found:
        names = {str(system): str(name) for system, name in found["systems"].items()}
        if found["test"] != test.id or not set(test.system_of.values()) <= names.keys():
            raise ValueError
        return names


@contextmanager
def _reading(path: Path, otherwise: str) -> Iterator[Any]:
    """Yield the content of a JSON file; whatever goes wrong with it in the block is a DataError."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        hint = "make a test with `samplernn listening-test make`."
        raise DataError(f"There is no {path.name} in {path.parent}; {hint}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged; make the test again.") from error
    try:
        yield found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} {otherwise}") from error


@dataclass(frozen=True)
class Vote:
    """The vote of a listener on one pair of sounds."""

    a: str  # the sound presented as A
    b: str
    vote: str  # a, b or none
    seconds: float | None  # time that the listener spent on the pair
    plays_a: int
    plays_b: int


@dataclass(frozen=True)
class Listener:
    """The votes of one listener."""

    name: str
    votes: tuple[Vote, ...]
    unanswered: int = 0  # presented pairs without a vote


def parse(raw: bytes, test: Test) -> tuple[Listener, Mapping[str, Any]]:
    """Parse and check the result of a listener from a file or request; also return the parsed JSON."""
    if len(raw) > MAX_BYTES:
        raise DataError(TOO_LARGE)
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError("This is not JSON, or it is damaged.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError("This is not the result of a listening test.")
    if found.get("test") != test.id:
        raise DataError("This is the result of another test.")
    if not (found.keys() == FIELDS and _is_name(found["listener"]) and _are_times(found)):
        raise DataError("The name, the times or other fields of the result are missing or invalid.")
    votes = found["votes"]
    if not isinstance(votes, list) or not all(_is_vote(vote, test) for vote in votes):
        raise DataError("A vote of the result is invalid.")
    if sorted(vote["pair"] for vote in votes) != list(range(test.pairs)):
        raise DataError(f"The result must have {test.pairs} votes, on the pairs from 0, each once.")
    own = (Vote(**{name: vote[name] for name in VOTE_FIELDS - {"pair"}}) for vote in votes)
    return Listener(found["listener"], tuple(own)), found


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and not name.isspace()


def _are_times(found: Mapping[str, Any]) -> bool:
    """True if the result ends after its start, both ISO times with a time zone."""
    try:
        started, finished = (datetime.fromisoformat(found[name]) for name in ("started", "finished"))
        return started.tzinfo is not None and started <= finished
    except (TypeError, ValueError):
        return False


def _is_vote(vote: Any, test: Test) -> bool:
    if not isinstance(vote, dict) or vote.keys() != VOTE_FIELDS:
        return False
    sounds, numbers = (vote["a"], vote["b"]), (vote["pair"], vote["plays_a"], vote["plays_b"])
    return (
        all(isinstance(sound, str) and sound in test.system_of for sound in sounds)
        and test.system_of[vote["a"]] != test.system_of[vote["b"]]
        and vote["vote"] in ("a", "b", "none")
        and all(type(number) is int for number in numbers)
        and type(vote["seconds"]) in (int, float)
        and all(0 <= number < 1e9 for number in (*numbers, vote["seconds"]))
    )


def read_store(path: Path, test: Test) -> tuple[list[Listener], list[str]]:
    """Read the results stored by the server, and a sentence for each that cannot be read."""
    if not path.exists():
        return [], []
    # Without writing or locking out a running server; SQLite needs auxiliary files unless told "immutable".
    mode = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)) as database:
            rows = database.execute("SELECT id, raw FROM results ORDER BY id").fetchall()
    except sqlite3.Error as error:
        return [], [f"{path} cannot be read ({error}); restore a copy, or move it away."]
    listeners, problems = [], []
    for number, raw in rows:
        try:
            listeners.append(parse(raw.encode() if isinstance(raw, str) else bytes(raw or b""), test)[0])
        except DataError as error:
            problems.append(f"{path}, row {number}, is left out: {error}")
    return listeners, problems
