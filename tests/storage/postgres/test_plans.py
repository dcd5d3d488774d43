"""Plans that PostgreSQL keeps as long as a connection lives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from tests.support.jobs import OWNER, QUEUE, update_for
from tests.support.sql import Sql

JOBS = 5_000
# A walk reads over 200 of the job table and its indexes alone.
MAX_BLOCKS = 60
# After the fifth execution the server plans no more.
UNTIL_PLANS_ARE_KEPT = 10

_BLOCKS = (
    "SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read"
    " FROM pg_statio_user_tables WHERE relname = 'forge_job'"
)


@pytest.fixture
def backend() -> str:
    """SQLite keeps no plan that depends on how many rows there are."""
    return "postgres"


@pytest.fixture
def storage(database_settings: DatabaseSettings, sql: Sql) -> Iterator[Storage]:
    with contextlib.closing(open_storage(database_settings)) as opened:
        opened.queues.ensure(QUEUE)
        # Blocks that others read would count, and a second thread needs a connection.
        opened.recorder.on_activity = lambda: None
        sql.run("ALTER TABLE forge_job SET (autovacuum_enabled = off)")
        yield opened
        sql.run("ALTER TABLE forge_job RESET (autovacuum_enabled)")


def _claim(storage: Storage) -> None:
    storage.jobs.claim(QUEUE, OWNER)


def _finish(storage: Storage) -> None:
    gone = ClaimedJob("gone", QUEUE, "noop", "{}", 0, 0, 1, 5, 0, "[]", None)
    outcome = update_for(gone, Done(), failure_delay_s=1.0, user_cancelled=False)
    storage.jobs.finish(OWNER, [outcome])


def _overview(storage: Storage) -> None:
    storage.job_reader.snapshot(60.0)


@pytest.mark.parametrize("call", [_claim, _finish, _overview])
def test_a_plan_of_an_empty_table_does_not_walk_a_full_one(
    storage: Storage, sql: Sql, call: Callable[[Storage], None]
) -> None:
    storage.jobs.enqueue_many([NewJob("noop")] * 500)
    sql.run("DELETE FROM forge_job")
    sql.run("VACUUM forge_job")  # now the planner believes that it is empty
    for _ in range(UNTIL_PLANS_ARE_KEPT):
        call(storage)
    storage.jobs.enqueue_many([NewJob("noop")] * JOBS)
    call(storage)  # the first call on the new rows may read more
    before = _blocks_read(storage)

    call(storage)

    assert 0 < _blocks_read(storage) - before <= MAX_BLOCKS


def test_the_end_of_a_job_and_the_next_claim_are_planned_no_more(
    storage: Storage,
) -> None:
    """The server would plan for each short list of ids: it looks cheaper than any."""
    storage.jobs.enqueue_many([NewJob("noop")] * (UNTIL_PLANS_ARE_KEPT + 1))
    with _planning_noted(storage) as notes:
        held: list[ClaimedJob] = []
        for _ in range(UNTIL_PLANS_ARE_KEPT):
            ended = [JobUpdate(job, JobStatus.DONE) for job in held]
            held = storage.jobs.exchange(
                OWNER, ended, {QUEUE: 1}, promote=False
            ).claimed
            assert len(held) == 1
            notes.clear()

        ended = [JobUpdate(job, JobStatus.DONE) for job in held]
        storage.jobs.exchange(OWNER, ended, {QUEUE: 1}, promote=False)

    # That is the message itself, which calls a function.
    assert len(notes) == 1


@contextlib.contextmanager
def _planning_noted(storage: Storage) -> Iterator[list[str]]:
    """Let the server say on the only connection whenever it plans a statement."""
    with _connection(storage) as connection:
        cursor = connection.cursor()
        cursor.execute("SET log_planner_stats = on")
        cursor.execute("SET client_min_messages = log")
        notes = connection.notices
    try:
        yield notes
    finally:
        with _connection(storage) as connection:
            connection.cursor().execute("RESET client_min_messages")
            connection.cursor().execute("RESET log_planner_stats")


def _counts(storage: Storage, batch_id: str) -> None:
    assert storage.batches.get(batch_id).running == 0


def _page_of_batches(storage: Storage, batch_id: str) -> None:
    assert [each.id for each in storage.batches.page(50)] == [batch_id]


def _running_jobs(storage: Storage, batch_id: str) -> None:
    found, _ = storage.batches.page_of_jobs(batch_id, status=JobStatus.IN_PROGRESS)
    assert found == []


@pytest.mark.parametrize("call", [_counts, _page_of_batches, _running_jobs])
def test_a_second_look_at_a_batch_reads_no_row_of_a_job_that_has_ended(
    storage: Storage, sql: Sql, call: Callable[[Storage, str], None]
) -> None:
    """The index of running jobs has an entry for each claim, until the next vacuum."""
    sql.run("VACUUM forge_job")
    batch_id = storage.batches.create(NewBatch("b"), [NewJob("noop")] * 1000).id
    while held := storage.jobs.claim(QUEUE, OWNER, 500):
        storage.jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE) for job in held])

    looks = [_blocks_read(storage)]
    for _ in range(2):
        call(storage, batch_id)
        looks.append(_blocks_read(storage))

    first, second = looks[1] - looks[0], looks[2] - looks[1]
    assert 0 < second <= first / 2


def _blocks_read(storage: Storage) -> int:
    with _connection(storage) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(_BLOCKS)
        ((blocks,),) = cursor.fetchall()
    return int(blocks)


def _connection(storage: Storage) -> contextlib.AbstractContextManager[Connection]:
    """Lend the only connection, which all calls above use."""
    database = storage.database
    assert isinstance(database, PostgresDatabase)
    return database._state.pool.connection()
