"""A crash of the server takes nothing of which a call has said that it is stored.

An early enqueue shows its job before the disk has it. This server's own writer of the
log waits for ten seconds, so that only commits bring it to the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageOutcomeUnknownError
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from flask_forge_jobs.storage.units import Unit
from tests.support.cluster import Cluster, cluster
from tests.support.jobs import QUEUE, enqueue

# Ahead of the server's function in the search path, it ends the session between the two
# commits of an early enqueue.
ENDS = """
CREATE FUNCTION pg_logical_emit_message(is_whole BOOLEAN, prefix TEXT, content TEXT)
RETURNS TEXT LANGUAGE sql AS $$ SELECT pg_terminate_backend(pg_backend_pid())::text $$
"""
ENTRY = AuditRecord("ada", "seal", None, "192.0.2.1", "r-1", 200, 1, "{}")
Repeat = Callable[[Storage, NewJob], object]


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster(wal_writer_delay="10s", autovacuum="off") as server:
        server.ask(ENDS)
        yield server


@pytest.fixture
def storage(server: Cluster) -> Iterator[Storage]:
    with contextlib.closing(_stores(server.url)) as storage:
        enqueue(storage)  # reads the settings of the queue, which are kept
        yield storage


def _stores(url: str) -> Storage:
    return open_storage(DatabaseSettings.from_url(url), jitter=None)


@pytest.fixture
def lost(
    server: Cluster, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> tuple[NewJob, str]:
    """A job that others see and the disk lacks, and the end of the log behind it."""
    del storage  # has made the tables
    url = f"{server.url}&options=-csearch_path%3Dpublic,pg_catalog"
    with contextlib.closing(_stores(url)) as theirs:
        monkeypatch.setattr(theirs.database, "_wait", lambda _: None)
        theirs.queues.get(QUEUE)
        theirs.jobs.enqueue(NewJob("other", dedupe_key="known", queue_name=QUEUE))
        with pytest.raises(StorageOutcomeUnknownError) as caught:
            theirs.jobs.enqueue(NewJob("early", queue_name=QUEUE))
    (job_id,) = caught.value.job_ids
    end = log_end(server)
    assert server.ask("SELECT kind FROM forge_job WHERE id = %s", job_id)
    assert not has_on_disk_behind(server, end)
    return NewJob("early", queue_name=QUEUE, job_id=job_id), end


def log_end(server: Cluster) -> str:
    ((end,),) = server.ask("SELECT pg_current_wal_insert_lsn()::text")
    return str(end)


def has_on_disk_behind(server: Cluster, end: str) -> bool:
    ((has,),) = server.ask("SELECT pg_current_wal_flush_lsn() > %s::pg_lsn", end)
    return bool(has)


def _alone(storage: Storage, job: NewJob) -> None:
    storage.jobs.enqueue(job)


def _quietly(storage: Storage, job: NewJob) -> None:
    assert isinstance(storage.database, PostgresDatabase)
    storage.database._state.quiet.begin_if_full(1.0)
    storage.jobs.enqueue(job)


def _with_others(storage: Storage, job: NewJob) -> None:
    storage.jobs.enqueue_many([job, job])


@pytest.mark.parametrize("repeat", [_alone, _quietly, _with_others])
def test_the_disk_has_a_job_once_its_repetition_is_answered(
    server: Cluster, storage: Storage, lost: tuple[NewJob, str], repeat: Repeat
) -> None:
    job, end = lost

    repeat(storage, job)

    assert has_on_disk_behind(server, end)


def test_the_disk_has_a_job_once_a_transaction_has_repeated_it(
    server: Cluster, storage: Storage, lost: tuple[NewJob, str]
) -> None:
    job, end = lost

    with contextlib.closing(psycopg2.connect(server.url)) as theirs, theirs:
        storage.jobs.enqueue(job, connection=theirs)

    assert has_on_disk_behind(server, end)


def test_a_job_is_there_after_a_crash_once_its_repetition_is_answered(
    server: Cluster, storage: Storage, lost: tuple[NewJob, str]
) -> None:
    job, _ = lost

    answered = storage.jobs.enqueue(job).id
    server.stop_at_once()
    server.start()

    rows = server.ask("SELECT id FROM forge_job WHERE id = %s", answered)
    assert rows == [(job.job_id,)]


@pytest.mark.parametrize("is_sealed", [False, True])
def test_the_disk_has_a_request_that_seals_a_batch(
    server: Cluster, storage: Storage, *, is_sealed: bool
) -> None:
    """Folding by itself does not wait for the disk, because it can be done again."""
    batch = storage.batches.create(NewBatch("report"), [], is_sealed=is_sealed)
    unit = Unit(storage.database, lambda _: ENTRY)
    stores = storage.within(unit)

    def seal() -> None:
        stores.batches.seal(batch.id)
        unit.append(ENTRY)

    before = log_end(server)
    unit.run(seal)

    assert has_on_disk_behind(server, before)
    assert storage.batches.get(batch.id).is_sealed
