"""How a graph becomes a callable. The only module that knows the backends.

``jax``    compiled by XLA; the default where JAX is installed, and the only way to a GPU
``numba``  compiled by Numba, which PyTensor always brings
``c``      PyTensor's own C code; needs a C++ compiler, and to be fast a BLAS named in `blas__ldflags`
"""

import importlib.metadata
import importlib.util
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.errors import BackendError
from samplernn_theano.threads import THREAD_VARIABLES

BACKENDS = ("jax", "numba", "c")

BLAS_WARNING = "PyTensor could not link to a BLAS"  # `samplernn info` says it
# PyTensor asks for 64-bit accumulators and indices, which JAX rightly declines at 32 bits.
NARROWING_WARNING = "Explicitly requested dtype (float|int)64"


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


def compile_function(
    inputs: Sequence[Expression],
    outputs: Sequence[Expression],
    updates: Mapping[SharedVariable, Expression] | None = None,
    backend: str | None = None,
) -> Callable[..., list[Any]]:
    """Compile a graph whose shapes are all static.

    The callable trusts its inputs: give arrays of exactly the graph's dtypes and shapes. On jax the outputs
    are device arrays, computed asynchronously; pass them back in as they are, or use `numpy.asarray` to wait
    for them. Updates stay on the device.

    Raises
    ------
    BackendError
        If the backend is unknown or cannot work here.
    """
    backend = backend or default_backend()
    check_backend(backend)
    mode = {"jax": "JAX", "numba": "NUMBA", "c": "CVM"}[backend]
    # NumPy-like promotion of integers can ask for floatX: float64 would leak into a float32 graph.
    dtype = "float64" if any(v.dtype == "float64" for v in outputs) else "float32"
    # JAX makes arrays of a graph's constants now, in the precision in force.
    precision = _jax_precision(dtype) if backend == "jax" else nullcontext()
    with pytensor.config.change_flags(floatX=dtype), precision, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=BLAS_WARNING)
        warnings.filterwarnings("ignore", message=NARROWING_WARNING)
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

    def call(*arguments: Any) -> list[Any]:
        # The graph is traced at its first call, and cached by JAX under the precision in force.
        with _jax_precision(dtype), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=NARROWING_WARNING)
            try:
                return function(*arguments)
            except RuntimeError as error:
                if "RESOURCE_EXHAUSTED" in str(error):  # JAX's own word, on any device
                    raise MemoryError(str(error)) from error
                raise

    call.pytensor_function = function  # type: ignore[attr-defined]
    return call


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTensor's own words on a missing BLAS, a paragraph long
        blas = pytensor.config.blas__ldflags
    info["BLAS of the backend c"] = blas or "none: the backend c will be slow"
    info["cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    limits = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    info["threads"] = ", ".join(limits) or "no limit set: all cores"
    return info


@contextmanager
def _jax_precision(dtype: str) -> Iterator[None]:
    """The graph's own precision: no silent narrowing of float64, no TF32 in the matrix products of a GPU."""
    import jax

    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield
