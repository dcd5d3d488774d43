"""How runs end; ``tests/runtime/test_outcomes.py`` has what requests to stop change."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.attempts import AttemptEnding
from flask_forge_jobs.model.claims import REAPED_MESSAGE, ClaimedJob
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.run_end import (
    CANCELLED_MESSAGE,
    MAX_CONSECUTIVE_THROTTLES,
    SHUTDOWN_GRACE_S,
    CancelReason,
    JobUpdate,
    RunEnd,
    end_of_lost_run,
    end_of_run,
    stop_grace_s,
)
from tests.support.jobs import update_for

DIED = f"{REAPED_MESSAGE}: its worker process died 3 times"


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
    ("outcome", "reason", "end"),
    [
        (Done(), None, RunEnd.DONE),
        (Failed("x"), None, RunEnd.FAILED),
        (Dead("x"), None, RunEnd.DEAD),
        (Throttled(1), None, RunEnd.THROTTLED),
        (Released(), None, RunEnd.RELEASED),
        (Done(), CancelReason.LOST, None),
        (Done(), CancelReason.SHUTDOWN, RunEnd.DONE),
        (Dead("x"), CancelReason.SHUTDOWN, RunEnd.RELEASED),
        (Throttled(1), CancelReason.USER, RunEnd.CANCELLED),
        (Throttled(1), CancelReason.TIMEOUT, RunEnd.FAILED),
        (Dead("x"), CancelReason.TIMEOUT, RunEnd.FAILED),
    ],
)
def test_a_request_to_stop_decides_how_unfinished_work_ends(
    outcome: Outcome, reason: CancelReason | None, end: RunEnd | None
) -> None:
    update = end_of_run(
        claimed(),
        outcome,
        reason,
        timeout_s=2.0,
        is_final=lambda *_: False,
        delay_s=lambda *_: 7.0,
    )

    assert (None if update is None else update.end) is end


@pytest.mark.parametrize(
    ("attempts", "crashes", "is_asked", "end", "message"),
    [
        (1, 0, False, RunEnd.FAILED, REAPED_MESSAGE),
        (5, 0, False, RunEnd.DEAD, REAPED_MESSAGE),
        (1, 2, False, RunEnd.DEAD, DIED),
        (5, 2, True, RunEnd.CANCELLED, f"{CANCELLED_MESSAGE}: no use"),
    ],
)
def test_a_lost_worker_ends_its_run(
    attempts: int,
    crashes: int,
    is_asked: bool,  # a parameter of the test
    end: RunEnd,
    message: str,
) -> None:
    attempt_ending = AttemptEnding.CANCELLED if is_asked else AttemptEnding.CRASHED
    assert end_of_lost_run(
        attempts=attempts,
        max_attempts=5,
        crashes=crashes,
        is_asked=is_asked,
        cancel_reason="no use",
    ) == (end, message, attempt_ending)


@pytest.mark.parametrize(
    ("attempts", "crashes", "end"),
    [
        (1, 0, RunEnd.RELEASED),
        (4, 0, RunEnd.RELEASED),
        (5, 0, RunEnd.DEAD),
        (1, 1, RunEnd.FAILED),
        (1, 2, RunEnd.DEAD),
    ],
)
def test_a_run_that_may_have_waited_for_a_slot_costs_no_attempt(
    attempts: int, crashes: int, end: RunEnd
) -> None:
    """A job that is claimed only if it starts at once has started."""
    ended = end_of_lost_run(
        attempts=attempts,
        max_attempts=5,
        crashes=crashes,
        is_asked=False,
        cancel_reason=None,
        may_have_waited=True,
    )

    assert (ended[0], ended[2]) == (end, AttemptEnding.CRASHED)


@pytest.mark.parametrize(
    ("outcome", "reason", "ending"),
    [
        (Done(), None, "done"),
        (Done(), CancelReason.TIMEOUT, "done"),
        (Failed("x"), None, "failed"),
        (Dead("x"), None, "failed"),
        (Throttled(1), None, "throttled"),
        (Snooze(1), None, "snoozed"),
        (Released(), None, "released"),
        (Dead("x"), CancelReason.SHUTDOWN, "released"),
        (Snooze(1), CancelReason.USER, "cancelled"),
        (Failed("x"), CancelReason.TIMEOUT, "timed_out"),
        (Snooze(1), CancelReason.TIMEOUT, "timed_out"),
    ],
)
@pytest.mark.parametrize("attempts", [1, 5])
def test_an_attempt_ends_as_its_run_does_and_says_more_of_why(
    outcome: Outcome, reason: CancelReason | None, ending: str, attempts: int
) -> None:
    update = end_of_run(
        claimed(attempts),
        outcome,
        reason,
        timeout_s=2.0,
        is_final=lambda *_: False,
        delay_s=lambda *_: 7.0,
    )

    assert update is not None
    assert update.attempt_ending == ending
    if not update.status.is_final:
        update.cancel("by a user, whom the worker had not heard")
        assert update.attempt_ending == "cancelled"


def test_only_two_ends_have_an_ending() -> None:
    endings = {end: end.ending for end in RunEnd if end.ending is not None}

    assert endings == {RunEnd.DEAD: Ending.DEAD, RunEnd.CANCELLED: Ending.CANCELLED}


def test_a_task_has_little_time_to_stop_at_a_shutdown() -> None:
    assert stop_grace_s(CancelReason.SHUTDOWN, 10.0) == SHUTDOWN_GRACE_S
    assert stop_grace_s(CancelReason.SHUTDOWN, 0.1) == 0.1
    assert stop_grace_s(CancelReason.USER, 10.0) == 10.0
