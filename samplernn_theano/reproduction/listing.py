"""What there is to reproduce, and what it would take, in words."""

import shlex
from pathlib import Path

from samplernn_theano.reproduction import cells, files, plan
from samplernn_theano.reproduction.plan import Workflow
from samplernn_theano.utils.text import table


def describe_cells(folder: Path) -> str:
    """A line for each cell: its name, the model, the data, the published numbers."""
    from samplernn_theano.reproduction import published

    numbers = published.numbers(folder)
    rows = []
    for cell in cells.read(folder).values():
        told = [
            f"{number.split} {number.value:g}" if number.split else f"{number.value:g} {number.unit}"
            for number in numbers
            if number.cell == cell.name
        ]
        rows.append([cell.name, cell.title, cell.data, ", ".join(told)])
    for test in cells.listening_tests(folder).values():
        rows.append([test.name, test.title, "", f"{len(test.systems)} systems"])
    return "\n".join(table([["cell", "model", "data", "published"], *rows]))


def commands(workflow: Workflow) -> str:
    """The command of each step that is not done, as a shell takes it from the checkout's folder."""
    found = [plan.command(workflow, *step) for step in missing(workflow)]
    return "\n".join(shlex.join(command) for command in found if command) or "Everything is done."


def missing(workflow: Workflow) -> list[tuple[str, str, int | None]]:
    """The steps that are not done."""
    return [
        step
        for step in steps(workflow)
        if not plan.record_path(workflow.out, *step).with_suffix(".done").exists()
    ]


def steps(workflow: Workflow) -> list[tuple[str, str, int | None]]:
    """All steps in an order in which they can be done: the step, its data set, cell or test, and the seed."""
    known = cells.read(files.folder())
    names: list[tuple[str, str, int | None]] = []
    for name in plan.sets(workflow):
        source = plan.made_of(workflow, name)
        names += [("data", source, None)] if source and ("data", source, None) not in names else []
        names.append(("data", name, None))
    for cell, seed in plan.trained(workflow):
        of_cell = ["train", "evaluate", "generate"] + ["retention"] * known[cell].retention
        names += [(step, cell, seed) for step in of_cell]
    tests = cells.listening_tests(files.folder())
    return names + [("listening", name, None) for name in workflow.cells if name in tests]
