"""A safe unpickler for Python 2's pickles of plain values and NumPy arrays: it imports and calls nothing.

A pickle is a program. Here the standard library's machine runs it, with the opcodes of protocols 0 to 2 for
plain values only, and five names stand for functions of this module. The machine is the one in Python: the
one in C overflows its stack when a dict's key is a deep tuple, and takes hours for keys of equal hashes.
"""

import io
import math
import pickle
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 20  # of values within values: the original's files have two
DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_MAX_OPCODES = 20_000_000  # about a minute; a train log of 100,000 entries has 7 million
_MAX_BITS = 2048  # of a number
_ARRAY, _SCALAR = "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar"
_DICTS = ("collections.OrderedDict", "collections.defaultdict")
_FACTORIES = (  # of a defaultdict; never called
    *(f"__builtin__.{name}" for name in ("list", "dict", "int", "float", "str")),
    *(f"numpy.{name}" for name in ("float32", "float64", "int32", "int64")),
)
_NAMES = (_ARRAY, _SCALAR, "numpy.ndarray", "numpy.dtype", "_codecs.encode", *_DICTS, *_FACTORIES)
_PAIR = 16  # bytes of a file that a pair of an OrderedDict takes at least
_PLAIN = "leave it out where the file is made, or store a plain array of numbers"
_TO_ARRAYS = (
    "python -c \"import pickle as p, numpy as n; d = p.load(open('IN.pkl', 'rb')); "
    "p.dump({k: n.asarray(getattr(v, 'get_value', lambda: v)()) for k, v in d.items()}, "
    "open('OUT.pkl', 'wb'), 2)\""
)


class RefusedError(Exception):
    """The pickle requests what no checkpoint needs: `what`, and `then` what is to be done."""

    def __init__(self, what: str, then: str = "") -> None:
        super().__init__(what + then)
        self.what, self.then = what, then


def load(data: bytes) -> Any:
    """The value of the pickle `data`; RefusedError if it asks for anything else, ValueError if damaged."""
    try:
        with warnings.catch_warnings(action="error"):  # of unknown escapes in texts
            return (machine := _Unpickler(data)).load()
    except RefusedError as error:
        raise RefusedError(error.what + machine.entry(), error.then) from None
    except MemoryError:
        raise
    except Exception as error:  # the machine raises errors of many kinds at damage
        raise ValueError(_printable(str(error)[:200])) from error


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the pickle names; never imported."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        match self.name, arguments:
            case "numpy.core.multiarray._reconstruct", (_Name("numpy.ndarray"), (0,), str()):
                return _Array()
            case "numpy.dtype", (str(code), int(), int()):
                if code not in DTYPES:
                    raise _refusal(f"an array of {_printable(code)}")
                return _Dtype(np.dtype(code))
            case "numpy.core.multiarray.scalar", (_Dtype(dtype), str(text)):
                return _array(dtype, (), text)[()]
            case "_codecs.encode", (str(text), "latin1" | "latin-1"):
                return text  # Python 3 writes byte strings like this
            case "collections.OrderedDict" | "collections.defaultdict", ():
                return {}
            case "collections.defaultdict", (None | _Name(),):
                return {}
        raise _refusal(f"{self.name} with unusual arguments")


@dataclass(slots=True)
class _Dtype:
    """A numpy.dtype under construction."""

    dtype: np.dtype


@dataclass(slots=True)
class _Array:
    """A numpy.ndarray under construction: pickles create it empty and fill it later."""

    values: NDArray | None = None


