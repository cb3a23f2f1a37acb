"""The workflow as a person runs it: `samplernn reproduce`, what it leaves, what happens when it is killed."""

import json
import math
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.cli.main import main
from samplernn_theano.errors import OutputError, ReproductionError
from samplernn_theano.reproduction import plan, run_step, workflow
from samplernn_theano.utils.files import locked
from tests.conftest import started, wait_until

ROOT = Path(__file__).parents[2]


def reproduce(*words) -> tuple[int, str, str]:
    """The exit code, output and errors of `samplernn reproduce` in a process of its own."""
    process = started("reproduce", *words, cwd=ROOT)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture
def said(capsys):
    """The exit code, output and error messages of `samplernn reproduce` in this process."""

    def run(*words) -> tuple[int, str, str]:
        try:
            code = main(["reproduce", *map(str, words)])
        except SystemExit as end:  # of argparse
            code = end.code
        return code, *capsys.readouterr()

    return run


def record(out: Path, experiment: str, step: str) -> dict:
    return json.loads((out / "steps" / experiment / "seed123" / f"{step}.json").read_text())


def test_the_list_has_experiments_and_published_numbers(said):
    lines = {line.split()[0]: line for line in said("--list")[1].splitlines()}
    assert "test 1.159" in lines["table1/music/three_tier"]
    assert "test 1.392" in lines["table4/two_tier"] and "valid 1.369" in lines["table4/two_tier"]
    assert "4 systems" in lines["listening/blizzard"]
    assert "†" not in lines["table1/music/three_tier"] and "test 1.41 ‡† " in lines["table1/music/one_tier"]
    assert {name for name, line in lines.items() if "‡" in line and name != "‡"} == {
        name for name in lines if name.startswith("table1/music")
    }
    assert lines["‡"].endswith("which clips of Music it is of, overlapping or not, is not known")
    assert "release: its best command" in lines["table1/music/three_tier"] and "†" in lines  # its meaning


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name an experiment"),
        (["table1/musik"], "did you mean table1/music?"),
        (["zzz"], "There is no experiment zzz; samplernn reproduce --list"),
        (["table3/32", "--scale", "huge"], "There is no scale huge"),
        (["table3/32"], "The set blizzard cannot be downloaded"),
        (["all", "table3/32"], "The set blizzard cannot be downloaded"),
        (["table3/32", "--data", "blizzard=/nowhere"], "--data blizzard: there is no folder /nowhere"),
        (["table1/music", "--recordings", "music=/nowhere"], "--recordings music: there is no folder"),
        (["table1/music", "--data", "blizzard=/tmp"], "uses the set blizzard; they use music"),
        (["table3/32", "--data", "speech=/tmp"], "is not SET=..., with one of the sets blizzard"),
        (["table3/32", "--scale", "smoke", "--profile", "mine"], "There is no profile mine"),
        (["--report", "--out", "/nowhere"], "/nowhere holds no workflow"),
    ],
)
def test_errors_are_one_sentence(tmp_path, said, words, sentence):
    code, _, message = said(*words, *([] if "--out" in words else ["--out", tmp_path / "out"]))
    assert code == 2 and sentence in message and message.count("\n") == 1, message
    assert not (tmp_path / "out").exists()


def test_the_profile_for_slurm_says_what_it_needs(tmp_path, said, monkeypatch):
    find_spec = workflow.importlib.util.find_spec
    monkeypatch.setattr(
        workflow.importlib.util, "find_spec", lambda n: None if "slurm" in n else find_spec(n)
    )
    words = ("table3/32", "--scale", "smoke", "--profile", "slurm", "--out", tmp_path / "out")
    code, _, message = said(*words)
    assert code == 2 and "pip install snakemake-executor-plugin-slurm" in message and message.count("\n") == 1


def test_a_dry_run_prints_commands_and_makes_nothing(tmp_path, said):
    code, printed, _ = said("table1/music", "--scale", "smoke", "--out", tmp_path / "out", "--dry-run")
    lines = printed.splitlines()
    assert code == 0 and not (tmp_path / "out").exists()
    assert len(lines) == 2 + 4 * 3  # two sets, then train, evaluate, generate
    assert lines[0].startswith("samplernn data demo") and lines[1].startswith("samplernn prepare")
    assert lines[2].startswith("samplernn train one_tier --preset tiny --max-iters 20")


