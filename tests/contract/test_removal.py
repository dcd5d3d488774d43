"""What a database holds, and what is left when ours is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.administration import Contents, contents, remove_tables
from flask_forge_jobs.storage.base import open_storage
from tests.support.backends import tables_of
from tests.support.jobs import enqueue
from tests.support.postgres import fresh_database
from tests.support.sql import Sql

COMMON = ["CREATE TABLE customer (id INTEGER)", "CREATE VIEW someone AS SELECT 1"]
POSTGRES = [
    "CREATE TYPE mood AS ENUM ('good')",
    "CREATE FUNCTION greet() RETURNS INTEGER LANGUAGE sql AS 'SELECT 1'",
    # Of ours by its name, but not where the stores would find it.
    "CREATE SCHEMA elsewhere",
    "CREATE TABLE elsewhere.forge_job (id SERIAL)",
]


@pytest.fixture
def settings(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[DatabaseSettings]:
    """A database of its own, with our tables and two jobs."""
    with contextlib.ExitStack() as stack:
        if backend == "sqlite":
            made = DatabaseSettings(path=tmp_path / "a b#.sqlite", synchronous="OFF")
        else:
            server = request.getfixturevalue("postgres_server")
            made = DatabaseSettings.from_url(
                stack.enter_context(fresh_database(server))
            )
        with contextlib.closing(open_storage(made)) as storage:
            enqueue(storage)
            enqueue(storage)
        yield made


def test_contents_tells_ours_from_others(settings: DatabaseSettings) -> None:
    alone = contents(settings)
    sql = Sql(settings)
    for statement in COMMON + (POSTGRES if settings.backend == "postgres" else []):
        sql.run(statement)
    beside = contents(settings)

    assert alone is not None
    assert alone.others == ()
    assert set(alone.tables) == tables_of(settings.backend)
    assert alone.jobs == {"pending": 2}
    more = {"forge_job", "greet", "mood"} if settings.backend == "postgres" else set()
    assert beside is not None
    assert beside.tables == alone.tables
    assert set(beside.others) == {"customer", "someone"} | more


def test_remove_leaves_what_is_not_ours(settings: DatabaseSettings) -> None:
    """And nothing of ours: functions go as well, or the next schema would not come."""
    sql = Sql(settings)
    for statement in COMMON + (POSTGRES if settings.backend == "postgres" else []):
        sql.run(statement)
    before = contents(settings)

    remove_tables(settings)
    remove_tables(settings)

    assert before is not None
    assert contents(settings) == Contents(others=before.others)
    if settings.backend == "postgres":
        left = "SELECT COUNT(*) FROM pg_proc WHERE proname LIKE 'forge%'"
        assert sql.value(left) == 0
    with contextlib.closing(open_storage(settings)) as storage:
        enqueue(storage)


def test_remove_takes_nothing_that_something_refers_to(
    settings: DatabaseSettings,
) -> None:
    sql = Sql(settings)
    sql.run("CREATE TABLE receipt (job TEXT REFERENCES forge_job (id))")

    with pytest.raises(StorageError):
        remove_tables(settings)

    found = contents(settings)
    assert found is not None
    assert set(found.tables) == tables_of(settings.backend)
    assert found.jobs == {"pending": 2}


def test_a_file_that_is_no_database_is_named_and_left(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_bytes(b"no database at all" * 500)
    settings = DatabaseSettings(path=path)

    for call in (contents, remove_tables):
        with pytest.raises(StorageError, match=r"queue\.sqlite"):
            call(settings)

    assert path.read_bytes() == b"no database at all" * 500


def test_what_is_missing_is_not_made(tmp_path: Path) -> None:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")

    remove_tables(settings)

    assert contents(settings) is None
    assert list(tmp_path.iterdir()) == []
