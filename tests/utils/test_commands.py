"""What is only talk ends no command; an error is one line without control characters."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from samplernn_theano.errors import DataError
from samplernn_theano.utils.commands import run_command

SCRIPT = """
import sys
from pathlib import Path
from samplernn_theano.utils.commands import run_command

def run():
    print("caf\\xe9 \\udce9 \\x1b[31mred")
    for i in range(3000):
        print("line", i, flush=i % 2 == 0)
        print("note \\u266a", i, file=sys.stderr)
    with open("done", "wb", buffering=0) as file:
        print("more", flush=True)
        file.write(b"yes")
    return int(sys.argv[2])

sys.exit(run_command(run, sys.argv[1] == "result"))
"""


def outcome(folder: Path, kind: str, shell: str, code: int = 0, **env: str) -> tuple[int, str]:
    """Exit code, and what is left of standard error, of the script with redirections of a shell."""
    (folder / "script.py").write_text(SCRIPT)
    root = Path(__file__).parents[2]
    words = ["bash", "-c", f"'{sys.executable}' script.py {kind} {code} {shell}"]
    env = {**os.environ, "PYTHONPATH": str(root), **env}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    assert (folder / "done").read_text() == "yes"  # it came to its end, and nothing else was written there
    lines = done.stderr.decode().splitlines()
    return done.returncode, "\n".join(line for line in lines if not line.startswith("note"))


ENDED = "| true; exit ${PIPESTATUS[0]}"
LOST = "samplernn: Standard output could not be written: "


@pytest.mark.parametrize("code", [0, 7])
@pytest.mark.parametrize(
    ("shell", "of_result"),
    [
        (ENDED, ""),
        ("2>&1 " + ENDED, ""),
        (">/dev/full", f"{LOST}No space left on device."),
        (">&-", f"{LOST}it is closed."),
        ("2>/dev/full", ""),
        ("2>&-", ""),
        ("<&-", ""),
    ],
)
def test_output_that_cannot_be_written_ends_nothing_and_is_an_error_only_if_it_is_the_result(
    tmp_path, shell, of_result, code
):
    if "full" in shell and not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    assert outcome(tmp_path, "talk", shell, code) == (code, "")
    assert outcome(tmp_path, "result", shell, code) == (code or 2 * bool(of_result), of_result * (code == 0))


def test_a_terminal_that_is_gone_ends_nothing(tmp_path):
    leader, follower = pty.openpty()
    (tmp_path / "script.py").write_text("import sys\nsys.stdin.read(1)\n" + SCRIPT)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "script.py", "talk", "0"]
    streams = {"stdin": subprocess.PIPE, "stdout": follower, "stderr": follower}
    with subprocess.Popen(words, cwd=tmp_path, env=env, start_new_session=True, **streams) as process:
        os.close(follower)
        os.close(leader)  # from now on a write fails with an input/output error
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 0 and (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "utf-8"},
    ],
)
def test_characters_that_a_terminal_lacks_and_control_characters_are_escaped(tmp_path, env):
    assert outcome(tmp_path, "result", ">out", **env) == (0, "")
    first = (tmp_path / "out").read_bytes().splitlines()[0]
    e = {"latin-1:strict": b"\xe9", "utf-8": "é".encode()}.get(env.get("PYTHONIOENCODING", ""), rb"\xe9")
    assert first == b"caf" + e + rb" \udce9 \x1b[31mred"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("a\nb \x1b[2Jc"), r"a\nb \x1b[2Jc"),
        (
            OSError(28, "No space left on device"),
            "No disk space left; free some space and run the command again.",
        ),
        (
            OSError(122, "Disk quota exceeded", "a/b"),
            "No disk space left while writing a/b; free some space and run the command again.",
        ),
        (OSError(5, "Input/output error", b"a/b"), "a/b: Input/output error."),
        (
            OSError(24, "Too many open files"),
            "Too many files are open; raise the limit (ulimit -n) and run the",
        ),
        (OSError("timed out"), "timed out."),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe."),
    ],
)
def test_an_error_is_one_line_in_plain_words(capsys, error, line):
    def run():
        raise error

    assert run_command(run) == 2
    assert capsys.readouterr().err.startswith(f"samplernn: {line}")
