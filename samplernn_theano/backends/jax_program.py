"""A graph as a JAX program, on one device or several, without copies.

PyTensor rewrites a graph and translates it to JAX; this module does the rest. Updated variables stay on the
devices and are donated: the new value is written into the memory of the old one. With several devices each
runs the same program on its own shard of the batch (`samplernn_theano.backends.all_reduce`).
"""

import importlib.util
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

MATMUL = {
    "highest": "highest",
    "tf32x3": "TF32_TF32_F32_X3",
    "bf16x6": "BF16_BF16_F32_X6",
    "tf32": "tensorfloat32",
    "bf16": "BF16_BF16_F32",
}
"""JAX's names of the precisions of matrix products. On a CPU, which has no tf32x3, none changes anything."""

MUCH_MEMORY = 2**30  # bytes of temporaries beyond which a program for a CPU is compiled with `SAVE_MEMORY`
# Operations are scheduled so that arrays are freed early. Fewer small ones run in parallel: 20 % slower.
SAVE_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


@jax_funcify.register(AllReduceSum)
def _all_sum(op: AllReduceSum, **_: Any) -> Callable[..., Any]:
    def all_reduce(*values: jax.Array) -> Any:
        sums = jax.lax.psum(values, AXIS)
        return sums if len(values) > 1 else sums[0]

    return all_reduce


@dataclass(frozen=True)
class Layout:
    """Arguments of a program (inputs, then variables of the graph) and results (outputs, then updates)."""

    variables: tuple[str, ...]  # names of the shared variables
    updated: tuple[int, ...]  # indices of the updated ones, in the order of their new values
    donated: tuple[int, ...]  # indices of the inputs that may be overwritten
    batched_in: tuple[bool, ...]  # of each argument: the first axis is the batch, split over the devices
    batched_out: tuple[bool, ...]  # of each result
    devices: int
    dtype: str
    precision: str  # of matrix products, a key of `MATMUL`

    @property
    def n_inputs(self) -> int:
        """Number of the graph's inputs."""
        return len(self.batched_in) - len(self.variables)

    def shardings(self) -> list[Sharding]:
        """The sharding of each argument."""
        if self.devices == 1:
            return [SingleDeviceSharding(jax.local_devices()[0])] * len(self.batched_in)
        return [NamedSharding(_mesh(self.devices), spec) for spec in _specs(self.batched_in)]


class Program:
    """A graph compiled for JAX, to be called with arrays of its inputs; returns its outputs as JAX arrays.

    It is compiled at its first call. Calls return before the results are ready. The values of `variables`
    become JAX arrays when the program updates them. `pytensor_function` holds the rewritten graph, if any.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Any]],
        avals: Sequence[tuple[tuple[int, ...], str]],
        layout: Layout,
        variables: Sequence[SharedVariable] = (),
        pytensor_function: Any = None,
    ) -> None:
        self.layout, self.variables, self.pytensor_function = layout, list(variables), pytensor_function
        self._function, self._avals, self._shardings = function, list(avals), layout.shardings()
        self._placed: dict[int, tuple[Any, Any]] = {}  # by variable: its value, and that on the devices
        self._compiled: Any = None

    def with_variables(self, variables: Mapping[str, SharedVariable]) -> "Program":
        """Set the shared variables of a program from the compile cache, given by name; return the program."""
        self.variables = [variables[name] for name in self.layout.variables]
        return self

    def __call__(self, *arguments: Any) -> list[Any]:
        """Run the program; see `samplernn_theano.backends.compile.compile_function`."""
        n_outputs = len(self.layout.batched_out) - len(self.layout.updated)
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
                temporary = int(self._compiled.memory_analysis().temp_size_in_bytes)
                if jax.default_backend() == "cpu" and temporary > MUCH_MEMORY:
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
        self._function = exported.call  # so that this process compiles the same program as a later one
        return exported.serialize()

    def _jitted(self) -> Any:
        layout = self.layout
        donated = (*layout.donated, *(layout.n_inputs + i for i in layout.updated))
        return jax.jit(self._function, donate_argnums=donated)

    def _structs(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes of the arguments, over all devices."""
        several = self.layout.devices > 1
        return [
            jax.ShapeDtypeStruct(shape, dtype, sharding=sharding if several else None)
            for (shape, dtype), sharding in zip(self._avals, self._shardings, strict=True)
        ]

    def _inputs(self, arguments: Sequence[Any]) -> Iterator[jax.Array]:
        for value, aval, sharding in zip(arguments, self._avals, self._shardings, strict=False):
            yield _to_devices(value, *aval, sharding)

    def _values(self) -> Iterator[jax.Array]:
        for i, variable in enumerate(self.variables):
            value, at = variable.container.storage[0], self.layout.n_inputs + i
            if i not in self._placed or value is not self._placed[i][0]:
                placed = _to_devices(value, *self._avals[at], self._shardings[at])
                if i in self.layout.updated:  # release NumPy's array, which is replaced soon
                    value = variable.container.storage[0] = placed
                self._placed[i] = value, placed
            yield self._placed[i][1]


