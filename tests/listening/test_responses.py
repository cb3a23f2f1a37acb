"""What happens to the votes of a listening test: collected by the server, exchanged, analysed."""

import csv
import json
import sqlite3
import time
import xml.etree.ElementTree as ET
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import pytest
import soundfile

from samplernn_theano.cli.main import main
from samplernn_theano.errors import DataError, OutputError, SampleRNNError
from samplernn_theano.listening import analysis, responses, store, waet

NAMES = {"s0": "3-tier", "s1": "2-tier", "s2": "RNN"}
SOUNDS = {f"{i}c{j}": f"s{i}" for i in range(3) for j in range(4)}
TEST = responses.Test("0123456789abcdef", "Music", 3, 5.0, SOUNDS)


PAGE = f"<p>the page of {responses.PAGE}"


def make(folder, title="Music"):
    """The folder of a test with three systems of four sounds, three pairs per listener."""
    (folder / "sounds").mkdir(parents=True)
    systems = {s: [x for x in SOUNDS if SOUNDS[x] == s] for s in NAMES}
    said = dict(format=responses.FORMAT, id=TEST.id, title=title, pairs=3, seconds=5.0)
    (folder / "test.json").write_text(json.dumps({**said, "systems": systems}))
    (folder / "key.json").write_text(json.dumps({"test": TEST.id, "systems": NAMES, "sounds": {}}))
    (folder / "index.html").write_text(PAGE)
    for sound in SOUNDS:
        soundfile.write(folder / "sounds" / f"{sound}.wav", np.zeros(160, np.int16), 16000)
    return folder


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "test")


def result(listener="x", votes="abn", seconds=12.5, **more):
    """A result as of the page; `votes` are on the pairs of the listener, or on given ones (A, B, vote)."""
    if isinstance(votes, str):
        votes = [(*pair, vote) for pair, vote in zip(TEST.pairs_of(listener), votes, strict=True)]
    others = {"seconds": seconds, "plays_a": 1, "plays_b": 2}
    votes = [
        {"pair": i, "a": a, "b": b, "vote": {"n": "none"}.get(v, v)} | others
        for i, (a, b, v) in enumerate(votes)
    ]
    times = {"started": "2025-11-23T08:00:00.123Z", "finished": "2025-11-23T08:05:00.456Z"}
    return {"format": responses.FORMAT, "test": TEST.id, "listener": listener, "votes": votes} | times | more


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs": float("inf")},
        {"pairs": "3"},
        {"seconds": float("nan")},
        {"title": 5},
        {"id": "\0"},
        {"id": "../x"},
        {"systems": {"s0": ["a/b"], "s1": ["c"]}},
        {"systems": {"s0": "ab", "s1": ["c"]}},
        {"systems": [1]},
    ],
    ids=repr,
)
def test_a_test_with_values_of_other_types_is_none(folder, wrong):
    path = folder / "test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(DataError, match="test.json is no listening test; make the test again"):
        responses.read_test(folder)


