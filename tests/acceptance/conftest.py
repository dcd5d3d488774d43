"""What every acceptance test may ask for, on whichever backend it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.databases import sqlite_url
from tests.support.postgres import fresh_database
from tests.support.sql import Sql


@pytest.fixture
def database_url(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    if backend == "sqlite":
        yield sqlite_url(tmp_path / "queue.sqlite")
        return
    server: str = request.getfixturevalue("postgres_server")
    with fresh_database(server) as url:
        yield url


@pytest.fixture
def sql(database_url: str) -> Sql:
    """Plain SQL into the same database."""
    return Sql(DatabaseSettings.from_url(database_url))
