"""The experiments of the paper's tables are commands that can be run, at every scale."""

import json
import os
import shlex
import subprocess
from dataclasses import fields, replace
from pathlib import Path

import pytest

from samplernn_theano.cli.main import build_parser
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import preset
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction import plan, scales
from samplernn_theano.reproduction.experiments import (
    SETS,
    read_experiments,
    read_listening_tests,
    select_experiments,
)
from samplernn_theano.reproduction.workflow import announcement

EXPERIMENTS = read_experiments()
PARSER = build_parser()
SCALES = {name: scales.read(name) for name in scales.names()}


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "experiments" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def workflow(tmp_path: Path, scale: str, *names: str, **more) -> plan.Workflow:
    data = {name: "/sets/" + name for name in SETS} if scale != "smoke" else {}
    return plan.Workflow(tmp_path, scale, dict.fromkeys(names, [123]), **{"data": data, **more})


def test_table_1_has_four_models_on_three_sets_and_on_overlapping_clips_and_others_share_its_runs():
    models = ("one_tier", "wavenet", "two_tier", "three_tier")
    sets = ("blizzard", "onomatopoeia", "music", "music_overlap")
    names = {f"table1/{s}/{m}" for s in sets for m in models}
    assert {name for name in EXPERIMENTS if name.startswith("table1/")} == names
    for name in names:
        assert (EXPERIMENTS[name].data, EXPERIMENTS[name].family) == tuple(name.split("/")[1:])
        assert EXPERIMENTS[name].run == name and list(EXPERIMENTS[name].splits) == ["test"]
    shared = {"table3/512": "table1/blizzard/three_tier", "table4/two_tier": "table1/blizzard/two_tier"}
    assert {name: e.run for name, e in EXPERIMENTS.items() if e.run != name} == shared


def test_at_the_papers_scale_the_models_are_the_authors():
    three = preset("three_tier", "best", dict(EXPERIMENTS["table1/music/three_tier"].flags))
    assert (three.dim, three.batch_size, three.seq_len) == (1024, 128, 512)
    assert (three.big_frame_size, three.frame_size) == (8, 2)
    two = preset("two_tier", "best", dict(EXPERIMENTS["table1/music/two_tier"].flags))
    assert (two.dim, two.batch_size, two.n_frames, two.frame_size, two.n_rnn) == (1024, 128, 64, 16, 3)
    rates = {n: e.flags["learning_rate"] for n, e in EXPERIMENTS.items() if e.family == "wavenet"}
    assert rates.pop("table1/blizzard/wavenet") == 0.001 and set(rates.values()) == {0.0001}


THREE_DAYS = 20 * 7250
"""Updates of the 3-tier model in about 20 epochs of Music, of 29 batches x 250 subsequences."""


def test_at_the_papers_scale_budgets_are_the_updates_of_the_authors_three_days():
    planned = scales.schedules("paper")
    assert planned["table1/music/two_tier"].max_iters == 20 * 3625  # batches x 125 subsequences of 1,024
    for name, schedule in planned.items():
        family = EXPERIMENTS[name].family
        hp = preset(
            family, "best", {k: v for k, v in EXPERIMENTS[name].flags.items() if k != "learning_rate"}
        )
        sound = schedule.max_iters * hp.batch_size * hp.seq_len
        assert sound == THREE_DAYS * 128 * 512, name
        assert schedule.max_minutes == 60 * (60 if family == "wavenet" else 72)
    assert planned["table1/blizzard/three_tier"].max_iters / 18_000 == pytest.approx(8, rel=0.01)  # epochs


def test_only_wavenet_on_blizzard_has_two_learning_rates():
    paper, study = scales.schedules("paper"), scales.schedules("study")
    two = {name: s for name, s in paper.items() if s.later_rate is not None}
    assert two.keys() == {"table1/blizzard/wavenet"} and not any(s.later_rate for s in study.values())
    (schedule,) = two.values()
    assert (schedule.learning_rate, schedule.later_rate) == (0.001, 0.0001)
    assert schedule.later_from / schedule.max_iters == pytest.approx(3 / 7, rel=0.001)  # days of a week


