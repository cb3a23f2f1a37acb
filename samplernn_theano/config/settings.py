"""The settings of a run: what its settings.json and its checkpoints store, and how it is read again."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from samplernn_theano.config.field_types import wrong_type
from samplernn_theano.config.flags import format_value, read_settings
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters, as_stored
from samplernn_theano.config.schedule import Schedule, original_schedule, stored_schedule
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.utils.text import parse_json

PRECISIONS = ("highest", "tf32x3", "bf16x6", "tf32", "bf16")
"""Of matrix products on a GPU, summed in float32: of float32; with its accuracy, from three products of TF32
(10 bits of mantissa) or six of bfloat16 (7 bits); of TF32; of bfloat16. On a CPU all are the highest."""


@dataclass(frozen=True)
class Options:
    """Options of training that are neither hyper-parameters nor part of the schedule."""

    seed: int = 123  # of the initial parameters
    ip_weight: float = 0.0  # of the cost of the independent predictions, which the original's training omits
    backend: str | None = None  # jax, numba or c; None: jax if it is installed, else numba
    precision: str = "highest"  # of matrix products on a GPU, one of `PRECISIONS`
    n_devices: int = 1  # that share each minibatch
    # Of the samples of evaluations; None: on a GPU the backend that trains there, else the fastest sampler.
    sampling_backend: str | None = None
    tensorboard: bool = False  # also write the run for TensorBoard

    def __post_init__(self) -> None:
        """Raise HyperParameterError if a value has the wrong type, or a weight is no weight."""
        if wrong := wrong_type(self):
            raise HyperParameterError(wrong)
        if not 0 <= self.ip_weight < math.inf:
            raise HyperParameterError(f"--ip-weight is {self.ip_weight}; it must be a number of at least 0.")


def check_options(options: Options, learning_rate: float) -> None:
    """Raise HyperParameterError if an option or the learning rate is invalid for every model."""
    if not 0 < learning_rate < math.inf:
        raise HyperParameterError(f"The learning rate must be positive, not {learning_rate}.")
    if not 0 <= options.seed < 2**32:
        raise HyperParameterError(
            f"The seed must be a whole number from 0 to 4294967295, not {options.seed}."
        )


def stored_options(settings: Mapping[str, Any]) -> Options:
    """The options in the settings of a run; defaults for those that a run of the original does not have."""
    return Options(**{own.name: settings[own.name] for own in fields(Options) if own.name in settings})


@dataclass(frozen=True)
class RunSettings:
    """All that determines a run."""

    hp: HyperParameters
    schedule: Schedule
    options: Options
    data: Path  # folder of the data set
    data_sha256: Mapping[str, str] = field(default_factory=dict)  # of each split, as far as they are known
    exp: str | None = None  # name of the experiment in a run with the original's layout


STORED: dict[str, type | tuple[type, ...]] = {
    **{"family": str, "hyperparameters": dict, "schedule": dict, "data": str, "data_sha256": dict},
    **{"exp": str, "which_set": str, "original_layout": bool, "versions": dict, "command": str},
    **{"git_revision": str, "devices": str, "learning_rate": (int, float)},
    **{"of_fork": str, "assumed": list, "original_argv": list, "converted_from": str},
}
"""Types of the entries of a run's settings; an entry that is null is missing."""


def check_stored(settings: Any) -> dict[str, Any]:
    """The settings of a file; HyperParameterError if an entry has another type, or an invalid value."""
    if not isinstance(settings, dict):
        raise HyperParameterError(f"they are {reprlib.repr(settings)}, not names and values.")
    for name, kind in STORED.items():
        value = settings.get(name)
        if value is not None and not isinstance(value, kind):
            raise HyperParameterError(f"{name} is {reprlib.repr(value)}.")
        texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if not all(_is_text(text) for text in texts):
            raise HyperParameterError(f"{name} is {reprlib.repr(value)}.")
    stored_options(settings)
    schedule = stored_schedule(settings)
    Schedule(**{own.name: schedule[own.name] for own in fields(Schedule) if own.name in schedule})
    return settings


def _is_text(value: Any) -> bool:
    """True if a value is a text that could have come from a command line or from the name of a file."""
    try:
        return b"\0" not in value.encode("utf-8", "surrogateescape")
    except (AttributeError, UnicodeEncodeError):
        return False


def read_json(path: Path) -> dict[str, Any]:
    """Settings in the file `path`, or in the run folder `path`, with entries of the right types."""
    path = path / "settings.json" if path.is_dir() else path
    try:
        settings = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is damaged ({error})"
        raise HyperParameterError(f"The settings {path} cannot be read: {reason}.") from error
    family = settings.get("family") if isinstance(settings, dict) else None
    if str(family) not in FAMILIES:
        raise HyperParameterError(
            f"{path} does not hold the settings of a run: its family is {reprlib.repr(family)}, none of "
            f"{', '.join(FAMILIES)}."
        )
    try:
        return check_stored(settings)
    except HyperParameterError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> HyperParameterError:
    return HyperParameterError(
        f"The settings {path} are damaged, or were written by another version: {error}"
    )


def read(path: Path, data: Path | None = None) -> RunSettings:
    """Read and check the settings of a run; `data` takes the place of the stored folder of the data set."""
    settings = read_json(path)
    family = FAMILIES[settings["family"]]
    if data is None and not settings.get("data"):
        raise DataError(f"{path} does not name a data set; give one with --data.")
    try:
        if not settings.get("hyperparameters"):
            raise HyperParameterError("there are no hyper-parameters.")
        stored = as_stored(settings["family"], settings["hyperparameters"])
        texts = [f"{name}={format_value(value)}" for name, value in stored.items() if value is not None]
        schedule = vars(original_schedule(family)) | stored_schedule(settings)
        if unknown := schedule.keys() - vars(Schedule()).keys():
            raise HyperParameterError(f"{min(unknown)} is unknown.")
        return RunSettings(
            hp=family(**read_settings(family, texts)),
            schedule=Schedule(**schedule),
            options=stored_options(settings),
            data=data or Path(settings["data"]),
            data_sha256=settings.get("data_sha256") or {},
            exp=settings.get("exp") if settings.get("original_layout") else None,
        )
    except HyperParameterError as error:
        raise _damaged(path, error) from error
