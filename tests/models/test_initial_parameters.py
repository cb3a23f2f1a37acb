"""Names, shapes and initial values of the parameters, for every layout of the original's four families."""

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES, ThreeTier, TwoTier, WaveNet
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters

with gzip.open(Path(__file__).parents[1] / "golden" / "cases" / "layouts.json.gz", "rt") as file:
    LAYOUTS = json.load(file)


def read(layout: dict):
    return from_original_argv(FAMILIES[layout["model"]], layout["argv"])[0]


def title(layout: dict) -> str:
    hp = read(layout)
    if isinstance(hp, WaveNet):
        return f"wavenet-{hp.wavenet_blocks}x{hp.dilation_layers_per_block}-{hp.dim}-{hp.q_levels}"
    skip, weight_norm = "-skip" * hp.skip_conn, "" if hp.weight_norm else "-no weight norm"
    return f"{hp.family}-{hp.rnn_type}{hp.n_rnn}{skip}{weight_norm}-{hp.emb_size}-{hp.q_levels}"


def built(hp) -> Parameters:
    params = Parameters()
    build_graph(params, hp, "reference")
    return params


def short_hash(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes(order="C")).hexdigest()[:16]


def drawn_orthogonal(name: str, hp) -> bool:
    """Whether the original draws the layer of this parameter as an orthogonal matrix."""
    square_output = isinstance(hp, ThreeTier | TwoTier) and hp.dim == hp.q_levels
    return ".Recurrent_Candidate." in name or (square_output and name.startswith("SampleLevel.Output."))


def is_orthogonal(W: np.ndarray) -> bool:
    return W.shape[0] == W.shape[1] and np.allclose(W @ W.T, np.eye(len(W)), atol=1e-6)


def test_all_layouts_are_here():
    assert len(LAYOUTS) == len({title(layout) for layout in LAYOUTS}) == 73
    of_family = Counter(layout["model"] for layout in LAYOUTS)  # the other families are not in the release
    assert of_family == {"three_tier": 23, "two_tier": 23, "one_tier": 23, "wavenet": 4}


@pytest.mark.parametrize("layout", LAYOUTS, ids=title)
def test_building_the_model_gives_the_parameters_of_the_original(layout):
    """All draws but the orthogonal ones to the bit; those go through LAPACK, which rounds as it likes.

    The order in which the draws are made shows in their values and in the generator's state.
    """
    hp = read(layout)
    params = built(hp)
    arrays, trainable = params.arrays(), {variable.name for variable in params.trainable()}
    ours = {name: [list(a.shape), a.dtype.name, name in trainable] for name, a in arrays.items()}
    assert ours == {name: golden[:3] for name, golden in layout["params"].items()}
    assert set(ours) == set(layout["pickle_key_order"])
    assert trainable == set(layout["train_order"])
    assert sum(arrays[name].size for name in trainable) == layout["n_trainable_scalars"]

    for name, array in arrays.items():
        _, _, _, golden_hash, golden_sum = layout["params"][name]
        if drawn_orthogonal(name, hp):
            assert abs(array.sum(dtype=np.float64) - golden_sum) < 1e-5, name
        else:
            assert short_hash(array) == golden_hash, name

    _, keys, position, _, _ = params.rng.get_state()
    assert (short_hash(keys), position) == (layout["rng_state_sha_before_grad"], layout["rng_pos"])


@pytest.mark.parametrize(("rnn_type", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_an_input_projection_that_happens_to_be_square_is_orthogonal(rnn_type, gates):
    """Quirk: the default initialisation looks at the shape."""
    for dim, orthogonal in ((4, True), (8, False)):
        sizes = {"dim": dim, "frame_size": 4 * gates, "n_frames": 4, "q_levels": 16, "emb_size": 2}
        hp = TwoTier(**sizes, batch_size=2, rnn_type=rnn_type, n_rnn=1)
        W = built(hp)[f"FrameLevel.{rnn_type}1.Step.Input.W0"].get_value()
        assert W.shape == (4 * gates, dim * gates) and is_orthogonal(W) == orthogonal
