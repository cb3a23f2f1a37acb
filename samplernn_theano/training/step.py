"""The training step: its compilation, and the state of a run that it changes."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pytensor
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import SharedVariable

from samplernn_theano.backends.compile import (
    compile_function,
    default_backend,
    load_program,
    store_program,
    wait_for_scalar,
)
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.schedule import Progress, Schedule, current_rate, original_learning_rate
from samplernn_theano.data.dataset import Clips
from samplernn_theano.data.minibatches import Minibatch, batch_inputs
from samplernn_theano.errors import DivergedError
from samplernn_theano.models.build import build_shard_graph
from samplernn_theano.models.graph import Form, Graph, batch_variables, zero_states
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer

type Compiled = Callable[..., list[Any]]


@dataclass(frozen=True)
class Trainer:
    """A model compiled for training: its functions take whole batches, `graph` a device's shard."""

    hp: HyperParameters
    graph: Graph
    adam: Mapping[str, Any]
    learning_rate: SharedVariable  # a scalar of the dtype of the parameters
    step: Compiled  # updates the parameters; returns the cost and the new states
    evaluate: Compiled  # the same without an update; compiled at its first call
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the run, stored in its checkpoints

    def zero_states(self) -> list[NDArray]:
        """Initial recurrent states of the whole batch."""
        return zero_states(self.graph, self.hp)


@dataclass
class TrainingState:
    """A run in training."""

    trainer: Trainer
    clips: Mapping[str, Clips]  # by split
    run: Run
    schedule: Schedule
    progress: Progress
    states: list[Any]  # recurrent states carried between minibatches, in the order of the graph
    started: float  # time.monotonic() at the start of this process
    log: Callable[[str], Any] = print  # messages to the user
    stage: Callable[[str, float], Any] = lambda name, done: None  # of an evaluation; done from 0 to 1
    signals: list[int] = field(default_factory=list)  # received SIGINT and SIGTERM
    costs: list[float] = field(default_factory=list)  # since the last line of the log file
    pending_cost: Any = None  # of the last minibatch, while the device may still compute it
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # log record of the last one
    sampler: Any = None  # draws the samples of an evaluation


@dataclass(frozen=True)
class Due:
    """What is due after a step, or at an event of the run; the same in all processes."""

    event: Literal["", "start", "resume", "stopped", "end"] = ""
    why: str = ""  # it was stopped
    log: bool = False  # a line of the log file
    evaluation: bool = False
    checkpoint: bool = False


type Hook = Callable[[TrainingState, Due], object]


def train_step(t: TrainingState, batch: Minibatch) -> None:
    """Train on one minibatch, asynchronously: its cost is read after the next step has started."""
    _set_learning_rate(t)
    cost, *t.states = t.trainer.step(*batch_inputs(batch), *t.states)
    wait_for_cost(t)  # of the previous step
    t.pending_cost = cost
    t.progress.iteration += 1
    t.progress.batch += 1
    if isinstance(cost, np.ndarray):  # not asynchronous
        wait_for_cost(t)


def _set_learning_rate(t: TrainingState) -> None:
    """Give the step the learning rate of the schedule, if it has another one."""
    variable, rate = t.trainer.learning_rate, current_rate(t.schedule, t.progress)
    if rate is not None and variable.get_value(borrow=True) != (new := np.array(rate, variable.dtype)):
        variable.set_value(new)


def wait_for_cost(t: TrainingState) -> None:
    """Block until the cost of the last minibatch is ready, check it, and add it to the progress."""
    if t.pending_cost is None:
        return
    cost, t.pending_cost = wait_for_scalar(t.pending_cost), None
    check_finite(t, "cost", cost, t.progress.iteration - 1)
    t.progress.minibatch = cost
    t.progress.cost_sum += cost
    t.progress.cost_count += 1
    t.costs.append(cost)


def check_finite(t: TrainingState, what: str, cost: float, updates: int) -> None:
    """Raise DivergedError if a cost is NaN or infinite."""
    if not math.isfinite(cost):
        last = t.run.last
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        raise DivergedError(
            f"The {what} became {cost} after {updates} updates: the gradients have exploded, or a clip is "
            f"damaged; {kept}. Try a smaller --learning-rate or --weight_norm True, and samplernn check-data."
        )


def compile_trainer(
    hp: HyperParameters,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    form: Form = "fast",
    ip_weight: float = 0.0,
    precision: str = "highest",
    n_devices: int = 1,
) -> Trainer:
    """Draw the initial parameters and compile the training step and the evaluation; see `config.settings`.

    The step may overwrite the states that it is given, if they are JAX arrays. Its learning rate is a
    variable: another one needs no other program.
    """
    learning_rate = original_learning_rate(type(hp)) if learning_rate is None else learning_rate
    backend = backend or default_backend()
    graph = build_shard_graph(Parameters(seed), hp, form, n_devices)
    options: dict[str, Any] = {"backend": backend, "precision": precision, "n_devices": n_devices}
    key = {"family": hp.family, "hyperparameters": asdict(hp), "form": form, **options}
    of_step = {"program": "step", "ip_weight": ip_weight, **key}
    options["batched"] = batch_variables(graph)
    dtype = graph.parameters.dtype
    rate = pytensor.shared(np.array(learning_rate, dtype), name="learning_rate", shape=())
    step, adam = _compile_step(graph, rate, of_step, options)

    @functools.cache
    def evaluation() -> Compiled:
        of_evaluation = {"program": "evaluation", **key}
        if stored := load_program(of_evaluation):
            return stored.with_variables(graph.parameters)
        outputs = [graph.cost, *graph.new_states.values()]
        return store_program(of_evaluation, compile_function(graph.inputs, outputs, **options))

    return Trainer(hp, graph, adam, rate, step, evaluate=lambda *arguments: evaluation()(*arguments))


def _compile_step(
    graph: Graph, rate: SharedVariable, key: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Compiled, dict[str, SharedVariable]]:
    """Training step (inputs and states -> cost and new states), and Adam's variables.

    If the step is in the compile cache, the graph of its updates is not built.
    """
    params, outputs = graph.parameters, [graph.cost, *graph.new_states.values()]
    if stored := load_program(key):
        trained = [name[7:] for name in stored.layout.variables if name.startswith("adam.m.")]
        adam = optimizer.adam_state([params[name] for name in trained], params.dtype)
        return stored.with_variables({**params, **adam, "learning_rate": rate}), adam
    cost, trainable = optimizer.objective(graph, "train", key["ip_weight"])
    updates, adam = optimizer.adam(cost, trainable, rate, key["n_devices"])
    options = {"donate": graph.states.values(), **options}
    return store_program(key, compile_function(graph.inputs, outputs, updates, **options)), adam
