"""Long statements of pages are planned once a session, if it is ours alone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.attention import Facts
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.storage.administration import remove_tables
from flask_forge_jobs.storage.attention import _windows
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.catalogue import Statement, load_statements
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.postgres.connection import SessionSettings
from flask_forge_jobs.storage.postgres.prepared import prepared
from tests.storage.test_catalogue import SERVED_BY, parameters_of
from tests.support.jobs import enqueue

PREPARED = [s for s in load_statements("postgres").values() if s.is_prepared]


@pytest.fixture
def storage(own_tables: DatabaseSettings) -> Iterator[Storage]:
    opened = open_storage(own_tables)
    opened.open()
    yield opened
    opened.close()


def ask(storage: Storage, sql: str) -> list[tuple[Any, ...]]:
    """Run SQL in the session that the next call uses, too."""

    def work(transaction: Any) -> list[tuple[Any, ...]]:
        cursor = transaction._cursor
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []

    return storage.database.read(work, apart=True)


def planned(storage: Storage) -> list[str]:
    rows = ask(storage, "SELECT name, generic_plans FROM pg_prepared_statements")
    return sorted(name for name, plans in rows if plans)


def look(storage: Storage) -> Facts:
    return storage.attention.facts(from_micros(SystemClock().now_us()))


def test_a_session_plans_the_report_once(storage: Storage) -> None:
    for kind in ("one", "two"):
        enqueue(storage, kind)

        assert kind in [each.kind for each in look(storage).kinds]

    assert planned(storage) == ["forge_attention_1"]
    rows = ask(storage, "SELECT generic_plans FROM pg_prepared_statements")
    assert rows == [(2,)]


def test_other_statements_are_not_planned_so(storage: Storage) -> None:
    look(storage)

    assert ask(storage, "SHOW plan_cache_mode") == [("auto",)]


def test_a_session_of_a_pooler_keeps_nothing(
    own_tables: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionSettings, "configure", lambda *_: None)

    with contextlib.closing(open_storage(own_tables)) as storage:
        look(storage)

        assert planned(storage) == []


def test_a_session_that_somebody_has_reset_is_no_longer_ours(storage: Storage) -> None:
    look(storage)
    ask(storage, "DISCARD ALL")

    assert look(storage).database.schema_stored > 0
    assert look(storage).database.schema_stored > 0
    assert planned(storage) == []


def test_a_name_that_another_client_of_a_pooler_has_taken_is_left(
    storage: Storage,
) -> None:
    ask(storage, "PREPARE forge_attention_1 AS SELECT 1")

    assert look(storage).database.schema_stored > 0
    assert planned(storage) == []


def test_a_column_may_get_another_type(storage: Storage) -> None:
    """As by a schema step of a newer release, beside which this one works on."""
    look(storage)
    ask(storage, "ALTER TABLE forge_schema ALTER COLUMN version TYPE BIGINT")

    assert look(storage).database.schema_stored > 0


def test_tables_may_be_made_anew(
    storage: Storage, own_tables: DatabaseSettings
) -> None:
    enqueue(storage, "one")
    look(storage)
    remove_tables(own_tables)
    with contextlib.closing(open_storage(own_tables)) as other:
        enqueue(other, "two")

    assert [each.kind for each in look(storage).kinds] == ["two"]


def test_a_plan_that_was_made_behind_an_interruption_is_made_again(
    storage: Storage,
) -> None:
    look(storage)

    def forget(transaction: Any) -> None:
        transaction._connection.prepared.clear()

    storage.database.read(forget)
    look(storage)

    assert planned(storage) == ["forge_attention_1", "forge_attention_2"]


def test_it_is_run_within_a_transaction_and_behind_a_deferred_statement(
    storage: Storage,
) -> None:
    values = _windows(0)

    def within(transaction: Transaction) -> list[Row]:
        return transaction.all("attention", **values)

    def behind(transaction: Transaction) -> list[Row]:
        transaction.defer("notify", queue_name="a")
        return transaction.all("attention", **values)

    assert storage.database.read(within)[0][1:] == storage.database.write(within)[0][1:]
    assert storage.database.write(behind)[0][1:] == storage.database.read(within)[0][1:]


@pytest.mark.parametrize("statement", PREPARED, ids=lambda each: str(each.name))
def test_its_plan_uses_the_named_index(storage: Storage, statement: Statement) -> None:
    def explain(transaction: Any) -> str:
        cursor = transaction._cursor
        execute = prepared(transaction._connection, cursor, statement)
        assert execute is not None
        setting, _, text = execute.partition(";\n")
        values = parameters_of(statement)
        cursor.execute(f"{setting};\nEXPLAIN {text}", values)
        return "\n".join(line for (line,) in cursor.fetchall())

    plan = storage.database.read(explain)

    assert re.search(SERVED_BY[statement.name], plan), plan
    assert "Seq Scan on forge_job " not in plan
