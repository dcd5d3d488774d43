"""C18: PostgreSQL's notification queue is full."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.outcomes import Released
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.process import QUIET_S, NotifyPause
from tests.support.clocks import MovingClock
from tests.support.cluster import Cluster, cluster
from tests.support.jobs import QUEUE, claim_one, finish
from tests.support.notify_queue import PAGES, full_queue, is_full
from tests.support.threads import Heard


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server whose queue of notifications is small, with our tables in it."""
    with cluster(max_notify_queue_pages=PAGES) as server:
        with contextlib.closing(_stores(server)) as storage:
            storage.open()
            storage.queues.ensure(QUEUE)
        yield server


def _stores(server: Cluster) -> Storage:
    return open_storage(DatabaseSettings.from_url(server.url), jitter=None)


@pytest.fixture
def storage(server: Cluster) -> Iterator[Storage]:
    """The stores of a process that has met nothing yet."""
    server.ask("DELETE FROM forge_job")
    with contextlib.closing(_stores(server)) as storage:
        yield storage


@pytest.fixture
def unheard(storage: Storage, server: Cluster) -> Iterator[Storage]:
    """The same with a queue of notifications that is full."""
    with full_queue(server):
        yield storage


def test_it_is_quiet_for_a_while() -> None:
    clock = MovingClock()
    quiet = NotifyPause(clock.monotonic)
    at_first = quiet.is_on

    quiet.begin_if_full(0.1)  # the look has made room
    with_room = quiet.is_on
    quiet.begin_if_full(1.0)
    soon = quiet.is_on
    clock.move(QUIET_S)

    assert (at_first, with_room, soon, quiet.is_on) == (False, False, True, False)


ONE, KEYED = NewJob("noop"), NewJob("noop", dedupe_key="key")
LATER = NewJob("noop", job_id="01J00000000000000000000000")


@pytest.mark.parametrize(
    "store",
    [
        lambda storage: [storage.jobs.enqueue(ONE)],
        lambda storage: [storage.jobs.enqueue(KEYED), storage.jobs.enqueue(ONE)],
        lambda storage: [storage.jobs.enqueue(LATER)],
        lambda storage: storage.jobs.enqueue_many([ONE, KEYED]),
    ],
    ids=["one", "key", "id", "many"],
)
def test_jobs_are_stored_although_nobody_can_be_told(
    unheard: Storage, store: Callable[[Storage], list[EnqueueResult]]
) -> None:
    stored = store(unheard)

    assert [unheard.job_reader.get(each.id).id for each in stored]
    assert not any(each.is_deduped for each in stored)


def test_workers_of_the_same_process_hear_all_the_same(unheard: Storage) -> None:
    heard = Heard()
    listener = unheard.database.listen(heard)
    try:
        unheard.jobs.enqueue(ONE)

        assert heard.wait_for(QUEUE)
    finally:
        listener.stop()


def test_a_key_is_held_once_although_nobody_can_be_told(unheard: Storage) -> None:
    first, second = unheard.jobs.enqueue(KEYED), unheard.jobs.enqueue(KEYED)

    assert (first.is_deduped, second.is_deduped) == (False, True)
    assert first.id == second.id


def test_jobs_join_a_transaction_once_it_is_known(
    unheard: Storage, server: Cluster
) -> None:
    unheard.jobs.enqueue(ONE)
    with contextlib.closing(psycopg2.connect(server.url)) as theirs, theirs:
        joined = unheard.jobs.enqueue(ONE, connection=theirs)

    assert unheard.job_reader.get(joined.id).id == joined.id


def test_a_job_goes_back_although_nobody_can_be_told(unheard: Storage) -> None:
    unheard.jobs.enqueue(ONE)
    job = claim_one(unheard)

    assert finish(unheard, job, Released())

    assert claim_one(unheard).id == job.id


def test_the_server_is_made_to_forget_what_all_have_heard(
    storage: Storage, server: Cluster
) -> None:
    """Once its queue is full, the server never cleans it up by itself."""
    with full_queue(server):
        pass
    still = is_full(server)

    storage.jobs.enqueue(ONE)

    assert (still, is_full(server)) == (True, False)
