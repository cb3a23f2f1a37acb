"""Hyper-parameters of the models, validated, under the original's names.

One frozen dataclass per family (`FAMILIES`); what several have in common stands in the classes they inherit
from. The defaults are the authors' best models where they are known; presets.py has more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, NamedTuple

from samplernn_theano.errors import HyperParameterError

Sizes = tuple[int, ...]

OURS = {"ours": True}  # metadata of a hyper-parameter that the original does not have
FROM_ZERO = {"least": 0}  # metadata of a whole number that may be zero


class Tier(NamedTuple):
    """A recurrent tier: the name of its parameters, that of its state, the samples in one of its frames."""

    name: str
    state: str
    frame_size: int


# --- in common ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every family has.

    Attributes
    ----------
    dim : int
        Width of every layer (D); the channels of WaveNet.
    batch_size : int
        Clips per minibatch (B).

    Raises
    ------
    HyperParameterError
        If the values contradict each other.
    """

    family: ClassVar[str]
    real_valued: ClassVar[bool] = False
    independent_preds: ClassVar[bool] = False  # whether the slowest tier also predicts samples by itself
    learning_rate: ClassVar[float] = 0.001  # of Adam
    max_minutes: ClassVar[float] = 72 * 60.0  # of training
    n_seqs: ClassVar[int] = 20  # sequences to generate at each look

    dim: int = 1024
    batch_size: int = 128

    def __post_init__(self) -> None:
        for own in fields(self):
            value, least = getattr(self, own.name), own.metadata.get("least", 1)
            if own.type is int and (type(value) is not int or value < least):
                raise HyperParameterError(
                    f"--{own.name} is {value}; it must be at least {least}, a whole number."
                )


@dataclass(frozen=True, kw_only=True)
class Recurrent(Common):
    """What every recurrent family has.

    Attributes
    ----------
    skip_conn : bool
        Skip connections inside a stack of recurrent layers (Graves 2013).
    n_rnn : int
        Recurrent layers per tier (R), 1 to 5.
    rnn_type : {"GRU", "LSTM"}
    weight_norm : bool
        Weight normalisation (Salimans & Kingma 2016) of every linear layer.
    learn_h0 : bool
        Train the initial states.
    """

    skip_conn: bool = False
    n_rnn: int = 1
    rnn_type: str = "GRU"
    weight_norm: bool = True
    learn_h0: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("rnn_type", self.rnn_type, ("GRU", "LSTM"))
        if not 1 <= self.n_rnn <= 5:
            raise HyperParameterError(f"--n_rnn {self.n_rnn} is out of range; choose 1 to 5 layers.")
        if self.skip_conn and self.n_rnn == 1:
            raise HyperParameterError(
                "--skip_conn True needs two recurrent layers at least; set --n_rnn 2, or --skip_conn False."
            )

    @property
    def state_width(self) -> int:
        """Width of one layer's state: D for a GRU, 2 D for an LSTM ([s, c])."""
        return self.dim * (2 if self.rnn_type == "LSTM" else 1)


@dataclass(frozen=True, kw_only=True)
class Quantised(Common):
    """Samples are levels, predicted by a softmax.

    Attributes
    ----------
    q_levels : int
        Quantisation levels (Q).
    q_type : {"linear", "mu-law", "a-law"}
    normalisation : {"min-max", "absmax", "none"}
        How each clip is brought to [0, 1] first; see `samplernn_theano.data.quantization.normalise`.
    """

    q_levels: int = 256
    q_type: str = "linear"
    normalisation: str = field(default="min-max", metadata=OURS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.q_levels < 2:
            raise HyperParameterError(f"--q_levels {self.q_levels} is too few; choose at least 2.")
        _check_choice("q_type", self.q_type, ("linear", "mu-law", "a-law"))
        _check_choice("normalisation", self.normalisation, ("min-max", "absmax", "none"))
        if self.q_type != "linear" and self.q_levels != 256:
            raise HyperParameterError(
                f"--q_type {self.q_type} has 256 levels by definition, not {self.q_levels}; "
                "set --q_levels 256."
            )

    @property
    def silence(self) -> int:
        """The level that stands for silence in front of a clip."""
        return self.q_levels // 2


@dataclass(frozen=True, kw_only=True)
class RealValued(Common):
    """Samples are real numbers, predicted by a mixture of Gaussians (paper, table 2).

    Attributes
    ----------
    n_components : int
        Gaussians in a mixture. The paper does not say how many: 20, as in Chung et al. 2015, is our choice.
    mean, std : float or None
        The clips enter as (x - mean) / std. None: to be measured on the training clips.
    """

    real_valued: ClassVar[bool] = True
    silence: ClassVar[float] = 0.0  # in front of a clip, after normalisation

    n_components: int = 20
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.mean is None) != (self.std is None):
            raise HyperParameterError("--mean and --std belong together; give both or neither.")
        if self.std is not None and not 0 < self.std < float("inf"):
            raise HyperParameterError(f"--std is {self.std}; it must be a positive number.")
        if self.mean is not None and not abs(self.mean) < float("inf"):
            raise HyperParameterError(f"--mean is {self.mean}; it must be a finite number.")


