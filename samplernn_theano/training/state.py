"""The state of a training run, and its checkpoint."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.backends.compile import full, read
from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.schedule import Progress, Schedule
from samplernn_theano.data.dataset import Clips
from samplernn_theano.errors import DivergedError
from samplernn_theano.models.graph import Graph, zero_states
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import distributed

type Compiled = Callable[..., list[Any]]


@dataclass(frozen=True)
class Trainer:
    """A model compiled for training.

    With several devices `graph` is that of one device's part of the batch; `step` and `evaluate` take and
    return whole batches.
    """

    hp: HyperParameters
    graph: Graph
    adam: Mapping[str, Any]
    step: Compiled  # updates the parameters; returns the cost and the new states
    evaluate: Compiled  # the same without updating; compiled at its first call
    settings: Mapping[str, Any] = field(default_factory=dict)  # where it comes from, for its checkpoints

    def zero_states(self) -> list[NDArray]:
        """Carried states to start with, of the whole batch."""
        return zero_states(self.graph, self.hp)


@dataclass
class Training:
    """A training under way: what does not change, and where it stands."""

    trainer: Trainer
    clips: Mapping[str, Clips]  # by split
    run: run_folder.Run
    schedule: Schedule
    progress: Progress
    states: list[Any]  # carried, in the order of the graph
    began: float  # time.monotonic() at the start of this process
    say: Callable[[str], Any] = print
    stopping: list[int] = field(default_factory=list)  # the signal that asks for the end, once it has come
    evaluate: Callable[["Training"], None] = lambda _: None  # what is done at an evaluation
    engine: Any = None  # the sampler of an evaluation's samples
    costs: list[float] = field(default_factory=list)  # since the last line of the log
    pending: Any = None  # the cost of the last iteration, where it is not read yet

    @property
    def tree(self) -> ResultTree | None:
        """The run's folder under the original's names, where these were asked for."""
        return ResultTree(self.run.folder) if self.trainer.settings.get("original_layout") else None


def settle(t: Training) -> None:
    """Read the cost of the last iteration, if that is still to be done; waits for the device.

    Raises
    ------
    DivergedError
        If it is not a finite number.
    """
    if t.pending is None:
        return
    cost, t.pending = read(t.pending), None
    if not math.isfinite(cost):
        raise DivergedError(diverged("cost", cost, t, t.progress.iteration - 1))
    t.progress.minibatch = cost
    t.progress.cost_sum += cost
    t.progress.cost_count += 1
    t.costs.append(cost)


def save(t: Training, path: Path) -> None:
    """Write a checkpoint of this moment. All processes give their parts of it, and process 0 writes it.

    Raises
    ------
    DivergedError
        If an array is not finite: a good checkpoint is not replaced by a broken one.
    OutputError
        If it cannot be written.
    """
    settle(t)
    graph = t.trainer.graph
    parameters = graph.parameters.arrays()
    adam = {name: np.array(variable.get_value(borrow=True)) for name, variable in t.trainer.adam.items()}
    carried = dict(zip(graph.states, full(t.states), strict=True))
    for name, value in (parameters | adam | carried).items():
        if not np.isfinite(value).all():
            raise DivergedError(
                f"{name} is not finite after {t.progress.iteration} updates: the gradients have exploded. No "
                f"checkpoint was written, and what {path} held before is kept. Try a smaller --learning-rate."
            )
    if not distributed.is_first():
        return
    npz.save(
        path,
        npz.Checkpoint(
            hp=t.trainer.hp,
            parameters=parameters,
            adam=adam,
            states=carried,
            progress=asdict(t.progress),
            settings=t.trainer.settings,
        ),
    )


def diverged(what: str, nll: float, t: Training, updates: int) -> str:
    """A sentence for a cost that is no finite number."""
    last = t.run.last
    kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
    return (
        f"The {what} became {nll} after {updates} updates: the gradients have exploded, or a "
        f"clip is damaged; {kept}. Try a smaller --learning-rate or --weight_norm True, and samplernn "
        "check-data."
    )
