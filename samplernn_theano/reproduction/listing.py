"""Lists of the known experiments and of the steps of a workflow."""

import shlex
from pathlib import Path

from samplernn_theano.reproduction import plan
from samplernn_theano.reproduction.experiments import read_experiments, read_listening_tests
from samplernn_theano.reproduction.paths import FILES
from samplernn_theano.reproduction.plan import Workflow
from samplernn_theano.utils.text import format_table


def describe_experiments(folder: Path) -> str:
    """A table of all experiments: name, model, data, published numbers."""
    from samplernn_theano.reproduction.published import read_numbers

    numbers = read_numbers(folder)
    rows = []
    for experiment in read_experiments(folder).values():
        shown = [
            f"{number.split} {number.value:g}" if number.split else f"{number.value:g} {number.unit}"
            for number in numbers
            if number.experiment == experiment.name
        ]
        rows.append([experiment.name, experiment.title, experiment.data, ", ".join(shown)])
    for test in read_listening_tests(folder).values():
        rows.append([test.name, test.title, "", f"{len(test.systems)} systems"])
    return "\n".join(format_table([["experiment", "model", "data", "published"], *rows]))


def commands(workflow: Workflow) -> str:
    """The shell command of each missing step, a line each."""
    found = [plan.command(workflow, *step) for step in missing(workflow)]
    return "\n".join(shlex.join(command) for command in found if command) or "All steps are done."


def missing(workflow: Workflow) -> list[tuple[str, str, int | None]]:
    """The steps that are not done yet."""
    return [
        step
        for step in steps(workflow)
        if not plan.record_path(workflow.out, *step).with_suffix(".done").exists()
    ]


def steps(workflow: Workflow) -> list[tuple[str, str, int | None]]:
    """All steps in order: name of the step, its data set, experiment or listening test, and seed."""
    known = read_experiments(FILES)
    names: list[tuple[str, str, int | None]] = []
    for name in plan.sets(workflow):
        source = plan.source_set(workflow, name)
        names += [("data", source, None)] if source and ("data", source, None) not in names else []
        names.append(("data", name, None))
    for experiment, seed in plan.trained(workflow):
        of_run = ["train", "evaluate", "generate"] + ["retention"] * known[experiment].retention
        names += [(step, experiment, seed) for step in of_run]
    tests = read_listening_tests(FILES)
    return names + [("listening", name, None) for name in workflow.experiments if name in tests]
