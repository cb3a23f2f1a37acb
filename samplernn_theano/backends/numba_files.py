"""PyTensor's compiled code in files of Numba's cache: damaged ones are compiled again."""

from contextlib import suppress
from typing import Any

from numba.core import caching


class Files(caching.IndexDataCacheFile):
    """Numba's own raise the errors of pickle, in every process from then on."""

    def _load_index(self) -> dict[Any, str]:
        with suppress(Exception):  # pickle may raise anything
            return super()._load_index()
        return {}

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name)
        except Exception as error:
            raise FileNotFoundError(name) from error  # a missing file is compiled again

    def save(self, key: Any, data: Any) -> None:
        """Save code, if possible."""
        with suppress(OSError):
            super().save(key, data)


def install() -> None:
    """Let Numba use these files."""
    caching.IndexDataCacheFile = Files
