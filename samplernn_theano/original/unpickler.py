"""A safe unpickler for Python 2's pickles of plain values and NumPy arrays: it calls nothing.

A pickle is a program. Python's own machine imports and calls any function that it names; this one implements
the opcodes of protocols 0 to 2 for plain values, and interprets five names of NumPy and the standard library
without importing them. The limits keep a malicious or damaged file from using more time or memory than its
size justifies.
"""

import codecs
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 20  # of values within values: the original's files have two
DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_MAX_DIMENSIONS = 8
_MAX_LINE = 200  # bytes of a number or of the name of a function
_MAX_OPCODES = 20_000_000  # a minute or two; a train log of 100,000 entries has 7 million
_FREE_CONTAINERS = 10_000


class RefusedError(Exception):
    """The pickle requests what no checkpoint needs."""


def load(data: bytes) -> Any:
    """Return the value of the pickle `data`.

    Raises
    ------
    RefusedError
        If it requests anything but plain values and arrays.
    ValueError
        If it is damaged.
    """
    return _Machine(data).run()


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the pickle names; never imported."""

    name: str


@dataclass(slots=True)
class _Dtype:
    """A numpy.dtype under construction."""

    code: str
    order: str = ""


@dataclass(slots=True)
class _Array:
    """A numpy.ndarray under construction: pickles create it empty and fill it later."""

    values: NDArray | None = None


_RECONSTRUCT = _Name("numpy.core.multiarray._reconstruct")
_SCALAR = _Name("numpy.core.multiarray.scalar")
_NDARRAY = _Name("numpy.ndarray")
_DTYPE = _Name("numpy.dtype")
_ENCODE = _Name("_codecs.encode")
_NAMES = {name.name: name for name in (_RECONSTRUCT, _SCALAR, _NDARRAY, _DTYPE, _ENCODE)}


class _Machine:
    """The stack, the marks and the memo of a pickle. Errors in the pickle raise ValueError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.array_bytes = 0  # in all arrays so far
        self.containers = 0  # so far
        self.values = 0  # that the result may have: one for each opcode

    def run(self) -> Any:
        """Run the pickle to its end and return its value."""
        while (opcode := self.take(1)) != b".":
            self.values += 1
            if self.values > _MAX_OPCODES:
                raise ValueError(f"more than {_MAX_OPCODES:,} opcodes")
            if opcode in _PUSH:
                self.stack.append(_PUSH[opcode](self))
            elif opcode in _CHANGE:
                _CHANGE[opcode](self)
            else:
                _refuse(opcode, self)
        if len(self.stack) != 1 or self.marks or self.position != len(self.data):
            raise ValueError("it does not end where it should")
        return self.plain(self.stack[0], 0)

    def plain(self, value: Any, depth: int) -> Any:
        """Return `value` with finished arrays in place of their placeholders."""
        self.values -= 1
        if self.values < 0:
            raise ValueError("it unfolds to more values than it spells out")
        if depth > MAX_DEPTH:
            raise ValueError(f"values within values more than {MAX_DEPTH} deep")
        if type(value) is list:
            for i, item in enumerate(value):
                value[i] = self.plain(item, depth + 1)
        elif type(value) is dict:
            for key, item in value.items():
                value[key] = self.plain(item, depth + 1)
        elif type(value) is tuple:
            return tuple(self.plain(item, depth + 1) for item in value)
        elif type(value) is _Array and value.values is not None:
            return value.values
        elif isinstance(value, _Array | _Dtype | _Name):
            raise ValueError("an array without values, or a type or function where a value should be")
        return value

    def take(self, n: int) -> bytes:
        """Return the next `n` bytes of the pickle."""
        start, self.position = self.position, self.position + n
        if n < 0 or self.position > len(self.data):
            raise ValueError("it ends too early")
        return self.data[start : self.position]

    def unsigned(self, n: int) -> int:
        """Return the next `n` bytes as an unsigned number."""
        return int.from_bytes(self.take(n), "little")

    def signed(self, n: int) -> int:
        """Return the next `n` bytes as a signed number (two's complement)."""
        return int.from_bytes(self.take(n), "little", signed=True)

    def line(self, limit: int | None = _MAX_LINE) -> bytes:
        """Return the bytes before the next newline, at most `limit`, and skip the newline."""
        stop = None if limit is None else self.position + limit
        end = self.data.find(b"\n", self.position, stop)
        if end < 0:
            raise ValueError("a number or text without an end")
        text, self.position = self.data[self.position : end], end + 1
        return text

    def pop(self) -> Any:
        """Remove and return the last value of the stack, above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("a value is missing")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """Return the last value of the stack, which must be of type `kind`."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"no {kind.__name__} where one should be")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """Remove and return all values above the last mark; remove the mark."""
        if not self.marks:
            raise ValueError("a mark is missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def container[C: (list[Any], tuple[Any, ...], dict[str, Any])](self, made: C) -> C:
        """Count a new container: an empty one takes one byte of the file, and much more memory."""
        self.containers += made != ()
        if self.containers > _FREE_CONTAINERS + len(self.data) // 8:
            raise ValueError("more lists than a file of its size can fill")
        return made

    def get(self, number: int) -> Any:
        """Return the value at `number` of the memo."""
        if number not in self.memo:
            raise ValueError("a reference to nothing")
        return self.memo[number]

    def put(self, number: int) -> None:
        """Store the last value of the stack at `number` of the memo."""
        if not self.stack or not 0 <= number <= len(self.data):
            raise ValueError("a value that cannot be referred to")
        self.memo[number] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        """Append `items` to the list on top of the stack."""
        self.top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        """Set keys to values in the dict on top of the stack; `items` are key, value, key, value, ..."""
        _fill(self.top(dict), items)


def _fill(target: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    """Set keys to values in `target`; `items` are key, value, key, value, ..."""
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing or comparing other keys could take forever.
        if type(key) is not str or key in target:
            raise ValueError("a key that is not text or is duplicated")
        target[key] = value
    return target


def _integer(machine: _Machine) -> int | bool:
    """INT; Python 2 writes True as 01 and False as 00."""
    text = machine.line()
    return text == b"01" if text in (b"00", b"01") else int(text)


def _string(machine: _Machine) -> str:
    """STRING: text in quotes, as Python 2's repr shows it."""
    text = machine.line(limit=None)
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1] != text[0]:
        raise ValueError("text without quotes")
    text = text[1:-1]
    if re.search(rb"\\[^xnrt'\"]", text.replace(rb"\\", b"")):
        raise ValueError("an unknown escape in a text")
    return codecs.escape_decode(text)[0].decode("latin1")


