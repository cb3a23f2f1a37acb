"""The report of a workflow: its numbers, its badges, and steps that were not run or failed."""

import json
import re
from dataclasses import asdict
from html import unescape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from samplernn_theano.config import presets
from samplernn_theano.reproduction import charts, records, report, report_audio, scales, tables
from samplernn_theano.reproduction.experiments import read_experiments
from samplernn_theano.reproduction.published import read_numbers
from samplernn_theano.utils.files import locked

PAPER = scales.schedules("paper")
HOSTILE = "<script>alert(1)</script> | `x` *y* [z](javascript:0)"


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def step(out: Path, experiment: str, name: str, result: dict | None = None, seed=123, **changes) -> None:
    """The record of a step."""
    record = {"step": name, "cell": experiment, "seed": seed, "scale": "laptop", "status": "done"}
    record |= {"command": ["samplernn", name, "a b"], "seconds": 61.0, "result": result}
    record |= {"machine": {"cpu": "AMD EPYC", "threads": 1, "cores": 2, "gpu": None}}
    write_json(out / "steps" / experiment / f"seed{seed}" / f"{name}.json", record | changes)


def log(out: Path, experiment: str, seed: int, iterations: list[int], **settings) -> None:
    folder = out / "runs" / experiment / f"seed{seed}"
    made_with = {"versions": {"numpy": "2.3"}, "git_revision": "abc123"}
    write_json(folder / "settings.json", made_with | settings)
    with open(folder / "log.jsonl", "w") as file:
        for i in iterations:
            look = {"iteration": i, "epoch": 0, "seconds": i / 2, "valid": 3 + 100 / i}
            file.write(json.dumps({"event": "monitor"} | look) + "\n")
        file.write('{"event": "mo')


def like_the_authors(experiment: str) -> dict:
    """The settings of a training at the paper's scale."""
    own, schedule = read_experiments()[experiment], PAPER[experiment]
    flags = {name: value for name, value in own.flags.items() if name != "learning_rate"}
    hp = presets.preset(own.family, "best", flags)
    return {"family": own.family, "hyperparameters": asdict(hp), "schedule": asdict(schedule)}


def done(
    out: Path,
    experiment: str,
    test: float,
    seed=123,
    scale="laptop",
    valid=3.0,
    hours=72.0,
    settings=None,
    updates=600,
) -> None:
    """An experiment that was trained and scored; at the paper's scale for `hours`, with `settings`."""
    trained = {"iterations": updates, "epochs": 1, "train_seconds": 300.0, "seconds_per_iteration": 0.5}
    if scale == "paper":
        trained["train_seconds"] = hours * 3600
        settings = like_the_authors(experiment) | (settings or {})
    step(out, experiment, "train", trained | {"parameters": 12345}, seed, scale=scale)
    scores = {"valid": valid, "test": test}
    found = {s: {"score": x, "standard_error": 0.01, "clips": 128} for s, x in scores.items()}
    step(out, experiment, "evaluate", found, seed, scale=scale)
    log(out, experiment, seed, [100, 300, 600], **(settings or {}))


def sounds(out: Path, experiment: str, n: int, seconds: float) -> None:
    folder = out / "samples" / experiment / "seed123"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        soundfile.write(folder / f"x_{i}.wav", 0.3 * rng.standard_normal(round(16000 * seconds)), 16000)


def workflow(out: Path, scale: str = "laptop", seeds: tuple[int, ...] = (123,), **changes) -> None:
    asked = {name: list(seeds) for name in read_experiments() if name.startswith("table")}
    write_json(out / "workflow.json", {"scale": scale, "cells": asked, "before": {}} | changes)


def data(out: Path, name: str, scale: str = "laptop", **changes) -> None:
    """The record of a data set; without changes, one like the authors' Music."""
    sizes = {"train": 3828, "valid": 256, "test": 256}
    result = {"folder": str(out / "data" / name), "about": None, "train_mean": -2.7e-05, "train_std": 0.0562}
    result |= {"splits": {split: {"clips": n, "seconds": 8.0 * n} for split, n in sizes.items()}}
    result |= {"manifest": {"options": {"stride_seconds": 8.0}}}
    record = {"step": "data", "cell": name, "scale": scale, "status": "done", "seconds": 5, "command": None}
    write_json(out / "steps" / "data" / f"{name}.json", record | {"result": result | changes})


