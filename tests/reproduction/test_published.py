"""The published numbers, the list of differences, and that no other file knows the numbers."""

import fnmatch
import math
import re
import tomllib
from pathlib import Path

import pytest

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.differences import applying, read_differences
from samplernn_theano.reproduction.experiments import read_experiments, read_listening_tests
from samplernn_theano.reproduction.paths import FILES
from samplernn_theano.reproduction.published import CERTAINTIES, read_facts, read_numbers

ROOT = Path(__file__).parents[2]

# The paper's tables, as a person copies them.
TABLE_1 = """
            blizzard  onomatopoeia  music
one_tier    1.434     2.034         1.410
wavenet     1.480     2.285         1.464
two_tier    1.392     2.026         1.076
three_tier  1.387     1.990         1.159
"""
TABLE_2 = {"rnn_gmm": -2.415, "samplernn_gmm": -2.782}
TABLE_3 = {32: 1.575, 64: 1.468, 128: 1.412, 256: 1.391, 512: 1.364}
TABLE_4 = {  # test, validation
    "two_tier": (1.392, 1.369),
    "without_embedding_one_hot": (1.566, 1.539),
    "without_embedding_real": (1.566, 1.539),
    "multi_softmax": (1.685, 1.656),
}
RETENTION = {"three_tier": 83, "wavenet": 50}


def expected() -> dict[tuple[str, str | None], float]:
    """Experiment and split to value."""
    head, *rows = (line.split() for line in TABLE_1.strip().splitlines())
    found: dict[tuple[str, str | None], float] = {
        (f"table1/{data}/{model}", "test"): float(value)
        for model, *values in rows
        for data, value in zip(head, values, strict=True)
    }
    found |= {(f"table2/{name}", "test"): value for name, value in TABLE_2.items()}
    found |= {(f"table3/{length}", "valid"): value for length, value in TABLE_3.items()}
    for name, both in TABLE_4.items():
        found |= {(f"table4/{name}", split): x for split, x in zip(("test", "valid"), both, strict=True)}
    return found | {(f"information_retention/{name}", None): x for name, x in RETENTION.items()}


# --- published.toml


def test_every_number_of_the_paper_is_there_and_no_other():
    found = [((number.experiment, number.split), number.value) for number in read_numbers(FILES)]
    assert len(found) == len(set(found)) == 29
    assert dict(found) == expected()


def test_numbers_say_what_they_are_and_how_certain_they_are():
    for number in read_numbers(FILES):
        assert number.source.startswith("paper"), number
        assert number.certainty == "text", number
        assert number.what.split()[0] in {"average", "test", "validation", "share"}, number
        if number.split is not None:
            assert ("validation" in number.what) == (number.split == "valid"), number
    units = {number.experiment.split("/")[0]: number.unit for number in read_numbers(FILES)}
    assert units == {
        "table1": "bits per sample",
        "table2": "nats or bits per sample",
        "table3": "bits per sample",
        "table4": "bits per sample",
        "information_retention": "%",
    }


def test_the_notes_say_where_a_number_is_ambiguous():
    notes = {number.experiment: number.note for number in read_numbers(FILES)}
    assert all("nats" in notes[f"table2/{name}"] for name in TABLE_2)
    assert "one-hot" in notes["table4/without_embedding_one_hot"]
    assert "as numbers" in notes["table4/without_embedding_real"]
    assert "no model was measured" in notes["information_retention/wavenet"]


def test_numbers_and_facts_name_known_experiments_and_each_trained_one_has_its_numbers():
    known = read_experiments(FILES)
    published = {(number.experiment, number.split) for number in read_numbers(FILES)}
    assert {experiment for experiment, _ in published} == known.keys()
    for name, experiment in known.items():
        if not experiment.retention:
            assert {split for of, split in published if of == name} == set(experiment.splits), name
    listening = read_listening_tests(FILES).keys()
    assert {fact.experiment for fact in read_facts(FILES)} <= {"", *known, *listening}


