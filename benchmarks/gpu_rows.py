"""Measurements for the rows of `gpu.py`: one function each, called in its own process.

A function returns the cells of its row by the names of the columns, and values for further computation.
"""

import contextlib
import functools
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Any

HERE = Path(__file__).parent
CASES = HERE.parent / "tests" / "golden" / "cases"

CARDS = (8, 16, 24, 80)  # GB
SHARE = 0.75  # of a card's memory for JAX, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set
MUSIC = 3828, 128000  # clips of the paper's training set and samples of each
TARGET = 60  # ms per iteration of three_tier/best on an H100
SAMPLE_RATE = 16000


def device() -> dict[str, Any]:
    """The card, its memory, and the versions of its driver and of JAX."""
    import jax

    first = jax.devices()[0]
    known = [f"JAX {jax.__version__}", *first.client.platform_version.split("\n")[:1]]
    if limit := (first.memory_stats() or {}).get("bytes_limit"):
        known.append(f"{limit / 2**30:.1f} GiB for JAX")
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        output = subprocess.run(command, capture_output=True, text=True).stdout
        known.append(f"nvidia-smi: {output.splitlines()[0]}" if output else "nvidia-smi prints nothing")
    return {"platform": first.platform, "how": first.device_kind, "notes": "; ".join(known)}


def matmul(precision: str, size: int) -> dict[str, Any]:
    """The rate of a matrix product."""
    import jax

    from samplernn_theano.backends import jax_program

    x = jax.random.normal(jax.random.key(0), (size, size), "float32")
    with jax_program.precision("float32", precision):
        product = jax.jit(lambda a: a @ a).lower(x).compile()
    product(x).block_until_ready()
    seconds = min(_seconds(lambda: product(x).block_until_ready()) for _ in range(10))
    return {"ms": 1000 * seconds, "TFLOP/s": 2 * size**3 / seconds / 1e12}


def step(model: str, precision: str, iterations: int, unroll: int) -> dict[str, Any]:
    """The time of a training iteration."""
    import flops

    if unroll > 1:
        _unroll_scans(unroll)
    hp = flops.model(model)
    began = time.perf_counter()
    program, states = _training_program(hp, precision)
    program.compiled()
    compiled = time.perf_counter() - began
    batch = _noise(hp)

    def turn(n: int) -> None:
        nonlocal states
        previous = None
        for _ in range(n):
            cost, *states = program(*batch, *states)
            if previous is not None:
                float(previous)
            previous = cost
        assert float(cost) == float(cost), "the cost is NaN"

    turn(2)
    ms = 1000 * median(_seconds(lambda: turn(iterations)) / iterations for _ in range(3))
    clips, samples = MUSIC
    epoch = clips // hp.batch_size * -(-samples // hp.seq_len)
    notes = [f"{ms * epoch / 60000:.1f} min per epoch of Music ({epoch:,} iterations)"]
    if model == "three_tier/best":
        notes.append(f"target {TARGET} ms {'reached' if ms <= TARGET else 'missed'}")
    notes.append(f"compiled in {compiled:.0f} s")
    return {"ms": ms, "GiB": _peak_memory(program), "notes": "; ".join(notes)}


def count(models: list[str]) -> dict[str, int]:
    """Operations of an iteration of each model, unmerged."""
    import flops

    return {model: flops.of_step(model)[0] for model in models}


