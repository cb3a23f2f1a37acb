"""Compare a learning curve with the original's: from the same seed, on the same minibatches.

A case of this kind has the training cost of every update of a run on the demo set, which anyone can make, and
validation costs. Rounding grows along the updates: after some hundred, two runs of the same code that sum in
another order lie as far apart as ours and the original's, so only the first `UPDATES` are compared.
"""

import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Clips, load_split
from samplernn_theano.data.sets import demo
from samplernn_theano.evaluation.split import mean_cost, run_over
from samplernn_theano.training.step import Trainer, compile_trainer
from samplernn_theano.verification.cases import Case
from samplernn_theano.verification.tolerances import Check

UPDATES = 200
PARTS = (10, 50, 100, UPDATES)  # updates up to which costs are compared


def compile_case(case: Case, hp: HyperParameters, **options: Any) -> Trainer:
    """The trainer of a case: our own draws from its seed, Adam at the original's learning rate."""
    return compile_trainer(hp, case.settings["seed"], **options)


def demo_clips() -> dict[str, Clips]:
    """The clips of the demo set, by split."""
    with tempfile.TemporaryDirectory() as folder:
        demo.write(Path(folder, "demo"), everything=False)
        return {split: np.array(load_split(Path(folder, "demo"), split)) for split in SPLITS}


def checks(case: Case, trainer: Trainer, clips: Mapping[str, Clips]) -> Iterator[Check]:
    """Compare the validation cost before training, then the costs of the first updates, by parts."""
    theirs = case.arrays["costs"]
    valid = mean_cost(trainer.evaluate, trainer.graph, trainer.hp, clips["valid"])
    yield case.compare("validation cost before training", "cost", np.array(valid), case.arrays["valid"][0, 1])
    ours = np.array(list(islice(costs(trainer, clips["train"]), min(UPDATES, len(theirs)))))
    for begin, end in zip((0, *PARTS), PARTS, strict=False):
        quantity = f"costs of updates {begin + 1} to {end}"
        yield case.compare(quantity, f"curve, to update {end}", ours[begin:end], theirs[begin:end])


def costs(trainer: Trainer, clips: Clips) -> Iterator[float]:
    """Train, endlessly: the cost of each update in bits per sample."""
    epochs = chain.from_iterable(minibatches.feed(trainer.hp, each) for each in repeat(clips))
    for _, (cost,) in run_over(trainer.step, trainer.graph, trainer.hp, epochs):
        yield float(cost)
