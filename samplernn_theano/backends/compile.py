"""Compile a graph on one of the backends.

``jax``    compiled by XLA; the default where JAX is installed, and the only one for a GPU
``numba``  compiled by Numba, which is always installed with PyTensor
``c``      PyTensor's own C code; needs a C++ compiler and a BLAS (`samplernn_theano.backends.blas`)
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytensor
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends import blas, compile_cache, threads
from samplernn_theano.backends.compile_cache import cpuinfo
from samplernn_theano.backends.threads import THREAD_VARIABLES
from samplernn_theano.config.settings import PRECISIONS
from samplernn_theano.errors import BackendError
from samplernn_theano.utils.files import flock

BACKENDS = ("jax", "numba", "c")

OF_STRUCTURED_MATRICES = ("dot_diag_to_elemwise", "selection_dot_to_indexing", "useless_symmetric_transpose")
"""Rewrites of matrices that are diagonal, symmetric or have single ones, which no model has: looking for them
takes a sixth of the time of rewriting."""


def default_backend() -> str:
    """jax if it is installed, else numba."""
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
    if backend != "jax" and (problem := _problem_of_folder(backend)):
        raise BackendError(
            f"--backend {backend} has its code in {pytensor.config.base_compiledir}, {problem}; name another "
            "folder, on a local disk, with PYTENSOR_FLAGS=base_compiledir=FOLDER."
        )


def _problem_of_folder(backend: str) -> str:
    """Why PyTensor's folder of compiled code cannot be used, or an empty text."""
    try:
        with tempfile.TemporaryFile(dir=pytensor.config.compiledir) as file:
            has_locks = flock(file.fileno(), fcntl.LOCK_EX)
    except (OSError, ValueError):  # ValueError: it cannot be created
        return "which cannot be written to"
    return "" if has_locks or backend != "c" else "which has no file locks"


def check_precision(backend: str, precision: str) -> None:
    """Raise BackendError if `backend` does not compute in `precision`."""
    if precision not in PRECISIONS:
        raise BackendError(f"--precision {precision} is unknown; choose one of {', '.join(PRECISIONS)}.")
    if precision != "highest" and backend != "jax":
        raise BackendError(
            f"--backend {backend} computes in the highest precision only, not in {precision} (as given, or "
            "as in the run so far); give --precision highest, or use --backend jax."
        )


def check_devices(backend: str, n_devices: int, batch_size: int) -> None:
    """Raise BackendError if a batch cannot be split over `n_devices` devices."""
    if n_devices == 1:
        return
    if n_devices < 1:
        raise BackendError(f"--devices is {n_devices}; it must be 1 or more.")
    if backend != "jax":
        raise BackendError(
            f"--backend {backend} uses one device, not {n_devices} (as given, or as in the run so far); "
            "give --devices 1, or use --backend jax."
        )
    if batch_size % n_devices:
        raise BackendError(
            f"--devices {n_devices} cannot split a batch evenly: --batch_size {batch_size} is no multiple."
        )
    if (found := len(jax_devices())) < n_devices:
        raise BackendError(
            f"--devices {n_devices} (as given, or as in the run so far), but JAX finds {found}; "
            f"give --devices {found}, or for a trial on a CPU set "
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
    batched: Collection[Expression] = (),
) -> Callable[..., list[Any]]:
    """Compile a graph of static shapes.

    The callable trusts its inputs: give arrays of exactly the graph's dtypes and shapes. On jax the outputs
    are device arrays, computed asynchronously; pass them back in as they are, or use `numpy.asarray` to wait
    for them. Updates stay on the device, in the memory of the old values.

    `precision` is one of `settings.PRECISIONS`; a float64 graph has always the highest. With several devices
    each has its shard of a batch: the graph is that of one shard, and its sums over the batch are those of
    `samplernn_theano.backends.all_reduce`; the arrays of `batched`, inputs and outputs whose first axis is
    the batch, are those of the whole batch. The arrays of `donate`, if they are JAX's, may be overwritten.
    """
    backend = backend or default_backend()
    check_backend(backend)
    mode = pytensor.compile.mode.get_mode({"jax": "JAX", "numba": "NUMBA", "c": "CVM"}[backend])
    mode = mode.excluding(*OF_STRUCTURED_MATRICES)
    if backend == "c":
        # It would write float32 constants into the code as doubles of a few digits: 0.999 instead of
        # float32(0.999), a difference of 1.5e-5 in Adam's first steps.
        mode = mode.excluding("local_inline_composite_constants")
    # NumPy-like promotion of integers can use floatX: float64 would leak into a float32 graph.
    dtype = "float64" if any(v.dtype == "float64" for v in outputs) else "float32"
    flags = {"floatX": dtype}
    context: AbstractContextManager[None] = nullcontext()
    if backend == "c":
        flags["blas__ldflags"] = blas.linker_flags()
    if backend == "numba":
        from samplernn_theano.backends import numba_files

        numba_files.install()
    if backend == "jax":
        from samplernn_theano.backends import jax_program

        jax_devices()  # an error in one line if there are none
        context = jax_program.precision(dtype)  # JAX converts the constants of a graph now
    with pytensor.config.change_flags(**flags), context, warnings.catch_warnings():
        # `samplernn info` reports it.
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
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
        layout = {"devices": n_devices, "dtype": dtype, "precision": precision}
        return jax_program.compile_graph(function, inputs, outputs, donate, batched, **layout)


