"""The original's names: its command lines, the folders of runs and the files in them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from samplernn_theano.config.flags import from_original_argv, to_argv
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters, Recurrent
from samplernn_theano.config.schedule import original_learning_rate
from samplernn_theano.errors import CheckpointError, HyperParameterError

RESULTS = {"one_tier": "results_1t", "two_tier": "results_2t", "three_tier": "results_3t"}
RESULTS["wavenet"] = "results_wavenets"
"""The results folder of each family."""

SCRIPTS = {family: f"models/{family}/{family}.py" for family in RESULTS}
SCRIPTS["wavenet"] = "models/one_tier/wavent.py"  # Quirk: misspelt, and next to one_tier
"""The training script of each family."""


SETS = ("BLIZZ", "MUSIC", "ONOM")
"""The original's names of its data sets."""


class Settings(NamedTuple):
    """Settings of a run."""

    hp: HyperParameters
    which_set: str  # the original's name of the data set
    learning_rate: float


def original_argv(hp: HyperParameters, which_set: str, exp: str) -> list[str]:
    """The original's command line for training this model; HyperParameterError if it has no such model."""
    if hp.family not in SCRIPTS:
        raise HyperParameterError(f"The original has no {hp.family}; choose {listed(SCRIPTS)}.")
    for own in fields(hp):
        if own.metadata.get("ours") and (value := getattr(hp, own.name)) != own.default:
            raise HyperParameterError(f"The original has no --{own.name} {value}, only {own.default}.")
    if isinstance(hp, Recurrent) and hp.n_rnn > 5:
        raise HyperParameterError(f"The original has 1 to 5 recurrent layers, not --n_rnn {hp.n_rnn}.")
    ways = {"with --exp": exp, "with --which_set, or to the set's files NAME_train.npy": which_set}
    for way, name in ways.items():
        if not all(character.isprintable() and character <= "\xff" for character in name):
            raise HyperParameterError(
                f"The original's files cannot hold the name {name!r}; give another one {way}."
            )
    return [SCRIPTS[hp.family], "--exp", exp, *to_argv(hp), "--which_set", which_set]


def tag(argv: Sequence[str], family: str, learning_rate: float | None = None) -> str:
    """The name of a run's folder.

    Quirk: the arguments are joined without a space, "--" and "/" become "-", and True and False become T and
    F everywhere. --resume is omitted. The learning rate, by default the script's, is not in wavenet's tag.
    """
    joined = "".join(argument for argument in argv if argument != "--resume")
    for old, new in (("--", "-"), ("/", "-"), ("True", "T"), ("False", "F")):
        joined = joined.replace(old, new)
    if family == "wavenet":
        return joined
    rate = original_learning_rate(FAMILIES[family]) if learning_rate is None else learning_rate
    return f"{joined}-lr{rate}"


def from_tag(name: str, family: str) -> Settings:
    """The settings in the name of a run's folder; CheckpointError if it is no tag of this family."""
    argv, learning_rate = _split_tag(name, family)
    flags = [argument for argument in argv if argument.startswith("--")]
    if not argv or len(flags) != len(set(flags)):
        raise CheckpointError(
            f"The folder's name {name} is not a name of the original's for a {family} run; give the "
            "hyper-parameters."
        )
    hp, which_set = read_argv(argv, family, f"The folder's name {name}")
    return Settings(hp, which_set, learning_rate or original_learning_rate(type(hp)))


def learning_rate_of(name: str, family: str) -> float:
    """The learning rate in the name of a run's folder, else that of the family's script."""
    return _split_tag(name, family)[1] or original_learning_rate(FAMILIES[family])


def family_of_script(name: str) -> str | None:
    """The family whose script is in a name; those of forks have names such as two_tier32k.py."""
    for end in (".py", ""):
        for family, script in SCRIPTS.items():
            if Path(script).stem + end in name:
                return family
    return None


def script_of_fork(argv: Sequence[str]) -> str:
    """The name of the script in a command line, if there is one and it is none of the original's."""
    script = re.split(r"[\\/]", argv[0])[-1]
    return (
        script
        if script.endswith(".py") and script not in {Path(own).name for own in SCRIPTS.values()}
        else ""
    )


