"""A BLAS library for the backend c."""

import ctypes
import ctypes.util
import os
import shlex
import warnings
from pathlib import Path

ROUTINES = tuple(kind + name for kind in "sd" for name in ("gemm_", "gemv_", "ger_", "dot_", "axpy_"))
"""The BLAS routines that PyTensor's C code may call."""


def linker_flags() -> str:
    """PyTensor's `blas__ldflags` for the backend c; empty if there is no BLAS to link.

    The user's setting or PyTensor's finding; else the OpenBLAS in SciPy's wheels, whose routines have the
    prefix `scipy_` (NumPy's own has 64-bit integers, PyTensor's C code 32-bit ones); else the system's.
    """
    return configured_flags() or bundled_flags() or system_flags()


def describe() -> str:
    """The linker's name of the BLAS library of the backend c, or how to get one."""
    return " ".join(flag for flag in shlex.split(linker_flags()) if flag.startswith("-l")) or (
        "none: the backend c will be slow. Debian and Ubuntu: apt install libopenblas0-pthread; "
        "conda-forge's pytensor brings one"
    )


def configured_flags() -> str:
    """PyTensor's setting: the user's, or the result of PyTensor's own search."""
    import pytensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTensor's own warning of a missing BLAS, a paragraph long
        return pytensor.config.blas__ldflags


def bundled_flags() -> str:
    """Flags that link the OpenBLAS in SciPy's wheels, if there is one."""
    import scipy.linalg  # noqa: F401  (it loads the library)
    import threadpoolctl

    for path in (Path(library["filepath"]) for library in threadpoolctl.threadpool_info()):
        if path.suffix == ".so" and path.parent.name == "scipy.libs" and _has(path, "scipy_"):
            renamed = " ".join(f"-D{name}=scipy_{name}" for name in ROUTINES)
            # As a linker option: PyTensor searches the folders of -L, and warns of names like this one.
            folder = shlex.quote(f"-Wl,-L{path.parent},-rpath,{path.parent}")
            return f"{folder} -l:{path.name} {renamed}"
    return ""


def system_flags() -> str:
    """Flags that link the system's OpenBLAS, if there is one."""
    # The file name, because the link `libopenblas.so` comes with the development package only.
    name = ctypes.util.find_library("openblas") if os.name == "posix" else None
    return f"-l:{name}" if name and ".so" in name and _has(name, "") else ""


def _has(library: str | os.PathLike[str], prefix: str) -> bool:
    """True if the library has every routine under this prefix."""
    try:
        routines = ctypes.CDLL(os.fspath(library))
    except OSError:
        return False
    return all(hasattr(routines, prefix + name) for name in ROUTINES)
