"""The tools of benchmarks/: the plain JAX peer computes the same model, the operation counts are right."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pytensor.link.jax.dispatch import scan

from samplernn_theano.checkpoints import bands
from samplernn_theano.config.hyperparameters import ThreeTier
from samplernn_theano.generation.kernels import weights
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters

jax = pytest.importorskip("jax")

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "cases" / "3t_gru1_q256.npz"


def load(name: str) -> ModuleType:
    """Import a script of benchmarks/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain_jax = load("plain_jax")
machine = load("machine")
generate = load("generate")
gpu = load("gpu")
gpu_rows = load("gpu_rows")
reference = load("reference")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def training(golden):
    """The states after, and the costs of, the thirty golden updates."""
    state, h0s = plain_jax.start(plain_jax.from_golden(str(GOLDEN)), 4)
    costs = []
    for sequences, reset in zip(golden["mb/sequences"], golden["mb/reset"], strict=True):
        state, h0s, cost = plain_jax.step(state, sequences, h0s, reset)
        costs.append(float(cost))
    return state, h0s, costs


def relative_error(ours, theirs) -> float:
    return float(np.linalg.norm(np.asarray(ours) - theirs) / np.linalg.norm(theirs))


def test_peer_trains_like_the_original_for_thirty_updates(golden, training):
    state, h0s, costs = training
    np.testing.assert_allclose(costs, golden["train/costs"], rtol=1e-5)
    np.testing.assert_allclose(h0s[1], golden["train/final_new_h0"][:, 0], atol=1e-4)
    wrong = {name: relative_error(w, golden[f"after30/{name}"]) for name, w in state.params.items()}
    assert max(wrong.values()) < 1e-4, wrong


def test_peer_stays_in_float32(training):
    state, h0s, _ = training
    assert {leaf.dtype.name for leaf in jax.tree.leaves((state, h0s))} == {"float32"}


def test_peer_reuses_the_buffers_of_parameters_and_adam(golden):
    before, h0s = plain_jax.start(plain_jax.from_golden(str(GOLDEN)), 4)
    plain_jax.step(before, golden["mb/sequences"][0], h0s, golden["mb/reset"][0])
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def test_peer_draws_parameters_of_the_original_names_shapes_and_scales(golden):
    params = plain_jax.init(np.random.default_rng(0), plain_jax.Dims(dim=16, emb=16))
    theirs = plain_jax.from_golden(str(GOLDEN))
    assert {name: w.shape for name, w in params.items()} == {name: w.shape for name, w in theirs.items()}
    for name, w in params.items():
        if name.endswith(".W0"):
            np.testing.assert_allclose(np.std(w), np.std(theirs[name]), rtol=0.25, err_msg=name)
            norms = np.linalg.norm(w, axis=0)
            np.testing.assert_allclose(params[name.replace("W0", "g0")], norms, rtol=1e-5, err_msg=name)


def test_timing_script_prints_compile_and_iteration_seconds(capsys):
    plain_jax.main(["--dim", "4", "--batch", "2", "--seq_len", "16", "--iterations", "2"])
    printed = capsys.readouterr().out
    assert "dim 4, batch 2, seq_len 16" in printed
    numbers = re.search(r"compile ([0-9.]+) s, median of 2 iterations ([0-9.]+) s", printed)
    assert numbers is not None and float(numbers[1]) > 0 and float(numbers[2]) > 0


