"""How a graph becomes a callable. The only module that knows the backends.

``jax``    compiled by XLA; the default where JAX is installed, and the only way to a GPU
``numba``  compiled by Numba, which PyTensor always brings
``c``      PyTensor's own C code; needs a C++ compiler, and links a BLAS that
`samplernn_theano.backends.blas` finds
"""

import importlib.metadata
import importlib.util
import os
import platform
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends import blas, compile_cache
from samplernn_theano.backends.threads import THREAD_VARIABLES
from samplernn_theano.errors import BackendError

BACKENDS = ("jax", "numba", "c")

PRECISIONS = ("highest", "tf32", "bf16")
"""Of the matrix products of a GPU: float32 throughout; or of factors cut to 10 or 7 bits of mantissa, summed
in float32. On a CPU all are the highest."""

BLAS_WARNING = "PyTensor could not link to a BLAS"  # `samplernn info` says it


def default_backend() -> str:
    """jax where it is installed, else numba."""
    return "jax" if importlib.util.find_spec("jax") else "numba"


def check_backend(backend: str) -> None:
    """Raise BackendError if `backend` is unknown or cannot work here."""
    if backend not in BACKENDS:
        raise BackendError(f"--backend {backend} is unknown; choose one of {', '.join(BACKENDS)}.")
    if backend == "jax" and not importlib.util.find_spec("jax"):
        raise BackendError(
            "--backend jax needs JAX: pip install 'samplernn-theano[jax]', or use --backend numba."
        )
    if backend == "c" and not pytensor.config.cxx:
        raise BackendError("--backend c needs a C++ compiler (g++), which was not found; use jax or numba.")


def check_precision(backend: str, precision: str) -> None:
    """Raise BackendError if `backend` does not compute in `precision`."""
    if precision not in PRECISIONS:
        raise BackendError(f"--precision {precision} is unknown; choose one of {', '.join(PRECISIONS)}.")
    if precision != "highest" and backend != "jax":
        raise BackendError(
            f"--backend {backend} computes in the highest precision only, not in {precision}, as is wanted "
            "or as the run had before; give --precision highest, or use --backend jax."
        )


def check_devices(backend: str, n_devices: int, batch_size: int) -> None:
    """Raise BackendError if a batch cannot be shared by so many devices."""
    if n_devices == 1:
        return
    if backend != "jax":
        raise BackendError(
            f"--backend {backend} uses one device, not {n_devices}, as are wanted or the run had before; "
            "give --devices 1, or use --backend jax."
        )
    if batch_size % n_devices:
        raise BackendError(
            f"--devices {n_devices} cannot share a batch evenly: --batch_size {batch_size} is no multiple."
        )
    import jax

    if (there := jax.device_count()) < n_devices:
        raise BackendError(
            f"{n_devices} devices are wanted (--devices, or as the run had before) and JAX finds {there}; "
            f"give --devices {there}, or for a trial on a CPU set "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={n_devices}."
        )


