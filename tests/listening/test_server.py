"""The server of a listening test, by its sockets: whom it admits, what it stores, what it prints."""

import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import soundfile

from samplernn_theano.cli.main import main
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import analysis, links, page, server, store
from tests.listening.test_responses import PAGE, SOUNDS, TEST, make, result


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "test")


@contextmanager
def serving(folder, port=0, url="", host="127.0.0.1"):
    with server.make(folder, host, port, url) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running.server_port
        finally:
            running.shutdown()
            thread.join()
            print(running.describe())


def ask(port, method, path, body=None, host="127.0.0.1", **headers):
    with closing(http.client.HTTPConnection(host, port, timeout=20)) as connection:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def drawn(port, query=""):
    """The token of who opens the page."""
    status, headers, _ = ask(port, "GET", f"/{query}")
    assert status == 302 and headers["Location"].startswith("?")
    return parse_qs(headers["Location"][1:])["token"][0]


def post(port, said, kind="application/json", **headers):
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    status, _, answer = ask(port, "POST", "/results", body, Content_Type=kind, **headers)
    answer = json.loads(answer)
    assert answer["ok"] == (status == 200)
    return status, answer["message"]


def vote(port, *args, **more):
    """Open the page and post a result."""
    return post(port, result(*args, token=drawn(port), **more))


def stored(folder):
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        return database.execute("SELECT listener, votes, raw FROM results ORDER BY id").fetchall()


def names(folder):
    return [name for name, *_ in stored(folder)]


def test_the_server_shows_the_page_and_nothing_else(folder):
    with serving(folder) as port:
        for path in ("/", "/index.html", "/?listener=Ann", "/?token=forged", "/?token=65000000-0-0"):
            status, headers, body = ask(port, "GET", path)
            assert (status, body) == (302, b"") and headers["Cache-Control"] == "no-store"
            status, headers, body = ask(port, "GET", urlsplit(path).path + headers["Location"])
            assert (status, body.decode()) == (200, PAGE)
            assert headers["Content-Length"] == str(len(PAGE))
            assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert ask(port, "HEAD", f"/?token={drawn(port)}")[::2] == (200, b"")
        again = ask(port, "GET", "/?listener=%C3%89+%26&token=x")[1]["Location"]
        assert parse_qs(again[1:])["listener"] == ["É &"]
        assert drawn(port) != drawn(port)
        unknown = ("/key.json", "/test.json", "/results.sqlite", "/links.txt", "/sounds/0c0.wav", "/results")
        tricks = ("//key.json", "/./key.json", "/index.html/../key.json", "/%2e%2e/test/key.json")
        for path in (*unknown, *tricks):
            status, _, body = ask(port, "GET", path)
            assert (status, json.loads(body)["ok"]) == (404, False)
        assert ask(port, "POST", "/key.json", b"{}")[0] == 404
        assert ask(port, "PUT", "/results", b"{}")[0] == 501
        for start in (b"GET http://[ HTTP/1.0", b"GET //[ HTTP/1.0"):
            with closing(socket.create_connection(("127.0.0.1", port))) as client:
                client.sendall(start + b"\r\nHost: localhost\r\n\r\n")
                assert client.recv(2000).startswith(b"HTTP/1.0 404 ")


def test_two_listeners_of_one_name_are_both_kept(folder, capsys):
    with serving(folder) as port:
        ann = result("Ann\u00e9e", token=drawn(port))
        assert post(port, ann) == (200, "Your votes were accepted. Thank you!")
        for again in (ann, ann | {"token": drawn(port)}, dict(reversed(ann.items()))):
            assert post(port, again) == (200, "Your votes were accepted before. Thank you!")
        status, said = vote(port, "Ann\u00e9e", "bbb")
        assert status == 200 and "under the name Ann\u00e9e (2)" in said
        assert vote(port, "Bob")[0] == 200
    with serving(folder) as port:  # also after a new start
        assert post(port, ann) == (200, "Your votes were accepted before. Thank you!")
        assert "under the name Ann\u00e9e (3)" in vote(port, "Ann\u00e9e", "nnn")[1]
    assert names(folder) == ["Ann\u00e9e", "Ann\u00e9e (2)", "Bob", "Ann\u00e9e (3)"]
    assert json.loads(stored(folder)[0][2]) == ann
    out = capsys.readouterr().out
    assert "Ann\u00e9e (2): accepted, 2 listeners so far (because there are other votes of Ann" in out
    assert "The votes of 4 listeners are in " in out
    assert [listener.name for listener in analysis.read_all(folder, TEST, [])[0]] == names(folder)
    assert analysis.summary(folder)["votes"] == 12


