"""Time that a checkpoint takes from the training of the paper's three-tier model (dim 1024, batch 128).

    python benchmarks/checkpointing.py [--family three_tier]

A checkpoint is written as in a run: every array checked, written, synced, read back and renamed. Then the
bytes are only written and synced, which shows the speed of the disk. An evaluation writes two checkpoints,
and between evaluations there is one every ten minutes of training.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytensor
from machine import cpu_description

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import preset
from samplernn_theano.config.schedule import Progress, Schedule, original_learning_rate
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import hooks
from samplernn_theano.training.optimizer import adam, objective
from samplernn_theano.training.step import Trainer, TrainingState
from samplernn_theano.utils.files import atomic_write


def uncompiled_training(family: str, folder: Path) -> TrainingState:
    """Training state of the family's best model, not compiled, with random moments."""
    hp = preset(family, "best", {})
    graph = build_graph(Parameters(123), hp)
    rate = pytensor.shared(np.array(original_learning_rate(type(hp)), "f"), name="learning_rate", shape=())
    _, moments = adam(*objective(graph, "train", 0.0), rate)
    rng = np.random.default_rng(0)
    for variable in moments.values():
        variable.set_value(rng.random(variable.get_value().shape, "f"))
    trainer = Trainer(hp, graph, moments, rate, step=print, evaluate=print)
    run = run_folder.Run(folder)
    return TrainingState(trainer, {}, run, Schedule(), Progress(), graph.zero_states(), started=0.0)


def seconds(repeat: int, work) -> list[float]:
    """Measured times of `work`, sorted."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)


def write_bytes(path: Path, content: bytes) -> None:
    """Write and sync bytes."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", choices=FAMILIES, default="three_tier")
    parser.add_argument("--repeat", type=int, default=5)
    a = parser.parse_args()
    print(cpu_description())
    with tempfile.TemporaryDirectory(dir=".") as folder:
        training = uncompiled_training(a.family, Path(folder))
        last = training.run.last
        saves = seconds(a.repeat, lambda: hooks.save_checkpoint(training, last))
        size = os.path.getsize(last)
        content = os.urandom(size)
        disk = seconds(a.repeat, lambda: write_bytes(Path(folder) / "bytes", content))
    print(f"{a.family}, best preset: a checkpoint of {size / 1e6:.0f} MB")
    for name, times in (("as a run writes it", saves), ("the bytes alone", disk)):
        print(f"{name:<20} median {times[len(times) // 2]:.2f} s, {times[0]:.2f} to {times[-1]:.2f} s")
    slowest = saves[-1]
    print(f"one every 10 minutes of training: at most {slowest / (600 + slowest):.2%} of the time")


if __name__ == "__main__":
    main()
