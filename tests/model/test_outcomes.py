from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import (
    CANCELLED_MESSAGE,
    MAX_CONSECUTIVE_THROTTLES,
    Dead,
    Done,
    EndedJob,
    Failed,
    FollowUp,
    JobUpdate,
    Outcome,
    Released,
    Snooze,
    Throttled,
    ThrottleScope,
    clip,
    update_for,
)

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


def claimed(
    attempts: int = 1, max_attempts: int = 5, throttle_attempts: int = 0
) -> ClaimedJob:
    return ClaimedJob(
        id="01",
        queue_name="default",
        kind="send",
        payload="{}",
        priority=0,
        scheduled_at_us=0,
        attempts=attempts,
        max_attempts=max_attempts,
        throttle_attempts=throttle_attempts,
        error_history="[]",
        timeout_s=None,
    )


def settled(
    outcome: Outcome, job: ClaimedJob | None = None, *, cancelled: bool = False
) -> JobUpdate:
    return update_for(
        job or claimed(), outcome, failure_delay_s=7.0, user_cancelled=cancelled
    )


def test_done_is_final_and_keeps_the_result() -> None:
    ended = settled(Done('{"a":1}'))

    assert (ended.status, ended.result) == (JobStatus.DONE, '{"a":1}')
    assert (ended.delay_s, ended.error, ended.uncount) == (None, None, False)


def test_failure_waits_for_another_attempt() -> None:
    ended = settled(Failed("smtp timeout"))

    assert (ended.status, ended.delay_s) == (JobStatus.FAILED, 7.0)
    assert (ended.error, ended.uncount) == ("smtp timeout", False)


@pytest.mark.parametrize("attempts", [5, 6])
def test_failure_of_the_last_attempt_is_dead(attempts: int) -> None:
    ended = settled(Failed("smtp timeout"), claimed(attempts))

    assert (ended.status, ended.error) == (JobStatus.DEAD, "smtp timeout")
    assert ended.delay_s is None


def test_dead_ends_all_attempts_at_once() -> None:
    ended = settled(Dead("no such user"))

    assert (ended.status, ended.error) == (JobStatus.DEAD, "no such user")


def test_throttle_gives_the_attempt_back_and_cools_the_queue_down() -> None:
    ended = settled(Throttled(30))

    assert (ended.status, ended.delay_s) == (JobStatus.PENDING, 30)
    assert (ended.uncount, ended.cool_down_s, ended.error) == (True, 30, None)


def test_who_is_put_off_leaves_its_queue_alone_and_never_counts_as_failed() -> None:
    job = claimed(throttle_attempts=MAX_CONSECUTIVE_THROTTLES * 5)

    ended = settled(Snooze(2), job)

    assert (ended.status, ended.delay_s, ended.error) == (JobStatus.PENDING, 2, None)
    assert (ended.uncount, ended.is_throttle, ended.cool_down_s) == (True, True, None)
    assert settled(Snooze(2), job, cancelled=True).status is JobStatus.DEAD


def test_a_throttle_keeps_its_reason() -> None:
    snoozed = Snooze(2, reason="no permit is free")
    last = claimed(throttle_attempts=MAX_CONSECUTIVE_THROTTLES - 1)

    assert settled(Throttled(30, reason="HTTP 429")).error == "HTTP 429"
    assert settled(snoozed).error == "no permit is free"
    assert settled(Throttled(30, reason="HTTP 429"), last).error == (
        "throttled 100 times in a row: HTTP 429"
    )


def test_throttle_of_a_job_leaves_its_queue_alone() -> None:
    ended = settled(Throttled(2, scope="job"))

    assert (ended.delay_s, ended.cool_down_s) == (2, None)


def test_endless_throttling_counts_as_a_failure() -> None:
    nearly = claimed(throttle_attempts=MAX_CONSECUTIVE_THROTTLES - 2)
    last = claimed(throttle_attempts=MAX_CONSECUTIVE_THROTTLES - 1)

    assert settled(Throttled(1), nearly).status is JobStatus.PENDING
    assert settled(Throttled(1), last).status is JobStatus.FAILED
    assert settled(Throttled(1), last).error == "throttled 100 times in a row"


def test_release_is_due_at_once_and_leaves_no_error() -> None:
    ended = settled(Released())

    assert (ended.status, ended.delay_s) == (JobStatus.PENDING, 0)
    assert (ended.uncount, ended.error) == (True, None)


@pytest.mark.parametrize(
    "outcome", [Failed("x"), Throttled(1), Released(), Dead("x")], ids=type
)
def test_user_cancel_ends_everything_but_done(outcome: Outcome) -> None:
    ended = settled(outcome, cancelled=True)

    assert (ended.status, ended.error) == (JobStatus.DEAD, CANCELLED_MESSAGE)
    assert settled(Done(), cancelled=True).status is JobStatus.DONE


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(-1, 0), (0, 0), (1.5, 1.5), (86_400, 86_400), (math.inf, 86_400)],
)
def test_throttle_clamps_its_hint(asked: float, kept: float) -> None:
    assert Throttled(asked).retry_after_s == kept


@pytest.mark.parametrize("asked", [math.nan, "soon", None])
def test_throttle_refuses_what_is_no_number_of_seconds(asked: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Throttled(asked)

    assert caught.value.field == "retry_after_s"


def test_throttle_refuses_an_unknown_scope() -> None:
    assert Throttled().scope is ThrottleScope.QUEUE
    with pytest.raises(ValueError, match="cluster"):
        Throttled(scope="cluster")


def test_throttle_and_death_can_be_raised() -> None:
    with pytest.raises(Throttled, match="throttled for 2"):
        raise Throttled(2)
    with pytest.raises(Dead, match="no such user"):
        raise Dead("no such user")


@given(st.text(st.characters()), st.integers(1, 50))
def test_clip_returns_text_that_both_databases_store(text: str, longest: int) -> None:
    clipped = clip(text, longest)

    assert len(clipped.encode()) <= longest
    assert "\x00" not in clipped


def test_clip_never_cuts_a_character_in_half() -> None:
    assert clip("aé€", 3) == "aé"
    assert clip("aé€", 5) == "aé"
    assert clip("aé€", 6) == "aé€"


def test_clip_shows_what_it_replaced() -> None:
    assert clip("a\x00b") == "a\ufffdb"


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
