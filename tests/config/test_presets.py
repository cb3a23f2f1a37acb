"""Presets: valid models of every family, from the authors' best to the smallest."""

import dataclasses

import pytest

from samplernn_theano.config.flags import to_argv
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.errors import HyperParameterError

NAMES = ["best", "small", "demo", "tiny"]


def test_every_family_has_the_same_presets_from_large_to_small():
    assert PRESETS.keys() == FAMILIES.keys()
    for family, presets in PRESETS.items():
        assert list(presets) == NAMES
        assert {type(hp) for hp in presets.values()} == {FAMILIES[family]}
        widths = [hp.dim for hp in presets.values()]
        assert widths == sorted(set(widths), reverse=True)
        samples = [hp.batch_size * hp.seq_len for hp in presets.values()]
        assert samples == sorted(samples, reverse=True)


COMMON = " --skip_conn False --dim 1024 --rnn_type GRU --q_levels 256 --q_type linear --batch_size 128"
COMMON += " --weight_norm True --learn_h0 True --emb_size 256"
THREE_TIER = "--seq_len 512 --big_frame_size 8 --frame_size 2 --n_rnn 1" + COMMON
TWO_TIER = "--n_frames 64 --frame_size 16 --n_rnn 3" + COMMON


@pytest.mark.parametrize(("family", "best"), [("three_tier", THREE_TIER), ("two_tier", TWO_TIER)])
def test_best_is_the_authors_best_model(family, best):
    """As their README gives it."""
    assert sorted(to_argv(preset(family, "best", {}))) == sorted(best.split())


def test_a_preset_takes_changes_and_is_not_changed_itself():
    before = preset("three_tier", "tiny", {})
    changed = preset("three_tier", "tiny", {"dim": 7, "rnn_type": "LSTM"})
    assert changed == dataclasses.replace(before, dim=7, rnn_type="LSTM")
    assert preset("three_tier", "tiny", {}) == before
    with pytest.raises(HyperParameterError, match="--skip_conn"):
        preset("three_tier", "tiny", {"skip_conn": True})
    with pytest.raises(HyperParameterError, match="--preset huge is unknown.*best, small, demo, tiny"):
        preset("three_tier", "huge", {})
