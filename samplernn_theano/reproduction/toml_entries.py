"""Lists of tables in TOML files, read as dataclasses."""

from collections.abc import Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from samplernn_theano.errors import ReproductionError
from samplernn_theano.utils.toml_files import read_toml


def read_entries[Entry](
    path: Path, name: str, kind: type[Entry], others: Collection[str] = ()
) -> list[Entry]:
    """Read the entries [[name]] of a TOML file.

    Parameters
    ----------
    kind : dataclass
        The type of an entry. It may raise a ValueError.
    others : collection of str
        Other allowed keys of the file.

    Raises
    ------
    ReproductionError
        If the file is missing or invalid, or an entry lacks a key, has an unknown one or an invalid value.
    """
    entries = read_toml(path, {name, *others}).get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ReproductionError(f"{path}: {name} is not a list of entries; begin each with [[{name}]].")
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
