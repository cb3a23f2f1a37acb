"""The tables of results in README.md and reproduce/RESULTS.md, from the files in reproduce/results.

    python reproduce/results.py                    write both again
    python reproduce/results.py OUT [OUT ...]      first take over the scores of these workflows

A workflow's report has its scores in OUT/report/results.json; here they are reproduce/results/SCALE.json.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import pretrained
from samplernn_theano.reproduction.experiments import OURS, OURS_MEANS, Experiment, read_experiments
from samplernn_theano.reproduction.plan import load
from samplernn_theano.reproduction.published import Number, doubts, read_numbers
from samplernn_theano.utils.files import write_text

HERE = Path(__file__).parent
FOLDER, PAGE, README = HERE / "results", HERE / "RESULTS.md", HERE.parent / "README.md"
BLOCK = re.compile(
    r"(?<=<!-- results: made by reproduce/results.py -->\n).*?(?=<!-- end of results -->)", re.DOTALL
)
SETS = {"blizzard": "Blizzard", "onomatopoeia": "Onomatopoeia", "music": "Music", "music_overlap": "Music"}
COMMANDS = {"paper": "samplernn reproduce {}", "study": "reproduce/study.sh"}
"""What makes the numbers of a scale; of another scale: `samplernn reproduce EXPERIMENT --scale SCALE`."""

_SHARED = ["paper", "ours", "scale: data", "updates, hours, hardware", "command", "files"]
PAGE_COLUMNS = ["experiment", *_SHARED, "basis", "differences"]
README_COLUMNS = ["model", "paper's data", *_SHARED]

ABOUT = """\
# Results

The published scores of tables 1 to 4 next to ours, in bits per sample if nothing else is said. Made by
`python reproduce/results.py` from the files in [results](results), which hold scores, updates, hardware and
the learning curve of every seed.

- **Only a row of the scale `paper` without other data can be compared with the published number.** Rows of
  other scales are small models, often on other data: they say what this package reaches in hours.
- {ours}.
- {doubts}.
- ±: standard error, over what is said next to it: an error over clips or recordings is that of one seed.
- Hours: updates times the seconds of one on a core of its own, or the time of the training.
- Differences from the paper have numbers, of
  [differences.toml](../samplernn_theano/reproduction/files/differences.toml).

"""


def stored() -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """The scores in FOLDER, by experiment and split."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for path in sorted(FOLDER.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8")):
            found.setdefault((entry["experiment"], entry["split"]), []).append(entry)
    return found


def cells(own: Experiment, number: Number, entry: Mapping[str, Any] | None, top: str = "") -> dict[str, str]:
    """What the tables show of a published number and our score, by column; `top` stands before links."""
    scale = "paper" if entry is None else entry["scale"]
    command = COMMANDS.get(scale, f"samplernn reproduce {{}} --scale {scale}")
    found = {
        "experiment": f"`{number.experiment}`, {number.split}{own.mark}",
        "model": own.title.removeprefix("SampleRNN (").replace(" (re-impl.)", "").rstrip(")") + own.mark,
        "paper's data": SETS[own.data],
        "paper": f"{number.value:.3f}{number.mark}",
        "basis": own.basis,
        "command": f"`{command.format(own.name)}`",
    }
    if entry is None:
        return dict.fromkeys(PAGE_COLUMNS, "–") | found | {"scale: data": "not run at the paper's scale"}
    return found | {
        "ours": ours(entry),
        "scale: data": entry["scale"] + (f": {entry['data']}" if entry["data"] else ""),
        "updates, hours, hardware": f"{updates(entry)}, {cost(entry)}",
        "files": files(own.name, entry, top),
        "differences": ", ".join(map(str, entry["differences"])),
    }


def ours(entry: Mapping[str, Any]) -> str:
    """Our score with its error, over what that is, and the number of seeds."""
    n = len(entry["seeds"])
    seeds = f"{n} seed{'s' * (n > 1)}"
    unit = " nats" if entry["unit"].startswith("nats") else ""
    if entry["error"] is None:
        return f"{entry['ours']:.3f}{unit} ({seeds})"
    over = f"over {seeds}" if entry["over"] == "seeds" else f"over {entry['n']} {entry['over']}, {seeds}"
    return f"{entry['ours']:.3f} ± {entry['error']:.3f}{unit} ({over})"


def updates(entry: Mapping[str, Any]) -> str:
    """The number of updates of the trainings."""
    counts = [own["updates"] for own in entry["seeds"]]
    return " to ".join(dict.fromkeys(f"{n:,}" for n in (min(counts), max(counts))))


def cost(entry: Mapping[str, Any]) -> str:
    """Hours of a training and its hardware."""
    rate = entry["seconds_per_update"]
    seconds = [rate * own["updates"] if rate else own["train_seconds"] for own in entry["seeds"]]
    hardware = ", ".join(dict.fromkeys(own["hardware"] for own in entry["seeds"]))
    return f"{max(seconds) / 3600:.2f} h, {hardware}"


def files(experiment: str, entry: Mapping[str, Any], top: str = "") -> str:
    """Links, with `top` before them, to the log of the scores and to the checkpoint if the package has it."""
    links = [f"[scores]({top}reproduce/results/{entry['scale']}.json)"]
    for name in pretrained.names() if entry["scale"] == "study" else []:
        if pretrained.card(name)["study"].endswith(f" {experiment}"):
            links.append(f"[`pretrained/{name}`]({top}samplernn_theano/pretrained/{name}.json)")
    return ", ".join(links)


def page_rows() -> list[dict[str, str]]:
    """The rows of RESULTS.md: one for each published score, or for each scale at which we have one."""
    experiments, scores = read_experiments(), stored()
    return [
        cells(experiments[number.experiment], number, entry, "../")
        for number in read_numbers()
        if number.split is not None and number.experiment in experiments
        for entry in scores.get((number.experiment, number.split), [None])
    ]


def page() -> str:
    """The text of RESULTS.md."""
    about = ABOUT.format(ours=f"{OURS} {OURS_MEANS}", doubts=doubts(read_numbers()))
    return about + _table(PAGE_COLUMNS, page_rows())


def readme_table() -> str:
    """The rows of table 1 for README.md, each with the score of the largest scale."""
    experiments, scores, rows = read_experiments(), stored(), []
    for number in read_numbers():
        if number.experiment.startswith("table1/") and "overlap" not in number.experiment:
            found = scores.get((number.experiment, "test"), [None])
            best = next((entry for entry in found if entry and entry["scale"] == "paper"), found[0])
            rows.append(cells(experiments[number.experiment], number, best))
    return _table(README_COLUMNS, rows)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([row[name] for name in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Take over scores, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="*", metavar="OUT")
    for out in parser.parse_args().out:
        scores = out / "report" / "results.json"
        if not scores.is_file():
            raise SystemExit(f"There is no {scores}; write it with: samplernn reproduce --report --out {out}")
        text = scores.read_text(encoding="utf-8")
        write_text(FOLDER / f"{load(out).scale}.json", text)
    write_text(PAGE, page())
    readme = README.read_text(encoding="utf-8")
    write_text(README, BLOCK.sub(lambda _: readme_table(), readme))


if __name__ == "__main__":
    main()