def compile_graph(
    function: Any,
    inputs: Sequence[Expression],
    outputs: Sequence[Expression],
    donate: Collection[Expression],
    batched: Collection[Expression],
    **layout_fields: Any,
) -> Program:
    """Make a program of a graph that PyTensor has rewritten for JAX, which is `function`.

    The other arguments are as in `samplernn_theano.backends.compile.compile_function`; `layout_fields` are
    devices, dtype and precision of the `Layout`.
    """
    compile_cache.enable_for_jax()
    fgraph, donate, batched = function.maker.fgraph, set(donate), set(batched)
    shared = [i.variable for i in function.maker.expanded_inputs[len(inputs) :]]
    changed = [fgraph.update_mapping[i] for i in range(len(outputs), len(fgraph.outputs))]
    layout = Layout(
        variables=tuple(str(v.name) for v in shared),
        updated=tuple(i - len(inputs) for i in changed),
        donated=tuple(i for i, v in enumerate(inputs) if v in donate),
        batched_in=(*(v in batched for v in inputs), *(False for _ in shared)),
        batched_out=(*(v in batched for v in outputs), *(False for _ in changed)),
        **layout_fields,
    )
    pure, n = jax_funcify(fgraph), layout.devices
    if n > 1:
        ins, outs = _specs(layout.batched_in), _specs(layout.batched_out)
        pure = jax.shard_map(pure, mesh=_mesh(n), in_specs=ins, out_specs=outs, check_vma=False)
    avals = [
        ((n * v.type.shape[0], *v.type.shape[1:]) if split and n > 1 else v.type.shape, v.dtype)
        for v, split in zip([*inputs, *shared], layout.batched_in, strict=True)
    ]
    return Program(pure, avals, layout, shared, function)


def load(key: Mapping[str, Any]) -> Program | None:
    """The program stored under `key`, if any, still without its variables."""
    compile_cache.enable_for_jax()
    if (found := compile_cache.load(key)) is None:
        return None
    fields, data = found
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        layout = Layout(**values)
        exported = jax.export.deserialize(data)
    except Exception:  # a damaged file can raise anything; the program is compiled again
        return None
    return Program(exported.call, [(aval.shape, aval.dtype.name) for aval in exported.in_avals], layout)


def store(key: Mapping[str, Any], program: Program) -> None:
    """Store a program that has not run yet, if the package flatbuffers, which serialises it, is installed."""
    if compile_cache.folder() is not None and importlib.util.find_spec("flatbuffers"):
        compile_cache.store(key, asdict(program.layout), program.export())


# --- devices ------------------------------------------------------------------------------------------------


def _mesh(devices: int) -> Mesh:
    """The first devices along one axis; in several processes, of all processes."""
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,))


def _specs(batched: Collection[bool]) -> tuple[PartitionSpec, ...]:
    return tuple(PartitionSpec(AXIS) if split else PartitionSpec() for split in batched)


def _to_devices(value: Any, shape: tuple[int, ...], dtype: str, sharding: Sharding) -> jax.Array:
    """An array of `shape`, over all devices, on the devices; `value` may be this process's shard of it."""
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


def to_numpy(value: Any) -> NDArray:
    """An array of the whole batch, in every process."""
    if not isinstance(value, jax.Array) or value.is_fully_addressable or value.is_fully_replicated:
        return np.asarray(value)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(value, tiled=True))


# --- contexts -----------------------------------------------------------------------------------------------


@contextmanager
def precision(dtype: str, name: str = "highest") -> Iterator[None]:
    """Compile in a graph's own dtype, without narrowing of float64, with matrix products as `name`."""
    matmul = MATMUL[name] if dtype == "float32" and jax.default_backend() != "cpu" else "highest"
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
