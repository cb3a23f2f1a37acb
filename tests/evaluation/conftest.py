"""Models with the parameters that were drawn, and graphs that are evaluated node by node."""

from pathlib import Path

import pytest

from samplernn_theano.checkpoints import npz
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.cli import main
from samplernn_theano.evaluation import nll
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from tests.generation.test_samplers import interpreted


def model_of(hp, scale=2.0, seed=123) -> LoadedModel:
    """A model with parameters that were drawn, times a factor: not every clip has the same score."""
    params = Parameters(seed)
    build_graph(params, hp)
    arrays = {name: scale * array for name, array in params.arrays().items()}
    return LoadedModel(Path("model.npz"), hp, arrays, "the checkpoint")


def save(path, hp, parameters=None) -> Path:
    npz.save(path, npz.Checkpoint(hp, model_of(hp).parameters if parameters is None else parameters))
    return path


def run(*words) -> int:
    return main.main([str(word) for word in words])


@pytest.fixture
def quick_graphs(monkeypatch):
    monkeypatch.setattr(nll, "compile_function", interpreted)
