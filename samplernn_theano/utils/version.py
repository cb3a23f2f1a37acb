"""The version of this package."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def package_version() -> str:
    """Return the installed version."""
    try:
        return installed_version("samplernn-theano")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