def test_facts_have_sources_and_are_those_of_the_paper_and_its_release():
    found = {fact.what: fact for fact in read_facts(FILES)}
    assert len(found) == len(read_facts(FILES))
    assert all(fact.source and fact.certainty in CERTAINTIES for fact in found.values())
    values = {
        "quantisation levels": 256,
        "length of the subsequences": 512,
        "WaveNet: receptive field": 4092,
        "WaveNet: samples to predict per pass": 1600,
        "training time": 3,
        "epochs of Music in three days on a K80": 20,
        "public reproduction of Music: train NLL": 1.0121,
        "public reproduction of Music: validation NLL": 1.033,
        "public reproduction of Music: iterations": 246301,
        "public reproduction of Music: epoch": 33,
        "public reproduction of Music: training time": 18,
        "listening test: pairs per listener": 20,
    }
    assert {what: found[what].value for what in values} == values
    assert found["training time"].certainty == "code"


def test_no_other_file_of_the_code_knows_a_published_score():
    scores = {
        f"{abs(value):.3f}" for (experiment, _), value in expected().items() if experiment.startswith("table")
    }
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, sorted(scores)))})(?![\d.]*\d)")
    assert pattern.findall("1.3871 x1.387 11.387 1.387.5 -2.415, 1.990.") == ["2.415", "1.990"]
    code = [path for path in (ROOT / "samplernn_theano").rglob("*") if path != FILES / "published.toml"]
    assert {FILES / "Snakefile", FILES / "scales" / "paper.toml"} <= set(code)
    read = 0
    for path in code:
        if path.suffix in {".py", ".html", ".js", ".css", ".toml"} or path.name == "Snakefile":
            if path.is_file():
                found = pattern.findall(path.read_text(encoding="utf-8"))
                assert not found, f"{path.relative_to(ROOT)} has {found}"
                read += 1
    assert read > 100


# --- differences.toml


def test_differences_are_numbered_and_each_applies_to_some_experiment_at_some_scale():
    found = read_differences(FILES)
    names = [*read_experiments(FILES), *read_listening_tests(FILES)]
    assert [difference.number for difference in found] == list(range(1, len(found) + 1))
    assert len({difference.title for difference in found}) == len(found)
    for difference in found:
        for pattern in difference.applies:
            assert fnmatch.filter(names, pattern), f"{difference.number}: {pattern} matches no experiment"
        assert set(difference.scales) <= set(scales.names(FILES)), difference.number
        assert "\n" not in difference.text and difference.text.endswith("."), difference.number


def test_what_the_first_numbers_mean_never_changes():
    """Reports that exist cite them."""
    titles = {difference.number: difference.title for difference in read_differences(FILES)}
    assert {number: titles[number] for number in (1, 2, 11, 12, 19, 24, 31)} == {
        1: "Clips do not overlap",
        2: "Clips are shuffled before the split",
        11: "The independent predictions are not trained",
        12: "Training stops by time",
        19: "WaveNet's learning rate",
        24: "Without embedding: two readings",
        31: "WaveNet's information retention",
    }


@pytest.mark.parametrize(
    "experiment, scale, there, not_there",
    [
        ("table1/music/three_tier", "paper", {1, 2, 3, 4, 6, 11, 12}, {5, 7, 10, 13, 18, 19, 22, 24}),
        ("table1/music/three_tier", "laptop", {1, 9, 11, 13}, {10, 12}),
        ("table1/music/three_tier", "smoke", {10, 11, 13}, {1, 9, 12}),
        ("table1/blizzard/wavenet", "paper", {1, 5, 19, 20, 21}, {11, 18}),
        ("table1/onomatopoeia/one_tier", "paper", {7, 8, 18}, {1, 2, 11}),
        ("table2/rnn_gmm", "paper", {1, 22}, {3, 11}),
        ("table3/64", "paper", {11, 23}, {24}),
        ("table4/without_embedding_real", "paper", {24}, {25}),
        ("table4/multi_softmax", "paper", {25}, {24}),
        ("listening/music", "paper", {28, 29}, {1, 12}),
        ("information_retention/wavenet", "paper", {30, 31}, {29}),
    ],
)
def test_an_experiment_has_the_differences_that_apply_to_it(experiment, scale, there, not_there):
    found = [difference.number for difference in applying(read_differences(FILES), experiment, scale)]
    assert found == sorted(found)
    assert there <= set(found)
    assert not not_there & set(found)


def test_every_trained_experiment_names_the_overlap_or_other_data():
    for name in read_experiments(FILES):
        for scale in ("laptop", "paper"):
            assert {1, 7} & {
                difference.number for difference in applying(read_differences(FILES), name, scale)
            }


# --- files that are damaged


