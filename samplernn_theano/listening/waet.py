"""Export to the Web Audio Evaluation Tool, which the paper used for its listening tests, and its results.

Jillings et al., "Web Audio Evaluation Tool: a browser-based listening test environment", SMC 2015,
github.com/BrechtDeMan/WebAudioEvaluationTool. Its interface AB has no "no preference" and cannot require a
choice: each page has a third box, a short silence, and one submitted without a choice counts as no vote.
Version 1.2.3 does not draw from a pool of pages: so there are several projects, with different pairs.
"""

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from jinja2 import Template

from samplernn_theano.data.audio import write_wav
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening.responses import Listener, Test, Vote, read_test
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def export(folder: Path, out: Path) -> None:
    """Write the listening test in `folder` to `out` as projects of the Web Audio Evaluation Tool."""
    test = read_test(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already; name an empty or new folder.")
    if missing := [s for s in test.system_of if not (folder / "sounds" / f"{s}.wav").is_file()]:
        raise DataError(f"There is no {missing[0]}.wav in {folder}/sounds; make the test again.")
    name = f"samplernn-{test.id}"
    shutil.copytree(folder / "sounds", out / "media" / name)
    write_wav(out / "media" / name / "silence.wav", np.zeros(SAMPLE_RATE // 2))  # 0.4 s have a loudness
    template = Template(Path(__file__).with_suffix(".xml").read_text(encoding="utf-8"), autoescape=True)
    title = " ".join("".join(c if c.isprintable() else " " for c in test.title).split())
    for number in range(10):
        project = template.render(id=test.id, title=title, pairs=test.pairs_of(f"project {number}"))
        write_text(out / "tests" / f"{name}-{number}.xml", project)
    print(
        f"Wrote ten projects of {test.pairs} pairs to {out}. Copy its folders into the tool's, "
        f"and give each listener one, such as http://localhost:8000/test.html?url=tests/{name}-0.xml"
    )


def read_saved(path: Path, test: Test) -> Listener:
    """Read the votes in a file saved by the Web Audio Evaluation Tool; its key is the listener's name."""
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, OSError, ValueError) as error:
        raise DataError("This is not XML, or it is damaged.") from error
    pages = {page.get("ref", ""): page for page in root.findall("page")}
    if root.tag != "waetresult" or not root.get("key") or len(pages) < len(root.findall("page")):
        raise DataError("This is not a result saved by the Web Audio Evaluation Tool.")
    if not pages or any(part.get("state") != "complete" for part in (root, *pages.values())):
        raise DataError("The listener did not finish this test.")
    votes = [_read_page(name, page, test) for name, page in pages.items()]
    given = tuple(vote for vote in votes if vote)
    return Listener(str(root.get("key")), given, len(votes) - len(given))


def _read_page(name: str, page: ET.Element, test: Test) -> Vote | None:
    """The vote on a page; None if no box was chosen."""
    boxes = {e.get("ref", "").removeprefix(f"{name}-"): e for e in page.findall("audioelement")}
    sides = {e.get("presentedId"): sound for sound, e in boxes.items() if sound in test.system_of}
    a, b = sides.get("A", ""), sides.get("B", "")
    if (
        not re.fullmatch(rf"t{re.escape(test.id)}-\d+", name)
        or set(boxes) != {a, b, "none"}
        or test.system_of.get(a) == test.system_of.get(b)
    ):
        raise DataError("This is the result of another test.")
    values = {box: element.findtext("value", "") for box, element in boxes.items()}
    chosen = [box for box, value in values.items() if value == "1"]
    if len(chosen) > 1 or not set(values.values()) <= {"0", "1"}:
        raise DataError("The choice between the boxes of a pair is damaged.")
    if not chosen:
        return None
    time = page.findtext("metric/metricresult[@id='testTime']", "")
    seconds = float(time) if re.fullmatch(r"\d+(\.\d+)?", time) else None  # None: not measured
    plays = [len(boxes[s].findall("metric/metricresult[@name='elementListenTracker']/event")) for s in (a, b)]
    return Vote(a, b, {a: "a", b: "b", "none": "none"}[chosen[0]], seconds, plays[0], plays[1])
