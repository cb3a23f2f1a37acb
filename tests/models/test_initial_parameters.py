"""Names, shapes and initial values of the parameters, for every layout of the original's four families."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES, OneTier, ThreeTier, TwoTier, WaveNet
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters

with gzip.open(Path(__file__).parents[1] / "golden" / "cases" / "layouts.json.gz", "rt") as file:
    LAYOUTS = json.load(file)

RECURRENT = [
    ThreeTier(dim=8, q_levels=16, seq_len=16, batch_size=2, emb_size=2, n_rnn=2),
    TwoTier(dim=8, q_levels=16, n_frames=4, frame_size=4, batch_size=2, emb_size=2, n_rnn=2),
    OneTier(dim=8, q_levels=16, seq_len=16, batch_size=2, emb_size=2, n_rnn=2),
]
each_recurrent = pytest.mark.parametrize("hp", RECURRENT, ids=lambda hp: hp.family)


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
    build_graph(params, hp)
    return params


def changed(hp, **values):
    """The same model with other hyper-parameters."""
    return type(hp)(**(vars(hp) | values))


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
    of_family = [sum(layout["model"] == family for layout in LAYOUTS) for family in FAMILIES]
    assert dict(zip(FAMILIES, of_family, strict=True)) == {
        "three_tier": 23,
        "two_tier": 23,
        "one_tier": 23,
        "wavenet": 4,
        "k_tier": 0,  # the last three are not in the release
        "rnn_gmm": 0,
        "samplernn_gmm": 0,
    }


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


@each_recurrent
def test_the_last_layer_where_the_width_equals_the_levels(hp):
    """Quirk: two_tier and three_tier leave its initialisation to the default, which looks at the shape."""
    W = built(changed(hp, dim=16))["SampleLevel.Output.W0"].get_value()
    assert is_orthogonal(W) == isinstance(hp, ThreeTier | TwoTier)
    assert not is_orthogonal(built(hp)["SampleLevel.Output.W0"].get_value())
    if isinstance(hp, OneTier):  # he
        bound = np.sqrt(3 * 2 / 16)
        assert 0.9 * bound < np.abs(W).max() <= bound


@pytest.mark.parametrize(("rnn_type", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_an_input_projection_that_happens_to_be_square_is_orthogonal(rnn_type, gates):
    """Quirk: the same default."""
    for dim, orthogonal in ((4, True), (8, False)):
        hp = changed(RECURRENT[1], rnn_type=rnn_type, n_rnn=1, dim=dim, frame_size=4 * gates)
        W = built(hp)[f"FrameLevel.{rnn_type}1.Step.Input.W0"].get_value()
        assert W.shape == (4 * gates, dim * gates) and is_orthogonal(W) == orthogonal


@each_recurrent
def test_skip_connections_have_names_of_two_kinds(hp):
    """Quirk: NAME.GRU.outskip1y, but NAME.LSTM1.outskip1y."""
    tier = "SampleLevel" if isinstance(hp, OneTier) else "FrameLevel"
    for rnn_type, first, second in (("GRU", "GRU", "GRU"), ("LSTM", "LSTM1", "LSTM2")):
        names = list(built(changed(hp, skip_conn=True, rnn_type=rnn_type)))
        ours = [n for n in names if n.startswith(f"{tier}.") and "outskip" in n and n.endswith(".W0")]
        assert ours == [f"{tier}.{first}.outskip1y.W0", f"{tier}.{second}.outskip2y.W0"]
        assert f"{tier}.{rnn_type}2+inpskip.Step.Input.W0" in names
        assert not any("skip" in name for name in built(changed(hp, rnn_type=rnn_type)))


@each_recurrent
def test_initial_states_exist_also_where_they_are_not_learned(hp):
    """Quirk: learn_h0 False only keeps them from training."""
    learned, fixed = built(hp), built(changed(hp, learn_h0=False))
    assert list(learned) == list(fixed)
    moved = [[variable.name for variable in params.trainable()] for params in (learned, fixed)]
    states = [name for name in fixed if name.endswith(".h0")]
    assert states and moved[0] == list(learned)
    assert moved[1] == [name for name in fixed if name not in states]
    assert not any(fixed[name].get_value().any() for name in states)


def test_without_an_embedding_samples_enter_as_one_hot_vectors():
    hp = changed(RECURRENT[1], emb_size=0)
    params = built(hp)
    assert "SampleLevel.Embedding" in built(RECURRENT[1]) and "SampleLevel.Embedding" not in params
    assert params["SampleLevel.L1_PrevSamples.W0"].type.shape == (hp.frame_size * hp.q_levels, hp.dim)
