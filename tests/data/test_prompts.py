"""`samplernn data speech` makes a set from Debian's packages of telephone prompts. No network is needed."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.cli.main import main
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.sets import prompts
from samplernn_theano.utils.files import locked
from tests.data.sets_of_noise import load

VOICES = [package.voice for package in prompts.PACKAGES]
SMALL = ["--valid-clips", "1", "--test-clips", "1"]

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def g722(seconds: float, seed: int) -> bytes:
    """Bytes of a .g722 file, which any bytes are: two samples each."""
    return np.random.default_rng(seed).bytes(round(8000 * seconds))


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """Write a package of Debian with these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{prompts.SOUNDS}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in parts.items():
            file.write(f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return path


@pytest.fixture
def packages(tmp_path) -> Path:
    """A folder with the two packages, small ones."""
    for k, package in enumerate(prompts.PACKAGES):
        voice = package.voice
        files = {f"{voice}/{k}.g722": g722(14, k), f"{voice}/beep.g722": g722(9, 5), f"{voice}/a.txt": b""}
        files[f"{voice}/silence/1.g722"] = g722(9, 6)
        deb(tmp_path / "packages" / package.file, files)
    return tmp_path / "packages"


def made(out: Path) -> dict[str, bytes]:
    names = ["manifest.json", "clips.csv", *(f"speech_{split}.npy" for split in SPLITS)]
    return {name: (out / name).read_bytes() for name in names}


def speech(out: Path, *words) -> int:
    return main(["data", "speech", "--out", str(out), *SMALL, *map(str, words)])


def test_a_set_from_packages_holds_the_voices_and_their_licence(packages, tmp_path):
    assert speech(tmp_path / "out", "--source", packages) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["licence"] == "CC-BY-SA-3.0" and "Allison Smith" in manifest["origin"]
    assert [source["path"] for source in manifest["sources"]] == [
        f"{VOICES[0]}/0.g722",
        f"{VOICES[1]}/1.g722",
    ]
    assert {split: clips.shape for split, clips in load(tmp_path / "out").items()} == dict.fromkeys(
        SPLITS, (1, 128000)
    )


def test_downloaded_packages_and_unpacked_ones_give_the_same_bytes(packages, tmp_path, monkeypatch, capsys):
    pool = tmp_path / "server" / "pool" / "main" / "a" / "asterisk-core-sounds"
    shutil.copytree(packages, pool)
    server = ["--server", (tmp_path / "server").as_uri()]
    assert speech(tmp_path / "one", *server) == 2
    assert "checksum" in capsys.readouterr().err and not list(tmp_path.glob("one/*.npy"))
    known = [
        package._replace(sha256=hashlib.sha256((pool / package.file).read_bytes()).hexdigest())
        for package in prompts.PACKAGES
    ]
    monkeypatch.setattr(prompts, "PACKAGES", known)
    assert speech(tmp_path / "one", *server) == 0
    assert speech(tmp_path / "two", "--source", packages) == 0
    assert speech(tmp_path / "three", "--source", tmp_path / "two" / "original") == 0
    assert made(tmp_path / "one") == made(tmp_path / "two")
    shutil.rmtree(pool)
    assert speech(tmp_path / "one", *server, "--overwrite") == 0  # what is there is not downloaded again
    (tmp_path / "one" / "original" / known[0].file).unlink()
    assert speech(tmp_path / "one", *server, "--overwrite") == 2
    assert "cannot be downloaded" in (error := capsys.readouterr().err) and "--source" in error


def test_what_is_unpacked_is_kept_and_nothing_is_changed_under_another_process(packages, tmp_path, capsys):
    out = tmp_path / "out"
    assert speech(out, "--source", packages) == 0
    kept, damaged = (out / "original" / prompts.SOUNDS / VOICES[k] / f"{k}.g722" for k in range(2))
    whole, stat = damaged.read_bytes(), kept.stat()
    damaged.write_bytes(bytes(len(whole)))
    with locked(out / "original"):
        assert speech(out, "--source", packages, "--overwrite") == 2
        assert speech(out, "--overwrite") == 2
    assert capsys.readouterr().err.count("Another process works in") == 2
    assert speech(out, "--source", packages, "--overwrite") == 0
    assert kept.stat().st_ctime_ns == stat.st_ctime_ns and damaged.read_bytes() == whole


def test_a_damaged_package_and_a_missing_voice_are_said(packages, tmp_path, capsys):
    first, second = sorted(packages.glob("*.deb"))
    second.unlink()
    assert speech(tmp_path / "out", "--source", packages) == 2
    assert f"{VOICES[1]} (of {second.name})" in capsys.readouterr().err
    content = first.read_bytes()
    for damaged in (content[:-500], content[:300], b"<html>", b""):
        first.write_bytes(damaged)
        assert speech(tmp_path / "out", "--source", packages) == 2
        assert f"{first.name} is not a whole package" in capsys.readouterr().err
