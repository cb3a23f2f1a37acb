"""Lists in TOML files, each entry of which becomes a dataclass."""

from collections.abc import Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from samplernn_theano.errors import ReproductionError
from samplernn_theano.utils.toml_files import read_toml


def read_entries[Entry](
    path: Path, name: str, kind: type[Entry], others: Collection[str] = ()
) -> list[Entry]:
    """The entries [[name]] of a TOML file.

    Parameters
    ----------
    kind : dataclass
        Made of each entry. It may raise a ValueError that says in words what is wrong.
    others : collection of str
        What else may stand in the file.

    Raises
    ------
    ReproductionError
        If the file is missing or no TOML, or an entry lacks a key, has an unknown one or a wrong value.
    """
    entries = read_toml(path, {name, *others}).get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ReproductionError(f"{path}: {name} is no list of entries; begin each with [[{name}]].")
    return [_entry(f"{path}, [[{name}]] {i}", entry, kind) for i, entry in enumerate(entries, 1)]


def _entry[Entry](where: str, entry: dict[str, Any], kind: type[Entry]) -> Entry:
    known = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(entry.keys() - known.keys()):
        raise ReproductionError(f"{where}: unknown key {unknown[0]}; known are {', '.join(known)}.")
    if missing := [key for key in known if known[key] is MISSING and key not in entry]:
        raise ReproductionError(f"{where}: {missing[0]} is missing; add it.")
    try:
        return kind(**entry)
    except ValueError as error:
        raise ReproductionError(f"{where}: {error}.") from error
