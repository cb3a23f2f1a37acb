"""Hyper-parameters of the models, validated, under the original's names.

One frozen dataclass per family (`FAMILIES`), on the classes of `shared_hyperparameters`. The defaults are the
authors' best models where they are known; `samplernn_theano.config.presets` has more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from samplernn_theano.config.shared_hyperparameters import (
    Common,
    OneFrameSize,
    Quantised,
    RealValued,
    Recurrent,
    SampleRNN,
    Sizes,
    Tier,
    Tiered,
    check_multiple,
)
from samplernn_theano.errors import HyperParameterError

__all__ = [
    "FAMILIES",
    "RNNGMM",
    "Common",
    "HyperParameters",
    "KTier",
    "OneTier",
    "Quantised",
    "RealValued",
    "Recurrent",
    "SampleRNN",
    "SampleRNNGMM",
    "Sizes",
    "ThreeTier",
    "Tier",
    "Tiered",
    "TwoTier",
    "WaveNet",
    "as_stored",
]


@dataclass(frozen=True, kw_only=True)
class ThreeTier(SampleRNN):
    """The three-tier SampleRNN; the defaults are the authors' best model.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT chunk (T).
    big_frame_size, frame_size : int
        Samples per frame of the upper and the lower recurrent tier.
    """

    family: ClassVar[str] = "three_tier"
    independent_preds: ClassVar[bool] = True

    seq_len: int = 512
    big_frame_size: int = 8
    frame_size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_multiple("seq_len", self.seq_len, "big_frame_size", self.big_frame_size)
        check_multiple("big_frame_size", self.big_frame_size, "frame_size", self.frame_size)

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of each recurrent tier, the slowest first."""
        return (self.big_frame_size, self.frame_size)


@dataclass(frozen=True, kw_only=True)
class TwoTier(OneFrameSize, SampleRNN):
    """The two-tier SampleRNN; the defaults are the authors' best model."""

    family: ClassVar[str] = "two_tier"


@dataclass(frozen=True, kw_only=True)
class KTier(SampleRNN):
    """SampleRNN with any number of tiers, as in the paper's formulas but not in its tables and code.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT chunk (T).
    frame_sizes : tuple of int
        Samples per frame of each recurrent tier, the slowest first. (16, 8, 2) is a model of four tiers.
    """

    family: ClassVar[str] = "k_tier"

    seq_len: int = 512
    frame_sizes: Sizes = (16, 8, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frame_sizes", tuple(self.frame_sizes))  # a list if read from a file
        if not self.frame_sizes or not all(type(size) is int and size > 0 for size in self.frame_sizes):
            raise HyperParameterError("--frame_sizes needs one or more whole numbers, such as 16/8/2.")
        check_multiple("seq_len", self.seq_len, "frame_sizes", self.frame_sizes[0])
        for slow, fast in zip(self.frame_sizes, self.frame_sizes[1:], strict=False):
            if slow % fast:
                written = "/".join(map(str, self.frame_sizes))
                raise HyperParameterError(
                    f"--frame_sizes {written}: {slow} is not a multiple of {fast}, the next; choose for "
                    "example --frame_sizes 16/8/2."
                )

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of each recurrent tier, the slowest first."""
        return self.frame_sizes


@dataclass(frozen=True, kw_only=True)
class OneTier(Recurrent, Quantised):
    """The paper's RNN. Its hyper-parameters are not in the paper: the defaults are our choice.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT chunk (T).
    emb_size : int
        Width of the embedding of one quantised sample.
    """

    family: ClassVar[str] = "one_tier"

    seq_len: int = 512
    emb_size: int = 256

    @property
    def overlap(self) -> int:
        """Context of a truncated-BPTT chunk: the sample before its first target."""
        return 1


@dataclass(frozen=True, kw_only=True)
class WaveNet(Quantised):
    """The paper's re-implementation of WaveNet; the defaults are the paper's.

    Attributes
    ----------
    wavenet_blocks, dilation_layers_per_block : int
        Blocks of layers with dilations 1, 2, 4, ...
    sequence_len_to_train : int
        Samples to predict per chunk (T).
    """

    family: ClassVar[str] = "wavenet"

    dim: int = 64
    batch_size: int = 8
    wavenet_blocks: int = 4
    dilation_layers_per_block: int = 10
    sequence_len_to_train: int = 1600

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dilation_layers_per_block > 16:
            raise HyperParameterError(
                f"--dilation_layers_per_block {self.dilation_layers_per_block} looks back more than 2^16 "
                "samples; choose at most 16."
            )

    @property
    def seq_len(self) -> int:
        """Samples to predict per chunk (T)."""
        return self.sequence_len_to_train

    @property
    def overlap(self) -> int:
        """The receptive field: samples that the first target of a chunk depends on."""
        return (2**self.dilation_layers_per_block - 1) * self.wavenet_blocks + 1


@dataclass(frozen=True, kw_only=True)
class SampleRNNGMM(OneFrameSize, RealValued):
    """SampleRNN-GMM: the two-tier model on real-valued samples, a mixture per sample (paper, table 2)."""

    family: ClassVar[str] = "samplernn_gmm"


@dataclass(frozen=True, kw_only=True)
class RNNGMM(Recurrent, RealValued):
    """RNN-GMM: a plain RNN on real-valued samples (paper, table 2). The defaults are our choice.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT chunk (T).
    """

    family: ClassVar[str] = "rnn_gmm"

    seq_len: int = 512

    @property
    def overlap(self) -> int:
        """Context of a truncated-BPTT chunk: the sample before its first target."""
        return 1


HyperParameters = ThreeTier | TwoTier | KTier | OneTier | WaveNet | SampleRNNGMM | RNNGMM
FAMILIES: dict[str, type[HyperParameters]] = {
    family.family: family for family in (ThreeTier, TwoTier, OneTier, WaveNet, KTier, RNNGMM, SampleRNNGMM)
}


def as_stored(family: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of a stored model, without that of earlier versions' rnn_gmm.

    Raises
    ------
    HyperParameterError
        If it predicts several samples at once.
    """
    known = dict(values)
    if family == "rnn_gmm" and (size := known.pop("frame_size", 1)) != 1:
        raise HyperParameterError(
            f"frame_size is {size}; since version 0.2.0 an rnn_gmm predicts one sample at a time."
        )
    return known
