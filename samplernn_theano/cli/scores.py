"""The commands that score models and recordings: `samplernn evaluate`, `compare` and `score`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add_backend, add_precision, add_set, csv_file, json_file, picture
from samplernn_theano.config.argument_types import positive

SPLITS = ("train", "valid", "test")
MODEL = "a checkpoint (.npz, or .pkl of the original's) or a run (its best one)"

# --- evaluate -----------------------------------------------------------------------------------------------


def add_evaluate(commands: Any) -> None:
    """Add the command `evaluate`."""
    parser = commands.add_parser("evaluate", help="bits per sample of a trained model on a data set")
    parser.add_argument("checkpoint", type=Path, help=MODEL)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", choices=SPLITS, action="append", help="may be repeated (default: test)")
    parser.add_argument("--csv", type=csv_file, help="also write the bits of each clip to this file")
    parser.add_argument("--json", type=json_file, help="also write the scores to this file")
    add_set(parser, "a hyper-parameter to take instead, such as batch_size=1")
    add_backend(parser)
    add_precision(parser)
    parser.set_defaults(command=_evaluate)


def _evaluate(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import nll

    model = load.read(a.checkpoint, a.set)
    print(nll.describe(model), flush=True)
    splits = list(dict.fromkeys(a.split or ["test"]))
    clips = {split: nll.load_clips(model, a.data, split) for split in splits}
    scorer = nll.compile_scorer(model, a.backend, a.precision or "highest")
    scores = {}
    for split in splits:
        scores[split] = nll.score(scorer, clips[split], progress=True)
        print(nll.summary(scores[split], split, model.hp), flush=True)
    if a.csv:
        nll.write_csv(a.csv, scores)
        print(f"The bits of each clip are in {a.csv}")
    if a.json:
        nll.write_json(a.json, model, scores)
        print(f"The scores are in {a.json}")
    return 0


# --- compare ------------------------------------------------------------------------------------------------


def add_compare(commands: Any) -> None:
    """Add the command `compare`."""
    parser = commands.add_parser("compare", help="what two trained models have in common, and do not")
    parser.add_argument("a", metavar="A", type=Path, help=MODEL)
    parser.add_argument("b", metavar="B", type=Path, help="another one, of ours or of the original's")
    parser.add_argument("--data", type=Path, help="a data set: also score both on it")
    parser.add_argument("--split", choices=SPLITS, default="valid", help="of --data (default: %(default)s)")
    parser.add_argument("--out", type=picture, help="also draw it into this file, .png, .pdf or .svg")
    add_set(parser, "a hyper-parameter to take instead in both, such as batch_size=1")
    add_backend(parser)
    parser.set_defaults(command=_compare)


def _compare(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import compare, nll
    from samplernn_theano.utils import plotting

    one, other = (load.read(path, a.set) for path in (a.a, a.b))
    print(f"A is {nll.describe(one)}")
    print(f"B is {nll.describe(other)}")
    found = compare.compare(one, other)
    print(compare.describe(found), flush=True)
    per_clip = None
    if a.data:
        clips, _ = (nll.load_clips(model, a.data, a.split) for model in (one, other))
        scores = compare.score_both(one, other, clips, a.backend, progress=True)
        per_clip = compare.differences(*scores)
        print(compare.describe_scores(*scores, a.split, one.hp, other.hp))
    if a.out:
        relative = {name: (d.relative, d.effective) for name, d in found.distances.items()}
        plotting.comparison(a.out, relative, per_clip)
        print(f"The picture is {a.out}")
    return 0


# --- score --------------------------------------------------------------------------------------------------

MOST_CURVES = 10  # in a picture


def add_score(commands: Any) -> None:
    """Add the command `score`."""
    parser = commands.add_parser("score", help="bits per sample of any recordings under a trained model")
    parser.add_argument(
        "files", metavar="FILE", type=Path, nargs="+", help="a sound file, or a folder: all in it and below"
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help=MODEL)
    parser.add_argument(
        "--window", type=positive, default=0.1, help="seconds per point of the curve (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=picture,
        help="draw the curves into this file, .png, .pdf or .svg; of one recording also the spectrogram",
    )
    parser.add_argument("--csv", type=csv_file, help="also write the bits of each window to this file")
    add_set(parser, "a hyper-parameter to take instead, such as q_type=mu-law")
    add_backend(parser)
    parser.set_defaults(command=_score)


def _score(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import nll, score

    model = load.read(a.checkpoint, a.set)
    print(nll.describe(model), flush=True)
    paths, problems = score.find(a.files)
    scored: list[score.Scored] = []
    if paths:
        scorer = score.compile_scorer(model, a.backend)
        scored, unfit = score.score_files(scorer, paths, a.window, progress=True)
        problems += unfit
    if scored:
        print(score.describe(scored, model.hp), flush=True)
    for problem in problems:
        print(f"samplernn: {problem}", file=sys.stderr)
    if scored and a.csv:
        score.write_csv(a.csv, scored)
        print(f"The bits of each window are in {a.csv}")
    if scored and a.out:
        _draw_scores(a.out, scored)
    return 2 if problems else 0


def _draw_scores(out: Path, scored: list[Any]) -> None:
    from samplernn_theano.data import audio
    from samplernn_theano.evaluation import score
    from samplernn_theano.utils import plotting

    drawn = scored[:MOST_CURVES]
    sound = audio.read_mono(drawn[0].path) if len(scored) == 1 else None
    plotting.nll_over_time(out, score.curves(drawn), sound)
    which = f" of the {MOST_CURVES} lowest" if len(scored) > MOST_CURVES else ""
    print(f"The picture{which} is {out}")
