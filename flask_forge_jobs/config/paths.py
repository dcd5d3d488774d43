"""Where files are looked for when nobody says so."""

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
    """The two directories that a host supplies; neither has to exist."""

    def config_dir(self) -> Path:
        """Return the directory that may hold ``queue_database.toml``.

        Raises:
            ConfigurationError: The directory cannot be told.
        """

    def data_dir(self) -> Path:
        """Return the directory for the SQLite file.

        Raises:
            ConfigurationError: The directory cannot be told.
        """


@dataclass(frozen=True, slots=True)
class FixedPaths:
    """Two directories that are already known."""

    config: Path
    data: Path

    def config_dir(self) -> Path:
        """Return the directory that may hold ``queue_database.toml``."""
        return self.config

    def data_dir(self) -> Path:
        """Return the directory for the SQLite file."""
        return self.data


class EnvironmentPaths:
    """The directories named by ``JOBS_CONFIG_DIR`` and ``JOBS_DATA_DIR``.

    A variable that is unset or blank means ``jobs/config`` or ``jobs/data`` below the
    base directory; a relative one is read from there as well.

    Args:
        environ: Where to look; the environment of this process by default.
        base_dir: What relative directories start from; the current directory at the
            time of the call by default.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._base_dir = base_dir

    def config_dir(self) -> Path:
        """Return the directory that may hold ``queue_database.toml``."""
        return self._directory(CONFIG_DIR_VARIABLE, DEFAULT_CONFIG_DIR)

    def data_dir(self) -> Path:
        """Return the directory for the SQLite file."""
        return self._directory(DATA_DIR_VARIABLE, DEFAULT_DATA_DIR)

    def _directory(self, variable: str, default: Path) -> Path:
        value = self._environ.get(variable, "").strip()
        return (self._base_dir or Path.cwd()) / (value or default)
