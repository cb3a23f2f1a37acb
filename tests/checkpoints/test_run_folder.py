"""The folder of a run."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.errors import OutputError


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("left", ["checkpoints/best.npz", "checkpoints/last.npz"])
def test_a_run_is_not_overwritten_by_default(tmp_path, left):
    path = tmp_path / left
    path.parent.mkdir(exist_ok=True)
    path.write_text("old")
    with pytest.raises(OutputError, match=f"{tmp_path} holds a run.*samplernn resume.*--run.*--overwrite"):
        run_folder.create(tmp_path, {})
    assert files(tmp_path) == [left] and path.read_text() == "old"


def test_a_run_that_ended_before_its_first_checkpoint_may_be_started_again(tmp_path):
    settings = {"seed": 1, "hyperparameters": {"dim": 8}, "name": "♪"}
    run = run_folder.create(tmp_path / "a", {"seed": 0})
    run_folder.append(run, "start")
    assert files(run_folder.create(str(tmp_path / "a"), settings).folder) == ["log.jsonl", "settings.json"]
    assert run_folder.read_log(run) == [] and json.loads(run.settings.read_text()) == settings


COSTS = "e0_i2_t0.00_tr5.2051_v5.1320"
WRITTEN = [
    *("args.pkl", "train_log.pkl", "train_log_i20.pkl", "model_settings.txt", "th_conf.txt", ".lock.owner"),
    "index.html",
    *("checkpoints/i10_v5.1320.npz", "checkpoints/i20_v-0.5000.npz", "checkpoints/.last.123.part.npz"),
    *(f"params/params_{COSTS}.pkl", f"params/params_{COSTS}_best.pkl", "tensorboard/events.out.tfevents.1.2"),
    *("samples/sample_i2_0.wav", f"samples/sample_{COSTS}_best_12.wav", "samples/index.html"),
    *(f"samples/a run_best_seed0_t1_{i}.{suffix}" for i, suffix in enumerate(("wav", "flac", "ogg"))),
    *("samples/a run_best_seed0_t1.json", "samples/a run_best_seed0_t1_spectrograms.png"),
    *(
        "samples/a run_i10_v5.1320_seed7_t0.5-1_p0.9_after-x_03.wav",
        "samples/a run_last_like-original_g1_0.wav",
    ),
    *(f"samples/params_{COSTS}_seed0_t1_0.wav", "samples/spectrograms/a run_best_seed0_t1_0.wav.png"),
]


@pytest.mark.parametrize("linked", [False, True])
def test_overwriting_leaves_nothing_of_the_old_run_and_all_that_is_not_of_it(tmp_path, linked):
    folder = tmp_path / "a run"
    run = run_folder.create(folder, {"seed": 1})
    run_folder.append(run, "start")
    if linked:  # to another disk
        for name in ("checkpoints", "samples"):
            (tmp_path / "scratch" / name).mkdir(parents=True)
            (folder / name).symlink_to(tmp_path / "scratch" / name)
    for path in (run.last, run.best, run.plot, *(folder / name for name in WRITTEN)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    others = ["best/my.txt", "notes.txt", "params/my.txt", "samples/old/a.wav", "train_log_notes.pkl"]
    others += [
        f"samples/{name}" for name in ("mix.wav", "a.flac", "b.ogg", "figure.png", "my_seed1_take_2.wav")
    ]
    others += ["samples/spectrograms/mine.png", "samples/sample_i2_1 (copy).wav", "samples/notes.json"]
    others += ["samples/another run_best_seed0_t1_0.wav", "samples/another run_best_seed0_t1.json"]
    others += [f"samples/params_{COSTS.replace('i2', 'i3')}_seed0_t1_0.wav"]
    others += [
        "checkpoints/good.npz",
        "checkpoints/last (1).npz",
        "params/params_mine.pkl",
        "tensorboard/a.txt",
    ]
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("mine")
    run = run_folder.create(folder, {"seed": 2}, overwrite=True)
    left = [path.relative_to(folder).as_posix() for path in run_folder.other_files(folder, re.compile(""))]
    assert sorted(left) == sorted([".lock.owner", "log.jsonl", "settings.json", *others])
    assert json.loads(run.settings.read_text()) == {"seed": 2}
    assert (folder / "checkpoints").is_symlink() == linked


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="a is a file; choose another folder with --run"):
            run_folder.create(tmp_path / "a", {}, overwrite)
    assert (tmp_path / "a").read_text() == "mine"


values = st.dictionaries(
    st.text().filter(lambda name: name not in ("run", "event")),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(), values), max_size=5))
def test_what_is_logged_is_read(tmp_path, records):
    run = Run(tmp_path)
    run.log.write_text("")
    for event, rest in records:
        run_folder.append(run, event, **rest)
    assert run_folder.read_log(run) == [{"event": event, **rest} for event, rest in records]
    assert len(run.log.read_bytes().split(b"\n")) == len(records) + 1  # a line for each


def test_a_truncated_last_line_is_skipped(tmp_path):
    run = Run(tmp_path)
    run_folder.append(run, "train", iteration=1, nll_bits=7.5)
    run_folder.append(run, "train", iteration=2, nll_bits=6.5)
    whole, records = run.log.read_bytes(), run_folder.read_log(run)
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) - 1):
        run.log.write_bytes(whole[:length])
        assert run_folder.read_log(run) == records[:1]
    for length in (len(whole) - 1, len(whole)):  # only the end of the line is missing
        run.log.write_bytes(whole[:length])
        assert run_folder.read_log(run) == records


def test_a_log_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="Could not write .*log.jsonl"):
        run_folder.append(Run(tmp_path / "gone"), "start")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize(
    "name", ["params/my.txt", "params/params_e0_i1_t0.00_tr1.0_v1.0.pkl", "samples/my.wav"]
)
def test_a_folder_of_other_files_or_that_only_looks_like_a_run_is_kept(tmp_path, name, logged, overwrite):
    """A log is not enough: before its first checkpoint a run has written only files that may be replaced."""
    if logged:
        run_folder.append(run_folder.create(tmp_path / "a", {}), "start")
    path = tmp_path / "a" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(OutputError, match=f"holds other files .{path.name}."):
        run_folder.create(tmp_path / "a", {}, overwrite)
    assert path.read_text() == "mine"


def test_a_damaged_log_is_read_as_far_as_possible(tmp_path):
    run = run_folder.create(tmp_path / "a", {})
    run_folder.append(run, "start")
    with run.log.open("ab") as log:
        log.write(b'5\n{"iteration": 3}\n\xff\xfe\n{"event": "tra')
    run_folder.append(run, "end")
    assert [record["event"] for record in run_folder.read_log(run)] == ["start", "end"]
    run.log.unlink()
    assert run_folder.read_log(run) == []


def test_records_of_nan_are_discarded_too(tmp_path):
    run = Run(tmp_path)
    for iteration in (10, 20, 30):
        run_folder.append(run, "monitor", iteration=iteration, valid=float("nan"))
    run_folder.discard(run, run_folder.records_to_discard(run, 20, eval_due=True))
    assert [record["iteration"] for record in run_folder.read_log(run)] == [10]
