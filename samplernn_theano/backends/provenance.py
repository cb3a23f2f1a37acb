"""Provenance of a run: versions, devices and the revision of this package."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from samplernn_theano.backends.compile import devices
from samplernn_theano.utils.version import package_version

PACKAGES = {"jax": ("jax", "jaxlib"), "numba": ("numba",), "c": ()}
"""Packages that a backend uses, in addition to PyTensor and NumPy."""


def provenance(backend: str) -> dict[str, Any]:
    """Versions of the packages, the devices, and the revision of this package if it is known."""
    names = ("pytensor", "numpy", *PACKAGES[backend])
    versions = {"python": platform.python_version(), "samplernn-theano": package_version()}
    versions |= {name: importlib.metadata.version(name) for name in names}
    return {"versions": versions, "devices": devices(backend), "git_revision": git_revision()}


def git_revision() -> str | None:
    """The commit of this package, with "+" appended if its files were changed since; None outside of git."""

    def git(*arguments: str) -> str:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 10, "check": True}
        return subprocess.run(["git", *arguments], cwd=Path(__file__).parents[1], **options).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # or it is another project's repository
        changed = git("status", "--porcelain", "--untracked-files=no", ".")
        return git("rev-parse", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.SubprocessError):  # no git, or not a repository
        return None
