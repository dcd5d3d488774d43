"""What a task is told of a job that ended without being done."""

from __future__ import annotations

import json

import pytest

from flask_forge_jobs.model.follow_ups import EndedJob, FollowUp
from flask_forge_jobs.model.job_bounds import MAX_PAYLOAD_BYTES

TELL = FollowUp("tell", "ended", "mail", -1, 2)
ENDED = EndedJob(
    id="01JOB",
    kind="export",
    queue_name="default",
    arguments=None,
    attempts=5,
    error="KeyError: 'id'",
    ending="dead",
)


def test_the_task_is_told_all_of_the_job() -> None:
    job = TELL.job(ENDED, '{"user_id":7}')

    assert json.loads(job.payload) == {"ended": ENDED | {"arguments": {"user_id": 7}}}
    assert (job.kind, job.queue_name, job.priority) == ("tell", "mail", -1)
    assert job.max_attempts == 2
    assert job.dedupe_key is None


@pytest.mark.parametrize(
    "payload",
    [
        "{", '"' + "x" * (MAX_PAYLOAD_BYTES - 2) + '"', "[" * 63 + "]" * 63,
    ],
    ids=["damaged", "large", "deep"],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_left_out(payload: str) -> None:
    """The end of a job must not fail of what follows it."""
    told = json.loads(TELL.job(ENDED, payload).payload)["ended"]

    assert told == ENDED


def test_the_longest_error_fits_beside_the_longest_arguments() -> None:
    payload = json.dumps(
        {"text": "x" * (MAX_PAYLOAD_BYTES - 65_536 - 11)}, separators=(",", ":")
    )
    ended = ENDED | {"error": "\u20ac" * 2730, "kind": "\u20ac" * 128}

    told = json.loads(TELL.job(ended, payload).payload)["ended"]

    assert len(payload) == MAX_PAYLOAD_BYTES - 65_536
    assert told["arguments"] == json.loads(payload)
