"""What is to be done, as command lines: one for each step of a cell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction import cells, files, scales
from samplernn_theano.reproduction.cells import Cell, ListeningTest
from samplernn_theano.reproduction.scales import Scale
from samplernn_theano.utils.files import write_text

WORKFLOW = "workflow.json"
FIRST_SEED = 123
"""The original's; further seeds count on from it."""

DEMO = "demo"
"""The set of which the others are made where demo data stand in for all."""

NEEDS_RECORDINGS = ("blizzard", "onomatopoeia", "huckleberry")
"""The sets that nobody can download without knowing more: see datasets/README.md."""

type Command = list[str]


@dataclass(frozen=True)
class Workflow:
    """What was asked for, as it stands in OUT/workflow.json.

    Attributes
    ----------
    out : Path
        Folder of all that is made; absolute.
    scale : str
    cells : mapping of str to sequence of int
        What is to be done now: names of cells and listening tests, and seeds of the initial parameters.
    data : mapping of str to str
        Prepared sets that are used as they are: name of the set and folder.
    recordings : mapping of str to str
        Recordings of which a set is made.
    about : mapping of str to str
        What a set is, where it is not the paper's.
    max_minutes : float or None
        Of training, in place of the scale's.
    before : mapping of str to sequence of int
        As `cells`: all that was ever asked for in this folder.
    """

    out: Path
    scale: str
    cells: Mapping[str, Sequence[int]]
    data: Mapping[str, str] = field(default_factory=dict)
    recordings: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    max_minutes: float | None = None
    before: Mapping[str, Sequence[int]] = field(default_factory=dict)


def save(workflow: Workflow) -> Path:
    """Write it to OUT/workflow.json and return that path."""
    path = workflow.out / WORKFLOW
    write_text(path, json.dumps(asdict(workflow) | {"out": str(workflow.out)}, indent=2) + "\n")
    return path


def load(out: Path) -> Workflow:
    """The workflow in the folder `out`.

    Raises
    ------
    ReproductionError
        If there is none, or its file is damaged.
    """
    try:
        found = json.loads((out / WORKFLOW).read_text(encoding="utf-8"))
        return Workflow(**found | {"out": out.absolute()})
    except OSError as error:
        raise ReproductionError(
            f"{out} holds no workflow; begin one with samplernn reproduce CELL."
        ) from error
    except (ValueError, TypeError) as error:
        raise ReproductionError(
            f"{out / WORKFLOW} is damaged ({error}); delete it and repeat the command, what is done stays."
        ) from error


# --- folders ------------------------------------------------------------------------------------------------


def run_folder(workflow: Workflow, cell: str, seed: int) -> Path:
    """Of the training of a cell."""
    return workflow.out / "runs" / cell / f"seed{seed}"


def samples_folder(workflow: Workflow, cell: str, seed: int) -> Path:
    """Of its generated sound."""
    return workflow.out / "samples" / cell / f"seed{seed}"


def data_folder(workflow: Workflow, name: str) -> Path:
    """Of a data set."""
    return Path(workflow.data[name]) if name in workflow.data else workflow.out / "data" / name


def record_path(out: Path, step: str, unit: str, seed: int | None) -> Path:
    """Of the record of a step: `unit` is a data set, a cell or a listening test."""
    if step == "data":
        return out / "steps" / "data" / f"{unit}.json"
    return out / "steps" / unit / (f"seed{seed}" if seed is not None else "") / f"{step}.json"


# --- commands -----------------------------------------------------------------------------------------------


def command(workflow: Workflow, step: str, unit: str, seed: int | None = None) -> Command | None:
    """The command line of a step; None for a data set that is used as it is.

    Raises
    ------
    ReproductionError
        If the data cannot be made without recordings.
    """
    folder = files.folder()
    scale = scales.read(folder, workflow.scale)
    if step == "data":
        return _data(workflow, scale, unit)
    if step == "listening":
        return _listening(workflow, scale, cells.listening_tests(folder)[unit], cells.read(folder))
    cell = cells.read(folder)[unit]
    assert seed is not None
    of_step = {"train": _train, "evaluate": _evaluate, "generate": _generate, "retention": _retention}
    return of_step[step](workflow, scale, cell, seed)


def check_data(workflow: Workflow) -> None:
    """Raise ReproductionError unless each set that the cells need can be had."""
    folder = files.folder()
    scale = scales.read(folder, workflow.scale)
    for name in sets(workflow):
        if name in workflow.data and not Path(workflow.data[name]).is_dir():
            raise ReproductionError(f"--data {name}: there is no folder {workflow.data[name]}.")
        if name in workflow.recordings and not Path(workflow.recordings[name]).is_dir():
            raise ReproductionError(f"--recordings {name}: there is no folder {workflow.recordings[name]}.")
        _data(workflow, scale, name)


def check_use(workflow: Workflow) -> None:
    """Raise ReproductionError if data are given that no cell reads."""
    used = sets(workflow)
    for name in [*workflow.data, *workflow.recordings]:
        if name not in used:
            raise ReproductionError(f"No cell named here reads the set {name}; they read {', '.join(used)}.")


def sets(workflow: Workflow) -> list[str]:
    """The data sets that the cells of a workflow need."""
    known = cells.read(files.folder())
    return sorted({known[name].data for name, _ in trained(workflow)})


