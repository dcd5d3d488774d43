"""Which new jobs a queue takes in."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import (
    QueueFullError,
    QueueNotFoundError,
    RateLimitedError,
)
from flask_forge_jobs.handlers import job_actions
from flask_forge_jobs.handlers.admission import Admission
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage


def _fill(storage: Storage, queue_name: str, jobs: int) -> None:
    storage.jobs.enqueue_many([NewJob("k", queue_name=queue_name)] * jobs)


def test_without_limits_the_database_is_not_asked() -> None:
    Admission().check(None, ["none"])  # type: ignore[arg-type]  # never touched


@pytest.mark.parametrize(("more", "passes"), [(0, True), (1, False)])
def test_the_depth_counts_what_is_there_and_what_comes(
    storage: Storage, more: int, passes: bool
) -> None:
    _fill(storage, "mail", 3)
    _fill(storage, "other", 5)
    coming = [NewJob("k", queue_name="mail")] * (2 + more)

    admission = Admission(max_queue_depth=5)
    if passes:
        job_actions.enqueue_many(storage, coming, admission)
        return
    with pytest.raises(QueueFullError) as caught:
        job_actions.enqueue_many(storage, coming, admission)

    assert (caught.value.queue_name, caught.value.waiting) == ("mail", 3)
    assert isinstance(caught.value, RateLimitedError)


def test_a_queue_s_own_bound_holds_when_it_is_the_narrower_one(
    storage: Storage,
) -> None:
    storage.queues.create(QueueSettings("mail", max_pending=1))
    job = NewJob("k", queue_name="mail")
    job_actions.enqueue(storage, job, Admission(max_queue_depth=5))

    for admission in (Admission(max_queue_depth=5), Admission()):
        with pytest.raises(QueueFullError):
            job_actions.enqueue(storage, job, admission)


def test_a_queue_may_have_to_be_known(storage: Storage) -> None:
    storage.queues.ensure("mail")
    admission = Admission(strict_queues=True)

    admission.check(storage, ["mail"])
    with pytest.raises(QueueNotFoundError):
        admission.check(storage, ["mail", "none"])
