"""Run the workflow: Snakemake does what is missing, then the report is written, whatever has failed."""

import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from samplernn_theano import signals
from samplernn_theano.errors import ReproductionError
from samplernn_theano.files import locked
from samplernn_theano.reproduction import files, plan
from samplernn_theano.reproduction.plan import Workflow
from samplernn_theano.reproduction.steps import CORES


def join(new: Workflow) -> Workflow:
    """What was asked for in the same folder before, and now: the cells and seeds of both.

    Raises
    ------
    ReproductionError
        If the folder holds another scale, other data or another length of training.
    """
    if not (new.out / plan.WORKFLOW).exists():
        return new
    old = plan.load(new.out)
    for name in ("scale", "max_minutes"):
        if getattr(old, name) != getattr(new, name):
            raise ReproductionError(
                f"{new.out} holds results with {name} {getattr(old, name)}, not {getattr(new, name)}; choose "
                "another folder with --out."
            )
    mappings: dict[str, Any] = {"about": {**old.about, **new.about}}
    for name in ("data", "recordings"):
        before, now = getattr(old, name), getattr(new, name)
        for key in before.keys() & now.keys():
            if before[key] != now[key]:
                raise ReproductionError(
                    f"{new.out} holds results with --{name} {key}={before[key]}; choose another with --out."
                )
        mappings[name] = {**before, **now}
    both = list(dict.fromkeys([*old.cells, *new.cells]))
    return replace(new, cells=both, seeds=sorted({*old.seeds, *new.seeds}), **mappings)


def run(workflow: Workflow, cores: int, options: Sequence[str] = ()) -> int:
    """Do what is missing, write the report, and return an exit code: 0, or 1 if a step failed.

    Parameters
    ----------
    cores : int
        To be used at once on this machine.
    options : sequence of str
        More words for Snakemake, as `options` gives them.

    Raises
    ------
    ReproductionError
        If Snakemake is not installed.
    OutputError
        If another process works in the folder.
    """
    from samplernn_theano.reproduction import report

    if importlib.util.find_spec("snakemake") is None:
        raise ReproductionError('Snakemake is not installed: pip install -e ".[jax,reproduce]".')
    with locked(workflow.out):
        path = plan.save(workflow)
        here = {} if "--profile" in options else {CORES: str(cores)}
        code = _snakemake(workflow.out, [*_options(path, workflow.out, cores), *options], here)
        print(f"The report is {report.write(workflow.out, files.folder())}")
    return code


def options(profile: str | None, words: str) -> list[str]:
    """Snakemake's words for a profile (ours of that name, or a folder) and `words`, as a shell reads them."""
    if profile is None:
        return shlex.split(words)
    own = files.folder() / "profiles" / profile
    found = own if own.is_dir() else Path(profile).absolute()
    if not found.is_dir():
        raise ReproductionError(f"There is no profile {profile}: neither {own} nor {found} is a folder.")
    return ["--profile", str(found), *shlex.split(words)]


def _options(path: Path, out: Path, cores: int) -> list[str]:
    """Our lock on the folder stands for Snakemake's own, which a killed process leaves behind."""
    return [
        *["--snakefile", str(files.folder() / "Snakefile")],
        *["--configfile", str(path), "--directory", str(out)],
        *["--cores", str(cores), "--keep-going", "--nolock", "--rerun-incomplete"],
        *["--rerun-triggers", "mtime", "input", "--quiet", "all"],
    ]


def _snakemake(out: Path, options: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run Snakemake in a process group of its own, to which Ctrl-C and SIGTERM are passed on."""
    command = [sys.executable, "-m", "snakemake", *options]
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        stopped_by: list[int] = []

        def pass_on(number: int) -> None:
            stopped_by.append(number)
            os.killpg(process.pid, number)

        with signals.caught(pass_on, first_only=False):
            code = process.wait()
    if stopped_by:
        print(f"Stopped; the same command goes on from here. What is done is in {out}.")
        return 128 + stopped_by[0]
    return 1 if code else 0
