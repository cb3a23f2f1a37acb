"""Run one step of a workflow and record its command, machine, duration and result.

Snakemake calls `python -m samplernn_theano.reproduction.run_step OUT STEP UNIT [SEED [ATTEMPT]]`.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.schedule import best_of
from samplernn_theano.data import baselines, clip_table
from samplernn_theano.data.dataset import SPLITS, lengths, load_split, statistics
from samplernn_theano.data.manifest import read_manifest
from samplernn_theano.errors import CheckpointError, DataError, SampleRNNError
from samplernn_theano.reproduction import plan, scales
from samplernn_theano.reproduction.plan import Command, Step, Workflow
from samplernn_theano.reproduction.records import number, part, read_record
from samplernn_theano.utils import signal_handling
from samplernn_theano.utils.commands import run_command
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.text import format_duration, parse_json

CORES = "SAMPLERNN_CORES"
"""Environment variable with the number of cores that a workflow uses; not set on clusters."""

METERS = Path("/sys/class/powercap")  # Linux's energy meters of processors
INTERRUPTED = (124, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a step that resumes when it is run again."""


def run(out: Path, step: str, unit: str, seed: int | None = None, attempt: int = 1) -> int:
    """Run a step, print one line about it, and return its exit code; its output goes to a .log file.

    Attempts after the first one only resume interrupted or killed steps: a failed step would fail again.
    """
    workflow = plan.load(out)
    path = plan.record_path(out, step, unit, seed)
    if attempt > 1 and read_record(path).get("status") == "failed":
        return 2
    record: dict[str, Any] = {"step": step, "cell": unit, "seed": seed, "scale": workflow.scale}
    record |= {"status": "running", "started": datetime.now(UTC).isoformat(timespec="seconds")}
    record["machine"] = machine(scales.read(workflow.scale).resources.threads)
    start, energy = time.monotonic(), _energy()
    code, message = 0, ""
    try:
        record["command"] = command = plan.command(workflow, step, unit, seed)
        write_text(path, json.dumps(record, indent=2) + "\n")
        if command:
            code, message = call(workflow, command, path.with_suffix(".log"))
        if code == 0:
            record["result"] = _result(workflow, step, unit, seed)
    except SampleRNNError as error:
        code, message = 2, str(error)
    ended = "done" if code == 0 else "interrupted" if code in INTERRUPTED else "failed"
    record |= {"status": ended, "exit_code": code, "seconds": round(time.monotonic() - start, 1)}
    if energy is not None and (now := _energy()) is not None and now > energy:
        record["energy_joules"] = round(now - energy)
    if code:
        resume = "run the workflow again to resume it" if ended == "interrupted" else ""
        record["message"] = resume or message or f"exit code {code}"
    write_text(path, json.dumps(record, indent=2) + "\n")
    print(_summary_line(record) + _progress(workflow, None if code else (step, unit, seed)), flush=True)
    return code


