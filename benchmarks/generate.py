"""Generation: ours, the original's scheme on the same model, and what the machine's caches and cores allow.

    python benchmarks/generate.py                        every case, within ten minutes
    python benchmarks/generate.py --quick                dim 256 only, within two minutes
    python benchmarks/generate.py --cases three_tier/256x4,limit

A case is FAMILY/DIMxN, N sequences at once; "start" (time to the first block) and "limit" are two
more. Each contestant of a case is a process. They generate in turns, and the best turn counts.

``kernels``     what `samplernn generate` uses: `samplernn_theano.generation.kernels`
``graph, jax``  the graph of a block, compiled for jax
``loop, ...``   the original's scheme: a Python loop over three compiled functions (a step of either
                recurrent tier, and a sample), each of which normalises its weights in every call. On c and
                numba with one BLAS thread: with more, products this small are slower.
``naive, jax``  the original's scheme for WaveNet: the whole receptive field for every sample

All contestants use the same uniforms, and their first samples are checked to be equal. The parameters are
random, which takes as long as trained ones.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

HERE = Path(__file__).parent
CASES = (
    *("three_tier/256x1", "three_tier/256x4", "three_tier/256x20", "three_tier/1024x1", "three_tier/1024x20"),
    *("two_tier/1024x1", "one_tier/256x1", "wavenet/64x1", "wavenet/64x10", "start", "limit"),
)
QUICK = ("three_tier/256x1", "three_tier/256x4", "start", "limit")
SAMPLE_RATE = 16000
LOOP, NAIVE = 104, 2  # samples per call of a loop

Run = Callable[..., object]  # uniforms (length, N) -> the next samples (N, length)


class Case(NamedTuple):
    """A model of a family and a width, and the number of sequences."""

    family: str
    dim: int
    n: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        family, _, size = text.partition("/")
        dim, _, n = size.partition("x")
        if not (
            family in ("three_tier", "two_tier", "one_tier", "wavenet") and dim.isdecimal() and n.isdecimal()
        ):
            raise SystemExit(f"--cases: {text} is none; write for example three_tier/256x4, start or limit.")
        return cls(family, int(dim), int(n))

    def rows(self, loops: list[str]) -> list[str]:
        """The contestants."""
        if self.family == "wavenet":
            return ["graph, jax", "naive, jax"]
        loops = [f"loop, {backend}" for backend in loops] if self.family == "three_tier" else []
        return ["kernels", "graph, jax", *loops]


# --- one process --------------------------------------------------------------------------------------------


def contend(what: str, case: Case, seconds: float) -> None:
    """Compile, generate the first block and report it; then run a turn for every line on standard input."""
    from samplernn_theano.generation.random_streams import NumpyStreams

    hp, params = model(case)
    streams = NumpyStreams(0, case.n)
    began = time.perf_counter()
    run, length = _make(what, params, hp, case.n)
    first = run(streams.draw("uniforms", length))
    compiled = time.perf_counter() - began
    print(json.dumps({"compile": compiled, "first": first[:, :100].tolist()}), flush=True)
    for _ in sys.stdin:
        made, began, passed = 0, time.perf_counter(), 0.0
        while passed < seconds:
            run(streams.draw("uniforms", length))
            made, passed = made + length, time.perf_counter() - began
        print(json.dumps({"rate": made / passed}), flush=True)


def model(case: Case):
    """Hyper-parameters and parameters. The original's initial draws of dim 1024 would take a minute."""
    import numpy as np

    from samplernn_theano.config.hyperparameters import FAMILIES
    from samplernn_theano.models.build import build_sampler
    from samplernn_theano.models.parameters import Parameters

    class Plain(Parameters):
        def new(self, name, shape, draw, trainable=True):
            if name in self:
                return self[name]
            fan_in = shape[0] if len(shape) == 2 else np.prod(shape[1:])
            if len(shape) > 1:  # else gains, and biases that do no harm
                return super().new(name, shape, lambda rng: rng.normal(0, fan_in**-0.5, shape))
            return super().new(name, shape, lambda rng: np.ones(shape))

    hp, params = FAMILIES[case.family](dim=case.dim), Plain()
    build_sampler(params, hp, 1, 1)
    return hp, params


