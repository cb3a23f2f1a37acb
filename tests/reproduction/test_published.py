"""The published numbers, the list of differences, and that no other file knows the numbers."""

import fnmatch
import re
from pathlib import Path

import pytest

from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.experiments import FILES, read_experiments, read_listening_tests
from samplernn_theano.reproduction.published import applying, read_differences, read_numbers

ROOT = Path(__file__).parents[2]
NUMBERS = read_numbers()
DIFFERENCES = read_differences()
EXPERIMENTS = read_experiments()
LISTENING = read_listening_tests()
README = (ROOT / "reproduce" / "README.md").read_text(encoding="utf-8")


def test_numbers_say_what_they_are_and_how_certain_they_are():
    assert len({(number.experiment, number.split) for number in NUMBERS}) == len(NUMBERS) == 33
    for number in NUMBERS:
        assert type(number.value) in (int, float) and number.split in ("test", "valid", None), number
        assert number.source.startswith("paper") and number.certainty == "text", number
        assert number.what.split()[0] in {"average", "test", "validation", "share"}, number
        assert ("validation" in number.what) == (number.split == "valid"), number
    units = {number.experiment.split("/")[0]: number.unit for number in NUMBERS}
    bits = dict.fromkeys(("table1", "table3", "table4"), "bits per sample")
    assert units == bits | {"table2": "nats or bits per sample", "information_retention": "%"}


def test_each_experiment_has_its_numbers():
    assert {number.experiment for number in NUMBERS} == EXPERIMENTS.keys()
    for name, experiment in EXPERIMENTS.items():
        splits = {number.split for number in NUMBERS if number.experiment == name}
        assert splits == ({None} if experiment.retention else set(experiment.splits)), name


def test_the_readme_has_a_row_for_every_experiment_with_its_published_numbers():
    """The list of a person: a second copy of the numbers, beside published.toml."""
    text = README.partition("## Laptop scale")[0]
    row = r"^\| `((?:table|info|listen)[a-z_0-9/]+)` \| ([^|]+) \|"
    rows = dict(re.findall(row, text, flags=re.MULTILINE))
    assert rows.keys() == {*EXPERIMENTS, *LISTENING}
    values = {(number.experiment, number.split): number.value for number in NUMBERS}
    for name in EXPERIMENTS:
        if (share := values.get((name, None))) is not None:
            assert rows[name] == f"{share} % {EXPERIMENTS[name].mark}"
            continue
        test, *valid = [values[name, split] for split in ("test", "valid") if (name, split) in values]
        expected = f"{test:.3f}" + (f" ({valid[0]:.3f})" if valid else "")
        assert rows[name] == f"{expected} {EXPERIMENTS[name].mark}".strip()


def test_every_score_in_the_readme_whose_basis_is_ours_is_marked():
    found = re.findall(r"^\| `((?:table|info)[a-z_0-9/]+)`(.*)$", README, flags=re.MULTILINE)
    scores = {
        name: re.findall(r"\d\.\d{3}(?: ± \d\.\d{3})?(?: \([\d.]+\))?( †)?", row) for name, row in found
    }
    assert sum(map(len, scores.values())) > 25
    for name, marks in scores.items():
        assert set(marks) <= {" †" if EXPERIMENTS[name].mark else ""}, name


def test_the_readme_has_the_updates_of_the_papers_scale():
    updates = dict(re.findall(r"^\| `([a-z_0-9/]+)` \| [^|]+ \| ([\d,]+) \|", README, flags=re.MULTILINE))
    planned = scales.schedules("paper")
    trained = {name for name, experiment in EXPERIMENTS.items() if experiment.run == name}
    assert {name: updates.get(name) for name in trained} == {
        name: f"{planned[name].max_iters:,}" for name in trained
    }


def test_no_other_file_of_the_code_knows_a_published_score():
    scores = {f"{abs(n.value):.3f}" for n in NUMBERS if n.split}
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, sorted(scores)))})(?![\d.]*\d)")
    assert pattern.findall("1.3871 x1.387 11.387 1.387.5 -2.415, 1.990.") == ["2.415", "1.990"]
    code = [path for path in (ROOT / "samplernn_theano").rglob("*") if path != FILES / "published.toml"]
    suffixes = {".py", ".html", ".jinja", ".js", ".css", ".toml"}
    read = [path for path in code if path.suffix in suffixes or path.name == "Snakefile"]
    assert len(read) > 100
    for path in read:
        assert not pattern.findall(path.read_text(encoding="utf-8")), path.relative_to(ROOT)


def test_differences_are_numbered_and_each_applies_to_some_experiment_at_some_scale():
    assert [difference.number for difference in DIFFERENCES] == list(range(1, len(DIFFERENCES) + 1))
    assert len({difference.title for difference in DIFFERENCES}) == len(DIFFERENCES)
    for difference in DIFFERENCES:
        for pattern in difference.applies:
            assert fnmatch.filter([*EXPERIMENTS, *LISTENING], pattern), (difference.number, pattern)
        assert set(difference.scales) <= set(scales.names()), difference.number
        assert difference.origin in ("original", "ours"), difference.number
        assert "\n" not in difference.text and difference.text.endswith("."), difference.number
    for name in EXPERIMENTS:  # clips that overlap or do not, or other data
        for scale in ("laptop", "paper"):
            assert {1, 7, 32} & {difference.number for difference in applying(DIFFERENCES, name, scale)}


def test_what_the_first_numbers_mean_never_changes():
    """Reports that exist cite them."""
    titles = {difference.number: difference.title for difference in DIFFERENCES}
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
        ("table1/music_overlap/two_tier", "paper", {2, 3, 12, 32, 33}, {1, 5, 7}),
        ("table1/blizzard/wavenet", "paper", {1, 5, 19, 20, 21, 33}, {11, 18, 32}),
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
    found = [difference.number for difference in applying(DIFFERENCES, experiment, scale)]
    assert found == sorted(found) and there <= set(found) and not not_there & set(found)


def test_the_readme_says_how_long_a_laptop_trains():
    minutes = scales.read("laptop").train["max_minutes"]
    assert f"{minutes} minutes on one core" in README and minutes == 3
    assert "three minutes\nof training each" in README
