"""A graph as a program of JAX: on the devices, over several of them, without copies.

PyTensor rewrites a graph and says what it is in JAX; the rest is here. What a program changes stays on the
devices and is donated: its new value takes the place of the old one in memory. With several devices each runs
the same program on its own part of the batch (`samplernn_theano.backends.all_reduce`).
"""

import importlib.util
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.export
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.link.jax.dispatch import jax_funcify
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends import compile_cache
from samplernn_theano.backends.all_reduce import AXIS, AllSum

# PyTensor asks for 64-bit accumulators and indices, which JAX rightly declines at 32 bits.
NARROWING_WARNING = "Explicitly requested dtype (float|int)64"

MATMUL = {"highest": "highest", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""What JAX calls the precisions of matrix products. On a CPU the last two change nothing."""

MUCH_MEMORY = 2**30
"""Bytes of intermediate results beyond which a program for a CPU is compiled to need less of them."""

SAVE_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
# An order of operations that frees arrays early. Of small ones it lets fewer run side by side: 20 % slower.


@jax_funcify.register(AllSum)
def _all_sum(op: AllSum, **_: Any) -> Callable[..., Any]:
    def all_sum(*values: jax.Array) -> Any:
        sums = jax.lax.psum(values, AXIS)
        return sums if len(values) > 1 else sums[0]

    return all_sum


@dataclass(frozen=True)
class Layout:
    """What goes in and comes out of a program: the graph's inputs and variables, its outputs and updates.

    Attributes
    ----------
    variables : tuple of str
        Names of the variables, which follow the inputs.
    updated : tuple of int
        Which variables change, in the order in which their new values follow the outputs.
    donated : tuple of int
        Which inputs may be overwritten.
    rows_in, rows_out : tuple of bool
        Which inputs and outputs have a row for each sequence of the batch: over several devices they are cut.
    devices : int
    dtype, precision : str
        Of the graph; of its matrix products, a key of `MATMUL`.
    """

    variables: tuple[str, ...]
    updated: tuple[int, ...]
    donated: tuple[int, ...]
    rows_in: tuple[bool, ...]
    rows_out: tuple[bool, ...]
    devices: int = 1
    dtype: str = "float32"
    precision: str = "highest"

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """The arguments whose memory the program may use for its results."""
        return (*self.donated, *(len(self.rows_in) + i for i in self.updated))

    def shardings_in(self) -> list[Sharding]:
        """Where each argument lies."""
        rows, whole = shardings(self.devices)
        return [*(rows if cut else whole for cut in self.rows_in), *[whole] * len(self.variables)]

    def specs(self) -> tuple[tuple[PartitionSpec, ...], tuple[PartitionSpec, ...]]:
        """How arguments and results are cut."""
        rows, whole = PartitionSpec(AXIS), PartitionSpec()
        inputs = (*(rows if cut else whole for cut in self.rows_in), *(whole for _ in self.variables))
        outputs = (*(rows if cut else whole for cut in self.rows_out), *(whole for _ in self.updated))
        return inputs, outputs


class Program:
    """A compiled graph, to be called with arrays of its inputs; returns the outputs, as arrays of JAX.

    It is compiled at its first call. Calls return before the results are there.

    Attributes
    ----------
    layout : Layout
    variables : list of shared variable
        What it reads and changes beside its inputs; their values become arrays of JAX when it changes them.
    pytensor_function
        With the rewritten graph; None where the program was loaded.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Any]],
        avals: Sequence[tuple[tuple[int, ...], str]],
        layout: Layout,
        variables: Sequence[SharedVariable],
        pytensor_function: Any = None,
    ) -> None:
        self.layout, self.variables, self.pytensor_function = layout, list(variables), pytensor_function
        self._function, self._avals = function, list(avals)
        self._shardings = layout.shardings_in()
        self._placed: list[tuple[Any, Any]] = [(None, None)] * len(self.variables)
        self._compiled: Any = None

    def __call__(self, *arguments: Any) -> list[Any]:
        """Run the program; see `samplernn_theano.backends.compile.compile_function`."""
        n_outputs = len(self.layout.rows_out)
        with memory_errors():
            results = self.compiled()(*self._inputs(arguments), *self._values())
        for i, new in zip(self.layout.updated, results[n_outputs:], strict=True):
            self.variables[i].container.storage[0] = new
            self._placed[i] = new, new
        return list(results[:n_outputs])

    def compiled(self) -> Any:
        """What XLA made of it."""
        if self._compiled is None:
            with precision(self.layout.dtype, self.layout.precision):
                lowered = self._jitted().lower(*self._structs())
                self._compiled = lowered.compile()
                if jax.default_backend() == "cpu" and _temporary(self._compiled) > MUCH_MEMORY:
                    self._compiled = lowered.compile(SAVE_MEMORY)
        return self._compiled

    def jaxpr(self) -> Any:
        """What JAX is asked to do, step by step."""
        with precision(self.layout.dtype, self.layout.precision):
            return jax.make_jaxpr(self._function)(*self._structs()).jaxpr

    def export(self) -> bytearray:
        """The program for later use, before XLA compiles it."""
        with precision(self.layout.dtype, self.layout.precision):
            exported = jax.export.export(self._jitted())(*self._structs())
        data = exported.serialize()
        self._function = exported.call  # so that this process compiles the same as a later one
        return data

    def _jitted(self) -> Any:
        return jax.jit(self._function, donate_argnums=self.layout.donate_argnums)

    def _structs(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes of the arguments, over all devices."""
        several = self.layout.devices > 1
        return [
            jax.ShapeDtypeStruct(shape, dtype, sharding=sharding if several else None)
            for (shape, dtype), sharding in zip(self._avals, self._shardings, strict=True)
        ]

    def _inputs(self, arguments: Sequence[Any]) -> Iterator[jax.Array]:
        n = len(self.layout.rows_in)
        for value, aval, sharding in zip(arguments, self._avals[:n], self._shardings[:n], strict=True):
            yield to_devices(value, *aval, sharding)

    def _values(self) -> Iterator[jax.Array]:
        first = len(self.layout.rows_in)
        for i, variable in enumerate(self.variables):
            value = variable.container.storage[0]
            if value is not self._placed[i][0]:
                placed = to_devices(value, *self._avals[first + i], self._shardings[first + i])
                if i in self.layout.updated:  # to be replaced soon: NumPy's array is needed no more
                    value = variable.container.storage[0] = placed
                self._placed[i] = value, placed
            yield self._placed[i][1]


def compile_graph(
    function: Any,
    inputs: Sequence[Expression],
    outputs: Sequence[Expression],
    donate: Collection[Expression] = (),
    by_row: Collection[Expression] = (),
    **of_layout: Any,
) -> Program:
    """The program of a graph that PyTensor has rewritten for JAX.

    Parameters
    ----------
    function
        What `pytensor.function` returned for it.
    inputs, outputs, donate, by_row
        As in `samplernn_theano.backends.compile.compile_function`.
    of_layout
        Devices, dtype and precision of the `Layout`.
    """
    compile_cache.keep_compiled()
    fgraph, donate, by_row = function.maker.fgraph, set(donate), set(by_row)
    shared = [i.variable for i in function.maker.expanded_inputs[len(inputs) :]]
    changed = [fgraph.update_mapping[i] for i in range(len(outputs), len(fgraph.outputs))]
    layout = Layout(
        variables=tuple(str(v.name) for v in shared),
        updated=tuple(i - len(inputs) for i in changed),
        donated=tuple(i for i, v in enumerate(inputs) if v in donate),
        rows_in=tuple(v in by_row for v in inputs),
        rows_out=tuple(v in by_row for v in outputs),
        **of_layout,
    )
    pure = jax_funcify(fgraph)
    if layout.devices > 1:
        ins, outs = layout.specs()
        pure = jax.shard_map(pure, mesh=mesh(layout.devices), in_specs=ins, out_specs=outs, check_vma=False)
    cut = [*layout.rows_in, *[False] * len(shared)]
    avals = [
        (_whole(v.type.shape, layout.devices if has_rows else 1), v.dtype)
        for v, has_rows in zip([*inputs, *shared], cut, strict=True)
    ]
    return Program(pure, avals, layout, shared, function)


@dataclass(frozen=True)
class Kept:
    """A program of an earlier process."""

    layout: Layout
    exported: jax.export.Exported

    def with_variables(self, variables: Mapping[str, SharedVariable]) -> Program:
        """The program, to work on these variables."""
        avals = [(aval.shape, aval.dtype.name) for aval in self.exported.in_avals]
        own = [variables[name] for name in self.layout.variables]
        return Program(self.exported.call, avals, self.layout, own)


def kept(about: Mapping[str, Any]) -> Kept | None:
    """The program that was kept with this description; see `samplernn_theano.backends.compile_cache`."""
    compile_cache.keep_compiled()
    if (found := compile_cache.find(about)) is None:
        return None
    fields, data = found
    try:
        of_layout: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return Kept(Layout(**of_layout), jax.export.deserialize(data))
    except Exception:  # what is damaged, or of other versions, can raise anything; it is made again
        return None


def keep(about: Mapping[str, Any], program: Program) -> None:
    """Keep a program that has not run yet, where the package flatbuffers is installed to write it."""
    if compile_cache.folder() is not None and importlib.util.find_spec("flatbuffers"):
        compile_cache.keep(about, asdict(program.layout), program.export())


def _temporary(compiled: Any) -> int:
    """Bytes of intermediate results."""
    return int(compiled.memory_analysis().temp_size_in_bytes)


def _whole(shape: tuple[int, ...], devices: int) -> tuple[int, ...]:
    return shape if devices == 1 else (devices * shape[0], *shape[1:])


# --- devices ------------------------------------------------------------------------------------------------


def mesh(devices: int) -> Mesh:
    """The first so many devices in a row; in several processes those of all."""
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,))


def shardings(devices: int) -> tuple[Sharding, Sharding]:
    """Where an array lies that is cut into rows, one part for each device, and one that every device has."""
    if devices == 1:
        one = SingleDeviceSharding(jax.local_devices()[0])
        return one, one
    on = mesh(devices)
    return NamedSharding(on, PartitionSpec(AXIS)), NamedSharding(on, PartitionSpec())


def to_devices(value: Any, shape: tuple[int, ...], dtype: str, sharding: Sharding) -> jax.Array:
    """An array on devices; at once if it is there.

    Parameters
    ----------
    value : array
        Of `shape`, the same in every process; or this process's rows of it.
    shape : tuple of int
        Of the array over all devices.
    """
    if isinstance(value, jax.Array):
        if value.sharding == sharding:
            return value
        if value.is_fully_addressable and sharding.is_fully_addressable:
            return jax.device_put(value, sharding)
    value = np.asarray(value, dtype)
    with jax.enable_x64(value.itemsize == 8):
        if sharding.is_fully_addressable:
            return jax.device_put(value, sharding)
        return jax.make_array_from_process_local_data(sharding, value, shape)


def full(values: Sequence[Any]) -> list[NDArray]:
    """Arrays as NumPy has them, all rows of them in every process."""
    return [np.asarray(_gathered(value)) for value in values]


def _gathered(value: Any) -> Any:
    if not isinstance(value, jax.Array) or value.is_fully_addressable or value.is_fully_replicated:
        return value
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(value, tiled=True)


# --- helpers ------------------------------------------------------------------------------------------------


@contextmanager
def precision(dtype: str, name: str = "highest") -> Iterator[None]:
    """Compile in a graph's own precision: no silent narrowing of float64, matrix products as `name` says."""
    matmul = MATMUL[name] if dtype == "float32" else "highest"
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(matmul), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NARROWING_WARNING)
        yield


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn JAX's word for a lack of memory into MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # on any device
            raise MemoryError(str(error)) from error
        raise


def exchanges(compiled_text: str) -> list[tuple[str, int]]:
    """The exchanges between devices in a compiled program, and the bytes that each of them takes in.

    Parameters
    ----------
    compiled_text : str
        `Program.compiled().as_text()`.

    Returns
    -------
    list of (str, int)
        Such as ``("all-reduce", 1024)``. A ring of N devices sends 2 (N - 1) / N times as much from each.
    """
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    found = re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", compiled_text)
    arrays = [(kind, re.findall(r"(\w+)\[([\d,]*)\]", shapes)) for shapes, kind in found]
    return [(kind, sum(_bytes(*array) for array in of_one)) for kind, of_one in arrays]


def _bytes(dtype: str, shape: str) -> int:
    bits = int(re.sub(r"\D", "", dtype) or 8)
    return bits // 8 * int(np.prod([int(n) for n in shape.split(",") if n], dtype=np.int64))