def _make(what: str, params, hp, n: int) -> tuple[Run, int]:
    """A generator of blocks, and their length."""
    kind, _, backend = what.partition(", ")
    if kind == "loop":
        return three_functions(params, hp, n, backend), LOOP
    if kind == "naive":
        return whole_receptive_fields(params, hp, n, backend), NAIVE
    import numpy as np

    from samplernn_theano.generation import samplers

    # A turn would take long: one sample of 20 sequences at dim 1024 is 0.26 GFLOP.
    samplers.GRAPH_BLOCK = min(samplers.GRAPH_BLOCK, samplers.KERNEL_SAMPLES // n)
    sampler = samplers.create_sampler(params, hp, n, backend or None)
    state, silent = sampler.start(), np.zeros(sampler.length, np.int32)

    def run(uniforms):
        nonlocal state
        samples, state = sampler.run(state, {"uniforms": uniforms}, silent)
        return samples

    return run, sampler.length


def three_functions(params, hp, n: int, backend: str) -> Run:
    """The original's scheme: three functions, called from Python, for a sample each.

    Vectors for the tier below stay as the backend returns them; the samples go through NumPy, as in the
    original.
    """
    import numpy as np
    import pytensor.tensor as pt

    from samplernn_theano.backends.compile import compile_function
    from samplernn_theano.models import distributions, samplernn

    (big, frame), dtype = hp.tiers, params.dtype
    BFS, FS = big.frame_size, frame.frame_size

    def recurrent(tier):
        """From samples, state (and a vector from above) to the new state and the vectors for below."""
        samples = pt.tensor("samples", dtype="int32", shape=(n, tier.frame_size))
        state = pt.tensor("state", dtype=dtype, shape=(n, hp.n_rnn, hp.state_width))
        above = pt.tensor("above", dtype=dtype, shape=(n, hp.dim))
        from_above = None if tier == big else above[None]
        vectors, _, new_state = samplernn.frame_tier(params, hp, tier, samples[None], from_above, state, None)
        inputs = [samples, state] if tier == big else [samples, state, above]
        outputs = [new_state, *(vectors[0, :, i] for i in range(tier.ratio))]
        return compile_function(inputs, outputs, backend=backend)

    previous = pt.tensor("previous", dtype="int32", shape=(n, FS))
    above = pt.tensor("above", dtype=dtype, shape=(n, hp.dim))
    uniforms_now = pt.tensor("uniforms", dtype=dtype, shape=(n,))
    logits = samplernn.sample_tier(params, hp, previous, above)
    drawn = distributions.draw(hp, logits, {"uniforms": uniforms_now}, pt.ones((n,), dtype=dtype))
    big_step, frame_step = recurrent(big), recurrent(frame)
    sample_step = compile_function([previous, above, uniforms_now], [drawn], backend=backend)

    arrays = params.arrays()
    big_state, state = (np.repeat(arrays[f"{tier.name}.h0"][None], n, axis=0) for tier in (big, frame))
    samples = np.full((n, BFS), hp.silence, np.int32)

    def run(uniforms):
        nonlocal big_state, state, samples
        samples = np.concatenate([samples[:, -BFS:], np.empty((n, len(uniforms)), np.int32)], axis=1)

        def last(size: int, t: int):
            return np.ascontiguousarray(samples[:, t - size : t])

        for t in range(BFS, BFS + len(uniforms)):
            if t % BFS == 0:
                big_state, *big_vectors = big_step(last(BFS, t), big_state)
            if t % FS == 0:
                state, *vectors = frame_step(last(FS, t), state, big_vectors[t % BFS // FS])
            samples[:, t] = sample_step(last(FS, t), vectors[t % FS], uniforms[t - BFS])[0]
        return samples[:, BFS:]

    return run


def whole_receptive_fields(params, hp, n: int, backend: str) -> Run:
    """WaveNet as in the original: nothing is stored from one sample to the next."""
    import numpy as np
    import pytensor.tensor as pt

    from samplernn_theano.backends.compile import compile_function
    from samplernn_theano.models import distributions, wavenet

    window = pt.tensor("window", dtype="int32", shape=(n, hp.overlap))
    uniforms_now = pt.tensor("uniforms", dtype=params.dtype, shape=(n,))
    logits = wavenet.next_logits(params, hp, window)
    drawn = distributions.draw(hp, logits, {"uniforms": uniforms_now}, pt.ones((n,), dtype=params.dtype))
    step = compile_function([window, uniforms_now], [drawn], backend=backend)
    samples = np.full((n, hp.overlap), hp.silence, np.int32)

    def run(uniforms):
        nonlocal samples
        for row in uniforms:
            samples = np.concatenate([samples[:, 1:], np.asarray(step(samples, row)[0])[:, None]], axis=1)
        return samples[:, -len(uniforms) :]

    return run


# --- processes in turns -------------------------------------------------------------------------------------


def start(what: str, name: str, seconds: float, **environment: str) -> subprocess.Popen[str]:
    """A process of `contend`."""
    if what in ("loop, c", "loop, numba"):
        environment["OPENBLAS_NUM_THREADS"] = "1"
    words = [sys.executable, __file__, "--contend", what, "--cases", name, "--seconds", str(seconds)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=os.environ | environment)


def answer(process: subprocess.Popen[str]) -> dict:
    """The next report of a process."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(f"Failed: {' '.join(process.args)}")  # type: ignore[arg-type]


def compare(name: str, a: argparse.Namespace) -> dict[str, float]:
    """Run a case; print its rows; return samples per second of each sequence."""
    case = Case.parse(name)
    rows = case.rows(a.loops.split(","))
    processes = [start(what, name, a.seconds) for what in rows]
    ready = [answer(process) for process in processes]
    rates: dict[str, list[float]] = {what: [] for what in rows}
    for _ in range(a.turns):
        for what, process in zip(rows, processes, strict=True):
            _stdin(process).write("\n")
            _stdin(process).flush()
            rates[what].append(answer(process)["rate"])
    for process in processes:
        _stdin(process).close()
        process.wait()
    best = {what: max(turns) for what, turns in rates.items()}
    loops = [rate for what, rate in best.items() if what.startswith(("loop", "naive"))]
    for what, report in zip(rows, ready, strict=True):
        times = f"{best[what] / max(loops):.1f}" if loops else ""
        real_time = best[what] * case.n / SAMPLE_RATE
        same = f"{agreement(ready[0]['first'], report['first'])} of {case.n}"
        figures = (_number(best[what]), _number(real_time), times, f"{report['compile']:.1f}", same)
        row(f"{case.family}, dim {case.dim}, N = {case.n}", what, *figures)
    if any(2 * agreement(ready[0]["first"], report["first"]) < case.n for report in ready):
        raise SystemExit(f"{name}: not the same samples; the figures mean nothing.")
    return best


def _stdin(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def agreement(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """Number of equal sequences, compared up to the shorter length. Rounding may change some draws."""
    return sum(all(p == q for p, q in zip(*pair, strict=False)) for pair in zip(ours, theirs, strict=True))


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.2g}" if x < 10 else f"{x:.1f}"


def row(*cells: str) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def first_blocks() -> None:
    """Time to the first block in a fresh process: one sequence of three_tier, dim 256."""
    print("\nUntil the first block, three_tier, dim 256, N = 1, in a fresh process (target: 6 s):\n")
    row("", "compile and first block, s", "with imports, s")
    row("---", "---", "---")
    with tempfile.TemporaryDirectory() as cache:
        for what, note in (
            ("kernels", ", nothing cached"),
            ("kernels", ", cached"),
            ("graph, jax", ""),
        ):
            began = time.perf_counter()
            process = start(what, "three_tier/256x1", 0, SAMPLERNN_CACHE=cache)
            compiled, whole = answer(process)["compile"], time.perf_counter() - began
            _stdin(process).close()
            process.wait()
            row(what + note, f"{compiled:.1f}", f"{whole:.1f}")


# --- the limit ----------------------------------------------------------------------------------------------


def limits(rates: dict[str, dict[str, float]]) -> None:
    """The machine's read bandwidth, and the bound that it sets in each three-tier case."""
    from machine import cache_sizes, read_bandwidth, sgemm_peak, usable_cpus, work

    from samplernn_theano.generation.kernels.weights import prepare

    cpus, caches = usable_cpus(), cache_sizes()
    sizes = {"L2": caches[2] // 2, "L3": 4 * caches[2], "memory": max(2 * caches[3], 2**26)}
    print("\nRead bandwidth, GB/s, of a sum over integers, each thread over its own:\n")
    row("", "1 thread", f"{cpus} threads")
    row("---", "---", "---")
    bandwidths = {
        name: [read_bandwidth(size, threads) for threads in (1, cpus)] for name, size in sizes.items()
    }
    for name, figures in bandwidths.items():
        row(f"{name} ({sizes[name] / 2**20:g} MiB)", *(f"{figure:.0f}" for figure in figures))
    peak = max(sgemm_peak(cpus, library) for library in ("jax", "numpy"))
    print(f"\nsgemm peak, {cpus} threads: {peak:.0f} GFLOP/s. What bounds the kernels, on this machine:\n")
    row("three_tier", "weights, MiB", "per sample", "the bound", "steps/s", "reached", "target", "of target")
    row(*["---"] * 8)
    targets = {
        "three_tier/256x1": 48000 * bandwidths["L2"][0] / 200,
        "three_tier/1024x20": 1000 * peak / 430,
    }
    for name, best in rates.items():
        case = Case.parse(name)
        if case.family != "three_tier":
            continue
        hp, params = model(case)
        need = work(prepare(params.arrays(), hp))
        if case.n == 1:
            speed = read_bandwidth(need.weights, 1)
            bound, per_sample = speed * 1e9 / need.bytes, f"{need.bytes / 2**20:.2f} MiB"
            why = f"reading so much: {speed:.0f} GB/s, 1 thread"
        else:
            bound, per_sample = peak * 1e9 / need.flops / case.n, f"{case.n * need.flops / 1e6:.1f} MFLOP"
            why = "sgemm peak"
        target = targets.get(name)
        of_target = (f"{target:,.0f}", f"{best['kernels'] / target:.0%}") if target else ("", "")
        size = f"{need.weights / 2**20:.1f}"
        figures = (f"{bound:,.0f}", f"{best['kernels'] / bound:.0%}", *of_target)
        row(f"dim {case.dim}, N = {case.n}", size, per_sample, why, *figures)


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="dim 256, N = 1 and 4, short turns")
    parser.add_argument("--cases", help="some of them, with commas between; without: all")
    parser.add_argument(
        "--loops", default="jax,c", help="backends of the loops; numba takes minutes to compile"
    )
    parser.add_argument("--turns", type=int, default=3, choices=range(1, 100), metavar="N")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="minimum duration of a turn (default %(default)s)"
    )
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.contend:
        contend(a.contend, Case.parse(a.cases), a.seconds)
        return
    if a.quick:
        a.turns, a.seconds = 2, 0.5
    report(a, a.cases.split(",") if a.cases else list(QUICK if a.quick else CASES))


def report(a: argparse.Namespace, names: list[str]) -> None:
    """Run the cases."""
    sys.path.insert(0, str(HERE))
    import machine

    generations = [name for name in names if name not in ("start", "limit")]
    for name in generations:
        Case.parse(name)
    print(machine.cpu_description() + "\n")
    row("model", "how", "steps/s", "x real time", "x best loop", "compile, s", "same samples at first")
    row(*["---"] * 7)
    rates = {name: compare(name, a) for name in generations}
    if "start" in names:
        first_blocks()
    if "limit" in names:
        limits(rates)


if __name__ == "__main__":
    main()