def test_every_experiment_says_whose_it_is():
    ours = {name for name, experiment in EXPERIMENTS.items() if experiment.mark}
    assert ours == {
        *select_experiments(["table1/*/one_tier", "*/wavenet"], EXPERIMENTS),
        *(name for name, experiment in EXPERIMENTS.items() if not experiment.data.startswith("music")),
    }  # all but SampleRNN on Music, whose updates are an author's
    for name, experiment in EXPERIMENTS.items():
        assert experiment.basis.startswith("ours: " if name in ours else ("paper: ", "release: ")), name
        assert experiment.marked_title == experiment.title + " †" * (name in ours)
        assert "number of updates" in experiment.basis or name not in ours, name
        is_rnn = experiment.family in ("one_tier", "rnn_gmm")
        assert ("the RNN's hyper-parameters" in experiment.basis) == is_rnn, name


LIMITED = ("--max-iters", "--max-epochs", "--max-minutes")


@pytest.mark.parametrize(
    ("scale", "given", "limits"),
    [
        ("paper", {}, {"--max-iters": "72500", "--max-minutes": "4320"}),
        ("paper", {"max_iters": 9}, {"--max-iters": "9", "--max-minutes": "4320"}),
        ("paper", {"max_minutes": 9.5}, {"--max-iters": "72500", "--max-minutes": "9.5"}),
        ("laptop", {"max_epochs": 2}, {"--max-minutes": "3", "--max-epochs": "2"}),
        ("smoke", {}, {"--max-iters": "20"}),
        ("study", {}, {"--max-iters": "54000"}),
    ],
)
def test_a_limit_takes_the_place_of_the_scales_of_its_kind(tmp_path, scale, given, limits):
    w = workflow(tmp_path, scale, "table1/music/two_tier", **given)
    command = plan.command(w, "train", "table1/music/two_tier", 123)
    assert {word: command[command.index(word) + 1] for word in LIMITED if word in command} == limits


@pytest.mark.parametrize(
    ("given", "later", "line"),
    [
        ({}, "318000", ""),
        ({"max_iters": 7000}, "2998", "after 2,998 of 7,000 iterations, the scale's 318,000 of 742,400."),
        ({"max_epochs": 2}, "318000", "318,000 of 742,400; --max-epochs may end it before."),
    ],
)
def test_a_second_learning_rate_begins_at_the_same_part_of_other_iterations(tmp_path, given, later, line):
    w = workflow(tmp_path, "paper", "table1/blizzard/wavenet", **given)
    command = plan.command(w, "train", "table1/blizzard/wavenet", 123)
    assert command[command.index("--later-from") + 1] == later
    lines = plan.later_rates(w)
    assert len(lines) == bool(line) and all(own.endswith(line) for own in lines)
    assert "\n".join(lines) in announcement(w, here=False)
    assert not plan.later_rates(workflow(tmp_path, "paper", "table1/music/wavenet", **given))


def test_overlapping_clips_are_made_of_the_same_recordings(tmp_path):
    """Of the downloads of Music, if it is made here, or of what is given."""

    def made(**given) -> tuple[list[str], str]:
        w = workflow(tmp_path, "paper", "table1/music_overlap/two_tier", **{"data": {}} | given)
        sets = [unit for step, unit, _ in plan.steps(w) if step == "data"]
        return sets, shlex.join(plan.command(w, "data", "music_overlap"))

    def expected(source: str) -> str:
        out = f"--out {tmp_path}/data/music_overlap"
        return f"samplernn data music {out} {source}--stride 1 --legacy-count"

    downloads = f"--source {tmp_path}/data/music/original "
    assert made() == (["music", "music_overlap"], expected(downloads))
    assert made(recordings={"music": "/r"}) == (["music_overlap"], expected("--source /r "))
    both = {"music": "/r", "music_overlap": "/o"}
    assert made(recordings=both) == (["music_overlap"], expected("--source /o "))
    assert made(data={"music": "/prepared"}) == (["music_overlap"], expected(""))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_a_model_with_valid_commands(tmp_path, name, scale):
    experiment, how = EXPERIMENTS[name], SCALES[scale]
    scheduled = {own.name for own in fields(Schedule)}
    flags = {k: v for k, v in scales.flags(how, experiment).items() if k not in scheduled}
    hp = preset(experiment.family, how.preset, flags)
    assert isinstance(hp, FAMILIES[experiment.family])
    if name.startswith("table3/"):
        assert hp.seq_len == int(name.removeprefix("table3/"))

    w = workflow(tmp_path, scale, name)
    for command in filter(None, (plan.command(w, *step) for step in plan.steps(w))):
        assert command[0] == "samplernn"
        PARSER.parse_args(command[1:])


