"""The tables in README.md and reproduce/RESULTS.md are made from the files in reproduce/results."""

import importlib.util
import json
from pathlib import Path

from samplernn_theano.checkpoints import pretrained

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("results", ROOT / "reproduce" / "results.py")
assert spec and spec.loader
results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(results)


def test_the_tables_are_those_that_the_script_makes():
    assert (ROOT / "reproduce" / "RESULTS.md").read_text(encoding="utf-8") == results.page()
    (block,) = results.BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block == results.readme_table()


def test_a_row_that_was_not_run_at_the_papers_scale_says_so():
    rows = results.page_rows()
    assert rows and all((row["ours"] == "–") == ("not run" in row["scale: data"]) for row in rows)


def test_numbers_are_shown_with_what_is_not_known_of_them_and_what_their_error_is_over():
    rows = {row["experiment"]: row for row in results.page_rows()}
    for name in ("`table1/music/two_tier`, test", "`table1/music_overlap/two_tier`, test"):
        assert rows[name]["paper"] == "1.076‡"
    entry = {"ours": 2.0, "error": 0.1, "unit": "bits per sample", "seeds": [{}]}
    assert results.ours(entry | {"over": "clips", "n": 32}) == "2.000 ± 0.100 (over 32 clips, 1 seed)"
    several = entry | {"over": "seeds", "n": 3, "seeds": [{}] * 3}
    assert results.ours(several) == "2.000 ± 0.100 (over 3 seeds)"
    assert results.ours(several | {"error": None}) == "2.000 (3 seeds)"


def test_the_readme_says_what_made_our_numbers_and_where_they_are():
    rows = [line for line in results.readme_table().splitlines() if "study:" in line]
    assert rows and all(
        "`reproduce/study.sh` | [scores](reproduce/results/study.json)" in row for row in rows
    )


def test_the_cards_of_the_models_have_the_scores_of_the_table():
    entries = {
        entry["experiment"]: entry for entry in json.loads((results.FOLDER / "study.json").read_text())
    }
    for name in pretrained.names():
        card = pretrained.card(name)
        seeds = {own["seed"]: own for own in entries[card["study"].split()[-1]]["seeds"]}
        assert abs(seeds[card["seed"]]["bits"] - card["test"]) < 1e-4
        assert seeds[card["seed"]]["best_update"] == card["updates"]
        assert seeds[card["seed"]]["revision"] == card["revision"]
