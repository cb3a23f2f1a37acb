"""Verify a model of the paper's size against a case that holds costs and fingerprints only.

The arrays themselves would fill gigabytes. So the minibatches are random walks, drawn again, and of each
parameter and carried state the case has six numbers. Training starts from our own draws of the parameters,
since the original's are not in the case.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.errors import DataError
from samplernn_theano.models.graph import Graph, zero_states
from samplernn_theano.verification.cases import Case
from samplernn_theano.verification.tolerances import Check

PROJECTIONS = 4
SIZE = 2 + PROJECTIONS
NORM, SUMS, ALL = slice(0, 1), slice(1, SIZE), slice(0, SIZE)

OUTPUT_BIAS = "SampleLevel.Output.b"


def fingerprint(array: NDArray) -> NDArray:
    """The L2 norm of `array`, its sum, and four projections, sums with fixed random signs: (6,) float64."""
    x = np.asarray(array, np.float64).ravel()
    signs = (np.random.RandomState(1000 + j).choice([-1.0, 1.0], x.size) for j in range(PROJECTIONS))
    return np.array([np.linalg.norm(x), np.sum(x), *(np.sum(x * s) for s in signs)])


def walks(n: int, batch_size: int, length: int) -> Iterator[NDArray]:
    """Draw `n` minibatches of random walks (batch_size, length), reflected at levels 0 and 255: int32."""
    rng = np.random.RandomState(0)
    for _ in range(n):
        walk = np.cumsum(rng.randint(-12, 13, (batch_size, length)), axis=1)
        yield np.abs(walk % 512 - 256).clip(0, 255).astype(np.int32)


def checks(
    case: Case, hp: HyperParameters, graph: Graph, compile_step: Callable[[], Callable[..., list[Any]]]
) -> Iterator[Check]:
    """Compare the initial parameters, then costs, states and parameters after updates.

    Initial parameters that differ end the case: all that follows depends on them. KeyError if the case lacks
    an entry.
    """
    n = _n_updates(case, graph)
    initial = list(_initial(case, graph.parameters.arrays()))
    yield from initial
    if not all(check.passed for check in initial):
        return
    step, states = compile_step(), zero_states(graph, hp)
    shape = (hp.batch_size, graph.sequences.type.shape[1])
    mask = np.ones(shape, graph.mask.dtype)
    for i, sequences in enumerate(walks(n, *shape)):
        cost, *states = step(sequences, mask, np.asarray(i == 0, np.int32), *states)
        update, moment = f"update {i + 1}", "later" if i else "update 1"
        yield case.compare(f"cost, {update}", f"costs, {moment}", cost, case.arrays["costs"][i])
        arrays = {str(tier): np.asarray(state) for tier, state in enumerate(states)}
        yield from _norm_and_sums(case, f"states{i}/", f"states, {update}", f"states, {moment}", arrays)
        if i in (0, n - 1):
            yield from _parameters(case, i + 1, moment, graph.parameters.arrays())


def _n_updates(case: Case, graph: Graph) -> int:
    """The number of updates; checks that nothing is missing before minutes are spent."""
    costs = case.arrays["costs"]
    if costs.ndim != 1 or not len(costs):
        raise DataError(f"The case {case.name} has no costs of updates: its `costs` has shape {costs.shape}.")
    n = len(costs)
    keys = [f"{moment}/{name}" for moment in ("init", "after1", f"after{n}") for name in graph.parameters]
    keys += [f"states{i}/{tier}" for i in range(n) for tier in range(len(graph.states))]
    for key in keys:
        if (shape := case.arrays[key].shape) != (SIZE,):
            raise DataError(f"{key} of {case.name} has shape {shape}; a fingerprint has {SIZE} numbers.")
    return n


def _initial(case: Case, arrays: Mapping[str, NDArray]) -> Iterator[Check]:
    """The parameters drawn from seed 123."""

    def is_orthogonal(array: NDArray) -> bool:
        """True for a square matrix whose columns have unit length, which no uniform draw here has."""
        square = array.ndim == 2 and array.shape[0] == array.shape[1]
        return square and np.allclose(np.linalg.norm(array, axis=0), 1)

    layers = {name.rpartition(".")[0] for name, array in arrays.items() if is_orthogonal(array)}
    orthogonal = {name for name in arrays if name.rpartition(".")[0] in layers}
    ours = {name: fingerprint(array) for name, array in arrays.items()}
    for which, names in (("drawn", set(arrays) - orthogonal), ("orthogonal", orthogonal)):
        if names:
            kind = f"fingerprints, {which}"
            yield _worst(case, "init/", kind, kind, {name: ours[name] for name in names}, ALL)


def _parameters(case: Case, count: int, moment: str, arrays: Mapping[str, NDArray]) -> Iterator[Check]:
    """The parameters after `count` updates.

    A bias (or learned initial state) is zero at first, so that it consists of Adam's steps. Where a gradient
    is near zero, the first of them has the size of the learning rate and the sign of the rounding error.
    """
    prefix, update = f"after{count}/", f"update {count}"
    biases = {name for name in arrays if not case.arrays[f"init/{name}"].any()}
    for what, names in (("weights", set(arrays) - biases), ("biases", biases)):
        chosen = {name: arrays[name] for name in sorted(names)}
        yield from _norm_and_sums(case, prefix, f"{what}, {update}", f"{what}, {moment}", chosen)
    if count == 1 and OUTPUT_BIAS in arrays:
        ours = {OUTPUT_BIAS: fingerprint(arrays[OUTPUT_BIAS])}
        yield _worst(case, prefix, "norm of the output bias, update 1", "Adam's first step", ours, NORM)


def _norm_and_sums(
    case: Case, prefix: str, quantity: str, kind: str, arrays: Mapping[str, NDArray]
) -> Iterator[Check]:
    ours = {name: fingerprint(array) for name, array in arrays.items()}
    for part, numbers in (("norms", NORM), ("sums", SUMS)):
        yield _worst(case, prefix, f"{quantity}: {part}", f"{kind}: {part}", ours, numbers)


def _worst(
    case: Case, prefix: str, quantity: str, kind: str, ours: Mapping[str, NDArray], numbers: slice
) -> Check:
    """Compare some `numbers` of each fingerprint: the largest error, relative to the norm of its array."""
    found = []
    for name, own in sorted(ours.items()):
        theirs = case.arrays[key := prefix + name]
        absolute = float(np.max(np.abs(own - theirs)[numbers]))
        relative = absolute / (theirs[0] or 1)
        found.append(case.difference(quantity, kind, absolute, relative, f"worst: {key}"))
    return max(found, key=lambda check: check.relative)
