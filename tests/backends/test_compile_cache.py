"""The compile cache: programs are loaded by the next process, and never in place of another program."""

import os
import pathlib
import re
import shutil
import time
import warnings
from types import SimpleNamespace

import jax
import jaxlib
import numpy as np
import pytensor
import pytest
from jax._src import compilation_cache

from samplernn_theano.backends import compile, compile_cache
from samplernn_theano.training import step
from tests.backends.conftest import HP, minibatch


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def start(folder, monkeypatch):
    """JAX as in a process that has compiled nothing yet."""
    options = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in options}
    monkeypatch.setattr(compilation_cache, "_cache", None)
    monkeypatch.setattr(compile_cache, "MIN_COMPILE_SECONDS", 0)
    jax.config.update("jax_compilation_cache_dir", None)
    yield compile_cache.enable_for_jax
    for name, value in before.items():
        jax.config.update(name, value)


def programs(folder):
    return sorted(folder.glob("programs/*"))


def numbers(compiled):
    """Costs of some steps and of an evaluation, and Adam's names."""
    states, costs = compiled.zero_states(), []
    for i in range(3):
        cost, *states = compiled.step(*minibatch(seed=i, reset=i == 0), *states)
        costs.append(float(cost))
    return costs, float(compiled.evaluate(*minibatch(), *states)[0]), list(compiled.adam)


def never(*_, **__):
    raise AssertionError("compiled again")


def test_a_kept_program_computes_the_same_and_nothing_is_compiled_again(folder, monkeypatch):
    first = numbers(step.compile_trainer(HP))
    assert len(programs(folder)) == 2
    with monkeypatch.context() as context:
        context.setattr(step, "compile_function", never)
        assert numbers(step.compile_trainer(HP)) == first
        assert numbers(step.compile_trainer(HP, learning_rate=0.5)) != first  # by the same program
        with pytest.raises(AssertionError, match="compiled again"):
            step.compile_trainer(HP, precision="tf32")
        context.setattr(compile_cache, "hash_sources", lambda *_: "another version of this package")
        with pytest.raises(AssertionError, match="compiled again"):
            step.compile_trainer(HP)


def test_damaged_files_are_not_loaded(folder):
    what = {"program": "x"}
    compile_cache.store(what, {"devices": 1}, b"some bytes")
    assert compile_cache.load(what) == ({"devices": 1}, b"some bytes")
    assert compile_cache.load({"program": "y"}) is None
    (path,) = programs(folder)
    whole = path.read_bytes()
    for damaged in (
        whole[:-1],
        whole.replace(b"some", b"same"),
        b"",
        b"[]\n",
        b"{}\nx",
        b"\x00\xff",
        b"[" * 10**5 + b"\n",
    ):
        path.write_bytes(damaged)
        assert compile_cache.load(what) is None


def test_nothing_is_stored_if_disabled_or_impossible(folder, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", "off")
    compile_cache.store({}, {}, b"x")
    assert compile_cache.folder() is None and compile_cache.load({}) is None
    assert compile.describe("numba")["compile cache"] == "off"
    (folder / "file").touch()
    monkeypatch.setenv("SAMPLERNN_CACHE", str(folder / "file"))
    compile_cache.store({}, {}, b"x")
    assert compile_cache.load({}) is None
    assert compile.describe("numba")["compile cache"] == str(folder / "file")
    monkeypatch.delenv("SAMPLERNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert compile_cache.folder() == folder / "samplernn-theano"


def test_a_new_folder_is_for_its_owner_only(folder, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", str(folder / "new" / "cache"))
    before = os.umask(0o002)
    try:
        compile_cache.store({}, {}, b"x")
    finally:
        os.umask(before)
    (path,) = programs(folder / "new" / "cache")
    modes = [oct(own.stat().st_mode & 0o777) for own in (path, *path.parents[:3])]
    assert modes == ["0o600", *["0o700"] * 3] and compile_cache.load({})


def linked(path):
    """Move a file or folder and leave a link in its place."""
    path.symlink_to(path.rename(path.parents[2] / "elsewhere"))


def test_links_in_a_circle_are_said(folder, monkeypatch, capsys):
    (folder / "a").symlink_to("a")
    monkeypatch.setenv("SAMPLERNN_CACHE", str(folder / "a" / "b"))
    assert compile_cache.folder() is None
    assert "a/b is not used: its links form a circle; name another folder" in capsys.readouterr().err


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda cache: cache.chmod(0o777), "cache belongs to another user, or others can write"),
        (lambda cache: cache.chmod(0o720), "chmod go-w it"),
        (lambda cache: (cache / "programs").chmod(0o702), "programs belongs to another user"),
        (lambda cache: cache.parent.chmod(0o757), "others can replace what is in .*owner; chmod go-w it"),
        pytest.param(
            lambda cache: os.chown(cache.parent, 12345, -1), "owner belongs to another", marks=ROOT_ONLY
        ),
        pytest.param(
            lambda cache: (os.chown(cache.parent, -1, 12345), cache.parent.chmod(0o770)),
            "others can replace what is in .*owner; chmod go-w it",
            marks=ROOT_ONLY,
        ),
        (lambda cache: linked(cache / "programs"), "programs belongs to another user, .* or it is a link"),
        (lambda cache: linked(programs(cache)[0]), None),
        (lambda cache: cache.rename(cache.with_name("link")).chmod(0o770), "link belongs to another user"),
        pytest.param(lambda cache: os.chown(cache, 12345, -1), "another user", marks=ROOT_ONLY),
        pytest.param(lambda cache: os.chown(programs(cache)[0], 12345, -1), None, marks=ROOT_ONLY),
        (lambda cache: programs(cache)[0].chmod(0o666), None),
    ],
)
def test_what_others_could_have_written_is_not_run(folder, monkeypatch, capsys, change, sentence):
    """Work goes on without the cache, and one line says why; single files are compiled again."""
    cache = folder / "owner" / "cache"
    monkeypatch.setenv("SAMPLERNN_CACHE", str(cache))
    compile_cache.store({}, {}, b"x")
    assert compile_cache.load({})
    change(cache)
    if not cache.exists():
        cache.symlink_to("link")
    assert compile_cache.load({}) is None
    compile_cache.store({"other": 1}, {}, b"x")
    err = capsys.readouterr().err
    if sentence is None:
        assert not err and compile_cache.load({"other": 1})
        return
    assert len(programs(cache)) == 1 and compile.describe("numba")["compile cache"] == "off"
    assert err.count("\n") == 1 and f"The compile cache {cache} is not used" in err
    assert re.search(sentence, err) and "SAMPLERNN_CACHE" in err