def read_argv(
    argv: Sequence[str], family: str, source: str, unknown: list[str] | None = None
) -> tuple[HyperParameters, str]:
    """Hyper-parameters and data set of a command line; `source` names it in errors.

    Flags that none of the original's scripts has are those of a fork; they are appended to `unknown`.
    """
    foreign: list[str] = []
    known = {f"--{own.name}" for name in SCRIPTS for own in fields(FAMILIES[name])}
    try:
        found = from_original_argv(FAMILIES[family], argv, foreign)
        if argv and not script_of_fork(argv) and not known.isdisjoint(foreign):
            raise HyperParameterError(f"{min(known & set(foreign))} is a flag of another model.")
    except HyperParameterError as error:
        raise CheckpointError(f"{source} does not fit a {family} model: {error}") from error
    if unknown is not None:
        unknown += foreign
    return found


def _split_tag(name: str, family: str) -> tuple[list[str], float | None]:
    """The arguments in a tag (none if it cannot be split) and the learning rate."""
    names = [own for own in fields(FAMILIES[family]) if not own.metadata.get("ours")]
    by_type: dict[Any, str] = {int: r"\d+", bool: "T|F", str: r"linear|mu-law|a-law|GRU|LSTM"}
    values = {own.name: by_type[own.type] for own in names}
    fixed = "|".join(f"{name}=?(?:{value})" for name, value in values.items())
    # --exp and --which_set have any value, which ends where the next flag begins.
    end = rf"(?=-(?:{fixed}|debug)(?:-|$)|-(?:exp|which_set)|$)"
    part = re.compile(rf"-(?:(?P<flag>(?:{fixed})(?=-|$)|which_set=?.+?{end})|exp.*?{end}|debug(?=-|$))")
    values["which_set"] = ""
    matched = re.fullmatch(r".*?\.py(?P<flags>-.*?)(?:-lr(?P<rate>\d+(\.\d+)?(e-\d+)?))?", name)
    if matched is None or part.sub("", matched["flags"]):
        return [], None
    argv = []
    for text in filter(None, (found["flag"] for found in part.finditer(matched["flags"]))):
        flag_name = next(n for n in values if text.startswith(n))
        argv += [f"--{flag_name}", text[len(flag_name) :].removeprefix("=")]
    return argv, float(matched["rate"]) if matched["rate"] else None


class ParamsName(NamedTuple):
    """The parts of the name of a file of parameters."""

    epoch: int
    iteration: int
    hours: float  # of training
    train: float  # bits per sample of the last minibatch
    valid: float
    best: bool = False  # `valid` was the lowest so far


def params_name(*parts: Any) -> str:
    """The name of a file of parameters, from the parts of a `ParamsName`."""
    name = ParamsName(*parts)
    costs = f"tr{name.train:.4f}_v{name.valid:.4f}" + "_best" * name.best
    return f"params_e{name.epoch}_i{name.iteration}_t{name.hours:.2f}_{costs}.pkl"


def sample_name(*parts: Any) -> str:
    """The name of a generated recording, from the parts of a `ParamsName` and the number of the sequence."""
    suffix = params_name(*parts[:-1]).removeprefix("params").removesuffix(".pkl")
    return f"sample{suffix}_{parts[-1]}.wav"


def read_params_name(name: str) -> ParamsName | None:
    """The parts of the name of a file of parameters, or of a copy of it; None if it is not such a name.

    Systems call copies "... (1).pkl", "... - Kopie.pkl", "..._1.pkl" and the like.
    """
    number = r"(-?\d+\.\d+|-?inf|-?nan)"
    costs = rf"tr{number}_v{number}(_best)?"
    found = re.fullmatch(rf"params_e(\d+)_i(\d+)_t(\d+\.\d\d)_{costs}[^.]*\.(?i:pkl|pickle)", name)
    if found is None:
        return None
    hours, train, valid = map(float, found.groups()[2:5])
    return ParamsName(int(found[1]), int(found[2]), hours, train, valid, found[6] is not None)


def listed(choices: Iterable[str]) -> str:
    """Choices as text: a, b or c."""
    *others, last = choices
    return f"{', '.join(others)} or {last}"


def experiment(argv: Sequence[str]) -> str | None:
    """The name of the experiment in a command line of the original."""
    for word, after in zip(argv, [*argv[1:], None], strict=True):
        flag, equals, value = word.partition("=")
        if flag in ("--ex", "--exp"):
            return value if equals else after
    return None