def call(workflow: Workflow, command: Command, log: Path) -> tuple[int, str]:
    """Run a command, append its output to the file `log`; return its exit code and last error message.

    SIGTERM and Ctrl-C are forwarded: a training saves a checkpoint before it exits. The command runs in its
    own session, so that Ctrl-C does not reach it twice, which would kill it.
    """
    own = {**scales.read(workflow.scale).environment, "PYTHONUNBUFFERED": "1"}
    cache = {"SAMPLERNN_CACHE": str(workflow.out / ".cache")}  # of compiled programs, shared by all steps
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        start = file.tell()
        with subprocess.Popen(
            [sys.executable, "-m", "samplernn_theano", *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=cache | os.environ | own,
            start_new_session=True,
        ) as process:
            with signal_handling.handle_signals(process.send_signal, first_only=False):
                code = process.wait()
    if code < 0:
        return 128 - code, f"{command[0]} was killed by signal {-code}"
    if code == 0:
        return 0, ""
    lines = log.read_bytes()[start:].decode("utf-8", "replace").replace("\r", "\n").splitlines()
    lines = [line for line in lines if line.strip()]
    errors = [line for line in lines if line.startswith("samplernn: ")] or lines or [""]
    return code, errors[-1].removeprefix("samplernn: ")


def _result(workflow: Workflow, step: str, unit: str, seed: int | None) -> dict[str, Any]:
    if step == "data":
        return _data_result(workflow, unit)
    if step == "listening" or seed is None:
        return {"folder": unit}
    if step == "train":
        return _train_result(plan.folder(workflow, "runs", unit, seed))
    if step == "generate":
        sounds = sorted(plan.folder(workflow, "samples", unit, seed).glob("*.wav"))
        return {"files": [path.relative_to(workflow.out).as_posix() for path in sounds]}
    path = plan.scores_path(workflow.out, step, unit, seed)
    if step == "retention":
        path = plan.folder(workflow, step, unit, seed) / "retention.json"
    return parse_json(path.read_text(encoding="utf-8"))


def _train_result(folder: Path) -> dict[str, Any]:
    log = run_folder.read_log(run_folder.Run(folder))
    last = [entry for entry in log if "seconds" in entry][-1]
    evaluations = [entry for entry in log if entry["event"] == "monitor"]
    best = best_of(evaluations, lambda entry: entry["valid"])
    if best is None:
        raise CheckpointError(f"No evaluation of {folder} has a finite cost; delete it to train again.")
    return {
        "parameters": next(entry["parameters"] for entry in log if entry["event"] == "start"),
        "iterations": last["iteration"],
        "epochs": evaluations[-1]["epoch"],
        "train_seconds": last["seconds"],
        "seconds_per_iteration": last["seconds"] / max(1, last["iteration"]),
        "best_valid": best["valid"],
        "best_iteration": best["iteration"],
    }


def _data_result(workflow: Workflow, name: str) -> dict[str, Any]:
    folder = plan.data_folder(workflow, name)
    splits = {split: load_split(folder, split) for split in SPLITS}
    sizes = {
        split: {"clips": len(clips), "seconds": float(np.sum(lengths(clips))) / 16000}
        for split, clips in splits.items()
    }
    manifest = read_manifest(folder)
    manifest = manifest and {key: manifest.get(key) for key in ("set", "options", "layout", "splits")}
    result = {"folder": str(folder), "about": workflow.about.get(name), "manifest": manifest, "splits": sizes}
    found = baselines.measure(splits["train"], splits["test"])
    result["baselines"] = found and found._asdict()
    result["shared"] = None  # clips of recordings that train holds too; unknown
    with suppress(DataError):  # of a damaged table of clips
        if recordings := clip_table.recordings(folder):
            result["shared"] = clip_table.shared_with_train(recordings)
    return result | dict(zip(("train_mean", "train_std"), statistics(splits["train"]), strict=True))


def complete_data_records(workflow: Workflow) -> None:
    """Measure what records of sets by earlier versions lack, where the set is; no step depends on it."""
    for name in plan.sets(workflow):
        path = plan.record_path(workflow.out, "data", name, None)
        record = read_record(path)
        known = part(record, "result")
        if record.get("status") != "done" or known.keys() >= {"baselines", "shared"}:
            continue
        try:
            record["result"] = {**_data_result(workflow, name), **known}
        except (SampleRNNError, OSError):  # the set was moved or deleted
            continue
        write_text(path, json.dumps(record, indent=2) + "\n")


def machine(used: int) -> dict[str, Any]:
    """Processor, used threads, cores, memory and GPUs of this machine."""
    memory = _value("/proc/meminfo", "MemTotal")
    return {
        "cpu": _value("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "threads": used,
        "memory_gib": round(int(memory.split()[0]) / 2**20, 1) if memory else None,
        "gpu": gpus() or None,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _value(path: str, name: str) -> str | None:
    """The first value of a name in a file of lines `name: value`; None if there is none (not Linux)."""
    with suppress(OSError):
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
    return None


def gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU of this machine."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return []


def _energy() -> float | None:
    """Total joules counted by the processors' energy meters; None if they cannot be read."""
    with suppress(OSError):  # readable only by root on most machines
        counted = [int(meter.read_text()) for meter in METERS.glob("intel-rapl:?/energy_uj")]
        return sum(counted) / 1e6 if counted else None
    return None


def _summary_line(record: dict[str, Any]) -> str:
    seed = f" seed {record['seed']}" if record["seed"] is not None else ""
    took = format_duration(record["seconds"])
    about = f"{record['step']:9} {record['cell']}{seed}: {record['status']}, {took}"
    match record:
        case {"message": message}:
            return f"{about}: {message}"
        case {"result": {"best_valid": score}}:
            return f"{about}, best valid {score:.4f} bits"
        case {"result": {"test": {"score": score}}}:
            return f"{about}, test {score:.4f} bits"
    return about


def _progress(workflow: Workflow, last: Step | None) -> str:
    """Number of finished steps and estimated time of the others, from the durations of finished ones."""
    remaining, durations = [], defaultdict[str, list[float]](list)
    steps = plan.steps(workflow)
    for one in steps:  # Snakemake has not written the .done file of the last one yet
        path = plan.record_path(workflow.out, *one)
        if one == last or path.with_suffix(".done").exists():
            durations[one[0]].append(number(read_record(path).get("seconds")) or 0.0)
        else:
            remaining.append(one[0])
    text = f" [{len(steps) - len(remaining)} of {len(steps)}"
    if remaining and CORES in os.environ and all(durations[step] for step in remaining):
        at_once = int(os.environ[CORES]) / scales.read(workflow.scale).resources.threads
        seconds = sum(float(np.mean(durations[step])) for step in remaining) / max(1, at_once)
        text += f", {format_duration(seconds)} left"
    return text + "]"


if __name__ == "__main__":
    out, step, unit, *numbers = sys.argv[1:]
    sys.exit(run_command(lambda: run(Path(out), step, unit, *map(int, numbers))))
