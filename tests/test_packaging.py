"""Names, versions and requirements are the same wherever they are written, and the command is installed."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
METADATA = PROJECT["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
GPU = yaml.safe_load((ROOT / "environment-gpu.yml").read_text(encoding="utf-8"))
DEVELOPERS = yaml.safe_load((ROOT / "environment-dev.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "reproduce" / "environment.yml").read_text(encoding="utf-8"))
RECIPE = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

# PyPI's name -> conda-forge's, where they differ.
CONDA_NAME = {
    "soundfile": "pysoundfile",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "nbconvert": "nbconvert-core",
    "flatbuffers": "python-flatbuffers",
}
# On bioconda.
BIOCONDA = {
    "snakemake": "snakemake-minimal",
    "snakemake-executor-plugin-slurm": "snakemake-executor-plugin-slurm",
}
# What conda needs and pyproject.toml cannot say.
CONDA_ONLY = {"pip", "__unix"}
# Not on conda-forge, or with other versions; tests that need one are skipped without it.
PIP_ONLY = {"py-rattler-build"}

LOCKS = ("requirements.lock", "requirements-dev.lock")


def name_and_ranges(spec: str) -> tuple[str, frozenset[str]]:
    """Split `numpy >=2,<3`, written as conda or as PyPI writes it, into numpy and {>=2, <3}."""
    match = MatchSpec(spec, strict=True)
    return match.name.normalized, frozenset((match.version or "").split(","))


def ranges(specs: list[str]) -> dict[str, frozenset[str]]:
    """The ranges of a conda file, which lists no package twice."""
    pairs = [name_and_ranges(spec) for spec in specs]
    assert len(pairs) == len(dict(pairs)), "a package is listed twice"
    return {name: ranges for name, ranges in pairs if name not in CONDA_ONLY}


def asked_for(*extras: str, build: bool = False) -> dict[str, frozenset[str]]:
    """What pyproject.toml asks for with the extras alone or, with `build`, to build and run too.

    The names are conda-forge's, without the packages of bioconda.
    """
    specs = [spec for extra in extras for spec in METADATA["optional-dependencies"][extra]]
    if build:
        specs += [f"python{METADATA['requires-python']}", *PROJECT["build-system"]["requires"]]
        specs += METADATA["dependencies"]
    pairs = (name_and_ranges(spec) for spec in specs if not spec.startswith(METADATA["name"]))
    return {CONDA_NAME.get(name, name): r for name, r in pairs if name not in {*BIOCONDA, *PIP_ONLY}}


@pytest.mark.parametrize(
    "environment", [CONDA, GPU, DEVELOPERS, WORKFLOW], ids=["run", "gpu", "dev", "workflow"]
)
def test_conda_environments_come_from_conda_forge_whatever_the_users_channels(environment: dict) -> None:
    forge = ["conda-forge", "bioconda"] if environment is WORKFLOW else ["conda-forge"]
    assert environment["channels"] == [*forge, "nodefaults"] and environment["name"] == CONDA["name"]
    for entry in environment["dependencies"]:
        assert isinstance(entry, str), f"{entry} would be installed by pip"
        assert MatchSpec(entry, strict=True).channel is None


def test_conda_environments_and_pyproject_ask_for_the_same() -> None:
    run = asked_for("jax", "datasets", "tensorboard", "reproduce", build=True)
    assert ranges(CONDA["dependencies"]) == run
    assert ranges(DEVELOPERS["dependencies"]) == asked_for("test", "docs", "dev")


def test_the_workflows_conda_environment_and_pyproject_ask_for_the_same() -> None:
    extras = METADATA["optional-dependencies"]
    specs = [*extras["reproduce"], *extras["slurm"]]
    pairs = [name_and_ranges(spec) for spec in specs if not spec.startswith(METADATA["name"])]
    asked = {BIOCONDA[name]: ranges for name, ranges in pairs if name in BIOCONDA}
    assert ranges(WORKFLOW["dependencies"]) == asked


def test_conda_environment_for_gpus_is_the_other_one_with_jax_on_cuda() -> None:
    added = [entry for entry in GPU["dependencies"] if entry not in CONDA["dependencies"]]
    jaxlib, cuda = (MatchSpec(entry, strict=True) for entry in added)
    assert [entry for entry in GPU["dependencies"] if entry not in added] == CONDA["dependencies"]
    assert (jaxlib.name.normalized, cuda.name.normalized) == ("jaxlib", "cuda-version")
    assert name_and_ranges(added[0])[1] == asked_for("jax")["jax"]
    # conda-forge calls its builds cpu_py312h..._0 and cuda129_py312h..._200.
    assert fnmatch("cuda129_py312hdc4fd5f_202", jaxlib.build) and not fnmatch("cpu_py312h1_2", jaxlib.build)


def test_gpu_extra_asks_for_the_same_jax() -> None:
    extras = METADATA["optional-dependencies"]
    assert [spec.replace("[cuda13]", "") for spec in extras["gpu"]] == extras["jax"]


def test_recipe_is_one_that_rattler_build_takes_and_asks_for_the_same() -> None:
    rattler_build = pytest.importorskip("rattler_build")
    (variant,) = rattler_build.Stage0Recipe.from_yaml(RECIPE).render()
    recipe = variant.recipe.to_dict()
    package, needs = recipe["package"], recipe["requirements"]
    assert (package["name"], package["version"]) == (METADATA["name"], METADATA["version"])
    built = {**ranges(needs["host"]), **ranges(needs["run"])}
    assert built == asked_for("jax", build=True) and ranges(needs["host"]).keys() == {"python", "hatchling"}
    optional = {**asked_for("datasets", "tensorboard", "reproduce"), **ranges(WORKFLOW["dependencies"])}
    assert ranges(needs["run_constraints"]).items() <= optional.items()
    ((command, target),) = METADATA["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [f"{command} = {target}"]
    assert (recipe["about"]["license"], recipe["about"]["summary"]) == (
        METADATA["license"],
        METADATA["description"],
    )
    with pytest.raises(rattler_build.RecipeParseError):
        rattler_build.Stage0Recipe.from_yaml(RECIPE.replace("run_constraints:", "run_constrained:"))


def locked(file: str) -> dict[str, Requirement]:
    """The requirements of a lock file, without their hashes."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = [Requirement(line.rstrip("\\ ")) for line in text.splitlines() if re.match(r"\w", line)]
    return {requirement.name: requirement for requirement in found}