def test_all_is_what_can_be_had_and_the_rest_is_listed_with_a_remedy(tmp_path, said, monkeypatch):
    words = ("all", "--out", tmp_path / "out", "--dry-run")
    code, printed, _ = said(*words)
    left_out = [line for line in printed.splitlines() if line.startswith("# Left out: ")]
    assert code == 0 and len(left_out) == 3 and not (tmp_path / "out").exists()
    (blizzard,) = (line for line in left_out if " table3/32," in line and " listening/blizzard." in line)
    assert "The set blizzard cannot be downloaded: give --recordings blizzard=FOLDER" in blizzard
    commands = [line.split() for line in printed.splitlines() if not line.startswith("#")]
    trained = {words[words.index("--data") + 1] for words in commands if words[1] == "train"}
    assert trained == {f"{tmp_path}/out/data/{name}" for name in ("music", "music_overlap")}
    assert commands[-1][:2] == ["samplernn", "listening-test"]
    assert "# Left out" not in said(*words, "--scale", "smoke")[1]

    monkeypatch.setattr(plan, "find_spec", lambda name: None)  # no extra is installed
    code, _, message = said(*words)
    assert code == 2 and "No experiment can be had here. " in message
    assert 'which is not installed: pip install "samplernn-theano[datasets]", or give --rec' in message
    code, printed, _ = said(*words, "--data", f"music={tmp_path}")
    assert code == 0 and "table1/music_overlap/one_tier" in printed and "[datasets]" in printed
    lacking = said("information_retention", *words[1:], "--data", f"huckleberry={tmp_path}")
    assert lacking[0] == 2 and 'pip install "samplernn-theano[reproduce]"' in lacking[2]


def test_all_succeeds_if_what_can_be_had_does(tmp_path, said, monkeypatch):
    monkeypatch.setattr(workflow, "_snakemake", lambda *_: 0)
    code, printed, _ = said("all", "--out", tmp_path / "out")
    assert code == 0 and printed.count("Left out: ") == 3
    assert all(name.split("/")[1].startswith("music") for name in plan.load(tmp_path / "out").experiments)


def test_other_settings_want_another_folder(tmp_path, said):
    plan.save(plan.Workflow(tmp_path, "smoke", {"table3/32": [123]}, data={"music": "/a"}))
    for words, sentence in {
        ("--scale", "laptop"): "of the scale smoke, not laptop",
        ("--scale", "smoke", "--max-minutes", "1"): "with --max-minutes none, not 1",
        ("--scale", "smoke", "--max-iters", "9"): "with --max-iters none, not 9",
        ("--scale", "smoke", "--data", f"music={tmp_path}"): "with --data music=/a",
    }.items():
        code, _, message = said("table1/music", "--out", tmp_path, *words, "--dry-run")
        assert code == 2 and sentence in message


def test_two_workflows_do_not_use_one_folder(tmp_path):
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="Another process works in"):
        workflow.run(plan.Workflow(tmp_path / "out", "smoke", {"table3/32": [123]}), cores=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 5},
        {"cells": ["table3/32"]},
        {"cells": {"table3/32": 5}},
        {"cells": {"table3/32": ["a"]}},
        {"data": 5},
        {"data": {"music": 5}},
        {"recordings": [1]},
        {"about": 5},
        {"before": {"table3/32": 5}},
        {"max_minutes": "x"},
        {"max_minutes": math.nan},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_workflow_with_values_of_other_types_is_damaged(tmp_path, wrong):
    path = plan.save(plan.Workflow(tmp_path, "smoke", {"table3/32": [123]}, max_minutes=5))
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | wrong))
    with pytest.raises(ReproductionError, match="workflow.json is damaged .*; delete it and run"):
        plan.load(tmp_path)


@pytest.mark.parametrize(
    "record", ["[" * 10**5, "[1]", '{"status": "done", "seconds": "x"}', '{"seconds": NaN}']
)
def test_a_damaged_record_of_another_step_costs_only_an_estimate(tmp_path, record):
    mine = plan.Workflow(out=tmp_path, scale="smoke", experiments={"table3/32": [123]})
    path = plan.record_path(tmp_path, "train", "table3/32", 123)
    path.parent.mkdir(parents=True)
    path.write_text(record)
    path.with_suffix(".done").touch()
    assert run_step._progress(mine, None).startswith(" [1 of ")


def test_only_what_is_named_is_done_and_all_that_was_ever_named_is_known(tmp_path):
    first = workflow.join(plan.Workflow(tmp_path, "smoke", {"table3/32": [123], "table3/64": [123]}))
    plan.save(first)
    second = plan.Workflow(tmp_path, "smoke", {"table3/64": [123, 124]}, about={"music": "mine"})
    second = workflow.join(second)
    assert plan.trained(second) == [("table3/64", 123), ("table3/64", 124)]
    assert second.before == {"table3/32": [123], "table3/64": [123, 124]}
    assert second.about == {"music": "mine"}


