"""Workers whose tasks share a token bucket."""

from __future__ import annotations

import contextlib
import threading

import pytest

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from tests.support.runtimes import QuickTask, add, registry_of, running, wait_for_status
from tests.support.sql import Sql
from tests.support.waiting import wait_until


def take(context: TaskContext) -> None:
    context.rate_limit("api")


def test_two_workers_spend_no_more_than_the_budget_and_all_of_it(
    storage: Storage, sql: Sql
) -> None:
    """Each job waits for its turn instead of asking again and again."""
    storage.rate_limits.put("api", 5, 25.0)
    task = QuickTask(function=take)
    ids = [add(storage, "quick") for _ in range(55)]
    began_us = sql.now_us()

    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(running(storage, registry_of(task), threads=4))
        for job_id in ids:
            wait_for_status(storage, job_id, JobStatus.DONE)

    elapsed_s = (sql.now_us() - began_us) / 1_000_000 + 0.002
    assert 5 + 25 * elapsed_s >= 55
    assert len(task.job_ids) <= 55 * 4  # few came in vain twice
    assert {storage.job_reader.get(each).attempts for each in ids} == {1}


def test_a_job_that_is_put_off_leaves_its_slot_and_its_queue(storage: Storage) -> None:
    storage.rate_limits.put("api", 1, 0.00001)
    storage.rate_limits.acquire("api")
    limited, free = QuickTask("limited", take), QuickTask("free")

    with running(storage, registry_of(limited, free), threads=1):
        held = add(storage, "limited")
        wait_until(lambda: limited.job_ids, "the limited job was tried")
        wait_for_status(storage, add(storage, "free"), JobStatus.DONE)
        waiting = wait_for_status(storage, held, JobStatus.PENDING)

    assert (waiting.attempts, waiting.throttle_attempts) == (0, 1)
    assert waiting.last_error == "waits for the rate limit api"
    assert waiting.error_history == ()
    assert storage.queues.get("default").throttled_until is None


def test_a_drain_after_a_refusal_holds_up_the_others(storage: Storage) -> None:
    storage.rate_limits.put("api", 100, 0.01)
    refused = threading.Event()

    def post(context: TaskContext) -> None:
        context.rate_limit("api")
        if not refused.is_set():
            refused.set()
            context.drain_rate_limit("api", 6000)

    task = QuickTask(function=post)
    with running(storage, registry_of(task), threads=1):
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        later = add(storage, "quick")
        wait_until(
            lambda: storage.job_reader.get(later).throttle_attempts == 1, "put off"
        )

    job = storage.job_reader.get(later)
    wait_s = (job.scheduled_at - job.enqueued_at).total_seconds()
    assert wait_s == pytest.approx(6100, abs=60)


def test_start_makes_the_buckets_that_the_code_declares(storage: Storage) -> None:
    """Scopes are seeded at the start, and an operator's change stays."""
    forge = ForgeJobs()
    forge.rate_limit("slack", capacity=50, refill_per_sec=50 / 60)

    with running(storage, forge.registry):
        made = storage.rate_limits.get("slack")
    storage.rate_limits.put("slack", 10, 1)
    with running(storage, forge.registry):
        kept = storage.rate_limits.get("slack")

    assert (made.capacity, made.refill_per_sec) == (50, 50 / 60)
    assert kept.capacity == 10
