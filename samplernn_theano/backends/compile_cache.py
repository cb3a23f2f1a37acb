"""The compile cache: programs shared between processes.

It has three parts: programs for JAX (a model with its gradient, rewritten and traced) under a hash of all
that they depend on, XLA's compiled code under JAX's own key, and Numba's of the kernels. Missing or damaged
entries are compiled again. The folder is ``$SAMPLERNN_CACHE``, else ``~/.cache/samplernn-theano``;
``SAMPLERNN_CACHE=off`` disables it. The hash includes the package's source files as they are on the disk, not
what a process changed of them.

What is in the folder is run: it is not used if others than its owner, this user, can write to it.
"""

import functools
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytensor

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.text import parse_json, say

MAX_FILES, MAX_BYTES = 128, 5 * 10**8  # of each of the three parts
MIN_COMPILE_SECONDS = 0.2  # code that XLA compiles faster is not stored
SOURCES = ("backends", "config", "models", "training")  # sub-packages that are a part of the hash

FILE_NAMES = re.compile(r"([0-9a-f]{64}|\.[0-9a-f]{64}\.\d+\.part)\.(jax|xla|numba)")
"""Of the cache's files, complete or partial: nothing else in the folder is ever removed."""


def folder() -> Path | None:
    """The folder of the cache; None if it is disabled, or cannot be trusted, which is said once."""
    given = os.environ.get("SAMPLERNN_CACHE")
    if given == "off":
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # the user has no home
        base = ""
    if not (given or base):
        return None
    path = Path(given or Path(base, "samplernn-theano"))
    not_used, remedy = f"The compile cache {path} is not used", "name another folder with SAMPLERNN_CACHE."
    try:
        real = path.resolve()
        problem = _distrust(real)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links form a circle"
        _say_once(f"{not_used}: {reason}; {remedy}")
        return None
    if problem:
        _say_once(f"{not_used}, since its code would be run: {problem}, or {remedy}")
    return None if problem else real


def load(key: Mapping[str, Any]) -> tuple[dict[str, Any], bytearray] | None:
    """The description and the data of a stored program; None if it is missing or damaged."""
    return None if folder() is None else _read(_path(key))


def store(key: Mapping[str, Any], about: Mapping[str, Any], data: bytes | bytearray) -> None:
    """Store a program, if the folder can be written to; the least recently used ones are removed."""
    if folder() is not None:
        _write(_path(key), about, data)


def enable_for_jax() -> None:
    """Use the cache for JAX's compiled code, unless the user set JAX's own or the folder is not writable."""
    import jax
    from jax._src import compilation_cache

    base = folder()
    if base is None or jax.config.jax_compilation_cache_dir:
        return
    # Code compiled for one kind of processor may not run on another.
    kind = {line for line in cpuinfo() if line.startswith(("model name", "flags", "Features"))}
    compiled = base / f"xla-{hashlib.sha256(''.join(sorted(kind)).encode()).hexdigest()[:8]}"
    try:
        _make(compiled)
    except OSError:
        return
    if not os.access(compiled, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(compiled))  # XLA's choices of GPU kernels as well
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    # JAX's own files are not written atomically, and one that is damaged is never replaced.
    files: Any = CompiledFiles(compiled)
    compilation_cache._cache = files


class CompiledFiles:
    """Compiled code by its compiler's key; an implementation of JAX's ``CacheInterface``."""

    def __init__(self, path: Path, suffix: str = "xla") -> None:
        self._path, self._suffix = path, suffix

    def get(self, key: str) -> bytes | None:
        """The code; None if it is missing or damaged."""
        found = _read(self._file(key))
        return found and bytes(found[1])

    def put(self, key: str, value: bytes) -> None:
        """Store the code, if possible, replacing an existing entry."""
        _write(self._file(key), {}, value)

    def _file(self, key: str) -> Path:
        return self._path / f"{hashlib.sha256(key.encode()).hexdigest()}.{self._suffix}"


def cpuinfo() -> list[str]:
    """What Linux says of the processors; no lines elsewhere."""
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


# --- helpers ------------------------------------------------------------------------------------------------


def _path(key: Mapping[str, Any]) -> Path:
    """The file of a program."""
    base = folder()
    assert base is not None
    import jax
    import jaxlib

    config = pytensor.config
    environment = {
        "sources": hash_sources(*SOURCES),
        "versions": [sys.version, *(module.__version__ for module in (pytensor, jax, jaxlib, np))],
        "flags": os.environ.get("PYTENSOR_FLAGS"),
        "optimizer": [config.optimizer, config.optimizer_including, config.optimizer_excluding],
        "platform": jax.default_backend(),
    }
    name = json.dumps({**key, **environment}, sort_keys=True)
    return base / "programs" / f"{hashlib.sha256(name.encode()).hexdigest()}.jax"


def _read(path: Path) -> tuple[dict[str, Any], bytearray] | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            head, _, data = file.read().partition(b"\n")
        about = parse_json(head)
        if about.pop("sha256") != hashlib.sha256(data).hexdigest():
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with suppress(OSError):  # the folder may be read-only
        os.utime(path)  # the time of its last use
    return about, bytearray(data)


def _write(path: Path, about: Mapping[str, Any], data: bytes | bytearray) -> None:
    """Write a description and data, if possible, and remove the least recently used files."""
    head = json.dumps({**about, "sha256": hashlib.sha256(data).hexdigest()})
    with suppress(OutputError, OSError):
        _make(path.parent)
        with atomic_write(path, durable=False) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(head.encode() + b"\n" + data)
        _evict(path.parents[1])


def _make(folder: Path) -> None:
    """Create a folder and those above it that are missing, for this user only."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def _distrust(real: Path) -> str:
    """Why others could write code into a folder without links in its path, and a remedy; empty if not."""
    for above in filter(Path.exists, real.parents):
        found = above.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{above} belongs to another user, who can replace what is in it; move it"
        # In a sticky folder only the owner of a file can; a group of the user's number has no other members.
        others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid != os.geteuid() else 0)
        if found.st_mode & others and not found.st_mode & stat.S_ISVTX:
            return f"others can replace what is in {above}; chmod go-w it"
    for own in (real, *(real.iterdir() if real.is_dir() else ())):
        if own.is_dir() and not _is_ours(own.lstat()):
            return (
                f"{own} belongs to another user, or others can write to it, or it is a link; remove it, "
                "chmod go-w it if you trust what is in it"
            )
    return ""


def _is_ours(found: os.stat_result) -> bool:
    """Return True if a file or folder, no link, belongs to this user, and nobody else can write to it."""
    is_link = stat.S_ISLNK(found.st_mode)
    return not is_link and found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _say_once(message: str) -> None:
    say(f"samplernn: {message}")


@functools.cache
def hash_sources(*folders: str) -> str:
    """A hash of the modules in folders of this package, as they are on the disk."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(path for folder in folders for path in package.joinpath(folder).rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()


def _evict(base: Path) -> None:
    """Remove the least recently used files beyond the limits; only files of the cache."""
    for pattern in ("programs/*.jax", "xla-*/*.xla", "kernels/*.numba"):
        files = [(path.stat(), path) for path in base.glob(pattern) if FILE_NAMES.fullmatch(path.name)]
        files.sort(key=lambda file: file[0].st_mtime_ns, reverse=True)
        total = 0
        for i, (status, path) in enumerate(files):
            total += status.st_size
            if i >= MAX_FILES or total > MAX_BYTES:
                path.unlink(missing_ok=True)
