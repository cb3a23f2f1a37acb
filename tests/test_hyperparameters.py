"""Hyper-parameters: what contradicts is refused with advice; the original's command lines are read."""

import argparse
import dataclasses
import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.hyperparameters import (
    FAMILIES,
    PRESETS,
    ThreeTier,
    add_flags,
    from_original_argv,
    preset,
    true_or_false,
)

CASES = Path(__file__).parent / "golden" / "cases"
GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted(CASES.glob("3t_*.json"))}
with gzip.open(CASES / "layouts.json.gz", "rt") as file:
    LAYOUTS = [layout for layout in json.load(file) if layout["model"] == "three_tier"]

# --- what contradicts


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(ThreeTier) if f.type is int])
@pytest.mark.parametrize("value", [0, -1])
def test_no_number_may_be_below_one(name, value):
    with pytest.raises(HyperParameterError, match=f"--{name} is {value}; it must be at least 1"):
        ThreeTier(**{name: value})


@pytest.mark.parametrize(
    "wrong, advice, mended",
    [
        ({"seq_len": 500}, "--seq_len 496", {"seq_len": 496}),
        ({"seq_len": 3}, "--seq_len 8", {"seq_len": 8}),
        (
            {"big_frame_size": 8, "frame_size": 3},
            "--big_frame_size 9",
            {"big_frame_size": 9, "frame_size": 3, "seq_len": 9},
        ),
        ({"frame_size": 16}, "--big_frame_size 16", {"frame_size": 16, "big_frame_size": 16}),
        ({"rnn_type": "RNN"}, "choose GRU or LSTM", {"rnn_type": "LSTM"}),
        ({"rnn_type": "gru"}, "choose GRU or LSTM", {"rnn_type": "GRU"}),
        ({"n_rnn": 6}, "choose 1 to 5", {"n_rnn": 5}),
        ({"skip_conn": True}, "--n_rnn 2", {"skip_conn": True, "n_rnn": 2}),
        ({"skip_conn": True}, "--skip_conn False", {"skip_conn": False}),
        ({"q_levels": 1}, "at least 2", {"q_levels": 2}),
        ({"q_type": "a-law"}, "not implemented by the original either; choose linear or mu-law", {}),
        ({"q_type": "log"}, "choose linear or mu-law", {"q_type": "linear"}),
        ({"q_type": "mu-law", "q_levels": 16}, "--q_levels 256", {"q_type": "mu-law", "q_levels": 256}),
    ],
)
def test_a_contradiction_names_the_flag_and_a_remedy_that_helps(wrong, advice, mended):
    with pytest.raises(HyperParameterError) as caught:
        ThreeTier(**wrong)
    message = str(caught.value)
    assert any(f"--{name} {value}" in message for name, value in wrong.items())
    assert advice in message
    assert message.endswith(".") and "\n" not in message
    ThreeTier(**mended)


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


def test_hyper_parameters_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ThreeTier().dim = 3


def test_widths_and_levels_that_follow_from_the_others():
    gru = ThreeTier(dim=16, q_levels=5, seq_len=16, big_frame_size=16, frame_size=4)
    assert (gru.overlap, gru.state_width, gru.q_zero) == (16, 16, 2)
    assert ThreeTier(dim=16, rnn_type="LSTM").state_width == 32


# --- the original's command line


@pytest.mark.parametrize("case", GOLDEN)
def test_a_command_line_of_the_original_gives_what_its_script_had(case):
    golden = GOLDEN[case]
    hp, which_set = from_original_argv(ThreeTier, golden["argv"])
    assert which_set == golden["WHICH_SET"]
    for field in dataclasses.fields(hp):
        assert getattr(hp, field.name) == golden[field.name.upper()], field.name
    assert hp.overlap == golden["OVERLAP"]
    assert hp.q_zero == golden["Q_ZERO"]
    assert hp.state_width == golden["H0_MULT"] * golden["DIM"]


@pytest.mark.parametrize("argv", [golden["argv"][1:] for golden in [*GOLDEN.values()]])
def test_the_flags_are_written_as_in_the_original(argv):
    hp, _ = from_original_argv(ThreeTier, argv)
    words = hp.to_argv()
    theirs = {flag: value for flag, value in zip(argv[::2], argv[1::2], strict=True)}
    assert {flag: value for flag, value in zip(words[::2], words[1::2], strict=True)} == {
        flag: value for flag, value in theirs.items() if flag not in ("--exp", "--which_set")
    }


def test_command_lines_of_all_layouts_are_read():
    assert len(LAYOUTS) == 23
    for layout in LAYOUTS:
        hp, which_set = from_original_argv(ThreeTier, layout["argv"])
        assert which_set == "MUSIC"
        assert [str(getattr(hp, word[2:])) for word in layout["argv"][2:-2:2]] == layout["argv"][3:-2:2]


