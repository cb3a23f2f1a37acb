"""What names and shapes alone tell about a model, for everything that the original built."""

import gzip
import json

import numpy as np
import pytest

from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES, RNNGMM, KTier, SampleRNNGMM, TwoTier
from samplernn_theano.errors import CheckpointError
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.original.infer_hyperparameters import infer
from tests.conftest import GOLDEN

with gzip.open(GOLDEN / "cases" / "layouts.json.gz", "rt") as file:
    MODELS = {f"layout {k}": layout for k, layout in enumerate(json.load(file))}
for path in sorted((GOLDEN / "cases").glob("*.json")):
    MODELS[path.stem] = json.loads(path.read_text())
FAMILY_OF_CASE = {"1": "one_tier", "2": "two_tier", "3": "three_tier", "w": "wavenet"}

OF_RUN = {"batch_size", "seq_len", "n_frames", "sequence_len_to_train", "q_type", "learn_h0"}
OURS = {"rate", "normalisation", "sample_input", "multi_softmax"}


def arrays(model: str) -> dict[str, np.ndarray]:
    params = MODELS[model]["params"]
    return {name: np.broadcast_to(np.float32(0), about[0]) for name, about in params.items()}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_inferred_is_what_the_model_was_built_with(name):
    golden = MODELS[name]
    family = golden.get("model") or FAMILY_OF_CASE[name[0]]
    hp, _ = from_original_argv(FAMILIES[family], golden["argv"])
    inferred = infer(arrays(name))
    assert inferred.family == family
    expected = {key: value for key, value in vars(hp).items() if key not in OF_RUN | OURS}
    assert inferred.known == expected
    assert set(inferred.unknown) == OF_RUN & set(vars(hp))
    FAMILIES[family](**inferred.known)  # they go together


@pytest.mark.parametrize(
    "missing", ["SampleLevel.Output.W0", "FrameLevel.InputExpand.W0", "BigFrameLevel.GRU1.Step.Input.W0"]
)
def test_what_is_missing_is_named(missing):
    params = arrays("3t_gru1_q256")
    del params[missing]
    with pytest.raises(CheckpointError, match=f"not the parameters of .* {missing} is missing"):
        infer(params)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("SampleLevel.Output.W0", (16,)),
        ("SampleLevel.L1_PrevSamples.W0", (33, 16)),
        ("SampleLevel.L1_PrevSamples.W0", ()),
        ("SampleLevel.Embedding", (256,)),
        ("BigFrameLevel.IndependentPreds.W0", (16, 7)),
        ("BigFrameLevel.h0", (0, 16)),
        ("BigFrameLevel.GRU1.Step.Input.W0", (8, 48, 1)),
    ],
)
def test_shapes_that_do_not_fit_each_other_are_refused(name, shape):
    params = arrays("3t_gru1_q256") | {name: np.zeros(shape, np.float32)}
    with pytest.raises(CheckpointError, match="not the parameters of a model of the original"):
        infer(params)


TWO = {"dim": 8, "batch_size": 2, "n_frames": 4, "frame_size": 4, "n_rnn": 1}


@pytest.mark.parametrize(
    "hp",
    [
        *(KTier(dim=8, q_levels=16, seq_len=32, emb_size=4, frame_sizes=s) for s in ((16, 8, 2), (8, 2))),
        SampleRNNGMM(**TWO),
        RNNGMM(dim=8, batch_size=2, seq_len=16),
        TwoTier(**TWO, q_levels=16, sample_input="real"),
        TwoTier(**TWO, q_levels=16, multi_softmax=True),
    ],
    ids=str,
)
def test_models_that_only_we_have_are_not_taken_for_the_originals(hp):
    params = Parameters()
    build_graph(params, hp)
    with pytest.raises(CheckpointError, match="not the parameters of a model of the original"):
        infer(params.arrays())
