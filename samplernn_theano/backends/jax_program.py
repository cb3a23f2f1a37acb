"""A graph as a JAX program, on one device or several, without copies.

PyTensor rewrites a graph and translates it to JAX; this module does the rest. Updated variables stay on the
devices and are donated: the new value is written into the memory of the old one. With several devices each
runs the same program on its own shard of the batch (`samplernn_theano.backends.all_reduce`).
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
from samplernn_theano.backends.all_reduce import AXIS, AllReduceSum

# PyTensor requests 64-bit accumulators and indices, which JAX rightly declines at 32 bits.
NARROWING_WARNING = "Explicitly requested dtype (float|int)64"

MATMUL = {"highest": "highest", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""JAX's names of the precisions of matrix products. On a CPU the last two change nothing."""

MUCH_MEMORY = 2**30
"""Bytes of temporaries beyond which a program for a CPU is compiled with `SAVE_MEMORY`."""

SAVE_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
# Schedules operations so that arrays are freed early. It runs fewer small ones in parallel: 20 % slower.


@jax_funcify.register(AllReduceSum)
def _all_sum(op: AllReduceSum, **_: Any) -> Callable[..., Any]:
    def all_reduce(*values: jax.Array) -> Any:
        sums = jax.lax.psum(values, AXIS)
        return sums if len(values) > 1 else sums[0]

    return all_reduce


@dataclass(frozen=True)
class Layout:
    """Arguments and results of a program: the graph's inputs and variables, its outputs and updates.

    Attributes
    ----------
    variables : tuple of str
        Names of the shared variables, which follow the inputs.
    updated : tuple of int
        Indices of the updated variables, in the order of their new values, which follow the outputs.
    donated : tuple of int
        Indices of the inputs that may be overwritten.
    batched_in, batched_out : tuple of bool
        True for inputs and outputs whose first axis is the batch: several devices have a shard each.
    devices : int
    dtype, precision : str
        Of the graph; of its matrix products, a key of `MATMUL`.
    """

    variables: tuple[str, ...]
    updated: tuple[int, ...]
    donated: tuple[int, ...]
    batched_in: tuple[bool, ...]
    batched_out: tuple[bool, ...]
    devices: int = 1
    dtype: str = "float32"
    precision: str = "highest"

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """Indices of the arguments whose memory the program may use for its results."""
        return (*self.donated, *(len(self.batched_in) + i for i in self.updated))

    def shardings_in(self) -> list[Sharding]:
        """The sharding of each argument."""
        split, whole = shardings(self.devices)
        return [*(split if batched else whole for batched in self.batched_in), *[whole] * len(self.variables)]

    def specs(self) -> tuple[tuple[PartitionSpec, ...], tuple[PartitionSpec, ...]]:
        """The partition specs of arguments and results."""
        split, whole = PartitionSpec(AXIS), PartitionSpec()
        inputs = (
            *(split if batched else whole for batched in self.batched_in),
            *(whole for _ in self.variables),
        )
        outputs = (
            *(split if batched else whole for batched in self.batched_out),
            *(whole for _ in self.updated),
        )
        return inputs, outputs


class Program:
    """A graph compiled for JAX, to be called with arrays of its inputs; returns its outputs as JAX arrays.

    It is compiled at its first call. Calls return before the results are ready.

    Attributes
    ----------
    layout : Layout
    variables : list of shared variable
        Shared variables of the graph; their values become JAX arrays when the program updates them.
    pytensor_function
        Holds the rewritten graph; None if the program was loaded from the compile cache.
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
        n_outputs = len(self.layout.batched_out)
        with memory_errors():
            results = self.compiled()(*self._inputs(arguments), *self._values())
        for i, new in zip(self.layout.updated, results[n_outputs:], strict=True):
            self.variables[i].container.storage[0] = new
            self._placed[i] = new, new
        return list(results[:n_outputs])

    def compiled(self) -> Any:
        """The executable of XLA."""
        if self._compiled is None:
            with precision(self.layout.dtype, self.layout.precision):
                lowered = self._jitted().lower(*self._structs())
                self._compiled = lowered.compile()
                if jax.default_backend() == "cpu" and _temporary_bytes(self._compiled) > MUCH_MEMORY:
                    self._compiled = lowered.compile(SAVE_MEMORY)
        return self._compiled

    def jaxpr(self) -> Any:
        """The program in JAX's intermediate representation."""
        with precision(self.layout.dtype, self.layout.precision):
            return jax.make_jaxpr(self._function)(*self._structs()).jaxpr

    def export(self) -> bytearray:
        """Serialise the program, before XLA compiles it."""
        with precision(self.layout.dtype, self.layout.precision):
            exported = jax.export.export(self._jitted())(*self._structs())
        data = exported.serialize()
        self._function = exported.call  # so that this process compiles the same program as a later one
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
        n = len(self.layout.batched_in)
        for value, aval, sharding in zip(arguments, self._avals[:n], self._shardings[:n], strict=True):
            yield to_devices(value, *aval, sharding)

    def _values(self) -> Iterator[jax.Array]:
        first = len(self.layout.batched_in)
        for i, variable in enumerate(self.variables):
            value = variable.container.storage[0]
            if value is not self._placed[i][0]:
                placed = to_devices(value, *self._avals[first + i], self._shardings[first + i])
                if i in self.layout.updated:  # release NumPy's array, which is replaced soon
                    value = variable.container.storage[0] = placed
                self._placed[i] = value, placed
            yield self._placed[i][1]


