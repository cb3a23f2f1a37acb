"""Hyper-parameters of the models, validated, under the original's names.

One frozen dataclass per family (`FAMILIES`); what several share stands above them. The defaults are the
authors' best models where they are known; `samplernn_theano.config.presets` has more, and
`samplernn_theano.config.flags.HELP` a line on each hyper-parameter.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

from samplernn_theano.config.field_types import wrong_type
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

Sizes = tuple[int, ...]

OURS = {"ours": True}  # metadata of a hyper-parameter that the original does not have
OF_FORKS = {**OURS, "of_forks": True}  # that no run of this package has, but models of forks
MAX_NUMBER = 2**24  # of all whole numbers: beyond, they are of a damaged file or a slip
CHOICES = {
    "rnn_type": ("GRU", "LSTM"),
    "q_type": ("linear", "mu-law", "a-law"),
    "normalisation": ("min-max", "absmax", "none"),
    "sample_input": ("embedding", "real"),
}


class Tier(NamedTuple):
    """A recurrent tier."""

    name: str  # prefix of its parameters' names
    state: str  # name of its state
    frame_size: int  # samples per frame
    ratio: int  # upsampling: steps of the tier below per step of its own


# --- what several families share ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Common:
    """Hyper-parameters of every family; a HyperParameterError says which contradict each other."""

    family: ClassVar[str]
    real_valued: ClassVar[bool] = False
    independent_preds: ClassVar[bool] = False  # True if the slowest tier also predicts samples

    dim: int = 1024  # D; the channels of WaveNet
    batch_size: int = 128  # B
    rate: int = field(default=SAMPLE_RATE, metadata=OF_FORKS)  # of the recordings, in Hz

    @property
    def seq_len(self) -> int:
        """Targets of a truncated-BPTT chunk (T)."""
        raise NotImplementedError

    @property
    def overlap(self) -> int:
        """Context of a truncated-BPTT chunk: samples before its first target."""
        return 1

    def __post_init__(self) -> None:
        wrong = wrong_type(self, hyphens=False)
        for own in fields(self):
            value, minimum = getattr(self, own.name), own.metadata.get("min", 1)
            if own.type is int and (type(value) is not int or value < minimum):
                raise HyperParameterError(
                    f"--{own.name} is {value}; it must be a whole number of at least {minimum}."
                )
            if own.type is int and value > MAX_NUMBER:
                raise HyperParameterError(f"--{own.name} is too large; it must be at most {MAX_NUMBER:,}.")
            choices = CHOICES.get(own.name)
            if choices and value not in choices:
                listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise HyperParameterError(f"--{own.name} {value} is unknown; choose {listed}.")
        if wrong:
            raise HyperParameterError(wrong)


@dataclass(frozen=True, kw_only=True)
class Recurrent(Common):
    """Hyper-parameters of every recurrent family."""

    skip_conn: bool = False  # inside a stack of recurrent layers (Graves 2013)
    n_rnn: int = 1  # R
    rnn_type: str = "GRU"
    weight_norm: bool = True  # Salimans & Kingma 2016
    learn_h0: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skip_conn and self.n_rnn == 1:
            raise HyperParameterError(
                "--skip_conn True needs at least two recurrent layers; set --n_rnn 2, or --skip_conn False."
            )

    @property
    def state_width(self) -> int:
        """Width of one layer's state: D for a GRU, 2 D for an LSTM ([s, c])."""
        return self.dim * (2 if self.rnn_type == "LSTM" else 1)


@dataclass(frozen=True, kw_only=True)
class Quantised(Common):
    """Hyper-parameters of families whose samples are levels, predicted by a softmax."""

    q_levels: int = 256  # Q
    q_type: str = "linear"
    normalisation: str = field(default="min-max", metadata=OURS)  # see data.quantization.normalise

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.q_levels < 2:
            raise HyperParameterError(f"--q_levels {self.q_levels} is too few; choose at least 2.")
        if self.q_type != "linear" and self.q_levels != 256:
            raise HyperParameterError(
                f"--q_type {self.q_type} has 256 levels by definition, not {self.q_levels}; "
                "set --q_levels 256."
            )

    @property
    def silence(self) -> int:
        """The level of silence, which pads a clip on the left."""
        return self.q_levels // 2


