"""Flags of hyper-parameters on command lines, ours and the original's."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any

from samplernn_theano.config.hyperparameters import Common, Sizes
from samplernn_theano.errors import HyperParameterError

HELP = {
    "dim": "width of every layer; wavenet: channels",
    "batch_size": "clips per minibatch",
    "seq_len": "samples per truncated-BPTT chunk",
    "n_frames": "frames per truncated-BPTT chunk",
    "sequence_len_to_train": "samples to predict per chunk",
    "big_frame_size": "samples per frame of the slow recurrent tier",
    "frame_size": "samples per frame (of the fast recurrent tier, if there are two)",
    "frame_sizes": "samples per frame of each recurrent tier, the slowest first",
    "emb_size": "width of the embedding of a sample; 0 (not in one_tier): a one-hot vector",
    "n_rnn": "recurrent layers per tier (the original: 1 to 5)",
    "rnn_type": "GRU or LSTM",
    "skip_conn": "skip connections around recurrent layers, which need --n_rnn 2 or more",
    "weight_norm": "weight normalisation of the linear layers",
    "learn_h0": "train the initial states",
    "q_levels": "quantisation levels",
    "q_type": "linear, mu-law or a-law; the last two with --q_levels 256",
    "normalisation": "scaling of each clip: min-max (the original), absmax or none",
    "rate": "sample rate in Hz of the recordings that a model of a fork of the original was trained on",
    "sample_input": "embedding or real; real: the sample tier reads rescaled samples (an ablation)",
    "multi_softmax": "predict a sample without the samples before it in its frame (an ablation)",
    "wavenet_blocks": "blocks of dilated layers",
    "dilation_layers_per_block": "layers per block, the dilation doubling from 1",
    "n_components": "Gaussians in a mixture",
    "mean": "mean of the samples (default: measured on the training clips); below zero: --mean=-1e-05",
    "std": "standard deviation of the samples (default: measured on the training clips)",
}
"""Help text of every hyper-parameter."""


def add_flags(
    parser: Any,
    family: type[Common],
    of_forks: bool = False,
    truth: Callable[[str], bool] | None = None,
) -> None:
    """Add a flag per hyper-parameter to `parser`, named as in the original; its default is None.

    With `of_forks` also those that only models of forks have; `truth` parses truth values.
    """
    kinds: dict[Any, tuple[Any, str | None]] = {
        bool: (truth or true_or_false, "True|False"),
        Sizes: (frame_sizes, "16/8/2"),
        float | None: (float, None),
    }
    for own in (own for own in fields(family) if of_forks or not own.metadata.get("of_forks")):
        kind, metavar = kinds.get(own.type, (own.type, None))
        default = "" if own.default is None else f" (default: {format_value(own.default)})"
        parser.add_argument(f"--{own.name}", type=kind, metavar=metavar, help=HELP[own.name] + default)


def from_original_argv[H: Common](
    family: type[H], argv: Sequence[str], unknown: list[str] | None = None
) -> tuple[H, str]:
    """Hyper-parameters and data set (`--which_set`) of a command line, with or without the script's path.

    Flags may be abbreviated, and truth values too, as the original's parser accepts them. Foreign ones are
    refused, or appended to `unknown`.
    """
    parser = _parser(family, _beginning_of_true_or_false)
    parser.add_argument("--exp")
    parser.add_argument("--which_set", default="MUSIC")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--resume", action="store_true")
    arguments = unabbreviated(family, argv)
    arguments = arguments[1:] if argv and not argv[0].startswith("--") else arguments
    if unknown is None:
        given = vars(parser.parse_args(arguments))
    else:
        known, others = parser.parse_known_args(arguments)
        given = vars(known)
        flags = [word.partition("=")[0] for word in others if word.startswith("--")]
        unknown += flags or others[:1]
    names = [own.name for own in fields(family)]
    return family(**{n: given[n] for n in names if given.get(n) is not None}), given["which_set"]


def unabbreviated(family: type[Common], argv: Sequence[str]) -> list[str]:
    """A command line of the original with whole flags in place of unique beginnings of flags."""
    known = [f"--{own.name}" for own in fields(family) if not own.metadata.get("ours")]
    known += ["--exp", "--which_set", "--debug", "--resume", "--help"]
    words = []
    for word in argv:
        flag, equals, value = word.partition("=")
        whole = [own for own in known if flag.startswith("--") and own.startswith(flag)]
        if len(whole) > 1 and flag not in known:
            raise HyperParameterError(f"{flag} can mean {' or '.join(whole)}: write it out.")
        words.append(whole[0] + equals + value if len(whole) == 1 else word)
    return words


def read_settings(family: type[Common], settings: Sequence[str]) -> dict[str, Any]:
    """Hyper-parameters given as NAME=VALUE; HyperParameterError if a name is unknown or a value invalid."""
    given = vars(_parser(family, of_forks=True).parse_args([f"--{setting}" for setting in settings]))
    return {name: value for name, value in given.items() if value is not None}


def to_argv(hp: Common) -> list[str]:
    """Flags of a model as on the original's command line; ours only if not at their defaults."""
    argv: list[str] = []
    for own in fields(hp):
        value = getattr(hp, own.name)
        if value is not None and (value != own.default or not own.metadata.get("ours")):
            argv += [f"--{own.name}", format_value(value)]
    return argv


def true_or_false(text: str) -> bool:
    """Parse a truth value of the original: True or False, in any case, or T or F."""
    if text.lower() in ("t", "true", "f", "false"):
        return text.lower()[0] == "t"
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def _beginning_of_true_or_false(text: str) -> bool:
    """Parse a truth value as the original does. Quirk: nothing at all is true."""
    for word, value in (("TRUE", True), ("FALSE", False)):
        if word.startswith(text.upper()):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def frame_sizes(text: str) -> Sizes:
    """Parse the frame sizes of several tiers, the slowest first, such as 16/8/2."""
    try:
        return tuple(int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes such as 16/8/2") from None


class _Parser(argparse.ArgumentParser):
    """A parser that raises an error in place of exiting."""

    def error(self, message: str) -> Any:
        raise HyperParameterError(f"The hyper-parameters cannot be read: {message}.")


def _parser(
    family: type[Common], truth: Callable[[str], bool] | None = None, of_forks: bool = False
) -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_flags(parser, family, of_forks, truth)
    return parser


def format_value(value: Any) -> str:
    """Format a value for a command line."""
    if isinstance(value, tuple | list):
        return "/".join(map(str, value))
    if isinstance(value, float):
        return format(Decimal(str(value)), "f")  # argparse mistakes -1e-05, but not -0.00001, for a flag
    return str(value)
