"""The commands that score models and recordings: `samplernn evaluate`, `compare` and `score`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add_backend, add_precision, add_set, csv_file, figure_file, json_file
from samplernn_theano.config.argument_types import positive

SPLITS = ("train", "valid", "test")
MODEL = "a checkpoint (.npz, or .pkl of the original) or a run (its best checkpoint)"

# --- evaluate -----------------------------------------------------------------------------------------------


def add_evaluate(commands: Any) -> None:
    """Add the command `evaluate`."""
    parser = commands.add_parser("evaluate", help="compute bits per sample on a data set")
    parser.add_argument("checkpoint", type=Path, help=MODEL)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", choices=SPLITS, action="append", help="repeatable (default: test)")
    parser.add_argument("--csv", type=csv_file, help="also write the bits of each clip to this file")
    parser.add_argument("--json", type=json_file, help="also write the scores to this file")
    add_set(parser, "a hyper-parameter to override, such as batch_size=1")
    add_backend(parser)
    add_precision(parser)
    parser.set_defaults(command=_evaluate)


def _evaluate(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import nll, score_report

    model = load.read(a.checkpoint, a.set)
    print(score_report.describe_model(model), flush=True)
    splits = list(dict.fromkeys(a.split or ["test"]))
    clips = {split: nll.load_clips(model, a.data, split) for split in splits}
    scorer = nll.compile_scorer(model, a.backend, a.precision or "highest")
    scores = {}
    for split in splits:
        scores[split] = nll.score_split(scorer, clips[split], progress=True)
        print(score_report.describe_split(scores[split], split, model.hp), flush=True)
    if a.csv:
        score_report.write_clips(a.csv, scores)
        print(f"The bits of each clip are in {a.csv}")
    if a.json:
        score_report.write_json(a.json, model, scores)
        print(f"The scores are in {a.json}")
    return 0


# --- compare ------------------------------------------------------------------------------------------------


def add_compare(commands: Any) -> None:
    """Add the command `compare`."""
    parser = commands.add_parser("compare", help="compare the parameters and scores of two trained models")
    parser.add_argument("a", metavar="A", type=Path, help=MODEL)
    parser.add_argument("b", metavar="B", type=Path, help="another model, ours or the original's")
    parser.add_argument("--data", type=Path, help="folder of a data set on which to score both models")
    parser.add_argument("--split", choices=SPLITS, default="valid", help="its split (default: %(default)s)")
    parser.add_argument("--out", type=figure_file, help="also draw it into this file, .png, .pdf or .svg")
    add_set(parser, "a hyper-parameter to override in both, such as batch_size=1")
    add_backend(parser)
    parser.set_defaults(command=_compare)


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
        scores = compare.score_both(one, other, clips, a.backend, progress=True)
        per_clip = compare.differences(*scores)
        print(compare.describe_scores(*scores, a.split, one.hp, other.hp))
    if a.out:
        relative = {name: (d.relative, d.effective) for name, d in result.distances.items()}
        score_figures.plot_comparison(a.out, relative, per_clip)
        print(f"The figure is {a.out}")
    return 0


# --- score --------------------------------------------------------------------------------------------------

MAX_CURVES = 10  # in a figure


def add_score(commands: Any) -> None:
    """Add the command `score`."""
    parser = commands.add_parser("score", help="compute bits per sample of any recordings")
    parser.add_argument(
        "files",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="a sound file, or a folder (recursive)",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help=MODEL)
    parser.add_argument(
        "--window", type=positive, default=0.1, help="seconds per point of the curve (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=figure_file,
        help="draw the curves into this file, .png, .pdf or .svg; for one recording also its spectrogram",
    )
    parser.add_argument("--csv", type=csv_file, help="also write the bits of each window to this file")
    add_set(parser, "a hyper-parameter to override, such as q_type=mu-law")
    add_backend(parser)
    parser.set_defaults(command=_score)


def _score(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import nll, score_report

    model = load.read(a.checkpoint, a.set)
    print(score_report.describe_model(model), flush=True)
    paths, problems = nll.find_recordings(a.files)
    scored: list[nll.RecordingScore] = []
    if paths:
        scorer = nll.compile_scorer(model, a.backend, for_recordings=True)
        scored, unreadable = nll.score_files(scorer, paths, a.window, progress=True)
        problems += unreadable
    if scored:
        print(score_report.describe_recordings(scored, model.hp), flush=True)
    for problem in problems:
        print(f"samplernn: {problem}", file=sys.stderr)
    if scored and a.csv:
        score_report.write_windows(a.csv, scored)
        print(f"The bits of each window are in {a.csv}")
    if scored and a.out:
        _draw_scores(a.out, scored)
    return 2 if problems else 0


def _draw_scores(out: Path, scored: list[Any]) -> None:
    from samplernn_theano.data import audio
    from samplernn_theano.evaluation import score_figures

    drawn = scored[:MAX_CURVES]
    sound = audio.read_mono(drawn[0].path) if len(scored) == 1 else None
    score_figures.plot_nll_over_time(out, drawn, sound)
    which = f" of the {MAX_CURVES} lowest" if len(scored) > MAX_CURVES else ""
    print(f"The figure{which} is {out}")
