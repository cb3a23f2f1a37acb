"""A sum over many steps, computed in chunks together with its gradient, to save memory.

Activations of independent rows need not be stored from the forward to the backward pass if both are computed
for one chunk, and then for the next: the gradients by the weights are accumulated, and only those by the
inputs have the size of all rows.
"""

from collections.abc import Callable, Sequence

import pytensor
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import disconnected_type
from pytensor.tensor.variable import TensorVariable as Expression

Total = Callable[[Sequence[Expression], Sequence[Expression]], Expression]
"""Maps a chunk of the inputs, and the weights, to the sum over its rows."""


def n_chunks(length: int, size: int, max_size: int) -> int:
    """The smallest number of equal chunks of `length` steps such that each has `max_size` of the `size`."""
    return next(n for n in range(1, length + 1) if length % n == 0 and (size <= n * max_size or n == length))


def total(
    build: Total,
    differentiable: Sequence[Expression],
    constants: Sequence[Expression],
    weights: Sequence[Expression],
    n: int,
) -> Expression:
    """The sum, (), of build(chunk of [*differentiable, *constants], weights) over `n` chunks of axis 0.

    It has a gradient, of the first order, by `differentiable` and `weights`, which costs no second pass, and
    none by `constants`. PyTensor removes the gradient from graphs that do not use it.
    """
    if n == 1:
        return build([*differentiable, *constants], weights)
    inputs = [v.type() for v in (*differentiable, *constants, *weights)]
    rows, fixed = inputs[: -len(weights)], inputs[-len(weights) :]

    def chunk(*arguments: Expression) -> list[Expression]:
        """The accumulated cost and gradients by the weights, and the chunk's gradients by its rows."""
        now, rest = arguments[: len(rows)], arguments[len(rows) :]
        sums, fixed = rest[: -len(weights)], rest[-len(weights) :]
        cost = build(now, fixed)
        gradients = pytensor.grad(cost, [*now[: len(differentiable)], *fixed])
        terms = [cost, *gradients[len(differentiable) :]]
        return [*(s + g for s, g in zip(sums, terms, strict=True)), *gradients[: len(differentiable)]]

    def cut(x: Expression) -> Expression:
        length, *others = x.type.shape
        return x.reshape((n, length // n, *others))

    zeros = [pt.zeros(shape, weights[0].dtype) for shape in ((), *(w.type.shape for w in fixed))]
    results = pytensor.scan(
        chunk,
        sequences=[cut(x) for x in rows],
        outputs_info=[*zeros, *[None] * len(differentiable)],
        non_sequences=fixed,
        strict=True,
        return_updates=False,
    )
    sums = [trace[-1] for trace in results[: len(zeros)]]
    by_rows = [g.reshape(x.type.shape) for g, x in zip(results[len(zeros) :], differentiable, strict=True)]

    def pullback(inputs, outputs, gradients):
        scaled = [gradients[0] * g for g in outputs[1:]]
        return [
            *scaled[: len(differentiable)],
            *(disconnected_type() for _ in constants),
            *scaled[len(differentiable) :],
        ]

    outputs = [sums[0], *by_rows, *sums[1:]]
    connected = [[not len(differentiable) <= k < len(rows)] * len(outputs) for k in range(len(inputs))]
    op = OpFromGraph(inputs, outputs, pullback=pullback, connection_pattern=connected, inline=True)
    return op(*differentiable, *constants, *weights)[0]
