"""The progress bar of a run, which counts seconds of training and of evaluations."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from samplernn_theano.config.schedule import fraction
from samplernn_theano.training import distributed
from samplernn_theano.training.step import Due, TrainingState
from samplernn_theano.utils.progress import Bar, progress_bar


@contextmanager
def run_bar(t: TrainingState, show_progress: bool) -> Iterator["RunBar"]:
    """Show the bar of a run, in process 0; messages are printed above it."""
    with progress_bar("train", visible=show_progress and distributed.is_main_process()) as bar:
        shown = RunBar(t, bar)
        t.log, t.stage = bar.say if show_progress else lambda _: None, shown.evaluating
        yield shown


class RunBar:
    """What is done of a run, and how long the rest takes: training by the schedule, evaluations as before."""

    def __init__(self, t: TrainingState, bar: Bar) -> None:
        self.bar, self.t = bar, t
        self.trained_before = t.progress.seconds  # by processes before this one
        self.evaluations = self.last_evaluation = 0.0  # seconds
        self.evaluation_began: float | None = None
        self.first_part: tuple[float, float] | None = None  # of an evaluation: when it was done, its share

    def step(self, t: TrainingState, due: Due) -> None:
        """Hook after a step: show cost and speed."""
        p = t.progress
        speed = (p.iteration - 1) / p.seconds if p.seconds else 0.0
        self.bar.stage = f"{p.minibatch:.3f} bits"
        self.bar.note = f"iteration {p.iteration}  {speed:.2f} it/s  epoch {p.epoch}"
        self.evaluation_began = time.monotonic() if due.evaluation else None
        self.first_part = None
        self.update()

    def evaluating(self, stage: str, share: float) -> None:
        """Show the stage of an evaluation, of which a share is done."""
        self.bar.stage = f"{stage}, then the run stops" if self.t.signals else stage
        self.first_part = self.first_part or (time.monotonic(), share)
        self.update(share)

    def evaluated(self, t: TrainingState, due: Due) -> None:
        """Hook after the others: an evaluation has ended, if one was due."""
        if self.evaluation_began is not None:
            self.last_evaluation = time.monotonic() - self.evaluation_began
            self.evaluations += self.last_evaluation
            self.evaluation_began = None

    def update(self, share: float = 0.0) -> None:
        """Estimate what is left: training, evaluations in proportion, this one, and that at the end.

        The speed of an evaluation is that after its first part, which may compile.
        """
        trained = self.t.progress.seconds
        done, left, at_end = trained + self.evaluations, 0.0, self.last_evaluation
        part = min(1.0, fraction(self.t.schedule, self.t.progress))
        if self.evaluation_began is not None:
            so_far = time.monotonic() - self.evaluation_began
            done += so_far
            left = max(0.0, self.last_evaluation - so_far)
            if self.first_part and share > self.first_part[1]:
                began, first = self.first_part
                left = (time.monotonic() - began) * (1 - share) / (share - first)
            at_end = max(at_end, so_far + left)
        if part:
            here = trained - self.trained_before
            left += trained * (1 - part) / part * (1 + (self.evaluations / here if here else 0.0))
            left += at_end if part < 1 else 0.0
        self.bar.left, self.bar.total = left, done + left if part else 0.0
        self.bar.at(done)
