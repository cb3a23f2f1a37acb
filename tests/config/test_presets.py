"""Presets: valid models of every family, from the authors' best to the smallest."""

import dataclasses

import pytest

from samplernn_theano.config.flags import to_argv
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.errors import HyperParameterError

NAMES = ["best", "small", "demo", "tiny"]


def flags(line: str) -> dict[str, str]:
    words = line.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def test_every_family_has_the_same_presets():
    assert PRESETS.keys() == FAMILIES.keys()
    for family in FAMILIES:
        assert list(PRESETS[family]) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_presets_are_models_of_their_family(family, name):
    hp = preset(family, name, {})
    assert hp == PRESETS[family][name]
    assert type(hp) is FAMILIES[family] and hp.family == family


@pytest.mark.parametrize("family", FAMILIES)
def test_presets_become_smaller(family):
    presets = [preset(family, name, {}) for name in NAMES]
    widths = [hp.dim for hp in presets]
    assert widths == sorted(set(widths), reverse=True)
    samples = [hp.batch_size * hp.seq_len for hp in presets]
    assert samples == sorted(samples, reverse=True)


COMMON = " --skip_conn False --dim 1024 --rnn_type GRU --q_levels 256 --q_type linear --batch_size 128"
COMMON += " --weight_norm True --learn_h0 True --emb_size 256"
THREE_TIER = "--seq_len 512 --big_frame_size 8 --frame_size 2 --n_rnn 1" + COMMON
TWO_TIER = "--n_frames 64 --frame_size 16 --n_rnn 3" + COMMON


@pytest.mark.parametrize(("family", "best"), [("three_tier", THREE_TIER), ("two_tier", TWO_TIER)])
def test_best_is_the_authors_best_model(family, best):
    """As their README gives it."""
    assert flags(" ".join(to_argv(preset(family, "best", {})))) == flags(best)


def test_the_best_wavenet_sees_4093_samples():
    hp = preset("wavenet", "best", {})
    assert (hp.overlap, hp.wavenet_blocks, hp.dilation_layers_per_block) == (4093, 4, 10)


def test_a_preset_takes_changes_and_is_not_changed_itself():
    before = preset("three_tier", "tiny", {})
    changed = preset("three_tier", "tiny", {"dim": 7, "rnn_type": "LSTM"})
    assert changed == dataclasses.replace(before, dim=7, rnn_type="LSTM")
    assert preset("three_tier", "tiny", {}) == before
    assert preset("k_tier", "tiny", {"frame_sizes": (4, 2)}).sizes == (4, 2)


def test_changes_that_contradict_the_preset_are_refused():
    with pytest.raises(HyperParameterError, match="--skip_conn"):
        preset("three_tier", "tiny", {"skip_conn": True})


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_preset_is_told_with_the_known_ones(family):
    with pytest.raises(HyperParameterError, match="--preset huge is unknown.*best, small, demo, tiny"):
        preset(family, "huge", {})
