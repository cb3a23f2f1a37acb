"""Hyper-parameters that several model families share, and their validation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, NamedTuple

from samplernn_theano.errors import HyperParameterError

Sizes = tuple[int, ...]

OURS = {"ours": True}  # metadata of a hyper-parameter that the original does not have
FROM_ZERO = {"min": 0}  # metadata of a whole number that may be zero


class Tier(NamedTuple):
    """A recurrent tier."""

    name: str  # prefix of its parameters' names
    state: str  # name of its state
    frame_size: int  # samples per frame
    ratio: int  # upsampling: steps of the tier below per step of its own


@dataclass(frozen=True, kw_only=True)
class Common:
    """Hyper-parameters of every family.

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
    independent_preds: ClassVar[bool] = False  # True if the slowest tier also predicts samples

    dim: int = 1024
    batch_size: int = 128

    @property
    def seq_len(self) -> int:
        """Targets of a truncated-BPTT chunk (T)."""
        raise NotImplementedError

    @property
    def overlap(self) -> int:
        """Context of a truncated-BPTT chunk: samples before its first target."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        for own in fields(self):
            value, minimum = getattr(self, own.name), own.metadata.get("min", 1)
            if own.type is int and (type(value) is not int or value < minimum):
                raise HyperParameterError(
                    f"--{own.name} is {value}; it must be a whole number of at least {minimum}."
                )


@dataclass(frozen=True, kw_only=True)
class Recurrent(Common):
    """Hyper-parameters of every recurrent family.

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
        check_choice("rnn_type", self.rnn_type, ("GRU", "LSTM"))
        if not 1 <= self.n_rnn <= 5:
            raise HyperParameterError(f"--n_rnn {self.n_rnn} is out of range; choose 1 to 5 layers.")
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
    """Hyper-parameters of families whose samples are levels, predicted by a softmax.

    Attributes
    ----------
    q_levels : int
        Quantisation levels (Q).
    q_type : {"linear", "mu-law", "a-law"}
    normalisation : {"min-max", "absmax", "none"}
        Scaling of each clip to [0, 1]; see `samplernn_theano.data.quantization.normalise`.
    """

    q_levels: int = 256
    q_type: str = "linear"
    normalisation: str = field(default="min-max", metadata=OURS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.q_levels < 2:
            raise HyperParameterError(f"--q_levels {self.q_levels} is too few; choose at least 2.")
        check_choice("q_type", self.q_type, ("linear", "mu-law", "a-law"))
        check_choice("normalisation", self.normalisation, ("min-max", "absmax", "none"))
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
    """Hyper-parameters of families with real-valued samples, predicted by a mixture of Gaussians (table 2).

    Attributes
    ----------
    n_components : int
        Gaussians in a mixture. The paper states no number: 20, as in Chung et al. 2015, is our choice.
    mean, std : float or None
        The input is (x - mean) / std. None: to be computed from the training clips.
    """

    real_valued: ClassVar[bool] = True
    silence: ClassVar[float] = 0.0  # left padding of a clip, after normalisation

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
    """Hyper-parameters of recurrent tiers over a sample tier, each with shorter frames than the one above."""

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of each recurrent tier, the slowest first."""
        raise NotImplementedError

    @property
    def overlap(self) -> int:
        """Context of a truncated-BPTT chunk: samples before its first target."""
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
    """Hyper-parameters of one recurrent tier over a sample tier.

    Attributes
    ----------
    n_frames, frame_size : int
        Frames per truncated-BPTT chunk and samples per frame.
    """

    n_frames: int = 64
    frame_size: int = 16
    n_rnn: int = 3

    @property
    def seq_len(self) -> int:
        """Samples per truncated-BPTT chunk (T)."""
        return self.n_frames * self.frame_size

    @property
    def sizes(self) -> Sizes:
        """Samples per frame of the recurrent tier."""
        return (self.frame_size,)


@dataclass(frozen=True, kw_only=True)
class SampleRNN(Tiered, Quantised):
    """Hyper-parameters of tiers over a sample tier with a softmax, and of the ablations of table 4.

    Attributes
    ----------
    emb_size : int
        Width of the embedding of one quantised sample; 0: a one-hot vector. Unused in the ablations below.
    sample_input : {"embedding", "real"}
        Ablation: with "real" the sample tier reads rescaled samples, neither embedded nor one-hot. The
        paper's "without embedding" may mean this or `emb_size` 0.
    multi_softmax : bool
        Ablation: each sample of a frame is predicted from the conditioning vector only, without the samples
        before it.
    """

    emb_size: int = field(default=256, metadata=FROM_ZERO)
    sample_input: str = field(default="embedding", metadata=OURS)
    multi_softmax: bool = field(default=False, metadata=OURS)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("sample_input", self.sample_input, ("embedding", "real"))
        if self.multi_softmax and self.sample_input == "real":
            raise HyperParameterError(
                "--multi_softmax True reads no previous samples, --sample_input real says how to read them; "
                "give only one of them."
            )


# --- checks -------------------------------------------------------------------------------------------------


def check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    """Raise HyperParameterError if `value` is not one of `choices`."""
    if value not in choices:
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise HyperParameterError(f"--{flag} {value} is unknown; choose {listed}.")


def check_multiple(flag: str, value: int, of_flag: str, of: int) -> None:
    """Raise HyperParameterError if `value` is not a multiple of `of`."""
    if value % of:
        nearest = max(1, round(value / of)) * of
        raise HyperParameterError(
            f"--{flag} {value} is not a multiple of --{of_flag} {of}; choose for example --{flag} {nearest}."
        )