def compile_function(
    inputs: Sequence[Expression],
    outputs: Sequence[Expression],
    updates: Mapping[SharedVariable, Expression] | None = None,
    backend: str | None = None,
    precision: str = "highest",
    n_devices: int = 1,
    donate: Collection[Expression] = (),
    by_row: Collection[Expression] = (),
) -> Callable[..., list[Any]]:
    """Compile a graph whose shapes are all static.

    The callable trusts its inputs: give arrays of exactly the graph's dtypes and shapes. On jax the outputs
    are device arrays, computed asynchronously; pass them back in as they are, or use `numpy.asarray` to wait
    for them. Updates stay on the device, and take the place of the old values in its memory.

    Parameters
    ----------
    precision : str
        Of matrix products, one of `PRECISIONS`; those of a float64 graph are always of the highest.
    n_devices : int
        How many devices run the graph, each on its part of a batch. The graph is that of one part; its sums
        over the batch are those of `samplernn_theano.backends.all_reduce`.
    donate : collection of expression
        Inputs whose arrays, if they are JAX's, are given away: their memory is used for the results.
    by_row : collection of expression
        Inputs and outputs with a row for each sequence of the batch. With several devices the callable takes
        and returns those of the whole batch.

    Raises
    ------
    BackendError
        If the backend is unknown or cannot work here.
    """
    backend = backend or default_backend()
    check_backend(backend)
    mode = pytensor.compile.mode.get_mode({"jax": "JAX", "numba": "NUMBA", "c": "CVM"}[backend])
    if backend == "c":
        # It would write float32 constants into the code as doubles of a few digits: 0.999 in place of
        # float32(0.999), which in Adam's first steps makes a difference of 1.5e-5.
        mode = mode.excluding("local_inline_composite_constants")
    # NumPy-like promotion of integers can ask for floatX: float64 would leak into a float32 graph.
    dtype = "float64" if any(v.dtype == "float64" for v in outputs) else "float32"
    # JAX makes arrays of a graph's constants now, in the precision in force.
    flags = {"floatX": dtype} | (
        {"blas__ldflags": blas.linker_flags(blas.loaded())} if backend == "c" else {}
    )
    with pytensor.config.change_flags(**flags), _precision(backend, dtype), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=BLAS_WARNING)
        function = pytensor.function(
            list(inputs),
            list(outputs),
            updates=dict(updates or {}),
            mode=mode,
            on_unused_input="ignore",
            trust_input=True,
        )
        if backend != "jax":
            return function
        from samplernn_theano.backends import jax_program

        of_layout = {"devices": n_devices, "dtype": dtype, "precision": precision}
        return jax_program.compile_graph(function, inputs, outputs, donate, by_row, **of_layout)


def _precision(backend: str, dtype: str) -> AbstractContextManager[None]:
    if backend != "jax":
        return nullcontext()
    from samplernn_theano.backends import jax_program

    return jax_program.precision(dtype)


def read(value: Any) -> float:
    """A number that a compiled function returned; waits for it.

    Raises
    ------
    MemoryError
        If the device ran out of memory over it.
    """
    if isinstance(value, np.ndarray):
        return float(value)
    import jax

    from samplernn_theano.backends import jax_program

    with jax_program.memory_errors():
        return float(jax.device_get(value))


def full(values: Sequence[Any]) -> list[NDArray]:
    """Arrays that a compiled function returned as NumPy has them; waits for them."""
    if all(isinstance(value, np.ndarray) for value in values):
        return list(values)
    from samplernn_theano.backends import jax_program

    return jax_program.full(values)


def devices(backend: str) -> str:
    """The devices that `backend` finds, in words."""
    cpu = f"cpu ({_processor()})"
    if backend != "jax":
        return cpu
    import jax

    return ", ".join(
        cpu if d.platform == "cpu" else f"{d.platform} {d.id} ({d.device_kind})" for d in jax.devices()
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe(backend: str | None = None) -> dict[str, str]:
    """Versions, the backend and why, devices and threads: what `samplernn info` prints."""
    chosen = backend or default_backend()
    check_backend(chosen)
    why = "asked for" if backend else ("JAX is installed" if chosen == "jax" else "JAX is not installed")
    info = {"backend": f"{chosen} ({why})"}
    for name in ("samplernn-theano", "pytensor", "jax", "jaxlib", "numba", "numpy", "scipy", "soundfile"):
        try:
            info[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            info[name] = "not installed"
    info["devices"] = devices(chosen)
    info["C++ compiler"] = pytensor.config.cxx or "none: the backend c cannot be used"
    libraries = blas.loaded()
    info["BLAS of the backend c"] = blas.describe_linked(libraries)
    info["OpenBLAS"] = blas.describe_openblas(libraries, blas.cpu_flags())
    info["cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    limits = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    info["threads"] = ", ".join(limits) or "no limit set: all cores"
    info["kept programs"] = str(compile_cache.folder() or "off")
    return info
