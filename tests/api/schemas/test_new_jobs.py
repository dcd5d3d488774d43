"""New jobs as the handlers' arguments, and stored ones byte for byte."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.new_jobs import (
    EnqueuedJobsSchema,
    NewJobRequestSchema,
    NewJobsRequestSchema,
)
from flask_forge_jobs.handlers.job_actions import EnqueueReport
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus


def test_enqueued_jobs_have_their_keys_in_order() -> None:
    new = EnqueueResult("A", False, "mail", "k", JobStatus.PENDING, 120_000)
    held = EnqueueResult("B", True, "bank", "k", JobStatus.FAILED, 0)

    assert encode(
        dumper(EnqueuedJobsSchema())(EnqueueReport([new, held]))
    ).decode() == (
        '{"results":[{"id":"A","deduped":false,"queue_name":"mail","status":"pending",'
        '"scheduled_at":"1970-01-01T00:00:00.120Z"},{"id":"B","deduped":true,'
        '"queue_name":"bank","status":"failed","scheduled_at":"1970-01-01T00:00:00Z"}],'
        '"enqueued":1,"deduped":1}'
    )


def test_an_unknown_key_of_a_new_job_is_refused_at_its_place() -> None:
    job = {"kind": "k", "payload": None}
    assert NewJobRequestSchema().load(job)["payload"] is None

    with pytest.raises(ValidationError) as caught:
        NewJobsRequestSchema().load({"items": [job, {**job, "prio": 1}]})

    assert caught.value.messages == {
        "items": {1: {"prio": ["is not a known key; did you mean 'priority'"]}}
    }


def test_the_number_of_parents_is_checked_before_they_are() -> None:
    job = {"kind": "k", "payload": None, "after": [7] * 101}

    with pytest.raises(ValidationError) as caught:
        NewJobRequestSchema().load(job)

    assert caught.value.messages == {"after": ["has 101 entries, not 0 to 100"]}