@pytest.mark.parametrize("scale", SCALES)
def test_the_commands_of_the_listening_tests_can_be_read(tmp_path, scale):
    for name, test in read_listening_tests().items():
        w = workflow(tmp_path, scale, name)
        command = plan.command(w, "listening", name)
        a = PARSER.parse_args(command[1:])
        assert a.leave_out_noise == (name == "listening/music" and scale != "smoke")
        generate = plan.command(w, "generate", test.systems[0], 123)
        assert a.clips == int(generate[generate.index("--n_seqs") + 1])  # all that there are
        assert scale != "paper" or a.clips == 200
        assert sum("=" in word and not word.startswith("--") for word in command) == len(test.systems)


def test_a_command_is_what_a_person_would_type():
    w = plan.Workflow(Path("/out"), "laptop", {"table3/64": [124]}, data={"blizzard": "/b"}, max_minutes=1.5)
    assert shlex.join(plan.command(w, "train", "table3/64", 124)) == (
        "samplernn train three_tier --preset demo --seq_len 64 --big_frame_size 8 --frame_size 2 "
        "--monitor-minutes 1.5 --n_seqs 0 --max-minutes 1.5 --seed 124 --data /b "
        "--run /out/runs/table3/64/seed124 --resume --max-time 22.5m --threads 1"
    )


@pytest.mark.parametrize("table", ["table1/blizzard", "table1/music", "table3", "table4"])
def test_the_models_of_a_study_can_be_compared_after_equal_updates(tmp_path, table):
    trained = {EXPERIMENTS[name].run for name in select_experiments([table], EXPERIMENTS)}
    w = workflow(tmp_path, "study", *trained)
    runs = [PARSER.parse_args(plan.command(w, "train", name, 123)[1:]) for name in trained]
    fewest = min(run.max_iters for run in runs)
    assert fewest >= 6000 and all(fewest % run.monitor_iters == 0 for run in runs)
    assert all(run.max_minutes is None and fewest / run.keep < run.monitor_iters for run in runs)