FIRST, SECOND, THIRD = result("Ann")["votes"]
WRONG = {
    "format": ["x"],
    "test": ["0" * 16],
    "listener": ["", "a\nb", "a" * 101, 7, "half \ud83d"],
    "more": [1, "\udc00"],
    # without a time zone, with half a character between date and time
    "started": ["yesterday", "2026-11-23T08:00:00", "2026-11-23\ud80008:00:00Z", "\ud800", None],
    "finished": ["2025-11-23T07:00:00Z", [[]]],  # before the start
    "token": [7, None, "\udcff"],
    "votes": [[FIRST, SECOND], [FIRST] * 3, [FIRST] * 4, {"0": 1, "1": 2, "2": 3}],
}
WRONG_VOTES = {
    "pair": [0, 3, True],  # twice, beyond the last
    "a": ["nothing", [], "\ud800", *(sound for sound in SOUNDS if sound != SECOND["a"])],
    "vote": ["c", ["a"]],
    "seconds": [-1, float("nan"), "5", 10**400],
    "plays_a": [0.5, 10**400],
}
CHANGED = [{name: value} for name, values in WRONG.items() for value in values]
for changed, values in WRONG_VOTES.items():
    CHANGED += [{"votes": [FIRST, {**SECOND, changed: value}, THIRD]} for value in values]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Folder and port of a server for requests that are refused."""
    folder = make(tmp_path_factory.mktemp("running") / "test")
    with serving(folder) as port:
        yield folder, port


@pytest.mark.parametrize("change", [b"{", b"[1]", b"[" * 100_000, b'"\xff"', *CHANGED], ids=repr)
def test_what_is_no_result_of_this_test_is_refused(running, change, capfd):
    folder, port = running
    said = change if isinstance(change, bytes) else result("Ann", token=drawn(port)) | change
    status, message = post(port, said)
    assert status == 400 and message.endswith(".") and len(message) < 100
    assert names(folder) == []
    assert "Traceback" not in (err := capfd.readouterr().err) and "failed" not in err


def test_what_is_too_large_or_of_another_kind_is_refused(folder, capsys):
    with serving(folder) as port:
        said = result("large", token=drawn(port))
        assert post(port, said, "text/plain")[0] == 415  # what another site's page may send
        assert post(port, b" " * (2**20 + 1)) == (413, "This is too large to be the result of a listener.")
        assert post(port, b" " * 3 * 2**20)[0] == 413
        for length in ("x", "-1", "", "9" * 5000):
            assert ask(port, "POST", "/results", None, Content_Length=length)[0] == 411
        assert post(port, b" " * (2**20 - 2000) + json.dumps(said).encode())[0] == 200
    assert names(folder) == ["large"]
    said = capsys.readouterr()
    assert "2 requests refused: This is too large" in said.out and "4 requests refused: " in said.out
    assert said.err.count("samplernn: A request was refused: This is too large") == 1


@pytest.mark.parametrize(
    "token", ["", "x", "0123456789abcdef", "6553f100-00000000-0123456789abcdef", "é" * 16]
)
def test_invented_listeners_are_refused(folder, tmp_path, token, capsys):
    with serving(make(tmp_path / "other")) as port:
        foreign = drawn(port)
    with serving(folder) as port:
        head, _, signature = drawn(port).rpartition("-")
        later = f"{int(head.split('-')[0], 16) - 1:x}-{head.split('-')[1]}-{signature}"
        for forged in (token, foreign, later):
            status, message = post(port, result("Eve", token=forged))
            assert status == 403 and "open the link again" in message
        old = result("Eve")  # as of the page of earlier versions
        assert post(port, old)[0] == 403
    assert names(folder) == []
    out = capsys.readouterr().out
    assert "No votes have arrived.\n4 requests refused: The page was not opened by a link" in out


def test_only_those_with_a_link_are_admitted(folder, capsys):
    (folder / "links.txt").write_text("Ann: ?token=00aa\nhttp://old:1/?token=00bb&listener=Bob\n# spare\n")
    with serving(folder, url="https://lab.example.org/test/") as port:
        first, second, third = (folder / "links.txt").read_text().splitlines()
        assert (first, third) == ("Ann: https://lab.example.org/test/?token=00aa", "# spare")
        assert second == "https://lab.example.org/test/?token=00bb&listener=Bob"
        for path in ("/", "/?token=", "/?token=00ab", "/?listener=Ann"):
            status, _, body = ask(port, "GET", path)
            assert status == 403 and "invited" in json.loads(body)["message"]
        assert ask(port, "GET", "/?token=00aa")[::2] == (200, PAGE.encode())
        assert post(port, result("Ann", token="00aa"))[0] == 200
        assert post(port, result("Bob", token="00ab"))[0] == 403
        assert post(port, result("Ann", "bbb", token="00aa"))[0] == 200  # kept, and named in the analysis
    assert "Ann (2) voted with the link of Ann" in analysis.summary(folder)["checks"]
    for damaged in ("", "nothing\n"):
        (folder / "links.txt").write_text(damaged)
        with pytest.raises(DataError, match=r"no link in .*links\.txt"):
            server.make(folder, "127.0.0.1", 0)


KEPT = 'Ann,{}00aa\r\nBob\t{}00bb\n"Cat":{}00cc\nDan <{}00dd>\nEve={}00ee;f@x.org\n'
KEPT += "http://home/,{}00ff\nJ\xf6rg {}0a"


@pytest.mark.parametrize("before", ["", "http://old/", "https://OLD.example:8000/a/b/", "http://[::1]:9/"])
def test_what_stands_around_a_link_is_kept(folder, before):
    (folder / "links.txt").write_bytes(KEPT.replace("{}", f"{before}?token=").encode("latin-1"))
    for url in ("https://lab.example.org/test/", "http://lab/"):
        with server.make(folder, "127.0.0.1", 0, url) as made:
            expected = KEPT.replace("{}", f"{url}?token=").encode("latin-1")
            assert (folder / "links.txt").read_bytes() == expected
            assert len(made.tokens.invited) == 7


@pytest.mark.parametrize("host", ["lab.org", "lab.org:8000", "http://me:pw@lab.org", "me@lab.org", "[::1]:9"])
@pytest.mark.parametrize("path", ["/", "/a,b/c"])
@pytest.mark.parametrize("before", ["", "Ann,", "Ann: ", "Ann:", "Ann=", "("])
def test_an_address_in_a_link_is_replaced_however_it_was_typed(host, path, before):
    assert links.complete(f"{before}{host}{path}?token=0a", "http://h/") == f"{before}http://h/?token=0a"


def test_when_a_link_was_first_opened_is_noted(folder):
    (folder / "links.txt").write_text("?token=00aa\n?token=00bb\n?token=00cc\n")
    with serving(folder) as port:
        for token in ("00aa", "00bb"):
            assert ask(port, "GET", f"/?token={token}")[0] == 200
    with closing(sqlite3.connect(folder / "server.sqlite")) as database, database:
        database.execute("UPDATE openings SET opened = opened - 31 WHERE token = '00bb'")
    (folder / "results.sqlite").rename(folder / "pilot.sqlite")
    with serving(folder) as port:
        for name, token in {"Ann": "00aa", "Bob": "00bb", "Cat": "00cc"}.items():  # Cat opens none
            ask(port, "GET", f"/?token={token.replace('c', 'b')}")
            assert post(port, result(name, token=token))[0] == 200
    (folder / "server.sqlite").unlink()  # the votes are analysed elsewhere
    found = [one.split(" s after", 1) for one in analysis.summary(folder)["checks"]]
    assert [said.rsplit(" ", 1)[0] for said, _ in found] == ["Ann sent the votes", "Cat sent the votes"]
    assert all(rest == " opening the page, whose sounds last 30 s" for _, rest in found)


def test_a_link_whose_votes_could_not_be_stored_shows_no_page(folder):
    (folder / "links.txt").write_text("?token=00aa\n")
    with serving(folder) as port:
        (folder / "server.sqlite").write_bytes(b"no database" * 100)
        status, _, body = ask(port, "GET", "/?token=00aa")
        assert status == 500 and "server.sqlite is damaged" in json.loads(body)["message"]


def test_who_has_the_page_open_may_vote_when_new_results_are_begun(folder):
    with serving(folder) as port:
        token = drawn(port)
    (folder / "results.sqlite").unlink()
    with serving(folder) as port:
        assert post(port, result("Ann", token=token))[0] == 200


def test_nobody_else_on_this_machine_reads_what_is_secret(tmp_path):
    sounds = {name: tmp_path / name for name in ("a", "b")}
    for name, path in sounds.items():
        path.mkdir()
        tone = 0.5 * np.sin(np.arange(16000) * (0.1 if name == "a" else 0.2))
        soundfile.write(path / "tone.wav", tone, 16000)
    folder = page.make(sounds, tmp_path / "test", pairs=1, listeners=2).folder
    server.make(folder, "127.0.0.1", 0).server_close()
    secret = ("links.txt", "key.json", "results.sqlite", "server.sqlite")
    assert [oct((folder / name).stat().st_mode & 0o777) for name in secret] == ["0o600"] * 4


def test_make_invites_as_many_listeners_as_asked_for(tmp_path):
    text = links.new_links(30)
    assert len(links.invited(text)) == 30 == text.count("\n")
    assert links.invited(links.complete(text, "http://h/")) == links.invited(text)
    assert links.complete(text, "http://h/").splitlines()[0].startswith("http://h/?token=")


URL = "https://listen.example.org/x/"


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:{port}", None, 200),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}", 200),
        ("localhost:{port}", "http://localhost:{port}", 200),
        ("LocalHost", "http://localhost", 200),
        ("[::1]:{port}", "http://[::1]:{port}", 200),
        ("192.0.2.7", "http://192.0.2.7", 200),  # behind a router
        (socket.gethostname(), None, 200),
        ("listen.example.org", "https://listen.example.org", 200),
        ("127.0.0.1:{port}", "https://listen.example.org", 200),  # a proxy that says its own
        ("evil.example", None, 421),
        ("evil.example:{port}", "http://evil.example:{port}", 421),
        ("localhost.evil.example", None, 421),
        ("127.0.0.1.evil.example", None, 421),
        ("127.0.0.1@evil.example", None, 421),
        ("", None, 421),
        ("[", None, 421),
        ("[::1", None, 421),
        ("a b", None, 421),
        ("127.0.0.1:{port}", "http://evil.example", 403),
        ("127.0.0.1:{port}", "http://127.0.0.1:1", 403),
        ("127.0.0.1:{port}", "null", 403),
        ("127.0.0.1:{port}", "", 403),
        ("127.0.0.1:{port}", "http://[", 403),
        ("127.0.0.1:{port}", "http://listen.example.org.evil.example", 403),
    ],
)
def test_other_sites_reach_nothing(folder, host, origin, status):
    with serving(folder, url=URL) as port:
        headers = {"Host": host, "Origin": origin}
        headers = {name: value.format(port=port) for name, value in headers.items() if value is not None}
        token = drawn(port)
        assert ask(port, "GET", f"/?token={token}", **headers)[0] == status
        assert post(port, result(token=token), **headers)[0] == status
    assert names(folder) == ["x"] * (status == 200)


def test_many_at_once_lose_nothing(folder):
    with serving(folder) as port, ThreadPoolExecutor(16) as pool:
        same = result("the same", token=drawn(port))
        one = list(pool.map(lambda i: vote(port, f"listener {i}"), range(24)))
        two = list(pool.map(lambda _: post(port, same), range(8)))
        three = list(pool.map(lambda i: vote(port, "Ann", seconds=10 + i), range(8)))
    assert {status for status, _ in one + two + three} == {200}
    assert sorted("before" in said for _, said in two) == [False] + [True] * 7
    ann = ["Ann", *(f"Ann ({i})" for i in range(2, 9))]
    assert sorted(names(folder)) == sorted([*(f"listener {i}" for i in range(24)), "the same", *ann])


def test_a_full_disk_loses_nothing_that_was_accepted(folder, monkeypatch, capsys):
    ordinary = store._open

    def full(path):
        database = ordinary(path)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        return database

    with serving(folder) as port:
        monkeypatch.setattr(store, "_open", full)
        answers = [vote(port, f"{i:0100}") for i in range(9)]  # a page takes a few
        status, message = answers[-1]
        assert status == 500 and "disk is full" in message and "keep the file" in message
        monkeypatch.setattr(store, "_open", ordinary)
        assert vote(port, "after")[0] == 200
    assert len(stored(folder)) == 1 + sum(status == 200 for status, _ in answers)
    assert "The disk is full" in capsys.readouterr().err


def test_a_damaged_store_is_named(folder, monkeypatch, capsys):
    with serving(folder) as port:
        for path in folder.glob("results.sqlite*"):
            path.write_bytes(b"no database at all, but long enough to be one" * 100)
        status, message = vote(port)
        assert status == 500 and "damaged" in message
        said = capsys.readouterr()
        assert "The votes could not be stored: " in said.err

        def full(*_):
            raise OutputError("It is full.")

        with monkeypatch.context() as patch:
            patch.setattr(store, "first_opening", full)
            assert ask(port, "GET", f"/?token={drawn(port)}")[0] == 500
        assert (
            capsys.readouterr().err == "samplernn: The opening of the page could not be stored: It is full.\n"
        )
    assert "results.sqlite cannot be read: The file results.sqlite is damaged" in capsys.readouterr().out
    with pytest.raises(OutputError, match=r"results\.sqlite: .*damaged; move it away"):
        server.make(folder, "127.0.0.1", 0)
    assert "cannot be read" in analysis.summary(folder)["problems"][0]


def test_what_prevents_the_start_is_named(folder, tmp_path):
    with server.make(folder, "127.0.0.1", 0) as first:
        with pytest.raises(OutputError, match=rf"port {first.server_port}: .* in use.*--port"):
            server.make(folder, "127.0.0.1", first.server_port)
    for host in ("192.0.2.1", "x" * 70, "no.such.host.invalid", "2001:db8::1"):
        with pytest.raises(OutputError, match="--host"):
            server.make(folder, host, 0)
    with pytest.raises(DataError, match=r"no test\.json in .*listening-test make"):
        server.make(tmp_path, "127.0.0.1", 0)
    (folder / "results.sqlite").unlink()
    (folder / "results.sqlite").mkdir()
    with pytest.raises(OutputError, match="not writable"):
        server.make(folder, "127.0.0.1", 0)
    (folder / "index.html").unlink()
    with pytest.raises(DataError, match=r"index\.html"):
        server.make(folder, "127.0.0.1", 0)


def test_a_page_of_an_earlier_version_is_made_again(folder, capsys):
    old = json.loads((folder / "test.json").read_text()) | {"post": False}
    (folder / "test.json").write_text(json.dumps(old))
    (folder / "index.html").write_text('<p>"post": false')
    with serving(folder) as port:
        page = ask(port, "GET", f"/?token={drawn(port)}")[2].decode()
        assert all(f'id="sound-{sound}"' in page for sound in SOUNDS) and 'fetch("results"' in page
        assert vote(port)[0] == 200
    assert "index.html is of an earlier version" in capsys.readouterr().out
    (folder / "sounds" / "1c0.wav").unlink()
    with pytest.raises(DataError, match=r"1c0\.wav is missing"):
        server.make(folder, "127.0.0.1", 0)


HEAD = b"POST /results HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
STARTS = {"headers": HEAD, "content": HEAD + b"Content-Length: 500\r\n\r\n{"}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_slow_and_broken_clients_keep_nobody_waiting(folder, monkeypatch, capfd, start):
    monkeypatch.setattr(server.Handler, "timeout", 0.4)
    monkeypatch.setattr(server.Handler, "header_timeout", 0.8)
    monkeypatch.setattr(server.Handler, "body_timeout", 0.8)
    with serving(folder) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        slow[1].sendall(b"POST /res")
        slow[2].sendall(start)
        gone = socket.create_connection(("127.0.0.1", port))
        gone.sendall(start)
        gone.close()
        assert vote(port)[0] == 200
        for client in slow:
            client.settimeout(5)
            assert client.recv(2000) == b""  # given up
            client.close()
        began = time.monotonic()
        with closing(socket.create_connection(("127.0.0.1", port))) as dripping, pytest.raises(OSError):
            dripping.sendall(start)
            for _ in range(100):
                time.sleep(0.05)
                dripping.sendall(b" ")
        assert time.monotonic() - began < 3
    said = capfd.readouterr()
    assert "Traceback" not in said.err and "1 request refused: It took too long" in said.out


def test_the_number_of_connections_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(server.Server, "max_connections", 20)
    with serving(folder) as port:
        before = threading.active_count()
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        assert vote(port)[0] == 200  # the oldest gave way
        time.sleep(0.2)
        assert threading.active_count() - before <= 20
        for client in idle:
            client.close()


PROGRAM = "import sys, pathlib; from samplernn_theano.listening import server;"
PROGRAM += "server.serve(pathlib.Path(sys.argv[1]), sys.argv[2], 0)"


@contextmanager
def started(folder, host="127.0.0.1"):
    """A process that serves `folder`, and the address that it prints."""
    command = [sys.executable, "-c", PROGRAM, str(folder), host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            yield process, urlsplit(re.fullmatch(r"The listening test is at (http://\S+/) .*\n", said)[1])
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_on_a_signal_and_loses_nothing(folder, how):
    with started(folder) as (process, address):
        assert vote(address.port)[0] == 200
        assert process.stdout.readline() == "x: accepted, 1 listener so far\n"
        process.send_signal(how)
        said, errors = process.communicate(timeout=10)
    if how != signal.SIGKILL:
        assert (process.returncode, errors) == (0, "")
        assert said == f"The server has stopped.\nThe votes of 1 listener are in {folder}/results.sqlite\n"
        assert not list(folder.glob("results.sqlite-*"))
    assert names(folder) == ["x"]
    assert analysis.summary(folder)["listeners"] == 1


FORKS = """
import os, pathlib, sys
from samplernn_theano.listening import server
for _ in sys.stdin:
    if not (child := os.fork()):
        running = server.make(pathlib.Path(sys.argv[1]), "127.0.0.1", 0)
        print(os.getpid(), running.server_port, flush=True)
        sys.stdout = open(os.devnull, "w")  # half a line would be read as the next port
        running.serve_forever()
    os.waitpid(child, 0)
