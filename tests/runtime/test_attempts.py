"""The attempts that a worker leaves, however a run ends, on each backend."""

from __future__ import annotations

import contextlib
import os
import signal

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.attempts import Attempt
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import Failed, Throttled
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.tasks.context import TaskContext
from tests.support.jobs import rescue_all
from tests.support.processes import Child, Peer
from tests.support.runtimes import (
    LIMIT_S,
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_error,
    wait_for_status,
)
from tests.support.sql import Sql
from tests.support.waiting import wait_until


def attempts_of(storage: Storage, job_id: str) -> tuple[Attempt, ...]:
    return storage.job_reader.with_attempts(job_id)[1]


def test_a_failed_attempt_is_followed_by_the_one_that_was_done(
    storage: Storage, sql: Sql
) -> None:
    task = QuickTask(
        function=lambda context: Failed("no", 0.0) if context.attempt == 1 else None
    )
    with running(storage, registry_of(task), name="mail-1", threads=1) as handle:
        job_id = add(storage, "quick")
        wait_for_status(storage, job_id, JobStatus.DONE)

    first, last = attempts_of(storage, job_id)
    assert [(each.run, each.attempt, each.ending.value) for each in (first, last)] == [
        (1, 1, "failed"), (2, 2, "done"),
    ]  # fmt: skip
    assert first.ended_at is not None
    assert first.ended_at <= last.started_at
    for each in (first, last):
        assert (each.worker_id, each.worker_name) == (handle.worker_id, "mail-1")
        assert each.slot == 0
    assert (first.error, last.error) == ("no", None)
    # A job that is done at its first attempt leaves none.
    assert sql.value("SELECT COUNT(*) FROM forge_attempt") == 2


def test_an_attempt_that_reaches_its_limit_has_timed_out(storage: Storage) -> None:
    held = HeldTask(timeout_s=0.05)
    stubborn = HeldTask("ignores", timeout_s=0.05, obeys=False)
    tasks = registry_of(held, stubborn)
    with running(storage, tasks, threads=2, cancel_grace_s=0.05):
        ids = [add(storage, each, max_attempts=1) for each in ("held", "ignores")]
        jobs = [wait_for_status(storage, each, JobStatus.DEAD) for each in ids]
        stubborn.release.set()

    for job in jobs:
        (attempt,) = attempts_of(storage, job.id)
        assert (attempt.ending, attempt.error) == ("timed_out", job.last_error)
        assert attempt.run_ms is not None
        assert attempt.run_ms >= 50


def test_a_cancelled_attempt_has_the_reason_of_the_user(storage: Storage) -> None:
    held = HeldTask()
    with running(storage, registry_of(held), threads=1) as handle:
        job_id = add(storage, "held")
        held.wait_for_start()
        (under_way,) = attempts_of(storage, job_id)
        storage.job_admin.cancel(job_id, "wrong list")
        wait_for_status(storage, job_id, JobStatus.DEAD)

    (attempt,) = attempts_of(storage, job_id)
    assert (under_way.ending, under_way.worker_id) == ("running", handle.worker_id)
    assert (attempt.ending, attempt.error) == (
        "cancelled", "cancelled by user: wrong list",
    )  # fmt: skip


def test_an_attempt_whose_worker_was_killed_has_crashed(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    job_id = add(storage, "held")

    def work(peer: Peer) -> None:
        held = HeldTask()
        with (
            contextlib.closing(open_storage(database_settings)) as own,
            running(own, registry_of(held), name="mail-1", threads=1) as handle,
        ):
            held.wait_for_start()
            peer.say(handle.worker_id)
            held.release.wait(LIMIT_S)

    child = Child(work)
    worker_id = child.hear()
    os.kill(child.pid, signal.SIGKILL)
    child.end()
    assert rescue_all(storage) == 1

    (attempt,) = attempts_of(storage, job_id)
    assert (attempt.ending, attempt.worker_id, attempt.worker_name) == (
        "crashed", worker_id, "mail-1",
    )  # fmt: skip
    assert attempt.ended_at is not None


def test_a_throttled_and_a_snoozed_attempt_are_told_apart(storage: Storage) -> None:
    def ask(context: TaskContext) -> object:
        context.rate_limit("api")
        raise AssertionError("the bucket was empty")

    storage.rate_limits.put("api", 1, 0.00001)
    storage.rate_limits.acquire("api")
    throttled = QuickTask("throttled", lambda _: Throttled(60, reason="HTTP 429"))
    with running(storage, registry_of(throttled, QuickTask("snoozed", ask)), threads=1):
        snoozed_id = add(storage, "snoozed")
        wait_until(lambda: attempts_of(storage, snoozed_id), "it is snoozed")
        throttled_id = add(storage, "throttled")
        wait_for_error(storage, throttled_id)

    (snoozed,) = attempts_of(storage, snoozed_id)
    (throttled_one,) = attempts_of(storage, throttled_id)
    assert (snoozed.ending, snoozed.error) == (
        "snoozed", "waits for the rate limit api",
    )  # fmt: skip
    assert (throttled_one.ending, throttled_one.error) == ("throttled", "HTTP 429")


def test_what_a_stopping_worker_gives_back_is_an_attempt_if_it_ran(
    storage: Storage,
) -> None:
    held = HeldTask()
    with running(storage, registry_of(held), threads=1):
        job_id = add(storage, "held")
        held.wait_for_start()
        behind = add(storage, "held")

    (attempt,) = attempts_of(storage, job_id)
    assert (attempt.ending, attempt.attempt, attempt.error) == ("released", 1, None)
    assert attempts_of(storage, behind) == ()


def test_a_wait_for_a_task_or_a_concurrency_limit_is_no_attempt(
    storage: Storage,
) -> None:
    held = HeldTask(concurrency=ConcurrencyLimit(1))
    with running(storage, registry_of(held), threads=2):
        unknown, holder = add(storage, "unknown"), add(storage, "held")
        wait_for_error(storage, unknown)
        held.wait_for_start()
        waiting = add(storage, "held")
        wait_until(
            lambda: storage.job_reader.get(waiting).throttle_attempts, "it waits"
        )
        before = [attempts_of(storage, each) for each in (unknown, waiting)]
        held.release.set()
        for each in (holder, waiting):
            wait_for_status(storage, each, JobStatus.DONE)

    assert before == [(), ()]
    (attempt,) = attempts_of(storage, waiting)
    assert (attempt.attempt, attempt.ending) == (1, "done")
    assert attempt.run > 1
