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
    rows = results.rows_of(results.read_numbers(), results.stored())
    assert all(row[3] and (row[2] == "–") == ("not run" in row[3]) for row in rows)


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