def listen(folder: Path) -> None:
    """Write a listening test, and what two listeners said of the same four pairs."""
    test = {"format": "samplernn listening test 1", "id": "0123456789abcdef", "title": "Music", "pairs": 4}
    test |= {"seconds": 1.0, "post": False, "systems": {"s0": ["0"], "s1": ["1"]}}
    write_json(folder / "test.json", test)
    key = {"test": test["id"], "systems": {"s0": HOSTILE, "s1": "B"}, "sounds": {}}
    write_json(folder / "key.json", key)
    for listener, said in {"x": "aabn", "y": "aaan"}.items():
        pair = {"a": "0", "b": "1", "seconds": 3.0, "plays_a": 1, "plays_b": 1}
        votes = [pair | {"pair": i, "vote": {"n": "none"}.get(v, v)} for i, v in enumerate(said)]
        result = {"format": test["format"], "test": test["id"], "listener": listener, "votes": votes}
        result |= {"started": "2026-11-23T08:00:00Z", "finished": "2026-11-23T08:05:00Z"}
        write_json(folder / "results" / f"{listener}.json", result)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are empty files, and figure 2 is left out, which takes no time."""
    monkeypatch.setattr(charts, "waveforms", lambda *_: None)
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Path(path).write_bytes(b""))


class Page(NamedTuple):
    """A page's HTML, its text, and the text of each entry of its tables."""

    html: str
    text: str
    cells: list[str]


def read(path: Path) -> Page:
    def plain(html: str) -> str:
        return unescape(re.sub(r"<[^>]*>", "", html.replace("<br>", "\n")))

    html = path.read_text()
    entries = re.findall(r"<(?:td|th [^>]*)>.*?</t[dh]>", html)
    return Page(html, plain(html), [plain(entry) for entry in entries])


