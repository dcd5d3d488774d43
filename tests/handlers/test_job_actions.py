from __future__ import annotations

from typing import cast

import pytest

from flask_forge_jobs.errors import (
    InvalidInputError,
    JobNotFoundError,
    QueueFullError,
    QueueNotFoundError,
    RateLimitedError,
)
from flask_forge_jobs.handlers import job_actions
from flask_forge_jobs.handlers.job_actions import Admission
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage

STRICT = Admission(strict_queues=True)


def _router(kind: str) -> str:
    return f"for-{kind}"


def test_a_new_job_asks_the_router_only_without_a_queue() -> None:
    routed = job_actions.new_job(kind="k", payload={}, router=_router)
    named = job_actions.new_job(kind="k", payload={}, router=_router, queue_name="mail")

    assert (routed.queue_name, named.queue_name) == ("for-k", "mail")


def test_a_payload_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of JSON takes a tenth of a second each time."""
    written: list[object] = []

    def dump(value: object, *_: object) -> str:
        written.append(value)
        return "{}"

    monkeypatch.setattr("flask_forge_jobs.model.payloads.dump", dump)
    monkeypatch.setattr("flask_forge_jobs.tasks.registry.dump", dump)
    job = job_actions.new_job(
        kind="k", payload={"a": 1}, router=_router, is_key_of_queue=True
    )

    assert written == [{"a": 1}]
    assert job.is_key_of_queue


def test_a_new_job_checks_the_kind_before_the_router_sees_it() -> None:
    def router(_: str) -> str:
        raise AssertionError("asked")

    with pytest.raises(InvalidInputError) as caught:
        job_actions.new_job(kind=" ", payload={}, router=router)

    assert caught.value.field == "kind"


def test_a_strict_queue_must_be_registered(storage: Storage) -> None:
    storage.queues.ensure("mail")
    known, unknown = NewJob("k", queue_name="mail"), NewJob("k", queue_name="none")

    assert job_actions.enqueue(storage, known, STRICT).queue_name == "mail"
    assert job_actions.enqueue_many(storage, [known], STRICT).enqueued == 1
    with pytest.raises(QueueNotFoundError):
        job_actions.enqueue(storage, unknown, STRICT)
    with pytest.raises(QueueNotFoundError):
        job_actions.enqueue_many(storage, [known, unknown], STRICT)

    assert storage.job_reader.statistics()["mail"].counts.pending == 2


def test_new_jobs_names_the_item_at_fault() -> None:
    good = {"kind": "k", "payload": {}}

    assert len(job_actions.new_jobs([good] * 1000, router=_router)) == 1000
    with pytest.raises(InvalidInputError) as caught:
        job_actions.new_jobs([good, {**good, "max_attempts": 0}], router=_router)
    assert caught.value.field == "items[1].max_attempts"


@pytest.mark.parametrize("count", [0, 1001])
def test_new_jobs_takes_one_to_a_thousand(count: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        job_actions.new_jobs([{"kind": "k", "payload": {}}] * count, router=_router)

    assert caught.value.field == "items"


def test_enqueue_many_counts_what_is_new(storage: Storage) -> None:
    jobs = [NewJob("k", dedupe_key=key) for key in ("a", "b", "a")]

    report = job_actions.enqueue_many(storage, jobs)

    assert (report.enqueued, report.deduped, report.is_replayed) == (2, 1, False)
    assert report.results[0].id == report.results[2].id


@pytest.mark.parametrize("answer", ["a,b", "", None])
def test_a_new_job_names_a_bad_answer_of_the_router(answer: str | None) -> None:
    def router(_kind: str) -> str:
        return cast("str", answer)

    with pytest.raises(InvalidInputError) as caught:
        job_actions.new_job(kind="k", payload={}, router=router)

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


@pytest.mark.parametrize("job_id", ["", "none", "a\x00b"])
def test_acting_on_an_unknown_job_raises(storage: Storage, job_id: str) -> None:
    for act in (job_actions.delete, job_actions.cancel, job_actions.reschedule):
        with pytest.raises(JobNotFoundError):
            act(storage, job_id)


@pytest.mark.parametrize("reason", ["x" * 1001, "a\x00b"])
def test_cancel_checks_the_reason_first(storage: Storage, reason: str) -> None:
    job = storage.jobs.enqueue(NewJob("k"))

    with pytest.raises(InvalidInputError) as caught:
        job_actions.cancel(storage, job.id, reason=reason)

    assert caught.value.field == "reason"
    assert storage.job_reader.get(job.id).status is JobStatus.PENDING


def _fill(storage: Storage, queue_name: str, jobs: int) -> None:
    storage.jobs.enqueue_many([NewJob("k", queue_name=queue_name)] * jobs)


def test_without_limits_the_database_is_not_asked() -> None:
    Admission().check(None, [NewJob("k")])  # type: ignore[arg-type]  # never touched


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

    known, unknown = NewJob("k", queue_name="mail"), NewJob("k", queue_name="none")
    admission.check(storage, [known])
    with pytest.raises(QueueNotFoundError):
        admission.check(storage, [known, unknown])
