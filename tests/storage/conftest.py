"""Fixtures for the tests of the dialects, one backend each."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.conftest import empty_tables
from tests.support.postgres import fresh_database


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> DatabaseSettings:
    """Settings of a SQLite file that does not exist yet."""
    return DatabaseSettings(path=tmp_path / "queue.sqlite", synchronous="OFF")


@pytest.fixture
def sqlite(sqlite_settings: DatabaseSettings) -> Iterator[Storage]:
    """The stores over a SQLite file."""
    with contextlib.closing(open_storage(sqlite_settings, jitter=None)) as storage:
        yield storage


@pytest.fixture
def postgres_settings(postgres_database: str) -> DatabaseSettings:
    """Settings of the shared PostgreSQL database, its tables empty."""
    settings = DatabaseSettings.from_url(postgres_database)
    empty_tables(settings)
    return settings


@pytest.fixture
def postgres(postgres_settings: DatabaseSettings) -> Iterator[Storage]:
    """The stores over PostgreSQL."""
    with contextlib.closing(open_storage(postgres_settings, jitter=None)) as storage:
        yield storage


@pytest.fixture
def own_settings(postgres_server: str) -> Iterator[DatabaseSettings]:
    """Settings of a PostgreSQL database whose defaults a test may change."""
    with fresh_database(postgres_server) as url:
        yield DatabaseSettings.from_url(url)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a database with our empty tables, to be copied."""
    with fresh_database(postgres_server) as url:
        settings = DatabaseSettings.from_url(url)
        with contextlib.closing(open_storage(settings)) as opened:
            opened.open()
        assert settings.database is not None
        yield settings.database


@pytest.fixture
def own_tables(
    postgres_server: str, postgres_template: str
) -> Iterator[DatabaseSettings]:
    """Settings of a database as above that has our tables already."""
    with fresh_database(postgres_server, postgres_template) as url:
        yield DatabaseSettings.from_url(url)


_BEYOND_SELECT = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """A process that has more files and sockets open than select() can tell apart."""
    limits = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * _BEYOND_SELECT), hard))
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        last = 0
        while last < _BEYOND_SELECT:
            last = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, last)
        yield


@pytest.fixture
def bare_settings(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[DatabaseSettings]:
    """Settings of a database without a schema, on each backend."""
    if backend == "sqlite":
        yield DatabaseSettings(path=tmp_path / "bare.sqlite", synchronous="OFF")
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as url:
        yield DatabaseSettings.from_url(url)
