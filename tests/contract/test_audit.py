"""The audit trail is appended to, read by index, and never changed."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg2
import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.model.audit import AuditEntry, AuditFilter, AuditRecord
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.storage import audit as audit_store
from flask_forge_jobs.storage.audit import PRUNED_AT_ONCE
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql

RECORD = AuditRecord(
    actor="ada",
    action="jobs_retry",
    target="mail",
    address="192.0.2.1",
    request_id="r-1",
    status=200,
    changed=3,
    arguments='{"body":{"ids":["é"]}}',
)


def _page(
    storage: Storage,
    limit: int = 9,
    before: AuditEntry | None = None,
    **wanted: datetime,
) -> list[AuditEntry]:
    position = None if before is None else (before.at, before.id)
    return storage.audit.page(AuditFilter(**wanted), limit, position)  # type: ignore[arg-type]  # start and end


def test_append_keeps_every_fact_and_dates_it(storage: Storage) -> None:
    storage.audit.append(RECORD)
    storage.audit.append(replace(RECORD, target=None))

    last, first = _page(storage)

    assert first.record == RECORD
    assert last.record.target is None
    assert first.at <= last.at
    assert first.id < last.id


def test_pages_meet_without_gap_or_repetition(storage: Storage) -> None:
    for number in range(5):
        storage.audit.append(replace(RECORD, changed=number))

    first = _page(storage, 2)
    storage.audit.append(replace(RECORD, changed=99))
    second = _page(storage, 2, first[-1])
    third = _page(storage, 2, second[-1])

    seen = [entry.record.changed for entry in (*first, *second, *third)]
    assert seen == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    "wanted", [AuditFilter(), AuditFilter(actor="ada"), AuditFilter(target="mail")]
)
def test_pages_part_entries_of_one_instant(
    storage: Storage, sql: Sql, wanted: AuditFilter
) -> None:
    storage.audit.append(RECORD)
    columns = "at, actor, action, target, address, request_id, status, changed"
    for _ in range(4):
        sql.run(
            f"INSERT INTO forge_audit ({columns}, arguments) "
            f"SELECT {columns}, arguments FROM forge_audit LIMIT 1"
        )

    pages = [storage.audit.page(wanted, 2)]
    while len(pages[-1]) == 2:
        last = pages[-1][-1]
        pages.append(storage.audit.page(wanted, 2, (last.at, last.id)))

    ids = [entry.id for page in pages for entry in page]
    assert len(set(ids)) == 5
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [3, 2, 1, 0]),
        ({"actor": "ada"}, [2, 1, 0]),
        ({"actor": "eve"}, [3]),
        ({"action": "delete"}, [3, 1]),
        ({"target": "mail"}, [3, 1, 0]),
        ({"target": "mail", "actor": "ada"}, [1, 0]),
        ({"target": "mail", "actor": "ada", "action": "delete"}, [1]),
        ({"actor": "ada", "action": "retry"}, [2, 0]),
        ({"actor": "nobody"}, []),
        ({"target": "%"}, []),
    ],
)
def test_filters_are_exact_and_combine(
    storage: Storage, wanted: dict[str, Any], found: list[int]
) -> None:
    rows = [
        ("ada", "retry", "mail"),
        ("ada", "delete", "mail"),
        ("ada", "retry", None),
        ("eve", "delete", "mail"),
    ]
    for number, (actor, action, target) in enumerate(rows):
        storage.audit.append(
            replace(RECORD, actor=actor, action=action, target=target, changed=number)
        )

    page = storage.audit.page(AuditFilter(**wanted), 9)

    assert [entry.record.changed for entry in page] == found


def test_range_includes_both_ends(storage: Storage) -> None:
    storage.audit.append(RECORD)
    [entry] = _page(storage)
    step = timedelta(microseconds=1)

    assert _page(storage, start=entry.at, end=entry.at) == [entry]
    assert _page(storage, start=entry.at + step) == []
    assert _page(storage, end=entry.at - step) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE forge_audit SET actor = 'eve'",
        "UPDATE forge_audit SET changed = changed",
        "DELETE FROM forge_audit",
        "DELETE FROM forge_audit WHERE id > 0",
    ],
)
def test_sec_S42_database_refuses_every_change(
    storage: Storage, sql: Sql, statement: str
) -> None:
    storage.audit.append(RECORD)

    with pytest.raises(
        (sqlite3.IntegrityError, psycopg2.Error), match="is append-only"
    ):
        sql.run(statement)

    assert [entry.record for entry in _page(storage)] == [RECORD]


_COLUMNS = "at, actor, action, target, address, request_id, status, changed, arguments"
_FACTS = "1, 'eve', 'a', NULL, '', '', 200, 0, '{}'"
_COPY = f"SELECT id, {_FACTS} FROM forge_audit"
_INTO = f"INTO forge_audit (id, {_COLUMNS})"
_UPSERT = "ON CONFLICT (id) DO UPDATE SET actor = 'eve'"
# A replacement and a truncation delete without a trigger for deletions.
CHANGES_IN_PASSING = {
    "sqlite": (
        f"INSERT OR REPLACE {_INTO} {_COPY}",
        f"REPLACE {_INTO.replace('(id', '(_rowid_')} {_COPY}",
        f"INSERT OR IGNORE {_INTO} {_COPY}",
        f"INSERT {_INTO} {_COPY} WHERE 1 {_UPSERT}",
        f"REPLACE {_INTO} VALUES (7, {_FACTS}), (7, {_FACTS})",
        f"INSERT {_INTO} VALUES (-1, {_FACTS})",  # would pass for an id to be made
        "UPDATE OR REPLACE forge_audit SET id = id + 1",
    ),
    "postgres": (
        f"INSERT {_INTO} OVERRIDING SYSTEM VALUE {_COPY} {_UPSERT}",
        "WITH gone AS (DELETE FROM forge_audit RETURNING id) SELECT id FROM gone",
        "TRUNCATE forge_audit",
        "TRUNCATE forge_job, forge_audit RESTART IDENTITY CASCADE",
    ),
}


def test_sec_S42_database_refuses_what_changes_in_passing(
    storage: Storage, sql: Sql
) -> None:
    storage.audit.append(RECORD)
    for statement in CHANGES_IN_PASSING[storage.backend]:
        with pytest.raises(
            (sqlite3.IntegrityError, psycopg2.Error),
            match=r"is append-only|CHECK constraint failed: id",
        ):
            sql.run(statement)

    storage.audit.append(RECORD)
    assert [entry.record for entry in _page(storage)] == [RECORD, RECORD]


def test_prune_deletes_what_is_old_in_batches_and_nothing_else(
    storage: Storage, sql: Sql
) -> None:
    for number in range(3):
        storage.audit.append(replace(RECORD, changed=number))
    insert_aged(sql, days=100, count=PRUNED_AT_ONCE + 1)
    insert_aged(sql, days=92, count=1)

    assert storage.audit.prune(95) == PRUNED_AT_ONCE + 1
    assert storage.audit.prune(95) == 0
    assert storage.audit.prune(90) == 1
    assert [entry.record.changed for entry in _page(storage)] == [2, 1, 0]


def test_sec_S42_prune_leaves_an_entry_for_each_batch(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_store, "PRUNED_AT_ONCE", 2)
    storage.open()
    insert_aged(sql, days=100, count=3)

    assert audit.prune(storage, 90, actor="command:ada") == 3

    last, first = [entry.record for entry in _page(storage)]
    assert (first.changed, last.changed) == (2, 1)
    assert {first.action, last.action} == {"audit_prune"}


@pytest.mark.parametrize("days", [89, 0, -1, 36_501])
def test_prune_forgets_nothing_younger_than_90_days(
    storage: Storage, days: int
) -> None:
    with pytest.raises(InvalidInputError, match="days"):
        storage.audit.prune(days)


def test_sec_S42_database_keeps_an_entry_for_90_days(
    storage: Storage, sql: Sql
) -> None:
    storage.open()
    insert_aged(sql, days=89, count=1)

    with pytest.raises(
        (sqlite3.IntegrityError, psycopg2.Error), match="is append-only"
    ):
        sql.run("DELETE FROM forge_audit")


def insert_aged(sql: Sql, *, days: int, count: int) -> None:
    at = sql.now_us() - days * DAY_US
    for _ in range(count):
        sql.run(
            "INSERT INTO forge_audit (at, actor, action, target, address, request_id, "
            "status, changed, arguments) "
            "VALUES (?, 'old', 'a', NULL, '', '', 200, 0, '{}')",
            at,
        )
