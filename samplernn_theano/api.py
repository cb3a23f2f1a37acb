"""The Python API: one function for each thing the command line does with a model or a data set.

Every argument is checked when a function is called; an error is a `SampleRNNError` that names the argument or
the file. None of them installs a signal handler, changes the allocator or prints a progress bar unless it is
asked to, so they can be used in a notebook and in a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load as loading
from samplernn_theano.checkpoints import status
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.checkpoints.status import RunStatus
from samplernn_theano.config.flags import format_value
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.schedule import Schedule, original_schedule
from samplernn_theano.config.settings import Options
from samplernn_theano.data import audio, recordings
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.prepare import build
from samplernn_theano.data.recipes import folder_recipe
from samplernn_theano.data.set_folder import set_files
from samplernn_theano.errors import DataError
from samplernn_theano.evaluation import nll
from samplernn_theano.evaluation.nll import RecordingScore, Scores
from samplernn_theano.generation.generate import generate as generate
from samplernn_theano.models.graph import Form
from samplernn_theano.training import run as training
from samplernn_theano.verification import verify
from samplernn_theano.verification.cases import choose_cases, find_corpus
from samplernn_theano.verification.tolerances import Check

type Model = str | Path | LoadedModel
"""A checkpoint (.npz, .safetensors, .pkl of the original), a run, pretrained/NAME, or what `load` gave."""


def prepare(
    folder: str | Path,
    out: str | Path,
    *,
    name: str = "clips",
    clip_seconds: float | None = None,
    speakers: bool = False,
    split_by: str = "recording",
    variable_length: bool = False,
    shortest: float | None = None,
    longest: float | None = None,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 123,
    allow_upsampling: bool = False,
    allow_clipping: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Make a data set of the recordings in a folder, as `samplernn prepare` does; return its manifest.

    Parameters
    ----------
    folder : path
        Sound files of any rate and number of channels, also in sub-folders.
    out : path
        Folder of NAME_train.npy, NAME_valid.npy, NAME_test.npy, manifest.json and clips.csv.
    clip_seconds : float, optional
        8 s if it is None.
    speakers : bool
        Each sub-folder is a speaker; no clip holds two of them.
    split_by : str
        What is in one split only: "recording", "clip" (shuffled, as the paper's sets) or "speaker".
    variable_length : bool
        Each recording is one clip; those shorter than `shortest` or longer than `longest` (s) are left out.
    valid_fraction, test_fraction : float
        Share of the sound; `seed` is that of all shuffles.
    """
    recipe = folder_recipe(
        name=name,
        clip_seconds=clip_seconds,
        speakers=speakers,
        split_by=split_by,
        variable_length=variable_length,
        shortest=shortest,
        longest=longest,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        allow_upsampling=allow_upsampling,
        allow_clipping=allow_clipping,
    )
    return build(recordings.find(Path(folder), set_files(Path(out), name)), out, recipe, overwrite, progress)


