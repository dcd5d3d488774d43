"""The default directories of the configuration file and the SQLite file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CONFIG_DIR_VARIABLE = "JOBS_CONFIG_DIR"
DATA_DIR_VARIABLE = "JOBS_DATA_DIR"
DEFAULT_CONFIG_DIR = Path("jobs/config")
DEFAULT_DATA_DIR = Path("jobs/data")


class QueuePaths(Protocol):
    """Supplies two directories, which need not exist.

    A method may raise :class:`.ConfigurationError` if it does not know the directory.
    """

    def config_dir(self) -> Path:
        """Return the directory of ``queue_database.toml``."""

    def data_dir(self) -> Path:
        """Return the directory of the SQLite file."""


@dataclass(frozen=True, slots=True)
class FixedPaths:
    """Two known directories."""

    config: Path
    data: Path

    def config_dir(self) -> Path:
        """Return the directory of ``queue_database.toml``."""
        return self.config

    def data_dir(self) -> Path:
        """Return the directory of the SQLite file."""
        return self.data


class EnvironmentPaths:
    """The directories named by ``JOBS_CONFIG_DIR`` and ``JOBS_DATA_DIR``.

    Args:
        environ: The environment; that of the process by default. A blank variable means
            ``jobs/config`` or ``jobs/data``.
        base_dir: The start of relative directories; the current directory at the time
            of the call by default.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, base_dir: Path | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._base_dir = base_dir

    def config_dir(self) -> Path:
        """Return the directory of ``queue_database.toml``."""
        return self._directory(CONFIG_DIR_VARIABLE, DEFAULT_CONFIG_DIR)

    def data_dir(self) -> Path:
        """Return the directory of the SQLite file."""
        return self._directory(DATA_DIR_VARIABLE, DEFAULT_DATA_DIR)

    def _directory(self, variable: str, default: Path) -> Path:
        value = self._environ.get(variable, "").strip()
        return (self._base_dir or Path.cwd()) / (value or default)
