"""A sum over many rows, made piece by piece together with its gradient, so that little of it is in memory.

What a network does with each row alone need not be kept from the forward to the backward pass if both are
made for a few rows, and then for the next: the gradients by the weights add up, and only those by what varies
from row to row have the size of all rows.
"""

from collections.abc import Callable, Sequence

import pytensor
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import disconnected_type
from pytensor.tensor.variable import TensorVariable as Expression

# From a chunk of what varies and the weights to the sum over its rows.
Total = Callable[[Sequence[Expression], Sequence[Expression]], Expression]


def number(length: int, size: int, most: int) -> int:
    """The least number of equal chunks of `length` steps, of `size` in all, with `most` in each."""
    return next(n for n in range(1, length + 1) if length % n == 0 and (size <= n * most or n == length))


def total(
    build: Total,
    moved: Sequence[Expression],
    fixed: Sequence[Expression],
    weights: Sequence[Expression],
    n: int,
) -> Expression:
    """The sum, (), of build(chunk of [*moved, *fixed], weights) over `n` chunks of their first axis.

    The gradient by `moved` and `weights` exists, to the first order, and costs no second pass; there is none
    by `fixed`. Where nobody asks for the gradient PyTensor takes it out.
    """
    if n == 1:
        return build([*moved, *fixed], weights)
    inputs = [v.type() for v in (*moved, *fixed, *weights)]
    varying, held = inputs[: -len(weights)], inputs[-len(weights) :]

    def chunk(*arguments: Expression) -> list[Expression]:
        """The sums so far with those of this chunk, and the gradients by what it is moved by."""
        now, rest = arguments[: len(varying)], arguments[len(varying) :]
        sums, held = rest[: -len(weights)], rest[-len(weights) :]
        cost = build(now, held)
        gradients = pytensor.grad(cost, [*now[: len(moved)], *held])
        more = [cost, *gradients[len(moved) :]]
        return [*(s + g for s, g in zip(sums, more, strict=True)), *gradients[: len(moved)]]

    def cut(x: Expression) -> Expression:
        length, *others = x.type.shape
        return x.reshape((n, length // n, *others))

    zeros = [pt.zeros(shape, weights[0].dtype) for shape in ((), *(w.type.shape for w in held))]
    results = pytensor.scan(
        chunk,
        sequences=[cut(x) for x in varying],
        outputs_info=[*zeros, *[None] * len(moved)],
        non_sequences=held,
        strict=True,
        return_updates=False,
    )
    sums = [trace[-1] for trace in results[: len(zeros)]]
    by_moved = [g.reshape(x.type.shape) for g, x in zip(results[len(zeros) :], moved, strict=True)]

    def pullback(inputs, outputs, gradients):
        scaled = [gradients[0] * g for g in outputs[1:]]
        return [*scaled[: len(moved)], *(disconnected_type() for _ in fixed), *scaled[len(moved) :]]

    outputs = [sums[0], *by_moved, *sums[1:]]
    connected = [[not len(moved) <= k < len(varying)] * len(outputs) for k in range(len(inputs))]
    op = OpFromGraph(inputs, outputs, pullback=pullback, connection_pattern=connected, inline=True)
    return op(*moved, *fixed, *weights)[0]