def test_projects_are_what_the_tool_demands(folder, tmp_path):
    out = tmp_path / "out"
    waet.export(folder, out)
    drawn = set()
    for path in (paths := sorted((out / "tests").iterdir())):
        root = ET.parse(path).getroot()
        setup, *pages = list(root)
        assert (root.tag, setup.tag, {page.tag for page in pages}) == ("waet", "setup", {"page"})
        assert [child.tag for child in setup] == ["exitText", "survey", "metric", "interface"]
        assert (setup.get("interface"), setup.get("randomiseOrder")) == ("AB", "true")
        for page in pages:
            assert [child.tag for child in page] == ["title", "interface"] + ["audioelement"] * 3
            # boxes with a label come first and count, from Z: the sounds are A and B
            said = ("true", "capital", "Z")
            assert (page.get("randomiseOrder"), page.get("label"), page.get("labelStart")) == said
            *sounds, neither = page.findall("audioelement")
            assert neither.get("label") == "Neither" and neither.get("minNumberPlays") is None
            assert {(e.get("loudness"), e.get("minNumberPlays")) for e in sounds} == {("-23", "1")}
            assert all((out / page.get("hostURL") / e.get("url")).is_file() for e in (*sounds, neither))
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(set(ids)) == len(ids)
        assert all(word[0].isalpha() and word.replace("-", "").isalnum() for word in ids)  # xs:ID
        heard = [e.get("url")[:-4] for e in root.iter("audioelement") if e.get("minNumberPlays")]
        kinds = [{SOUNDS[a], SOUNDS[b]} for a, b in zip(heard[::2], heard[1::2], strict=True)]
        assert len(set(heard)) == 6 and all(kinds.count({a, b}) == 1 for a, b in combinations(NAMES, 2))
        drawn.add(tuple(heard))
    assert len(paths) == 10 and len(drawn) > 1
    assert not any(name in path.read_text() for name in NAMES.values() for path in paths)
    assert not list(out.rglob("key.json"))
    with pytest.raises(OutputError, match="empty or new"):
        waet.export(folder, out)
    (folder / "sounds" / "0c0.wav").unlink()
    with pytest.raises(DataError, match=r"0c0\.wav"):
        waet.export(folder, tmp_path / "other")


def saved(pages, key="k1", state="complete"):
    """What version 1.2.3 of the tool saves, in short; a page is (A, B, box chosen)."""
    root = ET.Element("waetresult", key=key, state=state)
    ET.SubElement(root, "waet", url="http://localhost:8000/tests/x.xml")
    for i, (a, b, chosen) in enumerate(pages):
        name = f"t{TEST.id}-{i}"
        page = ET.SubElement(root, "page", ref=name, presentedId=str(i), state="complete")
        metric = ET.SubElement(page, "metric")
        ET.SubElement(metric, "metricresult", id="testTime").text = "12.25"
        for sound, label in (("none", "Neither"), (b, "B"), (a, "A")):
            element = ET.SubElement(page, "audioelement", ref=f"{name}-{sound}", presentedId=label)
            inner = ET.SubElement(element, "metric")
            heard = ET.SubElement(inner, "metricresult", name="elementListenTracker")
            for _ in range({"Neither": 0, "A": 1, "B": 2}[label]):
                ET.SubElement(heard, "event")
            ET.SubElement(element, "value").text = str(int(chosen == label))
    return ET.tostring(root)


PAGES = [("0c0", "1c0", "A"), ("1c1", "2c1", "B"), ("2c2", "0c2", "Neither")]


def test_saved_results_of_the_tool_are_read(tmp_path):
    path = tmp_path / "save-k1.xml"
    path.write_bytes(saved(PAGES))
    votes = [(a, b, {"A": "a", "B": "b"}.get(box, "none")) for a, b, box in PAGES]
    expected, _ = responses.parse(json.dumps(result("k1", votes, seconds=12.25)).encode(), TEST)
    assert waet.read_saved(path, TEST) == replace(expected, remarks=())
    path.write_bytes(saved([*PAGES[:2], ("2c2", "0c2", "")]))
    read = waet.read_saved(path, TEST)
    assert (len(read.votes), read.unanswered) == (2, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (saved(PAGES)[:-20], "not XML"),
        (b"<waet/>", "not a result"),
        (saved(PAGES, state="update"), "did not finish"),
        (saved([]), "did not finish"),
        (saved(PAGES).replace(TEST.id.encode(), b"another"), "another test"),
        (saved([("0c0", "unknown", "A")]), "another test"),
        (saved([("0c0", "0c1", "A")]), "another test"),
        (saved([*PAGES[:2], ("", "", "A")]), "another test"),
        (saved(PAGES).replace(b"-2", b"-1"), "not a result"),  # a page twice
        (saved(PAGES).replace(b"<value>0</value>", b"<value>1</value>"), "choice .* is damaged"),
        (saved(PAGES).replace(b"<value>0</value>", b""), "choice .* is damaged"),
    ],
)
def test_other_files_are_no_saved_results(tmp_path, content, said):
    path = tmp_path / "save.xml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        waet.read_saved(path, TEST)


