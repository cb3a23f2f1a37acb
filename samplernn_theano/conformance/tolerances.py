"""How far our numbers may be from the original's, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

MARGIN = 5
"""A tolerance is so many times the worst that was measured over all cases."""


@dataclass(frozen=True)
class Tolerance:
    """The largest relative error allowed on a backend: `MARGIN` times the worst measured there."""

    measured: Mapping[str, float]  # by backend, the worst over the cases and forms
    reason: str

    def usual(self, backend: str) -> float:
        """The worst error measured on a backend."""
        return self.measured[backend]

    def limit(self, backend: str) -> float:
        """The largest error allowed on a backend."""
        return MARGIN * self.measured[backend]


EXACT = dict.fromkeys(("jax", "numba", "c"), 0.0)
SVD = dict.fromkeys(("jax", "numba", "c"), 6.0e-8)  # a unit in the last place; none was seen
SUMS = "float32 sums in another order"
# Where a gradient is near zero, Adam's first steps have the size of the learning rate and the sign of the
# rounding; where a ReLU is near zero, rounding decides its side. One such event moves one parameter by 1e-3:
# 3t_gru1_mulaw on c, and 2t_lstm2_skip, where the original's own float32 and float64 runs part by 9e-3 in a
# gradient of the 29th update.
KINK = "rounding along the updates, and the sign of gradients near zero"

TOLERANCES = {
    "random state": Tolerance(EXACT, "the same draws, bit for bit"),
    "initial, drawn": Tolerance(EXACT, "the same draws, bit for bit"),
    "initial, orthogonal": Tolerance(SVD, "another LAPACK computes the SVD, in float64"),
    "minibatches": Tolerance(EXACT, "integers"),
    "cost": Tolerance({"jax": 3.4e-7, "numba": 9.5e-8, "c": 9.8e-8}, SUMS),
    "states": Tolerance({"jax": 4.0e-7, "numba": 2.7e-7, "c": 3.1e-7}, SUMS),
    "logits": Tolerance({"jax": 6.5e-7, "numba": 3.6e-7, "c": 5.9e-7}, SUMS),
    "gradient": Tolerance({"jax": 1.9e-6, "numba": 2.2e-6, "c": 1.7e-6}, SUMS),
    "costs": Tolerance({"jax": 4.3e-7, "numba": 9.2e-8, "c": 2.0e-6}, KINK),
    "states after training": Tolerance({"jax": 4.3e-5, "numba": 7.3e-6, "c": 3.7e-4}, KINK),
    "parameters after training": Tolerance({"jax": 1.9e-6, "numba": 4.9e-8, "c": 4.5e-5}, KINK),
}

FLOAT64 = Tolerance({"jax": 1.4e-13, "numba": 0, "c": 0}, "float64 sums in another order")


def tolerance(kind: str, dtype: str) -> Tolerance:
    """The tolerance of a kind of quantity where the original computed in `dtype`; exact kinds are exact in
    both.
    """
    usual = TOLERANCES[kind]
    return FLOAT64 if any(usual.measured.values()) and dtype == "float64" else usual


@dataclass(frozen=True)
class Check:
    """One quantity of one case, compared."""

    case: str
    quantity: str
    kind: str  # a key of TOLERANCES
    absolute: float  # largest absolute difference
    relative: float  # norm of the difference over the norm of the original's
    note: str = ""
    dtype: str = "float32"  # that the original computed in
    backend: str = "jax"

    @property
    def limit(self) -> float:
        """The largest relative error that is allowed."""
        return tolerance(self.kind, self.dtype).limit(self.backend)

    @property
    def passed(self) -> bool:
        """Whether the relative error is within the tolerance."""
        return self.relative <= self.limit

    def line(self) -> str:
        """The check as one line of text."""
        verdict = "pass" if self.passed else "FAIL"
        numbers = f"abs {self.absolute:7.1e}  rel {self.relative:7.1e}  tol {self.limit:7.1e}"
        return f"{self.case}  {self.quantity:<60}  {numbers}  {verdict}  {self.note}".rstrip()
