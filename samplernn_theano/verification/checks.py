"""Our arrays compared with the original's: one check for each."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.verification.cases import Case
from samplernn_theano.verification.tolerances import Check


def difference(
    case: Case, quantity: str, kind: str, absolute: float, relative: float, note: str = ""
) -> Check:
    """A check of `case` with a known difference; NaN counts as infinite."""
    if not np.isfinite(absolute):
        absolute = relative = np.inf
    return Check(case.name, quantity, kind, absolute, relative, note, case.dtype)


def compare(case: Case, quantity: str, kind: str, ours: NDArray, theirs: NDArray, note: str = "") -> Check:
    """Compare two arrays."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        note = f"shape {ours.shape}, the original's is {theirs.shape}"
        return difference(case, quantity, kind, np.inf, np.inf, note)
    delta = ours - theirs
    absolute = float(np.max(np.abs(delta), initial=0.0))
    scale = float(np.linalg.norm(theirs))
    relative = float(np.linalg.norm(delta)) / scale if scale else absolute
    return difference(case, quantity, kind, absolute, relative, note)


def worst(
    case: Case,
    quantity: str,
    kind: str,
    ours: Mapping[str, NDArray],
    theirs: Mapping[str, NDArray],
    names: set[str],
) -> Check:
    """Compare the parameter of `names` with the largest error."""
    checks = [compare(case, quantity, kind, ours[n], theirs[n], f"worst: {n}") for n in sorted(names)]
    return max(checks, key=lambda check: check.relative)


def joint(
    case: Case, quantity: str, kind: str, ours: Mapping[str, NDArray], theirs: Mapping[str, NDArray]
) -> Check:
    """Compare all parameters of `theirs` as one vector.

    Adam's first steps depend only on the signs of gradients, also of those near zero: a bias that was zero
    may move the other way. So parameters after updates are compared by their joint norm.
    """
    flat = [np.concatenate([arrays[n].ravel() for n in theirs]) for arrays in (ours, theirs)]
    return compare(case, quantity, kind, flat[0], flat[1])
