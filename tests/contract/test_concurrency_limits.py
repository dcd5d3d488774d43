"""Concurrency limits: so many jobs run at once, and whatever ends a run makes room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import RETRY_DELAY_S, rescue_all, update_for
from tests.support.sql import Sql
from tests.support.threads import run_together

OWNER = "worker-1"
OTHER = "worker-2"


def claim(storage: Storage, count: int, owner: str = OWNER) -> list[ClaimedJob]:
    """Enqueue jobs and claim as many."""
    storage.jobs.enqueue_many([NewJob("send") for _ in range(count)])
    return storage.jobs.claim("default", owner, count)


def take(storage: Storage, job: ClaimedJob, most: int = 1, owner: str = OWNER) -> bool:
    return storage.concurrency.acquire(job, owner, "send", most)


def settled(job: ClaimedJob, outcome: Outcome, key: str | None = None) -> JobUpdate:
    update = update_for(job, outcome, failure_delay_s=60.0, user_cancelled=False)
    update.concurrency_key = key
    return update


def finish(
    storage: Storage, job: ClaimedJob, outcome: Outcome, key: str | None = None
) -> None:
    assert storage.jobs.finish(OWNER, [settled(job, outcome, key)]) == []


def test_only_so_many_find_a_permit(storage: Storage) -> None:
    jobs = claim(storage, 4)

    assert [take(storage, job, 2) for job in jobs] == [True, True, False, False]


def test_permits_of_another_name_are_other_permits(storage: Storage) -> None:
    first, second = claim(storage, 2)
    storage.concurrency.acquire(first, OWNER, "send account_id=1", 1)

    assert storage.concurrency.acquire(second, OWNER, "send account_id=2", 1)


def test_who_asks_again_keeps_its_permit(storage: Storage) -> None:
    (job,) = claim(storage, 1)

    assert take(storage, job)
    assert take(storage, job)


def test_the_number_of_permits_may_change(storage: Storage) -> None:
    jobs = claim(storage, 4)
    taken = [take(storage, job, 3) for job in jobs[:2]]

    assert taken == [True, True]
    assert not take(storage, jobs[2], 1)
    assert take(storage, jobs[3], 3)


@pytest.mark.parametrize(
    "outcome",
    [
        Done(),
        Failed("no"),
        Dead("no"),
        Released(),
        Throttled(9, scope="job"),
        Snooze(9),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_whatever_ends_a_run_frees_its_permit(
    storage: Storage, outcome: Outcome
) -> None:
    first, second = claim(storage, 2)
    take(storage, first)

    finish(storage, first, outcome)

    assert take(storage, second)


def test_a_job_that_comes_back_takes_no_permit_by_being_claimed(
    storage: Storage, sql: Sql
) -> None:
    """Also when its attempt is not counted, so that it bears the same number."""
    first, second = claim(storage, 2)
    take(storage, first)
    finish(storage, first, Released())
    sql.run(
        "UPDATE forge_job SET started_at = started_at - 1 "
        "WHERE concurrency_key = 'send'"
    )
    (again,) = storage.jobs.claim("default", OWNER)

    assert (again.id, again.attempts) == (first.id, first.attempts)
    assert take(storage, second)
    assert not take(storage, again)


def test_a_job_that_was_rescued_keeps_no_permit(storage: Storage) -> None:
    first, second = claim(storage, 2)
    take(storage, first)

    observed = [each for each in storage.jobs.running() if each.id == first.id]
    assert storage.jobs.rescue(observed) == 1

    assert take(storage, second)


def test_a_run_that_is_no_longer_ours_finds_no_permit(storage: Storage) -> None:
    (job,) = claim(storage, 1)

    assert not take(storage, job, owner=OTHER)
    finish(storage, job, Done())
    assert not take(storage, job)


def test_an_earlier_run_finds_no_permit(storage: Storage, sql: Sql) -> None:
    """Also when the same owner has claimed the job again."""
    (job,) = claim(storage, 1)
    rescue_all(storage)
    sql.age(RETRY_DELAY_S)
    (again,) = storage.jobs.claim("default", OWNER)

    assert (again.id, again.attempts) == (job.id, job.attempts + 1)
    assert not take(storage, job)
    assert take(storage, again)


def test_permits_that_are_asked_for_together_are_never_given_twice(
    storage: Storage,
) -> None:
    jobs = claim(storage, 30)

    found = run_together([partial(take, storage, job, 3) for job in jobs])

    assert sum(found) == 3


# -- what waits for a limit ------------------------------------------------------------


def turn_away(storage: Storage, job: ClaimedJob) -> None:
    """Let a job wait for the limit, and snooze it for a minute."""
    assert not take(storage, job)
    finish(storage, job, Snooze(60))


def test_a_run_that_was_given_back_takes_no_permit_for_the_next_one(
    storage: Storage, sql: Sql
) -> None:
    (first,) = claim(storage, 1)
    finish(storage, first, Released())
    (second,) = storage.jobs.claim("default", OWNER)

    assert not take(storage, first)

    assert first.attempts == second.attempts
    assert sql.value("SELECT concurrency_key FROM forge_job") is None
    assert take(storage, second)


def test_a_freed_permit_calls_in_who_came_first(storage: Storage) -> None:
    first, second, third = claim(storage, 3)
    take(storage, first)
    turn_away(storage, third)
    turn_away(storage, second)
    assert storage.jobs.claim("default", OWNER, 9) == []

    finish(storage, first, Done(), key="send")

    (called,) = storage.jobs.claim("default", OWNER, 9)
    assert called.id == second.id
    assert take(storage, called)


def pause(storage: Storage) -> None:
    storage.queues.set_paused_many(["default"], paused=True)


def cool_down(storage: Storage) -> None:
    storage.queues.cool_down(["default"], 300)


@pytest.mark.parametrize("close", [pause, cool_down])
def test_a_freed_permit_is_not_kept_for_a_queue_that_is_closed(
    storage: Storage, close: Callable[[Storage], None]
) -> None:
    first, second = claim(storage, 2)
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    (third,) = storage.jobs.claim("mail", OWNER)
    take(storage, first)
    turn_away(storage, second)
    turn_away(storage, third)
    close(storage)

    finish(storage, first, Done(), key="send")

    assert [each.id for each in storage.jobs.claim("mail", OWNER, 9)] == [third.id]
    storage.queues.set_paused_many(None, paused=False)
    storage.queues.clear_cooldowns(None)
    assert [each.id for each in storage.jobs.claim("default", OWNER)] == [second.id]


def test_permits_that_are_freed_together_call_in_as_many(storage: Storage) -> None:
    jobs = claim(storage, 6)
    for job in jobs[:2]:
        take(storage, job, 2)
    for job in jobs[2:]:
        assert not take(storage, job, 2)
        finish(storage, job, Snooze(60))

    storage.jobs.finish(OWNER, [settled(job, Done(), "send") for job in jobs[:2]])

    called = storage.jobs.claim("default", OWNER, 9)
    assert [each.id for each in called] == [job.id for job in jobs[2:4]]


def test_a_permit_that_a_dead_process_had_calls_somebody_in(storage: Storage) -> None:
    first, second = claim(storage, 2)
    take(storage, first)
    turn_away(storage, second)

    storage.jobs.rescue([e for e in storage.jobs.running() if e.id == first.id])

    assert [each.id for each in storage.jobs.claim("default", OTHER, 9)] == [second.id]


def test_an_outcome_that_is_refused_calls_nobody_in(storage: Storage) -> None:
    first, second = claim(storage, 2)
    take(storage, first)
    turn_away(storage, second)

    refused = storage.jobs.finish(OTHER, [settled(first, Done(), "send")])

    assert refused == [first.id]
    assert storage.jobs.claim("default", OWNER, 9) == []


def put_off_by_a_bucket(storage: Storage, job: ClaimedJob) -> None:
    take(storage, job, 2)
    finish(storage, job, Snooze(60))


def wait_for_a_retry(storage: Storage, job: ClaimedJob) -> None:
    take(storage, job, 2)
    finish(storage, job, Failed("no"))


def be_put_off_by_an_operator(storage: Storage, job: ClaimedJob) -> None:
    turn_away(storage, job)
    later = storage.job_reader.get(job.id).scheduled_at
    storage.job_admin.reschedule(job.id, run_at=later, priority=None, queue_name=None)


def be_rescued(storage: Storage, job: ClaimedJob) -> None:
    turn_away(storage, job)
    storage.job_admin.run_now(job.id)
    storage.jobs.claim("default", OWNER, 9)
    storage.jobs.rescue([each for each in storage.jobs.running() if each.id == job.id])


@pytest.mark.parametrize(
    "wait",
    [put_off_by_a_bucket, wait_for_a_retry, be_put_off_by_an_operator, be_rescued],
)
def test_who_waits_for_something_else_is_not_called_in(
    storage: Storage, wait: Callable[[Storage, ClaimedJob], None]
) -> None:
    first, second = claim(storage, 2)
    take(storage, first)
    wait(storage, second)

    finish(storage, first, Done(), key="send")

    assert storage.jobs.claim("default", OWNER, 9) == []
    assert storage.job_reader.get(second.id).status in (
        JobStatus.PENDING,
        JobStatus.FAILED,
    )
