"""Cost of feeding: its share of a training iteration, and the memory for a large data set.

    python benchmarks/feeding.py              three_tier, dim 256, batch 16, seq_len 512: two minutes
    python benchmarks/feeding.py --big 10     peak resident set of training on a generated file of 10 GiB

The first feeds real updates with noise, across a boundary between batches of clips, and measures the time
that the training loop spends in the feeder. The second checks the data and trains a tiny model in a separate
process.
Linux only: the peak is VmHWM of /proc/self/status, which includes mapped pages of files.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import cpu_description

from samplernn_theano.backends import malloc
from samplernn_theano.config.hyperparameters import ThreeTier
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import load_split
from samplernn_theano.data.minibatches import batch_inputs
from samplernn_theano.training.run import train
from samplernn_theano.training.step import compile_trainer

LENGTH = 128_000  # samples in a clip, 8 s


def write_clips(path: Path, clips: int) -> None:
    """Write noise as float16 (clips, LENGTH); the clips differ in loudness only."""
    clip = np.random.default_rng(0).uniform(-1, 1, LENGTH)
    header = {"descr": "<f2", "fortran_order": False, "shape": (clips, LENGTH)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for i in range(clips):
            file.write((clip * (1 + i % 64) / 64).astype(np.float16).tobytes())


def share(folder: Path, dim: int, batch: int, seq_len: int, iterations: int) -> None:
    """Print the time in the feeder per iteration and its share."""
    chunks = -(-LENGTH // seq_len)
    batches = 1 + iterations // chunks
    write_clips(folder / "noise_train.npy", batches * batch)
    clips = load_split(folder, "train")
    hp = ThreeTier(dim=dim, batch_size=batch, seq_len=seq_len)

    began = time.perf_counter()
    feed = minibatches.feed(hp, clips)
    next(feed)
    alone = time.perf_counter() - began
    feed.close()

    malloc.keep_freed_memory(hp.batch_size * hp.seq_len * hp.dim)  # as the command line does
    trainer = compile_trainer(hp)
    states = trainer.graph.zero_states()
    feed = minibatches.feed(hp, clips)
    feeding, stepping = [], []
    for _ in range(iterations):
        began = time.perf_counter()
        minibatch = next(feed)
        fed = time.perf_counter()
        cost, *states = trainer.step(*batch_inputs(minibatch), *states)
        float(cost)  # waits for the device
        feeding.append(fed - began)
        stepping.append(time.perf_counter() - fed)
    feed.close()
    total = sum(feeding) + sum(stepping[1:])  # the first step compiles
    print(
        f"three_tier, dim {dim}, batch {batch}, seq_len {seq_len}; {iterations} iterations, {batches} batches"
    )
    print(f"preparing one batch of clips, alone: {alone:.3f} s, {alone / chunks * 1e3:.2f} ms per iteration")
    print(f"the first minibatch, which waits for that: {feeding[0]:.3f} s")
    if iterations > chunks:
        print(f"the first minibatch of the next batch: {feeding[chunks] * 1e3:.2f} ms")
    print(f"step, median: {np.median(stepping):.4f} s")
    print(
        f"time in the feeder: {np.mean(feeding) * 1e3:.2f} ms per iteration, {sum(feeding) / total:.2%} of it"
    )


def train_big(folder: Path, iterations: int) -> None:
    """Check and train on the set in `folder` and print the peak resident set of this process."""
    hp = ThreeTier(dim=32, emb_size=16, batch_size=16, seq_len=1280)
    train(hp, folder, folder / "run", Schedule(max_iters=iterations), tune_malloc=True)
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(f"peak resident set: {int(peak[1]) / 2**20:.2f} GiB")


def main() -> None:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--iterations", type=int, help="default: 260, with --big 350")
    parser.add_argument("--big", type=float, metavar="GIB", help="size of the train split to generate")
    parser.add_argument("--scratch", type=Path, help="folder for it (default: the system's)")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.train:
        train_big(a.train, a.iterations)
        return
    print(cpu_description())
    with tempfile.TemporaryDirectory(dir=a.scratch) as name:
        folder = Path(name)
        if a.big is None:
            share(folder, a.dim, a.batch, a.seq_len, a.iterations or 260)
            return
        for split, clips in (("train", round(a.big * 2**30 / (2 * LENGTH))), ("valid", 16), ("test", 16)):
            write_clips(folder / f"noise_{split}.npy", clips)
        size = (folder / "noise_train.npy").stat().st_size / 2**30
        print(f"training on {size:.2f} GiB of float16", flush=True)
        words = [sys.executable, __file__, "--train", name, "--iterations", str(a.iterations or 350)]
        began = time.perf_counter()
        subprocess.run(words, check=True)
        print(f"with the check of every clip: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