def compile_graph(
    function: Any,
    inputs: Sequence[Expression],
    outputs: Sequence[Expression],
    donate: Collection[Expression] = (),
    batched: Collection[Expression] = (),
    **layout_fields: Any,
) -> Program:
    """Make a program of a graph that PyTensor has rewritten for JAX.

    Parameters
    ----------
    function
        The result of `pytensor.function` for the graph.
    inputs, outputs, donate, batched
        As in `samplernn_theano.backends.compile.compile_function`.
    layout_fields
        Fields devices, dtype and precision of the `Layout`.
    """
    compile_cache.enable_for_jax()
    fgraph, donate, batched = function.maker.fgraph, set(donate), set(batched)
    shared = [i.variable for i in function.maker.expanded_inputs[len(inputs) :]]
    changed = [fgraph.update_mapping[i] for i in range(len(outputs), len(fgraph.outputs))]
    layout = Layout(
        variables=tuple(str(v.name) for v in shared),
        updated=tuple(i - len(inputs) for i in changed),
        donated=tuple(i for i, v in enumerate(inputs) if v in donate),
        batched_in=tuple(v in batched for v in inputs),
        batched_out=tuple(v in batched for v in outputs),
        **layout_fields,
    )
    pure = jax_funcify(fgraph)
    if layout.devices > 1:
        ins, outs = layout.specs()
        pure = jax.shard_map(pure, mesh=mesh(layout.devices), in_specs=ins, out_specs=outs, check_vma=False)
    is_batched = [*layout.batched_in, *[False] * len(shared)]
    avals = [
        (_whole(v.type.shape, layout.devices if split else 1), v.dtype)
        for v, split in zip([*inputs, *shared], is_batched, strict=True)
    ]
    return Program(pure, avals, layout, shared, function)


@dataclass(frozen=True)
class StoredProgram:
    """A program loaded from the compile cache."""

    layout: Layout
    exported: jax.export.Exported

    def with_variables(self, variables: Mapping[str, SharedVariable]) -> Program:
        """The program on these shared variables, by name."""
        avals = [(aval.shape, aval.dtype.name) for aval in self.exported.in_avals]
        own = [variables[name] for name in self.layout.variables]
        return Program(self.exported.call, avals, self.layout, own)


def load(key: Mapping[str, Any]) -> StoredProgram | None:
    """The program stored under `key`, if any; see `samplernn_theano.backends.compile_cache`."""
    compile_cache.enable_for_jax()
    if (found := compile_cache.load(key)) is None:
        return None
    fields, data = found
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return StoredProgram(Layout(**values), jax.export.deserialize(data))
    except Exception:  # a damaged file can raise anything; the program is compiled again
        return None


def store(key: Mapping[str, Any], program: Program) -> None:
    """Store a program that has not run yet, if the package flatbuffers, which serialises it, is installed."""
    if compile_cache.folder() is not None and importlib.util.find_spec("flatbuffers"):
        compile_cache.store(key, asdict(program.layout), program.export())


def _temporary_bytes(compiled: Any) -> int:
    """Bytes of temporaries."""
    return int(compiled.memory_analysis().temp_size_in_bytes)


def _whole(shape: tuple[int, ...], devices: int) -> tuple[int, ...]:
    return shape if devices == 1 else (devices * shape[0], *shape[1:])


# --- devices ------------------------------------------------------------------------------------------------


def mesh(devices: int) -> Mesh:
    """A mesh of the first `devices` devices along one axis; in several processes, of all processes."""
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,))


def shardings(devices: int) -> tuple[Sharding, Sharding]:
    """The shardings of an array split along its first axis, and of an array that every device has."""
    if devices == 1:
        one = SingleDeviceSharding(jax.local_devices()[0])
        return one, one
    on = mesh(devices)
    return NamedSharding(on, PartitionSpec(AXIS)), NamedSharding(on, PartitionSpec())


def to_devices(value: Any, shape: tuple[int, ...], dtype: str, sharding: Sharding) -> jax.Array:
    """Move an array to the devices, unless it is there.

    Parameters
    ----------
    value : array
        Of `shape`, the same in every process; or this process's shard of it.
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


def to_numpy(values: Sequence[Any]) -> list[NDArray]:
    """NumPy arrays of the whole batch, in every process."""
    return [np.asarray(_gathered(value)) for value in values]


def _gathered(value: Any) -> Any:
    if not isinstance(value, jax.Array) or value.is_fully_addressable or value.is_fully_replicated:
        return value
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(value, tiled=True)


# --- helpers ------------------------------------------------------------------------------------------------


@contextmanager
def precision(dtype: str, name: str = "highest") -> Iterator[None]:
    """Compile in a graph's own dtype, without narrowing of float64, with matrix products as `name`."""
    matmul = MATMUL[name] if dtype == "float32" else "highest"
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(matmul), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NARROWING_WARNING)
        yield


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn JAX's out-of-memory error into MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # on any device
            raise MemoryError(str(error)) from error
        raise


def exchanges(compiled_text: str) -> list[tuple[str, int]]:
    """Collective operations of a compiled program, and the bytes of their inputs.

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
