"""Single statements keep their isolation level and time limit under any defaults."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.connection import SessionSettings
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from tests.support.jobs import OWNER, enqueue
from tests.support.sql import Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

LIMIT_LOCK = (
    "SELECT pg_advisory_xact_lock(hashtextextended('forge_jobs concurrency send', 0))"
)


@pytest.fixture(params=["own", "pooled"], autouse=True)
def _sessions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a session is configured once or, behind a pooler, in each transaction."""
    if request.param == "pooled":
        monkeypatch.setattr(SessionSettings, "configure", lambda *_: None)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_permits_are_counted_whatever_the_default_level(
    own_settings: DatabaseSettings, level: str
) -> None:
    """C15: a caller that waited for the permits must see that one is taken."""
    sql = Sql(own_settings)
    name = sql.value("SELECT current_database()")
    sql.run(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")

    with contextlib.closing(open_storage(own_settings)) as storage:
        storage.jobs.enqueue_many([NewJob("send") for _ in range(4)])
        jobs = storage.jobs.claim("default", OWNER, 4)
        takes = [
            partial(storage.concurrency.acquire, job, OWNER, "send", 1) for job in jobs
        ]
        taken = behind(sql, LIMIT_LOCK, takes)

    assert sorted(taken) == [False, False, False, True]


def test_a_schedule_that_waits_for_its_row_is_timed_behind_the_wait(
    own_settings: DatabaseSettings,
) -> None:
    """Its next firing must not be one that another process makes meanwhile."""
    sql = Sql(own_settings)
    with contextlib.closing(open_storage(own_settings)) as storage:
        storage.cron.create(ScheduleDefinition("tick", "k", "* * * * * *"))
        edit = partial(replace, cron_expr="*/2 * * * * *")
        seen_us: list[int] = []

        def change() -> bool:
            changed = storage.cron.change("tick", lambda old: edit(old.definition))
            seen_us.append(to_micros(changed.updated_at))
            return True

        row = "SELECT * FROM forge_cron WHERE name = 'tick' FOR UPDATE"
        behind(sql, row, [change], lambda: seen_us.append(sql.now_us()))

    released_us, changed_us = seen_us
    assert changed_us >= released_us


def behind(
    sql: Sql,
    lock: str,
    calls: Sequence[Callable[[], bool]],
    before_release: Callable[[], object] = lambda: None,
) -> list[bool]:
    """Run calls that all wait for a lock before it is given up."""
    with contextlib.closing(sql.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(lock)

        def give_up() -> bool:
            wait_until(lambda: sql.lock_waiters == len(calls), "all wait")
            before_release()
            cursor.execute("COMMIT")
            return False

        return run_together([*calls, give_up])[: len(calls)]


def test_a_statement_that_was_given_up_is_not_carried_out_later(
    postgres: Storage, postgres_settings: DatabaseSettings
) -> None:
    """Behind a lock of the table: nothing waits on at the server, nothing is stored."""
    enqueue(postgres)  # the queue is known from here on
    sql = Sql(postgres_settings)
    hasty = dataclasses.replace(postgres_settings, statement_timeout_s=1.0)
    database = PostgresDatabase(hasty, wait=lambda _: None)

    with (
        contextlib.closing(database),
        contextlib.closing(sql.connect()) as holder,
        holder.cursor() as cursor,
    ):
        database.open()
        cursor.execute("BEGIN; LOCK TABLE forge_job IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageUnavailableError, match="longer than 1 s"):
            database.execute(
                "enqueue", id="given-up", queue_name="default", kind="noop",
                payload="{}", priority=0, run_at=None, max_attempts=1,
                dedupe_key=None, timeout_s=None, schedule_name=None, carried=None,
            )  # fmt: skip
        with pytest.raises(StorageUnavailableError, match="longer than 1 s"):
            database.read_one("statuses", rows="[]")
        with pytest.raises(StorageUnavailableError, match="longer than 1 s"):
            database.read(lambda tx: tx.all("statuses", rows="[]"), apart=True)
        left_waiting = sql.lock_waiters
        cursor.execute("ROLLBACK")

    assert left_waiting == 0
    assert sql.value("SELECT count(*) FROM forge_job WHERE id = 'given-up'") == 0
