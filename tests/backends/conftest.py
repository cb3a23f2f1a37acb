"""A tiny model, for the tests of a training step on jax."""

import numpy as np
import pytest

from samplernn_theano.config.hyperparameters import OneTier
from samplernn_theano.training.step import compile_trainer

HP = OneTier(dim=8, emb_size=4, q_levels=16, seq_len=32, batch_size=2)


def minibatch(seed=0, reset=0):
    sequences = np.random.default_rng(seed).integers(0, 16, (2, 33), np.int32)
    return sequences, np.ones((2, 33), np.float32), np.asarray(reset, np.int32)


@pytest.fixture(scope="package")
def trainer():
    """The model after a step, with both programs compiled."""
    trainer = compile_trainer(HP, backend="jax")
    for run in (trainer.step, trainer.evaluate):
        run(*minibatch(), *trainer.zero_states())
    return trainer