def bits(model: str, precision: str, iterations: int, nudge: float) -> dict[str, Any]:
    """Train on a synthetic piano, from the same parameters in every precision; the mean of the last costs.

    `nudge` is a relative perturbation of all initial parameters, which shows how far apart rounding errors of
    any kind lead two trainings.
    """
    import flops
    import numpy as np

    from samplernn_theano.data import minibatches
    from samplernn_theano.data.minibatches import batch_inputs
    from samplernn_theano.data.sets import demo
    from samplernn_theano.training.step import compile_trainer

    hp = flops.model(model)
    trainer = compile_trainer(hp, backend="jax", precision=precision)
    rng = np.random.default_rng(0)
    for parameter in trainer.graph.parameters.trainable() if nudge else ():
        noise = rng.standard_normal(parameter.type.shape)
        parameter.set_value((parameter.get_value() * (1 + nudge * noise)).astype(np.float32))
    clips = demo.recital(2 * hp.batch_size * demo.CLIP, everything=True).reshape(-1, demo.CLIP)
    states, costs = trainer.zero_states(), []
    for batch in islice(_epochs(lambda: minibatches.feed(hp, clips)), iterations):
        cost, *states = trainer.step(*batch_inputs(batch), *states)
        costs.append(cost)
    n_last = max(1, iterations // 10)
    return {"bits": mean(float(cost) for cost in costs[-n_last:])}


def conformance(case: str, precision: str) -> dict[str, Any]:
    """Passed and failed checks of a conformance case."""
    from samplernn_theano.verification import verify

    with contextlib.redirect_stdout(io.StringIO()) as output:
        verify.run(CASES, names=[case], backend="jax", brief=True, precision=precision)
    return {"notes": output.getvalue().splitlines()[-1]}


def memory(model: str, batches: list[int], seconds: float) -> dict[str, Any]:
    """The memory of a training step by batch size, as planned by XLA, and the largest batch in each card."""
    import flops

    began, needed = time.perf_counter(), {}
    for batch_size in batches:
        text = f"{model}{',' if model.count('/') > 1 else '/'}batch_size={batch_size}"
        try:
            needed[batch_size] = _planned(_training_program(flops.model(text), "highest")[0])
        except RuntimeError:  # XLA may refuse what is far too large for this card
            break
        if needed[batch_size] > SHARE * max(CARDS) * 1e9 or time.perf_counter() - began > seconds:
            break
    fit = {card: [b for b in needed if needed[b] <= SHARE * card * 1e9] for card in CARDS}
    largest = {card: max(sizes, default=0) for card, sizes in fit.items()}
    more = {card: " or more" if size == max(needed) else "" for card, size in largest.items()}
    largest_batches = ", ".join(f"{size}{more[card]} in {card} GB" for card, size in largest.items())
    plan = ", ".join(f"{b}: {size / 2**30:.1f}" for b, size in needed.items())
    return {"notes": f"{largest_batches}, of which JAX takes {SHARE:.0%}; GiB by batch: {plan}"}


def generation(dim: int, n: int, seconds: float) -> dict[str, Any]:
    """The rate of generation with the graph of a block."""
    import generate
    import numpy as np

    from samplernn_theano.generation import samplers
    from samplernn_theano.generation.random_streams import NumpyStreams

    hp, params = generate.model(generate.Case("three_tier", dim, n))
    sampler = samplers.create_sampler(params, hp, n, "jax")
    state, silent, streams = sampler.start(), np.zeros(sampler.length, np.int32), NumpyStreams(0, n)

    def block() -> None:
        nonlocal state
        _, state = sampler.run(state, {"uniforms": streams.draw("uniforms", sampler.length)}, silent)

    compiled = _seconds(block)
    blocks = [_seconds(block)]
    while sum(blocks) < seconds:
        blocks.append(_seconds(block))
    rate = sampler.length / median(blocks)
    together = f"{rate:,.0f} samples/s each, {rate * n / SAMPLE_RATE:.2g} x real time together"
    return {"GiB": _peak_memory(), "notes": f"{together}; compiled in {compiled:.0f} s"}


def _training_program(hp: Any, precision: str) -> tuple[Any, list[Any]]:
    """A training step as `samplernn_theano.training.step` compiles it, and its first states.

    The parameters are random: the original's draws would take a minute at dim 1024.
    """
    import numpy as np

    from samplernn_theano.backends.compile import compile_function
    from samplernn_theano.models.build import build_graph
    from samplernn_theano.models.parameters import Parameters
    from samplernn_theano.training import optimizer

    class Plain(Parameters):
        def new(self, name, shape, draw, trainable=True):
            if len(shape) == 1:  # gains, and biases that do no harm
                return super().new(name, shape, lambda rng: np.ones(shape), trainable)
            scale = np.prod(shape[:-1]) ** -0.5
            return super().new(name, shape, lambda rng: rng.normal(0, scale, shape), trainable)

    graph = build_graph(Plain(), hp)
    moves, _ = optimizer.adam(*optimizer.objective(graph, "train"))
    outputs, states = [graph.cost, *graph.new_states.values()], list(graph.states.values())
    program = compile_function(graph.inputs, outputs, moves, "jax", precision, donate=states)
    return program, graph.zero_states()


def _noise(hp: Any) -> tuple[Any, Any, Any]:
    """A minibatch: sequences, mask, reset."""
    import numpy as np

    shape = hp.batch_size, hp.overlap + hp.seq_len
    sequences = np.random.default_rng(0).integers(0, hp.q_levels, shape, np.int32)
    return sequences, np.ones(shape, np.float32), np.asarray(0, np.int32)


def _unroll_scans(times: int) -> None:
    """Unroll every scan by `times` steps: an option of JAX that PyTensor lacks."""
    import pytensor.link.jax.dispatch.scan as dispatch

    dispatch.jax_scan = functools.partial(dispatch.jax_scan, unroll=times)


def _epochs(epoch: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    while True:
        yield from epoch()


def _planned(program: Any) -> int:
    """Peak memory of a program in bytes, as planned by XLA."""
    m = program.compiled().memory_analysis()
    persistent = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
    return persistent + m.temp_size_in_bytes


def _peak_memory(program: Any = None) -> float | None:
    """Peak GiB in use until now, or as planned if the device has no statistics."""
    import jax

    if stats := jax.devices()[0].memory_stats():
        return stats["peak_bytes_in_use"] / 2**30
    return _planned(program) / 2**30 if program else None


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    measure, options = json.loads(sys.argv[1])
    print(json.dumps(globals()[measure](**options)))
