"""Hyper-parameters of the models, validated, with the original's names and command line."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from samplernn_theano.errors import HyperParameterError


@dataclass(frozen=True, kw_only=True)
class ThreeTier:
    """Hyper-parameters of the three-tier SampleRNN; the defaults are the authors' best model.

    Attributes
    ----------
    seq_len : int
        Samples per truncated-BPTT pass (T).
    big_frame_size, frame_size : int
        Samples per frame of the upper and of the lower recurrent tier.
    emb_size : int
        Width of the embedding of one quantised sample.
    skip_conn : bool
        Skip connections inside a stack of recurrent layers (Graves 2013).
    dim : int
        Width of every layer (D).
    n_rnn : int
        Recurrent layers per tier (R), 1 to 5.
    rnn_type : {"GRU", "LSTM"}
    q_levels : int
        Quantisation levels (Q).
    q_type : {"linear", "mu-law"}
    batch_size : int
        Clips per minibatch (B).
    weight_norm : bool
        Weight normalisation (Salimans & Kingma 2016) of every linear layer.
    learn_h0 : bool
        Train the initial states.

    Raises
    ------
    HyperParameterError
        If the values contradict each other.
    """

    family: ClassVar[str] = "three_tier"

    seq_len: int = 512
    big_frame_size: int = 8
    frame_size: int = 2
    emb_size: int = 256
    skip_conn: bool = False
    dim: int = 1024
    n_rnn: int = 1
    rnn_type: str = "GRU"
    q_levels: int = 256
    q_type: str = "linear"
    batch_size: int = 128
    weight_norm: bool = True
    learn_h0: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value < 1):
                raise HyperParameterError(
                    f"--{field.name} is {value}; it must be at least 1, a whole number."
                )
        if self.seq_len % self.big_frame_size:
            raise HyperParameterError(
                f"--seq_len {self.seq_len} is not a multiple of --big_frame_size {self.big_frame_size}; "
                f"choose for example --seq_len {_multiple(self.seq_len, self.big_frame_size)}."
            )
        if self.big_frame_size % self.frame_size:
            raise HyperParameterError(
                f"--big_frame_size {self.big_frame_size} is no multiple of --frame_size {self.frame_size}; "
                f"choose for example --big_frame_size {_multiple(self.big_frame_size, self.frame_size)}."
            )
        if self.rnn_type not in ("GRU", "LSTM"):
            raise HyperParameterError(f"--rnn_type {self.rnn_type} is unknown; choose GRU or LSTM.")
        if not 1 <= self.n_rnn <= 5:
            raise HyperParameterError(f"--n_rnn {self.n_rnn} is out of range; choose 1 to 5 layers.")
        if self.skip_conn and self.n_rnn == 1:
            raise HyperParameterError(
                "--skip_conn True needs two recurrent layers at least; set --n_rnn 2, or --skip_conn False."
            )
        if self.q_levels < 2:
            raise HyperParameterError(f"--q_levels {self.q_levels} is too few; choose at least 2.")
        if self.q_type == "a-law":
            raise HyperParameterError(
                "--q_type a-law is not implemented by the original either; choose linear or mu-law."
            )
        if self.q_type not in ("linear", "mu-law"):
            raise HyperParameterError(f"--q_type {self.q_type} is unknown; choose linear or mu-law.")
        if self.q_type == "mu-law" and self.q_levels != 256:
            raise HyperParameterError(
                f"--q_type mu-law has 256 levels by definition, not {self.q_levels}; set --q_levels 256."
            )

    @property
    def overlap(self) -> int:
        """Samples that each truncated pass needs before its first target."""
        return self.big_frame_size

    @property
    def state_width(self) -> int:
        """Width of one layer's state: D for a GRU, 2 D for an LSTM ([s, c])."""
        return self.dim * (2 if self.rnn_type == "LSTM" else 1)

    @property
    def q_zero(self) -> int:
        """The level that stands for silence in front of a clip."""
        return self.q_levels // 2

    def to_argv(self) -> list[str]:
        """The model's flags as the original's command line writes them."""
        return [word for name, value in asdict(self).items() for word in (f"--{name}", str(value))]


FAMILIES = {ThreeTier.family: ThreeTier}

PRESETS: dict[str, dict[str, ThreeTier]] = {
    ThreeTier.family: {
        "best": ThreeTier(),
        "laptop": ThreeTier(dim=256, batch_size=16),
        "demo": ThreeTier(dim=128, emb_size=32, batch_size=8, seq_len=256, big_frame_size=16, frame_size=4),
        "tiny": ThreeTier(dim=32, emb_size=16, batch_size=4, seq_len=128),
    }
}


def preset(family: str, name: str, changes: dict[str, Any]) -> ThreeTier:
    """The preset `name` of `family` with some values changed.

    Raises
    ------
    HyperParameterError
        If there is no such preset, or the changed values contradict each other.
    """
    presets = PRESETS[family]
    if name not in presets:
        raise HyperParameterError(f"--preset {name} is unknown; choose one of {', '.join(presets)}.")
    return FAMILIES[family](**(asdict(presets[name]) | changes))


def add_flags(parser: argparse.ArgumentParser, family: type[ThreeTier]) -> None:
    """Give `parser` one flag per hyper-parameter, named as in the original; a flag not given is None."""
    for field in fields(family):
        kind: Any = true_or_false if field.type is bool else field.type
        metavar = "True|False" if field.type is bool else None
        parser.add_argument(f"--{field.name}", type=kind, metavar=metavar, default=None)


def from_original_argv(family: type[ThreeTier], argv: Sequence[str]) -> tuple[ThreeTier, str]:
    """Hyper-parameters and data set (`--which_set`) of a command line of the original.

    Parameters
    ----------
    argv : sequence of str
        As the original stored it; the script's path may stand in front.

    Raises
    ------
    HyperParameterError
        If a flag is unknown or has no value.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_flags(parser, family)
    parser.add_argument("--exp")
    parser.add_argument("--which_set", default="MUSIC")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--resume", action="store_true")
    words = list(argv[1:]) if argv and not argv[0].startswith("--") else list(argv)
    given = vars(parser.parse_args(words))
    names = [field.name for field in fields(family)]
    return family(**{n: given[n] for n in names if given[n] is not None}), given["which_set"]


def true_or_false(word: str) -> bool:
    """The original's way to write a truth value: True or False, in any case, or T or F.

    Raises
    ------
    argparse.ArgumentTypeError
        If the word is neither.
    """
    lowered = word.lower()
    if lowered in ("t", "true"):
        return True
    if lowered in ("f", "false"):
        return False
    raise argparse.ArgumentTypeError(f"{word!r} is neither True nor False")


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> Any:
        raise HyperParameterError(f"The original's command line cannot be read: {message}.")


def _multiple(value: int, of: int) -> int:
    return max(1, round(value / of)) * of
