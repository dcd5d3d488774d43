"""The record that carries the stores: opened late, closed and opened again."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import MigrationError
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.database import SchemaVersions
from tests.support.jobs import enqueue


def test_backend_is_named(storage: Storage, backend: str) -> None:
    assert storage.backend == storage.database.backend == backend


def test_describe_tells_what_the_database_says_of_itself(
    storage: Storage, backend: str
) -> None:
    """describe_reports_backend_and_server_version"""
    info = storage.describe()

    fields = dict(info.fields)
    assert info.backend == backend
    assert fields["package_version"] == version("flask-forge-jobs")
    assert fields["python_version"] == platform.python_version()
    assert fields["schema_version"] == str(load_migrations(backend)[-1].version)
    key = {"sqlite": "sqlite_version", "postgres": "server_version"}[backend]
    assert fields[key][0].isdigit()
    assert all(isinstance(value, str) for value in fields.values())
    assert [key for key, _ in info.fields][-4:] == [
        "package_version", "schema_version", "python_version", "driver",
    ]  # fmt: skip


def test_describe_names_no_address(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    text = repr(storage.describe())

    for secret in (
        database_settings.path,
        database_settings.host,
        database_settings.database,
        database_settings.password,
    ):
        assert not secret or str(secret) not in text


def test_describe_of_sqlite_reads_the_pragmas() -> None:
    """A database in memory has no write-ahead log and says so"""
    storage = open_storage(DatabaseSettings(busy_timeout_s=7))
    try:
        fields = dict(storage.describe().fields)
    finally:
        storage.close()

    assert (fields["journal_mode"], fields["busy_timeout_secs"]) == ("memory", "7")


def test_a_closed_storage_opens_again(storage: Storage) -> None:
    job_id = enqueue(storage)

    storage.close()
    storage.close()

    assert storage.job_reader.get(job_id).id == job_id


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    for settings in (
        DatabaseSettings(path=tmp_path / "queue.sqlite"),
        DatabaseSettings.from_url("postgresql://forge@127.0.0.1:1/nowhere"),
    ):
        open_storage(settings).close()

    assert list(tmp_path.iterdir()) == []


def test_schema_versions_are_those_of_the_code(storage: Storage, backend: str) -> None:
    newest = load_migrations(backend)[-1]

    assert storage.database.schema_versions() == SchemaVersions(
        newest.version, newest.version, newest.oldest_reader
    )


def test_opening_again_without_leave_to_migrate_is_fine_when_current(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    storage.open()
    other = open_storage(database_settings, migrate=False)
    try:
        other.open()
        assert other.queues.all() == []
    finally:
        other.close()


def test_an_empty_sqlite_file_may_not_be_migrated_without_leave() -> None:
    storage = open_storage(DatabaseSettings(), migrate=False)
    try:
        with pytest.raises(MigrationError, match="db migrate"):
            storage.queues.all()
    finally:
        storage.close()
