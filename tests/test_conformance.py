"""Our three-tier model is the authors' model: every case that the original produced."""

import json
import shutil

import numpy as np
import pytest

from samplernn_theano import cases as case_files
from samplernn_theano import conformance
from samplernn_theano.cli import main

THREE_TIER = [
    "3t_gru1_mulaw",
    "3t_gru1_nowm",
    "3t_gru1_q256",
    "3t_gru2_skip",
    "3t_lstm2_h0F",
    "3t_lstm3_skip",
]


def check(cases, name, backend="jax", form="fast"):
    case = case_files.read_case(cases / f"{name}.json")
    checks = list(conformance.check_case(case, backend, form, case_files.find_corpus(cases)))
    failed = [c.line() for c in checks if not c.passed]
    assert not failed, "\n".join(failed)
    return checks


@pytest.mark.parametrize("name", THREE_TIER)
def test_three_tier_conforms(cases, name):
    checks = check(cases, name)
    quantities = " ".join(c.quantity for c in checks)
    for word in ("initial", "random state", "minibatches", "eval0/cost", "eval1/new_big_h0", "masked/grad/"):
        assert word in quantities
    for word in (
        "ip_eval0/",
        "train/costs",
        "after 1 update",
        "after 30 updates",
        "ip_train/",
        "other_train/",
    ):
        assert word in quantities
    assert "monitor_init/valid" in quantities and "monitor_after30/test" in quantities


def test_the_reference_form_conforms(cases):
    check(cases, "3t_gru1_q256", form="reference")


def test_the_backend_c_conforms(cases):
    check(cases, "3t_gru1_q256", "c")


@pytest.mark.slow
def test_the_backend_numba_conforms(cases):
    check(cases, "3t_gru1_q256", "numba")


@pytest.fixture
def one_case(cases, tmp_path):
    """A folder with one case and no corpus, to be spoilt."""
    for suffix in (".json", ".npz"):
        shutil.copy(cases / f"3t_gru1_nowm{suffix}", tmp_path / f"3t_gru1_nowm{suffix}")
    return tmp_path


def test_a_difference_is_found_and_named(one_case, capsys):
    path = one_case / "3t_gru1_nowm.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["eval0/grad/FrameLevel.Output.b"] = arrays["eval0/grad/FrameLevel.Output.b"] * np.float32(1.001)
    arrays["train/costs"] = arrays["train/costs"] + np.float32(1e-3)
    np.savez(path, **arrays)
    assert main(["conformance", str(one_case), "--brief"]) == 1
    out = capsys.readouterr().out
    failures = [line for line in out.splitlines() if "FAIL" in line]
    assert len(failures) == 2
    assert "eval0/grad/FrameLevel.Output.b" in failures[0] and "train/costs" in failures[1]
    assert "2 failed" in out and "No corpus" in out


def test_another_command_line_is_another_model(one_case, capsys):
    """The model is built from argv alone."""
    path = one_case / "3t_gru1_nowm.json"
    settings = json.loads(path.read_text())
    at = settings["argv"].index("--weight_norm") + 1
    settings["argv"][at] = "True"
    path.write_text(json.dumps(settings))
    assert main(["conformance", str(one_case)]) == 1
    out = capsys.readouterr().out
    assert "names of the parameters" in out and "0 checks passed, 1 failed" in out


def test_another_shape_fails_and_ends_the_case(one_case, capsys):
    path = one_case / "3t_gru1_nowm.json"
    settings = json.loads(path.read_text())
    settings["argv"][settings["argv"].index("--dim") + 1] = "20"
    path.write_text(json.dumps(settings))
    assert main(["conformance", str(one_case)]) == 1
    out = capsys.readouterr().out
    assert "shape" in out and "eval0" not in out


def test_an_incomplete_case_fails_and_is_named(one_case, capsys):
    path = one_case / "3t_gru1_nowm.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "mb/sequences"}
    np.savez(path, **arrays)
    assert main(["conformance", str(one_case)]) == 1
    out = capsys.readouterr().out
    assert "lacks 'mb/sequences'" in out and "1 cases incomplete" in out
    path.write_bytes(path.read_bytes()[:2000])
    assert main(["conformance", str(one_case)]) == 2


def test_the_table_at_the_end_has_a_number_under_each_heading(capsys):
    conformance._summarise([conformance.Check("case", "quantity", "cost", 1e-7, 2e-7)], "jax", "fast")
    heading, row = capsys.readouterr().out.splitlines()[-2:]
    columns = heading.split("where")[0].split()
    assert columns == ["kind", "absolute", "relative", "usual", "tolerance"]
    assert row.split()[:5] == ["cost", "1.0e-07", "2.0e-07", "2.9e-07", "1e-06"]


def test_a_family_that_is_not_there_fails_unless_left_out(one_case, capsys):
    settings = json.loads((one_case / "3t_gru1_nowm.json").read_text())
    (one_case / "3t_gru1_nowm.json").write_text(json.dumps(settings | {"model": "four_tier"}))
    assert main(["conformance", str(one_case)]) == 1
    assert "four_tier is not implemented" in capsys.readouterr().out
    assert main(["conformance", str(one_case), "--family", "three_tier"]) == 2


def test_unreadable_cases_are_refused_in_one_sentence(tmp_path, capsys):
    assert main(["conformance", str(tmp_path / "nowhere")]) == 2
    assert main(["conformance", str(tmp_path)]) == 2
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.npz").write_bytes(b"not a zip")
    assert main(["conformance", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 3 and all(line.startswith("samplernn: ") for line in errors)
