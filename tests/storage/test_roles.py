"""The documented PostgreSQL roles have exactly the rights that they need."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import pytest

from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.api.mounting import mount
from tests.conformance.requests import sample
from tests.conformance.seeding import seed, seed_schedule
from tests.support.jobs import run
from tests.support.postgres import fresh_database
from tests.support.sql import Sql

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "secure.rst"
NAMES = ("owner", "worker", "reader")


@dataclass(frozen=True, slots=True)
class Roles:
    """One database, reached as each of the three roles."""

    owner: DatabaseSettings
    worker: DatabaseSettings
    reader: DatabaseSettings


def _documented_sql() -> str:
    block = PAGE.read_text("utf-8").partition(":caption: roles.sql\n")[2]
    lines = block.partition("\n\nGive each")[0].splitlines()
    return "\n".join(line.strip() for line in lines)


@pytest.fixture(scope="module")
def roles(postgres_server: str) -> Iterator[Roles]:
    """A database made as the page says, its schema migrated by its owner."""
    prefix = f"t{secrets.token_hex(4)}_"
    sql = _documented_sql().replace("shop_", prefix)
    assert sql.count("CREATE ROLE") == len(NAMES)
    password = secrets.token_hex(16)
    for name in NAMES:
        sql += f";ALTER ROLE {prefix}{name} PASSWORD '{password}'"
    try:
        with fresh_database(postgres_server) as url:
            with contextlib.closing(psycopg2.connect(url)) as connection, connection:
                connection.cursor().execute(sql)
            settings = DatabaseSettings.from_url(url)
            made = Roles(
                *(
                    replace(settings, username=f"{prefix}{name}", password=password)
                    for name in NAMES
                )
            )
            with contextlib.closing(open_storage(made.owner)) as storage:
                storage.open()
            with contextlib.closing(_opened(made.worker)) as storage:
                seed(storage, Sql(made.worker))
                seed_schedule(mount(storage))
            yield made
    finally:
        with contextlib.closing(psycopg2.connect(postgres_server)) as connection:
            connection.autocommit = True
            for name in NAMES:
                connection.cursor().execute(f"DROP ROLE IF EXISTS {prefix}{name}")


def _opened(settings: DatabaseSettings) -> Storage:
    storage = open_storage(settings, migrate=False)
    storage.open()
    return storage


def _rows(roles: Roles) -> list[list[tuple[object, ...]]]:
    tables = ("job", "job_count", "queue", "cron", "rate_limit", "request_key", "audit")
    beside = Sql(roles.worker)
    return [beside.run(f"SELECT * FROM forge_{each} ORDER BY 1, 2") for each in tables]


def test_sec_S44_reader_serves_every_read(
    roles: Roles, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(_opened(roles.reader)) as storage:
        client = mount(storage, BlueprintOptions(read_only=True))
        reads = [route for route in all_routes(enable_demo=True) if not route.mutates]
        for route in reads:
            answer = sample(route).send(client)
            # No worker runs, so it is not ready; the link belongs to no job.
            fine = {200, 204, 404 if "<token>" in route.path else 200}
            assert answer.status_code in fine, (route.path, answer.text)
        storage.flusher.flush()

    assert len(reads) > 30
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


def test_sec_S44_reader_changes_nothing(roles: Roles) -> None:
    before = _rows(roles)
    with contextlib.closing(_opened(roles.reader)) as storage:
        with pytest.raises(StorageError, match="42501"):
            storage.jobs.enqueue(NewJob("k"))
        client = mount(storage)
        for route in all_routes(enable_demo=True):
            if route.mutates:
                sample(route).send(client)

    assert _rows(roles) == before


def test_sec_S44_worker_does_all_that_a_day_brings(
    roles: Roles, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(_opened(roles.worker)) as storage:
        job_id = storage.jobs.enqueue(NewJob("k", queue_name="day")).id
        run(storage, Done("1"), queue_name="day")
        storage.workers.beat("host", "h-1", ["day"], [])
        storage.workers.reap(["gone"])
        assert storage.leases.take("cron", "host", 30)
        storage.retention.sweep()
        storage.job_admin.fold_counts(0)
        storage.flusher.flush()
        assert storage.job_reader.get(job_id).status is JobStatus.DONE
        client = mount(storage, BlueprintOptions(enable_demo=True))
        for route in all_routes(enable_demo=True):
            answer = sample(route).send(client)
            assert answer.status_code < 500, (route.path, answer.text)

    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id INTEGER)",
        "DROP TABLE forge_audit",
        "TRUNCATE forge_audit",
        "TRUNCATE forge_job",
        "ALTER TABLE forge_audit DISABLE TRIGGER ALL",
        "DROP TRIGGER forge_audit_no_change ON forge_audit",
        "UPDATE forge_audit SET actor = 'nobody'",
        "DELETE FROM forge_audit",
        "ALTER FUNCTION forge_refuse_change() RENAME TO other",
        "SET session_replication_role = replica",
    ],
)
@pytest.mark.parametrize("name", ["worker", "reader"])
def test_sec_S44_S42_nobody_but_the_owner_touches_schema_or_trail(
    roles: Roles, name: str, statement: str
) -> None:
    """The data set has left an entry in the trail."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        Sql(getattr(roles, name)).run(statement)
