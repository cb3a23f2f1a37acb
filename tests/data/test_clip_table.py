"""Which recording each clip of a set is from."""

import numpy as np
import pytest

from samplernn_theano.data import clip_table
from samplernn_theano.errors import DataError
from tests.data.sets_of_noise import SECOND, SPLITS, build, load, record

LENGTHS = {"a.wav": 0.1, "b.wav": 0.0333, "c.wav": 0.004, "d.wav": 0.005, "e.wav": 0.06}
"""Seconds of recordings; a clip lasts 0.01 s, so it may hold three of them."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for k, (name, seconds) in enumerate(LENGTHS.items()):
        record(folder / name, seconds, k)
    build(folder, folder / "out")
    return folder


def test_the_recordings_of_each_clip_are_those_whose_sound_it_holds(made):
    sounds = [record(made / name, seconds, k) for k, (name, seconds) in enumerate(LENGTHS.items())]
    numbers = np.repeat(np.arange(len(sounds)), list(map(len, sounds)))
    stream = np.concatenate(sounds)
    found = clip_table.recordings(made / "out")
    for split, clips in load(made / "out").items():
        firsts = clip_table.recordings_of(made / "out", split)
        assert len(firsts) == len(found[split]) == len(clips)
        for clip, own, first in zip(clips, found[split], firsts, strict=True):
            starts = [k for k in range(0, len(stream) - 159, 160) if (stream[k : k + 160] == clip).all()]
            held = numbers[starts[0] : starts[0] + 160]
            assert own == tuple(dict.fromkeys(held.tolist())) and first == held[0]
    assert max(len(own) for split in SPLITS for own in found[split]) == 3
    assert len(numbers) == round(sum(LENGTHS.values()) * SECOND)


def test_a_set_that_does_not_say_it_has_none(made, tmp_path):
    for path in (made / "out").glob("*.npy"):
        (tmp_path / path.name).symlink_to(path)
    assert clip_table.recordings_of(tmp_path, "test") is None
    table = (made / "out" / "clips.csv").read_text()
    (tmp_path / "clips.csv").write_text(table.replace("recording", "file"))
    assert clip_table.recordings_of(tmp_path, "test") is None
    (tmp_path / "clips.csv").write_text(table, encoding="utf-16")  # by a spreadsheet, without a manifest
    expected = clip_table.recordings_of(made / "out", "train")
    assert len(np.unique(clip_table.recordings_of(tmp_path, "train"))) == len(np.unique(expected))
    (tmp_path / "clips.csv").write_text(table + "test,2,a.wav,0,0.01,\n")
    with pytest.raises(DataError, match="lists 3 clips of the test split, which has 2"):
        clip_table.recordings_of(tmp_path, "test")
