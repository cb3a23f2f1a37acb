"""The parameters of a model: a dictionary, name -> shared variable, in building order.

Initial values are drawn from one random stream, NumPy's legacy generator (seed 123 in the original), so the
building order is part of the model: same seed, same order, same parameters.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytensor
from numpy.random import RandomState
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import SharedVariable

from samplernn_theano.errors import CheckpointError
from samplernn_theano.original import svd_signs

Initial = Callable[[RandomState], NDArray]


class Parameters(Mapping[str, SharedVariable]):
    """Named parameters of one model.

    Parameters
    ----------
    seed : int or None
        Seed of the initial draws; the original's is 123. With None nothing is drawn, and `values` must hold
        every parameter.
    values : mapping of str to array, optional
        Values, such as those of a checkpoint, that replace the draws.
    dtype : {"float32", "float64"}
        Of every parameter and of the graphs built on them.
    """

    def __init__(
        self, seed: int | None = 123, values: Mapping[str, NDArray] | None = None, dtype: str = "float32"
    ) -> None:
        self.dtype = dtype
        self.rng = None if seed is None else RandomState(seed)
        self._given = dict(values or {})
        self._variables: dict[str, SharedVariable] = {}
        self._trainable: dict[str, bool] = {}

    def new(self, name: str, shape: tuple[int, ...], draw: Initial, trainable: bool = True) -> SharedVariable:
        """The parameter `name`, created at its first use; later calls return the same variable.

        A value is drawn at *every* call, and discarded if the parameter exists or was given (quirk: the
        original draws whenever a layer is built, and later draws depend on it).
        """
        drawn = None if self.rng is None else draw(self.rng)
        if name not in self._variables:
            value = self._given.get(name, drawn)
            if value is None:
                raise CheckpointError(f"The checkpoint has no parameter {name}, which this model needs.")
            if value.shape != shape:
                raise CheckpointError(
                    f"Parameter {name} of the checkpoint has shape {value.shape}, this model needs {shape}; "
                    "use the hyper-parameters that the checkpoint was trained with."
                )
            # A static shape, and our own copy: the variable's value is never the caller's array.
            array = np.array(value, dtype=self.dtype)
            self._variables[name] = pytensor.shared(array, name=name, shape=shape)
            self._trainable[name] = trainable
        return self._variables[name]

    def __getitem__(self, name: str) -> SharedVariable:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def trainable(self) -> list[SharedVariable]:
        """The variables that training updates, in building order."""
        return [variable for name, variable in self._variables.items() if self._trainable[name]]

    def arrays(self) -> dict[str, NDArray]:
        """A copy of every parameter as a NumPy array, in building order."""
        return {name: np.array(v.get_value(borrow=True), self.dtype) for name, v in self._variables.items()}

    def assign(self, arrays: Mapping[str, NDArray]) -> None:
        """Set every parameter named in `arrays` to that value."""
        for name, array in arrays.items():
            self._variables[name].set_value(np.array(array, dtype=self.dtype))

    def check_all_used(self) -> None:
        """Raise CheckpointError if a given value belongs to no parameter of the model."""
        unused = [name for name in self._given if name not in self._variables]
        if unused:
            raise CheckpointError(
                f"The checkpoint holds parameters that this model lacks, such as {unused[0]}; "
                "use the hyper-parameters that the checkpoint was trained with."
            )


# --- initial values -----------------------------------------------------------------------------------------


def uniform(deviation: float, shape: tuple[int, ...]) -> Initial:
    """Draw from the uniform distribution with mean 0 and the given standard deviation."""
    bound = deviation * np.sqrt(3)
    return lambda rng: rng.uniform(low=-bound, high=bound, size=shape)


def he(n_in: int, n_out: int) -> Initial:
    """He et al. 2015: uniform with standard deviation sqrt(2 / n_in)."""
    return uniform(np.sqrt(2.0 / n_in), (n_in, n_out))


def orthogonal(n: int) -> Initial:
    """Saxe et al. 2014: the orthogonal factor u (n, n) of a standard normal matrix's SVD.

    With the column signs of the authors' LAPACK: a current one gives some columns the other sign.
    """
    return lambda rng: svd_signs.orthogonal_factor(rng.normal(0.0, 1.0, (n, n)))


def default(n_in: int, n_out: int) -> Initial:
    """The original's default: orthogonal for a square matrix, else LeCun's sqrt(1 / n_in)."""
    if n_in == n_out:
        return orthogonal(n_in)
    return uniform(np.sqrt(1.0 / n_in), (n_in, n_out))


def standard_normal(*shape: int) -> Initial:
    """Draw from the standard normal distribution."""
    return lambda rng: rng.randn(*shape)


def zeros(*shape: int) -> Initial:
    """All zeros; draws nothing."""
    return lambda rng: np.zeros(shape)