def put(folder, said, name=""):
    path = folder / "results" / f"{name or said['listener']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(said))
    return path


def test_counts_by_hand(folder, tmp_path, capsys):
    # 3-tier (s0) beats 2-tier, RNN beats 2-tier, RNN and 3-tier are even
    put(folder, result("Ann", [("0c0", "1c0", "a"), ("1c1", "2c1", "b"), ("2c2", "0c2", "none")]))
    # the same opinions, presented the other way round
    put(folder, result("Bob", [("1c3", "0c3", "b"), ("2c1", "1c0", "a"), ("0c2", "2c2", "none")]))
    put(folder, result("Cat", [("0c0", "1c0", "b"), ("0c1", "1c1", "a"), ("2c2", "0c2", "b")]))
    assert analysis.run(folder, [], tmp_path / "bars.png", tmp_path / "pairs.csv") == 0
    said = capsys.readouterr().out
    assert said.startswith("Music: 3 listeners, 9 votes\n")
    assert "3-tier  2-tier      4  3: 75 % [" in said
    found = analysis.summary(folder)
    assert found["systems"] == ["3-tier", "RNN", "2-tier"]
    counts = [(p["a"], p["b"], p["a_votes"], p["none"], p["b_votes"]) for p in found["pairs"]]
    assert counts == [("3-tier", "RNN", 1, 2, 0), ("3-tier", "2-tier", 3, 0, 1), ("RNN", "2-tier", 2, 0, 0)]
    units = [(p["listeners"], p["sounds_a"], p["sounds_b"]) for p in found["pairs"]]
    assert units == [(3, 1, 1), (3, 3, 3), (2, 1, 2)]
    assert [p["preference"]["value"] for p in found["pairs"]] == pytest.approx([2 / 3, 3 / 4, 1])
    # with one sound nothing is known of others, and three unanimous votes have 0.25
    assert found["pairs"][0]["p_value"] == found["pairs"][2]["p_value"] == 1
    assert 0.25 < found["pairs"][1]["p_value"] < 1
    assert [p["p_holm"] for p in found["pairs"]] == pytest.approx([1, 1, 1])
    shares = [found["pairs"][0][name]["value"] for name in ("share_a", "share_none", "share_b")]
    assert shares == pytest.approx([1 / 3, 2 / 3, 0])
    assert [e["score"]["value"] for e in found["ranking"]] == pytest.approx([17 / 24, 2 / 3, 1 / 8])
    assert all(e["score"]["low"] <= e["score"]["value"] <= e["score"]["high"] for e in found["ranking"])
    assert analysis.summary(folder) == found  # the intervals are the same each time
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    row = list(csv.DictReader((tmp_path / "pairs.csv").open()))[1]
    assert (row["a"], row["b"], row["votes"], row["share_a"]) == ("3-tier", "2-tier", "4", "0.75")
    assert float(row["share_a_low"]) < float(row["share_a"]) < float(row["share_a_high"])
    names = ("preference", "p_over_listeners_and_sounds", "p_over_listeners_and_sounds_holm")
    pair = found["pairs"][1]
    assert [float(row[n]) for n in names] == [0.75, pair["p_value"], pair["p_holm"]]


def test_a_system_without_votes_is_the_last(folder):
    put(folder, result("Ann", [("2c0", "1c0", "a"), ("1c1", "2c1", "b"), ("2c2", "1c2", "b")]))
    found = analysis.summary(folder)
    assert found["systems"] == ["RNN", "2-tier", "3-tier"]
    *scores, none = (entry["score"]["value"] for entry in found["ranking"])
    assert scores == pytest.approx([2 / 3, 1 / 3]) and none is None
    assert [pair["p_value"] is None for pair in found["pairs"]] == [False, True, True]
    assert "  3-tier  -\n" in analysis.describe(found)


