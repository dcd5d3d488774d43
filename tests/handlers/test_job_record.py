from __future__ import annotations

import pytest

from flask_forge_jobs.handlers.job_record import JobRecord, read_job
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.links import LinkEnd
from flask_forge_jobs.model.origins import carried_text
from flask_forge_jobs.model.outcomes import Dead, Done, Released
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, claim_one, enqueue, finish, run


def test_steps_belong_to_their_attempt_and_are_masked(storage: Storage) -> None:
    job_id = enqueue(storage)
    first = claim_one(storage)
    storage.steps.keep(first.run_id, OWNER, "sign in", '{"token":"s","n":1}')
    finish(storage, first, Released())
    later = claim_one(storage)
    storage.steps.keep(later.run_id, OWNER, "fetch", "[1]")
    saved = Checkpoint(later.run_id, '{"password":"s","place":7}')
    storage.jobs.heartbeat(OWNER, {}, saved=[saved])

    record = read_job(storage, job_id, redactor=Redactor())

    assert [
        [(step.name, step.result) for step in attempt.steps]
        for attempt in record.attempts
    ] == [[("sign in", {"token": "[redacted]", "n": 1})], [("fetch", [1])]]
    assert record.step_count == 2
    assert record.checkpoint is not None
    assert record.checkpoint.result == {"password": "[redacted]", "place": 7}
    assert record.redacted


def test_what_a_job_is_made_of_is_read_with_it(storage: Storage) -> None:
    made = NewJob("noop", timeout_s=1.5, schedule_name="nightly")
    job_id = storage.jobs.enqueue(made).id

    record = read_job(storage, job_id, redactor=Redactor())

    assert (record.row.timeout_s, record.row.crashes) == (1.5, 0)
    assert (record.row.schedule_name, record.origin) == ("nightly", "schedule nightly")


@pytest.mark.parametrize(
    ("origin", "seen"), [("task other", None), ("POST /a", "POST /a")]
)
def test_a_limited_caller_sees_no_task_as_an_origin(
    storage: Storage, origin: str, seen: str | None
) -> None:
    job = NewJob("noop").with_carried(carried_text(origin))
    job_id = storage.jobs.enqueue(job).id

    whole = read_job(storage, job_id, redactor=Redactor())
    limited = read_job(storage, job_id, redactor=Redactor(), queues=["default"])

    assert (whole.origin, limited.origin) == (origin, seen)


def test_both_ends_of_the_links_of_a_job_are_read_with_it(storage: Storage) -> None:
    parents = [
        storage.jobs.enqueue(NewJob("fetch", queue_name=queue)).id
        for queue in ("mail", "bank", "bank")
    ]
    batch = storage.batches.create(NewBatch("b"), [NewJob("x", queue_name="bank")])
    job = NewJob("parse", queue_name="mail", after=[*parents, batch.id])
    job_id = storage.jobs.enqueue(job).id
    child = storage.jobs.enqueue(
        NewJob("index", queue_name="bank", after=[job_id], on_parent_dead="run")
    ).id
    run(storage, Done('{"token":"s","n":1}'), queue_name="mail")
    run(storage, Done(), queue_name="bank")
    storage.job_admin.delete(parents[1])

    record = read_job(storage, job_id, redactor=Redactor())
    limited = read_job(storage, job_id, redactor=Redactor(), queues=["mail"])

    assert (record.waiting_for, limited.waiting_for) == (2, 2)
    assert [
        (each.link.id, each.link.status, each.link.ended, each.result)
        for each in record.parents
    ] == [
        (parents[0], JobStatus.DONE, LinkEnd.DONE, {"n": 1, "token": "[redacted]"}),
        (parents[1], None, LinkEnd.DONE, None),
        (parents[2], JobStatus.PENDING, None, None),
        (batch.id, None, None, None),
    ]
    assert record.redacted
    assert [(each.id, each.is_waiting) for each in record.dependents] == [(child, True)]
    assert [each.link.id for each in limited.parents] == [parents[0]]
    assert limited.dependents == []
    own = read_job(storage, child, redactor=Redactor(), queues=["bank"])
    assert own.parents == []


def test_a_limited_caller_knows_batches_of_own_queues_only(storage: Storage) -> None:
    jobs = [NewJob("x", queue_name=queue) for queue in ("mail", "bank")]
    mixed = storage.batches.create(NewBatch("mixed"), jobs)
    own = storage.batches.create(NewBatch("own"), jobs[:1])
    waiting = storage.jobs.enqueue(
        NewJob("y", queue_name="mail", after=[mixed.id, own.id])
    ).id

    def record(job_id: str) -> JobRecord:
        return read_job(storage, job_id, redactor=Redactor(), queues=["mail"])

    assert [each.link.id for each in record(waiting).parents] == [own.id]
    assert record(mixed.results[0].id).batch_id is None
    assert record(own.results[0].id).batch_id == own.id


def test_large_results_of_parents_are_left_out(storage: Storage) -> None:
    parent = enqueue(storage)
    child = storage.jobs.enqueue(NewJob("child", after=[parent])).id
    run(storage, Done(f'"{"x" * 5000}"'))
    other = enqueue(storage)
    died = storage.jobs.enqueue(NewJob("child", after=[other])).id
    storage.jobs.claim("default", OWNER, 1)
    run(storage, Dead("no"))

    (shown,) = read_job(storage, child, redactor=Redactor()).parents
    (dead,) = read_job(storage, died, redactor=Redactor()).parents

    assert (shown.link.ended, shown.result) == (LinkEnd.DONE, None)
    assert (dead.link.ended, dead.link.error) == (LinkEnd.DEAD, "no")
