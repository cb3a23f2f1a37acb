"""Reading and validating listening tests and the responses of listeners."""

import json
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from samplernn_theano.config.field_types import fits
from samplernn_theano.errors import DataError
from samplernn_theano.listening import pairs
from samplernn_theano.utils.text import parse_json

FORMAT = "samplernn listening test 1"  # format of test.json and of the result of a listener
PAGE = "samplernn listening-test 2"  # version of the page
MAX_BYTES = 2**20  # maximum size of a result
SHARE = 0.95  # of the time that must have passed: less is unusual
CLOCK = 300.0  # seconds by which the clocks of listeners may be fast
TOO_LARGE = "This is too large to be the result of a listener."

KINDS = {"id": str, "title": str, "pairs": int, "seconds": float, "systems": Mapping[str, Sequence[str]]}
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

    @property
    def heard(self) -> float:
        """Seconds that both sounds of a pair last, which a listener must hear to the end."""
        return 2 * self.seconds

    def pairs_of(self, listener: str) -> list[tuple[str, str]]:
        """The pairs of sounds (A, B) that a listener of this name hears."""
        return pairs.draw(self.system_of, self.pairs, f"{self.id} {listener}")


def read_test(folder: Path) -> Test:
    """Read the listening test in `folder`."""
    with _reading(folder / "test.json", "is no listening test; make the test again.") as found:
        if found["format"] != FORMAT or not all(fits(found[name], kind) for name, kind in KINDS.items()):
            raise ValueError
        systems = {sound: system for system, ids in found["systems"].items() for sound in ids}
        are_names = all(re.fullmatch(r"[\w-]+", each, re.ASCII) for each in (found["id"], *systems))
        if len(set(systems.values())) < 2 or not are_names:
            raise ValueError
        return Test(found["id"], found["title"], found["pairs"], float(found["seconds"]), systems)


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
        found = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        hint = "make a test with `samplernn listening-test make`."
        raise DataError(f"There is no {path.name} in {path.parent}; {hint}") from error
    except (OSError, ValueError) as error:
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
    token: str = ""  # of the link that the listener opened
    remarks: tuple[str, ...] = ()  # what is unusual, as a predicate


def parse(
    raw: bytes, test: Test, opened: float | None = None, received: float | None = None
) -> tuple[Listener, Mapping[str, Any]]:
    """Parse and check the result of a listener from a file or request; also return the parsed JSON.

    `opened` and `received` are when the server first sent the page to the listener and when it received the
    result, in seconds since 1970, if known.
    """
    if len(raw) > MAX_BYTES:
        raise DataError(TOO_LARGE)
    try:
        found = parse_json(raw)
        json.dumps(found, ensure_ascii=False).encode()  # fails for halves of characters
    except (ValueError, RecursionError) as error:
        raise DataError("This is not JSON, or it is damaged.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError("This is not the result of a listening test.")
    if found.get("test") != test.id:
        raise DataError("This is the result of another test.")
    token = found.get("token", "")
    fits = found.keys() - {"token"} == FIELDS and isinstance(token, str)
    if not (fits and _is_name(found["listener"]) and _are_times(found)):
        raise DataError("The name, the times or other fields of the result are missing or invalid.")
    votes = found["votes"]
    if not isinstance(votes, list) or not all(_is_vote(vote, test) for vote in votes):
        raise DataError("A vote of the result is invalid.")
    if sorted(vote["pair"] for vote in votes) != list(range(test.pairs)):
        raise DataError(f"The result must have {test.pairs} votes, on the pairs from 0, each once.")
    votes = sorted(votes, key=lambda vote: vote["pair"])
    own = tuple(Vote(**{name: vote[name] for name in VOTE_FIELDS - {"pair"}}) for vote in votes)
    remarks = _timing(found, own, test, opened, received or time.time())
    if not presented(found["listener"], own, test):
        remarks = ("voted on pairs that are not theirs", *remarks)
    return Listener(found["listener"], own, token=token, remarks=remarks), found


def presented(name: str, votes: Sequence[Vote], test: Test) -> bool:
    """True if the votes are on the pairs that the page presents to the listener of this name."""
    return [(vote.a, vote.b) for vote in votes] == test.pairs_of(name)


def is_short(seconds: float, needed: float) -> bool:
    """True if less time has passed than is needed; the measurements of browsers are not exact."""
    return seconds < SHARE * needed


def _timing(
    found: Mapping[str, Any], votes: Sequence[Vote], test: Test, opened: float | None, received: float
) -> tuple[str, ...]:
    """What is unusual about the times of a result: too short for what they contain, or in the future."""
    started, finished = (datetime.fromisoformat(found[name]).timestamp() for name in ("started", "finished"))
    sounds = f"sounds last {(heard := test.heard * len(votes)):.0f} s"
    parts = sum(vote.seconds or 0 for vote in votes)
    contained = f"pairs took {parts:.0f} s" if parts > heard else sounds
    whole, taken = finished - started, received - (opened or 0)
    remarks = {
        f"finished in {whole:.0f} s a test whose {contained}": is_short(whole, max(parts, heard)),
        f"sent the votes {taken:.0f} s after opening the page, whose {sounds}": is_short(taken, heard),
        f"finished at {found['finished']}, after the votes arrived": finished > received + CLOCK,
    }
    return tuple(remark for remark, holds in remarks.items() if holds)


def free_name(name: str, taken: Collection[str]) -> str:
    """The name of a listener, with a number if it is taken."""
    numbered = (f"{name} ({number})" for number in count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


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
