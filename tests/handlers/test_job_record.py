from __future__ import annotations

import pytest

from flask_forge_jobs.handlers.job_record import read_job
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.origins import carried_text
from flask_forge_jobs.model.outcomes import Released
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, claim_one, enqueue, finish


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

    assert (record.timeout_s, record.crashes) == (1.5, 0)
    assert (record.schedule_name, record.origin) == ("nightly", "schedule nightly")


@pytest.mark.parametrize(
    ("origin", "seen"), [("task other", None), ("POST /a", "POST /a")]
)
def test_a_limited_caller_sees_no_task_as_an_origin(
    storage: Storage, origin: str, seen: str | None
) -> None:
    job = NewJob("noop").with_carried(carried_text(origin))
    job_id = storage.jobs.enqueue(job).id

    whole = read_job(storage, job_id, redactor=Redactor())
    limited = read_job(storage, job_id, redactor=Redactor(), is_limited=True)

    assert (whole.origin, limited.origin) == (origin, seen)