@pytest.mark.parametrize("file", LOCKS)
def test_lock_files_have_hashes_of_every_version_and_name_no_index(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "://" not in text and "-index" not in text and "find-links" not in text
    for requirement in re.split(r"\n(?=\w)", text)[1:]:
        assert re.match(r"[\w.-]+==[\w.]+ (; .+ )?\\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$", requirement)


def test_lock_files_have_all_that_pyproject_asks_for() -> None:
    extras = METADATA["optional-dependencies"]
    run = [*PROJECT["build-system"]["requires"], *METADATA["dependencies"]]
    run += [spec for extra in ("jax", "datasets", "tensorboard", "reproduce") for spec in extras[extra]]
    whole = locked(LOCKS[0]) | locked(LOCKS[1])
    tools = [spec for extra in ("test", "docs", "dev") for spec in extras[extra]]
    for specs, lock in ((run, locked(LOCKS[0])), (tools, whole)):
        for spec in specs:
            asked = Requirement(spec)
            if asked.name != METADATA["name"]:
                assert asked.name in lock, f"{spec} is missing: make lock"
                (version,) = lock[asked.name].specifier
                assert version.version in asked.specifier, f"{spec}: make lock"


def test_python_version_file_names_the_lowest_python() -> None:
    lowest = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert METADATA["requires-python"].startswith(f">={lowest},")


def test_the_two_containers_are_made_of_the_same() -> None:
    docker, apptainer = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("Dockerfile", "apptainer.def")
    )
    copied = re.findall(r"^    (\S+) /src/\1$", apptainer, flags=re.MULTILINE)
    assert METADATA["readme"] in copied and all((ROOT / path).exists() for path in copied)
    assert " ".join(re.findall(r"^COPY (.+) \S+$", docker, flags=re.MULTILINE)).split() == copied
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert re.findall(r"^!(.+)$", ignored, flags=re.MULTILINE) == copied
    for pattern in (r"\nF(?:ROM|rom:) (\S+)", r"pip install (?:--no-cache-dir )?(.+)"):
        assert re.findall(pattern, docker) == re.findall(pattern, apptainer) != []


def test_a_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    package = [path for path in (ROOT / METADATA["name"].replace("-", "_")).rglob("*") if path.is_file()]
    ours = {path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts}
    assert ours <= set(ZipFile(wheel).namelist())


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
    place = r"^#? ?doi: 10\.\d+/\S+\n#? ?date-released: \d{4}-\d\d-\d\d$"
    assert re.search(place, (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    paper = CITATION["preferred-citation"]
    assert paper["title"] == "SampleRNN: An Unconditional End-to-End Neural Audio Generation Model"
    families = [author["family-names"] for author in paper["authors"]]
    assert families == "Mehri Kumar Gulrajani Kumar Jain Sotelo Courville Bengio".split()
    assert "1612.07837" in paper["url"]


def test_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", changelog, flags=re.MULTILINE)
    assert METADATA["version"] in headings
