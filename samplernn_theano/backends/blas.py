"""The BLAS libraries of this process: misdetected processors, and a BLAS for the backend c.

OpenBLAS chooses its kernels when it is loaded. On a processor that it does not know, or under a hypervisor
that hides the processor, it falls back to old ones, at half the speed. This affects NumPy, numba and c; JAX
has its own matrix products.
"""

import ctypes
import ctypes.util
import os
import shlex
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

AVX512_CORES: tuple[str, ...] = ("SkylakeX", "Cooperlake", "SapphireRapids")
AVX2_CORES: tuple[str, ...] = ("Haswell", "Zen")
# Required by SkylakeX: AVX-512 as in the first Xeon that had it.
AVX512_FLAGS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
AVX2_FLAGS = {"avx2", "fma"}

ROUTINES = tuple(kind + name for kind in "sd" for name in ("gemm_", "gemv_", "ger_", "dot_", "axpy_"))
"""The BLAS routines that PyTensor's C code may call."""


class OpenBLAS(NamedTuple):
    """An OpenBLAS library that this process has loaded."""

    path: str
    version: str
    core: str  # the processor that it detected, whose kernels it uses


def cpu_flags(cpuinfo: str | os.PathLike[str] = "/proc/cpuinfo") -> set[str]:
    """The processor's flags as Linux names them; empty if they cannot be read."""
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return set()
    flags = [line.partition(":")[2] for line in lines if line.partition(":")[0].strip() == "flags"]
    return set(flags[0].split()) if flags else set()


def loaded() -> list[OpenBLAS]:
    """Every OpenBLAS of this process: NumPy's, SciPy's, and the one configured for the backend c."""
    import scipy.linalg  # noqa: F401  (it loads SciPy's)
    import threadpoolctl

    with suppress(OSError):  # the compilation of a graph reports a library that cannot be loaded
        if named := _named_library(_configured_flags()):
            ctypes.CDLL(named)
    return [
        OpenBLAS(library["filepath"], library["version"] or "", library["architecture"] or "")
        for library in threadpoolctl.threadpool_info()
        if library["internal_api"] == "openblas"
    ]


def remedy(core: str, flags: set[str]) -> str:
    """The fix if `core` is a misdetection of a processor with these flags; empty if it is not."""
    # The cores after SkylakeX add kernels for half precision only: it serves every processor with AVX-512.
    if flags >= AVX512_FLAGS:
        good, can, best = AVX512_CORES, "AVX-512", "SkylakeX"
    elif flags >= AVX2_FLAGS:
        good, can, best = AVX2_CORES + AVX512_CORES, "AVX2", "Haswell"
    else:
        return ""
    if not core or core in good:
        return ""
    return f"misdetects the processor as a {core}, but it has {can}: set OPENBLAS_CORETYPE={best}"


def describe_openblas(libraries: Sequence[OpenBLAS], flags: set[str]) -> str:
    """The libraries with the processor that each detected, then the fix for misdetections."""
    if not libraries:
        return "none is loaded"
    found = [f"{Path(library.path).name} {library.version} ({library.core})" for library in libraries]
    fixes = dict.fromkeys(filter(None, (remedy(library.core, flags) for library in libraries)))
    return ", ".join(found) + "".join(f"; OpenBLAS {fix}" for fix in fixes)


def linker_flags(libraries: Sequence[OpenBLAS]) -> str:
    """PyTensor's `blas__ldflags` for the backend c; empty if there is no BLAS to link.

    The user's setting or PyTensor's finding; else the OpenBLAS in SciPy's wheels, whose routines have the
    prefix `scipy_` (NumPy's own has 64-bit integers, PyTensor's C code 32-bit ones); else the system's.
    """
    return _configured_flags() or _bundled_flags(libraries) or _system_flags()


def describe_linked(libraries: Sequence[OpenBLAS]) -> str:
    """The BLAS library of the backend c, or how to get one."""
    found = linker_flags(libraries)
    if not found:
        return (
            "none: the backend c will be slow. Debian and Ubuntu: apt install libopenblas0-pthread; "
            "conda-forge's pytensor brings one"
        )
    return _named_library(found) or found


def _configured_flags() -> str:
    """PyTensor's setting: the user's, or the result of PyTensor's own search."""
    import pytensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTensor's own warning of a missing BLAS, a paragraph long
        return pytensor.config.blas__ldflags


def _bundled_flags(libraries: Sequence[OpenBLAS]) -> str:
    for library in libraries:
        path = Path(library.path)
        if path.suffix == ".so" and path.parent.name == "scipy.libs" and _has(path, "scipy_"):
            renamed = " ".join(f"-D{name}=scipy_{name}" for name in ROUTINES)
            # As a linker option: PyTensor searches the folders of -L, and warns of names like this one.
            folder = shlex.quote(f"-Wl,-L{path.parent},-rpath,{path.parent}")
            return f"{folder} -l:{path.name} {renamed}"
    return ""


def _system_flags() -> str:
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


def _named_library(flags: str) -> str:
    """The library that the flags name, found as the linker finds it; empty if there is none."""
    arguments = shlex.split(flags)
    folders = [Path(flag[2:]) for flag in arguments if flag.startswith("-L")]
    folders += [Path(flag.split(",")[1][2:]) for flag in arguments if flag.startswith("-Wl,-L")]
    for name in (flag[2:] for flag in arguments if flag.startswith("-l")):
        file = name[1:] if name.startswith(":") else f"lib{name}.so"
        for folder in folders:
            if (folder / file).is_file():
                return str(folder / file)
        if name.startswith(":"):  # in a folder of the system, which the loader searches too
            return file
    return ""
