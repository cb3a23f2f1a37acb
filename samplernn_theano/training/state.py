"""State of a training run, and its checkpoint."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.backends.compile import to_numpy, wait_for_scalar
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

    With several devices `graph` is for one device's shard of the batch; `step` and `evaluate` take and return
    whole batches.
    """

    hp: HyperParameters
    graph: Graph
    adam: Mapping[str, Any]
    step: Compiled  # updates the parameters; returns the cost and the new states
    evaluate: Compiled  # the same without an update; compiled at its first call
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the run, stored in its checkpoints

    def zero_states(self) -> list[NDArray]:
        """Initial recurrent states of the whole batch."""
        return zero_states(self.graph, self.hp)


@dataclass
class TrainingState:
    """A run in training: model, data, schedule, hooks and progress."""

    trainer: Trainer
    clips: Mapping[str, Clips]  # by split
    run: run_folder.Run
    schedule: Schedule
    progress: Progress
    states: list[Any]  # recurrent states carried between minibatches, in the order of the graph
    started: float  # time.monotonic() at the start of this process
    on_evaluation: Callable[["TrainingState"], None] = lambda _: None  # hook, called when one is due
    log: Callable[[str], Any] = print  # messages to the user
    signals: list[int] = field(default_factory=list)  # received SIGINT and SIGTERM
    sampler: Any = None  # draws the samples of an evaluation
    costs: list[float] = field(default_factory=list)  # since the last line of the log file
    pending_cost: Any = None  # of the last minibatch, while the device may still compute it

    @property
    def tree(self) -> ResultTree | None:
        """The run's folder under the original's names, with --original-layout."""
        return ResultTree(self.run.folder) if self.trainer.settings.get("original_layout") else None


def wait_for_cost(t: TrainingState) -> None:
    """Block until the cost of the last minibatch is ready, and add it to the progress.

    Raises
    ------
    DivergedError
        If it is NaN or infinite.
    """
    if t.pending_cost is None:
        return
    cost, t.pending_cost = wait_for_scalar(t.pending_cost), None
    if not math.isfinite(cost):
        raise DivergedError(divergence_message("cost", cost, t, t.progress.iteration - 1))
    t.progress.minibatch = cost
    t.progress.cost_sum += cost
    t.progress.cost_count += 1
    t.costs.append(cost)


def save_checkpoint(t: TrainingState, path: Path) -> None:
    """Write a checkpoint. Every process takes part, for the arrays are gathered; process 0 writes it.

    Raises
    ------
    DivergedError
        If an array is not finite: a good checkpoint is not replaced by a broken one.
    OutputError
        If it cannot be written.
    """
    wait_for_cost(t)
    graph = t.trainer.graph
    parameters = graph.parameters.arrays()
    adam = {name: np.array(variable.get_value(borrow=True)) for name, variable in t.trainer.adam.items()}
    states = dict(zip(graph.states, to_numpy(t.states), strict=True))
    for name, value in (parameters | adam | states).items():
        if not np.isfinite(value).all():
            raise DivergedError(
                f"{name} is not finite after {t.progress.iteration} updates: the gradients have exploded. No "
                f"checkpoint was written, and {path} was not changed. Try a smaller --learning-rate."
            )
    if distributed.is_main_process():
        progress = asdict(t.progress)
        npz.save(path, npz.Checkpoint(t.trainer.hp, parameters, adam, states, progress, t.trainer.settings))


def divergence_message(what: str, nll: float, t: TrainingState, updates: int) -> str:
    """Error message for a cost that is NaN or infinite."""
    last = t.run.last
    kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
    return (
        f"The {what} became {nll} after {updates} updates: the gradients have exploded, or a "
        f"clip is damaged; {kept}. Try a smaller --learning-rate or --weight_norm True, and samplernn "
        "check-data."
    )
