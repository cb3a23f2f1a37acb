"""Learning curves on the demo set are the original's, update after update from the same seed."""

import pytest

from samplernn_theano.verification import verify
from samplernn_theano.verification.cases import read_case
from tests.conftest import GOLDEN

ATLAS = GOLDEN / "atlas"
QUICK = ["three_tier_seed123"]
LONG = ["one_tier_seed1", "one_tier_seed123", "two_tier_seed1", "two_tier_seed123"]
LONG += ["three_tier_seed1", "wavenet_seed123"]


def check(name, backend="jax"):
    checks = list(verify.check_case(read_case(ATLAS / f"{name}.json"), backend))
    failed = [c.line() for c in checks if not c.passed]
    assert len(checks) == 5 and not failed, "\n".join(failed)


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_the_first_updates_cost_what_the_originals_did(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_so_they_do_on_the_backend_c(name):
    check(name, "c")