def _unicode(machine: _Machine) -> str:
    """UNICODE: a line with unicode escapes."""
    text = machine.line(limit=None).decode("raw-unicode-escape")
    text.encode()  # half a surrogate pair could be neither printed nor written
    return text


def _tuple(machine: _Machine, n: int) -> tuple[Any, ...]:
    """TUPLE1, TUPLE2, TUPLE3: the last `n` values."""
    return machine.container(tuple([machine.pop() for _ in range(n)][::-1]))


def _name(machine: _Machine) -> _Name:
    """GLOBAL: the name of a function or class, which must be one of `_NAMES`."""
    name = b".".join([machine.line(), machine.line()]).decode("latin1")
    # NumPy 2 renamed its module; its pickles are the same.
    known = _NAMES.get(name.replace("numpy._core.", "numpy.core."))
    if known is None:
        raise _refusal(_printable(name))
    return known


def _call(machine: _Machine) -> Any:
    """REDUCE: the result of the function for the arguments."""
    arguments, function = machine.pop(), machine.pop()
    match function, arguments:
        case _Name(_RECONSTRUCT.name), (_Name(_NDARRAY.name), (0,), str()):
            return _Array()
        case _Name(_DTYPE.name), (str(code), int(), int()):
            if code not in DTYPES:
                raise _refusal(f"an array of {_printable(code)}")
            return _Dtype(code)
        case _Name(_SCALAR.name), (_Dtype() as dtype, str(text)):
            return _array(machine, dtype, (), text)[()]
        case _Name(_ENCODE.name), (str(text), "latin1" | "latin-1"):
            return text  # Python 3 writes byte strings like this
        case _Name(name), _:
            raise _refusal(f"{name} with unusual arguments")
    raise ValueError("a call of what is not a function")


def _build(machine: _Machine) -> None:
    """BUILD: set the values of an array, or the byte order of a dtype."""
    match machine.pop(), machine.stack[-1:]:
        case (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0), [_Dtype() as dtype]:
            dtype.order = order
        case (1, tuple(shape), _Dtype() as dtype, int(fortran), str(text)), [_Array(None) as array]:
            array.values = _array(machine, dtype, shape, text, bool(fortran))
        case _, [_Array() | _Dtype()]:
            raise ValueError("an array or type with an unknown description")
        case _:
            raise _refusal("the state of an object to be set")


