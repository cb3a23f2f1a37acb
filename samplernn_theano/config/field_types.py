"""The types of the fields of a dataclass, whose values may come from a file or from a user's program."""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_origin

MEANING = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", NoneType: "None"}


def wrong_type(instance: Any, hyphens: bool = True) -> str:
    """A message on a field with a value of another type, or ""; scalars of NumPy become Python's.

    Fields of other types than a truth value, a number and a text are not checked. In flags the names have
    `hyphens` in place of underscores.
    """
    for own in fields(instance):
        kinds = get_args(own.type) or (own.type,)
        if not set(kinds) <= MEANING.keys():
            continue
        value = getattr(instance, own.name)
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()
            object.__setattr__(instance, own.name, value)
        flag = own.name.replace("_", "-") if hyphens else own.name
        if type(value) is int and abs(value) >= 2**63:
            return f"--{flag} is too large."
        if type(value) not in ({*kinds, int} if float in kinds else kinds):
            what = " or ".join(MEANING[kind] for kind in kinds)
            return f"--{flag} is {reprlib.repr(value)}; it must be {what}."
    return ""


def fits(value: Any, kind: Any) -> bool:
    """True if a value parsed from JSON is of a type of `MEANING`, or a sequence, mapping or union of such."""
    match get_origin(kind), get_args(kind):
        case None, _:
            is_number = kind is float and type(value) in (int, float) and math.isfinite(value)
            return is_number or type(value) is kind and kind is not float
        case origin, (of,) if origin is Sequence:
            return isinstance(value, list) and all(fits(each, of) for each in value)
        case origin, (_, of) if origin is Mapping:
            return isinstance(value, dict) and all(fits(each, of) for each in value.values())
        case _, kinds:
            return any(fits(value, each) for each in kinds)