def test_a_step_that_fails_leaves_its_sentence(tmp_path, capsys):
    plan.save(plan.Workflow(out=tmp_path, scale="smoke", experiments={"table3/32": [123]}))
    assert run_step.run(tmp_path, "evaluate", "table3/32", 123) == 2
    found = record(tmp_path, "table3/32", "evaluate")
    assert found["status"] == "failed" and found["exit_code"] == 2
    assert "There is no" in found["message"] and "runs/table3/32/seed123" in found["message"]
    assert found["command"][:2] == ["samplernn", "evaluate"] and found["machine"]["cores"] >= 1
    assert "evaluate  table3/32 seed 123: failed" in capsys.readouterr().out
    log = tmp_path / "steps/table3/32/seed123/evaluate.log"
    assert log.read_text().startswith("$ samplernn evaluate ")

    written = log.read_text()  # another attempt would fail again
    assert run_step.run(tmp_path, "evaluate", "table3/32", 123, attempt=2) == 2 and log.read_text() == written
    assert run_step.run(tmp_path, "evaluate", "table3/32", 123) == 2 and log.read_text() != written


def test_the_energy_is_what_the_meters_counted_if_they_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(run_step, "METERS", tmp_path)
    assert run_step._energy() is None
    for package, joules in enumerate((2, 3)):
        (tmp_path / f"intel-rapl:{package}").mkdir()
        (tmp_path / f"intel-rapl:{package}" / "energy_uj").write_text(f"{joules}000000\n")
    assert run_step._energy() == 5.0

    plan.save(plan.Workflow(tmp_path, "smoke", {"table3/32": [123]}))
    monkeypatch.setattr(run_step, "_energy", iter([5.0, 9.0]).__next__)
    monkeypatch.setattr(run_step, "call", lambda *_: (2, "no such run"))
    run_step.run(tmp_path, "evaluate", "table3/32", 123)
    assert record(tmp_path, "table3/32", "evaluate")["energy_joules"] == 4


def test_the_missing_steps_are_announced(tmp_path, monkeypatch):
    monkeypatch.setattr(run_step, "gpus", lambda: [])
    asked = plan.Workflow(tmp_path, "paper", {"table1/music/three_tier": [123, 124]})
    said = workflow.announcement(asked, here=True)
    assert said.startswith(f"7 steps to do in {tmp_path}, 2 trainings among them.") and "No GPU" in said
    assert "No GPU" not in workflow.announcement(asked, here=False)


def test_a_scale_that_keeps_checkpoints_scores_them(tmp_path):
    study = plan.Workflow(tmp_path, "study", {"table1/music/two_tier": [123]}, data={"music": "/x"})
    of_run = [step for step, unit, _ in plan.steps(study) if unit == "table1/music/two_tier"]
    assert of_run == ["train", "evaluate", "checkpoints", "generate"]
    command = plan.command(study, "checkpoints", "table1/music/two_tier", 123)
    assert command[:2] == ["samplernn", "evaluate"] and "--kept" in command
    assert command[command.index("--json") + 1].endswith("seed123/checkpoint_scores.json")
    smoke = plan.Workflow(tmp_path, "smoke", {"table1/music/two_tier": [123]})
    assert "checkpoints" not in [step for step, *_ in plan.steps(smoke)]


def test_results_of_an_earlier_version_are_completed_without_training_again(
    tmp_path, small_data, monkeypatch
):
    old = plan.Workflow(tmp_path, "smoke", {"table3/32": [123]}, data={"blizzard": str(small_data)})
    for step, unit, seed in plan.steps(old):
        path = plan.record_path(tmp_path, step, unit, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"status": "done", "result": {"test": {"score": 2.0, "clips": 4}}}))
        path.with_suffix(".done").touch()
    assert [step for step, *_ in plan.missing(old)] == ["evaluate"]
    monkeypatch.setattr(workflow, "_snakemake", lambda *_: 0)
    workflow.run(old, cores=1)
    left = {path.stem for path in (tmp_path / "steps/table3/32/seed123").glob("*.done")}
    assert left == {"train", "generate"} and (tmp_path / "steps/data/blizzard.done").exists()
    found = json.loads((tmp_path / "steps/data/blizzard.json").read_text())["result"]
    assert 0 < found["baselines"]["linear"] < found["baselines"]["unigram"] <= 8.01
    assert found["shared"] is None  # the set does not tell its recordings


