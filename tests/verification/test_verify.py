"""Our models are the authors' models: every case that the original produced."""

import json
from dataclasses import replace

import numpy as np
import pytensor.tensor as pt
import pytest

from samplernn_theano.backends import chunked_loss
from samplernn_theano.cli.main import main
from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer
from samplernn_theano.verification import cases as case_files
from samplernn_theano.verification import verify

QUICK = ["1t_gru1", "1t_lstm2_skip", "2t_gru1_onehot", "2t_lstm2_skip", "3t_gru1_nowm", "wn_2x4"]
LONG = ["3t_lstm2_h0F"]  # three LSTMs take as long to compile as four others
LONG += ["2t_gru2_nowm", "2t_gru3_q256", "3t_gru1_mulaw", "3t_gru1_q256", "3t_gru2_skip", "3t_lstm3_skip"]
DOUBLE_QUICK = ["1t_gru1"]
DOUBLE_LONG = ["2t_lstm2_skip", "3t_gru2_skip"]


as_users_have_it = pytest.mark.usefixtures("optimised")


def slow(names):
    """`names` as parameters of a test that runs only when asked for."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


class Noting(dict):
    """Arrays by name that know which were never read."""

    def __init__(self, arrays):
        super().__init__(arrays)
        self.unread = set(arrays)

    def __getitem__(self, name):
        self.unread.discard(name)
        return super().__getitem__(name)


def check(folder, name, backend="jax", form="fast"):
    """Hold one case against the original: nothing differs, and nothing that it holds is left out."""
    case = case_files.read_case(folder / f"{name}.json")
    case = replace(case, arrays=Noting(case.arrays))
    checks = list(verify.check_case(case, backend, form, case_files.find_corpus(folder)))
    failed = [c.line() for c in checks if not c.passed]
    assert not failed, "\n".join(failed)
    assert not case.arrays.unread
    return checks


@as_users_have_it
@pytest.mark.parametrize("name", [*QUICK, *slow(LONG)])
def test_our_model_is_the_authors(cases, name):
    checks = check(cases, name)
    assert {c.dtype for c in checks} == {"float32"}


@as_users_have_it
@pytest.mark.parametrize("name", ["2t_lstm2_skip", *slow(["3t_gru1_nowm", "3t_gru2_skip"])])
def test_a_sample_tier_in_chunks_is_the_authors_too(cases, name, monkeypatch):
    """Models of the paper's size are always computed so; the cases are small, so the limit is lowered."""
    monkeypatch.setenv("SAMPLERNN_CACHE", "off")
    monkeypatch.setattr(chunked_loss, "MAX_ACTIVATIONS", 500)
    check(cases, name)


@as_users_have_it
@pytest.mark.parametrize("name", [*DOUBLE_QUICK, *slow(DOUBLE_LONG)])
def test_our_model_is_the_authors_in_float64(cases, name):
    """Rounding is all that is left between the two, to the 30th update and beyond."""
    checks = check(cases.parent / "cases_f64", name)
    assert {c.dtype for c in checks} == {"float64"}
    assert max(c.relative for c in checks) < 1e-9


def test_every_case_is_here(cases):
    names = [[path.stem for path in case_files.find_cases(cases.parent / f)] for f in ("cases", "cases_f64")]
    assert names == [sorted(QUICK + LONG), sorted(DOUBLE_QUICK + DOUBLE_LONG)]


@as_users_have_it
@pytest.mark.parametrize("name", ["1t_gru1", *slow(["wn_2x4"])])
def test_the_reference_form_conforms(cases, name):
    check(cases, name, form="reference")


ONE_OF_EACH = ["1t_lstm2_skip", "2t_gru3_q256", "3t_gru1_q256", "wn_2x4"]


@pytest.mark.parametrize("name", ["2t_gru1_onehot", *slow(ONE_OF_EACH)])
def test_the_backend_c_conforms(cases, name):
    check(cases, name, "c")


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_backend_numba_conforms(cases, name):
    check(cases, name, "numba")


@pytest.fixture
def altered(cases, tmp_path, capsys):
    """Run the command on a case after a change, and without a corpus; return its code and its output."""
    settings = json.loads((cases / "1t_gru1.json").read_text())
    with np.load(cases / "1t_gru1.npz") as archive:
        arrays = dict(archive)

    def run(change, *options):
        change(settings, arrays)
        (tmp_path / "a.json").write_text(json.dumps(settings))
        np.savez(tmp_path / "a.npz", **arrays)
        return main(["conformance", str(tmp_path), *options]), capsys.readouterr().out

    return run


def with_flag(name, value):
    def change(settings, arrays):
        settings["argv"][settings["argv"].index(name) + 1] = value

    return change


