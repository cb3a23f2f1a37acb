"""Tolerances of conformance checks, with their reasons."""

from dataclasses import dataclass

MARGIN = 5
"""A tolerance is this many times the worst relative error measured."""


@dataclass(frozen=True)
class Tolerance:
    """The largest relative error allowed, and its reason."""

    measured: float  # the worst over the cases, the backends jax, numba and c, and both forms
    reason: str

    @property
    def limit(self) -> float:
        """The largest relative error allowed."""
        return MARGIN * self.measured


SUMS = "float32 sums in another order"
KINK = "rounding grows along the updates"

TOLERANCES = {
    "random state": Tolerance(0, "the same draws, bit for bit"),
    "initial, drawn": Tolerance(0, "the same draws, bit for bit"),
    "initial, orthogonal": Tolerance(
        6.0e-8, "another LAPACK: a unit in the last place, though none was seen"
    ),
    "minibatches": Tolerance(0, "integers"),
    "cost": Tolerance(3.4e-7, SUMS),
    "states": Tolerance(4.0e-7, SUMS),
    "logits": Tolerance(6.5e-7, SUMS),
    "gradient": Tolerance(2.2e-6, SUMS),
    "costs": Tolerance(4.6e-7, KINK),
    "states after training": Tolerance(4.3e-5, KINK),
    "parameters after training": Tolerance(1.9e-6, KINK),
}

# In this case a gradient is so near zero that rounding decides its sign, and Adam's first steps have the size
# of the learning rate and the sign of the gradient: on jax its parameters end 5e-7 from the original's, on
# numba and c, one unit in the last place away at the start, 2e-5.
SIGN = "the sign of a gradient near zero is that of its rounding error"
EXCEPTIONS = {
    ("3t_lstm2_h0F", "costs"): Tolerance(6.1e-6, SIGN),
    ("3t_lstm2_h0F", "states after training"): Tolerance(8.3e-4, SIGN),
    ("3t_lstm2_h0F", "parameters after training"): Tolerance(2.0e-5, SIGN),
}

FLOAT64 = Tolerance(1.4e-13, "float64 sums in another order")


def tolerance(kind: str, dtype: str, case: str = "") -> Tolerance:
    """The tolerance of a kind of quantity if the original computed in `dtype`.

    Exact kinds are exact in both.
    """
    usual = TOLERANCES[kind]
    if usual.limit and dtype == "float64":
        return FLOAT64
    return EXCEPTIONS.get((case, kind), usual)


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

    @property
    def limit(self) -> float:
        """The largest relative error that is allowed."""
        return tolerance(self.kind, self.dtype, self.case).limit

    @property
    def passed(self) -> bool:
        """True if the relative error is within the tolerance."""
        return self.relative <= self.limit

    def line(self) -> str:
        """The check as one line of text."""
        verdict = "pass" if self.passed else "FAIL"
        numbers = f"abs {self.absolute:7.1e}  rel {self.relative:7.1e}  tol {self.limit:7.1e}"
        return f"{self.case}  {self.quantity:<60}  {numbers}  {verdict}  {self.note}".rstrip()
