"""Floating-point operations of the matrix products of a training step, counted in the program for JAX.

    python benchmarks/flops.py three_tier/small wavenet/best

Two per multiply-add; the body of a loop counts as often as it runs. "Unmerged" is the arithmetic of the
model as it is written, each layer separately: three times that of the forward pass in the reference form,
because the backward pass has two products for each one of the forward pass. "Done" is the arithmetic of a
training step in the fast form, with joined products and tables in place of embeddings.
"""

import argparse
import os

import numpy as np


def of_program(jaxpr) -> int:
    """Operations of the matrix products in a jaxpr and in those within it."""
    total = 0
    for equation in jaxpr.eqns:
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2 * int(np.prod(out)) * int(np.prod([left[k] for k in contracted]))
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += times * of_program(inner)
    return total


def model(text: str):
    """Hyper-parameters by FAMILY/PRESET or FAMILY/PRESET/NAME=VALUE,...: three_tier/small/rnn_type=LSTM."""
    from samplernn_theano.config.presets import preset

    family, name, *changes = text.split("/")
    pairs = [pair.split("=") for pair in changes[0].split(",")] if changes else []
    return preset(family, name, {key: int(v) if v.isdecimal() else v for key, v in pairs})


def of_step(text: str) -> tuple[int, int]:
    """Operations of one training iteration of a model, unmerged and done; nothing is compiled or run."""
    os.environ["SAMPLERNN_CACHE"] = "off"  # a stored program cannot be inspected
    from samplernn_theano.backends.compile import compile_function
    from samplernn_theano.models.build import build_graph
    from samplernn_theano.models.parameters import Parameters
    from samplernn_theano.training import optimizer

    class Undrawn(Parameters):
        def new(self, name, shape, draw, trainable=True):
            """All ones: the original's draws take a minute at dim 1024."""
            return super().new(name, shape, lambda rng: np.ones(shape), trainable)

    def count(graph, moves=None) -> int:
        outputs = [graph.cost, *graph.new_states.values()]
        return of_program(compile_function(graph.inputs, outputs, moves, "jax").jaxpr())

    hp = model(text)
    forward = count(build_graph(Undrawn(), hp, "reference"))
    graph = build_graph(Undrawn(), hp)
    moves, _ = optimizer.adam(*optimizer.objective(graph, "train"))
    return 3 * forward, count(graph, moves)


def main() -> None:
    """Print the operations of each model in both forms."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="FAMILY/PRESET[/NAME=VALUE,...]")
    for text in parser.parse_args().models:
        unmerged, done = (flops / 1e9 for flops in of_step(text))
        print(f"{text}: {unmerged:.1f} GFLOP unmerged, {done:.1f} done ({done / unmerged:.0%})")


if __name__ == "__main__":
    main()
