"""Start-up time of commands.

    python benchmarks/startup.py [--repeat 3]

Cold: with empty caches of compiled code, in a separate folder. Warm: the same command again (the median of
several times). Python's bytecode and the packages' files are cached in both. Training is three_tier with the
preset demo, observed by its output and log, and stopped after its first step. Evaluation and generation use
its checkpoint. Linux only.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import cpu_description

PROGRAM = (sys.executable, "-m", "samplernn_theano")

PHASES = ("imports, data", "graph, rewriting", "tracing, XLA, first step", "command to first step")
"""Phases of training. It prints a line after the first, and logs its start after the second."""

Measure = Callable[[dict[str, str], Path], dict[str, float]]


def caches(folder: Path) -> dict[str, str]:
    """An environment with all caches in `folder`."""
    own = {"HOME": folder, "XDG_CACHE_HOME": folder / "cache", "NUMBA_CACHE_DIR": folder / "numba"}
    own |= {"PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}", "MPLCONFIGDIR": folder / "matplotlib"}
    return os.environ | {name: str(value) for name, value in own.items()}


def write_data(folder: Path) -> None:
    """Write 64 clips of 8 s of noise for training, as many as the demo's, and a few short ones."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split, shape in (("train", (64, 128000)), ("valid", (8, 4000)), ("test", (8, 4000))):
        np.save(folder / f"noise_{split}.npy", rng.uniform(-1, 1, shape).astype(np.float16))


def to_the_end(*words: str | Path) -> Measure:
    """Measure a command from its start to its end."""

    def seconds(environment: dict[str, str], folder: Path) -> dict[str, float]:
        command = [*PROGRAM, *map(str, words)]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        elapsed = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")
        return {"": elapsed}

    return seconds


def to_the_first_step(data: Path, run: Path) -> Measure:
    """Measure a training until the first step is in its log, phase by phase; leave a checkpoint in `run`."""

    def seconds(environment: dict[str, str], folder: Path) -> dict[str, float]:
        command = [*PROGRAM, "train", "three_tier", "--preset", "demo", "--data", str(data)]
        command += ["--run", str(run), "--overwrite", "--n_seqs", "0"]
        printed, log = folder / "output.txt", run / "log.jsonl"
        log.unlink(missing_ok=True)
        with printed.open("w") as output:
            began = time.perf_counter()
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=output)
            try:
                seen = [
                    first_time(path, words, process) - began
                    for path, words in ((printed, "Compiling"), (log, '"start"'), (log, '"train"'))
                ]
            except EOFError as error:
                raise RuntimeError(f"{' '.join(command)} failed: {printed.read_text()}") from error
            process.send_signal(signal.SIGTERM)
            process.wait()
        return dict(zip(PHASES, [*np.diff([0, *seen]), seen[-1]], strict=True))

    return seconds


def first_time(path: Path, words: str, process: subprocess.Popen[bytes]) -> float:
    """Wait until a file contains `words`, and return the time; raise EOFError if the process ends before."""
    while not (path.exists() and words in path.read_text()):
        if process.poll() is not None:
            raise EOFError(f"{path.name} ended without {words}")
        time.sleep(0.002)
    return time.perf_counter()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3, help="of the warm starts (default: %(default)s)")
    a = parser.parse_args()
    print(cpu_description())
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        data, run, sound = top / "data", top / "run", top / "sound"
        checkpoint = run / "checkpoints" / "last.npz"
        write_data(data)
        generated = ("--n_seqs", "1", "--seconds", "1", "--out", sound, "--overwrite")
        measures = {
            "--version": to_the_end("--version"),
            "--help": to_the_end("--help"),
            "train three_tier --help": to_the_end("train", "three_tier", "--help"),
            "info": to_the_end("info"),
            "train": to_the_first_step(data, run),
            "evaluate, 2 s of noise": to_the_end("evaluate", checkpoint, "--data", data, "--split", "valid"),
            "generate, 1 s": to_the_end("generate", checkpoint, *generated),
        }
        print(f"{'seconds':<36}{'cold':>7}{'warm':>7}")
        for i, (name, measure) in enumerate(measures.items()):
            folder = top / str(i)
            folder.mkdir()
            cold, *warm = (measure(caches(folder), folder) for _ in range(1 + a.repeat))
            for phase, seconds in cold.items():
                of_phase = statistics.median(times[phase] for times in warm)
                line = f"{name}: {phase}" if phase else name
                print(f"{line:<36}{seconds:>7.2f}{of_phase:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
