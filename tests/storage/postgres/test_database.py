"""PostgreSQL: lost connections, forks, deadlines, and swallowed errors."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done, Failed
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.postgres import database as postgres_module
from flask_forge_jobs.storage.postgres import pool as postgres_pool
from flask_forge_jobs.storage.postgres import process as process_module
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from flask_forge_jobs.storage.postgres.pool import ConnectionPool
from flask_forge_jobs.storage.postgres.process import Availability, PostgresProcess
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.workers import WorkerRegistry
from tests.api.mounting import PREFIX, mount
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue, finish, run
from tests.support.processes import in_child
from tests.support.sql import UNDER_TEST, Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

OURS = f"SELECT pid FROM pg_stat_activity WHERE {UNDER_TEST}"
LEFT_OPEN = f"{OURS} AND state = 'idle in transaction'"


def database_of(storage: Storage) -> PostgresDatabase:
    assert isinstance(storage.database, PostgresDatabase)
    return storage.database


@pytest.fixture
def sql(postgres_settings: DatabaseSettings) -> Sql:
    return Sql(postgres_settings)


@pytest.fixture
def hasty(postgres_settings: DatabaseSettings) -> Iterator[Storage]:
    """A storage that waits for nothing: short limits and no pause between retries."""
    settings = dataclasses.replace(
        postgres_settings, statement_timeout_s=1.0, pool_size=2
    )
    database = PostgresDatabase(settings, wait=lambda _: None)
    with (
        contextlib.closing(database),
        contextlib.closing(open_storage(settings)) as base,
    ):
        base.database = database
        yield base


def terminate_all(sql: Sql) -> int:
    """Cut every session of the database but our own; return how many there were."""
    return len(sql.run(f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours"))


def _count_as_away_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes two seconds on a busy machine is not repeated otherwise."""
    monkeypatch.setattr(process_module, "_TIMED_OUT_S", 60.0)


# -- lost connections --------------------------------------------------------------


def test_every_verb_survives_cut_sessions(postgres: Storage, sql: Sql) -> None:
    """Finalize survives a dropped connection"""
    enqueue(postgres)
    assert terminate_all(sql) >= 1
    enqueue(postgres)
    assert terminate_all(sql) >= 1
    job = claim_one(postgres)
    assert terminate_all(sql) >= 1
    assert finish(postgres, job, Done())
    assert terminate_all(sql) >= 1
    assert postgres.job_reader.statistics()[QUEUE].counts.done == 1
    assert terminate_all(sql) >= 1

    assert postgres.describe().backend == "postgres"


