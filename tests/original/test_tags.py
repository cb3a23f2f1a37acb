"""The original's names for the folder of a run."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES, KTier, ThreeTier, TwoTier
from samplernn_theano.errors import CheckpointError, HyperParameterError
from samplernn_theano.original.tags import SCRIPTS, from_tag, original_argv, sample_name, tag
from tests.conftest import GOLDEN

with gzip.open(GOLDEN / "cases" / "layouts.json.gz", "rt") as file:
    LAYOUTS = json.load(file)


def test_a_tag_is_the_command_line_in_another_writing():
    """Quirk: words without a space between them, and True and False shortened wherever they stand."""
    argv = ["models/x.py", "--exp", "a/TrueStory", "--skip_conn", "False", "--learn_h0", "True"]
    assert tag(argv, "one_tier") == "models-x.py-expa-TStory-skip_connF-learn_h0T-lr0.001"
    assert tag(argv, "one_tier", 0.01).endswith("-learn_h0T-lr0.01")
    assert tag(argv, "wavenet") == "models-x.py-expa-TStory-skip_connF-learn_h0T"
    assert tag([*argv, "--resume"], "one_tier") == tag(argv, "one_tier")


def test_every_layout_comes_back_from_its_tag():
    for layout in LAYOUTS:
        family = layout["model"]
        argv = [SCRIPTS[family], *layout["argv"]]
        hp, which_set = from_original_argv(FAMILIES[family], argv)
        asked = from_tag(tag(argv, family), family)
        assert asked == (hp, which_set, 0.0001 if family == "wavenet" else 0.001)


@settings(max_examples=60)
@given(
    exp=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=12),
    dim=st.integers(1, 4096),
    skip=st.booleans(),
    rate=st.sampled_from([0.001, 0.01, 1e-05, 0.25]),
    mu_law=st.booleans(),
)
def test_what_is_read_from_a_tag_is_what_was_asked_for(exp, dim, skip, rate, mu_law):
    hp = ThreeTier(dim=dim, skip_conn=skip, n_rnn=2, q_type="mu-law" if mu_law else "linear")
    name = tag(original_argv(hp, "BLIZZ", exp), "three_tier", rate)
    assert from_tag(name, "three_tier") == (hp, "BLIZZ", rate)


SCRIPT = "models-one_tier-one_tier.py"
ENDS = [
    "",
    "-expA-dim16-dim32-lr0.001",
    "-expA-dim16-layers7-lr0.001",
    "-dimX-lr0.001",
    "-expA-dim16-lr0.0.1",
]


@pytest.mark.parametrize("name", ["", "run7", *(SCRIPT + end for end in [*ENDS, "-rnn_typeMLP-lr0.001"])])
def test_a_name_that_is_no_tag_is_refused(name):
    with pytest.raises(CheckpointError, match="give the hyper-parameters"):
        from_tag(name, "one_tier")
    with pytest.raises(CheckpointError, match="does not fit .*: --skip_conn True needs at least two"):
        from_tag(f"{SCRIPT}-expA-n_rnn1-skip_connT-lr0.001", "one_tier")


def test_what_the_original_does_not_have_is_refused():
    with pytest.raises(HyperParameterError, match="has no k_tier; choose one_tier, two_tier, .* or wavenet"):
        original_argv(KTier(), "MUSIC", "x")
    with pytest.raises(HyperParameterError, match="has no --multi_softmax"):
        original_argv(TwoTier(multi_softmax=True), "MUSIC", "x")
    with pytest.raises(HyperParameterError, match="1 to 5 recurrent layers, not --n_rnn 6"):
        original_argv(TwoTier(n_rnn=6), "MUSIC", "x")


@pytest.mark.parametrize("which_set", ["my-own-set", "a.b_c", "dim16", "x-dim", "MUSIC"])
def test_sets_of_any_name_come_back_from_a_tag(which_set):
    argv = ["models/two_tier/two_tier32k.py", "--exp", "a-b", "--which_set", which_set, "--dim", "16"]
    for words in (argv, [*argv[:3], *argv[5:], *argv[3:5]]):
        assert from_tag(tag(words, "two_tier"), "two_tier") == (TwoTier(dim=16), which_set, 0.001)


def test_recordings_are_named_after_the_parameters_that_made_them():
    name = sample_name(0, 80, 0.001, 5.12, 4.98831, True, 1)
    assert name == "sample_e0_i80_t0.00_tr5.1200_v4.9883_best_1.wav"
