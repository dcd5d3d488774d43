"""What every request finds: the contract's data set, on SQLite unless asked of both."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import mount_shared
from tests.conformance.seeding import SeededFile, fill


@pytest.fixture(scope="session")
def seeded_file(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> SeededFile:
    """The data set as a file."""
    return SeededFile(sqlite_template, tmp_path_factory.mktemp("seeded") / "seeded")


@pytest.fixture
def database_settings(
    database_settings: DatabaseSettings, seeded_file: SeededFile
) -> DatabaseSettings:
    """A database that holds the data set from the start."""
    if database_settings.path is None:
        fill(database_settings)
    else:
        seeded_file.copy_to(database_settings.path)
    return database_settings


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a test says ``each_backend``: most requests end above the storage.

    What a database could see differently is asked of both.
    """
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    """A client of the blueprint below a prefix."""
    return mount_shared(storage)
