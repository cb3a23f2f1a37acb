"""Benchmarks on a GPU as one Markdown table.

    python benchmarks/gpu.py                  in at most nine minutes
    python benchmarks/gpu.py --minutes 20     for a slower card or machine
    python benchmarks/gpu.py --cpu            few rows with tiny models, to test this program without a card

Needs the package, JAX with CUDA and a card; no network and no data. Every row is a process with its own time
limit; a failure is reported in its row. Timed rows run one after the other, others in parallel. The most
important rows come first; those for which no time is left say so.

ms          of a training iteration, the cost read an iteration late, as `samplernn train` does
TFLOP/s     the original's arithmetic in that time (`flops.py`: unmerged)
of peak     of the rate of one large matrix product in the same precision
GiB         peak memory of the device
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
CASES = HERE.parent / "tests" / "golden" / "cases"
COLUMNS = ("what", "how", "ms", "TFLOP/s", "of peak", "GiB", "notes")

SPLIT = ("tf32x3", "bf16x6")  # as accurate as float32, from several products of lower precision
PRECISIONS = ("highest", *SPLIT, "tf32", "bf16")
MIN_SECONDS = 10  # a row is not started with less time left

GRAPHS = "--xla_gpu_enable_command_buffer="  # operations that XLA puts into CUDA graphs


class Row(NamedTuple):
    """A process: a function of `gpu_rows.py` and its options."""

    measure: str
    what: str
    how: str = ""
    options: dict[str, Any] = {}
    limit: int = 90  # seconds
    timed: bool = True  # runs alone
    flags: str = ""  # of XLA


def rows(cpu: bool) -> list[Row]:
    """The rows in order."""
    if cpu:
        return _tiny_rows()
    three, two = "three_tier/best", "two_tier/best"
    bits = "three_tier/demo/dim=512,emb_size=256,batch_size=32"
    cases = ("3t_gru1_q256", "2t_gru3_q256", "1t_lstm2_skip") if CASES.is_dir() else ()
    product = "product of 8192 x 8192"
    return [
        Row("device", "device", limit=60),
        *(Row("matmul", product, p, {"precision": p, "size": 8192}, 40) for p in PRECISIONS),
        *(_step(three, p) for p in PRECISIONS),
        *(_bits(bits, p, 1000) for p in PRECISIONS),
        _bits(bits, "highest", 1000, "highest, another rounding", nudge=1e-6),
        *(_conformance(case, p) for p in ("highest", *SPLIT) for case in cases),
        *(_memory(model, [2**k for k in range(5, 13)], 150) for model in (three, two)),
        *(_step(two, p) for p in ("highest", *SPLIT, "tf32")),
        *(_generation(1024, n) for n in (20, 256)),
        _step(three, "highest", "scans unrolled 4 times", unroll=4),
        _step(three, "highest", "CUDA graphs of whole loops", flags=f"{GRAPHS}+WHILE,+CONDITIONAL"),
        _step(three, "highest", "scans unrolled 16 times", unroll=16),
        _step(three, "highest", "no CUDA graphs", flags=GRAPHS),
        _step(three, "highest", "scans unrolled 8 times", unroll=8),
    ]


def _tiny_rows() -> list[Row]:
    model = "one_tier/tiny/dim=32,q_levels=16"
    return [
        Row("device", "device"),
        Row("matmul", "product of 256 x 256", "highest", {"precision": "highest", "size": 256}),
        _step(model, "highest", "scans unrolled 4 times", iterations=3, unroll=4, flags=GRAPHS),
        *(_bits(model, p, 8) for p in ("highest", "bf16")),
        *([_conformance("1t_gru1", "highest")] if CASES.is_dir() else []),
        _memory(model, [4], 60),
        _generation(16, 2, 0.0),
    ]


def _step(
    model: str, precision: str, note: str = "", iterations: int = 30, unroll: int = 1, flags: str = ""
) -> Row:
    options = {"model": model, "precision": precision, "iterations": iterations, "unroll": unroll}
    how = f"{precision}, {note}" if note else precision
    return Row("step", model, how, options, flags=flags)


def _bits(model: str, precision: str, iterations: int, how: str = "", nudge: float = 0.0) -> Row:
    options = {"model": model, "precision": precision, "iterations": iterations, "nudge": nudge}
    return Row(
        "bits",
        f"cost of the last tenth of {iterations:,} iterations",
        how or precision,
        options,
        150,
        timed=False,
    )


def _conformance(case: str, precision: str) -> Row:
    options = {"case": case, "precision": precision}
    return Row("conformance", f"conformance, {case}", precision, options, 150, timed=False)


def _memory(model: str, batches: list[int], limit: int) -> Row:
    flags = "--xla_gpu_autotune_level=0"  # autotuning would cost time, and nothing runs
    options = {"model": model, "batches": batches, "seconds": limit / 2}
    return Row("memory", model, "largest batch", options, limit, timed=False, flags=flags)


def _generation(dim: int, n: int, seconds: float = 5.0) -> Row:
    options = {"dim": dim, "n": n, "seconds": seconds}
    return Row("generation", f"generation, three_tier, dim {dim}", f"{n} sequences, highest", options)


# --- all of them --------------------------------------------------------------------------------------------


def start(row: Row, cpu: bool) -> subprocess.Popen[str]:
    """A process that measures a row."""
    own = {"SAMPLERNN_CACHE": "off"}
    if flags := f"{os.environ.get('XLA_FLAGS', '')} {row.flags}".strip():
        own["XLA_FLAGS"] = flags
    if cpu:
        own["JAX_PLATFORMS"] = "cpu"
    if not row.timed:
        own["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # it shares the card
    command = [sys.executable, HERE / "gpu_rows.py", json.dumps([row.measure, row.options])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | own)


def finish(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """The result of a process within a time limit, or in "notes" the reason why there is none."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"notes": f"not done within {seconds:.0f} s"}
    if process.returncode == 0:
        return json.loads(output.splitlines()[-1])
    lines = errors.splitlines()
    raised = [line for line in lines if re.match(r"[\w.]+Error: ", line)]
    why = (raised or lines or [f"exit code {process.returncode}"])[-1]
    return {"notes": f"failed: {why[:150]}"}


