"""Names, versions and requirements are the same wherever they are written, and the command is installed."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

import yaml
from rattler import MatchSpec

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
METADATA = PROJECT["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
GPU = yaml.safe_load((ROOT / "environment-gpu.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "reproduce" / "environment.yml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

# PyPI's name -> conda-forge's, where they differ.
CONDA_NAME = {
    "soundfile": "pysoundfile",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "flatbuffers": "python-flatbuffers",
}
# On bioconda.
BIOCONDA = {
    "snakemake": "snakemake-minimal",
    "snakemake-executor-plugin-slurm": "snakemake-executor-plugin-slurm",
}
# What conda needs and pyproject.toml cannot say.
CONDA_ONLY = {"pip"}


def name_and_ranges(spec: str) -> tuple[str, frozenset[str]]:
    """Split `numpy >=2,<3`, written as conda or as PyPI writes it, into numpy and {>=2, <3}."""
    match = MatchSpec(spec, strict=True)
    return match.name.normalized, frozenset((match.version or "").split(","))


def requirements() -> dict[str, frozenset[str]]:
    """Collect what pyproject.toml asks for to build, run, download and test, under conda-forge's names."""
    extras = METADATA["optional-dependencies"]
    specs = [f"python{METADATA['requires-python']}", *PROJECT["build-system"]["requires"]]
    specs += METADATA["dependencies"]
    for extra in ("jax", "datasets", "tensorboard", "reproduce", "test"):
        specs += extras[extra]
    pairs = (name_and_ranges(spec) for spec in specs if not spec.startswith(METADATA["name"]))
    return {CONDA_NAME.get(name, name): ranges for name, ranges in pairs if name not in BIOCONDA}


def test_conda_environment_comes_from_conda_forge_alone() -> None:
    assert CONDA["channels"] == ["conda-forge"]
    for entry in CONDA["dependencies"]:
        assert isinstance(entry, str), f"{entry} would be installed by pip"
        assert MatchSpec(entry, strict=True).channel is None


def test_conda_environment_and_pyproject_ask_for_the_same() -> None:
    entries = [name_and_ranges(entry) for entry in CONDA["dependencies"]]
    assert len(entries) == len(dict(entries)), "a package is listed twice"
    assert {name: ranges for name, ranges in entries if name not in CONDA_ONLY} == requirements()


def test_the_workflows_conda_environment_and_pyproject_ask_for_the_same() -> None:
    assert WORKFLOW["channels"] == ["conda-forge", "bioconda"] and WORKFLOW["name"] == CONDA["name"]
    extras = METADATA["optional-dependencies"]
    specs = [*extras["reproduce"], *extras["slurm"]]
    pairs = [name_and_ranges(spec) for spec in specs if not spec.startswith(METADATA["name"])]
    asked = {BIOCONDA[name]: ranges for name, ranges in pairs if name in BIOCONDA}
    assert dict(map(name_and_ranges, WORKFLOW["dependencies"])) == asked


def test_conda_environment_for_gpus_is_the_other_one_with_jax_on_cuda() -> None:
    assert (GPU["name"], GPU["channels"]) == (CONDA["name"], CONDA["channels"])
    added = [entry for entry in GPU["dependencies"] if entry not in CONDA["dependencies"]]
    jaxlib, cuda = (MatchSpec(entry, strict=True) for entry in added)
    assert [entry for entry in GPU["dependencies"] if entry not in added] == CONDA["dependencies"]
    assert (jaxlib.name.normalized, cuda.name.normalized) == ("jaxlib", "cuda-version")
    assert name_and_ranges(added[0])[1] == requirements()["jax"]
    # conda-forge calls its builds cpu_py312h..._0 and cuda129_py312h..._200.
    assert fnmatch("cuda129_py312hdc4fd5f_202", jaxlib.build) and not fnmatch("cpu_py312h1_2", jaxlib.build)


def test_gpu_extra_asks_for_the_same_jax() -> None:
    extras = METADATA["optional-dependencies"]
    assert [spec.replace("[cuda13]", "") for spec in extras["gpu"]] == extras["jax"]


def test_python_version_file_names_the_lowest_python() -> None:
    lowest = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert METADATA["requires-python"] == f">={lowest}"


def test_package_knows_its_version_and_is_light() -> None:
    program = "import sys, samplernn_theano; print(samplernn_theano.__version__, *sys.modules)"
    version, *modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert version == METADATA["version"]
    assert {"pytensor", "jax", "numba", "numpy", "scipy", "matplotlib", "soundfile"}.isdisjoint(modules)
    command = [sys.executable, "-m", "samplernn_theano", "--version"]
    assert version in subprocess.check_output(command, text=True).split()


def test_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="samplernn")
    assert callable(command.load())


def test_citation_names_the_software_and_the_paper() -> None:
    expected = (METADATA["name"], METADATA["version"], METADATA["license"])
    assert (CITATION["title"], CITATION["version"], CITATION["license"]) == expected
    paper = CITATION["preferred-citation"]
    assert paper["title"] == "SampleRNN: An Unconditional End-to-End Neural Audio Generation Model"
    families = [author["family-names"] for author in paper["authors"]]
    assert families == "Mehri Kumar Gulrajani Kumar Jain Sotelo Courville Bengio".split()
    assert "1612.07837" in paper["url"]


def test_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", changelog, flags=re.MULTILINE)
    assert METADATA["version"] in headings
