"""Whether a run is where it should be: bands of ours, the original's curves, and five seeded faults."""

import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import bands, causes, status, verdict
from samplernn_theano.checkpoints.bands import Reference
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.checkpoints.verdict import Verdict
from samplernn_theano.cli.main import main
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.config.schedule import Schedule, original_learning_rate
from samplernn_theano.data.dataset import Ragged, data_sha256
from samplernn_theano.training.run import train
from samplernn_theano.verification import curves
from tests.conftest import GOLDEN

# --- five faults --------------------------------------------------------------------------------------------

UPDATES = 110


@cache
def demo_set() -> dict[str, np.ndarray]:
    return {split: clips.astype(np.float64) for split, clips in curves.demo_clips().items()}


def write_set(folder: Path, change=lambda x: x, n: int = 16, samples: int = 64_000) -> Path:
    """A part of the demo set, changed: n clips of so many samples for train, 8 of at most 1 s for others."""
    folder.mkdir(parents=True)
    valid = demo_set()["valid"][:8, : min(samples, 16_000)]
    for split, clips in (("train", demo_set()["train"][:n, :samples]), ("valid", valid), ("test", valid)):
        np.save(folder / f"x_{split}.npy", change(clips).astype(np.float16))
    return folder


# What is done to the recordings, to the hyper-parameters, to the schedule, to the size of the set.
FAULTS = {
    None: {"max_iters": 200},
    "DC offset": {"change": lambda x: 0.2 * x + 0.6, "normalisation": "absmax"},
    "clipping": {"change": lambda x: np.clip(10 * x, -1, 1)},
    "learning rate": {"learning_rate": 0.00003},
    "normalisation": {"change": lambda x: 0.02 * x, "normalisation": "none"},
    "few clips": {"n": 8, "samples": 4096, "max_iters": 180},
}


def run_with(fault: str | None, folder: Path, is_trained: bool) -> Path:
    """A run of two_tier, preset demo, with a fault: trained now, or with the log of such a training."""
    given = dict(FAULTS[fault])
    data = write_set(folder / "data", **{k: given.pop(k) for k in ("change", "n", "samples") if k in given})
    hp = preset("two_tier", "demo", {k: given.pop(k) for k in ("normalisation",) if k in given})
    schedule = Schedule(**{"max_iters": UPDATES, "learning_rate": 0.001, **given})
    if is_trained:
        assert train(hp, data, folder / "run", schedule, show_progress=False) == 0
        return folder / "run"
    log = json.loads((GOLDEN / "faults.json").read_text())[fault or "none"]
    sha256 = {split: data_sha256(np.load(data / f"x_{split}.npy")) for split in ("train", "valid", "test")}
    about = {"data": str(data), "data_sha256": sha256, "schedule": asdict(schedule)}
    return write_run(folder / "run", "two_tier", log, hp, **about)