def cell_with(page: Page, words: str) -> str:
    (found,) = [cell for cell in page.cells if words in cell]
    return found


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laptop workflow in which everything has happened."""
    out = tmp_path_factory.mktemp("mixed")
    workflow(out, data={"music": "/x"})
    data(out, "music", about="rendered scores", train_std=0.11)
    done(out, "table1/music/three_tier", 2.612)
    sounds(out, "table1/music/three_tier", 3, 7)
    step(out, "table1/music/three_tier", "generate", {"files": []})
    done(out, "table1/music/two_tier", 2.701)
    failure = {"status": "failed", "message": HOSTILE, "command": ["samplernn", HOSTILE, "````"]}
    step(out, "table1/music/one_tier", "train", **failure)
    step(out, "table1/music/wavenet", "train", status="running")
    log(out, "table1/music/wavenet", 123, [50, 170])
    done(out, "table3/32", 3.4, valid=3.303)
    done(out, "table2/rnn_gmm", -2.0)
    done(out, "information_retention/three_tier", 2.9)
    kept = {"clips": 90, "share": 0.61, "low": 0.51, "high": 0.7, "cannot_tell": 10, "chance": 0.5}
    kept["classifier"] = {"accuracy": 0.97, "low": 0.93, "high": 0.99, "doubt": f"it is {HOSTILE}"}
    kept["ceiling"] = {"value": 0.9418, "low": 0.8698, "high": 0.9802}
    step(out, "information_retention/three_tier", "retention", kept)
    done(out, "information_retention/wavenet", 2.9, settings={"git_revision": "def456"})
    unheard = kept | dict.fromkeys(("share", "low", "high", "chance")) | {"clips": 4, "cannot_tell": 4}
    step(out, "information_retention/wavenet", "retention", unheard)
    listen(out / "listening/music")
    failure = {"status": "failed", "message": f"All clips of {HOSTILE} are silent."}
    write_json(out / "steps/listening/blizzard/listening.json", failure)
    report.write(out)
    return out


@pytest.fixture(scope="module")
def page(mixed: Path) -> Page:
    return read(mixed / "report/index.html")


def test_tables_show_our_score_the_published_one_and_the_difference(page):
    theirs = {n.experiment: n.value for n in read_numbers()}["table1/music/three_tier"]
    shown = cell_with(page, "2.612").splitlines()
    assert shown[0].startswith("2.612 ± 0.010 laptop")
    doubt = "which clips of Music it is of, overlapping or not, is not known"
    assert shown[1:] == [f"published {theirs:.3f} ({doubt})", f"difference {2.612 - theirs:+.3f}"]
    assert "3.303 ± 0.010" in cell_with(page, "3.303")  # a length: the validation score
    assert "if in nats" in cell_with(page, "-1.386 ± 0.007") and "if in bits" in cell_with(page, "-2.000 ±")
    assert set(re.findall(r'<span class="(\w+)">difference', page.html)) == {"quiet"}  # it means nothing here
    assert "<br>difference" not in page.html
    assert "trained for 5.0 minutes" in page.text


def test_a_file_has_the_scores_of_the_tables(mixed):
    found = json.loads((mixed / "report/results.json").read_text())
    by_name = {(entry["experiment"], entry["unit"]): entry for entry in found}
    assert len(by_name) == len(found) == 5  # each of two units counts
    score = by_name["table1/music/three_tier", "bits per sample"]
    assert (score["ours"], score["error"], score["scale"]) == (2.612, 0.01, "laptop")
    assert score["published"] and score["basis"] and score["differences"] and "rendered" in score["data"]
    assert [(own["seed"], own["bits"]) for own in score["seeds"]] == [(123, 2.612)]


def test_differences_without_scores_of_clips_are_not_tested(page):
    """As in the records of an earlier version."""
    start = page.cells.index("SampleRNN (2-tier) - SampleRNN (3-tier)")  # the paper's lower score first
    assert page.cells[start + 1 : start + 5] == ["+0.089", "-0.083", "", ""]
    assert "Evaluations by an earlier version have no scores of clips" in page.text
    assert "pairs as in the paper" not in page.text and "the record of the data has no baselines" in page.text


def test_seeds_give_a_mean_and_its_standard_error(tmp_path, no_pictures):
    workflow(tmp_path, "paper", seeds=(123, 124, 125))
    for seed, test in ((123, 1.1), (124, 1.3)):
        done(tmp_path, "table4/multi_softmax", test, seed, "paper")
    step(tmp_path, "table4/multi_softmax", "train", seed=125, status="failed", message="no space left")
    found = read(report.write(tmp_path))
    shown = cell_with(found, "1.200")
    assert "1.200 ± 0.100" in shown  # sqrt(0.02 / 2)
    assert "2 of 3 seeds" in shown and "seed 125: failed: no space left" in shown
    assert "means over seeds" in found.text and "standard error over clips" not in found.text


def test_html_and_markdown_have_the_same_numbers(mixed, page):
    number = re.compile(r"[-+]?\d+\.\d{3}\b")
    in_cells = [n for cell in page.cells for n in number.findall(cell)]
    rows = [row for row in (mixed / "report/report.md").read_text().splitlines() if row.startswith("|")]
    assert in_cells == [n for row in rows for n in number.findall(row)] and len(in_cells) > 40


def test_published_numbers_are_all_there_before_anything_was_run(tmp_path, no_pictures):
    found = read(report.write(tmp_path))
    for number in read_numbers():
        if number.experiment.startswith("table"):
            assert f"published {number.value:.3f}" in found.text
    assert "±" not in found.text and "difference" not in found.text and "nothing to conclude" in found.text
    assert sum("not run" in cell for cell in found.cells) >= 29


def test_every_number_of_another_scale_has_a_badge(mixed, page):
    ours = [cell for cell in page.cells if "±" in cell or "(51 to 70)" in cell]
    assert len(ours) == 6  # two of table 1, one of table 2 in two units, one of table 3, the retention
    assert all("laptop" in cell for cell in ours)
    rows = [row for row in (mixed / "report/report.md").read_text().splitlines() if "±" in row]
    assert all(row.count("±") == row.count("<kbd>laptop</kbd>") for row in rows if row.startswith("|"))


def test_only_the_papers_scale_on_the_papers_data_has_no_badge(tmp_path, no_pictures):
    workflow(tmp_path, "paper")
    data(tmp_path, "music", "paper")
    data(tmp_path, "blizzard", "paper")  # which has the statistics of Music
    done(tmp_path, "table1/music/two_tier", 1.1, scale="paper")
    done(tmp_path, "table1/music/three_tier", 2.7, scale="smoke")  # the badge is that of the training
    done(tmp_path, "table1/blizzard/two_tier", 1.4, scale="paper")
    found = read(report.write(tmp_path))
    assert cell_with(found, "1.100 ±").splitlines()[0].split("0.010")[1].strip(" 0123456789,") == ""
    assert "2.700 ± 0.010 smoke" in cell_with(found, "2.700")
    assert "other data" in found.cells[found.cells.index("SampleRNN (2-tier)") + 1]
    assert "substitute data" in cell_with(found, "Blizzard\n") and "Music" in found.cells


PAPERS = "table1/music/two_tier"
OTHER = "other hyper-parameters"
TOO_SHORT = "paper models, 600 of 72,500 updates"
TWO_RATES = {"learning_rate": 0.001, "later_rate": 0.0001, "later_from": 2998, "max_iters": 7000}
"""The later one from the same part of other updates."""
SMALL = {"hyperparameters": asdict(presets.preset("two_tier", "small", {}))}


@pytest.mark.parametrize(
    "experiment, hours, settings, badge",
    [
        (PAPERS, 68.5, {}, ""),
        (PAPERS, 68.3, {}, TOO_SHORT),
        (PAPERS, float("nan"), {}, TOO_SHORT),
        ("table1/music/wavenet", 58, {}, ""),
        (PAPERS, 58, {}, TOO_SHORT),
        ("table1/blizzard/wavenet", 60, {}, ""),
        ("table1/blizzard/wavenet", 60, {"schedule": {"learning_rate": 0.001}}, OTHER),  # not the later one
        ("table1/blizzard/wavenet", 5, {"schedule": TWO_RATES}, "paper models, 600 of 742,400 updates"),
        (PAPERS, 72, SMALL, OTHER),
        (PAPERS, 72, {"hyperparameters": {}}, OTHER),
        (PAPERS, 72, {"schedule": {"learning_rate": 0.01}}, OTHER),
        (PAPERS, 72, {"schedule": {}, "learning_rate": 0.01}, OTHER),  # of 0.1.0
        (PAPERS, 72, {"schedule": {}, "learning_rate": 0.001}, ""),
        (PAPERS, 72, {"schedule": {"learning_rate": 0.001, "later_rate": 0.1, "later_from": 5}}, OTHER),
        (PAPERS, 72, like_the_authors("table1/music/one_tier"), OTHER),
        ("table4/multi_softmax", 72, {}, ""),
        ("table4/multi_softmax", 72, like_the_authors(PAPERS), OTHER),
        ("table2/rnn_gmm", 72, {}, ""),
    ],
)
def test_only_the_papers_models_and_time_have_no_badge(tmp_path, experiment, hours, settings, badge):
    """Whatever the workflow was meant to be, the badge depends on the training."""
    if experiment == "table2/rnn_gmm":
        settings = like_the_authors(experiment)
        settings["hyperparameters"] |= {"mean": 0.1, "std": 0.2}
    done(tmp_path, experiment, 1.1, scale="paper", hours=hours, settings=settings)
    known = read_experiments()
    found = records.read(tmp_path, known, PAPER)
    shown = tables.score(found, known[experiment], "test", tables.BITS, [], substitute=False)
    limit = "60" if "wavenet" in experiment else "72"
    done_of_planned = f"600 of {PAPER[experiment].max_iters:,} updates, 1 epoch, {hours:.3g} of {limit} h"
    assert shown.badge == badge and shown.extent == done_of_planned.replace(f", nan of {limit} h", "")


@pytest.mark.parametrize(
    ("updates", "badge"), [(68_875, ""), (68_874, "paper models, 68,874 of 72,500 updates")]
)
def test_the_updates_of_the_authors_three_days_are_enough_on_any_gpu(tmp_path, no_pictures, updates, badge):
    workflow(tmp_path, "paper")
    data(tmp_path, "music", "paper")
    done(tmp_path, PAPERS, 1.1, scale="paper", hours=3, updates=updates)
    page = read(report.write(tmp_path))
    shown = cell_with(page, "1.100 ±").splitlines()
    assert shown[0].strip() == f"1.100 ± 0.010 {badge}".strip()
    assert shown[1] == f"{updates:,} of 72,500 updates, 1 epoch, 3 of 72 h"
    assert f"{updates:,} of 72,500 (epoch 1)" in page.cells and "3.00 h of 72.00 h" in page.cells
    assert ("Can: compare" in page.text) == (not badge)


def test_every_number_whose_basis_is_ours_is_marked_with_a_legend(tmp_path, no_pictures):
    """In HTML and Markdown; and the overlapping clips have a column of their own."""
    known = read_experiments()
    for i, name in enumerate(e.run for e in known.values() if e.run == e.name):
        done(tmp_path, name, 2 + i / 1000, valid=2 + i / 1000)
        kept = {"clips": 90, "share": 0.61, "low": 0.51, "high": 0.7, "cannot_tell": 10, "chance": 0.5}
        if known[name].retention:
            step(tmp_path, name, "retention", kept)
    report.write(tmp_path)
    results = records.read(tmp_path, known)
    scores = [
        (score.ours, score.mark, known[score.experiment].basis)
        for layout in tables.layouts(known)
        for _, row in tables.fill(layout, results, known, read_numbers()).rows
        for score in row
    ]
    assert len(scores) == 16 + 4 + 5 + 8 and {mark for _, mark, _ in scores} == {"", "†"}
    page, text = read(tmp_path / "report/index.html"), (tmp_path / "report/report.md").read_text()
    in_text = [entry for line in text.splitlines() if line.startswith("|") for entry in line.split(" | ")]
    for ours, mark, basis in scores:
        for entries in (page.cells, in_text):
            shown = [entry.replace("*", "") for entry in entries if f"{ours} " in entry.replace("*", "")]
            assert shown and all((f"{ours} †" in entry) == bool(mark) for entry in shown), (ours, shown)
        assert not mark or basis.removeprefix("ours: ") in page.text.replace("\n", " ")
    for whole in (page.text, text):
        assert whole.count("61 % †") + whole.count("61 %** †") == 2 and "† basis ours: the paper and" in whole
    assert "Music, overlapping clips" in page.cells and {1.159} == {
        number.value
        for number in read_numbers()
        if number.experiment.endswith(("music/three_tier", "overlap/three_tier"))
    }


def test_a_short_training_at_the_papers_scale_is_never_held_against_the_paper(tmp_path, no_pictures):
    workflow(tmp_path, "paper")
    data(tmp_path, "music", "paper")
    done(tmp_path, PAPERS, 1.1, scale="paper", hours=1)
    done(tmp_path, "table1/music/three_tier", 1.2, scale="paper", hours=1)
    sounds(tmp_path, PAPERS, 1, 0.1)
    page = read(report.write(tmp_path))
    shown = cell_with(page, "1.100 ±").splitlines()
    assert shown[0].startswith("1.100 ± 0.010 paper models, 600 of 72,500 updates")
    assert shown[1] == "600 of 72,500 updates, 1 epoch, 1 of 72 h"
    assert "Cannot: compare" in page.text and "Can: compare" not in page.text
    assert "Cannot: rank the models. Each was trained for 60.0 minutes" in page.text
    assert "numbers without a badge were made with them" in page.text
    assert f"{PAPERS} (paper models, 600 of 72,500 updates), sound 1" in page.text
    assert ">difference" in page.html and "<br>difference" not in page.html


def test_models_with_budgets_in_updates_are_ranked_after_equal_ones(tmp_path, no_pictures):
    workflow(tmp_path, "study")
    done(tmp_path, PAPERS, 2.6, scale="study")
    page = read(report.write(tmp_path))
    assert "Cannot: rank the models by their best checkpoints, for their budgets differ" in page.text
    assert "shows how fast" not in page.text


def test_substitute_data_have_a_badge_in_the_head_and_a_note_below(mixed, page):
    expected = "substitute data for Music: rendered scores; 9.64 h."
    assert "Music\nsubstitute data" in page.cells and expected in page.text
    rows = (mixed / "report/report.md").read_text().splitlines()
    assert f"<kbd>substitute data</kbd>{expected.removeprefix('substitute data')}" in rows
    assert "| Music<br><kbd>substitute data</kbd> |" in next(row for row in rows if "Onomatopoeia" in row)


def test_the_last_description_of_a_set_counts(tmp_path, no_pictures):
    workflow(tmp_path, "paper", about={"music": "a piano in Turin", "blizzard": 3})
    data(tmp_path, "music", "paper", about="an organ")
    done(tmp_path, PAPERS, 1.1, scale="paper")
    found = read(report.write(tmp_path))
    assert "other data" in cell_with(found, "1.100 ±")
    assert "a piano in Turin; 9.64 h" in found.text and "organ" not in found.text


@pytest.mark.parametrize("scale, words", [("smoke", "Nothing can be concluded"), ("paper", "Can: compare")])
def test_what_can_be_concluded_depends_on_the_scale(tmp_path, no_pictures, scale, words):
    workflow(tmp_path, scale)
    data(tmp_path, "music", scale)
    done(tmp_path, PAPERS, 1.1, scale=scale)
    text = read(report.write(tmp_path)).text
    assert words in text and f"Scale: {scale}" in text


def test_earlier_requests_are_kept(tmp_path, no_pictures):
    asked = {"table3/32": [123, 7], "table3/64": [123]}
    before = {"table3/32": [5], "table3/128": [9]}
    write_json(tmp_path / "workflow.json", {"scale": "laptop", "cells": asked, "before": before})
    found = records.read(tmp_path, ["table3/32", "table3/64"])
    assert list(found.requested) == ["table3/32", "table3/128", "table3/64"]
    done(tmp_path, "table3/32", 3.4, valid=3.3)
    done(tmp_path, "table3/64", 3.4, valid=3.1)
    shown = read(report.write(tmp_path))
    assert "1 of 3 seeds\n2 of 3 seeds: not run" in cell_with(shown, "3.300")
    assert "seeds" not in cell_with(shown, "3.100")
    assert "2 of 3 requested experiments are done" in shown.text


def test_a_training_counts_as_running_only_while_a_process_works_on_it(mixed, page):
    assert "interrupted (iteration 170)" in page.text
    with locked(mixed / "runs/table1/music/wavenet/seed123"):
        found = records.read(mixed, ["table1/music/wavenet"])
        assert found.of("table1/music/wavenet")[0].why_missing("evaluate") == "running (iteration 170)"


def test_a_trained_experiment_names_its_next_step(tmp_path):
    def missing() -> str:
        return records.read(tmp_path, ["table3/64"]).of("table3/64")[0].why_missing("evaluate")

    step(tmp_path, "table3/64", "train", {})
    assert missing() == "trained; evaluate: not run"
    step(tmp_path, "table3/64", "evaluate", status="failed", message="no space left")
    assert missing() == "failed: evaluate: no space left"


def test_retention_and_votes_are_shown(mixed, page):
    assert "61 % † (51 to 70) laptop" in cell_with(page, "61 %")
    unheard = "no clip can be classified: 4 of 4 without voice laptop"
    start = page.cells.index(cell_with(page, unheard))
    assert page.cells[start + 1 : start + 6] == ["4", "4", "", "97 % (93 to 99)", "94 % (87 to 98)"]
    assert f"since it is {HOSTILE}: its accuracy and the ceiling may be too high" in page.text
    assert "2 listeners, 8 votes" in page.text and "With only 1 sound of a system" in page.text
    assert f"{HOSTILE} or B" in page.cells
    assert any(re.fullmatch(r"5 \(62 %, \d+ to \d+\)", cell) for cell in page.cells)
    assert (mixed / "report/pictures/listening_music.png").is_file()
    assert f"failed: All clips of {HOSTILE} are silent." in page.text


DAMAGED = [
    *("", "[]", '{"status": "done"}', '{"status": "done", "result": 3, "seed": []}'),
    *('{"cells": ["table3/32"], "seeds": [1]}', '{"cells": {"table3/32": 3}}', '{"before": "table3/32"}'),
]


def test_damaged_records_count_as_not_there(tmp_path, no_pictures):
    for content in DAMAGED:
        damaged = ("workflow.json", "steps/data/music.json", "steps/table1/music/two_tier/seed123/train.json")
        for name in damaged:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        assert not records.read(tmp_path, ["table3/32", "table1/music/two_tier"]).requested, content
    done(tmp_path, "table3/32", 1.0, scale="", valid=float("nan"))
    text = read(report.write(tmp_path)).text
    assert "Scale: unknown" in text and "the score is NaN or infinite" in text


def test_the_page_does_not_grow_under_the_reader(page):
    text = page.html
    assert 'loading="' not in text and 'preload="none"' in text
    assert len(re.findall(r'<img [^>]* width="\d+" height="\d+">', text)) == text.count("<img ")
    assert text.count("Made with") == 1 and "Made with numpy 2.3; revisions abc123, def456." in text


def test_what_came_from_elsewhere_is_text(mixed, page):
    assert cell_with(page, "failed: <script>").startswith("failed: <script>alert(1)")
    assert "<script" not in page.html and '="javascript' not in page.html
    text = (mixed / "report/report.md").read_text()
    assert re.search(r"\n`````\n# train: failed.*\nsamplernn .* '````'\n`````\n", text)
    outside = re.sub(r"(```+).*?\1", "", text, flags=re.DOTALL)
    assert "<script" not in outside and "](javascript" not in outside.replace("\\](", "")
    rows = [row.replace("\\|", "") for row in outside.splitlines() if "failed" in row and row[0] == "|"]
    assert [row.count("|") for row in rows] == [6, 9]  # table 1; the table of trainings has no message


def test_every_link_leads_to_a_file_or_a_place_in_the_page(mixed, page):
    for link in re.findall(r'(?:src|href)="(.*?)"', page.html):
        there = f'id="{link[1:]}"' in page.html if link[0] == "#" else (mixed / "report" / link).is_file()
        assert there, link


def test_sounds_are_few_short_and_small(mixed):
    sounds = sorted((mixed / "report/sounds").glob("*.ogg"))
    assert len(sounds) == 2 and all(soundfile.info(path).duration == 5 for path in sounds)
    size = sum(path.stat().st_size for path in (mixed / "report").rglob("*.*"))
    per_cell = sum(path.stat().st_size for path in (mixed / "report/sounds").iterdir())
    assert size + 12 * per_cell < 5 * 2**20


def test_writing_again_gives_the_same_and_removes_what_is_not_shown(mixed):
    def content() -> dict[str, bytes]:
        files = [path for path in (mixed / "report").rglob("*") if path.is_file()]
        date = rb"Written [^\n]*"
        return {path.name: re.sub(date, b"", path.read_bytes()) for path in files}

    before = content()
    (mixed / "report/sounds/old.ogg").write_bytes(b"")
    (mixed / "report/notes.txt").write_bytes(b"")
    report.write(mixed)
    after = content()
    assert after.pop("notes.txt") == b"" and after == before
    outside = [path for path in mixed.rglob("*") if path.is_file() and "report" not in path.parts]
    assert max(path.stat().st_mtime for path in outside) < (mixed / "report/report.md").stat().st_mtime


def test_figure_2_shows_a_pair_of_sounds_of_each_set_if_it_can_of_a_3_tier_model(tmp_path):
    workflow(tmp_path)
    data(tmp_path, "music")
    clips = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 32000)).astype(np.float16)
    (tmp_path / "data/music").mkdir(parents=True)
    np.save(tmp_path / "data/music/music_test.npy", clips)
    for family in ("one_tier", "three_tier"):
        done(tmp_path, f"table1/music/{family}", 3.0)
        sounds(tmp_path, f"table1/music/{family}", 1, 2.5)
    text = (report.write(tmp_path).parent / "report.md").read_text()
    assert "![Figure 1: the three-tier model" in text
    assert (tmp_path / "report/pictures/three_tier.svg").is_file()
    assert text.count("Figure 2: waveforms") == 1
    found = records.read(tmp_path, ["table1/music/three_tier"])
    columns = report_audio.pairs(found, read_experiments())
    assert list(columns) == ["music, three_tier"]
    np.testing.assert_array_equal(columns["music, three_tier"][0], clips[np.argmax(clips.std(1))])