"""


def test_a_server_killed_while_it_saves_loses_no_accepted_vote(folder):
    accepted, points = [], 40
    command = [sys.executable, "-c", FORKS, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for point in range(points):
            print(file=process.stdin, flush=True)
            child, port = map(int, process.stdout.readline().split())
            token = drawn(port)
            threading.Timer(0.004 * point, os.kill, [child, signal.SIGKILL]).start()
            with suppress(OSError, http.client.HTTPException):
                while True:
                    said = result(f"{point} {len(accepted)}", token=token)
                    assert post(port, said)[0] == 200
                    accepted.append(said)
        process.stdin.close()
    kept = [json.loads(raw) for *_, raw in stored(folder)]
    assert accepted and len(kept) <= len(accepted) + points
    assert all(said in kept for said in accepted)
    found = analysis.summary(folder)
    assert (found["listeners"], found["problems"]) == (len(kept), [])


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "::1", "localhost", "127.0.0.1"])
def test_the_printed_address_can_be_opened(folder, host):
    with closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            if ":" in host:
                pytest.skip("this machine has no IPv6")
    with started(folder, host) as (_, address):
        assert address.hostname not in ("0.0.0.0", "::", "")
        status, headers, _ = ask(
            address.port, "GET", "/", host=address.hostname, Origin=f"http://{address.netloc}"
        )
        assert status == 302
        if host in ("0.0.0.0", "", "::"):
            assert ask(address.port, "GET", headers["Location"].replace("?", "/?"))[0] == 200


@pytest.mark.parametrize(
    "host", ["0", "0.0", "000.000.000.000", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "::FFFF:0:0"]
)
def test_an_unspecified_address_is_none_for_a_browser(folder, host):
    try:
        made = server.make(folder, host, 0)
    except OutputError:
        pytest.skip("this machine has no IPv6")
    with made:
        address = ipaddress.ip_address(urlsplit(made.url).hostname)
        assert not address.is_unspecified and not getattr(address, "ipv4_mapped", None)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://m\xfcller.de/", "xn--mller-kva.de"),
        ("http://M\xdcLLER.de:8000/x/", "xn--mller-kva.de:8000"),
        ("https://xn--mller-kva.de/", "XN--MLLER-KVA.de"),
        ("https://lab.\u4f8b\u3048.jp:443/", "lab.xn--r8jz45g.jp"),
        ("http://stra\xdfe.de:80/", "xn--strae-oqa.de"),
        ("http://lab.example./", "lab.example"),
    ],
)
def test_names_are_compared_as_browsers_send_them(folder, url, host):
    with serving(folder, url=url) as port:
        origin = f"{url.partition(':')[0]}://{host}"
        for own in (host, f"127.0.0.1:{port}"):  # a proxy may say its own
            token = parse_qs(ask(port, "GET", "/", host="127.0.0.1", Host=own)[1]["Location"][1:])["token"][0]
            assert post(port, result(token=token), Host=own, Origin=origin)[0] == 200
        assert ask(port, "GET", "/", Host=f"x{host}")[0] == 421


NO_ADDRESSES = "lab:8000 http://lab:port/ http://::1/ http://lab,other/ http://lab/<x> ftp://lab/ http://"


@pytest.mark.parametrize("url", [*NO_ADDRESSES.split(), "http://lab/?x", "http://u@lab/", "http://a b/"])
def test_an_address_that_no_browser_opens_is_refused(folder, capsys, url):
    with pytest.raises(SystemExit) as end:
        main(["listening-test", "serve", str(folder), "--url", url])
    assert end.value.code == 2 and "is not an address such as" in capsys.readouterr().err
