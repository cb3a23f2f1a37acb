"""Time of a training iteration: our backends, plain JAX, and the machine's sgemm peak.

    python benchmarks/train_step.py                       three_tier, dim 256, batch 16, every backend
    python benchmarks/train_step.py three_tier/best --backends jax --iterations 1
    python benchmarks/train_step.py --backends jax one_tier/small wavenet/small three_tier/small/rnn_type=LSTM

A model is FAMILY/PRESET or FAMILY/PRESET/NAME=VALUE,... Every row is measured in its own process, and all
rows of a model in turns, several times each; ratios are those of the medians, which are robust on a busy
machine. For a GPU use benchmarks/gpu.py.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import flops
import machine

HERE = Path(__file__).parent
PLAIN = "plain JAX"


# --- one process --------------------------------------------------------------------------------------------


def measure(what: str, model: str, iterations: int) -> dict[str, float]:
    """Compile one kind of step in this process and time it: seconds, MiB."""
    began = time.perf_counter()
    run = _plain_jax(model) if what == PLAIN else _ours(what, model)
    run()  # traces and compiles
    compiled = time.perf_counter() - began
    times = []
    for _ in range(iterations):
        began = time.perf_counter()
        cost = run()
        times.append(time.perf_counter() - began)
    assert cost == cost, "the cost is NaN"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"compile": compiled, "seconds": statistics.median(times), "MiB": peak}


def _ours(what: str, model: str):
    import numpy as np

    from samplernn_theano.backends import malloc
    from samplernn_theano.training.step import compile_trainer

    hp = flops.model(model)
    malloc.keep_freed_memory(hp.batch_size * hp.seq_len * hp.dim)
    form = "reference" if what.endswith(" reference") else "fast"
    trainer = compile_trainer(hp, backend=what.split()[0], form=form)
    shape, rng = (hp.batch_size, hp.seq_len + hp.overlap), np.random.RandomState(0)
    sequences = (
        rng.normal(size=shape).astype(np.float32)
        if hp.real_valued
        else rng.randint(0, hp.q_levels, shape).astype(np.int32)
    )
    mask, reset = np.ones(shape, np.float32), np.asarray(0, np.int32)
    states = trainer.zero_states()

    def run() -> float:
        nonlocal states
        cost, *states = trainer.step(sequences, mask, reset, *states)
        return float(cost)

    return run


def _plain_jax(model: str):
    import numpy as np
    import plain_jax

    hp = flops.model(model)
    dims = plain_jax.Dims(hp.dim, hp.emb_size, hp.q_levels, hp.frame_size, hp.big_frame_size)
    rng = np.random.default_rng(0)
    state, h0s = plain_jax.start(plain_jax.init(rng, dims), hp.batch_size)
    sequences = rng.integers(0, hp.q_levels, (hp.batch_size, hp.seq_len + hp.overlap), dtype=np.int32)
    current = [state, h0s]

    def run() -> float:
        current[0], current[1], cost = plain_jax.step(current[0], sequences, current[1], np.int32(0))
        return float(cost)

    return run


# --- all of them --------------------------------------------------------------------------------------------


def in_child(*words: object) -> dict[str, float]:
    """Run this program with these arguments in a new process, with its own memory and caches."""
    environment = os.environ | {"SAMPLERNN_CACHE": "off"}
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"The benchmark failed: {' '.join(map(str, words))}")
    return json.loads(done.stdout.splitlines()[-1])


def report(model: str, a: argparse.Namespace, peak: float) -> None:
    """Measure every row of a model and print it: GFLOP/s unmerged, the share of the peak, times plain JAX."""
    unmerged, done = (count / 1e9 for count in flops.of_step(model))
    hp = flops.model(model)
    has_peer = hp.family == "three_tier" and hp.rnn_type == "GRU" and hp.n_rnn == 1
    rows = [*([PLAIN] if has_peer else []), *a.backends.split(",")]
    turns: dict[str, list[dict[str, float]]] = {what: [] for what in rows}
    for _ in range(a.turns):
        for what, results in turns.items():
            results.append(in_child("--row", what, "--iterations", a.iterations, model))
    print(
        f"\n{model}: dim {hp.dim}, batch {hp.batch_size}, {hp.seq_len} samples per chunk; "
        f"{unmerged:.1f} GFLOP unmerged, {done:.1f} done in the fast form ({done / unmerged:.0%})"
    )
    print(f"{'step':<16}{'s/iter':>9}{'GFLOP/s':>10}{'of peak':>9}{'x plain':>9}{'compile s':>11}{'MiB':>8}")
    seconds = {what: statistics.median(r["seconds"] for r in results) for what, results in turns.items()}
    for what, results in turns.items():
        rate = unmerged / seconds[what]
        ratio = f"{seconds[PLAIN] / seconds[what]:9.2f}" if has_peer else " " * 9
        compiled, memory = min(r["compile"] for r in results), max(r["MiB"] for r in results)
        speed = f"{seconds[what]:9.4f}{rate:10.0f}{rate / peak:9.0%}{ratio}"
        print(f"{what:<16}{speed}{compiled:11.1f}{memory:8.0f}", flush=True)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["three_tier/small"])
    count = {"type": int, "choices": range(1, 10000), "metavar": "N"}
    parser.add_argument("--iterations", default=10, help="timed iterations per turn", **count)
    parser.add_argument("--turns", default=3, help="turns of every row", **count)
    parser.add_argument("--backends", default="jax,jax reference,numba,c")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.row:
        print(json.dumps(measure(a.row, a.models[0], a.iterations)))
        return
    peaks = {library: machine.sgemm_peak(machine.usable_cpus(), library) for library in ("jax", "numpy")}
    print(machine.cpu_description())
    print("sgemm peak, all threads: " + ", ".join(f"{p:.0f} GFLOP/s ({name})" for name, p in peaks.items()))
    for model in a.models:
        report(model, a, max(peaks.values()))


if __name__ == "__main__":
    main()
