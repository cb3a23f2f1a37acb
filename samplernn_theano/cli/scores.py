"""The commands that score models and recordings: `samplernn evaluate`, `compare` and `score`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.options import (
    MODEL,
    add,
    add_backend,
    add_command,
    add_set,
    csv_file,
    figure_file,
    json_file,
)
from samplernn_theano.config.argument_types import positive
from samplernn_theano.errors import CheckpointError, DataError, OutputError
from samplernn_theano.utils.text import say

if TYPE_CHECKING:
    from samplernn_theano.evaluation.nll import Scores

SPLITS = ("train", "valid", "test")


def add_evaluate(commands: Any) -> None:
    """Add the command `evaluate`."""
    parser = add_command(commands, "evaluate", _evaluate, "compute bits per sample on a data set")
    model, data, output = parser.groups["model"], parser.groups["data"], parser.groups["output"]
    add(parser, "checkpoint", MODEL, Path)
    add(data, "--data", "folder of the data set", Path, required=True)
    add(data, "--split", "split to score (repeatable; default: test)", choices=SPLITS, action="append")
    add(model, "--kept", "score the checkpoints of a run's evaluations, which train --keep left", bool)
    add(output, "--csv", "also write the bits of each clip to this file", csv_file)
    add(output, "--json", "also write the scores to this file", json_file)
    add_set(parser, "a hyper-parameter to override, such as batch_size=1")
    add_backend(parser, precision="highest")


def _evaluate(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import nll, score_report

    kept = _kept(a) if a.kept else {}
    model = load.read(a.checkpoint, a.set)
    print(score_report.describe_model(model), flush=True)
    splits = list(dict.fromkeys(a.split or ["test"]))
    clips = {split: nll.load_clips(model, a.data, split) for split in splits}
    recordings = {split: nll.load_recordings(a.data, split) for split in splits}
    scorer = nll.compile_scorer(model, a.backend, a.precision or "highest")

    def score() -> "dict[str, Scores]":
        scores = {}
        for split in splits:
            scores[split] = nll.score_split(scorer, clips[split], True, recordings[split])
            print(score_report.describe_split(scores[split], split, model.hp), flush=True)
        return scores

    if kept:
        found = {}
        for iteration, path in kept.items():
            print(f"After {iteration:,} iterations:", flush=True)
            scorer.graph.parameters.assign(load.read(path, a.set).parameters)
            found[iteration] = score()
        if a.json:
            score_report.write_kept_json(a.json, model, found)
    else:
        scores = score()
        if a.csv:
            score_report.write_clips(a.csv, scores)
            print(f"The bits of each clip are in {a.csv}")
        if a.json:
            score_report.write_json(a.json, model, scores)
    if a.json:
        print(f"The scores are in {a.json}")
    return 0


def _kept(a: argparse.Namespace) -> dict[int, Path]:
    from samplernn_theano.checkpoints import run_folder

    if a.csv:
        raise OutputError("--csv takes the clips of one checkpoint; write those of --kept with --json.")
    kept = run_folder.kept(run_folder.Run(a.checkpoint))
    if not kept:
        raise CheckpointError(f"{a.checkpoint} is no run with checkpoints of evaluations; see train --keep.")
    return {iteration: path for iteration, _, path in kept}


def add_compare(commands: Any) -> None:
    """Add the command `compare`."""
    text = "compare the parameters and scores of two trained models"
    parser = add_command(commands, "compare", _compare, text)
    data, output = parser.groups["data"], parser.groups["output"]
    add(parser, "a", MODEL, Path, metavar="A")
    add(parser, "b", "another model, ours or the original's", Path, metavar="B")
    add(data, "--data", "folder of a data set on which to score both models", Path)
    add(data, "--split", "its split", str, "valid", choices=SPLITS)
    add(output, "--out", "also draw it into this file, .png, .pdf or .svg", figure_file)
    add_set(parser, "a hyper-parameter to override in both, such as batch_size=1")
    add_backend(parser)


def _compare(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import compare, nll, score_figures, score_report

    one, other = (load.read(path, a.set) for path in (a.a, a.b))
    print(f"A is {score_report.describe_model(one)}")
    print(f"B is {score_report.describe_model(other)}")
    result = compare.compare(one, other)
    print(compare.describe_comparison(result), flush=True)
    per_clip = None
    if a.data:
        clips, _ = (nll.load_clips(model, a.data, a.split) for model in (one, other))
        recordings = nll.load_recordings(a.data, a.split)
        scores = compare.score_both(one, other, clips, a.backend, True, recordings)
        per_clip = compare.differences(*scores)
        print(compare.describe_scores(*scores, a.split, one.hp, other.hp))
    if a.out:
        relative = {name: (d.relative, d.effective) for name, d in result.distances.items()}
        score_figures.plot_comparison(a.out, relative, per_clip)
        print(f"The figure is {a.out}")
    return 0


MAX_CURVES = 10  # in a figure


def add_score(commands: Any) -> None:
    """Add the command `score`."""
    parser = add_command(commands, "score", _score, "compute bits per sample of any recordings")
    model, output = parser.groups["model"], parser.groups["output"]
    add(parser, "files", "a sound file, or a folder (recursive)", Path, metavar="FILE", nargs="+")
    add(model, "--checkpoint", MODEL, Path, required=True)
    add(output, "--window", "seconds per point of the curve", positive, 0.1)
    text = "draw the curves into this file, .png, .pdf or .svg; for one recording also its spectrogram"
    add(output, "--out", text, figure_file)
    add(output, "--csv", "also write the bits of each window to this file", csv_file)
    add_set(parser, "a hyper-parameter to override, such as q_type=mu-law")
    add_backend(parser)


def _score(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import score_files, score_report

    model = load.read(a.checkpoint, a.set)
    print(score_report.describe_model(model), flush=True)
    paths, problems = score_files.find_recordings(a.files)
    table = score_files.ScoreTable(a.csv, model, a.window, a.backend) if a.csv else None
    scored = table.stored(paths) if table else []
    if table and scored:
        print(f"{len(scored)} of {len(paths)} recordings have been scored before, by {table.scores}.")
    left, unreadable = [path for path in paths if path not in {one.path for one in scored}], {}
    try:
        if left:
            if table:
                table.begin(scored)
            with score_files.scoring(model, left, a.window, a.backend, progress=True) as (results, bar):
                for path, one in results:
                    if isinstance(one, DataError):
                        unreadable[path] = str(one)
                        continue
                    scored.append(one)
                    if table:
                        table.add(scored)
                    if len(paths) > 1:
                        bar.say(f"{len(scored)} of {len(paths)}: {path}: {one.bits:.4f} bits per sample")
    finally:  # Ctrl-C loses nothing
        scored.sort(key=lambda one: one.bits)
        if scored:
            print(score_report.describe_recordings(scored, model.hp), flush=True)
        for problem in (*problems, *(unreadable[path] for path in paths if path in unreadable)):
            print(f"samplernn: {problem}", file=sys.stderr)
        missing = len(paths) - len(scored) - len(unreadable)
        if scored and missing:
            how = (
                f"the others are in {a.csv}, and the same command resumes" if table else "--csv keeps others"
            )
            say(f"{missing} of {len(paths)} recordings are not scored; {how}.")
    if table:
        table.complete(scored)
    if scored and table:
        print(f"The bits of each window are in {a.csv}")
    if scored and a.out:
        _draw_scores(a.out, scored)
    return 2 if problems or unreadable else 0


def _draw_scores(out: Path, scored: list[Any]) -> None:
    from samplernn_theano.data import audio
    from samplernn_theano.evaluation import score_figures

    drawn = scored[:MAX_CURVES]
    sound = audio.read_mono(drawn[0].path, note=lambda _: None) if len(scored) == 1 else None
    score_figures.plot_nll_over_time(out, drawn, sound)
    which = f" of the {MAX_CURVES} lowest" if len(scored) > MAX_CURVES else ""
    print(f"The figure{which} is {out}")