@dataclass(frozen=True, kw_only=True)
class Tiered(Recurrent):
    """Recurrent tiers, each with shorter frames than the one above, over a sample tier."""

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of each recurrent tier, the slowest first."""
        raise NotImplementedError

    @property
    def overlap(self) -> int:
        """Samples that each truncated pass needs before its first target."""
        return self.sizes[0]

    @property
    def tiers(self) -> list[Tier]:
        """The recurrent tiers, the slowest first: FrameLevel is the last one, BigFrameLevel that above it.

        The original names no more than these two; those above are BigFrameLevel2, BigFrameLevel3, ...
        """
        names = [("FrameLevel", "h0"), ("BigFrameLevel", "big_h0")]
        names += [(f"BigFrameLevel{k}", f"big_h0_{k}") for k in range(2, len(self.sizes))]
        names = names[: len(self.sizes)][::-1]
        return [Tier(*name, size) for name, size in zip(names, self.sizes, strict=True)]


@dataclass(frozen=True, kw_only=True)
class OneFrameSize(Tiered):
    """One recurrent tier.

    Attributes
    ----------
    n_frames, frame_size : int
        Frames per truncated-BPTT pass and samples per frame.
    """

    n_frames: int = 64
    frame_size: int = 16
    n_rnn: int = 3

    @property
    def seq_len(self) -> int:
        """Samples per truncated-BPTT pass (T)."""
        return self.n_frames * self.frame_size

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of the recurrent tier."""
        return (self.frame_size,)


@dataclass(frozen=True, kw_only=True)
class SampleRNN(Tiered, Quantised):
    """Recurrent tiers above a sample tier with a softmax, and the ablations of the paper's table 4.

    Attributes
    ----------
    emb_size : int
        Width of the embedding of one quantised sample; 0: none, a one-hot vector. Without meaning in the
        ablations below.
    sample_input : {"embedding", "real"}
        Ablation: "real" hands samples to the sample tier as numbers, neither embedded nor one-hot. The
        paper's "without embedding" may mean this or `emb_size` 0: it does not say.
    multi_softmax : bool
        Ablation: each sample of a frame is predicted from the vector of the frame tier alone, without the
        samples before it.
    """

    emb_size: int = field(default=256, metadata=FROM_ZERO)
    sample_input: str = field(default="embedding", metadata=OURS)
    multi_softmax: bool = field(default=False, metadata=OURS)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("sample_input", self.sample_input, ("embedding", "real"))
        if self.multi_softmax and self.sample_input == "real":
            raise HyperParameterError(
                "--multi_softmax True reads no previous samples, --sample_input real says how to read them; "
                "leave one out."
            )


# --- the families -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ThreeTier(SampleRNN):
    """The three-tier SampleRNN; the defaults are the authors' best model.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT pass (T).
    big_frame_size, frame_size : int
        Samples per frame of the upper and of the lower recurrent tier.
    """

    family: ClassVar[str] = "three_tier"
    independent_preds: ClassVar[bool] = True

    seq_len: int = 512
    big_frame_size: int = 8
    frame_size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_multiple("seq_len", self.seq_len, "big_frame_size", self.big_frame_size)
        _check_multiple("big_frame_size", self.big_frame_size, "frame_size", self.frame_size)

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
    """SampleRNN with any number of tiers: in the paper's formulas, not in its tables nor in the release.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT pass (T).
    frame_sizes : tuple of int
        Samples per frame of each recurrent tier, the slowest first. (16, 8, 2) makes a model of four tiers.
    """

    family: ClassVar[str] = "k_tier"

    seq_len: int = 512
    frame_sizes: Sizes = (16, 8, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frame_sizes", tuple(self.frame_sizes))  # a list, where read from a file
        if not self.frame_sizes or not all(type(size) is int and size > 0 for size in self.frame_sizes):
            raise HyperParameterError("--frame_sizes needs one whole number or more, such as 16/8/2.")
        _check_multiple("seq_len", self.seq_len, "frame_sizes", self.frame_sizes[0])
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
    """The paper's RNN. The paper states none of its hyper-parameters: the defaults are our choice.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT pass (T).
    emb_size : int
        Width of the embedding of one quantised sample.
    """

    family: ClassVar[str] = "one_tier"
    overlap: ClassVar[int] = 1

    seq_len: int = 512
    emb_size: int = 256


@dataclass(frozen=True, kw_only=True)
class WaveNet(Quantised):
    """The paper's re-implementation of WaveNet; the defaults are the paper's.

    Attributes
    ----------
    wavenet_blocks, dilation_layers_per_block : int
        Blocks of layers with dilations 1, 2, 4, ...
    sequence_len_to_train : int
        Samples to predict per pass (T).
    """

    family: ClassVar[str] = "wavenet"
    learning_rate: ClassVar[float] = 0.0001
    max_minutes: ClassVar[float] = 60 * 60.0
    n_seqs: ClassVar[int] = 10

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
        """Samples to predict per pass (T)."""
        return self.sequence_len_to_train

    @property
    def overlap(self) -> int:
        """The receptive field: samples that the first target of a pass depends on."""
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
        Samples per truncated-BPTT pass (T).
    frame_size : int
        Samples that one step of the network reads, and whose successors it predicts as one vector.
    """

    family: ClassVar[str] = "rnn_gmm"

    seq_len: int = 512
    frame_size: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_multiple("seq_len", self.seq_len, "frame_size", self.frame_size)

    @property
    def overlap(self) -> int:
        """Samples that each truncated pass needs before its first target."""
        return self.frame_size


HyperParameters = ThreeTier | TwoTier | KTier | OneTier | WaveNet | SampleRNNGMM | RNNGMM
FAMILIES: dict[str, type[HyperParameters]] = {
    family.family: family for family in (ThreeTier, TwoTier, OneTier, WaveNet, KTier, RNNGMM, SampleRNNGMM)
}


# --- helpers ------------------------------------------------------------------------------------------------


def _check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise HyperParameterError(f"--{flag} {value} is unknown; choose {listed}.")


def _check_multiple(flag: str, value: int, of_flag: str, of: int) -> None:
    if value % of:
        nearest = max(1, round(value / of)) * of
        raise HyperParameterError(
            f"--{flag} {value} is not a multiple of --{of_flag} {of}; choose for example --{flag} {nearest}."
        )