def test_a_difference_is_found_and_named(altered):
    def change(settings, arrays):
        arrays["eval0/grad/SampleLevel.Output.b"] *= np.float32(1.001)
        arrays["train/costs"] += np.float32(1e-3)

    code, out = altered(change, "--brief")
    failures = [line for line in out.splitlines() if "FAIL" in line]
    assert code == 1 and len(failures) == 2
    assert "eval0/grad/SampleLevel.Output.b" in failures[0] and "train/costs" in failures[1]
    assert "2 failed" in out and "No corpus" in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_flag("--weight_norm", "False"), "names of the parameters"),
        (with_flag("--dim", "20"), "shape (20,"),
        (lambda settings, arrays: arrays.pop("mb/sequences"), "lacks 'mb/sequences'"),
        (lambda settings, arrays: settings.update(model="four_tier"), "four_tier is not implemented"),
    ],
    ids=["another model", "another shape", "incomplete", "another family"],
)
def test_another_case_fails_and_ends(altered, change, words):
    """The model is built from argv alone."""
    code, out = altered(change)
    assert code == 1 and words in out and "FAIL" in out and "eval0" not in out


def test_the_table_at_the_end_has_a_number_under_each_heading(capsys):
    for dtype, numbers in (("float32", ["3.4e-07", "1.7e-06"]), ("float64", ["1.4e-13", "7.0e-13"])):
        one = verify.Check("case", "quantity", "cost", 1e-10, 2e-10, dtype=dtype)
        verify._summarise([one], "backend jax")
        first, heading, row = capsys.readouterr().out.splitlines()[-3:]
        columns = heading.split("where")[0].split()
        assert columns == ["kind", "absolute", "relative", "usual", "tolerance"]
        assert row.split()[:5] == ["cost", "1.0e-10", "2.0e-10", *numbers] and dtype in first


def test_float64_is_held_to_less_than_float32():
    def passes(kind, dtype):
        return verify.Check("case", "quantity", kind, 1e-8, 1e-8, dtype=dtype).passed

    assert passes("cost", "float32") and not passes("cost", "float64")
    assert not passes("initial, drawn", "float32") and not passes("initial, drawn", "float64")


def test_adams_constants_formed_in_float64_are_outside_the_tolerance(cases, monkeypatch):
    """Rounded from float64, 1 - beta2 is 0.001 in place of 9.9998713e-4: a hundred times the usual error."""
    monkeypatch.setattr(verify.optimizer, "adam", adam_of_float64_constants)
    case = case_files.read_case(cases / "1t_gru1.json")
    hp, _ = from_original_argv(FAMILIES[case.family], case.settings["argv"])
    options = {"backend": "jax", "n_devices": 1}
    one = verify.Verification(case, hp, build_graph(Parameters(), hp), options)
    assert not all(check.passed for check in one.training("train"))


def adam_of_float64_constants(cost, parameters, learning_rate, n_devices=1):
    """Adam as it was: the constants are formed in float64, and rounded."""

    def number(value):
        return pt.constant(value, dtype=cost.dtype)

    grads = optimizer.gradients(cost, parameters, n_devices)
    state = optimizer.adam_state(list(grads), cost.dtype)
    t = state["adam.t"] + number(1)
    a_t = number(learning_rate) * pt.sqrt(number(1) - number(0.999) ** t) / (number(1) - number(0.9) ** t)
    updates = {state["adam.t"]: t}
    for parameter, grad in grads.items():
        grad = pt.clip(grad, number(-1), number(1))
        m_before, v_before = (state[f"adam.{name}.{parameter.name}"] for name in "mv")
        updates[m_before] = m = number(0.9) * m_before + number(1 - 0.9) * grad
        updates[v_before] = v = number(0.999) * v_before + number(1 - 0.999) * grad**2
        updates[parameter] = parameter - a_t * m / (pt.sqrt(v) + number(1e-8))
    return updates, state


def test_unreadable_cases_are_refused_in_one_sentence(tmp_path, capsys):
    assert main(["conformance", str(tmp_path / "nowhere")]) == 2
    assert main(["conformance", str(tmp_path)]) == 2
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.npz").write_bytes(b"not a zip")
    assert main(["conformance", str(tmp_path)]) == 2
    (tmp_path / "a.json").write_text('{"argv": ["two_tier.py"], "model": "two_tier"}')
    np.savez(tmp_path / "a.npz", x=1)
    assert main(["conformance", str(tmp_path), "--family", "one_tier"]) == 2
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**7))
    assert main(["conformance", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 5 and all(line.startswith("samplernn: ") for line in errors)
    assert "would unpack to 80," in errors[-1]
