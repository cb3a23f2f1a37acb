"""Compiled programs, kept from one process to the next.

What PyTensor and JAX make of a model (its gradient, rewritten, traced) is kept under a name that stands for
all that it depends on; so is what XLA makes of that, by JAX's own cache. What is missing or damaged is made
again. The folder is ``$SAMPLERNN_CACHE``, else ``~/.cache/samplernn-theano``; ``SAMPLERNN_CACHE=off`` keeps
nothing.
"""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytensor

from samplernn_theano.errors import OutputError
from samplernn_theano.files import atomic_write

MOST_PROGRAMS = 64
MOST_BYTES = 10**9
COMPILED_SECONDS = 0.2
"""What XLA compiles faster is not kept."""


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
    if (path := _path(what)) is None:
        return None
    try:
        head, _, data = path.read_bytes().partition(b"\n")
        about = json.loads(head)
        if about.pop("sha256") != hashlib.sha256(data).hexdigest():
            return None
        os.utime(path)  # the oldest are removed first
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, or damaged
        return None
    return about, bytearray(data)


def keep(what: Mapping[str, Any], about: Mapping[str, Any], data: bytes | bytearray) -> None:
    """Keep a program, if the folder can be written to; the oldest make room."""
    if (path := _path(what)) is None:
        return
    head = json.dumps({**about, "sha256": hashlib.sha256(data).hexdigest()})
    with suppress(OutputError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path, durable=False) as temporary:
            temporary.write_bytes(head.encode() + b"\n" + data)
        _make_room(path.parents[1])


def keep_compiled() -> None:
    """Let JAX keep what XLA compiles, unless the user has said where."""
    import jax

    base = folder()
    if base is None or jax.config.jax_compilation_cache_dir:
        return
    jax.config.update("jax_compilation_cache_dir", str(base / f"xla-{_processor_kind()}"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILED_SECONDS)


# --- helpers ------------------------------------------------------------------------------------------------


def _path(what: Mapping[str, Any]) -> Path | None:
    base = folder()
    if base is None:
        return None
    import jax

    made_with = {
        "sources": _sources(),
        "versions": [sys.version, *(module.__version__ for module in (pytensor, jax, np))],
        "flags": os.environ.get("PYTENSOR_FLAGS"),
        "platform": jax.default_backend(),
    }
    name = json.dumps({**what, **made_with}, sort_keys=True)
    return base / "programs" / f"{hashlib.sha256(name.encode()).hexdigest()}.jax"


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
    """Remove the oldest programs and compiled programs beyond what may be kept."""
    newest_first = sorted(
        ((stat.st_mtime, stat.st_size, path) for path in base.glob("*/*") if (stat := path.stat())),
        reverse=True,
    )
    programs = total = 0
    for _, size, path in newest_first:
        programs += path.suffix == ".jax"
        total += size
        if total > MOST_BYTES or (path.suffix == ".jax" and programs > MOST_PROGRAMS):
            path.unlink(missing_ok=True)