@pytest.mark.parametrize("is_trained", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_the_first_cause_and_a_good_run_has_none(fault, is_trained, tmp_path):
    found = verdict.judge(status.read(run_with(fault, tmp_path, is_trained)))
    assert not found.lacking and len(found.judged) == 3
    assert [cause.name for cause in found.likely][:1] == [fault] * (fault is not None)
    assert found.inside == (fault is None)


def test_the_command_tells_the_verdict_the_baselines_and_the_cause(tmp_path, capsys):
    runs = [str(run_with(fault, tmp_path / str(fault), False)) for fault in (None, "normalisation")]
    assert main(["show", *runs, "--against", "reference"]) == 0
    good, bad = capsys.readouterr().out.split(f"{runs[1]}:\n")
    assert "Inside the band.\n" in good and "Likely causes" not in good
    assert "simple predictors reach" in good and "; this run is at 5." in good
    assert "; this run is at" not in bad and "unlike this one" in bad
    assert "Outside the band: " in bad and "below it at update 110" in bad
    assert "  1. the clips of train reach 0.0" in bad and "train with min-max or absmax" in bad


# --- curves of the original, and ours -----------------------------------------------------------------------


def log_of(costs: np.ndarray, valid: dict[int, float], every: int = 50) -> list[dict]:
    """The log of a run with these costs of updates, (updates,), and validation costs."""
    lines = []
    for n in sorted({*range(every, len(costs) + 1, every), *valid}):
        place = {"iteration": n, "seconds": float(n), "epoch": 0}
        if n % every == 0:
            lines.append({"event": "train", **place, "nll_bits": float(costs[n - every : n].mean())})
        if n in valid:
            lines.append({"event": "monitor", **place, "train": float(costs[:n].mean()), "valid": valid[n]})
    return lines


def write_run(folder: Path, family: str, log: list[dict], hp=None, **settings) -> Path:
    """The folder of a run of the preset demo on the demo set, which is gone."""
    run, hp = Run(folder), hp or PRESETS[family]["demo"]
    folder.mkdir(parents=True)
    rate = original_learning_rate(type(hp))
    known = {"family": hp.family, "hyperparameters": asdict(hp), "data": "gone", "seed": 1}
    known["schedule"] = asdict(Schedule(learning_rate=rate))
    known["data_sha256"] = {"train": bands.stored()["sets"]["demo"]["sha256"]}
    run.settings.write_text(json.dumps(known | settings))
    run.log.write_text("".join(json.dumps(line) + "\n" for line in log))
    return folder


def judged(folder: Path) -> Verdict:
    return verdict.judge(status.read(folder))


def original(case: str, change: float = 0.0) -> list[dict]:
    with np.load(GOLDEN / "atlas" / f"{case}.npz") as found:
        valid = {int(n): float(cost) + change for n, cost in found["valid"] if n}
        return log_of(found["costs"] + change, valid)


CASES = sorted(path.stem for path in (GOLDEN / "atlas").glob("*.npz"))


@pytest.mark.parametrize("case", CASES)
def test_the_original_is_inside_the_bands_and_outside_if_its_costs_were_others(case, tmp_path):
    family = case.partition("_seed")[0]
    far = 1.0 if family == "wavenet" else 0.6
    for change, expected in ((0.0, 0), (far, 1), (-far, -1)):
        found = judged(write_run(tmp_path / str(change), family, original(case, change)))
        of_costs = [np.sign(one.beyond) for one in found.judged if one.what != bands.GAP]
        assert of_costs == [expected] * 2 and found.inside == (expected == 0)


RUNS = bands.stored()["runs"]


@pytest.mark.parametrize(
    "run", RUNS, ids=lambda run: "-".join(str(run[k]) for k in ("family", "set", "seed"))
)
def test_a_run_of_ours_is_inside_the_bands_of_the_others(run):
    """On the demo set those of other seeds, on another set those at its distance from the demo set."""
    others = [r for r in RUNS if (r["family"], r["set"]) == (run["family"], "demo") and r is not run]
    if len(others) < 2:
        pytest.skip("one run makes no band")
    of_set, of_demo = (bands.stored()["sets"][name] for name in (run["set"], "demo"))
    reference = Reference(others, None if run["set"] == "demo" else bands.distance(of_set, of_demo))
    for n in (100, 200, 500, 1000, 2000):
        if n <= reference.last:
            low, high = reference.train(n // 2, n)
            assert low < bands.mean_cost(run, n // 2, n) < high, n
    for n, cost in run["valid"].items():
        if sum(n in other["valid"] for other in others) > (run["set"] == "demo"):
            low, high = reference.valid(int(n))
            assert low < cost < high, n


def test_the_demo_set_is_known():
    train = curves.demo_clips()["train"]
    assert data_sha256(train) == bands.stored()["sets"]["demo"]["sha256"]


def test_between_two_counts_a_band_is_interpolated():
    reference = Reference(
        [run for run in bands.stored()["runs"] if (run["family"], run["set"]) == ("two_tier", "demo")]
    )
    at = [sum(reference.valid(n)) / 2 for n in (1000, 1414, 2000)]
    assert at[1] == pytest.approx((at[0] + at[2]) / 2, abs=0.001)
    assert reference.valid(20_000) == reference.valid(2000)


def test_after_the_reference_a_run_may_be_as_low_as_it_likes_but_not_higher(tmp_path):
    start = original("two_tier_seed1")
    for valid, beyond in ((1.0, False), (2.5, True)):
        later = [{"event": "train", "iteration": 9000, "seconds": 9e3, "epoch": 2, "nll_bits": 1.2}]
        later += [{"event": "monitor", "iteration": 9000, "seconds": 9e3, "epoch": 2, "valid": valid}]
        found = judged(write_run(tmp_path / str(valid), "two_tier", start + later))
        assert [one.update for one in found.judged] == [2000] * 3 + [9000] * 3
        assert found.inside != beyond


def test_coarse_logs_are_compared_over_the_same_updates(tmp_path):
    """A fast machine logs the first 200 updates in one line, with the high costs of the start."""
    with np.load(GOLDEN / "atlas" / "two_tier_seed123.npz") as found:
        log = log_of(found["costs"][:200], {}, every=200)
    found = judged(write_run(tmp_path / "run", "two_tier", log))
    assert found.inside and found.judged[0].cost > 5.9
    assert "no evaluation to judge" in verdict.describe(status.read(tmp_path / "run"), found)


# --- without a verdict --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "name", "changes", "reason"),
    [
        ("two_tier", "demo", {"n_rnn": 2}, "this run has n_rnn 2, not 1."),
        ("two_tier", "tiny", {}, "dim 32, not 128"),
        ("k_tier", "demo", {}, "no reference runs of k_tier"),
        ("rnn_gmm", "demo", {}, "no reference for rnn_gmm"),
    ],
)
def test_a_model_without_reference_runs_is_told_so_and_what_can_be_said(
    family, name, changes, reason, tmp_path, capsys
):
    hp = preset(family, name, changes)
    schedule = asdict(Schedule(learning_rate=0.1))
    data = str(write_set(tmp_path / "set"))
    folder = write_run(
        tmp_path / "run", family, original(CASES[0]), hp, data=data, data_sha256={}, schedule=schedule
    )
    assert main(["show", str(folder), "--against", "reference"]) == 0
    text = capsys.readouterr().out
    assert "No verdict: " in text and reason in text
    assert "Worth knowing:\n  - the learning rate is 0.1, 100 times" in text
    assert ("simple predictors reach" in text) == (family != "rnn_gmm")


def test_what_cannot_be_judged_is_said(tmp_path):
    early = judged(write_run(tmp_path / "early", "two_tier", original("two_tier_seed1")[:1]))
    assert not early.judged and "too early" in early.lacking
    elsewhere = judged(write_run(tmp_path / "other", "two_tier", original("two_tier_seed1"), data_sha256={}))
    assert (
        "without its baselines" in elsewhere.lacking and "there is no folder gone" in elsewhere.data.missing
    )
    data = str(write_set(tmp_path / "set"))
    changed = judged(write_run(tmp_path / "changed", "two_tier", original("two_tier_seed1"), data=data))
    assert changed.inside and "other clips than those of this run" in changed.data.missing


def test_a_moved_set_is_named_with_data(tmp_path, capsys):
    run = write_run(tmp_path / "run", "two_tier", original("two_tier_seed1"), data_sha256={})
    arguments = ["show", str(run), "--data", str(write_set(tmp_path / "set"))]
    assert main([*arguments, "--against", "reference"]) == 0
    assert "moved to the baselines of this set" in capsys.readouterr().out
    for wrong, message in (
        (arguments, "--against reference"),
        ([*arguments[:2], "--against", "reference", "--data", "x"], "no data folder x"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "far", "below"),
    [("small", 3.0, "one of them"), ("small", 0.0, "two of them"), ("best", -1.0, "all three")],
)
def test_a_run_of_another_preset_is_told_the_baselines_it_is_below_first(name, far, below, tmp_path, capsys):
    data, log = str(write_set(tmp_path / "set")), original("two_tier_seed1", far)
    folder = write_run(
        tmp_path / "run", "two_tier", log, preset("two_tier", name, {}), data=data, data_sha256={}
    )
    assert main(["show", str(folder), "--against", "reference"]) == 0
    first, second, *others = capsys.readouterr().out.rsplit("\n\n", 1)[1].splitlines()
    assert first.startswith("On valid simple predictors reach ") and first.endswith(f", below {below}.")
    assert second.startswith("No verdict: the reference runs are of the preset demo only")
    assert any("fewer than a batch" in line for line in others)


def test_a_run_without_bands_and_faults_is_told_so(tmp_path):
    hp = preset("two_tier", "demo", {"n_rnn": 2})
    data, log = str(write_set(tmp_path / "set")), original("two_tier_seed1")[:5]
    folder = write_run(tmp_path / "run", "two_tier", log, hp, data=data, data_sha256={})
    text = verdict.describe(status.read(folder), judged(folder))
    assert text.endswith("Its learning rate, costs and clips show nothing unusual.")


# --- single causes ------------------------------------------------------------------------------------------


def names(folder: Path, clips=None, sound=None) -> list[str]:
    return [cause.name for cause in causes.find(status.read(folder), clips or {}, sound, 3.0)]


def test_what_the_log_and_the_sizes_of_the_splits_tell(tmp_path):
    log = original("two_tier_seed1")
    assert names(write_run(tmp_path / "good", "two_tier", log)) == []
    wrong = [{**log[-1], "valid": float("nan")}]
    assert names(write_run(tmp_path / "nan", "two_tier", log[:-1] + wrong)) == ["NaN"]
    line = {"event": "train", "seconds": 1e4, "epoch": 0, "nll_bits": 6.0}
    rising = [{**line, "iteration": n} for n in (2050, 2100, 2150, 2200)]
    assert names(write_run(tmp_path / "rising", "two_tier", log + rising)) == ["rising cost"]
    evaluated = [
        {"event": "monitor", "iteration": n, "seconds": n, "valid": c} for n, c in ((60, 4.0), (90, 5.5))
    ]
    assert names(write_run(tmp_path / "few", "two_tier", evaluated)) == ["rising cost"]
    for record in evaluated:
        record["train"] = record["valid"]
    assert names(write_run(tmp_path / "both", "two_tier", evaluated)) == ["rising cost"]
    fast = asdict(Schedule(learning_rate=0.03))
    assert names(write_run(tmp_path / "fast", "two_tier", log, schedule=fast)) == ["learning rate"]
    clips = {"train": np.zeros((80, 400_000)), "valid": np.zeros((4, 16_000))}
    found = names(tmp_path / "good", clips, causes.listen(demo_set()["valid"], "min-max"))
    assert found == ["small split"]
    assert names(tmp_path / "good", {"train": np.zeros((80, 400_000))}) == ["silence"]


@pytest.mark.parametrize(
    ("rate", "later", "since", "expected"),
    [
        (0.001, 3.0, 100, ["after 100 updates is 3, 3,000 times the family's 0.001", "--later-rate 0.001"]),
        (0.001, 3.0, 2000, []),  # not reached
        (0.001, 1e-6, 100, ["after 100 updates is 1e-06, 1/1e+03 of"]),
        (0.001, 0.0001, 1500, []),  # the usual end of a training
        (0.03, 0.001, 100, ["the learning rate is 0.03, 30 times", "--learning-rate 0.001"]),
    ],
)
def test_both_learning_rates_are_judged(rate, later, since, expected, tmp_path):
    schedule = asdict(Schedule(learning_rate=rate, later_rate=later, later_from=since))
    run = status.read(write_run(tmp_path / "run", "two_tier", original("two_tier_seed1"), schedule=schedule))
    found = causes.find(run, {}, None, 3.0)
    assert [cause.name for cause in found] == ["learning rate"] * bool(expected)
    assert all(text in cause.text for cause in found for text in expected)


@pytest.mark.parametrize(
    ("change", "normalisation", "expected"),
    [
        (lambda x: x, "min-max", []),
        (lambda x: x, "none", []),
        (lambda x: 0.2 * x + 0.6, "min-max", [("DC offset", 0.0)]),
        (lambda x: 0.2 * x + 0.6, "absmax", [("DC offset", 2.4)]),
        (lambda x: 0.1 * x, "none", [("normalisation", 3.8)]),
        (lambda x: 0.1 * x, "absmax", []),
        (lambda x: np.where(np.arange(len(x))[:, None] < 2, 0, x), "absmax", [("silence", 0.75)]),
    ],
)
def test_what_the_sound_tells(change, normalisation, expected, tmp_path):
    hp = replace(PRESETS["two_tier"]["demo"], normalisation=normalisation)
    run = status.read(write_run(tmp_path / "run", "two_tier", [], hp))
    found = causes.find(run, {}, causes.listen(change(demo_set()["train"][:8, :32_000]), normalisation), 3.0)
    assert [cause.name for cause in found] == [name for name, _ in expected]
    assert [cause.bits for cause in found] == pytest.approx([bits for _, bits in expected], abs=0.3)


def test_zeros_that_pad_clips_with_an_offset_take_levels():
    clips = 0.1 * demo_set()["train"][:8, :1000] + 0.5
    ragged = Ragged(clips.reshape(-1), np.arange(0, 8001, 1000))
    fixed, padded = (causes.listen(each, "min-max") for each in (clips, ragged))
    assert fixed.levels == 256 and padded.levels < 80
