"""Run a workflow: Snakemake runs the missing steps, then the report is written even if some failed."""

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
from samplernn_theano.config.schedule import LIMITS
from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction import plan, run_step, scales
from samplernn_theano.reproduction.experiments import FILES
from samplernn_theano.reproduction.plan import Workflow
from samplernn_theano.reproduction.records import read_record
from samplernn_theano.reproduction.run_step import CORES
from samplernn_theano.utils import signal_handling
from samplernn_theano.utils.files import locked


def join(new: Workflow) -> Workflow:
    """Merge `new` with the workflow of earlier commands in its folder."""
    if not (new.out / plan.WORKFLOW).exists():
        return replace(new, before=new.experiments)
    old = plan.load(new.out)
    hint = "choose another folder with --out."
    if old.scale != new.scale:
        raise ReproductionError(f"{new.out} holds results of the scale {old.scale}, not {new.scale}; {hint}")
    for name in LIMITS:
        before, now = (limit if (limit := getattr(w, name)) is not None else "none" for w in (old, new))
        if before != now:
            option = f"--{name.replace('_', '-')}"
            raise ReproductionError(f"{new.out} holds results with {option} {before}, not {now}; {hint}")
    for option in ("data", "recordings"):
        before, now = getattr(old, option), getattr(new, option)
        if other := [name for name in before.keys() & now.keys() if before[name] != now[name]]:
            given = f"--{option} {other[0]}={before[other[0]]}"
            raise ReproductionError(f"{new.out} holds results with {given}; {hint}")
    requested = dict.fromkeys([*old.before, *new.experiments])
    return replace(
        new,
        before={n: sorted({*old.before.get(n, ()), *new.experiments.get(n, ())}) for n in requested},
        **{key: getattr(old, key) | getattr(new, key) for key in ("data", "recordings", "about")},
    )


def run(workflow: Workflow, cores: int | None, options: Sequence[str] = ()) -> int:
    """Run the missing steps, write the report, and return the exit code: 0, or 1 if a step failed.

    `cores` are at most used (default: all here, unlimited on a cluster); `options` are more of Snakemake's.
    """
    from samplernn_theano.reproduction import report

    if importlib.util.find_spec("snakemake") is None:
        raise ReproductionError('Snakemake is not installed: pip install "samplernn-theano[reproduce]".')
    here = "--profile" not in options
    cores = cores or (threads.available() if here else None)
    with locked(workflow.out) as lock:
        known = _options(plan.save(workflow), here, cores)
        print(announcement(workflow, here), flush=True)
        run_step.complete_data_records(workflow)
        for step in plan.missing(workflow):
            plan.record_path(workflow.out, *step).with_suffix(".done").unlink(missing_ok=True)
        code = _snakemake([*known, *options], {CORES: str(cores)} if here else {}, lock)
        print(_outcome(workflow, code))
        print(f"The report is {report.write(workflow.out)}")
    return code


def announcement(workflow: Workflow, here: bool) -> str:
    """Number of missing steps, and a warning if a GPU is missing."""
    missing = plan.missing(workflow)
    trainings = sum(step == "train" for step, *_ in missing)
    counts = f"{count_of(len(missing), 'step')} to do in {workflow.out}"
    text = f"{counts}, {count_of(trainings, 'training')} among them."
    text = "\n".join([text, *plan.later_rates(workflow)])
    if trainings and here and scales.read(workflow.scale).resources.gpus and not run_step.gpus():
        text += "\nNo GPU was found, and this scale needs one: without it training is far too slow."
    return text


def _outcome(workflow: Workflow, code: int) -> str:
    """Number of finished steps, and what to do about the others."""
    missing = plan.missing(workflow)
    total = len(plan.steps(workflow))
    text = f"{total - len(missing)} of {count_of(total, 'step')} are done."
    found = {read_record(plan.record_path(workflow.out, *step)).get("status") for step in missing}
    if code >= 128 or "interrupted" in found:
        return f"{text} Interrupted; run the same command again to resume."
    if code and "failed" not in found:
        return f"{text} Snakemake failed; see {workflow.out}/.snakemake/log."
    return text


def options(profile: str | None, more: str) -> list[str]:
    """Options of Snakemake for a profile (of this package, or a folder), and `more`, split as in a shell."""
    if profile is None:
        return shlex.split(more)
    own = FILES / "profiles" / profile
    found = own if own.is_dir() else Path(profile).absolute()
    if not found.is_dir():
        raise ReproductionError(f"There is no profile {profile}: neither {own} nor {found} is a folder.")
    if found == own and importlib.util.find_spec(f"snakemake_executor_plugin_{profile}") is None:
        raise ReproductionError(
            f"--profile {profile} needs a plugin of Snakemake; install it with: pip install "
            f"snakemake-executor-plugin-{profile}"
        )
    return ["--profile", str(found), *shlex.split(more)]


def _options(path: Path, here: bool, cores: int | None) -> list[str]:
    """Options of every call; our lock replaces Snakemake's, which a killed process leaves behind.

    On this machine there is one GPU, which JAX occupies whole, and most of the memory. On a cluster Snakemake
    reports its jobs, whose output goes to files.
    """
    memory = int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20)
    files = {"snakefile": FILES / "Snakefile", "configfile": path, "directory": path.parent}
    return [
        *[word for name, file in files.items() for word in (f"--{name}", str(file))],
        *["--keep-going", "--nolock", "--rerun-incomplete", "--scheduler", "greedy"],
        *["--rerun-triggers", "mtime", "input"],
        *(["--cores", str(cores)] if cores else []),
        *(["--resources", "gpu=1", f"mem_mb={memory}"] if here else []),
        *(["--quiet", "all"] if here else ["--quiet", "host", "reason", "rules"]),
    ]


def _snakemake(options: Sequence[str], variables: Mapping[str, str], lock: int) -> int:
    """Run Snakemake in its own process group and forward Ctrl-C and SIGTERM to it.

    It inherits our lock on the folder: if only this process is killed, Snakemake continues.
    """
    received: list[int] = []

    def forward(number: int) -> None:
        received.append(number)
        # On SIGTERM Snakemake would wait for its jobs and restart those that are interrupted.
        os.killpg(process.pid, signal.SIGINT)

    with subprocess.Popen(
        [sys.executable, "-m", "snakemake", *options],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
    ) as process:
        with signal_handling.handle_signals(forward, first_only=False):
            code = process.wait()
    if code:
        return 128 + received[0] if received else 1
    return 0
