"""A sum over devices as an operation of a graph: what data parallelism adds to a model.

Every device has the same graph for its own part of the batch. Where a sum over the whole batch is meant, the
graph says so by `all_sum`.
"""

from collections.abc import Sequence
from typing import Any

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.variable import TensorVariable as Expression

AXIS = "batch"
"""The name of the axis of devices."""


class AllSum(Op):
    """Each input summed over all devices, all of them in one exchange; outside of such a program, itself."""

    __props__ = ()

    def make_node(self, *inputs: Expression) -> Apply:
        """As many outputs as inputs, of the same types."""
        return Apply(self, list(inputs), [x.type() for x in inputs])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Sequence[list[Any]]) -> None:
        """One device: the sum over all is the input."""
        for x, storage in zip(inputs, output_storage, strict=True):
            storage[0] = x.copy()

    def infer_shape(self, node: Apply, shapes: list[Any]) -> list[Any]:
        """Those of the inputs."""
        return shapes

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Each output depends on its own input alone."""
        n = len(node.inputs)
        return [[i == k for k in range(n)] for i in range(n)]

    def pullback(
        self, inputs: Sequence[Expression], outputs: Sequence[Expression], cotangents: Sequence[Expression]
    ) -> list[Expression]:
        """The identity.

        Every device knows the gradient with respect to the sum, for what follows is the same on all. So it
        differentiates its own contribution; the gradients of all devices are then to be summed.
        """
        return list(cotangents)


def all_sum(*values: Expression) -> list[Expression]:
    """The sum of each of `values` over all devices."""
    outputs = AllSum()(*values)
    return list(outputs) if len(values) > 1 else [outputs]
