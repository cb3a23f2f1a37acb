"""Export of a listening test to the Web Audio Evaluation Tool, and import of its results.

The paper used this tool (Jillings et al., "Web Audio Evaluation Tool: a browser-based listening test
environment", SMC 2015, github.com/BrechtDeMan/WebAudioEvaluationTool). A project is an XML file in the tool's
folder ``tests``, with sounds in ``media``. We use its interface AB, one page per pair.

AB has no "no preference", and cannot require a choice. So each page has a third box, "Neither", a short
silence that need not be played. A page submitted without a choice thus differs from one with no preference,
and counts as no vote.

Version 1.2.3 reads `poolSize` but does not draw from a pool of pages. So there are several projects with
different draws of the pairs, and each listener gets one of them.
"""

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening.responses import Listener, Test, Vote, read_test
from samplernn_theano.utils.files import write_error_message, write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

PROJECTS = 10
"""Number of projects, with different draws of the pairs."""

LOUDNESS = -23
"""LUFS to which the tool normalises every sound."""

SILENCE = "silence.wav"

QUESTION = "Which of the two sounds do you prefer?"

INTRODUCTION = (
    "You will hear pairs of sounds. Listen to A and to B as often as you like, then click on the box of the"
    " one that you prefer, or on 'Neither' if you have no preference, and press Submit. Please use headphones"
    " and do not change the volume after the first pair."
)

METRICS = ("testTimer", "elementTimer", "elementFlagListenedTo", "elementFlagMoved", "elementListenTracker")

README = """{title}
A listening test for the Web Audio Evaluation Tool, interface AB, {pairs} pairs per listener.

1. Get the tool: https://github.com/BrechtDeMan/WebAudioEvaluationTool
2. Copy the folders `media` and `tests` next to this file into the folder of the tool.
3. Start it: python3 python/pythonServer.py (this computer only), or put the folder on a web server with PHP.
4. Give each listener one of these addresses, in turn (they differ in the pairs):
{addresses}
5. The tool saves one file per listener in its folder `saves`. Analyse them with the folder of the test:
   samplernn listening-test analyse DIR saves/save-*.xml

Each page has three boxes: Neither (no preference), A and B. A and B must each be played once. A page
submitted without a choice counts as unanswered.
"""

# --- export -------------------------------------------------------------------------------------------------


