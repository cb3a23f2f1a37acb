"""Peak rates of the machine, and the arithmetic of training and generation, as a reference for benchmarks.

    python benchmarks/machine.py

prints the processor, its single-precision matrix-product (sgemm) peak through JAX and through NumPy's BLAS,
with one thread and with all, the rate at which memory of several sizes is read, and the floating-point
operations of one three-tier training iteration.
Linux only: threads are limited by binding a child process to as many processors.
"""

import argparse
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

LIBRARIES = ("jax", "numpy")


def cpu_description(cpuinfo: str | os.PathLike[str] = "/proc/cpuinfo") -> str:
    """One line: the processor's model name, the processors that this process may use, AVX2 and AVX-512."""
    fields: dict[str, str] = {}
    for line in Path(cpuinfo).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    avx2 = "AVX2" if "avx2" in flags else "no AVX2"
    avx512 = "AVX-512" if "avx512f" in flags else "no AVX-512"
    return f"{fields.get('model name', 'unknown processor')}, {usable_cpus()} cores usable, {avx2}, {avx512}"


def usable_cpus() -> int:
    """Number of processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def sgemm_peak(threads: int, library: str = "jax", size: int = 4096, repeats: int = 5) -> float:
    """Best rate, in GFLOP/s, of `repeats` products of two (size, size) float32 matrices.

    A fresh process, bound to the first `threads` processors that this one may use, does the work, because
    neither library can change its number of threads once it is loaded. The environment is passed on, so a
    setting such as OPENBLAS_CORETYPE counts.

    Parameters
    ----------
    threads : processors and threads to use
    library : 'jax' (a jitted product on the CPU) or 'numpy' (its BLAS)

    Raises
    ------
    ValueError
        If `library` is unknown or `threads` is not between 1 and `usable_cpus()`.
    RuntimeError
        If the process fails; the message ends with what it printed.
    """
    if library not in LIBRARIES:
        raise ValueError(f"library must be one of {', '.join(LIBRARIES)}, not {library!r}.")
    _check_threads(threads)
    options = {"measure": library, "threads": threads, "size": size, "repeats": repeats}
    command = [sys.executable, os.path.abspath(__file__)]
    command += [f"--{option}={value}" for option, value in options.items()]
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment = os.environ | limits | {"JAX_PLATFORMS": "cpu"}
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"Measuring sgemm with {library} failed: {child.stderr.strip()}")
    return float(child.stdout)


def read_bandwidth(size: int, threads: int, repeats: int = 5) -> float:
    """Best rate, in GB/s, at which `threads` threads together read, each its own `size` bytes over and over.

    Where a thread's bytes fit into a cache, it is the cache's rate. Measured in this process.

    Raises
    ------
    ValueError
        If `threads` is not between 1 and `usable_cpus()`.
    """
    import numpy as np

    _check_threads(threads)
    # Not zeros: the system has one page for all of those that nobody wrote to.
    arrays = [np.ones(size // 8, np.int64) for _ in range(threads)]
    total = _compiled_sum()
    total(arrays[0], 1)  # compiles
    times = max(1, 2**30 // size)  # about 10 to 30 ms
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(total, arrays, [times] * threads))
            seconds.append(time.perf_counter() - began)
    return threads * times * size / min(seconds) / 1e9


def cache_sizes(folder: str | os.PathLike[str] = "/sys/devices/system/cpu/cpu0/cache") -> dict[int, int]:
    """Bytes of the data caches by level: 1, 2, 3; a typical size if the system does not report it."""
    sizes = {1: 2**15, 2: 2**20, 3: 2**25}
    for index in Path(folder).glob("index*"):
        kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction" and size.endswith("K"):
            sizes[int(level)] = int(size[:-1]) * 2**10
    return sizes


def forward_flops(
    batch: int, seq_len: int, dim: int, emb: int, q: int, frame: int, big_frame: int
) -> dict[str, int]:
    """Floating-point operations, two per multiply-add, of each layer's matrix product in a forward pass.

    Keys are the layers' names in the three-tier model with one GRU per tier; elementwise work is not counted.
    L1 is counted as the dense (frame·emb, dim) product, which a step with look-up tables avoids.
    """
    samples = batch * seq_len
    frames = samples // frame
    big_frames = samples // big_frame
    multiply_adds = {
        # Big-frame tier, per big frame: GRU (three gates from input and state), a vector for each frame.
        "BigFrameLevel.GRU1.Step.Input": big_frames * big_frame * 3 * dim,
        "BigFrameLevel.GRU1.Step.Recurrent_Gates": big_frames * dim * 2 * dim,
        "BigFrameLevel.GRU1.Step.Recurrent_Candidate": big_frames * dim * dim,
        "BigFrameLevel.Output": big_frames * dim * dim * (big_frame // frame),
        # Frame tier, per frame: its samples to dim, GRU, a vector for each sample.
        "FrameLevel.InputExpand": frames * frame * dim,
        "FrameLevel.GRU1.Step.Input": frames * dim * 3 * dim,
        "FrameLevel.GRU1.Step.Recurrent_Gates": frames * dim * 2 * dim,
        "FrameLevel.GRU1.Step.Recurrent_Candidate": frames * dim * dim,
        "FrameLevel.Output": frames * dim * dim * frame,
        # Sample tier, per sample: the embeddings of the previous `frame` samples, two layers, the logits.
        "SampleLevel.L1_PrevSamples": samples * frame * emb * dim,
        "SampleLevel.L2": samples * dim * dim,
        "SampleLevel.L3": samples * dim * dim,
        "SampleLevel.Output": samples * dim * q,
    }
    return {name: 2 * count for name, count in multiply_adds.items()}


def flops_three_tier(batch: int, seq_len: int, dim: int, emb: int, q: int, frame: int, big_frame: int) -> int:
    """Floating-point operations of the matrix products of one training iteration of the three-tier model.

    Three times those of `forward_flops`: the backward pass has two products for each one of the forward pass,
    by the weight and by the input. (Two layers read plain samples and need no gradient by their input: less
    than one part in a hundred at dim 256.)
    """
    return 3 * sum(forward_flops(batch, seq_len, dim, emb, q, frame, big_frame).values())


class Work(NamedTuple):
    """Work for generating one sample of one sequence."""

    weights: int  # bytes of all matrices and tables
    bytes: float  # of weights that are read
    flops: float  # of matrix products


def work(prepared) -> Work:
    """Work with the arrays of `samplernn_theano.generation.kernels.weights.prepare`."""
    read, multiplied, size = 0.0, 0.0, 0
    period = prepared.tiers[0].frame_size  # samples from one vector from above to the next
    for tier in prepared.tiers:
        matrices = (tier.from_frame, tier.between, tier.gates, tier.candidates, tier.skips, tier.upsample)
        biases = (tier.bias, tier.skip_bias, tier.upsample_bias)
        steps = sum(W.nbytes for W in matrices)
        read += (steps + sum(b.nbytes for b in biases)) / tier.frame_size
        read += tier.from_above.nbytes / period + tier.from_level[:1].nbytes
        multiplied += (steps + tier.from_above.nbytes) / tier.frame_size
        size += steps + tier.from_above.nbytes + tier.from_level.nbytes
        period = tier.frame_size
    layers = sum(W.nbytes for W in prepared.layers)
    read += layers + sum(b.nbytes for b in prepared.biases) + prepared.tables[:, 0].nbytes
    return Work(size + layers + prepared.tables.nbytes, read, 2 * (multiplied + layers) / 4)


def _check_threads(threads: int) -> None:
    if not 1 <= threads <= usable_cpus():
        raise ValueError(f"threads must be between 1 and {usable_cpus()}, not {threads}.")


@functools.cache
def _compiled_sum() -> Callable[..., object]:
    import numba

    @numba.njit(nogil=True)
    def total(numbers, times):
        """Read all numbers `times` times: the write keeps the compiler from reading them only once."""
        result = 0
        for _ in range(times):
            for i in range(len(numbers)):  # an iterator would not become vector instructions
                result += numbers[i]
            numbers[0] = result
        return result

    return total


def _best_rate(product: Callable[[], object], size: int, repeats: int) -> float:
    product()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds) / 1e9


def _jax_rate(size: int, repeats: int) -> float:
    import jax
    import jax.numpy as jnp

    x = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    return _best_rate(lambda: multiply(x, x).block_until_ready(), size, repeats)


def _numpy_rate(size: int, repeats: int) -> float:
    import numpy as np

    x = np.random.default_rng(0).standard_normal((size, size), np.float32)
    out = np.empty_like(x)
    return _best_rate(lambda: np.matmul(x, x, out=out), size, repeats)


def main(argv: list[str] | None = None) -> None:
    """Print the yardsticks, or with --measure the rate of one library in this process alone."""
    parser = argparse.ArgumentParser(description="Measure the machine's matrix-product peak.")
    parser.add_argument("--size", type=int, default=4096, help="rows of the matrices (default %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="products, the best counts (default %(default)s)"
    )
    parser.add_argument("--measure", choices=LIBRARIES, help="print only this library's rate, in GFLOP/s")
    parser.add_argument("--threads", type=int, default=1, help="threads for --measure (default %(default)s)")
    args = parser.parse_args(argv)
    for option in ("size", "repeats", "threads"):
        if getattr(args, option) < 1:
            parser.error(f"--{option} must be 1 or more.")
    if args.measure:
        # The libraries count the processors when they load, so they are imported only after this.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
        rate = _jax_rate if args.measure == "jax" else _numpy_rate
        print(rate(args.size, args.repeats))
        return
    print(cpu_description())
    for library in LIBRARIES:
        for threads in sorted({1, usable_cpus()}):
            peak = sgemm_peak(threads, library, args.size, args.repeats)
            print(f"sgemm {args.size}^3, {library}, threads {threads}: {peak:.0f} GFLOP/s")
    for kib in (2**k for k in range(7, 17)):
        rates = [read_bandwidth(kib * 2**10, threads) for threads in sorted({1, usable_cpus()})]
        print(f"reading {kib} KiB: " + ", ".join(f"{r:.0f}" for r in rates) + " GB/s (1 thread, all)")
    for batch, dim in ((16, 256), (128, 1024)):
        total = flops_three_tier(batch, 512, dim, 256, 256, 2, 8)
        print(f"three-tier iteration, dim {dim}, batch {batch}, seq_len 512: {total / 1e9:.1f} GFLOP")


if __name__ == "__main__":
    main()
