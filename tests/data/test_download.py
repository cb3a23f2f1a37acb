"""Downloads: complete and verified, listed as missing, or a one-line error; resumed, not repeated."""

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from urllib3 import Retry

import samplernn_theano
from samplernn_theano.data import download
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import locked
from tests.conftest import wait_until
from tests.data.archive_server import ArchiveServer

ONE, TWO = (np.random.RandomState(seed).bytes(100_000) for seed in (1, 2))
A, B = "/download/A/x.ogg", "/download/B/x.ogg"
AGAIN = "run the command again: complete files are kept."


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Neither we nor the client wait between tries."""
    monkeypatch.setattr(download, "_PAUSE", 0)
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)


@pytest.fixture
def server():
    with ArchiveServer({"A": {"x.ogg": ONE}, "B": {"x.ogg": TWO}}) as server:
        yield server


def fetch(server, folder, identifiers=("A", "B"), **options):
    return download.download(identifiers, folder, server=server.url, progress=False, **options)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def ranges(server, path):
    return [request.range for request in server.requests if request.path == path]


def refusal(server, folder, identifiers=("A", "B"), **options) -> str:
    with pytest.raises(DataError) as caught:
        fetch(server, folder, identifiers, **options)
    return str(caught.value)


def test_files_of_the_same_name_lie_in_a_folder_for_each_item(server, tmp_path):
    assert fetch(server, tmp_path / "new" / "folder") == []
    assert files(tmp_path / "new" / "folder") == {"A/x.ogg": ONE, "B/x.ogg": TWO}


def test_we_say_who_we_are_and_use_nobodys_account(server, tmp_path, monkeypatch):
    (tmp_path / "ia.ini").write_text("[s3]\naccess = KEY\nsecret = SECRET\n[general]\nsecure = unreadable\n")
    monkeypatch.setenv("IA_CONFIG_FILE", str(tmp_path / "ia.ini"))
    fetch(server, tmp_path / "out")
    assert {request.path for request in server.requests} == {"/metadata/A", "/metadata/B", A, B}
    for request in server.requests:
        assert f"samplernn-theano/{samplernn_theano.__version__}" in request.agent
        assert "internetarchive/" in request.agent
        assert "KEY" not in request.agent


def test_what_is_whole_is_not_downloaded_again(server, tmp_path):
    fetch(server, tmp_path)
    server.repair()
    assert fetch(server, tmp_path) == []
    assert server.downloads() == []


@pytest.mark.parametrize(
    "name, content, downloads",
    [
        ("x.ogg", b"short", 1),
        ("x.ogg", TWO, 1),  # of the right size
        (".x.ogg.part", b"", 1),
        (".x.ogg.part", TWO[:5000], 2),  # the end of ours does not fit
        (".x.ogg.part", TWO, 1),
        (".x.ogg.part", ONE + b"more", 1),
        (".x.ogg.part", ONE, 0),
    ],
)
def test_what_was_there_before_is_replaced_or_used(server, tmp_path, name, content, downloads):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / name).write_bytes(content)
    assert fetch(server, tmp_path, ["A"]) == []
    assert files(tmp_path) == {"A/x.ogg": ONE}
    assert len(ranges(server, A)) == downloads
    assert not downloads or ranges(server, A)[-1] is None


def test_files_are_chosen_by_the_first_ending_that_the_item_has(tmp_path):
    names = ["2_64kb.MP3", "1_64kb.mp3", "1.mp3", "cover.jpg", "cd 2/é#?_64kb.mp3"]
    items = {"book": {name: name.encode() for name in names}, "other": {"a.mp3": b"a", "a.ogg": b"o"}}
    with ArchiveServer(items) as server:
        assert fetch(server, tmp_path, ["book", "other"], suffixes=("_64kb.mp3", ".mp3")) == []
        assert server.downloads() == [f"book/{names[i]}" for i in (1, 0, 4)] + ["other/a.mp3"]
    taken = [f"book/{names[i]}" for i in (0, 1, 4)] + ["other/a.mp3"]
    assert sorted(files(tmp_path)) == sorted(taken)


def test_what_the_archive_does_not_have_is_listed_and_the_rest_comes(server, tmp_path):
    server.metadata["dark"] = {"is_dark": True, "metadata": {"identifier": "dark"}}
    server.metadata["silent"] = {"metadata": {"identifier": "silent"}, "files": [{"name": "a.txt"}]}
    server.fail("/metadata/unknown", 404)
    server.fail(A, 404)
    assert fetch(
        server, tmp_path, ["none", "dark", "silent", "unknown", "A", "B"], suffixes=(".ogg", ".mp3")
    ) == [
        "none: there is no such item",
        "dark: withdrawn from the archive",
        "silent: has no file named *.ogg or *.mp3",
        "unknown: is not on the server (404 Not Found)",
        "A: x.ogg is not on the server (404 Not Found)",
    ]
    assert (tmp_path / "B" / "x.ogg").read_bytes() == TWO
    assert not (tmp_path / "A" / "x.ogg").exists()


def test_a_file_that_is_not_for_everyone_is_listed(server, tmp_path):
    server.fail(A, 403)
    assert fetch(server, tmp_path) == ["A: x.ogg is not public (403 Forbidden)"]
    assert refusal(server, tmp_path, ["A"]).endswith(
        "none of the items: 1\n  A: x.ogg is not public (403 Forbidden)"
    )


K = download._CHUNK


@pytest.mark.parametrize(
    "faults, requested",
    [
        ([("/metadata/A", 503, 0, 4)], [None]),
        ([(A, 503, 0, 4)], [None] * 5),
        ([(A, "moved", 0, 1), (A, 503, 0, 4)], [None] * 6),  # to the host of the item
        ([("/metadata/A", "cut", 10, 1)], [None]),
        ([(A, "cut", K, 5)], [None] + [f"bytes={i * K}-" for i in range(1, 6)]),  # each brings something
        ([(A, "cut", K, 1), (A, "whole", 0, 1)], [None, f"bytes={K}-"]),  # the range is ignored
        ([(A, "wrong", 0, 1)], [None, None]),
    ],
)
def test_a_fault_that_passes_is_overcome(server, tmp_path, faults, requested):
    for fault in faults:
        server.fail(*fault)
    assert fetch(server, tmp_path) == []
    assert files(tmp_path) == {"A/x.ogg": ONE, "B/x.ogg": TWO}
    assert ranges(server, A) == requested


@pytest.mark.parametrize("n", [0, download._CHUNK])
def test_a_connection_that_keeps_breaking_is_reported_and_the_next_run_resumes(server, tmp_path, n):
    server.fail(A, "cut", n=n, times=1)
    server.fail(A, "cut", n=0)
    assert refusal(server, tmp_path) == f"Item A, file x.ogg: the connection keeps breaking; {AGAIN}"
    assert files(tmp_path) == {"A/.x.ogg.part": ONE[:n], "B/x.ogg": TWO}
    server.repair()
    assert fetch(server, tmp_path) == []
    assert files(tmp_path) == {"A/x.ogg": ONE, "B/x.ogg": TWO}
    assert ranges(server, A) == [f"bytes={n}-" if n else None]
    assert ranges(server, B) == []


def first_file(**changes):
    """Change the entry of A's file in the list of its files."""

    def change(server):
        server.metadata["A"]["files"][0].update(changes)

    return change


