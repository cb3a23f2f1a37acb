"""The data of a run: its three splits, checked, and compared with those it was trained on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from samplernn_theano.config import settings
from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.config.schedule import Progress
from samplernn_theano.config.settings import RunSettings
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Clips, data_sha256, load_split, statistics
from samplernn_theano.errors import DataError

type Splits = Mapping[str, Clips]
"""The clips of each split."""


def load(data: str | Path, hp: HyperParameters) -> Splits:
    """Load the splits of a data set, and check that they suit the model.

    Raises
    ------
    DataError
        If they are missing or unsuitable.
    """
    splits = {split: load_split(data, split) for split in SPLITS}
    for split, clips in splits.items():
        minibatches.check_split(clips, split, hp)
    return splits


def with_statistics(hp: HyperParameters, splits: Splits) -> HyperParameters:
    """Add the mean and standard deviation of the training clips to a real-valued family, if it has none."""
    if not isinstance(hp, RealValued) or hp.std is not None:
        return hp
    mean, std = statistics(splits["train"])
    return replace(hp, mean=mean, std=std)


def batches_per_epoch(hp: HyperParameters, splits: Splits) -> int:
    """Minibatches in an epoch."""
    return minibatches.chunks_per_epoch(splits["train"], hp.batch_size, hp.seq_len)


def sha256(splits: Splits) -> dict[str, str]:
    """SHA-256 of each split."""
    return {split: data_sha256(clips) for split, clips in splits.items()}


def check_same(run: Path, data: str | Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise DataError if a split in `data` is not the one that `run` was trained on.

    `before` and `now` have the SHA-256 of each split; of a run of the original `before` is empty.
    """
    for split, digest in before.items():
        if digest != now.get(split):
            raise DataError(
                f"The {split} split in {data} is not the one that {run} was trained on; give the "
                "right folder with --data."
            )


def check_position(run: Path, data: str | Path, progress: Progress) -> None:
    """Raise DataError if an epoch on `data` has fewer minibatches than `run` has done of one."""
    if progress.batch > progress.batches_per_epoch:
        raise DataError(
            f"The train split in {data} has {progress.batches_per_epoch} minibatches an epoch and {run} has "
            f"done {progress.batch} of one: it is not the one that it was trained on; give the right folder "
            "with --data."
        )


def settings_to_repeat(path: Path, data: Path | None) -> RunSettings:
    """Settings of a run that is to be repeated, on the same data or on those in `data`.

    On other data the mean and standard deviation of a real-valued family are measured again.

    Raises
    ------
    HyperParameterError
        If the settings cannot be read; see `samplernn_theano.config.settings.read`.
    DataError
        If the data are missing, or `data` is None and they have changed since.
    """
    run = settings.read(path, data)
    if not run.data.is_dir():
        raise DataError(f"{path} was trained on {run.data}, which is not there; give its folder with --data.")
    present = sha256({split: load_split(run.data, split) for split in SPLITS})
    if data is None:
        check_same(path, run.data, run.data_sha256, present)
    elif isinstance(run.hp, RealValued) and run.data_sha256.get("train") != present["train"]:
        return replace(run, hp=replace(run.hp, mean=None, std=None))
    return run