def export(folder: Path, out: Path) -> None:
    """Write the listening test in `folder` to `out` as projects of the Web Audio Evaluation Tool.

    Raises
    ------
    DataError
        If there is no listening test in `folder`, or a sound is missing.
    OutputError
        If `out` holds other files, or cannot be written.
    """
    test = read_test(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already; name an empty or new folder.")
    name = f"samplernn-{test.id}"
    _copy_sounds(test, folder / "sounds", out / "media" / name)
    draws = np.random.default_rng(0)
    addresses = []
    for number in range(PROJECTS):
        path = f"tests/{name}-{number}.xml"
        pairs = draw_pairs(test, draws)
        write_text(out / path, project(test, pairs, f"media/{name}/"))
        addresses.append(f"   http://localhost:8000/test.html?url={path}")
    readme = README.format(title=_line(test.title), pairs=test.pairs, addresses="\n".join(addresses))
    write_text(out / "README.txt", readme)
    print(f"Wrote {PROJECTS} projects of {test.pairs} pairs to {out}; see {out / 'README.txt'}")


def _copy_sounds(test: Test, source: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        for sound in test.system_of:
            if not (source / f"{sound}.wav").is_file():
                raise DataError(f"There is no {source / sound}.wav; make the listening test again.")
            shutil.copyfile(source / f"{sound}.wav", target / f"{sound}.wav")
        silence = np.zeros(SAMPLE_RATE // 2, np.int16)  # the tool measures loudness over blocks of 0.4 s
        soundfile.write(target / SILENCE, silence, SAMPLE_RATE)
    except (OSError, soundfile.LibsndfileError) as error:
        failed = error if isinstance(error, OSError) else OSError(str(error))
        raise OutputError(write_error_message(target, failed)) from error


def draw_pairs(test: Test, draws: np.random.Generator) -> list[tuple[str, str]]:
    """Draw pairs of sounds for one listener; the tool draws their order and sides.

    Pairs of systems occur equally often, within one; a sound repeats only after all others of its system.
    """
    sounds: dict[str, list[str]] = {}
    for sound, system in test.system_of.items():
        sounds.setdefault(system, []).append(sound)
    systems = list(combinations(sounds, 2))
    order = [int(i) for _ in range(-(-test.pairs // len(systems))) for i in draws.permutation(len(systems))]
    left: dict[str, list[str]] = {system: [] for system in sounds}
    pairs = []
    for i in order[: test.pairs]:
        for system in systems[i]:
            if not left[system]:
                left[system] = [sounds[system][j] for j in draws.permutation(len(sounds[system]))]
        one, other = (left[system].pop() for system in systems[i])
        pairs.append((one, other))
    return pairs


def project(test: Test, pairs: Sequence[tuple[str, str]], media: str) -> str:
    """The XML of a project with these pairs of sounds, which are in the folder `media` of the tool.

    Ids contain the test and the number of the pair: the tool requires unique ones, and they identify results
    of another test.
    """
    root = ET.Element("waet")
    setup = ET.SubElement(
        root, "setup", interface="AB", projectReturn="save.php", randomiseOrder="true", playOne="true"
    )
    ET.SubElement(setup, "exitText").text = "Thank you. You may close this page."
    _add_introduction(setup, test)
    metric = ET.SubElement(setup, "metric")
    for name in METRICS:
        ET.SubElement(metric, "metricenable").text = name
    interface = ET.SubElement(setup, "interface")
    for shown in ("page-count", "volume"):
        ET.SubElement(interface, "interfaceoption", type="show", name=shown)
    for number, pair in enumerate(pairs):
        _add_page(root, f"t{test.id}-{number}", _line(test.title), pair, media)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_introduction(setup: ET.Element, test: Test) -> None:
    survey = ET.SubElement(setup, "survey", location="before")
    statement = ET.SubElement(survey, "surveystatement", id=f"t{test.id}-introduction")
    ET.SubElement(statement, "statement").text = f"{_line(test.title)}. {INTRODUCTION}"


def _add_page(root: ET.Element, name: str, title: str, pair: tuple[str, str], media: str) -> None:
    # The tool puts boxes with a label first and counts them: Z, A, B.
    page = ET.SubElement(
        root, "page", id=name, hostURL=media, randomiseOrder="true", label="capital", labelStart="Z"
    )
    ET.SubElement(page, "title").text = title
    ET.SubElement(ET.SubElement(page, "interface"), "title").text = QUESTION
    for sound in pair:
        ET.SubElement(
            page,
            "audioelement",
            id=f"{name}-{sound}",
            url=f"{sound}.wav",
            loudness=str(LOUDNESS),  # not on the page: silence has none
            minNumberPlays="1",
        )
    ET.SubElement(page, "audioelement", id=f"{name}-none", url=SILENCE, label="Neither")


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


# --- saved results ------------------------------------------------------------------------------------------


def read_saved(path: Path, test: Test) -> Listener:
    """Read the votes in a file saved by the Web Audio Evaluation Tool; its key is the listener's name.

    Raises
    ------
    DataError
        If the file is damaged, incomplete or of another test.
    """
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, OSError, ValueError) as error:
        raise DataError("This is not XML, or it is damaged.") from error
    if root.tag != "waetresult" or not root.get("key"):
        raise DataError("This is not a result saved by the Web Audio Evaluation Tool.")
    pages = root.findall("page")
    if root.get("state") != "complete" or not pages or any(p.get("state") != "complete" for p in pages):
        raise DataError("The listener did not finish this test.")
    votes = [_read_page(page, test) for page in pages]
    if len({page.get("ref") for page in pages}) < len(pages):
        raise DataError("A pair occurs twice in this result.")
    given = tuple(vote for vote in votes if vote)
    return Listener(str(root.get("key")), given, len(votes) - len(given))


def _read_page(page: ET.Element, test: Test) -> Vote | None:
    """The vote on a page; None if no box was chosen."""
    name = page.get("ref", "")
    elements = {e.get("ref", "").removeprefix(f"{name}-"): e for e in page.findall("audioelement")}
    silent = elements.pop("none", None)
    sounds = sorted(elements, key=lambda sound: elements[sound].get("presentedId", ""))
    if (
        not re.fullmatch(rf"t{re.escape(test.id)}-\d+", name)
        or silent is None
        or [elements[sound].get("presentedId") for sound in sounds] != ["A", "B"]
        or len({test.system_of.get(sound) for sound in sounds} - {None}) != 2
    ):
        raise DataError("This is the result of another test.")
    a, b = sounds
    boxes = {"a": elements[a], "b": elements[b], "none": silent}
    chosen = [vote for vote, element in boxes.items() if _value(element) == 1]
    if len(chosen) > 1:
        raise DataError("More than one box of a pair is chosen; the file is damaged.")
    if not chosen:
        return None
    return Vote(a, b, chosen[0], _seconds(page), _plays(elements[a]), _plays(elements[b]))


def _value(element: ET.Element) -> float:
    try:
        return float(element.findtext("value", ""))
    except ValueError as error:
        raise DataError("A box of a pair has no value; the file is damaged.") from error


def _seconds(page: ET.Element) -> float | None:
    try:
        return float(page.findtext("metric/metricresult[@id='testTime']", ""))
    except ValueError:  # the tool did not measure it
        return None


def _plays(element: ET.Element) -> int:
    return len(element.findall("metric/metricresult[@name='elementListenTracker']/event"))
