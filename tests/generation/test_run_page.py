"""The page of a run: curve, status, and the sounds of each evaluation with their scores."""

import math
import os
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import soundfile

from samplernn_theano.checkpoints import run_folder, status
from samplernn_theano.cli.main import main
from samplernn_theano.errors import OutputError
from samplernn_theano.generation import gallery, run_page
from tests.checkpoints.test_show import ORIGINAL, START, evaluation, train
from tests.checkpoints.test_show import run_folder as fake_run
from tests.generation.test_gallery import Page, generate
from tests.generation.test_spectrograms import tone

RECORDS = [START, train(50, 5.0, 5.5), evaluation(100, 10.0, 4.5, 4.25), evaluation(1200, 90.0, 4.125, 4.0)]
RECORDS += [evaluation(1500, 100.0, 4.75, epoch=1)]


def sample(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "samples" / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(1000, 8000), 16000)


def write(folder: Path) -> Page:
    return Page(run_page.write_page(status.read(folder)))


def test_sounds_are_listed_by_iteration_with_the_scores_of_their_evaluation(tmp_path, capsys):
    folder = fake_run(tmp_path / "mine", RECORDS)
    sample(folder, "sample_i1200_1.wav", "sample_i1200_0.wav", "sample_i100_0.wav", "sample_i7_0.wav")
    assert main(["show", str(folder), "--page"]) == 0
    assert capsys.readouterr().out.endswith(f"Wrote {folder / 'index.html'}.\n")
    page = Page(folder / "index.html")
    assert page.texts["h3"] == ["Iteration 7", "Iteration 100", "Iteration 1,200, the best"]
    names = ["sample_i7_0.wav", "sample_i100_0.wav", "sample_i1200_0.wav", "sample_i1200_1.wav"]
    assert [audio["src"] for audio in page.all("audio")] == [f"samples/{name}" for name in names]
    scores = [text for text in page.paragraphs if text.startswith(("epoch", "no scores"))]
    assert scores == [
        "no scores in the log",
        "epoch 0, training 10.0 s, train 5.0000, valid 4.5000, test 4.2500",
        "epoch 0, training 1.5 min, train 4.6250, valid 4.1250, test 4.0000",
    ]
    curve, *spectrograms = page.all("img")
    assert curve["src"].startswith("data:image/png;base64,iVBOR") and "bits per sample" in curve["alt"]
    assert [(folder / image["src"]).is_file() for image in spectrograms] == [True] * 4
    cells = page.texts["td"]
    assert cells[10:16] == ["1", "1.7 min", "5.2500", "4.7500", "-", str(folder)]  # the last of three rows
    assert {"one_tier", "preset tiny", "crashed", "/sets/music", "32"} <= set(cells)  # status and settings


def test_the_page_needs_no_host_and_every_link_in_it_leads_somewhere(tmp_path):
    folder = fake_run(tmp_path / "mine", RECORDS)
    sample(folder, "sample_i100_0.wav")
    generate(folder / "samples", "mine_best_seed0_t1", "mine_best_seed0_t1_0.wav")
    page = write(folder)
    text = (folder / "index.html").read_text()
    assert "://" not in text and "url(" not in text and not page.all("link")
    assert [script for script in page.all("script") if script] == []
    for link in page.all("a"):
        if link["href"].startswith("#"):
            assert f'id="{link["href"][1:]}"' in text
        else:
            assert (folder / link["href"]).is_file()
    assert Page(folder / "samples/index.html").headings == [
        "mine_best_seed0_t1",
        "Samples of the evaluations",
    ]


@pytest.mark.parametrize("records", [[], [START], [START, evaluation(9, 1.0, math.nan, math.inf)]])
def test_a_run_that_has_only_begun_has_a_page(tmp_path, records):
    page = write(fake_run(tmp_path / "mine", records))
    assert "None yet: an evaluation makes them." in page.paragraphs and page.all("audio") == []
    assert "No costs yet." in page.paragraphs and page.all("img") == []


def test_the_page_of_a_run_of_the_originals(tmp_path):
    folder = shutil.copytree(ORIGINAL, tmp_path / ORIGINAL.parent.name / ORIGINAL.name)
    page = write(folder)
    assert page.texts["h3"] == ["Iteration 40", "Iteration 80", "Iteration 97, the best"]
    listed = {unquote_to_bytes(audio["src"]).decode() for audio in page.all("audio")}
    assert listed == {f"samples/{path.name}" for path in (ORIGINAL / "samples").glob("*.wav")}
    assert status.read(folder).state == "original"  # as before


def test_hostile_names_and_values_are_text(tmp_path):
    name = "<script>alert(1)</script> \"'&\n#%41"
    folder = fake_run(tmp_path / name.replace("/", ""), RECORDS, data=name)
    sample(folder, "sample_i1_<b>'#%41_0.wav")
    page = write(folder)
    assert name.replace("\n", "\\n") in page.texts["td"] and len(page.all("script")) == 1
    (audio,) = page.all("audio")
    assert (folder / os.fsdecode(unquote_to_bytes(audio["src"]))).is_file()


def test_a_page_of_somebody_else_is_kept_and_ours_is_replaced_in_one_step(tmp_path, monkeypatch, capsys):
    folder = fake_run(tmp_path / "mine", RECORDS)
    write(folder)
    before = (folder / "index.html").read_text()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OutputError, match="No disk space left"):
        patched.setattr(os, "replace", fail)
        write(folder)
    assert (folder / "index.html").read_text() == before and not list(folder.glob(".*"))
    (folder / "index.html").write_text("mine")
    assert main(["show", str(folder), "--page"]) == 2
    assert "index.html is a page that samplernn did not make; move it" in capsys.readouterr().err
    assert (folder / "index.html").read_text() == "mine"


def test_a_new_run_replaces_the_page_of_the_old_one(tmp_path):
    folder = fake_run(tmp_path / "mine", RECORDS, saved={"iteration": 1500, "batches_per_epoch": 250})
    sample(folder, "sample_i100_0.wav")
    write(folder)
    run_folder.create(folder, {}, overwrite=True)
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert left == ["log.jsonl", "settings.json"]


def test_a_damaged_sound_does_not_keep_the_others_from_the_page(tmp_path):
    folder = fake_run(tmp_path / "mine", RECORDS)
    sample(folder, "sample_i100_0.wav", "sample_i100_1.wav")
    (folder / "samples" / "sample_i100_0.wav").write_bytes(b"junk")
    page = write(folder)
    assert "This file cannot be decoded." in page.paragraphs and len(page.all("audio")) == 2
    assert gallery.read_records(folder / "samples") == []
