"""The settings of a run are read as they were written, and errors in them are named."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from samplernn_theano.config import settings
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.config.schedule import Schedule, original_schedule
from samplernn_theano.config.settings import Options
from samplernn_theano.errors import DataError, HyperParameterError
from tests.conftest import GOLDEN

SCHEDULE = Schedule(max_iters=7, save_minutes=1e-5, learning_rate=3e-5)
OPTIONS = Options(seed=5, backend="numba", precision="highest")


def written(folder: Path, model: str = "three_tier", **changes) -> Path:
    """settings.json of a run."""
    hp = PRESETS[model]["tiny"]
    if hp.real_valued:
        hp = replace(hp, mean=-1.25e-7, std=0.1)
    about = {"family": model, "hyperparameters": asdict(hp), "schedule": asdict(SCHEDULE), **asdict(OPTIONS)}
    about |= {"data": "/sets/music", "data_sha256": {"train": "abc"}, "versions": {"numpy": "2.3"}}
    path = folder / "settings.json"
    path.write_text(json.dumps(about | {"exp": None, "original_layout": False} | changes))
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_come_back(family, tmp_path):
    run = settings.read(written(tmp_path, family))
    stored = json.loads((tmp_path / "settings.json").read_text())["hyperparameters"]
    assert run.hp == FAMILIES[family](**stored) and json.loads(json.dumps(asdict(run.hp))) == stored
    assert (run.schedule, run.options) == (SCHEDULE, OPTIONS)
    assert (run.data, run.data_sha256, run.exp) == (Path("/sets/music"), {"train": "abc"}, None)
    written(tmp_path, exp="mine", original_layout=True)
    assert settings.read(tmp_path).exp == "mine"


def test_settings_of_version_0_1_0():
    run = settings.read(GOLDEN / "version_0.1.0" / "run")
    assert (run.hp.family, run.hp.dim, run.schedule.max_iters) == ("three_tier", 8, 12)
    assert run.schedule.learning_rate == 0.001 and run.options == Options(backend="jax")


def test_a_converted_run_has_the_schedule_of_the_original(tmp_path):
    path = tmp_path / "settings.json"
    hp = asdict(PRESETS["one_tier"]["tiny"])
    path.write_text(json.dumps({"family": "one_tier", "hyperparameters": hp, "learning_rate": 0.002}))
    with pytest.raises(DataError, match="does not name a data set; .* --data"):
        settings.read(path)
    run = settings.read(path, Path("/sets/mine"))
    assert run.schedule == replace(original_schedule(FAMILIES["one_tier"]), learning_rate=0.002)
    assert (run.options, run.data) == (Options(), Path("/sets/mine"))


def test_an_rnn_gmm_of_an_earlier_version_is_read(tmp_path):
    hp = asdict(PRESETS["rnn_gmm"]["tiny"])
    assert (
        settings.read(written(tmp_path, "rnn_gmm", hyperparameters=hp | {"frame_size": 1})).hp.seq_len == 128
    )
    with pytest.raises(HyperParameterError, match="an rnn_gmm predicts one sample at a time"):
        settings.read(written(tmp_path, "rnn_gmm", hyperparameters=hp | {"frame_size": 2}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "four_tier"}, "family is 'four_tier', none of three_tier,"),
        ({"family": ["three_tier"]}, r"family is \['three_tier'\], none of"),
        ({"hyperparameters": None}, "there are no hyper-parameters"),
        ({"hyperparameters": {"novelty": 1}}, "unrecognized arguments: --novelty=1"),
        ({"hyperparameters": {"weight_norm": "maybe"}}, "'maybe' is neither True nor False"),
        ({"hyperparameters": {"dim": 16.5}}, "--dim: invalid int value: '16.5'"),
        ({"hyperparameters": {"seq_len": 100}}, "--seq_len 100 is not a multiple"),
        ({"schedule": [1]}, r"schedule is \[1\]"),
        ({"schedule": {"novelty": 1}}, "novelty is unknown"),
        ({"schedule": {"max_iters": "12"}}, "--max-iters is '12'; it must be a whole number or None"),
        ({"schedule": {"keep": 1.5}}, "keep is 1.5"),
        ({"schedule": {"keep": True}}, "keep is True"),
        ({"schedule": {"save_minutes": None}}, "--save-minutes is None; it must be a number"),
        ({"schedule": {"learning_rate": -1}}, "--learning-rate is -1"),
        ({"seed": "five"}, "seed is 'five'"),
        ({"backend": 1}, "backend is 1"),
        ({"data": 5}, "settings.json are damaged.*data is 5"),
        ({"versions": [0] * 1000}, r"versions is \[0, 0, 0, 0, 0, 0, ...\]"),
        ({"original_layout": "False"}, "original_layout is 'False'"),
        ({"tensorboard": "no"}, "--tensorboard is 'no'; it must be True or False"),
        ({"ip_weight": -1}, "--ip-weight is -1"),
        ({"schedule": {"max_minutes": float("nan")}}, "--max-minutes is nan; it must be a positive number"),
    ],
)
def test_errors_name_the_file_and_the_entry(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(HyperParameterError, match=message) as error:
        settings.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is damaged"),
        ("[" * 10**5, "it is nested too deeply"),
        ("[]", "its family is None"),
        ("", "it is damaged"),
        (None, "No such file"),
    ],
)
def test_what_is_no_settings_file(tmp_path, text, message):
    path = tmp_path / "settings.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(HyperParameterError, match=f"{path} .*{message}"):
        settings.read(path)