def test_results_count_once_and_other_files_are_named(folder, tmp_path, capsys):
    put(folder, result("Ann"), "1")
    again = put(folder, result("Ann"), "again")
    put(folder, result("Ann", "bbb"), "other")
    foreign = put(folder, {**result("Bob"), "test": "0" * 16}, "foreign")
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{")
    tool = tmp_path / "save-k1.xml"
    tool.write_bytes(saved(PAGES))
    code = analysis.run(folder, [again, damaged, tool, tmp_path / "missing.json", tmp_path], None, None)
    said = capsys.readouterr()
    assert code == 2
    assert "3 listeners, 9 votes (2 duplicate results" in said.out
    assert "  Ann (2) may be Ann, with other votes\n" in said.out
    for path in (foreign, damaged, tmp_path / "missing.json", tmp_path):
        assert f"samplernn: {path} is left out: " in said.err
    assert len(said.err.splitlines()) == 4


COLUMNS = "test, listener, received, started, finished, votes, raw"


def test_results_stored_by_earlier_versions_are_read(folder):
    store.create(folder / store.STORE)
    others = result("Eve") | {"test": "f" * 16}
    with closing(sqlite3.connect(folder / store.STORE)) as database, database:
        database.execute("DROP TABLE openings")
        for said in (result("Ann"), result("Bob"), others):
            row = (said["test"], said["listener"], "", said["started"], said["finished"], 3, json.dumps(said))
            database.execute(f"INSERT INTO results ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    found = analysis.summary(folder)
    assert (found["listeners"], found["votes"], found["checks"]) == (2, 6, [])
    assert (
        len(found["problems"]) == 1
        and "row 3, is left out: This is the result of another test" in found["problems"][0]
    )
    assert store.add(folder / store.STORE, TEST, result("Bob") | {"token": "x"}) == ("Bob", True, 2)
    assert store.add(folder / store.STORE, TEST, result("Eve") | {"token": "x"}) == ("Eve", False, 3)
    assert store.add(folder / store.STORE, TEST, result("Ann", "bbb")) == ("Ann (2)", False, 4)


NOW = int(time.time())
UNUSUAL = {
    "voted on 3 of 3 pairs within the 10 s of both sounds": {"seconds": 5.0},
    "voted on 3 of 3 pairs without playing both sounds": {"plays_b": 0},
    "voted on pairs that are not theirs": {"votes": [("0c0", "1c0", "a")] * 3},
    "finished in 20 s a test whose pairs took 38 s": {"finished": "2025-11-23T08:00:20.123Z"},
    "finished in 28 s a test whose sounds last 30 s": {
        "seconds": 9.6,
        "finished": "2025-11-23T08:00:28.123Z",
    },
    "finished at 2099-11-23T08:10:00Z, after the votes arrived": {
        "started": "2099-11-23T08:00:00Z",
        "finished": "2099-11-23T08:10:00Z",
    },
    "sent the votes 9 s after opening the page, whose sounds last 30 s": {"token": f"{NOW - 9:x}-0-0"},
    "": {"token": f"{NOW - 31:x}-0-0"},
}


@pytest.mark.parametrize(("said", "change"), UNUSUAL.items())
def test_listeners_with_unusual_votes_are_flagged_and_can_be_left_out(folder, capsys, said, change):
    names = ("votes", "seconds", "token", "started", "finished")
    own = {name: change[name] for name in names if name in change}
    eve = result("Eve", **own)
    for one in eve["votes"]:
        one |= {name: value for name, value in change.items() if name in one and name != "votes"}
    store.create(folder / store.STORE)
    store.add(folder / store.STORE, TEST, eve)
    with closing(sqlite3.connect(folder / store.STORE)) as database, database:
        received = datetime.fromtimestamp(NOW, UTC).isoformat(timespec="seconds")
        database.execute("UPDATE results SET received = ?", (received,))
    if said:
        with pytest.raises(DataError, match="listener has unusual votes"):
            analysis.run(folder, [], None, None, exclude_flagged=True)
    put(folder, result("Ann"))
    found = analysis.summary(folder)
    assert found["checks"] == ([f"Eve {said}"] if said else [])
    assert (found["listeners"], found["votes"], found["excluded"]) == (2, 6, 0)
    assert main(["listening-test", "analyse", str(folder), "--exclude", "flagged"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Music: 1 listener, 3 votes\n" if said else "Music: 2 listeners, 6 votes\n")
    assert (f"Unusual votes (1 listener left out):\n  Eve {said}\n" in out) == bool(said)


def test_without_votes_there_is_a_sentence(tmp_path):
    folder = make(tmp_path / "test", title="What costs $5 or x_1$ & <b>?")
    key = {"test": TEST.id, "systems": {**NAMES, "s0": "3-tier $x_{$ \udcff"}}
    (folder / "key.json").write_text(json.dumps(key))
    with pytest.raises(DataError, match="There are no votes"):
        analysis.run(folder, [], None, None)
    found = analysis.summary(folder)
    assert found["votes"] == 0 and found["pairs"][0]["share_a"]["value"] is None
    analysis.draw(tmp_path / "empty.svg", found)
    drawn = (tmp_path / "empty.svg").read_text()
    assert "no votes" in drawn and "What costs $5 or x_1$ &amp; &lt;b" in drawn
    assert r"3-tier $x_{$ \udcff" in drawn
    assert not (folder / "results.sqlite").exists()
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("listeners", "sounds", "said"),
    [
        (1, 20, "only 1 listener p cannot be below 1, nor p (Holm) below 1,"),
        (5, 20, "only 5 listeners p cannot be below 0.062, nor p (Holm) below 0.19,"),
        (20, 6, "only 6 sounds of a system p cannot be below 0.031, nor p (Holm) below 0.094,"),
        (7, 7, ""),
    ],
)
def test_too_few_listeners_or_sounds_get_a_note(folder, capsys, listeners, sounds, said):
    systems = {s: [f"{s}x{i}" for i in range(sounds)] for s in NAMES}
    path = folder / "test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"systems": systems, "pairs": 3 * sounds}))
    kinds = list(combinations(NAMES, 2))
    for name in range(listeners):  # of one mind, on all sounds
        votes = [(f"{a}x{i}", f"{b}x{(i + name) % sounds}", "a") for a, b in kinds for i in range(sounds)]
        put(folder, result(str(name), votes))
    assert analysis.run(folder, [], folder / "bars.svg", None) == 0
    out = capsys.readouterr().out
    assert ("significant" in out) == bool(said) and said in out
    assert "p are over listeners and sounds" in out
    assert "over listeners and sounds" in (folder / "bars.svg").read_text()
    found = analysis.summary(folder)
    if not said:  # three pairs of systems
        assert [p["p_holm"] for p in found["pairs"]] == pytest.approx([3 / 64] * 3)
    assert found["ranking"][0]["score"]["value"] == 1
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("votes", "seconds", "plays", "unanswered", "said"),
    [
        ("aaaaa", 10.0, 1, 0, []),  # too few to tell
        (["a"] * 6 + ["none"], 10.0, 1, 0, ["Ann always preferred A (6 votes)"]),
        (["none"] * 6, 10.0, 1, 0, ["Ann never had a preference (6 votes)"]),
        ("ab", 9.4, 1, 0, ["Ann voted on 2 of 2 pairs within the 10 s of both sounds"]),
        ("ab", 10.0, 0, 0, ["Ann voted on 2 of 2 pairs without playing both sounds"]),
        ("ab", 10.0, 1, 1, ["Ann left 1 of 3 pairs without a vote"]),
    ],
)
def test_odd_listeners_are_shown(votes, seconds, plays, unanswered, said):
    given = tuple(responses.Vote("0c0", "1c0", vote, seconds, plays, 1) for vote in votes)
    assert analysis.check_listener(responses.Listener("Ann", given, unanswered), TEST) == said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.json", "{}"),
        ("test.json", "no JSON"),
        ("key.json", "[]"),
        ("key.json", '{"test": "of another", "systems": {}}'),
        ("key.json", '{"test": "0123456789abcdef", "systems": {"s0": "x"}}'),
    ],
)
def test_a_damaged_test_is_named(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(SampleRNNError, match=name):
        analysis.summary(folder)
