"""A new job wakes the workers before the disk has it; then the call waits for that.

So does one whose request leaves an audit entry.
A function ahead of the server's in the search path holds the second commit up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageOutcomeUnknownError, StorageUnavailableError
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.columns import new_parameters
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.postgres.connection import SessionSettings
from flask_forge_jobs.storage.units import Unit
from tests.support.jobs import QUEUE, claim_one, enqueue
from tests.support.postgres import fresh_database
from tests.support.threads import Heard
from tests.support.waiting import wait_until

LOCK = 20_261_201
HELD_UP = f"""
CREATE FUNCTION pg_logical_emit_message(is_whole BOOLEAN, prefix TEXT, content TEXT)
RETURNS TEXT LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock({LOCK})::text $$
"""
WAITING = """
SELECT {} FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = '{}'
"""
JOB = NewJob("early", queue_name=QUEUE)
ENTRY = AuditRecord("ada", "enqueue", None, "192.0.2.1", "r-1", 201, 1, "{}")
Enqueue = Callable[[], Future[EnqueueResult]]


class Server:
    """The database, beside the stores; ``url`` finds the function that holds up."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}&options=-csearch_path%3Dpublic,pg_catalog"
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self.close = self._connection.close

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement; return its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def holding_up(self) -> Iterator[None]:
        """Let no second commit pass during the block."""
        self.ask(f"SELECT pg_advisory_lock({LOCK})")
        try:
            yield
        finally:
            self.ask(f"SELECT pg_advisory_unlock({LOCK})")

    def end_waiting(self, verb: str, event: str = "advisory") -> bool:
        """Cancel the call that waits, or terminate its session; return if it waits."""
        return bool(self.ask(WAITING.format(f"pg_{verb}_backend(pid)", event)))


@pytest.fixture(scope="module")
def database(postgres_server: str) -> Iterator[Server]:
    with (
        fresh_database(postgres_server) as url,
        contextlib.closing(Server(url)) as server,
    ):
        server.ask(HELD_UP)
        yield server