@pytest.mark.parametrize("flag", ["optimizer", "optimizer_including", "optimizer_excluding"])
def test_other_flags_and_versions_make_another_program(folder, monkeypatch, flag):
    flags = {"optimizer": "o4", "optimizer_including": "", "optimizer_excluding": ""}
    monkeypatch.setattr(pytensor, "config", SimpleNamespace(**flags))  # some cannot be set in a process
    compile_cache.store({}, {}, b"x")
    assert compile_cache.load({})
    with monkeypatch.context() as context:
        context.setattr(pytensor.config, flag, "another")
        assert compile_cache.load({}) is None
    assert compile_cache.load({})
    monkeypatch.setattr(jaxlib, "__version__", "another")
    assert compile_cache.load({}) is None


def test_the_key_depends_on_the_source_of_everything_compiled(tmp_path, monkeypatch):
    package = pathlib.Path(compile_cache.__file__).parents[1]
    copy = tmp_path / "package"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compile_cache, "__file__", str(copy / "backends" / "compile_cache.py"))

    def hashed():
        return compile_cache.hash_sources.__wrapped__(*compile_cache.SOURCES)

    before = hashed()
    for folder in ("backends", "config", "models", "training"):
        path = next((copy / folder).glob("*.py"))
        path.write_text(path.read_text() + "\n")
        assert (changed := hashed()) != before
        before = changed
    (copy / "cli" / "main.py").write_text("")
    assert hashed() == before


def test_the_least_recently_used_files_are_removed(folder, monkeypatch):
    monkeypatch.setattr(compile_cache, "MAX_FILES", 3)
    compiled = compile_cache.CompiledFiles(folder / "xla-0123abcd")
    for i in range(5):
        compile_cache.store({"i": i}, {}, b"x")
        compiled.put(str(i), b"x")
        time.sleep(0.02)  # what a file system's clock can tell apart
        if i < 3:
            assert compile_cache.load({"i": 0}) and compiled.get("0")
            time.sleep(0.02)
    assert [i for i in range(5) if compile_cache.load({"i": i})] == [0, 3, 4]
    assert [i for i in range(5) if compiled.get(str(i))] == [0, 3, 4]
    time.sleep(0.02)
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 1000)
    compile_cache.store({"i": 9}, {}, b"x" * 900)
    assert len(programs(folder)) == 1 and compile_cache.load({"i": 9})
    assert compiled.get("0")  # these have their own bound
    compiled.put("9", b"x" * 900)
    assert compiled.get("9") and not compiled.get("0")


def test_files_of_others_are_left_alone(folder, monkeypatch):
    ours = f"programs/.{'0' * 64}.1234.part.jax", f"xla-0123abcd/{'0' * 64}.xla"
    foreign = {"programs/notes.jax", "programs/notes.txt", "programs/models/a.jax", "xla-0123abcd/dump.xla"}
    foreign |= {f"photos/{'0' * 64}.jax", f"photos/{'0' * 64}.xla", f"{'0' * 64}.jax", "thesis/chapter"}
    for name in (*ours, *foreign):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
        os.utime(folder / name, (0, 0))
    monkeypatch.setattr(compile_cache, "MAX_FILES", 0)
    compile_cache.store({}, {}, b"x")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == foreign


def test_jax_loads_compiled_code_and_replaces_damaged_files(folder, start, monkeypatch):
    found, get = [], compile_cache.CompiledFiles.get
    monkeypatch.setattr(
        compile_cache.CompiledFiles, "get", lambda self, key: found.append(get(self, key)) or found[-1]
    )

    def run():
        with warnings.catch_warnings(action="error"):
            assert float(jax.jit(lambda x: 2 * x + 1)(np.float32(3))) == 7
        return found[-1] is not None

    start()
    assert [run(), run()] == [False, True]
    (path,) = folder.glob("xla-*/*.xla")
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        path.write_bytes(damaged)
        assert [run(), run()] == [False, True]


def test_jax_stores_nothing_in_a_folder_that_cannot_be_created(folder, start, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setenv("SAMPLERNN_CACHE", str(folder / "file"))
    start()
    assert jax.config.jax_compilation_cache_dir is None
    with warnings.catch_warnings(action="error"):
        assert float(jax.jit(lambda x: 2 * x + 2)(np.float32(3))) == 8