NUMBER = """
[[number]]
experiment = "a"
what = "test NLL"
split = "test"
value = 1.5
unit = "bits per sample"
source = "paper"
certainty = "text"
"""
DIFFERENCE = """
[[difference]]
number = 1
title = "T"
text = "Some words."
origin = "ours"
applies = ["*"]
scales = ["paper"]
"""


def test_an_entry_may_leave_out_split_and_note(tmp_path):
    (tmp_path / "published.toml").write_text(NUMBER.replace('split = "test"\n', ""))
    (number,) = read_numbers(tmp_path)
    assert number.split is None and number.note == "" and math.isclose(number.value, 1.5)
    assert read_facts(tmp_path) == []


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("", "x = 1\n[[", "not TOML"),
        ("[[number]]", "[number]", "begin each with [[number]]"),
        ("[[number]]", "[[figure]]", "unknown key figure"),
        ('unit = "bits per sample"\n', "", "[[number]] 1: unit is missing"),
        ("unit =", "units =", "[[number]] 1: unknown key units"),
        ('"test"', '"train"', "split is 'train'"),
        ("1.5", "'1.5'", "value is '1.5', not a number"),
        ("1.5", "nan", "not a number"),
        ("1.5", "true", "not a number"),
        ('certainty = "text"', 'certainty = "sure"', "write text, code or memory"),
        ('source = "paper"', 'source = " "', "source is ' ', not text"),
    ],
)
def test_a_damaged_list_of_numbers_is_refused(tmp_path, old, new, said):
    text = NUMBER.replace(old, new) if old else new
    (tmp_path / "published.toml").write_text(text)
    with pytest.raises(ReproductionError) as error:
        read_numbers(tmp_path)
    assert said in str(error.value) and "published.toml" in str(error.value)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("number = 1", "number = 2", "entry 1 has the number 2"),
        ("number = 1\n", "", "number is missing"),
        ('"ours"', '"theirs"', "write original or ours"),
        ('["*"]', '"*"', "applies is '*'; write a list of names"),
        ('["paper"]', "[]", "scales is []; write a list of names"),
        ('"Some words."', '""', "text is '', not text"),
    ],
)
def test_a_damaged_list_of_differences_is_refused(tmp_path, old, new, said):
    (tmp_path / "differences.toml").write_text(DIFFERENCE.replace(old, new))
    with pytest.raises(ReproductionError) as error:
        read_differences(tmp_path)
    assert said in str(error.value) and "differences.toml" in str(error.value)


def test_the_same_number_twice_is_refused(tmp_path):
    (tmp_path / "differences.toml").write_text(DIFFERENCE + DIFFERENCE)
    with pytest.raises(ReproductionError, match="entry 2 has the number 1"):
        read_differences(tmp_path)


@pytest.mark.parametrize("read", [read_numbers, read_facts, read_differences])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(ReproductionError, match="cannot be read: No such file"):
        read(tmp_path)


# --- README.md


def test_the_readme_has_a_row_for_every_experiment_with_its_published_numbers():
    text = (ROOT / "reproduce" / "README.md").read_text(encoding="utf-8").partition("## Laptop scale")[0]
    rows = dict(
        re.findall(r"^\| `((?:table|info|listen)[a-z_0-9/]+)` \| ([^|]+) \|", text, flags=re.MULTILINE)
    )
    assert rows.keys() == {*read_experiments(FILES), *read_listening_tests(FILES)}
    scores = expected()
    for name in read_experiments(FILES):
        test, valid, share = (scores.get((name, split)) for split in ("test", "valid", None))
        if share is not None:
            assert rows[name] == f"{share} %"
        elif test is not None and valid is not None:
            assert rows[name] == f"{test:.3f} ({valid:.3f})"
        else:
            assert rows[name] == f"{valid if test is None else test:.3f}"


def test_the_readme_says_how_long_a_laptop_trains():
    scale = tomllib.loads((FILES / "scales" / "laptop.toml").read_text(encoding="utf-8"))
    words = {3: "three"}[scale["train"]["max_minutes"]]
    text = (ROOT / "reproduce" / "README.md").read_text(encoding="utf-8")
    assert f"{scale['train']['max_minutes']} minutes on one core" in text
    assert f"{words} minutes\nof training each" in text


def test_the_readme_lists_the_differences_in_order():
    text = " ".join((ROOT / "reproduce" / "README.md").read_text(encoding="utf-8").split()).lower()
    listed = "; ".join(
        f"{difference.number} {difference.title}" for difference in read_differences(FILES)
    ).lower()
    assert listed in text