@pytest.fixture
def storage(database: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """The stores of a producer that does not pause between two tries."""
    settings = DatabaseSettings.from_url(database.url)
    with contextlib.closing(open_storage(settings)) as storage:
        storage.queues.ensure(QUEUE)
        enqueue(storage)  # reads the settings of the queue, which are kept
        database.ask("DELETE FROM forge_job")
        monkeypatch.setattr(storage.database, "_wait", lambda _: None)
        yield storage


@pytest.fixture(params=["alone", "with an entry"])
def enqueue_meanwhile(
    storage: Storage, database: Server, request: pytest.FixtureRequest
) -> Iterator[Enqueue]:
    """Enqueue in another thread; afterwards there are as many entries as jobs."""
    has_entry = request.param == "with an entry"

    def of_request() -> EnqueueResult:
        unit = Unit(storage.database, entry_of, wait=lambda _: None)
        stores = storage.within(unit)

        def work() -> EnqueueResult:
            result = stores.jobs.enqueue(JOB)
            if not unit.is_noted:
                unit.append(entry_of(result.id))
            return result

        return unit.run(work)

    call = of_request if has_entry else partial(storage.jobs.enqueue, JOB)
    with ThreadPoolExecutor(1) as pool:
        yield lambda: pool.submit(call)

    rows = database.ask("SELECT target FROM forge_audit")
    database.ask("ALTER TABLE forge_audit DISABLE TRIGGER USER")
    database.ask("DELETE FROM forge_audit")
    jobs = database.ask("SELECT id FROM forge_job WHERE kind = 'early'")
    assert rows == (jobs if has_entry else [])


def entry_of(job_id: str | None) -> AuditRecord:
    return replace(ENTRY, target=job_id)


@pytest.fixture
def worker(database: Server, storage: Storage) -> Iterator[tuple[Storage, Heard]]:
    """The stores of another process, which listens."""
    del storage  # whose first job must not be heard
    settings = DatabaseSettings.from_url(database.url)
    heard = Heard()
    with contextlib.closing(open_storage(settings)) as others:
        listener = others.jobs.ends.listen(heard)
        wait_until(listener.is_pushing, "it listens")
        yield others, heard
        listener.stop()


def test_a_worker_runs_a_job_before_the_producer_goes_on(
    worker: tuple[Storage, Heard], enqueue_meanwhile: Enqueue, database: Server
) -> None:
    others, heard = worker
    with database.holding_up():
        future = enqueue_meanwhile()
        is_told = heard.wait_for(QUEUE)
        job = claim_one(others)
        is_over = future.done()

    assert (is_told, is_over) == (True, False)
    assert future.result().id == job.id


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_a_call_that_ends_between_its_commits_has_stored_the_job_once(
    enqueue_meanwhile: Enqueue, database: Server, verb: str
) -> None:
    with database.holding_up():
        future = enqueue_meanwhile()
        wait_until(lambda: database.end_waiting(verb), "the first commit")

    (row,) = database.ask("SELECT id FROM forge_job WHERE kind = 'early'")
    assert future.result().id == row[0]


def test_a_call_that_cannot_learn_what_it_stored_says_so(
    enqueue_meanwhile: Enqueue, database: Server
) -> None:
    with database.holding_up():
        future = enqueue_meanwhile()
        while not future.done():
            database.end_waiting("cancel")

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        future.result()
    ((job_id,),) = database.ask("SELECT id FROM forge_job WHERE kind = 'early'")
    assert caught.value.job_ids == (job_id,)


def test_a_call_that_can_ask_no_more_after_a_lost_answer_says_so(
    storage: Storage,
    enqueue_meanwhile: Enqueue,
    database: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second try meets the job of the first, and looks which one that is."""
    away = Mock(side_effect=StorageUnavailableError("not tried"))
    for name in ("write", "begin"):  # of a call, and of a request
        monkeypatch.setattr(storage.database, name, away)

    with database.holding_up():
        future = enqueue_meanwhile()
        wait_until(lambda: database.end_waiting("terminate"), "the first commit")

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        future.result()
    assert away.called
    ((job_id,),) = database.ask("SELECT id FROM forge_job WHERE kind = 'early'")
    assert caught.value.job_ids == (job_id,)


def test_a_call_that_is_cancelled_before_its_first_commit_has_stored_nothing(
    enqueue_meanwhile: Enqueue, database: Server
) -> None:
    with contextlib.closing(Server(database.url)) as blocking:
        blocking.ask("BEGIN")
        blocking.ask("LOCK TABLE forge_job IN EXCLUSIVE MODE")
        future = enqueue_meanwhile()
        wait_until(lambda: database.end_waiting("cancel", "relation"), "it waits")
        with pytest.raises(StorageUnavailableError, match="took longer") as caught:
            future.result()

    assert not isinstance(caught.value, StorageOutcomeUnknownError)
    assert database.ask("SELECT id FROM forge_job WHERE kind = 'early'") == []


def test_a_call_with_others_in_its_message_commits_with_them(storage: Storage) -> None:
    values = [new_parameters(JOB, ulid) for ulid in ("0" * 25 + "1", "0" * 25 + "2")]

    def work(transaction: Transaction) -> list[list[Row]]:
        transaction.all("enqueue_early", **values[0])
        return transaction.all_in_turn(
            ("enqueue_early", values[1]), ("unfinished_of_queue", {"name": QUEUE})
        )

    stored, unfinished = storage.database.pipeline(work)

    assert (len(stored), unfinished) == (1, [(2,)])


def test_a_session_that_a_pooler_shares_commits_once(
    storage: Storage,
    enqueue_meanwhile: Enqueue,
    database: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its settings come with each message, which is one transaction then"""
    monkeypatch.setattr(SessionSettings, "configure", lambda *_: None)
    storage.close()

    with database.holding_up():
        job_id = enqueue_meanwhile().result().id

    assert database.ask("SELECT id FROM forge_job WHERE kind = 'early'") == [(job_id,)]
