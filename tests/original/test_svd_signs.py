"""The orthogonal factor with the signs of the authors' LAPACK.

`golden/orthogonal.npz` was made by NumPy 1.11.1: its array "16_3" is about the left singular vectors of
`RandomState(3).normal(0.0, 1.0, (16, 16))`. For each vector it has the row of the entry of largest magnitude,
counted from 1, with the sign of that entry. Matrices whose signs hang on rounding errors are left out.
"""

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.original import svd_signs

GOLDEN = Path(__file__).parents[1] / "golden"
SIGNS = dict(np.load(GOLDEN / "orthogonal.npz"))
DRAWS = {
    path.stem: json.loads(path.read_text())["draws"] for path in sorted((GOLDEN / "cases").glob("*.json"))
}


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).normal(0.0, 1.0, (n, n))


def wrong_columns(u: np.ndarray, golden: np.ndarray) -> int:
    return int(np.sum(np.sign(u[np.abs(golden) - 1, np.arange(len(u))]) != np.sign(golden)))


@pytest.mark.parametrize("n", sorted({int(name.split("_")[0]) for name in SIGNS}))
def test_signs_are_those_of_the_authors_numpy(n):
    for name, golden in SIGNS.items():
        size, seed = map(int, name.split("_"))
        if size == n:
            assert wrong_columns(svd_signs.orthogonal_factor(normal(n, seed)), golden) == 0, f"seed {seed}"


@pytest.mark.parametrize("case", [case for case, draws in DRAWS.items() if "normal" in {d[0] for d in draws}])
def test_initial_weights_of_the_original_are_met(case):
    """Replays the original's draws, and compares the weights that it made of square normal matrices."""
    weights = np.load(GOLDEN / "cases" / f"{case}.npz")
    rng = np.random.RandomState(123)
    for function, name, shape, again in DRAWS[case]:
        if again:  # from here on the original draws all layers once more, and throws them away
            break
        if function == "uniform":
            rng.uniform(size=shape)
        elif function == "randn":
            rng.randn(*shape)
        else:
            u = svd_signs.orthogonal_factor(rng.normal(0.0, 1.0, shape))
            np.testing.assert_allclose(u, weights[f"init/{name}.W0"], rtol=0, atol=1e-6)


@settings(max_examples=40)
@given(n=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_signs_do_not_depend_on_the_lapack_at_hand(n, seed):
    a = normal(n, seed)
    u, s, vt = np.linalg.svd(a)
    flips = np.random.default_rng(seed).choice([-1.0, 1.0], n)
    expected = svd_signs.orthogonal_factor(a)
    with patch("numpy.linalg.svd", return_value=(u * flips, s, vt * flips[:, None])):
        np.testing.assert_array_equal(svd_signs.orthogonal_factor(a), expected)


@settings(max_examples=40)
@given(n=st.integers(2, 120), seed=st.integers(0, 2**32 - 1))
def test_emulated_vectors_are_those_of_the_bidiagonal_matrix(n, seed):
    d, e, _, _ = svd_signs.bidiagonalise(normal(n, seed))
    b = np.diag(d) + np.diag(e, 1)
    u = svd_signs.signed_left_vectors(d, e)
    values = np.linalg.svd(normal(n, seed), compute_uv=False)
    np.testing.assert_allclose(u.T @ b @ b.T @ u, np.diag(values**2), atol=1e-10 * values[0] ** 2)


def test_double_singular_values_still_give_orthogonal_vectors():
    """Two equal halves, hardly joined: the merge meets pairs of equal values."""
    rng = np.random.default_rng(5)
    d, e = rng.uniform(0.5, 2.0, 30), rng.uniform(0.1, 0.5, 29)
    u = svd_signs.signed_left_vectors(np.concatenate([d, [1.0], d]), np.concatenate([e, [1e-3, 1e-3], e]))
    np.testing.assert_allclose(u.T @ u, np.eye(61), atol=1e-12)


def test_not_finite_is_refused():
    with pytest.raises(np.linalg.LinAlgError):
        svd_signs.orthogonal_factor(np.full((4, 4), np.nan))