def test_a_study_is_one_command(tmp_path):
    """The script with a Python that only writes down what it is asked to do."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nshift 2\necho "$@" >> "$0.said"\ncase "$*" in *table3*) exit 1; esac\n')
    python.chmod(0o755)
    script = Path(__file__).parents[2] / "reproduce" / "study.sh"
    done = subprocess.run([script, "out"], cwd=tmp_path, env={**os.environ, "PYTHON": str(python)})
    assert done.returncode == 1  # of the last part, which failed
    said = [line.split() for line in Path(f"{python}.said").read_text().splitlines()]
    assert [words[:2] for words in said[:2]] == [["data", "demo"], ["data", "speech"]]
    assert [words[1:3] for words in said[2:]] == [
        *(["table1/blizzard", "--data"], ["table1/music", "--data"]),
        *[["table1/blizzard", "table1/music"]] * 2,
        ["table3", "table4"],
    ]
    seeds = [words[words.index("--seeds") + 1] for words in said if "--seeds" in words]
    assert seeds == ["2", "3"] and all(
        words[-2:] == ["--cores", "1"] for words in said[2:] if "--scale" in words
    )


def test_sets_that_cannot_be_downloaded_need_recordings(tmp_path):
    w = workflow(tmp_path, "laptop", "table1/blizzard/one_tier", data={})
    with pytest.raises(ReproductionError, match="--recordings blizzard=FOLDER"):
        plan.command(w, "data", "blizzard")
    assert shlex.join(plan.command(w, "data", "music")) == f"samplernn data music --out {tmp_path}/data/music"
    w = workflow(tmp_path, "laptop", "table1/blizzard/one_tier", data={}, recordings={"blizzard": "/r"})
    assert plan.command(w, "data", "blizzard")[-2:] == ["--source", "/r"]


def test_a_listening_test_trains_what_it_compares(tmp_path):
    names = [f"table1/music/{family}" for family in ("one_tier", "two_tier", "three_tier")]
    trained = plan.trained(workflow(tmp_path, "smoke", "listening/music", "table3/512"))
    assert trained == [(name, 123) for name in (*names, "table1/blizzard/three_tier")]


def test_a_workflow_can_be_read_again(tmp_path):
    w = workflow(tmp_path, "smoke", "table3/32", about={"music": "mine"}, max_minutes=2.0, max_iters=9)
    path = plan.save(w)
    assert plan.load(tmp_path) == w
    old = {name: value for name, value in json.loads(path.read_text()).items() if name[:5] != "max_i"}
    path.write_text(json.dumps({name: value for name, value in old.items() if name != "max_epochs"}))
    assert plan.load(tmp_path) == replace(w, max_iters=None)  # of an earlier version
    with pytest.raises(ReproductionError, match="holds no workflow"):
        plan.load(tmp_path / "elsewhere")
    (tmp_path / plan.WORKFLOW).write_text("{")
    with pytest.raises(ReproductionError, match="is damaged"):
        plan.load(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["table3"], ["table3/128", "table3/256", "table3/32", "table3/512", "table3/64"]),
        (["table1/music/three*", "table3/32/"], ["table1/music/three_tier", "table3/32"]),
        (["table1/*/wavenet"], [n for n in EXPERIMENTS if n.startswith("table1") and n.endswith("wavenet")]),
        (["all"], list(EXPERIMENTS)),
    ],
)
def test_experiments_are_selected_by_patterns(patterns, chosen):
    assert select_experiments(patterns, EXPERIMENTS) == chosen


def test_a_name_that_is_not_there_gets_a_hint():
    with pytest.raises(ReproductionError, match=r"musik/two_tier; did you mean table1/music/two_tier\?"):
        select_experiments(["table1/musik/two_tier"], EXPERIMENTS)
    with pytest.raises(ReproductionError, match="no experiment zzz; .*--list"):
        select_experiments(["zzz"], EXPERIMENTS)


def test_an_experiment_overrides_its_base(tmp_path):
    base = 'title = "B"\nfamily = "two_tier"\ndata = "music"\nsplits = ["test"]\nbasis = "paper: all"\n'
    base += "[flags]\ndim = 8\n"
    write(tmp_path, "a/b", base)
    write(tmp_path, "a/c", 'base = "a/b"\ntitle = "C"\n')
    write(tmp_path, "a/d", 'base = "a/c"\n[flags]\nemb_size = 0\n')
    found = read_experiments(tmp_path)
    assert found["a/c"].run == "a/b" and found["a/c"].title == "C" and found["a/c"].basis == "paper: all"
    assert found["a/d"].run == "a/d" and found["a/d"].flags == {"dim": 8, "emb_size": 0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('family = "two_tier"', "The experiment a lacks title."),
        ("title = ", "is not TOML"),
        ('colour = "red"', "unknown key colour; known are base, basis, data"),
        ('base = "b"', "The base b of the experiment a does not exist."),
        ('base = "a"', "The base a of the experiment a is itself based on a."),
        ('title = "A"\nfamily = "x"\ndata = "music"\nsplits = []', "lacks basis"),
        ('title = "A"\nfamily = "x"\ndata = "music"\nsplits = []\nbasis = "paper: x"', "unknown family x"),
        (
            'title = "A"\nfamily = "wavenet"\ndata = "x"\nsplits = []\nbasis = "paper: x"',
            "unknown data set x",
        ),
        (
            'title = "A"\nfamily = "wavenet"\ndata = "music"\nsplits = []\nbasis = "ours"',
            'has the basis "ours", not "paper: WHAT",',
        ),
        (
            'title = "A"\nfamily = "wavenet"\ndata = "music"\nsplits = []\nbasis = "ours: x"\n'
            "[flags]\nemb_size = 0",
            "flag emb_size, which wavenet does not have",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, sentence):
    write(tmp_path, "a", text)
    with pytest.raises(ReproductionError, match=sentence):
        read_experiments(tmp_path)


def test_scales_have_the_last_word(tmp_path):
    experiment = EXPERIMENTS["table1/music/wavenet"]
    assert experiment.flags["learning_rate"] == 0.0001
    assert scales.flags(SCALES["laptop"], experiment) == {"learning_rate": 0.001}
    with pytest.raises(ReproductionError, match="no scale huge; there are laptop, paper, smoke, study"):
        scales.read("huge")
    (tmp_path / "scales").mkdir()
    (tmp_path / "scales" / "a.toml").write_text('preset = "tiny"\n')
    with pytest.raises(ReproductionError, match="a.toml is incomplete"):
        scales.read("a", tmp_path)
