"""Progress bar of a training run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from samplernn_theano.config.schedule import fraction
from samplernn_theano.training import distributed
from samplernn_theano.training.state import TrainingState


@contextmanager
def progress_bar(t: TrainingState, show: bool = True) -> Iterator[Callable[[], None]]:
    """Show a bar; yield a function that updates it. Messages of the run are printed above it."""
    with tqdm(
        total=1.0,
        smoothing=0,
        mininterval=0.5,
        bar_format="{percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
        disable=not show or not distributed.is_main_process(),
    ) as bar:
        t.log = bar.write if show else lambda _: None
        yield lambda: _update(bar, t)


def _update(bar: tqdm, t: TrainingState) -> None:
    progress = t.progress
    bar.n = min(1.0, fraction(t.schedule, progress))
    speed = (progress.iteration - 1) / progress.seconds if progress.seconds else 0.0
    position = f"epoch {progress.epoch}  iteration {progress.iteration}"
    bar.set_postfix_str(f"{position}  {speed:.2f} it/s  {progress.minibatch:.3f} bits", refresh=False)
    bar.update(0)
