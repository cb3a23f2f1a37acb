"""Export a model to be shared: a .safetensors file, and next to it a model card for the Hugging Face Hub."""

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import exports, npz, pretrained
from samplernn_theano.checkpoints.npz import Checkpoint
from samplernn_theano.config.hyperparameters import to_store
from samplernn_theano.config.schedule import describe_rate, stored_schedule
from samplernn_theano.data.manifest import read_manifest
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils import files
from samplernn_theano.utils.text import escape_control_characters, format_duration

type Tiers = Mapping[str, Sequence[str]]

CARD = "README.md"

PUBLIC = (
    *("seed", "learning_rate", "schedule", "ip_weight", "backend", "precision", "n_devices", "devices"),
    *("versions", "git_revision", "data_sha256", "assumed", "of_fork"),
)
"""The settings of a run that are exported."""

NAMES = ("data", "which_set")
"""Settings that may be paths, of which only the last part is exported."""

IN_OTHER_WORDS = ("set", "updates", "of_updates", "unit", "revision")
"""Entries of the card of one of the package's models that are not repeated: the table has them already."""

MARK = re.compile(r"\n<!-- written by samplernn convert, (\w{16}) -->\n\Z")
"""The end of a card, with a checksum of what stands before it, by which one that was edited is known."""


def check_card(folder: Path, overwrite: bool) -> None:
    """Raise OutputError if a card in `folder` would replace a file that is not one, or was edited."""
    card = folder / CARD
    if card.exists() and not overwrite and not _is_ours(card):
        raise OutputError(
            f"{card} is not a card that samplernn convert wrote, or it was edited: name a file in another "
            "folder, or give --overwrite, which replaces it."
        )


def write(out: Path, checkpoint: Checkpoint, source: Path, tiers: Tiers) -> Path:
    """Export a checkpoint to `out` (.safetensors), and write its card next to it; return the card's path.

    `source` is the file of the checkpoint. `tiers` are lines on each tier, by its name.
    """
    shared, card = _public(checkpoint), out.parent / CARD
    about = npz.header(shared, [f"parameters/{name}" for name in shared.parameters])
    exports.write(out, about, shared.parameters)
    text = _text(out.name, shared, tiers, _facts(source, checkpoint.settings))
    files.clear_abandoned(card, out.parent)
    files.write_text(card, f"{text}\n<!-- written by samplernn convert, {_checksum(text)} -->\n")
    return card


def _public(checkpoint: Checkpoint) -> Checkpoint:
    """What is exported of a checkpoint: neither Adam's moments, nor states, nor paths and commands."""
    known = checkpoint.settings
    settings: dict[str, Any] = {name: known[name] for name in PUBLIC if known.get(name) is not None}
    settings |= {name: Path(str(known[name])).name for name in NAMES if known.get(name)}
    parameters = {name: np.array(a, np.float32, order="C") for name, a in checkpoint.parameters.items()}
    return replace(checkpoint, parameters=parameters, adam={}, states={}, settings=settings)


def _is_ours(card: Path) -> bool:
    """True if `convert` wrote a card and nobody has edited it."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    mark = MARK.search(text)
    return mark is not None and mark[1] == _checksum(text[: mark.start()])


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _facts(source: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the package's card of a model tells, or of the data their manifest, if they are still there."""
    if pretrained.is_included(source):
        return pretrained.card(source.stem)
    try:
        manifest = read_manifest(Path(settings["data"]))
        digests = {split: about["sha256"] for split, about in manifest["splits"].items()}
        if digests != settings["data_sha256"]:  # it was replaced
            return {}
        return {f"{name}_of_the_data": manifest[name] for name in ("licence", "origin") if name in manifest}
    except (OSError, KeyError, TypeError, AttributeError, DataError):  # none, or one of another program
        return {}


def _rows(checkpoint: Checkpoint, tiers: Tiers, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a card, a value by its name: what the checkpoint tells, and the other `facts`."""
    hp, settings, progress = checkpoint.hp, checkpoint.settings, checkpoint.progress
    data = facts.get("set") or settings.get("data") or settings.get("which_set") or "unknown data"
    rows = {"family": hp.family, "sample rate": f"{hp.rate:,} Hz", "data set": data}
    rows |= {tier: "; ".join(lines) for tier, lines in tiers.items()}
    rows["parameters"] = f"{sum(a.size for a in checkpoint.parameters.values()):,}"
    rows["hyper-parameters"] = ", ".join(f"{k} {v}" for k, v in to_store(hp).items() if v is not None)
    if assumed := settings.get("assumed"):
        rows["of these assumed"] = ", ".join(map(str, assumed))
    if progress.get("iteration"):
        at = f"iteration {progress['iteration']:,}, epoch {progress.get('epoch', 0)}"
        rows["trained"] = f"{at}, {format_duration(progress.get('seconds', 0))}"
    for split in ("valid", "test"):
        if (bits := progress.get(f"best_{split}")) is not None:
            rows[split] = f"{bits:.4f} bits per sample at iteration {progress.get('best_iteration')}"
    if not assumed and (rate := describe_rate(stored_schedule(settings))) is not None:
        rows["learning rate"] = rate
    for name in ("seed", "backend", "devices", "git_revision", "of_fork"):
        if settings.get(name, "") != "":
            rows[name] = settings[name]
    if "versions" in settings:
        rows["versions"] = ", ".join(f"{name} {version}" for name, version in settings["versions"].items())
    return rows | {name: value for name, value in facts.items() if name not in (*rows, *IN_OTHER_WORDS)}


def _text(name: str, checkpoint: Checkpoint, tiers: Tiers, facts: Mapping[str, Any]) -> str:
    """The card of an exported model, the file `name`, without its mark."""
    family, file, rows = checkpoint.hp.family, shlex.quote(name), _rows(checkpoint, tiers, facts)
    origin = "trained with" if "versions" in checkpoint.settings else "converted for"
    table = "\n".join(f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in rows.items())
    return f"""---
license: {facts.get("licence", "unknown")}
library_name: samplernn-theano
tags:
- audio
- audio-generation
- unconditional
- samplernn
- {family}
---

# {family}, trained on {_cell(rows["data set"])}

A model of raw audio of [SampleRNN](https://arxiv.org/abs/1612.07837), {origin} samplernn-theano. It
generates sound from nothing, or continues a recording.

| | |
| --- | --- |
{table}

## Generate

Install the package samplernn-theano first: in a clone of its repository, `pip install -e ".[jax]"`. Then

```
samplernn generate {file} --seconds 10
samplernn generate {file} --prime RECORDING --seconds 10
samplernn convert {file} model.npz    # a checkpoint; model.pkl is a file for the original
```

or in Python

```python
import samplernn_theano

blocks = samplernn_theano.generate({name!r}, seconds=10)
```

The tensors are 32-bit floats under the names of the original's parameters; the reset gate of its GRU acts
before the matrix product, unlike that of cuDNN and PyTorch.
"""


def _cell(value: object) -> str:
    return escape_control_characters(str(value)).replace("|", "\\|")
