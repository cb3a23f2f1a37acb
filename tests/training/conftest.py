"""What tests of training share: small models, comparisons of runs, and kills."""

from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import preset
from samplernn_theano.training import run as run_module
from samplernn_theano.training.step import compile_trainer


@pytest.fixture(autouse=True, scope="package")
def compiled_once():
    """Compile each model once: trained again it starts with its initial values."""
    made = {}

    def compiled(hp, **options):
        key = (hp, *sorted(options.items()))
        if key not in made:
            trainer = compile_trainer(hp, **options)
            variables = *trainer.graph.parameters.values(), *trainer.adam.values(), trainer.learning_rate
            made[key] = trainer, [(variable, variable.get_value(borrow=False)) for variable in variables]
        trainer, initial = made[key]
        for variable, value in initial:
            variable.set_value(value)
        return trainer

    with pytest.MonkeyPatch.context() as context:
        context.setattr(run_module, "compile_trainer", compiled)
        yield


class Killed(BaseException):
    """In place of a process that is killed: nothing handles it."""


def failing(error: BaseException):
    """A function that raises the error."""

    def fail(*_, **__):
        raise error

    return fail


def small(family: str) -> HyperParameters:
    given = {"dim": 16, "batch_size": 4}
    return preset(
        family, "tiny", {k: v for k, v in given.items() if k in FAMILIES[family].__dataclass_fields__}
    )


def state(folder: Path) -> dict[str, np.ndarray]:
    """Arrays and progress of the last checkpoint."""
    checkpoint = npz.load(run_folder.Run(folder).last)
    arrays = {**checkpoint.parameters, **checkpoint.adam}
    arrays |= {f"state {name}": array for name, array in checkpoint.states.items()}
    progress = {name: value for name, value in checkpoint.progress.items() if "seconds" not in name}
    return arrays | {name: np.array(value, object) for name, value in progress.items()}


def assert_same(one: Path, two: Path, except_for: tuple[str, ...] = ()) -> None:
    """The last checkpoints are equal."""
    first, second = state(one), state(two)
    assert first.keys() == second.keys()
    for name in first.keys() - set(except_for):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def log(folder: Path, *events: str) -> list[dict]:
    """Records of the log: all, or those of some events."""
    records = run_folder.read_log(run_folder.Run(folder))
    return [record for record in records if not events or record["event"] in events]


def evaluations(folder: Path) -> list[dict]:
    """Log records of all evaluations, without times."""
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in log(folder, "monitor")]


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
