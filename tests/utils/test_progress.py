"""Progress: a bar in a terminal, lines elsewhere."""

import math
import os
import pty
import subprocess
import sys
import time

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from samplernn_theano.utils import progress
from samplernn_theano.utils.progress import Bar, counted, progress_bar

SCRIPT = """
import time
from samplernn_theano.utils.progress import progress_bar
with progress_bar("decode", 200, "clips") as bar:
    bar.advance(25)
    bar.advance(25)
    bar.say("A message [as it is].")
    bar.stage = "4.321 bits"
    bar.note = "a note so long that it does not fit into a terminal of sixty columns"
    time.sleep(0.5)
"""


def in_a_terminal(script: str, columns: int) -> str:
    """Everything that a program writes to a terminal."""
    leader, follower = pty.openpty()
    env = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=follower, stderr=follower, env=env)
    os.close(follower)
    found = b""
    try:
        while part := os.read(leader, 4096):
            found += part
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    os.close(leader)
    return found.decode()


def test_a_narrow_terminal_shows_what_matters_most():
    shown = in_a_terminal(SCRIPT, 60)
    assert "A message [as it is].\r\n" in shown
    last = shown.split("\x1b[2K")[-1]
    assert "4.321 bits  25 %  0:00:0" in last and "50 of 200 clips" in last and "…" in last


@pytest.mark.parametrize("total", ["float('inf')", "float('nan')", "10**400", "1e300"])
def test_a_total_that_is_no_length_of_a_bar_ends_nothing(total):
    shown = in_a_terminal(SCRIPT.replace("200", total), 60)
    assert "4.321 bits" in shown and "Traceback" not in shown


def test_elsewhere_a_line_says_it_now_and_then(capsys, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    for _ in counted(range(5), "check", 5, "clips"):
        pass
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err
    assert len(err.splitlines()) < 5 and err.splitlines()[-1].startswith("check  100 %")


def test_a_notebook_shows_one_line_that_is_rewritten(execute):
    (cell,) = execute(new_notebook(cells=[new_code_cell(SCRIPT)])).cells
    line, message = cell.outputs
    assert line.output_type == "display_data" and message.text == "A message [as it is].\n"
    assert line.data["text/plain"].startswith("4.321 bits  25 %  0:00:0")
    assert "\x1b" not in str(cell.outputs) and "\r" not in str(cell.outputs)


def test_what_is_short_or_hidden_says_nothing(capsys, monkeypatch):
    assert list(counted("ab", "check", 2)) == ["a", "b"]
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress_bar("check", 2, visible=False) as bar:
        bar.advance()
        bar.say("A message.")
    assert capsys.readouterr() == ("A message.\n", "")


@pytest.mark.parametrize(
    ("total", "unit", "done", "left", "line"),
    [
        (0, "B", 1500, None, "check  1.5 kB"),
        (3e9, "B", 1.5e9, 61.2, "check  50 %  0:01:01 left  1.5 GB of 3.0 GB"),
        (2000, "clips", 0, None, "check  0 %  0 of 2,000 clips"),
        (2, "", 3, 0.0, "check  100 %  0:00:00 left"),
        (1e15, "clips", 0, 1e17, "check  0 %  0 of 1,000,000,000,000,000 clips"),
        (2, "", 1, math.nan, "check  50 %"),
        (math.inf, "B", 1e3, math.inf, "check  0 %"),
        (math.nan, "B", math.nan, None, "check"),
        (10**400, "clips", -math.inf, None, "check"),
        (5, "clips", math.nan, None, "check  nan of 5 clips"),
    ],
)
def test_the_line(total, unit, done, left, line):
    bar = Bar("check", total, unit, visible=False)
    bar.done, bar.left = done, left
    assert bar.line() == line


def test_the_time_left_is_that_of_the_speed_after_the_first_part_of_this_process(monkeypatch):
    bar = Bar("train", 400, visible=False)
    bar.begin(done=200)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    bar.at(201)  # it may have compiled for minutes
    assert bar.line() == "train  50 %"
    monkeypatch.setattr(time, "monotonic", lambda: 110.0)
    bar.at(251)  # 5 a second
    assert bar.line() == "train  63 %  0:00:30 left"


def test_a_closed_pipe_ends_nothing():
    script = SCRIPT.replace("import time", "import sys, time").replace("time.sleep(0.5)", "bar.say('again')")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stderr.close()
    assert process.wait() in (0, 120)  # 120: Python itself could not flush its standard output
