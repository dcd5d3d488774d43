"""A database that another one follows by logical replication."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.jobs import QUEUE, claim_one, enqueue
from tests.support.sql import Sql

# PostgreSQL refuses to update and delete rows of a published table that has neither.
UNIDENTIFIED = (
    "SELECT relname FROM pg_class AS c WHERE relkind IN ('r', 'p') "
    "AND relname LIKE 'forge\\_%' AND relreplident <> 'f' AND NOT EXISTS "
    "(SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)"
)
TABLES = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'forge\\_%'"


@pytest.fixture
def sql(own_settings: DatabaseSettings) -> Sql:
    return Sql(own_settings)


@pytest.fixture
def published(own_settings: DatabaseSettings, sql: Sql) -> Iterator[Storage]:
    """The stores over a database whose tables are all published."""
    with contextlib.closing(open_storage(own_settings, jitter=None)) as storage:
        storage.open()
        tables = ", ".join(name for (name,) in sql.run(TABLES))
        sql.run(f"CREATE PUBLICATION every_table FOR TABLE {tables}")
        yield storage


def test_every_published_row_can_be_identified(published: Storage, sql: Sql) -> None:
    assert published.database.schema_versions()
    assert sql.run(UNIDENTIFIED) == []


def test_the_counts_of_a_published_table_are_folded(
    published: Storage, sql: Sql
) -> None:
    for _ in range(3):
        enqueue(published)
    claim_one(published)
    assert sql.value("SELECT COUNT(*) FROM forge_job_count") == 5

    published.job_admin.fold_counts(0)

    assert sql.run(
        "SELECT queue_name, status, jobs FROM forge_job_count ORDER BY status"
    ) == [(QUEUE, "in_progress", 1), (QUEUE, "pending", 2)]