def _array(machine: _Machine, dtype: _Dtype, shape: tuple, text: str, fortran: bool = False) -> NDArray:
    """Return an array of the bytes `text`; all arrays together are at most as large as the file."""
    machine.array_bytes += len(text)
    if machine.array_bytes > len(machine.data) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("arrays larger than the file")
    if not all(type(n) is int and 0 <= n <= len(machine.data) for n in shape):
        raise ValueError("an array of impossible shape")
    kind = np.dtype(dtype.order + dtype.code)
    if math.prod(shape) * kind.itemsize != len(text):
        raise ValueError("an array whose shape does not fit its bytes")
    # Bytes other than 0 and 1 are converted to booleans.
    values = np.frombuffer(text.encode("latin1"), np.uint8 if kind.kind == "b" else kind)
    return np.array(values.reshape(shape, order="F" if fortran else "C"), kind.newbyteorder("="), order="C")


def _refuse(opcode: bytes, machine: _Machine) -> None:
    """Raise the error for an opcode that no checkpoint has."""
    match opcode:
        case b"i":
            _name(machine)
            raise _refusal("an object of a class")
        case b"o" | b"\x81":
            raise _refusal("an object of a class")
        case b"P" | b"Q":
            raise _refusal("a persistent object")
        case b"\x82" | b"\x83" | b"\x84":
            raise _refusal("a registered extension")
    raise ValueError(
        f"{_printable(opcode.decode('latin1'))} is not an opcode of protocol 0, 1 or 2 for plain values"
    )


def _protocol(machine: _Machine) -> None:
    """PROTO: Python 2 knows protocols up to 2."""
    version = machine.unsigned(1)
    if version > 2:
        remedy = "load it in Python 3 and save it with pickle.dump(value, file, protocol=2)"
        raise RefusedError(f"is a pickle of protocol {version}, which Python 2 does not know; {remedy}")


def _refusal(what: str) -> RefusedError:
    """Return the error for a pickle that requests `what`."""
    return RefusedError(f"asks for {what}, which no checkpoint needs; it was not executed")


def _printable(text: str) -> str:
    """Return `text` with control characters escaped."""
    return ascii(text)[1:-1]


_PUSH: dict[bytes, Callable[[_Machine], Any]] = {
    b"N": lambda m: None,
    b"\x88": lambda m: True,
    b"\x89": lambda m: False,
    b"I": _integer,
    b"J": lambda m: m.signed(4),
    b"K": lambda m: m.unsigned(1),
    b"M": lambda m: m.unsigned(2),
    b"L": lambda m: int(m.line().removesuffix(b"L")),
    b"\x8a": lambda m: m.signed(m.unsigned(1)),
    b"F": lambda m: float(m.line()),
    b"G": lambda m: struct.unpack(">d", m.take(8))[0],
    b"S": _string,
    b"T": lambda m: m.take(m.signed(4)).decode("latin1"),
    b"U": lambda m: m.take(m.unsigned(1)).decode("latin1"),
    b"V": _unicode,
    b"X": lambda m: m.take(m.unsigned(4)).decode(),
    b"]": lambda m: m.container([]),
    b"}": lambda m: m.container({}),
    b")": lambda m: (),
    b"l": lambda m: m.container(m.marked()),
    b"d": lambda m: m.container(_fill({}, m.marked())),
    b"t": lambda m: m.container(tuple(m.marked())),
    b"\x85": lambda m: _tuple(m, 1),
    b"\x86": lambda m: _tuple(m, 2),
    b"\x87": lambda m: _tuple(m, 3),
    b"g": lambda m: m.get(int(m.line())),
    b"h": lambda m: m.get(m.unsigned(1)),
    b"j": lambda m: m.get(m.unsigned(4)),
    b"c": _name,
    b"R": _call,
}
_CHANGE: dict[bytes, Callable[[_Machine], None]] = {
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.marked()),
    b"s": lambda m: m.update([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.update(m.marked()),
    b"p": lambda m: m.put(int(m.line())),
    b"q": lambda m: m.put(m.unsigned(1)),
    b"r": lambda m: m.put(m.unsigned(4)),
    b"b": _build,
    b"\x80": _protocol,
}
