"""Hyper-parameters of all families: what contradicts is refused with advice; what follows from the others."""

import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplernn_theano.config.hyperparameters import (
    FAMILIES,
    RNNGMM,
    HyperParameters,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    Tier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.errors import HyperParameterError

RECURRENT = [family for family in FAMILIES.values() if family is not WaveNet]
QUANTISED = [ThreeTier, TwoTier, KTier, OneTier, WaveNet]
REAL_VALUED = [SampleRNNGMM, RNNGMM]
WITH_ONE_HOT = [ThreeTier, TwoTier, KTier]


# --- what contradicts


@pytest.mark.parametrize("family", FAMILIES.values())
@pytest.mark.parametrize("value", [-1, 0, 1.0, 2.5, True, "8"])
def test_numbers_are_whole_and_one_at_least(family, value):
    for name in (own.name for own in dataclasses.fields(family) if own.type is int):
        least = 0 if name == "emb_size" and family in WITH_ONE_HOT else 1
        if value == least == 0:
            assert family(emb_size=0).emb_size == 0
            continue
        message = f"--{name} is {value}; it must be a whole number of at least {least}."
        with pytest.raises(HyperParameterError, match=re.escape(message)):
            family(**{name: value})


@pytest.mark.parametrize("family", FAMILIES.values())
def test_numbers_of_a_damaged_file_are_too_large(family):
    for name in (own.name for own in dataclasses.fields(family) if own.type is int):
        with pytest.raises(
            HyperParameterError, match=f"--{name} is too large; it must be at most 16,777,216"
        ):
            family(**{name: 10**12})


CONTRADICTIONS: list[tuple[list[type[HyperParameters]], dict, str, dict]] = [
    # families, what is wrong, the advice, and what becomes of it
    ([ThreeTier], {"seq_len": 500}, "--seq_len 496", {"seq_len": 496}),
    ([ThreeTier], {"seq_len": 3}, "--seq_len 8", {"seq_len": 8}),
    (
        [ThreeTier],
        {"big_frame_size": 8, "frame_size": 3},
        "--big_frame_size 9",
        {"big_frame_size": 9, "frame_size": 3, "seq_len": 9},
    ),
    ([ThreeTier], {"frame_size": 16}, "--big_frame_size 16", {"frame_size": 16, "big_frame_size": 16}),
    ([KTier], {"seq_len": 500}, "--seq_len 496", {"seq_len": 496}),
    ([KTier], {"frame_sizes": ()}, "such as 16/8/2", {"frame_sizes": (16, 8, 2)}),
    ([KTier], {"frame_sizes": (8, 0)}, "such as 16/8/2", {"frame_sizes": (8, 1)}),
    ([KTier], {"frame_sizes": (8, 2.0)}, "such as 16/8/2", {"frame_sizes": (8, 2)}),
    ([KTier], {"frame_sizes": (16, 8, 3)}, "16/8/3: 8 is not a multiple of 3", {"frame_sizes": (16, 8, 2)}),
    ([KTier], {"frame_sizes": (2, 8)}, "2/8: 2 is not a multiple of 8", {"frame_sizes": (8, 2)}),
    (RECURRENT, {"rnn_type": "RNN"}, "choose GRU or LSTM", {"rnn_type": "LSTM"}),
    (RECURRENT, {"skip_conn": True, "n_rnn": 1}, "--n_rnn 2", {"skip_conn": True, "n_rnn": 2}),
    (RECURRENT, {"skip_conn": True, "n_rnn": 1}, "--skip_conn False", {"skip_conn": False, "n_rnn": 1}),
    (QUANTISED, {"q_levels": 1}, "at least 2", {"q_levels": 2}),
    (QUANTISED, {"q_type": "log"}, "choose linear, mu-law or a-law", {"q_type": "a-law"}),
    (QUANTISED, {"normalisation": "max"}, "choose min-max, absmax or none", {"normalisation": "none"}),
    (QUANTISED, {"q_type": "mu-law", "q_levels": 16}, "--q_levels 256", {"q_type": "mu-law"}),
    (QUANTISED, {"q_type": "a-law", "q_levels": 255}, "--q_levels 256", {"q_type": "a-law"}),
    (
        WITH_ONE_HOT,
        {"sample_input": "real", "multi_softmax": True},
        "give only one of them",
        {"multi_softmax": True},
    ),
    (RECURRENT, {"weight_norm": "False"}, "it must be True or False", {"weight_norm": False}),
    (RECURRENT, {"learn_h0": 1}, "it must be True or False", {"learn_h0": True}),
    ([KTier], {"frame_sizes": "16/8/2"}, "such as 16/8/2", {"frame_sizes": [16, 8, 2]}),
    ([KTier], {"frame_sizes": 8}, "such as 16/8/2", {"frame_sizes": (8,)}),
    (REAL_VALUED, {"mean": "0", "std": 1.0}, "it must be a number or None", {"mean": 0, "std": 1}),
    ([ThreeTier], {"dim": 10**400}, "too large", {"dim": 512}),
    ([WaveNet], {"dilation_layers_per_block": 40}, "at most 16", {"dilation_layers_per_block": 16}),
    (WITH_ONE_HOT, {"sample_input": "both"}, "choose embedding or real", {"sample_input": "real"}),
    (REAL_VALUED, {"mean": 0.1}, "both or neither", {"mean": 0.1, "std": 0.5}),
    (REAL_VALUED, {"std": 0.1}, "both or neither", {"mean": 0.0, "std": 0.1}),
    (REAL_VALUED, {"mean": 0.0, "std": 0.0}, "positive", {"mean": 0.0, "std": 1e-9}),
    (REAL_VALUED, {"mean": 0.0, "std": -1.0}, "positive", {"mean": -1.0, "std": 1.0}),
    (REAL_VALUED, {"mean": 0.0, "std": float("nan")}, "positive", {}),
    (REAL_VALUED, {"mean": 0.0, "std": float("inf")}, "positive", {}),
    (REAL_VALUED, {"mean": float("nan"), "std": 1.0}, "finite", {}),
    (REAL_VALUED, {"mean": float("-inf"), "std": 1.0}, "finite", {}),
]


@pytest.mark.parametrize(
    ("family", "wrong", "advice", "mended"),
    [(family, *rest) for families, *rest in CONTRADICTIONS for family in families],
)
def test_a_contradiction_names_the_flag_and_a_remedy_that_helps(family, wrong, advice, mended):
    with pytest.raises(HyperParameterError) as caught:
        family(**wrong)
    message = str(caught.value)
    assert any(f"--{name}" in message for name in wrong)
    assert advice in message
    assert message.endswith(".") and "\n" not in message
    family(**mended)


@given(seq_len=st.integers(1, 600), big_frame_size=st.integers(1, 40), frame_size=st.integers(1, 40))
def test_who_follows_the_advice_on_frames_gets_a_model(seq_len, big_frame_size, frame_size):
    sizes = {"seq_len": seq_len, "big_frame_size": big_frame_size, "frame_size": frame_size}
    for _ in range(4):
        try:
            hp = ThreeTier(**sizes)
        except HyperParameterError as error:
            name, value = re.search(r"choose for example --(\w+) (\d+)\.$", str(error)).groups()
            sizes[name] = int(value)
        else:
            break
    assert hp.seq_len % hp.big_frame_size == hp.big_frame_size % hp.frame_size == 0


# --- what follows from the others


TIERS = [Tier("BigFrameLevel", "big_h0", 16, 4), Tier("FrameLevel", "h0", 4, 4)]
UPPER = [Tier("BigFrameLevel3", "big_h0_3", 64, 2), Tier("BigFrameLevel2", "big_h0_2", 32, 2)]


@pytest.mark.parametrize(
    ("hp", "tiers"),
    [
        (ThreeTier(seq_len=64, big_frame_size=16, frame_size=4), TIERS),
        (TwoTier(n_frames=16, frame_size=4), TIERS[1:]),
        (SampleRNNGMM(n_frames=16, frame_size=4), TIERS[1:]),
        (KTier(seq_len=64, frame_sizes=(64, 32, 16, 4)), UPPER + TIERS),
        (KTier(seq_len=64, frame_sizes=(16, 4)), TIERS),
        (KTier(seq_len=64, frame_sizes=(4,)), TIERS[1:]),
        (OneTier(seq_len=64), []),
        (RNNGMM(seq_len=64), []),
    ],
)
def test_the_tiers_the_chunk_and_its_overlap(hp, tiers):
    assert (hp.seq_len, hp.overlap) == (64, tiers[0].frame_size if tiers else 1)
    assert not tiers or hp.tiers == tiers
    assert dataclasses.replace(hp, dim=16, rnn_type="LSTM").state_width == 32
    assert dataclasses.replace(hp, dim=16, rnn_type="GRU").state_width == 16


@pytest.mark.parametrize(
    ("blocks", "layers", "field"), [(4, 10, 4093), (1, 1, 2), (1, 2, 4), (2, 4, 31), (3, 1, 4)]
)
def test_the_overlap_of_wavenet_is_its_receptive_field(blocks, layers, field):
    """A layer of filter size 2 and dilation d sees d samples more than the layer below."""
    hp = WaveNet(wavenet_blocks=blocks, dilation_layers_per_block=layers, sequence_len_to_train=7)
    assert hp.overlap == field == 1 + blocks * sum(2**i for i in range(layers))
    assert hp.seq_len == 7


def test_silence_is_the_middle_level_or_zero():
    for family in QUANTISED:
        assert not family.real_valued
        assert [family(q_levels=q).silence for q in (2, 5, 256)] == [1, 2, 128]
    for family in REAL_VALUED:
        assert family.real_valued and family().silence == 0.0


# --- in a file


@pytest.mark.parametrize(
    "hp",
    [
        *(family() for family in FAMILIES.values()),
        KTier(frame_sizes=(32, 4), sample_input="real"),
        SampleRNNGMM(mean=-2.7492260671334582e-05, std=0.1, frame_size=4),
        TwoTier(emb_size=0, q_type="a-law", learn_h0=False),
        OneTier(normalisation="absmax"),
    ],
    ids=lambda hp: hp.family,
)
def test_hyper_parameters_survive_json(hp):
    """The frame sizes of k_tier come back as a list."""
    written = json.loads(json.dumps(dataclasses.asdict(hp)))
    assert FAMILIES[hp.family](**written) == hp
    assert hash(FAMILIES[hp.family](**written)) == hash(hp)
    if written.pop("normalisation", None) == "min-max":  # files older than the others mean the original's
        assert FAMILIES[hp.family](**written) == hp
