"""Flags: the original's command lines are read, and ours survive writing and reading."""

import argparse
import dataclasses
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplernn_theano.config.argument_types import duration
from samplernn_theano.config.flags import (
    HELP,
    add_flags,
    frame_sizes,
    from_original_argv,
    to_argv,
    true_or_false,
)
from samplernn_theano.config.hyperparameters import (
    CHOICES,
    FAMILIES,
    RNNGMM,
    HyperParameters,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.config.schedule import original_learning_rate
from samplernn_theano.errors import HyperParameterError

CASES = Path(__file__).parents[1] / "golden" / "cases"
GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))}
with gzip.open(CASES / "layouts.json.gz", "rt") as file:
    LAYOUTS = json.load(file)


def flags(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


# --- the original's command line


def test_there_are_golden_command_lines_of_every_family_of_the_original():
    originals = {"three_tier", "two_tier", "one_tier", "wavenet"}
    assert len(GOLDEN) == 13 and {golden["model"] for golden in GOLDEN.values()} == originals
    assert len(LAYOUTS) == 73 and {layout["model"] for layout in LAYOUTS} == originals


@pytest.mark.parametrize("case", GOLDEN)
def test_a_command_line_of_the_original_gives_what_its_script_had(case):
    golden = GOLDEN[case]
    hp, which_set = from_original_argv(FAMILIES[golden["model"]], golden["argv"])
    assert type(hp) is FAMILIES[golden["model"]]
    assert which_set == golden["WHICH_SET"]
    theirs = ("seq_len", "overlap", "batch_size", "dim", "q_levels", "q_type")
    assert [getattr(hp, name) for name in theirs] == [golden[name.upper()] for name in theirs]
    assert hp.silence == golden["Q_ZERO"]
    assert np.float32(original_learning_rate(type(hp))) == np.float32(golden["LEARNING_RATE"])
    if hp.family != "wavenet":
        assert hp.state_width == golden["H0_MULT"] * golden["DIM"]
    for own in dataclasses.fields(hp):
        if own.name.upper() in golden:
            assert getattr(hp, own.name) == golden[own.name.upper()], own.name


@pytest.mark.parametrize("model", sorted({layout["model"] for layout in LAYOUTS}))
def test_all_command_lines_are_read_and_written_as_in_the_original(model):
    lines = [layout["argv"] for layout in LAYOUTS if layout["model"] == model]
    for argv in lines + [golden["argv"][1:] for golden in GOLDEN.values() if golden["model"] == model]:
        hp, which_set = from_original_argv(FAMILIES[model], argv)
        assert type(hp) is FAMILIES[model]
        theirs = flags(argv)
        assert theirs.pop("--exp") == "ORACLE" and theirs.pop("--which_set") == which_set
        assert flags(to_argv(hp)) == theirs


# --- ours


KINDS: dict[object, st.SearchStrategy] = {
    bool: st.booleans(),
    int: st.integers(1, 400),
    float | None: st.floats(allow_nan=False, allow_infinity=False),
}


@st.composite
def hyper_parameters(draw: st.DrawFn, family: type[HyperParameters]) -> HyperParameters:
    """A valid model: values of the right kind, except for those that must fit others."""
    kinds = {own.name: own.type for own in dataclasses.fields(family)}
    fast, ratio, n_rnn = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    slow, input_ = fast * ratio, draw(st.sampled_from(CHOICES["sample_input"]))
    q_type, mean = draw(st.sampled_from(CHOICES["q_type"])), draw(st.none() | KINDS[float | None])
    positive = st.floats(0, exclude_min=True, allow_infinity=False)
    fitting = {
        "frame_size": fast,
        "big_frame_size": slow,
        "frame_sizes": (2 * slow, slow, fast)[draw(st.integers(0, 2)) :],
        "seq_len": 2 * slow * draw(st.integers(1, 6)),
        "dilation_layers_per_block": fast,
        "n_rnn": n_rnn,
        "skip_conn": n_rnn > 1 and draw(st.booleans()),
        "rnn_type": draw(st.sampled_from(CHOICES["rnn_type"])),
        "q_type": q_type,
        "q_levels": draw(st.integers(2, 1000)) if q_type == "linear" else 256,
        "normalisation": draw(st.sampled_from(CHOICES["normalisation"])),
        "sample_input": input_,
        "multi_softmax": input_ == "embedding" and draw(st.booleans()),
        "mean": mean,
        "rate": 16000,
        "std": None if mean is None else draw(positive),
    }
    return family(**{n: fitting[n] if n in fitting else draw(KINDS[kind]) for n, kind in kinds.items()})


@given(hp=st.sampled_from(list(FAMILIES.values())).flatmap(hyper_parameters), data=st.data())
def test_flags_survive_writing_and_reading(hp, data):
    which_set = data.draw(st.sampled_from(["MUSIC", "BLIZZ", "ONOM"]))
    argv = ["script.py", "--exp", "x", *to_argv(hp), "--which_set", which_set, "--debug", "--resume"]
    assert from_original_argv(type(hp), argv) == (hp, which_set)


ABBREVIATED = "--ex a --fr 2 --se 64 --big 8 --em 4 --sk fal --di 16 --n 2 --rn LSTM --q_l 32 --q_t linear"


def test_flags_and_truth_values_may_be_abbreviated_as_in_the_original():
    """Quirk: nothing at all is true."""
    expected = ThreeTier(
        seq_len=64, big_frame_size=8, emb_size=4, dim=16, n_rnn=2, rnn_type="LSTM", q_levels=32, batch_size=4
    )
    argv = [*ABBREVIATED.split(), "--learn", "", *"--bat=4 --we tRu --wh MUSIC --deb --resum".split()]
    assert from_original_argv(ThreeTier, ["three_tier.py", *argv]) == (expected, "MUSIC")
    with pytest.raises(HyperParameterError, match="--learn_h0: 'yes' is neither"):
        from_original_argv(ThreeTier, ["--learn", "yes"])


def test_a_small_negative_mean_is_no_flag():
    """On a command line argparse takes -2.7e-05 for one, unless it is written --mean=-2.7e-05."""
    hp = RNNGMM(mean=-2.7492260671334582e-05, std=1e-9)
    words = flags(to_argv(hp))
    assert words["--mean"] == "-0.000027492260671334582" and words["--std"] == "0.000000001"
    assert from_original_argv(RNNGMM, to_argv(hp))[0] == hp
    assert from_original_argv(RNNGMM, ["--mean=-2.7492260671334582e-05", "--std", "1e-9"])[0] == hp


def test_what_the_original_lacks_is_written_only_where_it_is_in_use():
    """So that the original can read the others."""
    assert "--normalisation" not in to_argv(OneTier())
    assert flags(to_argv(WaveNet(normalisation="absmax")))["--normalisation"] == "absmax"
    assert "--sample_input" not in to_argv(ThreeTier()) and "--multi_softmax" not in to_argv(TwoTier())
    assert flags(to_argv(ThreeTier(sample_input="real")))["--sample_input"] == "real"
    assert flags(to_argv(TwoTier(multi_softmax=True)))["--multi_softmax"] == "True"


@pytest.mark.parametrize("family", FAMILIES.values())
def test_flags_that_are_missing_have_the_default_values_and_every_flag_has_a_help_text(family):
    assert from_original_argv(family, []) == (family(), "MUSIC")
    assert from_original_argv(family, ["--dim", "8"]) == (family(dim=8), "MUSIC")
    parser = argparse.ArgumentParser()
    add_flags(parser, family)
    names = [own.name for own in dataclasses.fields(family) if own.name != "rate"]  # of forks
    assert vars(parser.parse_args(["--dim", "8"])) == dict.fromkeys(names) | {"dim": 8}
    text = " ".join(parser.format_help().split())
    assert all(f"--{name}" in text and HELP[name] in text for name in names)


def test_no_help_text_is_left_over():
    assert HELP.keys() == {own.name for family in FAMILIES.values() for own in dataclasses.fields(family)}


# --- what cannot be read


@pytest.mark.parametrize(
    ("family", "argv", "named"),
    [
        (ThreeTier, ["--nonsense", "3"], "--nonsense"),
        (ThreeTier, ["--s", "512"], "--s can mean --skip_conn or --seq_len: write it out"),
        (ThreeTier, ["--dim"], "--dim"),
        (ThreeTier, ["--dim", "many"], "--dim: .*'many'"),
        (ThreeTier, ["--dim", "1.5"], "--dim: .*'1.5'"),
        (ThreeTier, ["--skip_conn", "perhaps"], "--skip_conn: 'perhaps' is neither True nor False"),
        (ThreeTier, ["three_tier.py", "astray"], "astray"),
        (ThreeTier, ["--n_frames", "9"], "--n_frames"),
        (TwoTier, ["--seq_len", "64"], "--seq_len"),
        (WaveNet, ["--n_rnn", "1"], "--n_rnn"),
        (KTier, ["--frame_sizes", "16-8"], "--frame_sizes: '16-8' is not a list of sizes such as 16/8/2"),
        (RNNGMM, ["--mean", "loud", "--std", "1"], "--mean: .*'loud'"),
        (RNNGMM, ["--mean", "-1e-5", "--std", "1"], "--mean"),
        (SampleRNNGMM, ["--q_levels", "256"], "--q_levels"),
    ],
)
def test_a_command_line_that_cannot_be_read_gives_one_sentence_naming_the_flag(family, argv, named, capsys):
    with pytest.raises(HyperParameterError, match=named) as caught:
        from_original_argv(family, argv)
    assert re.fullmatch(r"[^\n]+\.", str(caught.value))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("convert", "words", "value"),
    [
        (true_or_false, ["True", "true", "TRUE", "T", "t"], True),
        (true_or_false, ["False", "false", "F", "f"], False),
        (true_or_false, ["", "1", "0", "yes", "no", "Tr", "None"], "is neither True nor False"),
        (frame_sizes, ["16/8/2"], (16, 8, 2)),
        (frame_sizes, ["4"], (4,)),
        (duration, ["30s"], 30),
        (duration, ["90m"], 5400),
        (duration, ["23.5h", "23:30:00"], 84600),
        (duration, ["2d"], 172800),
        (duration, ["100:00:01"], 360001),
        (duration, ["", "10", "h", "-1h", "1:2:3", "1h30m", "nan", "1e3s", "inf"], "is not a duration"),
        (frame_sizes, ["", "/", "16/", "16,8", "a/b", "8/2.0"], "is not a list of sizes such as 16/8/2"),
    ],
)
def test_words_for_truth_values_frame_sizes_and_durations(convert, words, value):
    for word in words:
        if isinstance(value, str):
            with pytest.raises(argparse.ArgumentTypeError, match=value):
                convert(word)
        else:
            assert convert(word) == value
