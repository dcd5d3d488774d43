"""A throttle holds back its whole queue: how long, and when it is forgotten."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Failed, Snooze, Throttled
from flask_forge_jobs.model.queues import COOLDOWN_DECAY_GRACE_S
from flask_forge_jobs.model.run_end import MAX_CONSECUTIVE_THROTTLES, JobUpdate
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import (
    OTHER,
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    finish,
    run,
    update_for,
)
from tests.support.sql import SECOND_US, Sql
from tests.support.threads import Heard


def window_s(storage: Storage, sql: Sql) -> float:
    """Return how long the cool-down of the queue still lasts, in seconds."""
    until = storage.queues.get(QUEUE).throttled_until
    assert until is not None
    return until.timestamp() - sql.now_us() / SECOND_US


def throttle(job: ClaimedJob, retry_after_s: float = 0.0) -> JobUpdate:
    outcome = Throttled(retry_after_s)
    return update_for(job, outcome, failure_delay_s=1, user_cancelled=False)


def use_curve(storage: Storage, base_seconds: int = 100) -> None:
    storage.queues.ensure(QUEUE)
    storage.queues.change(
        QUEUE,
        {
            "backoff_enabled": True,
            "backoff_base_seconds": base_seconds,
            "backoff_max_seconds": 86_400,
        },
    )


def test_a_throttle_keeps_its_reason_and_leaves_the_history_to_failures(
    storage: Storage,
) -> None:
    """However often a job is throttled, what once failed stays to be read."""
    job_id = enqueue(storage)
    finish(storage, claim_one(storage), Failed("smtp timeout"), delay_s=0)

    finish(storage, claim_one(storage), Throttled(5, scope="job", reason="HTTP 429"))

    job = storage.job_reader.get(job_id)
    assert (job.status, job.last_error) == (JobStatus.PENDING, "HTTP 429")
    assert [entry.message for entry in job.error_history] == ["smtp timeout"]
    assert job.attempts == 1


def test_a_throttle_gates_the_queue_and_a_success_within_it_changes_nothing(
    storage: Storage, sql: Sql
) -> None:
    """queue_cooldown_gate_blocks_siblings_then_clears_on_success"""
    enqueue(storage), enqueue(storage), enqueue(storage)
    throttled, other = storage.jobs.claim(QUEUE, OWNER, 2)
    finish(storage, throttled, Throttled())
    queue = storage.queues.get(QUEUE)
    assert queue.throttle_attempts == 1
    assert window_s(storage, sql) == pytest.approx(60, abs=20)
    assert storage.jobs.claim(QUEUE, OTHER) == []

    finish(storage, other, Done())

    assert storage.queues.get(QUEUE) == queue
    assert storage.jobs.claim(QUEUE, OTHER) == []


def test_the_throttled_job_waits_until_the_window_ends(storage: Storage) -> None:
    job_id = enqueue(storage)
    run(storage, Throttled())

    stored = storage.job_reader.get(job_id)

    until = storage.queues.get(QUEUE).throttled_until
    assert until is not None
    assert stored.scheduled_at.timestamp() == pytest.approx(until.timestamp(), abs=1)


def test_the_gate_opens_when_the_window_has_passed(storage: Storage, sql: Sql) -> None:
    """queue_cooldown_counter_survives_success_within_decay_grace"""
    enqueue(storage), enqueue(storage)
    run(storage, Throttled())
    sql.age(61)

    run(storage, Done())

    queue = storage.queues.get(QUEUE)
    assert queue.throttle_attempts == 1
    assert queue.throttled_until is not None
    assert len(storage.jobs.claim(QUEUE, OWNER)) == 1


def test_a_success_after_the_grace_forgets_the_throttle(
    storage: Storage, sql: Sql
) -> None:
    enqueue(storage)
    run(storage, Throttled())
    sql.age(60 + COOLDOWN_DECAY_GRACE_S + 1)

    run(storage, Done())

    queue = storage.queues.get(QUEUE)
    assert (queue.throttle_attempts, queue.throttled_until) == (0, None)


def test_a_failure_after_the_grace_forgets_nothing(storage: Storage, sql: Sql) -> None:
    enqueue(storage)
    run(storage, Throttled())
    sql.age(60 + COOLDOWN_DECAY_GRACE_S + 1)

    run(storage, Failed("no"))

    assert storage.queues.get(QUEUE).throttle_attempts == 1


def test_a_longer_hint_extends_a_live_window(storage: Storage, sql: Sql) -> None:
    """The exponent counts windows, not workers"""
    for _ in range(3):
        enqueue(storage)
    first, longer, shorter = storage.jobs.claim(QUEUE, OWNER, 3)

    finish(storage, first, Throttled(300))
    finish(storage, longer, Throttled(3600))
    finish(storage, shorter, Throttled(600))

    assert window_s(storage, sql) == pytest.approx(3600, abs=20)
    assert storage.queues.get(QUEUE).throttle_attempts == 1


def test_siblings_throttled_in_one_batch_open_one_window(
    storage: Storage, sql: Sql
) -> None:
    use_curve(storage)
    for _ in range(3):
        enqueue(storage)
    jobs = storage.jobs.claim(QUEUE, OWNER, 3)

    assert storage.jobs.finish(OWNER, [throttle(job) for job in jobs]) == []

    assert storage.queues.get(QUEUE).throttle_attempts == 1
    assert window_s(storage, sql) == pytest.approx(100, abs=20)


def test_siblings_throttled_one_after_another_open_one_window(
    storage: Storage, sql: Sql
) -> None:
    use_curve(storage)
    for _ in range(3):
        enqueue(storage)
    windows = []

    for job in storage.jobs.claim(QUEUE, OWNER, 3):
        assert finish(storage, job, Throttled())
        windows.append(window_s(storage, sql))

    assert windows == pytest.approx([100] * 3, abs=20)
    assert storage.queues.get(QUEUE).throttle_attempts == 1


def test_a_throttle_whose_answer_was_lost_keeps_its_window(
    storage: Storage, sql: Sql
) -> None:
    use_curve(storage)
    enqueue(storage)
    update = throttle(claim_one(storage))
    assert storage.jobs.finish(OWNER, [update]) == []
    update.was_tried = True

    assert storage.jobs.finish(OWNER, [update]) == []

    assert storage.queues.get(QUEUE).throttle_attempts == 1
    assert window_s(storage, sql) == pytest.approx(100, abs=20)


def test_each_new_window_is_twice_as_long(storage: Storage, sql: Sql) -> None:
    use_curve(storage)
    enqueue(storage)

    for expected_s in (100, 200, 400, 800):
        run(storage, Throttled())
        assert window_s(storage, sql) == pytest.approx(expected_s, abs=20)
        sql.age(expected_s + 1)

    assert storage.queues.get(QUEUE).throttle_attempts == 4


def test_the_exponent_stops_at_thirty(storage: Storage, sql: Sql) -> None:
    use_curve(storage)
    enqueue(storage)
    sql.run("UPDATE forge_queue SET throttle_attempts = 30")

    run(storage, Throttled())

    assert storage.queues.get(QUEUE).throttle_attempts == 30
    assert window_s(storage, sql) == pytest.approx(86_400, abs=20)


def test_a_throttle_of_one_job_leaves_the_queue_open(storage: Storage) -> None:
    enqueue(storage)
    sibling = enqueue(storage)

    run(storage, Throttled(300, scope="job"))

    assert storage.queues.get(QUEUE).throttled_until is None
    assert claim_one(storage).id == sibling


def test_a_job_that_was_often_snoozed_may_still_be_throttled(storage: Storage) -> None:
    """A thousand jobs that wait for tokens are snoozed for hours"""
    job_id = enqueue(storage, max_attempts=1)
    for _ in range(MAX_CONSECUTIVE_THROTTLES + 20):
        run(storage, Snooze(0))

    run(storage, Throttled(5, scope="job", reason="HTTP 429"))

    job = storage.job_reader.get(job_id)
    assert (job.status, job.last_error) == (JobStatus.PENDING, "HTTP 429")


def test_a_cooldown_is_the_matter_of_one_queue(storage: Storage) -> None:
    enqueue(storage)
    other = enqueue(storage, queue_name="other")

    run(storage, Throttled(300))

    assert claim_one(storage, queue_name="other").id == other


def test_a_success_in_another_queue_forgets_nothing(storage: Storage, sql: Sql) -> None:
    enqueue(storage), enqueue(storage, queue_name="other")
    run(storage, Throttled())
    sql.age(60 + COOLDOWN_DECAY_GRACE_S + 1)

    run(storage, Done(), queue_name="other")

    assert storage.queues.get(QUEUE).throttle_attempts == 1


def test_clear_cooldown_opens_the_gate_at_once(storage: Storage) -> None:
    enqueue(storage), enqueue(storage)
    run(storage, Throttled(300))

    cleared = [storage.queues.clear_cooldowns(names) for names in ([QUEUE], None)]

    queue = storage.queues.get(QUEUE)
    assert cleared == [1, 0]
    assert (queue.throttle_attempts, queue.throttled_until) == (0, None)
    assert len(storage.jobs.claim(QUEUE, OWNER, 5)) == 1


def test_a_cooldown_that_is_ended_wakes_the_workers(storage: Storage) -> None:
    for name in (QUEUE, "calm"):
        enqueue(storage, queue_name=name)
    run(storage, Throttled(300))
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        assert storage.queues.clear_cooldowns(None) == 1
        assert heard.wait_for(QUEUE)
    finally:
        listener.stop()

    assert "calm" not in heard.names


def test_a_throttle_in_a_queue_without_settings_only_defers_the_job(
    storage: Storage, sql: Sql
) -> None:
    enqueue(storage), enqueue(storage)
    throttled = claim_one(storage)
    sql.run("DELETE FROM forge_queue")

    assert finish(storage, throttled, Throttled())

    assert len(storage.jobs.claim(QUEUE, OWNER, 5)) == 1