def allow_concurrent_calls(backend: str) -> int:
    """Let threads call programs at the same time, and return how many; to be called before JAX's first use.

    Only on a CPU, and not the functions of PyTensor itself, the backends numba and c.
    """
    if backend != "jax":
        return 1
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # else one thread computes for all
    return threads.available() if jax_devices()[0].platform == "cpu" else 1


def load_program(key: Mapping[str, Any]) -> Any:
    """Program of this key from the compile cache, which exists for JAX only, or None."""
    if key["backend"] != "jax":
        return None
    from samplernn_theano.backends import jax_program

    jax_devices()  # an error in one line if there are none
    return jax_program.load(key)


def store_program(key: Mapping[str, Any], program: Any) -> Callable[..., list[Any]]:
    """Store a program of `compile_function` in the compile cache, if it is for JAX; return it."""
    if key["backend"] == "jax":
        from samplernn_theano.backends import jax_program

        jax_program.store(key, program)
    return program


def wait_for_scalar(value: Any) -> float:
    """Block until a scalar result is ready, and return it; MemoryError if the device ran out of memory."""
    if isinstance(value, np.ndarray):
        return float(value)
    import jax

    from samplernn_theano.backends import jax_program

    with jax_program.memory_errors():
        return float(jax.device_get(value))


def to_numpy(values: Sequence[Any]) -> list[NDArray]:
    """Results of a compiled function as NumPy arrays, of the whole batch; blocks until they are ready."""
    if all(isinstance(value, np.ndarray) for value in values):
        return list(values)
    from samplernn_theano.backends import jax_program

    return [jax_program.to_numpy(value) for value in values]


def jax_devices() -> list[Any]:
    """The devices that JAX finds; BackendError if there are none."""
    import jax

    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter of a platform that is known and missing
        wanted, remedy = "", "use --backend numba."
        if platforms := os.environ.get("JAX_PLATFORMS"):
            wanted, remedy = f" with JAX_PLATFORMS={platforms}", f"unset JAX_PLATFORMS, or {remedy}"
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise BackendError(f"JAX finds no device{wanted}{reason and f' ({reason})'}; {remedy}") from error


def devices(backend: str) -> str:
    """Names of the devices that `backend` finds."""
    names = [line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")]
    cpu = f"cpu ({names[0] if names else platform.processor() or platform.machine()})"
    if backend != "jax":
        return cpu
    return ", ".join(
        cpu if d.platform == "cpu" else f"{d.platform} {d.id} ({d.device_kind})" for d in jax_devices()
    )


def describe(backend: str | None = None) -> dict[str, str]:
    """Versions, the backend and the reason for it, devices and threads, for `samplernn info`."""
    chosen = backend or default_backend()
    check_backend(chosen)
    why = "given" if backend else ("JAX is installed" if chosen == "jax" else "JAX is not installed")
    info = {"backend": f"{chosen} ({why})"}
    for name in ("samplernn-theano", "pytensor", "jax", "jaxlib", "numba", "numpy", "scipy", "soundfile"):
        try:
            info[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            info[name] = "not installed"
    try:
        found = devices(chosen)
    except BackendError as error:
        found = f"none: {error}"
    limits = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return info | {
        "devices": found,
        "C++ compiler": pytensor.config.cxx or "none: the backend c cannot be used",
        "BLAS of the backend c": blas.describe(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": ", ".join(limits) or "no limit set: all cores",
        "compile cache": str(compile_cache.folder() or "off"),
    }
