"""Names, shapes and initial values of every layout of the three-tier model, as the original built them."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.hyperparameters import ThreeTier, from_original_argv
from samplernn_theano.models import three_tier
from samplernn_theano.parameters import Parameters

with gzip.open(Path(__file__).parent / "golden" / "cases" / "layouts.json.gz", "rt") as file:
    LAYOUTS = [layout for layout in json.load(file) if layout["model"] == "three_tier"]


def short_hash(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes(order="C")).hexdigest()[:16]


def title(layout: dict) -> str:
    hp, _ = from_original_argv(ThreeTier, layout["argv"])
    skip, weight_norm = "-skip" * hp.skip_conn, "" if hp.weight_norm else "-no weight norm"
    return f"{hp.rnn_type}{hp.n_rnn}{skip}{weight_norm}-{hp.frame_size}-{hp.q_levels}"


def is_orthogonal(name: str, hp: ThreeTier) -> bool:
    """Whether the original draws the layer of this parameter as an orthogonal matrix."""
    square_output = name.startswith("SampleLevel.Output.") and hp.dim == hp.q_levels
    return ".Recurrent_Candidate." in name or square_output


def test_all_layouts_are_here():
    assert len(LAYOUTS) == len({title(layout) for layout in LAYOUTS}) == 23


@pytest.mark.parametrize("layout", LAYOUTS, ids=title)
def test_building_the_model_gives_the_parameters_of_the_original(layout):
    """All draws but the orthogonal ones to the bit; those go through LAPACK, which rounds as it likes."""
    hp, _ = from_original_argv(ThreeTier, layout["argv"])
    params = Parameters()
    three_tier.graph(params, hp)

    trainable = {variable.name for variable in params.trainable()}
    ours = {
        name: [list(array.shape), array.dtype.name, name in trainable]
        for name, array in params.arrays().items()
    }
    assert ours == {name: golden[:3] for name, golden in layout["params"].items()}
    assert trainable == set(layout["train_order"])
    scalars = sum(variable.get_value().size for variable in params.trainable())
    assert scalars == layout["n_trainable_scalars"]

    compared = 0
    for name, array in params.arrays().items():
        _, _, _, golden_hash, golden_sum = layout["params"][name]
        if is_orthogonal(name, hp):
            assert abs(array.sum(dtype=np.float64) - golden_sum) < 1e-5, name
        else:
            assert short_hash(array) == golden_hash, name
            compared += 1
    assert compared >= 17

    _, keys, position, _, _ = params.rng.get_state()
    assert (short_hash(keys), position) == (layout["rng_state_sha_before_grad"], layout["rng_pos"])


def test_the_last_layer_is_orthogonal_where_the_width_equals_the_levels():
    """Quirk: its initialisation is left to the default, which looks only at the shape."""
    for q_levels, orthogonal in ((8, True), (16, False)):
        hp = ThreeTier(
            dim=8, q_levels=q_levels, seq_len=16, batch_size=1, emb_size=2, learn_h0=False, frame_size=8
        )
        params = Parameters()
        three_tier.graph(params, hp)
        W = params["SampleLevel.Output.W0"].get_value()
        assert np.allclose(W @ W.T, np.eye(8), atol=1e-6) == orthogonal
