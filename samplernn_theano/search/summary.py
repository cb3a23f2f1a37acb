"""Results of a hyper-parameter search as text, CSV and figures; a trial is a row, a dict by column."""

import csv
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.config.schedule import best_of
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.plotting import save_figure


def measured(folder: Path) -> dict[str, Any]:
    """Results from the log of a run folder; the NLL is None without an evaluation."""
    log = run_folder.read_log(run_folder.Run(folder))
    evaluations = [record for record in log if record["event"] == "monitor"]
    best = best_of(evaluations, lambda record: record["valid"]) or {}
    return {
        "valid_bits_per_sample": best.get("valid"),
        "minutes": max((record.get("seconds", 0.0) for record in log), default=0.0) / 60,
        "iterations": max((record.get("iteration", 0) for record in log), default=0),
        "best_iteration": best.get("iteration"),
        "parameters": next((record["parameters"] for record in log[::-1] if "parameters" in record), None),
    }


def last_line(output: Path) -> str:
    """The last line of the output of a training."""
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    return (text.strip().splitlines() or [""])[-1].strip().removeprefix("samplernn: ")


def final_message(rows: Sequence[Mapping[str, Any]], folder: Path, limit: Sequence[str]) -> str:
    """Number of trials, the best one, and the commands to train it further or again."""
    states = [row["state"] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    lines = [f"Trials: {counts}. The table and figures are in {folder}"]
    if "done" in states:
        best = rows[0]
        score = f"{best['valid_bits_per_sample']:.4f} bits per sample on the validation set"
        further = ["samplernn", "resume", str(folder / f"trial-{best['trial']:03d}"), limit[0]]
        lines += [
            f"The best is trial {best['trial']}: {score}.",
            f"To train it further: {shlex.join([*further, f'{10 * float(limit[1]):.10g}'])}",
            f"To train it again: {best['command']}",
        ]
    return "\n".join(lines)


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as a CSV file."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else ["trial"])
        writer.writeheader()
        writer.writerows(rows)


def draw(folder: Path, study: optuna.Study) -> None:
    """Draw Optuna's figures: the NLL of each trial, and against each hyper-parameter; importances."""
    matplotlib.use("Agg")
    scores = [trial.value for trial in study.trials if trial.state == TrialState.COMPLETE]
    name = "valid NLL (bits per sample)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental; a single point has no limits
        figures = {
            "history": plots.plot_optimization_history(study, target_name=name),
            "search": plots.plot_slice(study, target_name=name),
        }
        if len(scores) >= 50 and len(set(scores)) > 1:  # they compare the best tenth with all
            evaluator = PedAnovaImportanceEvaluator()  # Optuna's others need scikit-learn
            figures["importances"] = plots.plot_param_importances(study, evaluator=evaluator)
        for stem, axes in figures.items():
            figure = np.asarray(axes, object).flat[0].figure
            figure.set_layout_engine("constrained")
            save_figure(folder / f"{stem}.png", figure)
            matplotlib.pyplot.close(figure)