def train(
    hp: HyperParameters,
    data: str | Path,
    run: str | Path,
    schedule: Schedule | None = None,
    *,
    seed: int = 123,
    learning_rate: float | None = None,
    backend: str | None = None,
    devices: int = 1,
    max_seconds: float | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> RunStatus:
    """Train a model on a data set, and keep everything in the folder `run`.

    Parameters
    ----------
    hp : HyperParameters
        Such as ``ThreeTier(dim=256, batch_size=16)``.
    schedule : Schedule, optional
        Learning rate, and when to evaluate and stop; the original's (three days) if it is None.
    learning_rate : float, optional
        In place of the schedule's.
    backend : {"jax", "numba", "c"}, optional
        jax if it is installed, else numba. One that is given also generates the samples of evaluations, else
        the fastest sampler.
    devices : int
        Share every minibatch between so many devices (jax).
    max_seconds : float, optional
        Stop with a checkpoint when the call has taken this long.

    Returns
    -------
    RunStatus
        The curves of the run (`train`, `valid`), its log records and its state.
    """
    if learning_rate is not None:
        schedule = replace(schedule or original_schedule(type(hp)), learning_rate=learning_rate)
    training.train(
        hp,
        data,
        run,
        schedule,
        Options(seed=seed, backend=backend, n_devices=devices, sampling_backend=backend),
        max_seconds=max_seconds,
        overwrite=overwrite,
        show_progress=progress,
    )
    return status.read(run)


def resume(
    run: str | Path,
    *,
    data: str | Path | None = None,
    max_iters: int | None = None,
    max_epochs: float | None = None,
    max_minutes: float | None = None,
    learning_rate: float | None = None,
    backend: str | None = None,
    max_seconds: float | None = None,
    progress: bool = False,
) -> RunStatus:
    """Resume a run from its last checkpoint, as if it had never been interrupted.

    A limit that is given takes the place of all those the run had; learning rate and backend stay if they are
    None. A results folder of the original is resumed by the original's rules.
    """
    limits = {"max_iters": max_iters, "max_epochs": max_epochs, "max_minutes": max_minutes}
    given: dict[str, Any] = {"learning_rate": learning_rate, "backend": backend}
    changes = {name: value for name, value in given.items() if value is not None}
    if any(limit is not None for limit in limits.values()):
        changes |= limits
    training.resume(run, changes, data, max_seconds=max_seconds, show_progress=progress)
    return status.read(run)


def load(path: str | Path, settings: Mapping[str, Any] | None = None) -> LoadedModel:
    """Load the model of a checkpoint, a run (its best), pretrained/NAME, or the original's files.

    Pickles are read without executing anything. `settings` are hyper-parameters to take in place of those
    found, such as ``{"batch_size": 1}``.
    """
    return loading.read(path, [f"{name}={format_value(value)}" for name, value in (settings or {}).items()])


def evaluate(model: Model, data: str | Path, split: str = "valid", *, backend: str | None = None) -> Scores:
    """Evaluate a model on a split of a data set: bits per sample as the original's monitor computes them."""
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
    loaded = _loaded(model)
    clips = nll.load_clips(loaded, data, split)
    recordings = nll.load_recordings(data, split)
    return nll.score_split(nll.compile_scorer(loaded, backend), clips, recordings=recordings)


def score(
    model: Model,
    recording: str | Path | NDArray[np.floating],
    *,
    window: float = 0.1,
    backend: str | None = None,
) -> RecordingScore:
    """Score a recording: its NLL in bits per sample under a model, and as a curve over time.

    Parameters
    ----------
    recording : path or (samples,) float array
        A sound file of any rate, or amplitudes at the model's rate, 16 kHz.
    window : float
        Seconds per point of the curve.
    """
    if not 0 < window < float("inf"):
        raise DataError(f"window is {window}; it must be a positive number of seconds.")
    loaded = _loaded(model)
    if isinstance(recording, str | Path):
        sound = audio.read(recording, loaded.hp.rate)
        name, samples, rate = str(recording), sound.samples, sound.file_rate
    else:
        name, samples, rate = "the recording", np.asarray(recording), loaded.hp.rate
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise DataError("A recording must be an array of floats (samples,), amplitudes at 16 kHz.")
    scorer = nll.compile_scorer(loaded, backend, for_recordings=True)
    return replace(nll.score_recording(scorer, samples, name, window), file_rate=rate)


def conformance(
    cases: str | Path,
    *,
    families: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    backend: str | None = None,
    form: Form = "fast",
) -> list[Check]:
    """Compare our models with data that the original produced, quantity by quantity.

    Parameters
    ----------
    cases : path
        Folder of NAME.json and NAME.npz of each case.
    families, names : sequence of str, optional
        Only cases of these families, or of these names.

    Returns
    -------
    list of Check
        Each with its `relative` error, its `limit`, and whether it `passed`.
    """
    corpus = find_corpus(cases)
    chosen = choose_cases(cases, families, names)
    return [check for case in chosen for check in verify.check_case(case, backend, form, corpus)]


def _loaded(model: Model) -> LoadedModel:
    return load(model) if isinstance(model, str | Path) else model