def metadata(content):
    return lambda server: server.metadata.update(A=content)


NO_LIST = "Item A: the server does not send the list of its files"
NO_CHECKSUM = "Item A: it lists no size or no checksum of x.ogg"
WRONG = "Item A, file x.ogg: its checksum differs from the one that its item lists, twice"
FAULTS = [
    (lambda server: server.fail(A, "wrong"), WRONG),
    (first_file(size="99000"), WRONG),
    (first_file(size="101000"), WRONG),
    (lambda s: s.fail(A, "page"), "Item A, file x.ogg: the server sends a web page instead of the recording"),
    (
        lambda server: server.fail("/metadata/A", "page"),
        "Item A: the server sends a web page instead of the list of its files",
    ),
    *(
        (first_file(name=name), f"Item A: it has a file named {name!r}, which is not safe, so it is left out")
        for name in ("../B/x.ogg", "/tmp/x.ogg", "a/../../x.ogg", "..\\x.ogg", "a\0.ogg", "a//x.ogg")
    ),
    *((metadata(content), NO_LIST) for content in ([], [1], "text", {"files": 3}, {"files": [{"name": 3}]})),
    (metadata({"files": [{"name": "x.ogg", "size": "big"}]}), NO_LIST),
    (metadata({"error": "item is being moved"}), "Item A: the server answers item is being moved"),
    (lambda server: server.metadata["A"]["files"][0].pop("md5"), NO_CHECKSUM),
    (lambda server: server.metadata["A"]["files"][0].pop("size"), NO_CHECKSUM),
]


@pytest.mark.parametrize("fault, message", FAULTS)
def test_a_fault_that_stays_is_reported_after_all_others_came(server, tmp_path, fault, message):
    fault(server)
    sentence = refusal(server, tmp_path / "out")
    assert sentence.startswith(message) and sentence.endswith(AGAIN)
    whole = {path: content for path, content in files(tmp_path).items() if not path.endswith(".part")}
    assert whole == {"out/B/x.ogg": TWO}
    assert len(ranges(server, A)) <= 4


