"""Status of runs, ours and the original's, at any moment."""

import fcntl
import json
import math
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, show, status
from samplernn_theano.checkpoints.npz import Checkpoint
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.cli.main import main
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.utils.files import locked
from tests.conftest import GOLDEN

HP = PRESETS["one_tier"]["tiny"]


def train(iteration: int, seconds: float, nll: float, epoch: int = 0) -> dict:
    return {"event": "train", "iteration": iteration, "epoch": epoch, "seconds": seconds, "nll_bits": nll}


def evaluation(iteration: int, seconds: float, valid: float, test=None, epoch: int = 0) -> dict:
    costs = {"train": valid + 0.5, "valid": valid, "test": test}
    return {"event": "monitor", "iteration": iteration, "epoch": epoch, "seconds": seconds, **costs}


START = {"event": "start", "parameters": 20992, "backend": "jax", "iteration": 0}
FIRST = [train(100, 10.0, 5.0), evaluation(100, 10.0, 4.5, 4.25)]
SECOND = [train(200, 20.0, 4.0), evaluation(200, 20.0, 4.125, 4.0625)]
THIRD = [train(300, 30.0, 3.5, epoch=1), evaluation(300, 30.0, 4.25, epoch=1)]
RECORDS = [START, *FIRST, *SECOND, *THIRD, {"event": "end", "iteration": 300, "seconds": 30.0}]


def run_folder(folder: Path, records=RECORDS, hp=HP, saved: dict | None = None, **settings) -> Path:
    """The folder of a run with this log, and with a last checkpoint where `saved` is its progress."""
    schedule = asdict(Schedule(max_iters=400, learning_rate=0.001))
    settings = {"data": "/sets/music", "seed": 123, "backend": "jax", "schedule": schedule} | settings
    settings |= {"family": hp.family, "hyperparameters": asdict(hp)}
    run = Run(folder)
    folder.mkdir(parents=True)
    run.settings.write_text(json.dumps(settings))
    run.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    if saved is not None:
        arrays = {"SampleLevel.h0": np.zeros((1, 32), np.float32)}
        npz.save(run.last, Checkpoint(hp, arrays, progress=saved, settings=settings))
    return folder


def values(*folders: Path) -> dict[str, list[str]]:
    """The table of runs: label -> value for each of them."""
    text = show.describe([status.read(folder) for folder in folders])
    rows = [re.split(" {2,}", line.strip()) for line in text.split("\n\n")[len(folders) > 1].splitlines()]
    return {label: of_runs for label, *of_runs in rows}


def curve(*folders: Path) -> list[str]:
    """The lines of the plot."""
    text = show.describe([status.read(folder) for folder in folders])
    return text[text.rindex("\n\n") + 2 :].splitlines()


def test_a_run_that_ended(tmp_path):
    shown = values(run_folder(tmp_path / "a", saved={"iteration": 300, "batches_per_epoch": 250}))
    expected = (
        f"run={tmp_path / 'a'}|model=one_tier|hyper-parameters=preset tiny|data=/sets/music|"
        "learning rate=0.001|seed=123|backend=jax|parameters=20,992|state=ended|iteration=300|epoch=1|"
        "training=30.0 s|speed=10.00 it/s|schedule=75 %|last valid=4.2500|best valid=4.1250|"
        "test at best=4.0625|best iteration=200|checkpoint=iteration 300"
    )
    assert [f"{name}={value}" for name, (value,) in shown.items()] == expected.split("|")


def test_hyperparameters_next_to_the_nearest_preset_without_statistics_of_the_data(tmp_path):
    hp = preset("one_tier", "small", {"n_rnn": 2, "rnn_type": "LSTM"})
    shown = values(run_folder(tmp_path / "a", hp=hp, ip_weight=0.5))
    assert shown["hyper-parameters"] == ["preset small, n_rnn 2, rnn_type LSTM"]
    assert shown["ip weight"] == ["0.5"]
    hp = preset("rnn_gmm", "tiny", {"mean": 0.001, "std": 0.25})
    assert values(run_folder(tmp_path / "b", hp=hp))["hyper-parameters"] == ["preset tiny"]


def state(folder: Path) -> str:
    return values(folder)["state"][0]


STOPPED = {"event": "stopped", "iteration": 100, "seconds": 10.0}
STARTED, RESUMED = RECORDS[:3], {"event": "resume", "iteration": 100}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([*STARTED, STOPPED], "stopped by a signal"),
        ([*STARTED, STOPPED | {"why": "SIGTERM"}], "stopped by SIGTERM"),
        (STARTED, "crashed"),
        ([*STARTED, STOPPED, RESUMED | {"backend": "c"}], "crashed"),
        ([], "not started"),
        ([FIRST[1], RESUMED], "converted"),
    ],
)
def test_states(tmp_path, records, expected):
    assert state(run_folder(tmp_path / "a", records)) == expected