@dataclass(frozen=True, kw_only=True)
class RealValued(Common):
    """Hyper-parameters of families with real-valued samples, predicted by a mixture of Gaussians."""

    real_valued: ClassVar[bool] = True
    silence: ClassVar[float] = 0.0  # left padding of a clip, after normalisation

    n_components: int = 20  # the paper states no number: as in Chung et al. 2015
    mean: float | None = None  # the input is (x - mean) / std; None: that of the training clips
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
    """Hyper-parameters of recurrent tiers over a sample tier, each with shorter frames than the one above."""

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of each recurrent tier, the slowest first."""
        raise NotImplementedError

    @property
    def overlap(self) -> int:
        """A frame of the slowest tier."""
        return self.sizes[0]

    @property
    def tiers(self) -> list[Tier]:
        """The recurrent tiers, the slowest first: FrameLevel is the last one, BigFrameLevel that above it.

        The original has only these two; those above are BigFrameLevel2, BigFrameLevel3, ...
        """
        names = [("FrameLevel", "h0"), ("BigFrameLevel", "big_h0")]
        names += [(f"BigFrameLevel{k}", f"big_h0_{k}") for k in range(2, len(self.sizes))]
        names = names[: len(self.sizes)][::-1]
        below = (*self.sizes[1:], 1)
        return [
            Tier(*name, size, size // next_size)
            for name, size, next_size in zip(names, self.sizes, below, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class OneFrameSize(Tiered):
    """Hyper-parameters of one recurrent tier over a sample tier."""

    n_frames: int = 64
    frame_size: int = 16
    n_rnn: int = 3

    @property
    def seq_len(self) -> int:
        """Targets of a truncated-BPTT chunk (T)."""
        return self.n_frames * self.frame_size

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of the recurrent tier."""
        return (self.frame_size,)


@dataclass(frozen=True, kw_only=True)
class SampleRNN(Tiered, Quantised):
    """Hyper-parameters of tiers over a sample tier with a softmax, and of the ablations of table 4.

    The paper's "without embedding" may mean `sample_input` "real" (the sample tier reads rescaled samples,
    neither embedded nor one-hot) or `emb_size` 0. With `multi_softmax` each sample of a frame is predicted
    from the conditioning vector only. Both ablations leave `emb_size` unused.
    """

    emb_size: int = field(default=256, metadata={"min": 0})
    sample_input: str = field(default="embedding", metadata=OURS)
    multi_softmax: bool = field(default=False, metadata=OURS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multi_softmax and self.sample_input == "real":
            raise HyperParameterError(
                "--multi_softmax True reads no previous samples, --sample_input real says how to read them; "
                "give only one of them."
            )


def check_multiple(flag: str, value: int, of_flag: str, of: int) -> None:
    """Raise HyperParameterError if `value` is not a multiple of `of`."""
    if value % of:
        nearest = max(1, round(value / of)) * of
        raise HyperParameterError(
            f"--{flag} {value} is not a multiple of --{of_flag} {of}; choose for example --{flag} {nearest}."
        )


# --- families -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ThreeTier(SampleRNN):
    """The three-tier SampleRNN; the defaults are the authors' best model."""

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
    """SampleRNN with any number of tiers, as in the paper's formulas but not in its tables and code."""

    family: ClassVar[str] = "k_tier"

    seq_len: int = 512
    frame_sizes: Sizes = (16, 8, 2)  # the slowest first: four tiers with the sample tier

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.frame_sizes, list):  # read from a file
            object.__setattr__(self, "frame_sizes", tuple(self.frame_sizes))
        if (
            type(self.frame_sizes) is not tuple
            or not self.frame_sizes
            or not all(type(size) is int and size > 0 for size in self.frame_sizes)
        ):
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
    """The paper's RNN. Its hyper-parameters are not in the paper: the defaults are our choice."""

    family: ClassVar[str] = "one_tier"

    seq_len: int = 512
    emb_size: int = 256


@dataclass(frozen=True, kw_only=True)
class WaveNet(Quantised):
    """The paper's re-implementation of WaveNet; the defaults are the paper's."""

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
        """Targets of a chunk (T)."""
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
    """RNN-GMM: a plain RNN on real-valued samples (paper, table 2). The defaults are our choice."""

    family: ClassVar[str] = "rnn_gmm"

    seq_len: int = 512


HyperParameters = ThreeTier | TwoTier | KTier | OneTier | WaveNet | SampleRNNGMM | RNNGMM
FAMILIES: dict[str, type[HyperParameters]] = {
    family.family: family for family in (ThreeTier, TwoTier, OneTier, WaveNet, KTier, RNNGMM, SampleRNNGMM)
}


def to_store(hp: Common) -> dict[str, Any]:
    """Hyper-parameters as they are stored: the rate only if it is not that of every model of this package."""
    return {name: value for name, value in asdict(hp).items() if (name, value) != ("rate", SAMPLE_RATE)}


def as_stored(family: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of a stored model, without that of earlier versions' rnn_gmm."""
    known = dict(values)
    if family == "rnn_gmm" and (size := known.pop("frame_size", 1)) != 1:
        raise HyperParameterError(
            f"frame_size is {size}; since version 0.2.0 an rnn_gmm predicts one sample at a time."
        )
    return known
