from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers import job_actions
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage


def _router(kind: str) -> str:
    return f"for-{kind}"


def test_enqueue_asks_the_router_only_without_a_queue(storage: Storage) -> None:
    routed = job_actions.enqueue(storage, kind="k", payload={}, router=_router)
    named = job_actions.enqueue(
        storage, kind="k", payload={}, router=_router, queue_name="mail"
    )

    assert (routed.queue_name, named.queue_name) == ("for-k", "mail")


def test_enqueue_checks_the_kind_before_the_router_sees_it(storage: Storage) -> None:
    def router(_: str) -> str:
        raise AssertionError("asked")

    with pytest.raises(InvalidInputError) as caught:
        job_actions.enqueue(storage, kind=" ", payload={}, router=router)

    assert caught.value.field == "kind"


def test_enqueue_names_a_bad_answer_of_the_router(storage: Storage) -> None:
    with pytest.raises(InvalidInputError) as caught:
        job_actions.enqueue(storage, kind="k", payload={}, router=lambda _: "a,b")

    assert caught.value.field == "queue_name"


def test_enqueue_demo_has_an_empty_payload_by_default(storage: Storage) -> None:
    result = job_actions.enqueue_demo(storage)

    assert storage.job_reader.get(result.id).payload == "{}"


def test_run_now_leaves_a_due_job_due(storage: Storage) -> None:
    job = storage.jobs.enqueue(NewJob("k"))
    before = storage.job_reader.get(job.id)

    assert job_actions.run_now(storage, job.id)

    after = storage.job_reader.get(job.id)
    assert after.status is JobStatus.PENDING
    assert after.scheduled_at <= before.scheduled_at


@pytest.mark.parametrize("job_id", ["", "none", "a\x00b"])
def test_run_now_of_an_unknown_job_raises(storage: Storage, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        job_actions.run_now(storage, job_id)
