"""The original's pickles, read without executing them and written for its Python 2."""

import os
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original.unpickler import DTYPES, MAX_DEPTH, RefusedError, load
from samplernn_theano.utils.file_kinds import check_kind, kind_of_unreadable
from samplernn_theano.utils.files import atomic_write

_TEXT = bytes([*range(32, 127), *b"\t\r\n"])  # the bytes of a pickle of protocol 0
MAX_BYTES = 2**32  # of a file: the paper's largest models have 0.3 GB


def read(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of Python 2 (protocol 0, 1 or 2) of plain values and NumPy arrays; nothing is executed.

    Needs memory of at most 120 times the size of the file plus 50 MB, whatever the file contains (a regular
    checkpoint: less than 3 times), and about two minutes for anything but the bytes of arrays and texts.
    Byte strings become str (latin1). Arrays are C-ordered, in native byte order, of kind b, i, u or f. An
    OrderedDict or defaultdict becomes a dict. Line ends that became those of another system are restored.
    """
    path, damage = Path(path), ""
    try:
        check_kind(path)
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}.")
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} has more than 4 GB; the original's files have not.")
        data = path.read_bytes()
        if (pickled := data.rstrip(b"\r\n\x1a")).endswith(b"."):  # the last byte of every pickle
            data = pickled
        data = _with_line_ends_restored(found := data)
        damage = ", whose line ends were converted (CRLF or CR)" * (data is not found)
        return load(data)
    except OSError as error:
        raise CheckpointError(f"Could not read {path}: {error.strerror or error}.") from error
    except MemoryError as error:
        raise CheckpointError(f"{path} needs more memory than available.") from error
    except RefusedError as error:
        raise CheckpointError(f"{path} {kind_of_unreadable(data) or error}.") from error
    except ValueError as error:
        copied = "copy it again from its source" + " in binary mode" * bool(damage)
        what = f"is damaged or no pickle ({error}){damage}; {copied}, or use another one"
        raise CheckpointError(f"{path} {kind_of_unreadable(data) or what}.") from error


def _with_line_ends_restored(data: bytes) -> bytes:
    """A pickle as it was before a program converted its line ends, all or some of them."""
    if b"\r" in data and not data.translate(None, _TEXT):  # in text, a carriage return is written \\r
        return re.sub(rb"\r*\n|\r", b"\n", data)
    if b"\n" in data and data.count(b"\n") == data.count(b"\r\n"):  # no pickle has this by itself
        return data.replace(b"\r\n", b"\n")
    return data


def write(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` to `path` atomically, as cPickle of Python 2.7 does with protocol 0.

    The original's parameters and train logs, after `read`, are written byte for byte as they were; equal
    strings share one object here, which they need not in the original. Text must be latin1, integers have
    64 bits; OutputError for a value that `read` would not return.
    """
    try:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            file.writelines(_save(value, {}, 0))
            file.write(b".")
    except ValueError as error:
        raise OutputError(f"Cannot write {path} as a pickle of Python 2: {error}.") from error


def _save(value: Any, memo: dict[Hashable, int], depth: int) -> Iterator[bytes]:
    """Yield the opcodes of `value`; `memo` holds the memo numbers of values that can be referenced."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    match value:
        case None:
            yield b"N"
        case np.ndarray():
            yield from _array(value, memo)
        case np.generic():
            yield from _once(("scalar", id(value)), _scalar(value, memo), memo)
        case bool():
            yield b"I01\n" if value else b"I00\n"
        case int() if -(2**63) <= value < 2**63:
            yield b"I%d\n" % value
        case float():
            yield f"F{value:.17g}\n".encode()
        case str():
            yield from _text(value, memo)
        case tuple():
            yield b"("
            for item in value:
                yield from _save(item, memo, depth + 1)
            yield b"t" + (_put(object(), memo) if value else b"")
        case list():
            yield b"(l" + _put(object(), memo)
            for item in value:
                yield from _save(item, memo, depth + 1)
                yield b"a"
        case dict() if all(isinstance(key, str) for key in value):
            yield b"(d" + _put(object(), memo)
            for key, item in value.items():
                yield from _text(key, memo)
                yield from _save(item, memo, depth + 1)
                yield b"s"
        case _:
            raise ValueError(f"{value!r:.80} ({type(value).__name__}) cannot be stored in it")


def _put(key: Hashable, memo: dict[Hashable, int]) -> bytes:
    memo[key] = len(memo) + 1
    return b"p%d\n" % memo[key]


def _once(key: Hashable, opcodes: Iterator[bytes], memo: dict[Hashable, int]) -> Iterator[bytes]:
    """Yield `opcodes` the first time, and later a reference to their value."""
    if key in memo:
        yield b"g%d\n" % memo[key]
    else:
        yield from opcodes
        yield _put(key, memo)


def _text(text: str, memo: dict[Hashable, int]) -> Iterator[bytes]:
    """Yield a byte string. Quirk: cPickle never references strings shorter than two characters."""
    opcode = _quoted(text.encode("latin1"))
    if len(text) < 2:
        yield opcode
    else:
        yield from _once(("text", text), iter([opcode]), memo)


def _quoted(data: bytes) -> bytes:
    """The repr of `data` in Python 2, which is that of Python 3 without the b."""
    return b"S" + repr(data)[1:].encode() + b"\n"


def _global(module: str, name: str, memo: dict[Hashable, int]) -> Iterator[bytes]:
    return _once(("global", module, name), iter([f"c{module}\n{name}\n".encode()]), memo)


def _scalar(value: np.generic, memo: dict[Hashable, int]) -> Iterator[bytes]:
    yield from _global("numpy.core.multiarray", "scalar", memo)
    yield b"("
    yield from _dtype(value.dtype, memo)
    yield _quoted(_little(value).tobytes()) + b"tR"


def _array(array: NDArray, memo: dict[Hashable, int]) -> Iterator[bytes]:
    """Yield an array: created empty, then filled with version, shape, dtype, order (always C) and bytes."""
    yield from _global("numpy.core.multiarray", "_reconstruct", memo)
    yield b"("
    yield from _global("numpy", "ndarray", memo)
    yield b"(I0\ntS'b'\ntR" + _put(object(), memo)
    yield b"(I1\n(" + b"".join(b"I%d\n" % n for n in array.shape) + b"t"
    yield from _dtype(array.dtype, memo)
    yield b"I00\n" + _quoted(_little(array).tobytes()) + b"tb"


def _little(value: np.generic | NDArray) -> NDArray:
    """`value` in little-endian byte order."""
    return np.asarray(value, value.dtype.newbyteorder("<"))


def _dtype(dtype: np.dtype, memo: dict[Hashable, int]) -> Iterator[bytes]:
    """Yield a dtype: created first, then set to little-endian byte order."""
    code, order = f"{dtype.kind}{dtype.itemsize}", "|" if dtype.itemsize == 1 else "<"
    if code not in DTYPES:
        raise ValueError(f"values of type {dtype} cannot be stored in it")
    if ("dtype", code) in memo:
        yield b"g%d\n" % memo[("dtype", code)]
    else:
        yield from _global("numpy", "dtype", memo)
        yield f"(S'{code}'\nI0\nI1\ntR".encode() + _put(("dtype", code), memo)
        yield f"(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntb".encode()