def test_a_transaction_that_is_left_open_is_ended_by_the_server(
    hasty: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks would block all others until somebody notices."""
    monkeypatch.setattr(postgres_module, "_DEADLINE_SLACK_S", 0.2)
    _count_as_away_late(monkeypatch)
    database = PostgresDatabase(database_of(hasty)._settings, wait=lambda _: None)
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        attempts.append(transaction.attempt)
        transaction.run("ensure_queue", name="mail", max_workers=1, max_queues=9)
        if transaction.attempt == 0:
            wait_until(lambda: not sql.run(LEFT_OPEN), "the server ends it")
            transaction.all("all_queues")

    with contextlib.closing(database):
        database.open()
        # Nothing on our side ends it, as when the network swallows us.
        monkeypatch.setattr(postgres_pool, "_cut", lambda _: None)
        database.write(work)

    assert attempts == [0, 1]


def test_one_call_survives_however_many_sessions_were_cut(
    postgres: Storage, sql: Sql
) -> None:
    """More than a call has tries."""
    pool = database_of(postgres)._state.pool
    with contextlib.ExitStack() as loans:
        for _ in range(8):
            loans.enter_context(pool.connection())
    assert terminate_all(sql) >= 8

    enqueue(postgres)

    assert len(pool.backend_pids) == 1


def test_a_server_that_stops_at_once_is_a_lost_connection(hasty: Storage) -> None:
    """The driver raises its base class, without a code, if it heard a goodbye."""
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        attempts.append(transaction.attempt)
        raise psycopg2.DatabaseError("server closed the connection unexpectedly")

    with pytest.raises(StorageUnavailableError, match="was lost"):
        hasty.database.write(work)

    assert attempts == [0, 1, 2, 3]


def test_a_session_cut_within_a_unit_repeats_the_unit(
    postgres: Storage, sql: Sql
) -> None:
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        transaction.run("ensure_queue", name="mail", max_workers=1, max_queues=9)
        if not attempts:
            terminate_all(sql)
        attempts.append(transaction.attempt)

    postgres.database.write(work)

    assert attempts == [0, 1]
    assert [queue.name for queue in postgres.queues.all()] == ["mail"]


class CommitsAndForgets(PostgresTransaction):
    """Loses its first answers after the commit."""

    losses = 0

    def end(self) -> None:
        """Commit, then behave as if the connection had broken."""
        super().end()
        if type(self).losses:
            type(self).losses -= 1
            self._connection.close()
            raise psycopg2.OperationalError("server closed the connection unexpectedly")


def test_an_answer_lost_after_the_commit_is_asked_for_again(
    postgres: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PostgresTransaction", CommitsAndForgets)
    CommitsAndForgets.losses = 1
    (result,) = postgres.jobs.enqueue_many([NewJob("noop", dedupe_key="once")])
    job = claim_one(postgres)
    CommitsAndForgets.losses = 1

    refused = postgres.jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE, result="1")])

    assert CommitsAndForgets.losses == 0
    assert (result.is_deduped, refused) == (False, [])
    assert sql.run("SELECT id, status, result FROM forge_job") == [
        (result.id, "done", "1")
    ]


def test_a_server_that_is_away_is_named_without_the_password() -> None:
    settings = DatabaseSettings(
        backend="postgres", host="127.0.0.1", port=1, database="jobs", username="forge",
        password="hunter2",
    )  # fmt: skip

    with (
        contextlib.closing(open_storage(settings)) as storage,
        pytest.raises(StorageUnavailableError) as caught,
    ):
        storage.open()

    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


# -- errors ------------------------------------------------------------------------


def test_a_swallowed_error_cannot_be_committed(postgres: Storage) -> None:
    """M4: the COMMIT would return normally and store nothing"""

    def work(transaction: Transaction) -> None:
        transaction.run("ensure_queue", name="mail", max_workers=1, max_queues=9)
        with contextlib.suppress(psycopg2.Error):
            transaction.run(
                "ensure_queue", name="other", max_workers="no number", max_queues=9
            )

    with pytest.raises(StorageError, match="failed before its commit"):
        postgres.database.write(work)

    assert postgres.queues.all() == []


def test_an_error_of_the_caller_rolls_back(postgres: Storage, sql: Sql) -> None:
    def work(transaction: Transaction) -> None:
        transaction.run("ensure_queue", name="mail", max_workers=1, max_queues=9)
        raise LookupError

    with pytest.raises(LookupError):
        postgres.database.write(work)

    assert postgres.queues.all() == []
    assert (
        sql.value(
            f"SELECT COUNT(*) FROM pg_stat_activity WHERE {UNDER_TEST} "
            "AND state LIKE 'idle in%'"
        )
        == 0
    )


def test_a_refused_statement_is_not_retried(postgres: Storage) -> None:
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        attempts.append(transaction.attempt)
        transaction.run(
            "ensure_queue", name="mail", max_workers="no number", max_queues=9
        )

    with pytest.raises(StorageError, match="22P02"):
        postgres.database.write(work)

    assert attempts == [0]


def test_a_unique_violation_is_a_conflict_and_not_retried(postgres: Storage) -> None:
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        attempts.append(transaction.attempt)
        for _ in range(2):
            transaction.run("record_version", version=99, oldest_reader=1, name="x")

    with pytest.raises(StorageBusyError):
        postgres.database.write(work)

    assert attempts == [0]


def test_a_deadlock_is_retried(hasty: Storage) -> None:
    """Code 40P01"""
    attempts: list[int] = []

    def work(transaction: PostgresTransaction) -> None:
        attempts.append(transaction.attempt)
        if len(attempts) < 3:
            with pytest.raises(psycopg2.Error) as caught:
                transaction._cursor.execute(
                    "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"
                )
            raise caught.value

    database_of(hasty).write(work)

    assert attempts == [0, 1, 2]


def test_a_conflict_that_stays_surfaces_after_four_tries(hasty: Storage) -> None:
    attempts: list[int] = []

    def work(transaction: PostgresTransaction) -> None:
        attempts.append(transaction.attempt)
        transaction._cursor.execute(
            "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"
        )

    with pytest.raises(StorageBusyError, match="conflicted with others"):
        database_of(hasty).write(work)

    assert attempts == [0, 1, 2, 3]


def test_a_read_cannot_write(hasty: Storage) -> None:
    with pytest.raises(StorageUnavailableError, match="takes no writes"):
        hasty.database.read(
            lambda tx: tx.run("ensure_queue", name="mail", max_workers=1, max_queues=9)
        )


def test_a_read_is_one_snapshot(postgres: Storage) -> None:
    def work(transaction: Transaction) -> tuple[int, int]:
        before = len(transaction.all("all_queues"))
        postgres.queues.ensure("meanwhile")
        return before, len(transaction.all("all_queues"))

    assert postgres.database.read(work) == (0, 0)


# -- round trips -------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text that a transaction of this thread sends in each round trip."""
    sent: list[str] = []
    own = threading.get_ident()

    class Counting(PostgresTransaction):
        def __init__(
            self,
            connection: Connection,
            begin: str,
            known_version: int,
            attempt: int = 0,
            **options: Any,
        ) -> None:
            super().__init__(connection, begin, known_version, attempt, **options)
            inner = self._cursor

            class Cursor:
                def execute(self, text: str, parameters: object = None) -> None:
                    if threading.get_ident() == own:  # not the flusher's
                        sent.append(text)
                    inner.execute(text, parameters)  # type: ignore[arg-type]  # as given

                def __getattr__(self, name: str) -> object:
                    return getattr(inner, name)

            self._cursor = Cursor()  # type: ignore[assignment]  # stands in for one

    monkeypatch.setattr(process_module, "PostgresTransaction", Counting)
    return sent


def test_what_nobody_reads_travels_with_the_next_statement(
    postgres: Storage, sent: list[str]
) -> None:
    postgres.queues.ensure(QUEUE)
    sent.clear()

    enqueue(postgres)
    first = len(sent)
    sent.clear()
    enqueue(postgres)
    later = len(sent)
    sent.clear()
    (job,) = postgres.jobs.exchange(OWNER, [], {QUEUE: 1}).claimed
    claim = len(sent)
    sent.clear()
    done = JobUpdate(job, JobStatus.DONE, result="1")
    (other,) = postgres.jobs.exchange(OWNER, [done], {QUEUE: 1}).claimed
    both = len(sent)
    sent.clear()
    done = JobUpdate(other, JobStatus.DONE)
    postgres.jobs.finish(OWNER, [done])

    assert first <= 5
    assert [later, claim, both, len(sent)] == [1, 1, 1, 1]


EARLY = "CALL forge_enqueue_early("
NOTED = "INSERT INTO forge_audit"


@pytest.mark.parametrize(
    ("path", "body", "statement"),
    [
        ("/jobs/enqueue", {"kind": "k", "payload": {}}, EARLY),
        ("/v1/jobs", {"kind": "k", "payload": {}}, EARLY),
        ("/v1/jobs", {"kind": "k", "payload": {}, "dedupe_key": "one"}, NOTED),
        ("/queue/default/paused", {"paused": True}, NOTED),
    ],
)
def test_a_change_over_http_and_its_entry_are_one_message(
    postgres: Storage,
    sent: list[str],
    path: str,
    body: dict[str, object],
    statement: str,
) -> None:
    client = mount(postgres)
    # The first registers the queue, the second remembers the stored kind.
    for _ in range(2):
        client.post(f"{PREFIX}/v1/jobs", json={"kind": "k", "payload": {}})
    before = len(postgres.audit.page(AuditFilter(), 99))
    sent.clear()

    assert client.post(PREFIX + path, json=body).status_code < 300

    (text,) = sent
    assert statement in text
    # A lone message is a transaction by itself.
    assert not text.startswith("BEGIN")
    assert not text.endswith("COMMIT")
    assert len(postgres.audit.page(AuditFilter(), 99)) == before + 1


DAY = "from=2026-11-29T12:00:00Z&to=2026-11-30T12:00:00Z&bucket_secs=600"
SIGNATURE = "ValueError:%20no%20account"


MESSAGES = {
    "/jobs/{id}": 1,
    "/jobs/{id}/logs": 1,
    "/jobs/{id}/explain": 2,
    "/queues/default/explain": 2,
    "/errors": 2,
    "/errors?range=7d": 2,
    f"/jobs?signature={SIGNATURE}": 1,
    f"/jobs?signature={SIGNATURE}&queue=default": 1,
    "/jobs/counts": 1,
    "/jobs/counts?queue=default&kind=k": 1,
    f"/jobs/counts?signature={SIGNATURE}": 1,
    "/cron/firings": 1,
    "/cron/nightly": 1,
    "/cron/nightly/runs": 2,
    "/kinds": 1,
    f"/kinds?{DAY.rpartition('&')[0]}": 1,
    f"/gauges?{DAY}": 2,
    f"/gauges?name=default&{DAY}": 1,
    f"/series?by=kind&name=k&{DAY}": 1,
    f"/series?by=queue&{DAY}": 2,
    "/me": 0,
    "/batches": 1,
    "/batches/{batch}": 1,
    "/batches/{batch}/jobs": 2,
    "/batches/{batch}/jobs?status=dead": 2,
    "/batches/{batch}/jobs?status=done": 2,
    "/jobs?batch={batch}": 1,
    "/jobs?waiting=1": 1,
}


def test_a_read_is_at_most_two_round_trips(
    postgres: Storage, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = SystemClock().monotonic()  # nothing that is kept grows old
    monkeypatch.setattr(SystemClock, "monotonic", staticmethod(lambda: now_s))
    failed = enqueue(postgres, "k", max_attempts=1)
    run(postgres, Failed("ValueError: no account"))
    postgres.jobs.enqueue(NewJob("k", delay=timedelta(hours=1)))
    postgres.cron.create(ScheduleDefinition("nightly", "k", cron_expr="0 3 * * *"))
    batch = postgres.batches.create(NewBatch("b"), [NewJob("k"), NewJob("k")]).id
    client = mount(postgres)

    def messages(path: str) -> int:
        url = f"{PREFIX}/v1{path.format(id=failed, batch=batch)}"
        client.get(url)  # sums that are kept are read first
        sent.clear()
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        return len(sent)

    assert {path: messages(path) for path in MESSAGES} == MESSAGES


def test_a_bulk_call_does_not_try_keys_again_that_are_held(
    postgres: Storage, sent: list[str]
) -> None:
    """C16: by then it has taken others, so it would wait out of the order."""
    jobs = [NewJob("noop", dedupe_key=key) for key in ("a", "b", "c")]
    stored = postgres.jobs.enqueue_many(jobs[1:])
    sent.clear()

    again = postgres.jobs.enqueue_many(jobs)

    assert [each.is_deduped for each in again] == [False, True, True]
    assert [each.id for each in again[1:]] == [each.id for each in stored]
    assert not [text for text in sent if "forge_enqueue" in text]


def test_a_transaction_that_says_nothing_is_never_begun(
    postgres: Storage, sent: list[str]
) -> None:
    postgres.database.open()
    sent.clear()

    assert postgres.database.write(lambda _: "nothing") == "nothing"
    assert postgres.database.read(lambda _: "nothing") == "nothing"

    assert sent == []


# -- deadlines ---------------------------------------------------------------------


def sleep(transaction: PostgresTransaction) -> None:
    transaction._cursor.execute(transaction._unsent("SELECT pg_sleep(30)"))


def test_sec_S29_a_slow_statement_is_cancelled_by_the_server(hasty: Storage) -> None:
    with pytest.raises(StorageUnavailableError, match="longer than 1 s"):
        database_of(hasty).write(sleep)

    assert hasty.queues.all() == []


def test_a_call_that_the_server_does_not_end_is_cut(
    hasty: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M9: libpq's own time-outs do not fire while a server is alive but stopped"""
    database = database_of(hasty)
    _count_as_away_late(monkeypatch)
    monkeypatch.setattr(database._state, "limit_s", 0.2)
    attempts: list[int] = []

    def frozen(transaction: PostgresTransaction) -> None:
        attempts.append(transaction.attempt)
        # No limit of the server's.
        transaction._cursor.execute("SET statement_timeout = 0; SELECT pg_sleep(30)")

    with pytest.raises(
        StorageUnavailableError, match="connection to PostgreSQL was lost"
    ):
        database.write(frozen)

    assert attempts == [0, 1, 2, 3]
    assert hasty.queues.all() == []
    terminate_all(sql)


def test_a_used_up_pool_is_busy_and_an_urgent_write_still_runs(hasty: Storage) -> None:
    """A connection is reserved for heartbeats"""
    hasty.open()
    database = database_of(hasty)
    database.open()
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def hold(_: Transaction) -> None:
        inside.release()
        assert leave.wait(30)

    holders = [threading.Thread(target=database.write, args=[hold]) for _ in range(2)]
    for holder in holders:
        holder.start()
    try:
        assert inside.acquire(timeout=30)
        assert inside.acquire(timeout=30)

        with pytest.raises(
            StorageBusyError, match="no database connection became free"
        ):
            database.write(lambda _: None)
        assert database.write(lambda tx: tx.all("all_queues"), urgent=True) == []
        executor = StoreExecutor(database)
        clock = SystemClock()
        jobs = JobQueue(executor, UlidGenerator(), clock, None, Recorder(clock))
        assert jobs.heartbeat("me", {}).owned == set()
        WorkerRegistry(executor).beat("me", None, [], [])
        WorkerRegistry(executor).show("me", None, [])
    finally:
        leave.set()
        for holder in holders:
            holder.join()

    assert database.write(lambda tx: tx.all("all_queues")) == []


# -- forks -------------------------------------------------------------------------


def test_a_fork_opens_its_own_and_leaves_the_parents_alone(
    postgres: Storage, sql: Sql
) -> None:
    """Both sides go on with the same Storage object."""
    first = enqueue(postgres)
    before = set(database_of(postgres)._state.pool.backend_pids)

    def child() -> None:
        assert postgres.job_reader.get(first).id == first
        claim_one(postgres, owner="child")
        enqueue(postgres)
        postgres.close()

    assert in_child(child) == 0
    assert in_child(child) == 0

    assert before <= {row[0] for row in sql.run(OURS)}
    assert postgres.job_reader.statistics()[QUEUE].counts.total == 3
    assert enqueue(postgres)


def test_a_fork_within_a_write_neither_commits_nor_undoes_it(postgres: Storage) -> None:
    postgres.open()

    def work(transaction: Transaction) -> None:
        transaction.run("ensure_queue", name="parents", max_workers=1, max_queues=9)
        assert in_child(lambda: postgres.queues.ensure("child")) == 0
        transaction.run("ensure_queue", name="more", max_workers=1, max_queues=9)

    postgres.database.write(work)

    names = [queue.name for queue in postgres.queues.all()]
    assert names == ["child", "more", "parents"]


def test_the_first_threads_after_a_fork_in_c_share_a_pool(
    postgres: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, count = database_of(postgres), 4
    make_pool, pools = database._make_pool, []
    coming = [threading.Event() for _ in range(count)]

    def slowly(availability: Availability) -> ConnectionPool:
        for event in coming:
            assert event.wait(10)
        pools.append(make_pool(availability))
        return pools[-1]

    def first_use(number: int) -> PostgresProcess:
        coming[number].set()
        return database._state

    monkeypatch.setattr(database, "_make_pool", slowly)
    database._pid = -1  # as in a child whose parent ran no fork hook

    used = run_together([partial(first_use, number) for number in range(count)])

    assert {id(process.pool) for process in used} == {id(pools[0])}
    assert len(pools) == 1


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("forge_job", "id"),
        ("forge_job", "queue_name"),
        ("forge_queue", "name"),
        ("forge_slot", "slot_id"),
        ("forge_slot", "queue_name"),
        ("forge_worker", "worker_id"),
        ("forge_cron", "name"),
        ("forge_cron", "dedupe_key"),
        ("forge_job", "dedupe_key"),
    ],
)
def test_names_are_ordered_alike_whatever_the_locale(
    sql: Sql, table: str, column: str
) -> None:
    """By code point, as SQLite does; a test server may have no other locale to try."""
    collation = sql.value(
        "SELECT collation_name FROM information_schema.columns "
        "WHERE table_name = ? AND column_name = ?",
        table,
        column,
    )

    assert collation == "C"


def test_close_ends_the_sessions(postgres: Storage, sql: Sql) -> None:
    enqueue(postgres)
    run(postgres, Done())
    assert sql.run(OURS)

    postgres.close()

    # The server notices the end of a session a moment later.
    wait_until(lambda: not sql.run(OURS), "every session has ended")


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    """A failed start is final; a call under way is retried."""
    waits: list[float] = []
    nobody = DatabaseSettings.from_url("postgresql://forge@127.0.0.1:1/forge")
    database = PostgresDatabase(nobody, wait=waits.append)

    with pytest.raises(StorageUnavailableError, match="cannot reach"):
        database.open()

    assert waits == []
