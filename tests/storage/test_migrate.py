"""One process migrates the schema, completely or not at all."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import MigrationError, StorageBusyError
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.catalogue import Migration, load_migrations
from flask_forge_jobs.storage.database import SchemaVersions
from flask_forge_jobs.storage.migrate import apply_migrations
from flask_forge_jobs.storage.postgres import database as postgres_module
from flask_forge_jobs.storage.postgres import transaction as postgres_transaction
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from tests.support.backends import long
from tests.support.processes import in_child, output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import run_together

RECORD = (
    "INSERT INTO forge_schema (version, oldest_reader, name, applied_at) "
    "VALUES (?, ?, 'later', 1)"
)
KILLED = 9
TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE 'forge_%'",
    "postgres": "SELECT tablename FROM pg_tables WHERE tablename LIKE 'forge_%'",
}


class Schema:
    """A schema that records the calls."""

    def __init__(self, applied: list[tuple[int, int]] | None = None) -> None:
        self.steps = applied or []
        self.meanwhile: list[tuple[int, int]] = []
        self.log: list[str] = []
        self.failing = ""

    def applied(self) -> list[tuple[int, int]]:
        return list(self.steps)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.steps += self.meanwhile
        before = list(self.steps)
        self.log.append("lock")
        try:
            yield
        except BaseException:
            self.steps = before
            self.log.append("undo")
            raise
        self.log.append("commit")

    def keep_writers_out(self) -> None:
        self.log.append("keep writers out")

    def execute_script(self, sql: str) -> None:
        if sql == self.failing:
            raise RuntimeError("disk full")
        self.log.append(sql)

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        del name
        self.steps.append((version, oldest_reader))


STEPS = (Migration(1, "one", 1, "SQL 1"), Migration(2, "two", 1, "SQL 2"))


def open_once(settings: DatabaseSettings, *, migrate: bool = True) -> None:
    with contextlib.closing(open_storage(settings, migrate=migrate)) as storage:
        storage.open()


# -- the order of things -----------------------------------------------------------


def test_missing_steps_are_applied_in_order_under_the_lock() -> None:
    schema = Schema()

    assert apply_migrations(schema, STEPS, may_change=True) == ["one", "two"]

    assert schema.log == ["lock", "SQL 1", "SQL 2", "commit"]
    assert schema.steps == [(1, 1), (2, 1)]


def test_writers_are_kept_out_before_the_first_step_if_one_shuts_out_older_code() -> (
    None
):
    schema = Schema([(1, 1), (2, 1)])
    steps = (
        *STEPS,
        Migration(3, "three", 1, "SQL 3"),
        Migration(4, "four", 4, "SQL 4"),
    )

    apply_migrations(schema, steps, may_change=True)

    assert schema.log == ["lock", "keep writers out", "SQL 3", "SQL 4", "commit"]


def test_a_current_schema_is_not_even_locked() -> None:
    schema = Schema([(1, 1), (2, 1)])

    assert apply_migrations(schema, STEPS, may_change=True) == []
    assert apply_migrations(schema, STEPS, may_change=False) == []

    assert schema.log == []


def test_steps_that_somebody_else_applied_meanwhile_are_left_out() -> None:
    schema = Schema([(1, 1)])
    schema.meanwhile = [(2, 1)]

    assert apply_migrations(schema, STEPS, may_change=True) == []

    assert schema.log == ["lock", "commit"]


def test_a_failing_step_is_named_and_undoes_the_others() -> None:
    schema = Schema()
    schema.failing = "SQL 2"

    with pytest.raises(MigrationError, match=r"'two' failed: disk full") as caught:
        apply_migrations(schema, STEPS, may_change=True)

    assert caught.value.version == 2
    assert schema.log == ["lock", "SQL 1", "undo"]
    assert schema.steps == []


def test_missing_steps_without_leave_to_change_are_an_error() -> None:
    schema = Schema([(1, 1)])

    with pytest.raises(MigrationError, match="not up to date"):
        apply_migrations(schema, STEPS, may_change=False)

    assert schema.log == []


def test_an_additive_newer_schema_is_accepted() -> None:
    schema = Schema([(1, 1), (2, 1), (3, 2)])

    assert apply_migrations(schema, STEPS, may_change=False) == []


def test_a_newer_schema_for_newer_code_is_refused() -> None:
    schema = Schema([(1, 1), (2, 1), (3, 3)])

    with pytest.raises(MigrationError, match=r"schema 3 or newer.*knows 2") as caught:
        apply_migrations(schema, STEPS, may_change=True)

    assert caught.value.version == 3


# -- on both databases -------------------------------------------------------------


def test_opening_twice_changes_nothing(
    bare_settings: DatabaseSettings, backend: str
) -> None:
    sql = Sql(bare_settings)
    open_once(bare_settings)
    before = sql.run("SELECT * FROM forge_schema")

    open_once(bare_settings)

    assert sql.run("SELECT * FROM forge_schema") == before
    assert [row[0] for row in before] == [s.version for s in load_migrations(backend)]


def test_many_threads_may_open_an_empty_database_at_once(
    bare_settings: DatabaseSettings, backend: str
) -> None:
    run_together([lambda: open_once(bare_settings)] * 8)

    versions = Sql(bare_settings).run("SELECT version FROM forge_schema")
    assert len(versions) == len(load_migrations(backend))


@pytest.mark.parametrize("count", [4, long(8)])
def test_many_processes_may_open_an_empty_database_at_once(
    bare_settings: DatabaseSettings, count: int
) -> None:
    script = """
