"""Convert parameters, checkpoints and runs from and to the original's formats, and to one to be shared."""

from collections.abc import Sequence
from pathlib import Path

from samplernn_theano.checkpoints import exports, hub, pretrained
from samplernn_theano.checkpoints.from_original import to_checkpoint, write_checkpoint, write_run
from samplernn_theano.checkpoints.inspect import tiers
from samplernn_theano.checkpoints.load import caveats, read_checked
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.checkpoints.to_original import write_parameters, write_tree
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.utils import files


def convert(
    source: str | Path,
    out: str | Path,
    settings: Sequence[str] = (),
    which_set: str | None = None,
    exp: str | None = None,
    overwrite: bool = False,
) -> str:
    """Convert `source` to the other format; return a description of what was written.

    `out` FILE.npz becomes a checkpoint from parameters of the original or an exported model, FILE.pkl
    parameters for the original, FILE.safetensors an exported model with a card, README.md, next to it; of a
    folder the best are taken. Else a run folder becomes the results folder `out`/results_3t/TAG, and a
    results folder a run. `settings` (NAME=VALUE) replace hyper-parameters found, `which_set` and `exp` the
    run's names of the data set and of the experiment. `overwrite` replaces a file, run or results folder.
    """
    source, out = pretrained.checkpoint(source), Path(out)
    if not source.exists():
        raise CheckpointError(f"{source} does not exist.")
    is_file = out.suffix in (".npz", ".pkl", ".safetensors")
    to_tree = Run(source).has_checkpoint and not is_file
    if exp is not None and not to_tree:
        raise OutputError(f"--exp has no effect on {out}, which names no experiment; leave it out.")
    if which_set is not None and out.suffix == ".pkl":
        raise OutputError(f"--which_set has no effect on {out}, which names no data set; leave it out.")
    if is_file and out.is_dir():
        raise OutputError(f"{out} is a folder; name a file.")
    if is_file and out.exists() and not overwrite:
        raise OutputError(f"{out} exists; name another file, or give --overwrite.")
    if is_file:
        files.clear_abandoned(out, out.parent)
    if out.suffix == ".npz":
        return write_checkpoint(source, out, settings, which_set)
    if out.suffix == ".safetensors":
        return _export(source, out, settings, which_set, overwrite)
    if is_file:
        return write_parameters(source, out, settings)
    if to_tree:
        return write_tree(source, out, settings, which_set, exp, overwrite)
    if source.is_dir():
        return write_run(source, out, settings, which_set, overwrite)
    raise OutputError(
        f"{source} is one file, which cannot become a folder; name the output FILE.npz (a checkpoint), "
        "FILE.pkl (for the original) or FILE.safetensors (to be shared)."
    )


def _export(source: Path, out: Path, settings: Sequence[str], which_set: str | None, overwrite: bool) -> str:
    hub.check_card(out.parent, overwrite)
    model = read_checked(source, settings)
    if exports.is_export(model.path):
        raise OutputError(f"{model.path} is an exported model already; copy the file.")
    card = hub.write(out, to_checkpoint(model, source, which_set), model.path, tiers(model.hp))
    return (
        f"Wrote {out} from {model.path}, and the model card {card}; check the licence in it. "
        f"Adam's moments, states and paths are not exported.{caveats(model)}"
    )
