"""Compiled programs, kept from one process to the next.

What PyTensor and JAX make of a model (its gradient, rewritten, traced) is kept under a name that stands for
all that it depends on; so is what XLA makes of that, under the name that JAX gives it. What is missing or
damaged is made again. The folder is ``$SAMPLERNN_CACHE``, else ``~/.cache/samplernn-theano``;
``SAMPLERNN_CACHE=off`` keeps nothing.

The package's files are a part of a program's name, as they are on the disk. Whoever changes a constant or a
function of the package within a process sets ``SAMPLERNN_CACHE=off``, or gets the program of the files.
"""

import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytensor

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import atomic_write

MOST_FILES = 128
MOST_BYTES = 5 * 10**8
"""How much is kept of programs, and again of what XLA made of them."""

COMPILED_SECONDS = 0.2
"""What XLA compiles faster is not kept."""

NAMES = re.compile(r"([0-9a-f]{64}|\.[0-9a-f]{64}\.\d+\.part)\.(jax|xla)")
"""Of our files, whole or half written: nothing else in the folder is ever removed."""


def folder() -> Path | None:
    """Where programs are kept; None where none are."""
    asked = os.environ.get("SAMPLERNN_CACHE")
    if asked == "off":
        return None
    if asked:
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "samplernn-theano"


def find(what: Mapping[str, Any]) -> tuple[dict[str, Any], bytearray] | None:
    """What was kept of a program: its description and the program itself; None if nothing, or damaged."""
    path = _path(what)
    return None if path is None else _read(path)


def keep(what: Mapping[str, Any], about: Mapping[str, Any], data: bytes | bytearray) -> None:
    """Keep a program, if the folder can be written to; what was used longest ago makes room."""
    if (path := _path(what)) is not None:
        _write(path, about, data)


def keep_compiled() -> None:
    """Let JAX keep what XLA compiles, unless the user has said where or the folder cannot be written to."""
    import jax
    from jax._src import compilation_cache

    base = folder()
    if base is None or jax.config.jax_compilation_cache_dir:
        return
    compiled = base / f"xla-{_processor_kind()}"
    try:
        compiled.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return
    if not os.access(compiled, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(compiled))  # XLA's choices of GPU kernels as well
    jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILED_SECONDS)
    # JAX's own files are not written atomically, and one that is damaged is never replaced.
    files: Any = CompiledFiles(compiled)
    compilation_cache._cache = files


class CompiledFiles:
    """What XLA has compiled, by JAX's key; an implementation of JAX's ``CacheInterface``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> bytes | None:
        """What was kept with this key; None if nothing, or damaged."""
        found = _read(self._file(key))
        return None if found is None else bytes(found[1])

    def put(self, key: str, value: bytes) -> None:
        """Keep `value`, if that can be done, in place of what has this key."""
        _write(self._file(key), {}, value)

    def _file(self, key: str) -> Path:
        return self._path / f"{hashlib.sha256(key.encode()).hexdigest()}.xla"


# --- helpers ------------------------------------------------------------------------------------------------


def _path(what: Mapping[str, Any]) -> Path | None:
    base = folder()
    if base is None:
        return None
    import jax
    import jaxlib

    config = pytensor.config
    made_with = {
        "sources": _sources(),
        "versions": [sys.version, *(module.__version__ for module in (pytensor, jax, jaxlib, np))],
        "flags": os.environ.get("PYTENSOR_FLAGS"),
        "optimizer": [config.optimizer, config.optimizer_including, config.optimizer_excluding],
        "platform": jax.default_backend(),
    }
    name = json.dumps({**what, **made_with}, sort_keys=True)
    return base / "programs" / f"{hashlib.sha256(name.encode()).hexdigest()}.jax"


def _read(path: Path) -> tuple[dict[str, Any], bytearray] | None:
    """The description and the data of a file; None if it is missing or damaged."""
    try:
        head, _, data = path.read_bytes().partition(b"\n")
        about = json.loads(head)
        if about.pop("sha256") != hashlib.sha256(data).hexdigest():
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with suppress(OSError):  # the folder may be another user's
        os.utime(path)  # the time of its last use
    return about, bytearray(data)


def _write(path: Path, about: Mapping[str, Any], data: bytes | bytearray) -> None:
    """Write a description and data, if that can be done, and make room for them."""
    head = json.dumps({**about, "sha256": hashlib.sha256(data).hexdigest()})
    with suppress(OutputError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path, durable=False) as temporary:
            temporary.write_bytes(head.encode() + b"\n" + data)
        _make_room(path.parents[1])


@functools.cache
def _sources() -> str:
    """A name for this version of the modules that may decide what a program computes."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("models/*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _processor_kind() -> str:
    """A name for processors of this kind: what is compiled for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return "any"
    kind = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return hashlib.sha256("".join(sorted(kind)).encode()).hexdigest()[:8]


def _make_room(base: Path) -> None:
    """Remove what was used longest ago beyond what may be kept; only files of ours."""
    for pattern in ("programs/*.jax", "xla-*/*.xla"):
        ours = [(path.stat(), path) for path in base.glob(pattern) if NAMES.fullmatch(path.name)]
        ours.sort(key=lambda file: file[0].st_mtime_ns, reverse=True)
        total = 0
        for i, (stat, path) in enumerate(ours):
            total += stat.st_size
            if i >= MOST_FILES or total > MOST_BYTES:
                path.unlink(missing_ok=True)