sys.stdin.read()
storage.jobs.enqueue(NewJob("noop"))
storage.close()
"""
    children = [start_python(bare_settings, script) for _ in range(count)]

    for child in children:
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
    for child in children:
        output_of(child)

    sql = Sql(bare_settings)
    assert sql.value("SELECT COUNT(*) FROM forge_job") == count
    assert sql.value("SELECT COUNT(*) FROM forge_queue") == 1
    sql.assert_counts_equal_rows()


def test_a_crash_within_a_step_leaves_nothing(
    bare_settings: DatabaseSettings, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_migrations(backend)[0]
    broken = Migration(
        2, "broken", 1, "CREATE TABLE forge_half (x INTEGER);\nNONSENSE;\n"
    )
    monkeypatch.setattr(
        f"flask_forge_jobs.storage.{backend}.database.load_migrations",
        lambda _: (first, broken),
    )

    with pytest.raises(MigrationError, match="'broken' failed") as caught:
        open_once(bare_settings)

    assert caught.value.version == 2
    assert Sql(bare_settings).run(TABLES[backend]) == []
    monkeypatch.undo()
    open_once(bare_settings)
    versions = Sql(bare_settings).run("SELECT version FROM forge_schema")
    assert len(versions) == len(load_migrations(backend))


class Doomed:
    """A connection or a cursor of a process that dies at one of its statements."""

    def __init__(self, real: Any, left: int) -> None:
        self._real = real
        self._left = left

    def execute(self, *arguments: object) -> object:
        if not self._left:
            os._exit(KILLED)
        self._left -= 1
        return self._real.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(
    ("backend", "stride"),
    [("sqlite", 7), long("sqlite", 1), ("postgres", 1)],
    indirect=["backend"],
)
def test_a_killed_migrator_leaves_nothing(
    bare_settings: DatabaseSettings,
    backend: str,
    stride: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process dies in the middle, without running a Python handler."""
    name, attribute = {
        "sqlite": ("SqliteSchema", "_connection"),
        "postgres": ("PostgresSchema", "_cursor"),
    }[backend]
    module = f"flask_forge_jobs.storage.{backend}.transaction"
    schema = getattr(importlib.import_module(module), name)
    make = schema.__init__
    sql = Sql(bare_settings)

    def migrate(left: int) -> None:
        def make_doomed(self: Any, connection: Any, *others: Any) -> None:
            make(self, connection, *others)
            setattr(self, attribute, Doomed(getattr(self, attribute), left))

        # The child ends with it.
        monkeypatch.setattr(schema, "__init__", make_doomed)
        open_once(bare_settings)

    deaths = 0
    while (status := in_child(partial(migrate, deaths * stride))) == KILLED:
        assert sql.run(TABLES[backend]) == []
        deaths += 1

    assert status == 0
    # It looks, begins, creates, records and commits.
    assert deaths > 5
    open_once(bare_settings)
    versions = sql.run("SELECT version FROM forge_schema")
    assert len(versions) == len(load_migrations(backend))
    sql.assert_counts_equal_rows()


def test_a_database_for_newer_code_is_refused(
    bare_settings: DatabaseSettings, backend: str
) -> None:
    open_once(bare_settings)
    newest = load_migrations(backend)[-1].version
    Sql(bare_settings).run(RECORD, newest + 7, newest + 5)

    with pytest.raises(MigrationError) as caught:
        open_once(bare_settings)

    assert caught.value.version == newest + 7
    assert f"schema {newest + 5} or newer" in str(caught.value)
    assert f"knows {newest};" in str(caught.value)


def test_a_database_with_additive_newer_steps_opens(
    bare_settings: DatabaseSettings, backend: str
) -> None:
    """A rolling deploy"""
    open_once(bare_settings)
    newest = load_migrations(backend)[-1].version
    Sql(bare_settings).run(RECORD, newest + 1, newest)

    open_once(bare_settings, migrate=False)

    with contextlib.closing(open_storage(bare_settings)) as storage:
        assert storage.queues.ensure("mail") is True
        assert storage.database.schema_versions() == SchemaVersions(
            newest + 1, newest, oldest_reader=newest
        )


def test_a_bare_database_is_left_alone_without_leave(
    bare_settings: DatabaseSettings, backend: str
) -> None:
    with pytest.raises(MigrationError, match="db migrate"):
        open_once(bare_settings, migrate=False)

    assert Sql(bare_settings).run(TABLES[backend]) == []


def test_schema_versions_of_a_bare_database_are_none(
    bare_settings: DatabaseSettings, backend: str
) -> None:
    """Looking changes nothing"""
    with contextlib.closing(open_storage(bare_settings)) as storage:
        assert storage.database.schema_versions() is None

    if bare_settings.path is not None:
        assert not bare_settings.path.exists()
    else:
        assert Sql(bare_settings).run(TABLES[backend]) == []


def test_a_step_that_waits_for_a_table_keeps_nobody_else_waiting(
    own_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later queries queue up behind an ALTER TABLE that waits."""
    monkeypatch.setattr(postgres_transaction, "DDL_LOCK_TIMEOUT_MS", 20)
    open_once(own_settings)
    sql = Sql(own_settings)
    alter = "ALTER TABLE forge_queue ADD COLUMN more INTEGER"
    steps = (*load_migrations("postgres"), Migration(99, "more", 1, alter))
    monkeypatch.setattr(postgres_module, "load_migrations", lambda _: steps)
    database = PostgresDatabase(own_settings, wait=lambda _: None)

    with contextlib.closing(sql.connect()) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1 FROM forge_queue")
        with pytest.raises(StorageBusyError, match="blocks the schema step"):
            database.open()
        cursor.execute("COMMIT")
    database.open()
    database.close()

    assert sql.run("SELECT more FROM forge_queue") == []
