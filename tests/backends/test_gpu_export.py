"""Requirements of a GPU, tested without one: no implicit transfers, no copies, all graphs compile."""

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import jax
import jax.export
import pytest

from samplernn_theano.backends import jax_program
from samplernn_theano.backends.compile import compile_function
from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import preset
from samplernn_theano.config.schedule import Progress, Schedule
from samplernn_theano.data.dataset import SPLITS, load_split
from samplernn_theano.models.build import build_graph, build_sampler
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import loop, optimizer
from samplernn_theano.training.hooks import hooks_of
from samplernn_theano.training.run_bar import run_bar
from samplernn_theano.training.step import TrainingState, wait_for_cost

KNOWN_EVERYWHERE = {"AllocateBuffer"}  # an array without content, which XLA itself replaces


@dataclass
class Untouched:
    """A state as in the loop, which can only be passed on."""

    array: Any


@dataclass
class Cost:
    """A cost that notes when it is read."""

    array: Any
    number: int
    events: list[str]

    def __float__(self):
        self.events.append(f"read {self.number}")
        return float(self.array)


def state_of(trainer, run, data, schedule):
    clips = {split: load_split(data, split) for split in SPLITS}
    return TrainingState(trainer, clips, run, schedule, Progress(), trainer.zero_states(), 0.0)


def test_of_a_step_the_loop_reads_only_the_cost_and_only_when_the_next_one_is_under_way(
    trainer, data, tmp_path
):
    events: list[str] = []

    def step(sequences, mask, reset, state):
        number = sum(event.startswith("step") for event in events) + 1
        events.append(f"step {number}")
        state = state.array if isinstance(state, Untouched) else state
        cost, state = trainer.step(sequences, mask, reset, state)
        return [Cost(cost, number, events), Untouched(state)]

    t = state_of(replace(trainer, step=step), run_folder.Run(tmp_path), data, Schedule())
    with jax.transfer_guard("disallow"):  # but for arrays that are sent on purpose
        for batch in islice(loop.remaining_minibatches(t), 4):
            loop.train_step(t, batch)
        assert events == ["step 1", "step 2", "read 1", "step 3", "read 2", "step 4", "read 3"]
        wait_for_cost(t)
    assert events[-1] == "read 4" and len(t.costs) == 4


def test_a_whole_run_sends_nothing_that_it_does_not_mean_to(trainer, data, tmp_path):
    settings = {"backend": "jax", "versions": {}, "devices": "", "git_revision": None}
    run = run_folder.create(tmp_path / "run", settings)
    t = state_of(replace(trainer, settings=settings), run, data, Schedule(max_iters=3))
    with jax.transfer_guard("disallow"), run_bar(t, show_progress=False) as bar:
        hooks = hooks_of(t, bar.step, bar.evaluated)
        assert loop.train_loop(t, "start", hooks) == 0
    assert t.progress.iteration == 3 and t.progress.best_valid is not None


def programs(hp):
    """The training step, the evaluation and the generator of a model, and what the step writes over."""
    params = Parameters()
    graph = build_graph(params, hp)
    moves, _ = optimizer.adam(*optimizer.objective(graph, "train"))
    sampler = build_sampler(params, hp, 2, hp.overlap)
    outputs, states = [graph.cost, *graph.new_states.values()], list(graph.states.values())
    step = compile_function(graph.inputs, outputs, moves, "jax", donate=states)
    evaluation = compile_function(graph.inputs, outputs, backend="jax")
    drawn = [sampler.samples, *sampler.new_states.values()]
    return step, evaluation, compile_function(sampler.inputs, drawn, backend="jax"), len(moves) + len(states)


def for_cuda(program, precision="highest"):
    """What XLA for CUDA is given to compile; making it fails where an operation has no form for it."""
    matmul = jax_program.MATMUL[precision]
    with jax_program.precision("float32"), jax.default_matmul_precision(matmul):
        return jax.export.export(program._jitted(), platforms=["cuda"])(*program._structs()).mlir_module()


def test_every_matrix_product_of_a_step_has_the_precision_that_was_asked_for():
    """Also those of gradients, and those in loops."""
    step = programs(preset("two_tier", "tiny", {}))[0]
    for precision, form in (
        ("highest", r"precision = \[HIGHEST, HIGHEST\]"),
        ("tf32x3", r"algorithm = <.*= tf32, .*num_primitive_operations = 3, "),
        ("bf16x6", r"algorithm = <.*= bf16, .*num_primitive_operations = 6, "),
    ):
        products = [
            line for line in for_cuda(step, precision).splitlines() if "stablehlo.dot_general" in line
        ]
        assert len(products) > 10 and all(re.search(form, line) for line in products)


@pytest.mark.parametrize(
    "family",
    [f if f in ("one_tier", "wavenet") else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES],
)
def test_what_xla_for_cuda_is_given(family):
    """In float32, without calls into code for a CPU; every parameter, moment and state has one place."""
    statistics = {"mean": 0.0, "std": 0.2} if FAMILIES[family].real_valued else {}
    *all_programs, n_written_over = programs(preset(family, "tiny", statistics))
    texts = [for_cuda(program) for program in all_programs]
    for text in texts:
        assert set(re.findall(r"custom_call @([\w.]+)", text)) <= KNOWN_EVERYWHERE
        assert "f64" not in text and "f32" in text
    assert [text.count("tf.aliasing_output") for text in texts] == [n_written_over, 0, 0]
