"""The page of a run: its learning curve, its status, and the sounds of each evaluation with their scores."""

import base64
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import show
from samplernn_theano.checkpoints.run_folder import Run, sample_files
from samplernn_theano.checkpoints.status import RunStatus, is_cost
from samplernn_theano.generation import gallery
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.plotting import new_figure
from samplernn_theano.utils.progress import counted
from samplernn_theano.utils.text import format_duration


def write_page(status: RunStatus) -> Path:
    """Write index.html in the folder of a run, ours or the original's; return its path.

    Spectrograms are drawn as by `gallery.write_page`, which also lists what was generated from the run.
    """
    run = Run(status.folder)
    path = gallery.check_page(run.folder)
    evaluations = {record["iteration"]: record for record in status.evaluations}
    samples, cards = sample_files(run.samples), defaultdict(list)
    for iteration, _, sound in counted(samples, "draw", len(samples), "samples", bool(samples)):
        cards[iteration].append(gallery.card(run.folder, sound))
    has_gallery = bool(gallery.read_records(run.samples))
    if has_gallery:
        gallery.write_page(run.samples)
    values = {
        "name": run.folder.resolve().name,
        "date": datetime.now().astimezone(),
        "curve": _curve(status),
        "facts": show.facts(status),
        "hyperparameters": asdict(status.hp) if status.hp else {},
        "rows": {iteration: _row(record) for iteration, record in sorted(evaluations.items())},
        "cards": cards,
        "has_gallery": has_gallery,
    }
    write_text(path, gallery.render("run.html", **values))
    return path


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    """The columns of an evaluation."""
    costs = {split: record.get(split) for split in ("train", "valid", "test")}
    texts = {split: "-" if cost is None else f"{cost:.4f}" for split, cost in costs.items()}
    return {"epoch": f"{record.get('epoch', '-')}", "training": format_duration(record["seconds"]), **texts}


def _curve(status: RunStatus) -> str:
    """The learning curve over iterations as an address that holds the picture; empty without costs."""
    test = [(r["iteration"], r["test"]) for r in status.evaluations if is_cost(r.get("test"))]
    curves = {"train": (status.train, ""), "valid": (status.valid, "o"), "test": (test, "s")}
    if not any(points for points, _ in curves.values()):
        return ""
    figure = new_figure(5, 3.2)
    axes = figure.subplots()
    for name, (points, marker) in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, ms=4, lw=1, label=name)
    axes.set(xlabel="iterations", ylabel="NLL (bits per sample)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=200)
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
