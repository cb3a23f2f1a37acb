"""Machine code of the kernels in the compile cache.

Numba's own cache notices changes of the compiled function's file only, and stays damaged once it is.
"""

import pickle
import sys
from contextlib import suppress
from io import BytesIO
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from samplernn_theano.backends import compile_cache
from samplernn_theano.generation.kernels.elementwise import OPTIONS

VERSIONS = (sys.version, *(module.__version__ for module in (numba, llvmlite, np)))


def compiled(function):
    """Compile a function to call from Python; store its machine code in the compile cache."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = _Cache(function.__qualname__)
    return dispatcher


class _Cache(NullCache):
    """Of one function: machine code by the types of its arguments and what else determines it."""

    def __init__(self, name: str) -> None:
        self._of_all = name, compile_cache.hash_sources("generation/kernels"), VERSIONS

    def load_overload(self, sig, target_context):
        target_context.refresh()
        files = _files()
        found = files and files.get(self._key(sig, target_context.codegen()))
        with suppress(pickle.UnpicklingError):
            return found and CompileResult._rebuild(target_context, *_Unpickler(BytesIO(found)).load())

    def save_overload(self, sig, cres):
        if files := _files():
            files.put(self._key(sig, cres.library.codegen), dumps(cres._reduce()))

    def _key(self, signature, codegen) -> str:
        return repr((*self._of_all, str(signature), codegen.magic_tuple()))


class _Unpickler(pickle.Unpickler):
    """Builds Numba's types and named tuples, and what `CompileResult._reduce` puts them in."""

    BUILDERS = {
        "copyreg": "_reconstructor",
        "builtins": "object",
        "numba.core.types.abstract": "_type_reconstructor",
        "numba.core.typing.templates": "Signature",
        "numba.core.funcdesc": "PythonFunctionDescriptor",
        "numba.core.environment": "_rebuild_env",
    }

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(sys.modules.get(module), name, None)
        if self.BUILDERS.get(module) == name or (
            isinstance(found, type) and issubclass(found, types.Type | tuple)
        ):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is not part of machine code")


def _files() -> compile_cache.CompiledFiles | None:
    base = compile_cache.folder()
    return None if base is None else compile_cache.CompiledFiles(base / "kernels", "numba")