@pytest.mark.parametrize("arguments", [["--seq_len", "500"], ["--batch", "0"]])
def test_timing_script_names_the_option_it_refuses(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        plain_jax.main(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


def product_flops(jaxpr, times: int = 1) -> int:
    """Two operations per multiply-add of every matrix product that a traced JAX function performs."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            left, right = (operand.aval.shape for operand in equation.invars)
            (contracted, _), (batched, _) = equation.params["dimension_numbers"]
            shared = np.prod([left[axis] for axis in (*contracted, *batched)])
            total += times * 2 * int(np.prod(left)) * int(np.prod(right)) // int(shared)
        inner = [
            equation.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in equation.params
        ]
        for body in inner:
            total += product_flops(getattr(body, "jaxpr", body), times * equation.params.get("length", 1))
    return total


@pytest.mark.parametrize("dims", [(16, 12, 32, 2, 8), (10, 6, 16, 4, 16)])
def test_counts_are_those_of_the_products_that_the_peer_performs(dims):
    sizes = plain_jax.Dims(*dims)
    batch, seq_len = 3, 64
    state, h0s = plain_jax.start(plain_jax.init(np.random.default_rng(0), sizes), batch)
    arguments = state.params, np.zeros((batch, seq_len + sizes.big_frame), np.int32), h0s, np.int32(0)
    forward = jax.make_jaxpr(plain_jax.cost_and_h0s)(*arguments)
    counts = machine.forward_flops(batch, seq_len, *dims)
    assert product_flops(forward.jaxpr) == sum(counts.values())

    both = jax.make_jaxpr(jax.grad(plain_jax.cost_and_h0s, has_aux=True))(*arguments)
    not_needed = counts["BigFrameLevel.GRU1.Step.Input"] + counts["FrameLevel.InputExpand"]
    total = machine.flops_three_tier(batch, seq_len, *dims)
    assert product_flops(both.jaxpr) == total - not_needed
    assert not_needed < 0.02 * total


def test_counts_at_the_two_sizes_that_are_reported():
    assert machine.flops_three_tier(16, 512, 256, 256, 256, 2, 8) == pytest.approx(31.9e9, rel=2e-3)
    assert machine.flops_three_tier(128, 512, 1024, 256, 256, 2, 8) == pytest.approx(3.146e12, rel=2e-3)


def test_processor_is_described_on_one_line(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU 9000\nflags\t\t: fpu avx avx2 avx512f\n")
    description = machine.cpu_description(cpuinfo)
    assert description == f"Some CPU 9000, {machine.usable_cpus()} cores usable, AVX2, AVX-512"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx\n")
    assert machine.cpu_description(cpuinfo).endswith("no AVX2, no AVX-512")
    assert "\n" not in machine.cpu_description()


@pytest.mark.parametrize("library", ["jax", "numpy"])
def test_sgemm_rate_is_measured(library):
    rate = machine.sgemm_peak(1, library, size=256, repeats=2)
    assert 0.1 < rate < 10_000


@pytest.mark.parametrize("threads", [0, 10_000])
def test_sgemm_refuses_threads_that_are_not_there(threads):
    with pytest.raises(ValueError, match="threads must be between 1 and"):
        machine.sgemm_peak(threads)


def test_the_training_benchmark_prints_its_table(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setenv("SAMPLERNN_CACHE", "off")
    monkeypatch.setattr(
        load("train_step").machine, "sgemm_peak", partial(machine.sgemm_peak, size=256, repeats=1)
    )
    words = "three_tier/tiny/dim=8,batch_size=2,seq_len=16 --iterations 1 --turns 1 --backends jax"
    monkeypatch.setattr(sys, "argv", ["train_step.py", *words.split()])
    load("train_step").main()
    printed = capsys.readouterr().out
    rows = {line[:16].strip(): line[16:].split() for line in printed.splitlines()}
    assert float(rows["plain JAX"][3]) == 1.0  # the ratio to itself
    assert float(rows["jax"][0]) > 0 and float(rows["jax"][3]) > 0
    assert "sgemm peak" in printed
    counted = r"dim 8, batch 2, 16 samples per chunk; [\d.]+ GFLOP unmerged, [\d.]+ done"
    assert re.search(counted, printed), printed


def test_checkpointing_measures_how_long_a_checkpoint_takes():
    words = [sys.executable, ROOT / "benchmarks" / "checkpointing.py", "--family", "wavenet", "--repeat", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "a checkpoint of 12 MB" in done.stdout  # a million parameters, and two moments of each
    assert re.search(r"as a run writes it +median \d+\.\d\d s", done.stdout)


def test_read_bandwidth_is_measured():
    for threads in {1, machine.usable_cpus()}:
        assert 0.1 < machine.read_bandwidth(2**17, threads, repeats=2) < 10_000
    with pytest.raises(ValueError, match="threads must be between 1 and"):
        machine.read_bandwidth(2**17, 10_000)


def test_cache_sizes_are_those_of_data(tmp_path):
    for index, told in enumerate([("Data", 1, "48K"), ("Instruction", 1, "64K"), ("Unified", 2, "2048K")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in zip(("type", "level", "size"), told, strict=True):
            (folder / name).write_text(f"{value}\n")
    assert machine.cache_sizes(tmp_path) == {1: 48 * 2**10, 2: 2 * 2**20, 3: 32 * 2**20}


def test_a_generated_sample_reads_each_matrix_as_often_as_its_tier_steps():
    H, Q, G = 16, 32, 3  # width, levels, gates; big frames of 8 samples, frames of 2
    hp = ThreeTier(dim=H, q_levels=Q, emb_size=4, seq_len=64)
    params = Parameters(0)
    build_graph(params, hp)
    need = machine.work(weights.prepare(params.arrays(), hp))
    gru = H * G * H  # state to gates and candidate
    big, above, frame = 8 * G * H + gru + H * 4 * H, H * G * H, 2 * G * H + gru + H * 2 * H
    sample = H * H + H * Q
    biases = (G * H + H + 4 * H) / 8 + (G * H + H + 2 * H) / 2 + H + Q
    assert need.bytes == 4 * ((big + above) / 8 + frame / 2 + sample + biases + 2 * H)
    assert need.weights == 4 * (big + above + frame + sample + 2 * Q * H)
    assert need.flops == 2 * (big / 8 + (above + frame) / 2 + sample)  # four vectors from above at once


def test_the_generation_benchmark_prints_its_table():
    script = ROOT / "benchmarks" / "generate.py"
    words = "--cases three_tier/16x2 --turns 1 --seconds 0.01 --loops jax".split()
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "three_tier" in line]
    assert [what for _, what, *_ in rows] == ["kernels", "graph, jax", "loop, jax"]
    assert all(model == "three_tier, dim 16, N = 2" for model, *_ in rows)
    assert all(same == "2 of 2" for *_, same in rows)  # the same samples, whoever generates them
    steps, _, times, *_ = zip(*(row[2:] for row in rows), strict=True)
    assert float(times[2]) == 1.0 and float(times[0]) > 1
    assert all(float(number.replace(",", "")) > 0 for number in steps)


@pytest.mark.parametrize("case", ["three_tier", "three_tier/x4", "four_tier/16x1"])
def test_the_generation_benchmark_refuses_a_case_it_does_not_know(case):
    with pytest.raises(SystemExit, match=f"--cases: {case} is none"):
        generate.Case.parse(case)


def cells(printed: str) -> list[dict[str, str]]:
    """The rows of a table in Markdown by its columns."""
    columns, _, *rows = ([cell.strip() for cell in row.split("|")[1:-1]] for row in printed.splitlines())
    return [dict(zip(columns, row, strict=True)) for row in rows]


class Here:
    """In place of a process that measures a row: it is measured in this one."""

    def __init__(self, row: gpu.Row, cpu: bool) -> None:
        self.row = row

    def finish(self, seconds: float) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as context:
            context.setattr(scan, "jax_scan", scan.jax_scan)  # which a row replaces
            return getattr(gpu_rows, self.row.measure)(**self.row.options)

    def kill(self) -> None:
        pass


@contextmanager
def one_after_the_other(_: int) -> Iterator[SimpleNamespace]:
    """In place of threads: rows replace the output and functions of this process."""
    yield SimpleNamespace(map=map)


def test_the_gpu_benchmark_prints_every_kind_of_row_on_a_cpu(monkeypatch, capsys):
    """All in this process; the next test starts some."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(gpu, "start", Here)
    monkeypatch.setattr(gpu, "finish", Here.finish)
    monkeypatch.setattr(gpu, "ThreadPoolExecutor", one_after_the_other)
    gpu.report(gpu.rows(cpu=True), 30, cpu=True)
    device, product, step, bits, rounded, cases, batch, generated = cells(capsys.readouterr().out)
    assert device["how"] == "cpu" and "JAX" in device["notes"]
    for row in (product, step):
        assert float(row["ms"]) > 0 and float(row["TFLOP/s"]) > 0
    assert step["of peak"].endswith("%") and "min per epoch of Music (957,000 iterations)" in step["notes"]
    # A CPU knows one precision.
    assert rounded["notes"] == f"{bits['notes']}, +0.0000 against the highest precision"
    assert 2 < float(bits["notes"].split()[0]) < 5  # of 16 levels
    assert " 0 failed, in 1 cases" in cases["notes"]
    assert batch["notes"].startswith("4 or more in 8 GB")
    assert "x real time together" in generated["notes"]


def test_a_row_of_the_gpu_benchmark_that_fails_says_so():
    now = gpu.time.monotonic()
    unknown = gpu._step("three_tier/nonsense", "highest")
    device = gpu.Row("device", "device", limit=0.01)
    large = gpu.Row("matmul", "product", options={"precision": "highest", "size": 10**6})
    rows = list(gpu.results([unknown, device, large], now + 1000, cpu=True))
    *notes, memory = (result["notes"] for _, result in rows)
    assert "Error: " in memory and "Out of memory" in memory
    assert notes == [
        "failed: samplernn_theano.errors.HyperParameterError: --preset nonsense is unknown; "
        "choose one of best, small, demo, tiny.",
        "not done within 0 s",
    ]
    assert gpu.measured(device, now, cpu=True) == {"notes": "no time left"}
    assert cells(
        gpu.line(device, {"notes": "a | b"}).join(["| " + " | ".join(gpu.COLUMNS) + " |\n-\n", ""])
    ) == [dict.fromkeys(gpu.COLUMNS, "") | {"what": "device", "notes": "a / b"}]


def test_what_fits_into_a_card_is_what_xla_plans(monkeypatch):
    asked = []

    def program(hp, precision):
        asked.append(hp.batch_size)
        return hp.batch_size, []

    monkeypatch.setitem(sys.modules, "flops", load("flops"))
    monkeypatch.setattr(gpu_rows, "_training_program", program)
    monkeypatch.setattr(gpu_rows, "_planned", lambda size: size * 10**8)
    said = gpu_rows.memory("three_tier/best", [32, 64, 128, 256, 512, 1024, 2048], 1000.0)["notes"]
    # Three quarters of a card: 6, 12, 18 and 60 GB.
    assert said.startswith("32 in 8 GB, 64 in 16 GB, 128 in 24 GB, 512 in 80 GB, of which JAX takes 75%")
    assert asked == [32, 64, 128, 256, 512, 1024]
    said = gpu_rows.memory("three_tier/best/dim=8", [32, 64], 1000.0)["notes"]
    assert "64 or more in 80 GB" in said and "64 in 16 GB" not in said.replace("64 or more", "")


def test_without_a_gpu_the_benchmark_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(SystemExit, match="JAX finds no GPU.*--cpu"):
        gpu.report(gpu.rows(cpu=False)[:1], 1.0, cpu=False)


def test_the_reference_of_show_has_the_runs_of_the_atlas():
    runs = bands.stored()["runs"]
    paths = sorted(reference.ATLAS.glob("*.npz"))
    assert paths and list(reference.EDGES) == bands.stored()["edges"]
    for path in paths:
        family, _, seed = path.stem.partition("_seed")
        assert reference.digest(path, family, "demo", int(seed)) in runs