def test_a_web_page_does_not_spoil_what_is_there(server, tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / ".x.ogg.part").write_bytes(ONE[:5000])
    server.fail(A, "page", times=1)
    refusal(server, tmp_path, ["A"])
    assert files(tmp_path) == {"A/.x.ogg.part": ONE[:5000]}


def test_all_failures_are_counted(server, tmp_path):
    server.fail("/metadata/C", 503)
    server.fail(A, 500)
    assert refusal(server, tmp_path, ["C", "A", "B"]) == (
        f"Item C: the server answers 503 Service Unavailable (and 1 more that failed); {AGAIN}"
    )
    assert files(tmp_path)["B/x.ogg"] == TWO


def test_a_server_that_cannot_be_reached_is_reported_at_once(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DataError) as caught:
            download.download(["A", "B"], tmp_path, server=url, progress=False)
    assert str(caught.value).startswith(f"{url}: no connection (")
    assert "Connection refused" in str(caught.value)
    assert str(caught.value).endswith(f"check the connection and {AGAIN}")


@pytest.mark.parametrize("address", ["archive.org", "ftp://archive.org", "https://"])
def test_an_invalid_address_is_reported(tmp_path, address):
    with pytest.raises(DataError, match="not the address of a server"):
        download.download(["A"], tmp_path, server=address, progress=False)


def test_an_identifier_never_leaves_the_folder(server, tmp_path):
    server.metadata["../A"] = server.metadata["A"]
    assert "Item ../A: this is not the name of an item" in refusal(server, tmp_path / "out", ["../A"])
    assert files(tmp_path) == {}


def test_a_full_disk_is_reported(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No disk space left while writing .*/A/x.ogg"):
        fetch(server, tmp_path)
    assert files(tmp_path) == {"A/.x.ogg.part": ONE}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_while_the_file_arrives_is_reported(server, tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / ".x.ogg.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No disk space left while writing .*/A/x.ogg"):
        fetch(server, tmp_path)


def test_a_file_at_the_path_of_the_folder_is_reported(server, tmp_path):
    (tmp_path / "A").touch()
    with pytest.raises(OutputError, match=f"Could not write {tmp_path}/A/x.ogg"):
        fetch(server, tmp_path)


def test_the_missing_client_is_reported_with_the_remedy(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "internetarchive", None)
    sentence = refusal(server, tmp_path)
    assert "pip install 'samplernn-theano[datasets]'" in sentence and "--source" in sentence
    assert server.requests == []


def test_progress_counts_bytes_on_standard_error(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("samplernn_theano.utils.progress.LINE_SECONDS", 0)
    server.fail(A, "cut", n=download._CHUNK, times=1)
    server.fail(A, "whole", times=1)
    server.fail(B, "wrong", times=1)
    download.download(["A", "B"], tmp_path, server=server.url)
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.rstrip().splitlines()[-1]
    assert last.startswith("download B  100 %  0:00:00 left  200.0 kB of 200.0 kB")
    fetch(server, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_process_that_is_stopped_midway_is_continued(server, tmp_path, how):
    server.fail(A, "slow", n=1000, times=1)
    call = f"download('AB', {str(tmp_path)!r}, server={server.url!r})"
    code = f"from samplernn_theano.data import download; download.{call}"
    partial = tmp_path / "A" / ".x.ogg.part"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: partial.exists() and partial.stat().st_size)
        process.send_signal(how)
    assert process.returncode != 0
    there = partial.stat().st_size
    assert 0 < there < len(ONE)
    (tmp_path / ".lock").unlink(missing_ok=True)  # left behind, and not locked any more
    assert files(tmp_path) == {"A/.x.ogg.part": ONE[:there]}
    server.repair()
    assert fetch(server, tmp_path) == []
    assert ranges(server, A) == [f"bytes={there}-"]
    assert hashlib.md5((tmp_path / "A" / "x.ogg").read_bytes()).digest() == hashlib.md5(ONE).digest()
    assert sorted(files(tmp_path)) == ["A/x.ogg", "B/x.ogg"]


def test_two_processes_do_not_download_into_one_folder(tmp_path):
    with ArchiveServer({"A": {"x.ogg": b"sound"}}) as server, locked(tmp_path):
        with pytest.raises(OutputError, match="Another process works in"):
            download.download(["A"], tmp_path, server=server.url, progress=False)
        assert server.requests == []
