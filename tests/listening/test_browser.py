"""The page of a listening test in a real browser: heard, voted on, reloaded, exported, posted."""

import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.listening import analysis, page, responses, store
from samplernn_theano.listening.pairs import draw as pairs_of
from tests.listening.test_server import serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is installed")

PITCHES = {"low": 200, "middle": 600, "high": 1800}
TITLE = 'Which <b>sounds</b> better & why? </script> "$test"'


def make(folder: Path, pairs: int) -> Path:
    """A test of three systems, each with two tones of 0.4 s around its pitch."""
    rng = np.random.default_rng(0)
    for name, pitch in PITCHES.items():
        (folder / name).mkdir(parents=True)
        for i in range(2):
            phase = 2 * np.pi * (pitch + 10 * i) * np.arange(6400) / 16000
            tone = rng.uniform(0.05, 0.9) * np.sin(phase)
            soundfile.write(folder / name / f"{name}_{i}.wav", tone, 16000)
    systems = {name: folder / name for name in PITCHES}
    return page.make(systems, folder / "test", title=TITLE, pairs=pairs).folder


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def test(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("listening"), pairs=3)


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("short"), pairs=1)


@pytest.fixture
def view(browser):
    """A browser without a past; an error in the page fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, accept_downloads=True)
    context.set_default_timeout(5000)
    errors = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield context.new_page()
    context.close()
    asked = ("Failed to load resource", "Access to fetch at 'file:")  # requests that are meant to fail
    assert [error for error in errors if not error.startswith(asked)] == []


def hear(view, by_key: bool = False) -> None:
    for side, key in (("a", "1"), ("b", "B")):
        if by_key:
            view.keyboard.press(key)
        else:
            view.click(f"#play-{side}")
        view.wait_for_selector(f"#heard-{side}:has-text('heard')")


def vote(view, choice: str) -> None:
    """Hear both sounds, choose and go on, by the mouse."""
    hear(view)
    view.check(f"input[value={choice}]")
    view.click("#next")


def exported(view) -> dict:
    with view.expect_download() as download:
        view.click("#download")
    assert download.value.suggested_filename.startswith("listening-")
    return json.loads(Path(download.value.path()).read_text())


NO_SIDEWAYS_SCROLL = "document.documentElement.scrollWidth <= innerWidth"


def test_a_listener_goes_through_the_test(view, test):
    view.goto((test / "index.html").as_uri())
    assert view.title() == TITLE and view.inner_text("h1") == TITLE
    assert "3 pairs" in view.inner_text("#intro") and view.is_visible("#kept")
    assert view.evaluate(NO_SIDEWAYS_SCROLL)
    view.click("#start")
    assert view.inner_text("#number") == "Pair 1 of 3"
    assert view.evaluate(NO_SIDEWAYS_SCROLL)

    # no vote before both were heard, neither by a key
    view.keyboard.press("ArrowLeft")
    view.keyboard.press("Enter")
    assert view.is_disabled("#next") and view.is_disabled("input[value=a]")
    view.click("#play-a")
    view.wait_for_selector("#heard-a:has-text('heard')")
    assert view.is_disabled("input[value=a]") and view.inner_text("#status") == "Listen to B to the end."
    view.click("#play-b")
    view.click("#play-a")  # B is left before its end: not heard, and only A plays
    assert view.inner_text("#heard-a") == "playing" and view.inner_text("#heard-b") == ""
    view.wait_for_selector("#heard-a:has-text('heard')")
    assert view.is_disabled("input[value=a]")
    view.click("#play-b")
    view.wait_for_selector("#heard-b:has-text('heard')")
    assert view.is_disabled("#next")  # nothing is chosen yet
    view.check("input[value=a]")
    view.check("input[value=none]")  # a change of mind
    view.click("#next")
    assert view.inner_text("#number") == "Pair 2 of 3"
    assert not view.is_checked("input[value=none]")

    hear(view, by_key=True)  # by the keyboard alone
    for key, value in (("ArrowRight", "b"), ("ArrowDown", "none"), ("ArrowLeft", "a")):
        view.keyboard.press(key)
        assert view.is_checked(f"input[value={value}]")
    view.keyboard.press("Enter")
    assert view.inner_text("#number") == "Pair 3 of 3"

    view.reload()  # in the middle
    assert view.inner_text("#number") == "Pair 3 of 3" and view.is_hidden("#intro")
    vote(view, "b")
    assert "Thank you" in view.inner_text("#end") and view.evaluate(NO_SIDEWAYS_SCROLL)

    result = exported(view)
    view.reload()
    assert exported(view) == result
    assert json.loads(view.input_value("#text")) == result
    described, key = (json.loads((test / name).read_text()) for name in ("test.json", "key.json"))
    assert result["format"] == "samplernn listening test 1" and result["test"] == described["id"]
    assert result["started"] < result["finished"]
    votes = result["votes"]
    assert [v["vote"] for v in votes] == ["none", "a", "b"]
    assert [v["pair"] for v in votes] == [0, 1, 2]
    assert (votes[0]["plays_a"], votes[0]["plays_b"]) == (2, 2)
    assert all(v["seconds"] > 0.8 for v in votes)  # the length of two sounds
    heard = [v[side] for v in votes for side in "ab"]
    assert len(set(heard)) == 6  # of 6 sounds none was heard twice
    name = {sound: key["systems"][entry["system"]] for sound, entry in key["sounds"].items()}
    compared = Counter(frozenset((name[v["a"]], name[v["b"]])) for v in votes)
    assert sorted(compared.values()) == [1, 1, 1] and all(len(pair) == 2 for pair in compared)


KEEPS_NOTHING = """
Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } });
window.blobs = {};
const real = URL.createObjectURL;
URL.createObjectURL = (blob) => { const url = real(blob); window.blobs[url] = blob; return url; };
"""

PLAYED = """async () => Array.from(new Uint8Array(
    await window.blobs[document.getElementById("player").src].arrayBuffer()))"""


def test_without_storage_and_server_the_sounds_and_votes_are_right(view, short):
    view.add_init_script(KEEPS_NOTHING)
    view.goto((short / "index.html").as_uri() + "?listener=%20Ann%20%3Cb%3E%0A")
    assert view.is_visible("#not-kept") and view.is_hidden("#kept")
    view.click("#start")
    played = []
    hear(view)
    for side in "ab":
        view.click(f"#play-{side}")
        samples, _ = soundfile.read(io.BytesIO(bytes(view.evaluate(PLAYED))), dtype="int16")
        played.append(samples)
    view.check("input[value=none]")
    view.click("#next")
    assert "send the file" in view.inner_text("#by-file") and view.is_hidden("#retry")
    result = exported(view)
    assert result["listener"] == "Ann <b>" and [v["vote"] for v in result["votes"]] == ["none"]
    sounds = [v[side] for v in result["votes"] for side in "ab"]
    for sound, samples in zip(sounds, played, strict=True):
        expected, _ = soundfile.read(short / f"sounds/{sound}.wav", dtype="int16")
        np.testing.assert_array_equal(samples, expected)
    view.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.click("#copy")
    view.wait_for_selector("#copied:has-text('Copied.')")
    assert json.loads(view.evaluate("navigator.clipboard.readText()")) == result


def listeners(folder: Path) -> list[str]:
    stored, problems = store.read(folder / store.STORE, responses.read_test(folder))
    assert problems == []
    return sorted(listener.name for listener in stored)


def test_answers_are_posted_once_when_the_server_is_there(view, browser, short):
    with serving(short) as port:
        view.goto(f"http://127.0.0.1:{port}/?listener=Ben")
        view.click("#start")
        hear(view)
    view.check("input[value=b]")
    view.keyboard.press("Enter")
    view.wait_for_selector("#sent:has-text('could not be sent')")
    assert listeners(short) == []
    with serving(short, port):
        view.click("#retry")
        view.wait_for_selector("#sent:has-text('accepted')")
        assert view.is_hidden("#retry") and listeners(short) == ["Ben"]
        view.reload()
        assert "accepted" in (said := view.inner_text("#sent"))
        other = browser.new_page()  # another browser, another listener of this name
        other.goto(f"http://127.0.0.1:{port}/?listener=Ben")
        assert "token" not in other.url  # whoever is given the address gets their own
        other.click("#start")
        vote(other, "a")
        other.wait_for_selector("#sent:has-text('accepted under the name Ben (2)')")
        assert other.inner_text("#sent") != said and other.is_hidden("#retry")
        other.evaluate("localStorage.clear()")
        other.close()
    stored, _ = store.read(short / store.STORE, responses.read_test(short))
    assert [(one.name, one.votes[0].vote) for one in stored] == [("Ben", "b"), ("Ben", "a")]
    assert analysis.summary(short)["checks"] == []


FAILURES = {
    "the page was not": (403, '{"ok": false, "message": "the page was not opened"}'),
    "it answered 409.": (409, "{}"),
    "it answered 200.": (200, "<p>Welcome to the hotel"),  # of a portal
}


@pytest.mark.parametrize(("said", "answer"), FAILURES.items())
def test_no_failure_passes_for_success(view, short, said, answer):
    with serving(short) as port:
        view.goto(f"http://127.0.0.1:{port}/?listener=Cat {answer[0]}")
        view.route("**/results", lambda route: route.fulfill(status=answer[0], body=answer[1]))
        view.click("#start")
        vote(view, "a")
        view.wait_for_selector(f"#sent:has-text('did not accept your answers: {said}')")
        assert view.is_visible("#retry")
        view.unroute("**/results")
        view.reload()  # a token refused is replaced
        view.wait_for_selector("#sent:has-text('were accepted')")
        assert exported(view)["votes"] != []


def test_an_invited_listener_is_known_by_the_link(view, tmp_path):
    folder = make(tmp_path, pairs=1)
    (folder / "links.txt").write_text("?token=00aa\n?token=00bb\n")
    with serving(folder) as port:
        for token in ("00aa", "00bb"):  # on the same computer
            view.goto(f"http://127.0.0.1:{port}/?token={token}")
            view.click("#start")
            vote(view, "none")
            view.wait_for_selector("#sent:has-text('were accepted')")
            view.reload()
            assert "accepted" in view.inner_text("#sent")
    assert listeners(folder) == ["00aa", "00bb"]
    assert analysis.summary(folder)["checks"] == []  # who hears both sounds is not flagged


DRAWN = """([test, names]) => {{
// {code}
return names.map(drawPairs); }}"""


@pytest.mark.parametrize("systems, sounds, pairs", [(4, 20, 20), (3, 2, 7), (2, 1, 3)])
def test_pairs_are_balanced_and_random(view, systems, sounds, pairs):
    script = (Path(page.__file__).parent / "page.js").read_text(encoding="utf-8")
    code = script.partition("// --- the pairs of this listener")[2].partition("const pairs =")[0]
    ids = {f"s{i}": [f"{i} {j}" for j in range(sounds)] for i in range(systems)}
    names = [f"listener \u00e9\u4e16\U0001f600 {i}" for i in [*range(60), 0]]
    test = {"id": "0123", "pairs": pairs, "systems": ids}
    *everybody, again = view.evaluate(DRAWN.format(code=code), [test, names])
    assert everybody[0] == again
    system_of = {sound: system for system, own in ids.items() for sound in own}
    for name, one in zip(names, [*everybody, again], strict=True):  # the server draws the same
        assert [(pair["a"], pair["b"]) for pair in one] == pairs_of(system_of, pairs, f"0123 {name}")
    sides, orders = Counter(), set()
    n_kinds = systems * (systems - 1) // 2
    for one in everybody:
        assert len(one) == pairs
        kinds = [(pair["a"].split()[0], pair["b"].split()[0]) for pair in one]
        assert all(a != b for a, b in kinds)
        assert set(Counter(map(frozenset, kinds)).values()) <= {pairs // n_kinds, -(-pairs // n_kinds)}
        heard = Counter(pair[side] for pair in one for side in "ab")
        per_system = Counter(sound.split()[0] for sound in heard.elements())
        assert all(n <= -(-per_system[sound.split()[0]] // sounds) for sound, n in heard.items())
        sides.update(a < b for a, b in kinds)
        orders.add(str(kinds))
    assert abs(sides[True] - sides[False]) < 5 * (60 * pairs) ** 0.5
    assert len(orders) > (5 if systems == 2 else 50)
