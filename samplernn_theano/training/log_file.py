"""Lines that the training loop adds to log.jsonl. Only process 0 writes them."""

import math
import signal
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.training import distributed
from samplernn_theano.training.state import TrainingState, wait_for_cost
from samplernn_theano.utils import plotting

OUT_OF_TIME = 124
"""Exit code of a run that reached --max-time, as of the command timeout."""


def log_start(t: TrainingState, event: str) -> None:
    """Log that training starts (`event` "start") or resumes ("resume"), and with which software."""
    names = ("backend", "versions", "devices", "git_revision")
    software = {name: t.trainer.settings[name] for name in names}
    n_parameters = sum(math.prod(p.type.shape) for p in t.trainer.graph.parameters.trainable())
    _append(t, event, iteration=t.progress.iteration, parameters=n_parameters, **software)


def log_costs(t: TrainingState) -> None:
    """Log the mean cost since the last such line."""
    wait_for_cost(t)
    position = {"iteration": t.progress.iteration, "epoch": t.progress.epoch}
    _append(t, "train", **position, seconds=t.progress.seconds, nll_bits=float(np.mean(t.costs)))
    t.costs.clear()


def log_end(t: TrainingState) -> None:
    """Log that the schedule ended."""
    _append(t, "end", iteration=t.progress.iteration, seconds=t.progress.seconds)


def log_interruption(t: TrainingState, code: int) -> None:
    """Log that training was interrupted, by a signal or --max-time, and tell the user how to resume."""
    why = "--max-time" if code == OUT_OF_TIME else signal.Signals(code - 128).name
    _append(t, "stopped", iteration=t.progress.iteration, seconds=t.progress.seconds, why=why)
    if distributed.is_main_process():
        plotting.learning_curve(t.run.plot, run_folder.read_log(t.run))
        after = f"after iteration {t.progress.iteration}"
        t.log(f"Stopped by {why} {after}; resume with: samplernn resume {t.run.folder}")


def _append(t: TrainingState, event: str, **values: Any) -> None:
    if distributed.is_main_process():
        run_folder.append(t.run, event, **values)
