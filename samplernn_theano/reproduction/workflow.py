"""Run the workflow: Snakemake does what is missing, then the report is written, whatever has failed."""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from samplernn_theano.backends import threads
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction import files, listing, plan, scales, steps
from samplernn_theano.reproduction.plan import Workflow
from samplernn_theano.reproduction.steps import CORES
from samplernn_theano.utils import signal_handling
from samplernn_theano.utils.files import locked


def join(new: Workflow) -> Workflow:
    """`new`, with the data that are known from earlier commands in its folder.

    Raises
    ------
    ReproductionError
        If the folder holds another scale, other data or another length of training.
    """
    if not (new.out / plan.WORKFLOW).exists():
        return replace(new, before=new.cells)
    old = plan.load(new.out)
    elsewhere = "choose another folder with --out."
    if old.scale != new.scale:
        raise ReproductionError(
            f"{new.out} holds results of the scale {old.scale}, not {new.scale}; {elsewhere}"
        )
    if old.max_minutes != new.max_minutes:
        limits = [f"{w.max_minutes:g}" if w.max_minutes else "none" for w in (old, new)]
        raise ReproductionError(
            f"{new.out} holds results with --max-minutes {limits[0]}, not {limits[1]}; {elsewhere}"
        )
    for name in ("data", "recordings"):
        before, now = getattr(old, name), getattr(new, name)
        for key in before.keys() & now.keys():
            if before[key] != now[key]:
                raise ReproductionError(
                    f"{new.out} holds results with --{name} {key}={before[key]}; {elsewhere}"
                )
    asked = {**old.before, **new.cells}
    return replace(
        new,
        before={name: sorted({*old.before.get(name, ()), *new.cells.get(name, ())}) for name in asked},
        data={**old.data, **new.data},
        recordings={**old.recordings, **new.recordings},
        about={**old.about, **new.about},
    )


def run(workflow: Workflow, cores: int | None, options: Sequence[str] = ()) -> int:
    """Do what is missing, write the report, and return an exit code: 0, or 1 if a step failed.

    Parameters
    ----------
    cores : int, optional
        To be used at once, here or in the whole cluster (default: all of this machine; no limit there).
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
    here = "--profile" not in options
    cores = cores or (threads.allowed() if here else None)
    with locked(workflow.out) as lock:
        path = plan.save(workflow)
        print(_announcement(workflow, here), flush=True)
        known = [*_options(path, workflow.out), *(_here(cores) if here else _cluster(cores)), *options]
        code = _snakemake(known, {CORES: str(cores)} if here else {}, lock)
        print(_outcome(workflow, code))
        print(f"The report is {report.write(workflow.out, files.folder())}")
    return code


def _announcement(workflow: Workflow, here: bool) -> str:
    """What is going to be done."""
    missing = listing.missing(workflow)
    trainings = sum(step == "train" for step, *_ in missing)
    text = f"{count_of(len(missing), 'step')} to do in {workflow.out}"
    text += f", {count_of(trainings, 'training')} among them."
    if trainings and here and scales.read(files.folder(), workflow.scale).resources.gpus and not steps.gpus():
        text += "\nNo GPU is found here, and this scale wants one: without it the models will not get far."
    return text


def _outcome(workflow: Workflow, code: int) -> str:
    """What is done, and what is not."""
    missing = listing.missing(workflow)
    total = len(listing.steps(workflow))
    text = f"{total - len(missing)} of {count_of(total, 'step')} are done."
    found = {steps.status(plan.record_path(workflow.out, *step)) for step in missing}
    if code >= 128 or "stopped" in found:
        return f"{text} Stopped; the same command goes on."
    if code and "failed" not in found:
        return f"{text} Snakemake ended before its time; its own words are in {workflow.out}/.snakemake/log."
    return text


def options(profile: str | None, words: str) -> list[str]:
    """Snakemake's words for a profile (ours of that name, or a folder) and `words`, as a shell reads them."""
    if profile is None:
        return shlex.split(words)
    own = files.folder() / "profiles" / profile
    found = own if own.is_dir() else Path(profile).absolute()
    if not found.is_dir():
        raise ReproductionError(f"There is no profile {profile}: neither {own} nor {found} is a folder.")
    return ["--profile", str(found), *shlex.split(words)]


def _options(path: Path, out: Path) -> list[str]:
    """Our lock on the folder stands for Snakemake's own, which a killed process leaves behind."""
    return [
        *["--snakefile", str(files.folder() / "Snakefile")],
        *["--configfile", str(path), "--directory", str(out)],
        *["--keep-going", "--nolock", "--rerun-incomplete", "--scheduler", "greedy"],
        *["--rerun-triggers", "mtime", "input"],
    ]


def _cluster(cores: int | None) -> list[str]:
    """What the steps print goes into the cluster's files, so Snakemake tells of its jobs."""
    return ["--quiet", "host", "reason", "rules", *(["--cores", str(cores)] if cores else [])]


def _here(cores: int | None) -> list[str]:
    """One GPU, which JAX takes whole, and most of the memory; the steps tell of themselves."""
    memory = int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20)
    return ["--quiet", "all", "--cores", str(cores), "--resources", "gpu=1", f"mem_mb={memory}"]


def _snakemake(options: Sequence[str], variables: Mapping[str, str], lock: int) -> int:
    """Run Snakemake in a process group of its own, to which Ctrl-C and SIGTERM are passed on.

    It holds our lock on the folder as well: if this process alone is killed, Snakemake goes on.
    """
    command = [sys.executable, "-m", "snakemake", *options]
    with subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
    ) as process:
        stopped_by: list[int] = []

        def pass_on(number: int) -> None:
            stopped_by.append(number)
            # SIGTERM would only make Snakemake wait for its jobs, and begin again those that are stopped.
            os.killpg(process.pid, signal.SIGINT)

        with signal_handling.caught(pass_on, first_only=False):
            code = process.wait()
    if stopped_by and code:
        return 128 + stopped_by[0]
    return 1 if code else 0