@pytest.mark.parametrize(
    "first, expected", [("train,0", {"valid": 3, "test": 0}), ("train,x", None)], ids=str
)
def test_the_record_of_a_set_counts_clips_of_recordings_that_train_holds_too(
    tmp_path, small_data, first, expected
):
    """A damaged table of clips, which costs no result, tells nothing."""
    shutil.copytree(small_data, tmp_path / "set")
    rows = [f"train,{i},{i}.wav" for i in range(8)] + [f"valid,{i},{max(i, 2)}.wav" for i in (0, 1, 2)]
    rows += ["valid,3,v.wav", *(f"test,{i},t.wav" for i in range(4))]
    table = "\n".join(["split,clip,recording", *rows]).replace("train,0", first)
    (tmp_path / "set" / "clips.csv").write_text(table)
    out = tmp_path / "out"
    of = plan.Workflow(out, "smoke", {"table3/32": [123]}, data={"blizzard": str(tmp_path / "set")})
    path = plan.record_path(out, "data", "blizzard", None)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"status": "done", "result": {}}))
    run_step.complete_data_records(of)
    assert json.loads(path.read_text())["result"]["shared"] == expected


def test_a_finished_workflow_whose_data_were_deleted_still_reports(tmp_path, monkeypatch):
    old = plan.Workflow(tmp_path, "smoke", {"table3/32": [123]}, data={"blizzard": str(tmp_path / "gone")})
    path = plan.record_path(tmp_path, "data", "blizzard", None)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"status": "done", "result": {"folder": "gone"}}))
    monkeypatch.setattr(workflow, "_snakemake", lambda *_: 0)
    assert workflow.run(old, cores=1) == 0 and (tmp_path / "report/index.html").exists()
    assert json.loads(path.read_text()) == {"status": "done", "result": {"folder": "gone"}}


def test_a_killed_workflow_resumes_and_a_failed_experiment_does_not_stop_the_others(tmp_path, small_data):
    out, bad = tmp_path / "an out é{x}'y", tmp_path / "bad"
    bad.mkdir()
    for split in ("train", "valid", "test"):
        np.save(bad / f"bad_{split}.npy", np.full((8, 16000), np.nan, np.float16))
    words = ["table1/music/one_tier", "table3/512", "--scale", "smoke", "--out", out]
    words += ["--data", f"music={small_data}", "--data", f"blizzard={bad}", "--cores", "1"]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    killed = started("reproduce", *words, cwd=ROOT, **quiet)
    wait_until((out / "steps/table1/music/one_tier/seed123/train.json").exists, killed)
    began = json.loads((out / "steps/data/music.json").read_text())["started"]
    killed.kill()
    killed.wait()
    code, _, err = reproduce(*words)  # Snakemake and the training are still at work
    assert code == 2 and "Another process works in" in err, err
    for group in groups_of(out):
        os.killpg(group, signal.SIGKILL)
    assert not (out / "steps/table1/music/one_tier/seed123/train.done").exists()

    code, said, err = reproduce(*words)
    assert code == 1, said + err
    assert json.loads((out / "steps/data/music.json").read_text())["started"] == began  # not done again
    assert record(out, "table1/music/one_tier", "generate")["status"] == "done"
    scored = record(out, "table1/music/one_tier", "evaluate")["result"]
    assert scored["test"]["clips"] >= 4 and 7 < scored["test"]["score"] < 9
    failed = json.loads((out / "steps/data/blizzard.json").read_text())
    assert failed["status"] == "failed" and "NaN" in failed["message"]
    page = (out / "report" / "index.html").read_text()
    assert "NaN" in page and f"{scored['test']['score']:.3f}" in page

    code, said, err = reproduce(
        words[0], *words[2:8]
    )  # the experiment that is done, without the one that failed
    assert code == 0 and "0 steps to do" in said, said + err
    assert f"{scored['test']['score']:.3f}" in (out / "report" / "report.md").read_text()


def test_a_terminated_workflow_lets_the_training_save(tmp_path, small_data):
    out = tmp_path / "out"
    words = ["table1/music/one_tier", "--scale", "smoke", "--max-iters", "1000000", "--out", out]
    words += ["--data", f"music={small_data}"]
    log = out / "runs/table1/music/one_tier/seed123/log.jsonl"
    with started("reproduce", *words, cwd=ROOT, stderr=None) as process:
        wait_until(lambda: log.exists() and '"train"' in log.read_text(), process)
        process.terminate()
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 143, said
    assert "Interrupted; run the same command again to resume." in said
    assert record(out, "table1/music/one_tier", "train")["status"] == "interrupted"
    assert (log.parent / "checkpoints" / "last.npz").is_file() and '"stopped"' in log.read_text()


def groups_of(out: Path) -> set[int]:
    """The process groups of all processes that have `out` on their command line."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(out).encode() in path.read_bytes():
                found.add(os.getpgid(int(path.parent.name)))
        except OSError:  # ended meanwhile
            continue
    return found - {os.getpgid(0)}
