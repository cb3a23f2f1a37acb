"""The files of listening tests: what they compare can be told apart."""

import pytest

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction.experiments import read_listening_tests

EXPERIMENT = 'title = "{}"\nfamily = "{}"\ndata = "music"\nsplits = ["test"]\nbasis = "paper: all"\n'
SYSTEMS = {
    "three": ("SampleRNN", "three_tier"),
    "two": ("SampleRNN", "two_tier"),
    "net": ("WaveNet", "wavenet"),
}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "experiments" / "listening").mkdir(parents=True)
    for name, values in SYSTEMS.items():
        (tmp_path / "experiments" / f"{name}.toml").write_text(EXPERIMENT.format(*values))
    return tmp_path


def test_a_listening_test_names_its_systems(files):
    (files / "experiments" / "listening" / "x.toml").write_text('title = "X"\nsystems = ["three", "net"]\n')
    assert read_listening_tests(files)["listening/x"].systems == ["three", "net"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('title = "X"\nsystems = ["three", "net", "two"]', 'two systems of the title "SampleRNN"'),
        ('title = "X"\nsystems = ["net", "net"]', 'two systems of the title "WaveNet"'),
        ('title = "X"\nsystems = ["net", "four"]', "unknown experiment four"),
        ('title = "X"\nsystems = ["net"]', "fewer than two systems"),
        ('systems = ["three", "net"]', "lacks title"),
        ('title = "X"', "lacks systems"),
    ],
)
def test_a_listening_test_that_compares_nothing_is_refused(files, text, sentence):
    path = files / "experiments" / "listening" / "x.toml"
    path.write_text(text)
    with pytest.raises(ReproductionError, match=rf"listening/x\.toml .*{sentence}"):
        read_listening_tests(files)
