"""One training iteration of three_tier: ours on every backend, plain JAX, and the machine's sgemm peak.

    python benchmarks/train_step.py                       dim 256, batch 16, every backend
    python benchmarks/train_step.py --dim 1024 --batch 128 --backends jax
    python benchmarks/train_step.py --gpu                 the paper's shape on JAX's accelerator

Every row is measured in a process of its own. The jax row and plain JAX are measured in turns, several times
each, and the ratio is taken from the medians: these are the figures that a noisy machine leaves intact.
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

HERE = Path(__file__).parent


def measure(what: str, dim: int, batch: int, seq_len: int, iterations: int) -> dict[str, float]:
    """Compile one kind of step in this process and time it: seconds, MiB."""
    began = time.perf_counter()
    run = _plain_jax(dim, batch, seq_len) if what == "plain JAX" else _ours(what, dim, batch, seq_len)
    run()  # traces and compiles
    compiled = time.perf_counter() - began
    times = []
    for _ in range(iterations):
        began = time.perf_counter()
        cost = run()
        times.append(time.perf_counter() - began)
    assert cost == cost, "the cost is NaN"
    peak = _device_mib() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"compile": compiled, "seconds": statistics.median(times), "best": min(times), "MiB": peak}


def _ours(backend: str, dim: int, batch: int, seq_len: int):
    import numpy as np

    from samplernn_theano.hyperparameters import ThreeTier
    from samplernn_theano.trainer import compile_trainer

    form = "reference" if backend.endswith(" reference") else "fast"
    hp = ThreeTier(dim=dim, batch_size=batch, seq_len=seq_len)
    trainer = compile_trainer(hp, backend=backend.split()[0], form=form)
    shape = (batch, seq_len + hp.overlap)
    sequences = np.random.RandomState(0).randint(0, hp.q_levels, shape).astype(np.int32)
    mask, reset = np.ones(shape, np.float32), np.asarray(0, np.int32)
    states = trainer.graph.zero_states()

    def run() -> float:
        nonlocal states
        cost, *states = trainer.step(sequences, mask, reset, *states)
        return float(cost)

    return run


def _plain_jax(dim: int, batch: int, seq_len: int):
    sys.path.insert(0, str(HERE))
    import numpy as np
    import plain_jax

    dims = plain_jax.Dims(dim=dim)
    rng = np.random.default_rng(0)
    state, h0s = plain_jax.start(plain_jax.init(rng, dims), batch)
    sequences = rng.integers(0, 256, (batch, seq_len + 8), dtype=np.int32)
    held = [state, h0s]

    def run() -> float:
        held[0], held[1], cost = plain_jax.step(held[0], sequences, held[1], np.int32(0))
        return float(cost)

    return run


def _device_mib() -> float | None:
    """Peak memory of the accelerator that this process used; None on a CPU."""
    if "jax" not in sys.modules:
        return None
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    return stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else None


def in_child(what: str, a: argparse.Namespace) -> dict[str, float]:
    """The same in a new process, so that memory and caches are its own."""
    words = [
        "--row",
        what,
        "--dim",
        a.dim,
        "--batch",
        a.batch,
        "--seq-len",
        a.seq_len,
        "--iterations",
        a.iterations,
    ]
    # The same precision for both: on a GPU plain JAX would take TF32.
    environment = os.environ | {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"The benchmark of {what} failed.")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument(
        "--iterations",
        type=int,
        default=10,
        choices=range(1, 10000),
        metavar="N",
        help="timed iterations per turn",
    )
    parser.add_argument(
        "--turns",
        type=int,
        default=3,
        choices=range(1, 100),
        metavar="N",
        help="turns of our jax step and plain JAX",
    )
    parser.add_argument("--backends", default="jax,jax reference,numba,c")
    parser.add_argument(
        "--gpu", action="store_true", help="the paper's shape, jax only, on JAX's default device"
    )
    parser.add_argument("--row", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.row:
        print(json.dumps(measure(a.row, a.dim, a.batch, a.seq_len, a.iterations)))
        return
    if a.gpu:
        a.dim, a.batch, a.backends = 1024, 128, "jax"
    report(a)


def report(a: argparse.Namespace) -> None:
    """Measure every row and print it with GFLOP/s, the fraction of the peak and the ratio to plain JAX."""
    sys.path.insert(0, str(HERE))
    import machine

    flops = machine.flops_three_tier(a.batch, a.seq_len, a.dim, 256, 256, 2, 8)
    print(f"three_tier GRU x 1, dim {a.dim}, batch {a.batch}, seq_len {a.seq_len}: {flops / 1e9:.1f} GFLOP")
    executed = (
        flops
        - 3 * machine.forward_flops(a.batch, a.seq_len, a.dim, 256, 256, 2, 8)["SampleLevel.L1_PrevSamples"]
    )
    peak = None
    if a.gpu:
        program = "import jax; print('device:', *(d.device_kind for d in jax.devices()))"
        print(
            subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True).stdout.strip()
        )
    else:
        peaks = {library: machine.sgemm_peak(machine.usable_cpus(), library) for library in ("jax", "numpy")}
        peak = max(peaks.values())
        print(machine.cpu_description())
        print(
            "sgemm peak, all threads: " + ", ".join(f"{p:.0f} GFLOP/s ({name})" for name, p in peaks.items())
        )
    backends = a.backends.split(",")
    turns: dict[str, list[dict[str, float]]] = {what: [] for what in ("plain JAX", *backends)}
    for turn in range(a.turns):
        for what, rows in turns.items():
            if turn == 0 or what in ("plain JAX", "jax"):
                rows.append(in_child(what, a))
    seconds = {what: statistics.median(row["seconds"] for row in rows) for what, rows in turns.items()}
    print(f"{'step':<16}{'s/iter':>9}{'GFLOP/s':>10}{'of peak':>9}{'x plain':>9}{'compile s':>11}{'MiB':>8}")
    for what, rows in turns.items():
        rate = flops / seconds[what] / 1e9
        fraction = f"{rate / peak:9.0%}" if peak else f"{'':>9}"
        ratio = seconds["plain JAX"] / seconds[what]
        compiled = min(row["compile"] for row in rows)
        memory = max(row["MiB"] for row in rows)
        print(
            f"{what:<16}{seconds[what]:9.4f}{rate:10.0f}{fraction}{ratio:9.2f}{compiled:11.1f}{memory:8.0f}"
        )
    print(
        f"GFLOP/s and the fraction of the peak count {flops / 1e9:.1f} GFLOP, with a dense first layer of "
        f"the sample tier.\nOur fast form looks that layer up in tables: it does {executed / 1e9:.1f} GFLOP."
    )


if __name__ == "__main__":
    main()
