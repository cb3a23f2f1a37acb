"""What a run was made with."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from samplernn_theano.backends.compile import devices

USED = {"jax": ("jax", "jaxlib"), "numba": ("numba",), "c": ()}
"""What each backend computes with, beside PyTensor and NumPy."""


def provenance(backend: str) -> dict[str, Any]:
    """Versions of all that computes, the devices, and the revision of this package where it is known."""
    names = ("samplernn-theano", "pytensor", "numpy", *USED[backend])
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in names}
    return {"versions": versions, "devices": devices(backend), "git_revision": git_revision()}


def git_revision() -> str | None:
    """The commit that this package is run from, "+" behind it if its files were changed since, or None."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        _git(here, "ls-files", "--error-unmatch", "__init__.py")  # lest it is another project's
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):  # no git, or no repository
        return None
    return commit + "+" * bool(changed)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
