"""All-reduce, the sum over devices, as an operation of a graph of one device's shard of the batch."""

from collections.abc import Sequence
from typing import Any

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.variable import TensorVariable as Expression

AXIS = "batch"
"""Name of the axis of devices."""


class AllReduceSum(Op):
    """All-reduce: the sum of each input over all devices, in one exchange. The identity on one device."""

    __props__ = ()

    def make_node(self, *inputs: Expression) -> Apply:
        """Outputs of the types of the inputs."""
        return Apply(self, list(inputs), [x.type() for x in inputs])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Sequence[list[Any]]) -> None:
        """Copy the inputs: there is one device."""
        for x, storage in zip(inputs, output_storage, strict=True):
            storage[0] = x.copy()

    def infer_shape(self, node: Apply, shapes: list[Any]) -> list[Any]:
        """The shapes of the inputs."""
        return shapes

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Each output depends on its own input only."""
        n = len(node.inputs)
        return [[i == k for k in range(n)] for i in range(n)]

    def pullback(
        self, inputs: Sequence[Expression], outputs: Sequence[Expression], cotangents: Sequence[Expression]
    ) -> list[Expression]:
        """The identity.

        The gradient by the sum is the same on every device. Each device differentiates its own contribution;
        the gradients of all devices are to be summed afterwards.
        """
        return list(cotangents)


def all_reduce(*values: Expression) -> list[Expression]:
    """The sum of each of `values` over all devices."""
    outputs = AllReduceSum()(*values)
    return list(outputs) if len(values) > 1 else [outputs]