def trained(workflow: Workflow) -> list[tuple[str, int]]:
    """The cells and seeds to train: those asked for, or whose runs these show, or that a test compares."""
    folder = files.folder()
    known, tests = cells.read(folder), cells.listening_tests(folder)
    names: dict[tuple[str, int], None] = {}
    for name, seeds in workflow.cells.items():
        systems, wanted = (tests[name].systems, seeds[:1]) if name in tests else ([name], seeds)
        names |= dict.fromkeys((known[system].run, seed) for system in systems for seed in wanted)
    return list(names)


def _data(workflow: Workflow, scale: Scale, name: str) -> Command | None:
    out = str(data_folder(workflow, name))
    if name in workflow.data:
        return None
    if scale.demo_data:
        return _demo(workflow, name, out)
    script = ["python", f"datasets/{name}.py", "--out", out]
    if name in workflow.recordings:
        return [*script, "--source", workflow.recordings[name]]
    if name in NEEDS_RECORDINGS:
        raise ReproductionError(
            f"The set {name} cannot be downloaded: give --recordings {name}=FOLDER to build it (see "
            f"datasets/README.md), or a prepared set with --data {name}=FOLDER, or choose other cells."
        )
    return script


def made_of(workflow: Workflow, name: str) -> str | None:
    """The set of which another is made: at a scale of demo data, that of the demo."""
    demo = scales.read(files.folder(), workflow.scale).demo_data
    return DEMO if demo and name not in (DEMO, "huckleberry") and name not in workflow.data else None


def _demo(workflow: Workflow, name: str, out: str) -> Command:
    pieces = str(workflow.out / "data" / DEMO / "pieces")
    if name == DEMO:
        return ["python", "datasets/demo.py", "--out", out, "--pieces"]
    if name == "huckleberry":
        return ["python", "datasets/demo.py", "--voices", "--out", out]
    split = ["--valid-fraction", "0.2", "--test-fraction", "0.2", "--name", name]
    length = ["--variable-length"] if name == "onomatopoeia" else ["--clip-seconds", "0.5"]
    return ["samplernn", "prepare", pieces, "--out", out, *length, *split]


def _train(workflow: Workflow, scale: Scale, cell: Cell, seed: int) -> Command:
    options: dict[str, Any] = {**scale.train}
    if workflow.max_minutes is not None:
        options = {k: v for k, v in options.items() if not k.startswith("max_")}
        options["max_minutes"] = workflow.max_minutes
    flags = scales.flags(scale, cell)
    rate = {"learning-rate": flags.pop("learning_rate")} if "learning_rate" in flags else {}
    words = [(f"--{name}", value) for name, value in flags.items()]
    dashed = {name if name == "n_seqs" else name.replace("_", "-"): value for name, value in options.items()}
    words += [(f"--{name}", value) for name, value in (rate | dashed).items()]
    return [
        *["samplernn", "train", cell.family, "--preset", scale.preset],
        *(str(word) for pair in words for word in pair),
        *["--seed", str(seed), "--data", str(data_folder(workflow, cell.data))],
        *["--run", str(run_folder(workflow, cell.name, seed)), "--resume"],
        *["--max-time", f"{scale.resources.minutes - min(10, scale.resources.minutes / 4):g}m"],
        *_threads(scale),
    ]


def _evaluate(workflow: Workflow, scale: Scale, cell: Cell, seed: int) -> Command:
    out = record_path(workflow.out, "evaluate", cell.name, seed).with_name("scores.json")
    return [
        *["samplernn", "evaluate", str(run_folder(workflow, cell.name, seed))],
        *["--data", str(data_folder(workflow, cell.data)), "--split", "valid", "--split", "test"],
        *["--json", str(out), *_threads(scale)],
    ]


def _generate(workflow: Workflow, scale: Scale, cell: Cell, seed: int) -> Command:
    return [
        *["samplernn", "generate", str(run_folder(workflow, cell.name, seed))],
        *["--n_seqs", str(scale.generate["n_seqs"]), "--seconds", str(scale.generate["seconds"])],
        *["--seed", str(seed), "--out", str(samples_folder(workflow, cell.name, seed)), "--overwrite"],
        *_threads(scale),
    ]


def _retention(workflow: Workflow, scale: Scale, cell: Cell, seed: int) -> Command:
    return [
        *["samplernn", "retention", str(run_folder(workflow, cell.name, seed))],
        *["--data", str(data_folder(workflow, cell.data)), "--clips", str(scale.retention["clips"])],
        *["--seed", str(seed), "--out", str(retention_folder(workflow, cell.name, seed)), *_threads(scale)],
    ]


def retention_folder(workflow: Workflow, cell: str, seed: int) -> Path:
    """Of what the experiment on information retention leaves."""
    return workflow.out / "retention" / cell / f"seed{seed}"


def _listening(workflow: Workflow, scale: Scale, test: ListeningTest, known: Mapping[str, Cell]) -> Command:
    seed = workflow.cells[test.name][0]
    sounds = [
        f"{known[name].title}={samples_folder(workflow, known[name].run, seed)}" for name in test.systems
    ]
    how = dict(scale.listening)
    noise_too = how.pop("noise_too", False)
    noise = ["--leave-out-noise"] if test.leave_out_noise and not noise_too else []
    words = [f"--{name}={value}" for name, value in how.items()]
    out = ["--out", str(workflow.out / test.name), "--title", test.title, "--post", "--overwrite"]
    return ["samplernn", "listening-test", "make", *sounds, *out, *words, *noise]


def _threads(scale: Scale) -> Command:
    return ["--threads", str(scale.resources.threads)]