class _Unpickler(pickle._Unpickler):
    """The stack, the marks and the memo of a pickle."""

    memo: dict[int, Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes) -> None:
        file = io.BytesIO(data)
        super().__init__(file, encoding="latin1")
        self.read, self.readline = file.read, file.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.budget = len(data)  # bytes that all arrays and pairs together may have
        self.values = 0  # that the result may have: one for each opcode

    def load(self) -> Any:
        while (opcode := self.read(1)) != b".":
            self.values += 1
            if not opcode or self.values > _MAX_OPCODES:
                raise ValueError(f"more than {_MAX_OPCODES:,} opcodes" if opcode else "it ends too early")
            if opcode not in _METHODS:
                _refuse(opcode)
            _METHODS[opcode](self)
        if len(self.stack) != 1 or self.metastack or self.read(1):
            raise ValueError("it does not end where it should: perhaps several values were written into it")
        return self.plain(self.stack[0], 0)

    def entry(self) -> str:
        """The entry of the file's dict that is being read, in brackets; empty if the file is none."""
        outer, inner, *_ = (*self.metastack, self.stack, [])
        if not outer or type(outer[0]) is not dict:
            return ""
        keys = [key for key in (outer[1:] or inner)[::2] if type(key) is str]  # key, value, key, value, ...
        return f" (entry {_printable(repr(keys[-1][:80]))})" if keys else ""

    def plain(self, value: Any, depth: int) -> Any:
        """Return `value` with finished arrays in place of their placeholders."""
        self.values -= 1
        if self.values < 0:
            raise ValueError("it unfolds to more values than it spells out")
        if depth > MAX_DEPTH:
            raise ValueError(f"values within values more than {MAX_DEPTH} deep")
        if type(value) is list:
            value[:] = [self.plain(item, depth + 1) for item in value]
        elif type(value) is dict:
            for key, item in value.items():
                self.plain(key, depth + 1)
                value[key] = self.plain(item, depth + 1)
        elif type(value) is tuple:
            return tuple([self.plain(item, depth + 1) for item in value])
        elif type(value) is str:
            value.isascii() or value.encode()  # half a surrogate pair could be neither printed nor written
        elif type(value) is int and value.bit_length() > _MAX_BITS:
            raise ValueError("a huge number")
        elif type(value) is _Array and value.values is not None:
            return value.values
        elif isinstance(value, _Array | _Dtype | _Name):
            raise ValueError("an array without values, or a type or function where a value should be")
        return value

    def find_class(self, module: str, name: str) -> _Name:
        """Return what stands for a name, if it is one of `_NAMES`."""
        # NumPy 2 renamed its module; its pickles are the same.
        full = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("builtins.", "__builtin__.")
        if full.startswith(("theano.", "pygpu.")):
            raise RefusedError(
                f"holds values of Theano ({_printable(full)}), perhaps of a GPU",
                "; nothing was executed. Write them as arrays on the machine with Theano: " + _TO_ARRAYS,
            )
        if full not in _NAMES:
            raise _refusal(_printable(f"{module}.{name}"))
        return _Name(full)

    def load_proto(self) -> None:
        """Refuse what Python 2 does not know."""
        if (version := self.read(1)[0]) > 2:
            remedy = "load it in Python 3 and save it with pickle.dump(value, file, protocol=2)"
            raise RefusedError(f"is a pickle of protocol {version}, which Python 2 does not know; {remedy}")

    def load_inst(self) -> None:
        _METHODS[b"c"](self)
        _refuse(b"i")

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not _Name or type(arguments) is not tuple:
            raise ValueError("a call of what is not a function")  # Python's own error spells out a list
        match function, arguments:
            case _Name("collections.OrderedDict"), (list(pairs),):
                self.spend(_PAIR * len(pairs))
                if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
                    raise ValueError("an OrderedDict of other things than pairs")
                self.append({})
                self.fill([item for pair in pairs for item in pair])
            case _:
                self.append(function(*arguments))

    def spend(self, size: int) -> None:
        """Count bytes of arrays and pairs, which the pickle could refer to again and again."""
        self.budget -= size
        if self.budget < 0:
            raise ValueError("arrays larger than the file")

    def load_build(self) -> None:
        """Set the values of an array, or the byte order of a dtype."""
        match self.stack.pop(), self.stack[-1]:
            case (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0), _Dtype() as target:
                target.dtype = target.dtype.newbyteorder(order)
            case (1, tuple(shape), _Dtype(dtype), int(fortran), str(text)), _Array(None) as array:
                self.spend(len(text))
                array.values = _array(dtype, shape, text, "F" if fortran else "C")
            case _, _Array() | _Dtype():
                raise ValueError("an array or type with an unknown description")
            case _:
                raise _refusal("the state of an object to be set")

    def load_put(self) -> None:
        if not 0 <= (number := int(self.readline())) < _MAX_OPCODES:  # others could have equal hashes
            raise ValueError("a value that cannot be referred to")
        self.memo[number] = self.stack[-1]

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self.fill(items)

    def fill(self, items: list[Any]) -> None:
        """Set keys to values in the dict on top of the stack; `items` are key, value, key, value, ..."""
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("a key without a value or a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing or comparing other keys could take forever.
            if type(key) is not str or key in target:
                raise ValueError("a key that is not text or is duplicated")
            target[key] = value


def _array(dtype: np.dtype, shape: tuple, text: str, order: Any = "C") -> NDArray:
    """Return an array of the bytes `text`, C-ordered and in native byte order."""
    if len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise ValueError("an array of impossible shape")
    if math.prod(shape) * dtype.itemsize != len(text):
        raise ValueError("an array whose shape does not fit its bytes")
    # Bytes other than 0 and 1 are converted to booleans.
    values = np.frombuffer(text.encode("latin1"), np.uint8 if dtype.kind == "b" else dtype)
    return np.array(values.reshape(shape, order=order), dtype.newbyteorder("="), order="C")


def _refuse(opcode: bytes) -> None:
    names = [known.name for known in pickletools.opcodes if known.code == opcode.decode("latin1")]
    raise _refusal(f"the opcode {names[0]}") if names else ValueError(f"{opcode!r} is not an opcode")


def _refusal(what: str) -> RefusedError:
    return RefusedError(f"asks for {what}, which no checkpoint needs; it was not executed", f"; {_PLAIN}")


def _printable(text: str) -> str:
    return ascii(text)[1:-1]


_METHODS: dict[bytes, Callable[[Any], None]] = {
    bytes([code]): pickle._Unpickler.dispatch[code]
    for code in b"(N\x88\x89IJKML\x8aFGSTUVX]})lt\x85\x86\x87ghjqrcae"
} | {
    b"\x80": _Unpickler.load_proto,
    b"R": _Unpickler.load_reduce,
    b"b": _Unpickler.load_build,
    b"d": _Unpickler.load_dict,
    b"i": _Unpickler.load_inst,
    b"p": _Unpickler.load_put,
    b"s": lambda m: m.fill([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.fill(m.pop_mark()),
}
