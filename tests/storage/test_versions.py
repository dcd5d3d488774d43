"""Opening a database that is too old fails with one clear line."""

from __future__ import annotations

import contextlib

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.migrate import refuse_older
from flask_forge_jobs.storage.postgres import connection
from flask_forge_jobs.storage.sqlite import database as sqlite

PRODUCTS = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


@pytest.mark.parametrize(
    ("found", "oldest"),
    [
        ("3.38.0", "3.38"),
        ("3.100.1", "3.38"),
        ("4.0", "3.38"),
        ("12", "12"),
        ("12.22", "12"),
        ("16beta1", "12"),
        ("15.3 (Debian 15.3-1)", "12"),
        ("unknown", "12"),
    ],
)
def test_a_version_that_is_new_enough_passes(found: str, oldest: str) -> None:
    refuse_older("X", found, oldest)


@pytest.mark.parametrize(
    ("found", "oldest"),
    [
        ("3.37.2", "3.38"),
        ("3.9", "3.38"),
        ("2.8.17", "3.38"),
        ("11.22 (Debian 11.22-1)", "12"),
        ("9.6.24", "12"),
        ("11beta2", "12"),
    ],
)
def test_an_older_version_is_refused_by_name(found: str, oldest: str) -> None:
    with pytest.raises(StorageError) as caught:
        refuse_older("X", found, oldest)

    assert str(caught.value) == (
        f"X {found} is too old; flask-forge-jobs needs X {oldest} or newer"
    )


@pytest.fixture
def too_old(
    database_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> DatabaseSettings:
    """A database that is there and is not new enough."""
    monkeypatch.setattr(sqlite, "OLDEST_SQLITE", "99.9")
    monkeypatch.setattr(connection, "OLDEST_POSTGRES", "99")
    return database_settings


def test_opening_refuses_a_database_that_is_too_old(too_old: DatabaseSettings) -> None:
    product = PRODUCTS[too_old.backend]
    with (
        contextlib.closing(open_storage(too_old)) as storage,
        pytest.raises(StorageError, match=rf"{product} [0-9].* needs {product} 99"),
    ):
        storage.open()


@pytest.mark.usefixtures("too_old")
@pytest.mark.parametrize("command", ["status", "migrate", "create"])
def test_commands_refuse_a_database_that_is_too_old(
    backend: str, database_url: str, command: str
) -> None:
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = database_url
    ForgeJobs(app)

    result = app.test_cli_runner().invoke(args=["forge-jobs", "db", command])

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {PRODUCTS[backend]} ")
    assert " is too old; " in line
