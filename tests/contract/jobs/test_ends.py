"""Waiting for the end of a job that a worker in another process stores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.jobs import ends as job_ends
from flask_forge_jobs.tasks.handles import JobHandle
from tests.support.jobs import claim_one, enqueue, finish, update_for
from tests.support.processes import in_child
from tests.support.threads import Heard
from tests.support.waiting import wait_until

LIMIT_S = 10.0


@pytest.fixture
def worker(database_settings: DatabaseSettings) -> Iterator[Storage]:
    """Storage of a worker that hears what others ask; not the one that waits."""
    with contextlib.closing(open_storage(database_settings, jitter=None)) as opened:
        listener = opened.jobs.ends.listen(Heard())
        wait_until(listener.is_pushing, "the worker listens")
        yield opened
        listener.stop()


class Waiter:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def status_url(self, job_id: str, expires_in_s: float) -> str:
        raise AssertionError(job_id, expires_in_s)

    def job(self, job_id: str) -> JobHandle:
        return JobHandle(self, job_id)


@pytest.mark.parametrize("outcome", [Done("7"), Dead("no")])
def test_a_waiter_hears_of_the_end_from_the_worker(
    storage: Storage,
    worker: Storage,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Done | Dead,
) -> None:
    # Looking alone would find it long after the limit.
    monkeypatch.setattr(job_ends, "FIRST_LOOK_S", 2 * LIMIT_S)
    monkeypatch.setattr(job_ends, "SLOWEST_LOOK_S", 2 * LIMIT_S)
    job_id = enqueue(storage)
    job = claim_one(worker)
    ending = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Waiter(storage).job(job_id).wait, 2 * LIMIT_S)
        wait_until(
            lambda: worker.jobs.ends.answers([ending], ()), "the worker was asked"
        )
        finish(worker, job, outcome)
        assert waiting.result(LIMIT_S)


def test_a_job_that_nobody_waits_for_costs_no_message(
    storage: Storage, worker: Storage
) -> None:
    job_id = enqueue(storage)
    job = claim_one(worker)
    ending = update_for(job, Done(), failure_delay_s=0.0, user_cancelled=False)

    assert worker.jobs.ends.answers([ending], ()) == []
    assert not Waiter(storage).job(job_id).wait(0)
    assert worker.jobs.ends.answers([ending], ()) == []


def test_a_run_that_is_tried_again_or_refused_is_no_end(
    storage: Storage, worker: Storage
) -> None:
    job_id = enqueue(storage)
    job = claim_one(worker)
    ended, failed = (
        update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)
        for outcome in (Done(), Failed("again"))
    )

    waiting = Waiter(storage).job(job_id)
    # A wait may be over before it could ask.
    wait_until(
        lambda: waiting.wait(0.01) or worker.jobs.ends.answers([ended], ()),
        "the worker was asked",
    )

    assert worker.jobs.ends.answers([failed], ()) == []
    assert worker.jobs.ends.answers([ended], [job_id]) == []


def test_an_end_that_nobody_tells_of_is_found_by_looking(storage: Storage) -> None:
    job_id = enqueue(storage)
    waiter = Waiter(storage)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.job(job_id).wait, LIMIT_S)
        storage.job_admin.cancel(job_id)
        assert waiting.result(LIMIT_S)
    assert waiter.job(job_id).error == "cancelled by user"


def test_a_closed_storage_listens_no_more_and_waits_again(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = Waiter(storage).job(job_id)
    assert not job.wait(0.01)

    storage.jobs.ends.close()
    storage.jobs.ends.close()

    assert not job.wait(0.01)
    finish(storage, claim_one(storage), Done())
    assert job.wait(0)


def test_a_child_that_ends_leaves_its_parents_listener_alone(storage: Storage) -> None:
    """A forked child that ends by sys.exit() runs what its parent registered."""
    heard = Heard()
    listener = storage.database.listen(heard)
    wait_until(listener.is_pushing, "it listens")

    assert in_child(listener.stop) == 0

    # From another process: its own workers are told without the listener.
    assert in_child(lambda: enqueue(storage, queue_name="mail")) == 0
    assert heard.wait_for("mail")
    assert listener.is_pushing()
    listener.stop()
