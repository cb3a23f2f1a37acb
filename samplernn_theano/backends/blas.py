"""The BLAS libraries of this process: what OpenBLAS takes the processor for, and one for the backend c.

OpenBLAS chooses its kernels when it is loaded. On a processor that it does not know, or through a hypervisor
that hides what the processor is, it takes old ones, which run at half the speed: NumPy, numba and c suffer,
JAX has products of its own.
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
# What SkylakeX needs of a processor: AVX-512 as in the first Xeon that had it.
AVX512_FLAGS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
AVX2_FLAGS = {"avx2", "fma"}

ROUTINES = tuple(kind + name for kind in "sd" for name in ("gemm_", "gemv_", "ger_", "dot_", "axpy_"))
"""What PyTensor's C code may call."""


class OpenBLAS(NamedTuple):
    """An OpenBLAS library that this process has loaded."""

    path: str
    version: str
    core: str  # the processor whose kernels it took


def cpu_flags(cpuinfo: str | os.PathLike[str] = "/proc/cpuinfo") -> set[str]:
    """What the processor can do, in Linux's words; nothing where it cannot be read."""
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return set()
    flags = [line.partition(":")[2] for line in lines if line.partition(":")[0].strip() == "flags"]
    return set(flags[0].split()) if flags else set()


def loaded() -> list[OpenBLAS]:
    """Every OpenBLAS of this process: NumPy's, SciPy's, and the one named for the backend c."""
    import scipy.linalg  # noqa: F401  (it loads SciPy's)
    import threadpoolctl

    with suppress(OSError):  # what cannot be loaded, the compilation of the graph will complain of
        if named := _named_library(_asked_for()):
            ctypes.CDLL(named)
    return [
        OpenBLAS(library["filepath"], library["version"] or "", library["architecture"] or "")
        for library in threadpoolctl.threadpool_info()
        if library["internal_api"] == "openblas"
    ]


def remedy(core: str, flags: set[str]) -> str:
    """What to do if OpenBLAS took a processor with these flags for the lesser `core`; empty if it did not."""
    # The cores after SkylakeX add kernels for half precision only: it serves every processor with AVX-512.
    if flags >= AVX512_FLAGS:
        good, can, best = AVX512_CORES, "AVX-512", "SkylakeX"
    elif flags >= AVX2_FLAGS:
        good, can, best = AVX2_CORES + AVX512_CORES, "AVX2", "Haswell"
    else:
        return ""
    if not core or core in good:
        return ""
    return f"takes the processor for a {core}, but it has {can}: set OPENBLAS_CORETYPE={best}"


def describe_openblas(libraries: Sequence[OpenBLAS], flags: set[str]) -> str:
    """The libraries and the kernels that each took, then what to do about those that took the wrong ones."""
    if not libraries:
        return "none is loaded"
    words = [f"{Path(library.path).name} {library.version} ({library.core})" for library in libraries]
    wrong = dict.fromkeys(filter(None, (remedy(library.core, flags) for library in libraries)))
    return ", ".join(words) + "".join(f"; OpenBLAS {sentence}" for sentence in wrong)


def linker_flags(libraries: Sequence[OpenBLAS]) -> str:
    """PyTensor's `blas__ldflags` for the backend c; empty if there is no BLAS to link.

    What the user or PyTensor found; else the OpenBLAS that SciPy's wheels bring, whose routines bear the
    prefix `scipy_` (NumPy's own counts in 64 bits, which PyTensor's C code does not); else the system's.
    """
    return _asked_for() or _bundled_flags(libraries) or _system_flags()


def describe_linked(libraries: Sequence[OpenBLAS]) -> str:
    """The BLAS of the backend c in words, or how to get one."""
    found = linker_flags(libraries)
    if not found:
        return (
            "none: the backend c will be slow. Debian and Ubuntu: apt install libopenblas0-pthread; "
            "conda-forge's pytensor brings one"
        )
    return _named_library(found) or found


def _asked_for() -> str:
    """PyTensor's setting: the user's, or what PyTensor's own search found."""
    import pytensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTensor's own words on a missing BLAS, a paragraph long
        return pytensor.config.blas__ldflags


def _bundled_flags(libraries: Sequence[OpenBLAS]) -> str:
    for library in libraries:
        path = Path(library.path)
        if path.suffix == ".so" and path.parent.name == "scipy.libs" and _has(path, "scipy_"):
            renamed = " ".join(f"-D{name}=scipy_{name}" for name in ROUTINES)
            # Given to the linker itself: PyTensor searches what -L names, and warns of names like this one.
            folder = shlex.quote(f"-Wl,-L{path.parent},-rpath,{path.parent}")
            return f"{folder} -l:{path.name} {renamed}"
    return ""


def _system_flags() -> str:
    # The bare name of the file, because the link `libopenblas.so` comes with the development package only.
    name = ctypes.util.find_library("openblas") if os.name == "posix" else None
    return f"-l:{name}" if name and ".so" in name and _has(name, "") else ""


def _has(library: str | os.PathLike[str], prefix: str) -> bool:
    """Whether every routine is there under this prefix."""
    try:
        routines = ctypes.CDLL(os.fspath(library))
    except OSError:
        return False
    return all(hasattr(routines, prefix + name) for name in ROUTINES)


def _named_library(flags: str) -> str:
    """The file that the flags name, found as the linker finds it; empty if none is."""
    words = shlex.split(flags)
    folders = [Path(word[2:]) for word in words if word.startswith("-L")]
    folders += [Path(word.split(",")[1][2:]) for word in words if word.startswith("-Wl,-L")]
    for name in (word[2:] for word in words if word.startswith("-l")):
        file = name[1:] if name.startswith(":") else f"lib{name}.so"
        for folder in folders:
            if (folder / file).is_file():
                return str(folder / file)
        if name.startswith(":"):  # in one of the system's own folders, where the loader looks too
            return file
    return ""
