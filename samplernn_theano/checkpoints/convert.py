"""The command convert: parameters, checkpoints and runs from one side to the other."""

from collections.abc import Sequence
from pathlib import Path

from samplernn_theano.checkpoints.from_original import write_checkpoint, write_run
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.checkpoints.to_original import write_parameters, write_tree
from samplernn_theano.errors import CheckpointError, OutputError


def convert(
    source: str | Path,
    out: str | Path,
    settings: Sequence[str] = (),
    which_set: str | None = None,
    exp: str | None = None,
    overwrite: bool = False,
) -> str:
    """Write what `source` holds as the other side has it; say in a sentence or two what was written.

    ========================  =====================================================
    `out`                     what is made
    ========================  =====================================================
    ends in .npz              a checkpoint of ours, of parameters of the original's
    ends in .pkl              parameters of the original's, of a checkpoint of ours
    else, a run of ours       a results folder of the original's, `out`/results_3t/TAG
    else, a results folder    a run folder of ours
    ========================  =====================================================

    Parameters
    ----------
    source : path
        A file of parameters, a run folder of ours or a results folder of the original's. Of a folder, a file
        gets the best parameters.
    settings : sequence of str
        Hyper-parameters to take instead of those found, as NAME=VALUE.
    which_set, exp : str, optional
        The original's names of the data set and of the experiment; by default those of the run.
    overwrite : bool
        Replace a file, run or results folder that is there. Nothing else is ever replaced.

    Raises
    ------
    CheckpointError
        If `source` is missing, damaged or does not hold what its hyper-parameters say.
    HyperParameterError
        If the original has no such model, or `settings` does not fit the family.
    OutputError
        If `out` may not or cannot be written, or `source` is already of that kind.
    """
    source, out = Path(source), Path(out)
    if not source.exists():
        raise CheckpointError(f"There is no {source}.")
    to_tree = Run(source).has_checkpoint and out.suffix not in (".npz", ".pkl")
    if exp is not None and not to_tree:
        raise OutputError(f"--exp has no effect on {out}, which names no experiment; leave it out.")
    if which_set is not None and out.suffix == ".pkl":
        raise OutputError(f"--which_set has no effect on {out}, which names no data set; leave it out.")
    if out.suffix == ".npz":
        return write_checkpoint(source, out, settings, which_set, overwrite)
    if out.suffix == ".pkl":
        return write_parameters(source, out, settings, overwrite)
    if to_tree:
        return write_tree(source, out, settings, which_set, exp, overwrite)
    if source.is_dir():
        return write_run(source, out, settings, which_set, overwrite)
    raise OutputError(
        f"{source} is one file, of which no folder can be made; name the output FILE.npz (ours) or FILE.pkl "
        "(the original's)."
    )