def test_a_run_that_is_trained_now_is_not_disturbed(tmp_path):
    """The lock is seen, and given back where nobody holds it; nothing is written."""
    folder = run_folder(tmp_path / "a", RECORDS[:3])

    def unchanged(expected: str) -> None:
        before = sorted((path, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")])
        assert state(folder) == expected
        assert sorted((path, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]) == before

    with locked(folder):
        unchanged("running")
    unchanged("crashed")
    with locked(folder):  # is free again
        pass
    (folder / ".lock").touch()  # a killed process left it
    assert state(folder) == "crashed"
    other = os.open(folder / ".lock", os.O_RDONLY)  # another show at the same moment
    fcntl.flock(other, fcntl.LOCK_SH)
    assert state(folder) == "crashed"
    os.close(other)
    descriptors = len(os.listdir("/dev/fd"))
    for _ in range(3):
        status.read(folder)
    assert len(os.listdir("/dev/fd")) == descriptors


@pytest.mark.parametrize(
    "limits, text",
    [
        ({"max_iters": 400}, "75 %, 10.0 s left"),
        ({"max_epochs": 2}, "60 %, 20.0 s left"),
        ({"max_minutes": 2.0}, "25 %, 1.5 min left"),
        ({"max_iters": 3000, "max_minutes": 1.0}, "50 %, 30.0 s left"),
        ({}, "0 %"),
    ],
)
def test_remaining_time(tmp_path, limits, text):
    saved = {"iteration": 200, "batches_per_epoch": 250}
    schedule = asdict(Schedule(**limits)) | {"not_known_here": 1}
    folder = run_folder(tmp_path / "a", RECORDS[:-1], saved=saved, schedule=schedule)
    with locked(folder):
        assert values(folder)["schedule"] == [text]
    assert values(folder)["schedule"] == [text.split(",")[0]]


def test_the_schedule_of_a_resumed_run_is_that_of_the_checkpoint(tmp_path):
    folder = run_folder(tmp_path / "a", saved={"iteration": 300})
    settings = Run(folder).settings
    settings.write_text(settings.read_text().replace('"max_iters": 400', '"max_iters": 300'))
    assert values(folder)["schedule"] == ["75 %"]


def test_the_speed_is_that_of_the_last_minutes(tmp_path):
    records = [START, train(100, 1000.0, 5.0), train(200, 2000.0, 5.0), train(450, 2250.0, 5.0)]
    assert values(run_folder(tmp_path / "a", records))["speed"] == ["1.00 it/s"]
    assert values(run_folder(tmp_path / "b", records[:2]))["speed"] == ["0.10 it/s"]


def test_the_advice_for_an_interrupted_run(tmp_path):
    def text(name: str, records: list[dict], **options) -> str:
        return show.describe([status.read(run_folder(tmp_path / name, records, **options))])

    resume = f"killed or failed. To resume: samplernn resume '{tmp_path}/a b'\n"
    assert resume in text("a b", RECORDS[:3], saved={"iteration": 1})
    assert "resume" not in text("c", RECORDS[:3])  # no checkpoint
    assert "resume" not in text("d", RECORDS, saved={"iteration": 1})
    assert re.search(r"checkpoint +none", text("e", RECORDS[:3]))


def test_no_log_yet(tmp_path):
    folder = run_folder(tmp_path / "a")
    Run(folder).log.unlink()
    with locked(folder):
        shown = values(folder)
    assert shown["state"] == ["compiling"] and shown["iteration"] == shown["best valid"] == ["-"]
    assert curve(folder) == ["  No costs yet."]


def test_a_last_line_that_is_cut_short_and_a_damaged_checkpoint(tmp_path):
    folder = run_folder(tmp_path / "a", RECORDS[:4])
    whole = show.describe([status.read(folder)])
    with Run(folder).log.open("a") as log:
        log.write(json.dumps(RECORDS[4])[:-5])
    Run(folder).last.parent.mkdir()
    Run(folder).last.write_bytes(b"PK\x03\x04 damaged")
    assert show.describe([status.read(folder)]) == whole


def test_costs_that_are_not_finite(tmp_path):
    records = [*RECORDS[:6], evaluation(250, 25.0, math.nan), train(300, 30.0, math.inf)]
    records += [train(310, 31.0, 1e308), train(320, 32.0, -1e308)]
    folder = run_folder(tmp_path / "a", records)
    shown = values(folder)
    assert shown["last valid"] == ["nan"] and shown["best valid"] == ["4.1250"]
    assert curve(folder) == curve(run_folder(tmp_path / "b", RECORDS[:6]))


def test_the_curve_has_80_columns_and_no_colours(tmp_path):
    lines = curve(run_folder(tmp_path / "a"))
    assert max(map(len, lines)) <= 80 and len(lines) <= show.PLOT_HEIGHT + 1
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "· train   o valid   bits per sample" in lines[0]
    assert lines[-1].split() == ["0", "75", "150", "225", "300"]
    drawn = [line.split("│")[1] for line in lines if line.count("│") == 2 or "┤" in line and "│" in line[8:]]
    assert any("·" in line for line in drawn) and any("o" in line for line in drawn)


def test_runs_side_by_side(tmp_path):
    a = run_folder(tmp_path / "a", saved={"iteration": 300})
    records = [START, evaluation(100, 5.0, 3.0, 2.75)]
    b = run_folder(tmp_path / "b", records, hp=preset("one_tier", "tiny", {"dim": 64}), seed=1)
    shown = values(a, b)
    assert shown["model"] == ["one_tier", "one_tier"]
    assert shown["dim"] == ["32", "64"] and shown["seed"] == ["123", "1"]
    assert shown["best valid"] == ["4.1250", "3.0000"] and shown["speed"] == ["10.00 it/s", "20.00 it/s"]
    assert shown["state"] == ["ended", "crashed"] and shown["checkpoint"] == ["iteration 300", "none"]
    for same in ("q_levels", "data", "learning_rate"):
        assert same not in shown
    text = show.describe([status.read(folder) for folder in (a, b)])
    assert text.startswith(f"a  {a}\nb  {b}\n\n")
    lines = curve(a, b)
    assert sum("a" in line for line in lines[1:]) and sum("b" in line for line in lines[1:])


def test_many_runs_in_tables_of_80_columns(tmp_path):
    folders = [run_folder(tmp_path / str(i), seed=i) for i in range(9)]
    text = show.describe([status.read(folder) for folder in folders])
    tables = text.split("\n\n")[1:-1]
    assert len(tables) > 1 and max(len(line) for table in tables for line in table.splitlines()) <= 80
    assert " ".join(table.splitlines()[0] for table in tables).split() == list("abcdefghi")
    seeds = [line for table in tables for line in table.splitlines() if "seed" in line]
    assert " ".join(seeds).replace("seed", "").split() == list("012345678")


(ORIGINAL,) = (GOLDEN / "checkpoints" / "results_3t").iterdir()


def test_a_run_of_the_originals(tmp_path):
    shown = values(ORIGINAL)
    facts = {"model": "three_tier", "parameters": "11,088", "data": "MUSIC", "state": "original"}
    facts |= {"epoch": "1", "iteration": "97", "training": "2.2 s", "speed": "45.10 it/s"}
    facts |= {"last valid": "4.9334", "best valid": "4.9334", "test at best": "4.8577"}
    facts["checkpoint"] = "iteration 97"
    assert {name: shown[name] for name in facts} == {name: [value] for name, value in facts.items()}
    assert any("o" in line for line in curve(ORIGINAL)[1:])

    (tmp_path / "a" / "params").mkdir(parents=True)  # a bare log
    shutil.copy(ORIGINAL / "train_log.pkl", tmp_path / "a")
    shown = values(tmp_path / "a")
    assert shown["model"] == ["unknown"] and shown["best valid"] == ["4.9334"]
    assert shown["checkpoint"] == ["none"] and shown["parameters"] == ["-"]

    copy = shutil.copytree(ORIGINAL, tmp_path / ORIGINAL.parent.name / ORIGINAL.name)
    (copy / "args.pkl").write_bytes(b"damaged")
    assert values(copy)["model"] == ["three_tier"]


def test_the_command_and_its_picture(tmp_path, capsys):
    folder, picture = run_folder(tmp_path / "a"), tmp_path / "curves.png"
    assert main(["show", str(folder), str(ORIGINAL), "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"a  {folder}\nb  ") and out.endswith(f"Wrote {picture}.\n")
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("name", "content"), [("a", "x"), ("b/c", "x"), *(("a/settings.json", x) for x in "{[")]
)
def test_other_folders_are_refused(tmp_path, capsys, name, content):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert main(["show", str(tmp_path / "a")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and str(tmp_path / "a") in errors