def measured(row: Row, deadline: float, cpu: bool) -> dict[str, Any]:
    """The result of a row, if there is time for it."""
    left = deadline - time.monotonic()
    if left < MIN_SECONDS:
        return {"notes": "no time left"}
    return finish(start(row, cpu), min(left, row.limit))


def results(table: list[Row], deadline: float, cpu: bool) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Measure every row, those without times in parallel."""
    for timed, together in groupby(table, key=lambda row: row.timed):
        if timed:
            for row in together:
                yield row, measured(row, deadline, cpu)
            continue
        with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) // 2)) as threads:
            group = list(together)
            yield from zip(group, threads.map(lambda row: measured(row, deadline, cpu), group), strict=True)


def line(row: Row, result: dict[str, Any]) -> str:
    """A row of the table."""
    shown = {"what": row.what, "how": row.how, **result}
    for name, form in (("ms", ".1f"), ("TFLOP/s", ".3g"), ("of peak", ".0%"), ("GiB", ".2f")):
        value = shown.get(name)
        shown[name] = "" if value is None else format(value, form)
    return "| " + " | ".join(str(shown.get(column, "")).replace("|", "/") for column in COLUMNS) + " |"


def report(table: list[Row], minutes: float, cpu: bool) -> None:
    """Measure and print every row."""
    deadline = time.monotonic() + 60 * minutes
    models = sorted({row.what for row in table if row.measure == "step"})
    counting = start(Row("count", "", options={"models": models}, timed=False), cpu=True)
    counted: dict[str, Any] = {}
    peaks: dict[str, float] = {}
    reference = None  # bits in the highest precision
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    for row, result in results(table, deadline, cpu):
        if row.measure == "device" and not cpu and result.get("platform") not in ("gpu", "cuda", "rocm"):
            counting.kill()
            raise SystemExit(f"JAX finds no GPU: {result['notes']}. Install jax[cuda13], or try --cpu.")
        if row.measure == "matmul" and "TFLOP/s" in result:
            peaks[row.options["precision"]] = result["TFLOP/s"]
        if row.measure == "step" and "ms" in result:
            counted = counted or finish(counting, 60)
            if row.what in counted:
                result["TFLOP/s"] = counted[row.what] / result["ms"] / 1e9
                if peak := peaks.get(row.options["precision"]):
                    result["of peak"] = result["TFLOP/s"] / peak
        if row.measure == "bits" and "bits" in result:
            result["notes"] = f"{result['bits']:.4f} bits"
            if reference is None and row.how == "highest":
                reference = result["bits"]
            elif reference is not None:
                result["notes"] += f", {result['bits'] - reference:+.4f} against the highest precision"
        print(line(row, result), flush=True)
    counting.kill()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9, help="for all of it (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="few and tiny rows, on the CPU")
    a = parser.parse_args()
    report(rows(a.cpu), a.minutes, a.cpu)


if __name__ == "__main__":
    main()