@st.composite
def hyper_parameters(draw):
    frame_size = draw(st.integers(1, 8))
    big_frame_size = frame_size * draw(st.integers(1, 4))
    n_rnn = draw(st.integers(1, 5))
    q_type = draw(st.sampled_from(["linear", "mu-law"]))
    return ThreeTier(
        seq_len=big_frame_size * draw(st.integers(1, 8)),
        big_frame_size=big_frame_size,
        frame_size=frame_size,
        emb_size=draw(st.integers(1, 300)),
        skip_conn=n_rnn > 1 and draw(st.booleans()),
        dim=draw(st.integers(1, 2000)),
        n_rnn=n_rnn,
        rnn_type=draw(st.sampled_from(["GRU", "LSTM"])),
        q_levels=256 if q_type == "mu-law" else draw(st.integers(2, 1000)),
        q_type=q_type,
        batch_size=draw(st.integers(1, 200)),
        weight_norm=draw(st.booleans()),
        learn_h0=draw(st.booleans()),
    )


@given(hyper_parameters(), st.sampled_from(["MUSIC", "BLIZZ", "ONOM"]))
def test_flags_survive_writing_and_reading(hp, which_set):
    argv = ["three_tier.py", "--exp", "x", *hp.to_argv(), "--which_set", which_set, "--debug", "--resume"]
    assert from_original_argv(ThreeTier, argv) == (hp, which_set)


def test_flags_that_are_missing_have_the_authors_best_values():
    assert from_original_argv(ThreeTier, []) == (ThreeTier(), "MUSIC")
    assert from_original_argv(ThreeTier, ["--dim", "8"]) == (ThreeTier(dim=8), "MUSIC")


@pytest.mark.parametrize(
    "argv, named",
    [
        (["--nonsense", "3"], "--nonsense"),
        (["--seq_le", "512"], "--seq_le"),
        (["--dim"], "--dim"),
        (["--dim", "many"], "--dim"),
        (["--skip_conn", "perhaps"], "--skip_conn"),
        (["three_tier.py", "astray"], "astray"),
        (["--n_rnn", "9"], "--n_rnn"),
    ],
)
def test_a_command_line_that_cannot_be_read_names_the_flag(argv, named, capsys):
    with pytest.raises(HyperParameterError, match=named):
        from_original_argv(ThreeTier, argv)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("word", ["True", "true", "TRUE", "T", "t"])
def test_words_for_true(word):
    assert true_or_false(word) is True


@pytest.mark.parametrize("word", ["False", "false", "F", "f"])
def test_words_for_false(word):
    assert true_or_false(word) is False


@pytest.mark.parametrize("word", ["", "1", "0", "yes", "no", "Tr", "None"])
def test_other_words_are_neither(word):
    with pytest.raises(argparse.ArgumentTypeError, match="neither True nor False"):
        true_or_false(word)


def test_a_flag_that_is_not_given_is_none():
    parser = argparse.ArgumentParser()
    add_flags(parser, ThreeTier)
    given_flags = vars(parser.parse_args(["--dim", "8", "--learn_h0", "F"]))
    assert given_flags.pop("dim") == 8 and given_flags.pop("learn_h0") is False
    assert set(given_flags.values()) == {None}
    assert {*given_flags, "dim", "learn_h0"} == {f.name for f in dataclasses.fields(ThreeTier)}


# --- presets


@pytest.mark.parametrize(("family", "name"), [(f, name) for f in PRESETS for name in PRESETS[f]])
def test_presets_are_models_of_their_family(family, name):
    hp = preset(family, name, {})
    assert hp == PRESETS[family][name]
    assert type(hp) is FAMILIES[family] and hp.family == family


def test_best_is_the_authors_best_model():
    """As their README gives it."""
    best = "--seq_len 512 --big_frame_size 8 --frame_size 2 --emb_size 256 --skip_conn False --dim 1024"
    best += " --n_rnn 1 --rnn_type GRU --q_levels 256 --q_type linear --batch_size 128 --weight_norm True"
    best += " --learn_h0 True"
    assert preset("three_tier", "best", {}).to_argv() == best.split()


def test_a_preset_takes_changes_and_is_not_changed_itself():
    before = preset("three_tier", "tiny", {})
    changed = preset("three_tier", "tiny", {"dim": 7, "rnn_type": "LSTM"})
    assert changed == dataclasses.replace(before, dim=7, rnn_type="LSTM")
    assert preset("three_tier", "tiny", {}) == before


def test_changes_that_contradict_the_preset_are_refused():
    with pytest.raises(HyperParameterError, match="--skip_conn"):
        preset("three_tier", "tiny", {"skip_conn": True})


def test_an_unknown_preset_is_told_with_the_known_ones():
    with pytest.raises(HyperParameterError, match="--preset huge is unknown.*best, laptop, demo, tiny"):
        preset("three_tier", "huge", {})
