"""The settings of queues: bounds, defaults, and names nobody knows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from flask_forge_jobs.errors import (
    InvalidInputError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    StaleSettingsError,
)
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Failed
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_WORKERS,
    QueueChanges,
    QueueDeletion,
    QueueSettings,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from tests.support.jobs import (
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    enqueue_in,
    enqueued,
    job_with,
    run,
)
from tests.support.sql import Sql
from tests.support.threads import run_together


def test_waiting_counts_what_has_neither_started_nor_ended(
    storage: Storage, sql: Sql
) -> None:
    """Due, for later, and for a retry; not running, done or dead."""
    for queue_name in ("mail", "other"):
        storage.queues.ensure(queue_name)
    enqueue(storage, queue_name="other")
    run(storage, Failed("again"), queue_name="other")
    enqueue(storage, queue_name="mail")
    run(storage, Done(), queue_name="mail")
    enqueue(storage, queue_name="mail")
    claim_one(storage, queue_name="mail")
    enqueue(storage, queue_name="mail")
    enqueue_in(storage, sql, 3600, queue_name="mail")

    waiting = storage.queues.waiting(["mail", "other", "none"])

    assert waiting == {"mail": 2, "other": 1, "none": 0}
    assert storage.queues.waiting([]) == {}


def test_ensure_registers_with_the_defaults(storage: Storage) -> None:
    """queue_config_ensure_then_get"""
    assert storage.queues.ensure("mail") is True

    stored = storage.queues.get("mail")
    assert stored.updated_at is not None
    assert stored == QueueSettings(
        "mail", max_workers=DEFAULT_MAX_WORKERS, updated_at=stored.updated_at
    )


def test_ensure_never_overwrites(storage: Storage) -> None:
    """queue_config_ensure_then_tune"""
    storage.queues.ensure("mail", 3)
    storage.queues.change("mail", {"max_workers": 9})
    storage.queues.change("mail", {"paused": True})

    assert storage.queues.ensure("mail", 5) is False

    assert storage.queues.get("mail").max_workers == 9
    assert storage.queues.get("mail").paused is True


def test_ensure_at_once_registers_once(storage: Storage) -> None:
    created = run_together([lambda: storage.queues.ensure("mail")] * 6)

    assert sum(created) == 1


@pytest.mark.parametrize(
    "name", ["", " mail", "a,b", "a/b", "a?b", "a#b", "a%b", "a\nb", "x" * 129, "\x00"]
)
def test_ensure_refuses_a_bad_name(storage: Storage, name: str) -> None:
    with pytest.raises(InvalidInputError):
        storage.queues.ensure(name)

    assert storage.queues.all() == []


@pytest.mark.parametrize("max_workers", [-5, 1025, True])
def test_ensure_refuses_a_total_outside_its_bounds(
    storage: Storage, max_workers: int
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        storage.queues.ensure("mail", max_workers)

    assert caught.value.field == "max_workers"


def test_a_change_touches_one_queue_and_its_time(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")
    storage.queues.ensure("other")
    other = storage.queues.get("other")
    sql.run("UPDATE forge_queue SET updated_at = 1000 WHERE name = 'mail'")

    storage.queues.change("mail", {"max_workers": 0})

    updated_at = storage.queues.get("mail").updated_at
    assert updated_at is not None
    assert updated_at.year >= 2024
    assert storage.queues.get("other") == other


def test_a_change_of_an_unknown_name_is_an_error(storage: Storage) -> None:
    with pytest.raises(QueueNotFoundError) as caught:
        storage.queues.change("unknown", {"max_workers": 3})
    with pytest.raises(QueueNotFoundError):
        storage.queues.clear_cooldowns(["unknown"])

    assert caught.value.queue_name == "unknown"
    assert storage.queues.all() == []


def test_extreme_settings_within_the_bounds_are_stored(storage: Storage) -> None:
    storage.queues.ensure("mail", 0)
    storage.queues.change("mail", {"max_workers": 1024})
    storage.queues.change(
        "mail", {"retain_done_for_days": 0, "retain_dead_for_days": 36_500}
    )

    stored = storage.queues.get("mail")

    assert (stored.max_workers, stored.retain_done_for_days) == (1024, 0)
    assert stored.retain_dead_for_days == 36_500


def test_get_of_an_unknown_queue_is_an_error(storage: Storage) -> None:
    with pytest.raises(QueueNotFoundError):
        storage.queues.get("unknown")


def test_all_is_ordered_by_the_code_points_of_the_names(storage: Storage) -> None:
    for name in ("b", "é", "B", "a-2", "a_1", "10", "9"):
        storage.queues.ensure(name)

    assert [queue.name for queue in storage.queues.all()] == [
        "10", "9", "B", "a-2", "a_1", "b", "é",
    ]  # fmt: skip


def test_delete_unregisters_an_empty_queue(storage: Storage) -> None:
    storage.queues.ensure("mail")

    storage.queues.delete("mail")

    with pytest.raises(QueueNotFoundError):
        storage.queues.get("mail")
    with pytest.raises(QueueNotFoundError):
        storage.queues.delete("mail")


def test_delete_refuses_a_queue_that_has_jobs(storage: Storage) -> None:
    job_id = enqueue(storage)
    enqueue(storage)
    run(storage, Done())
    enqueue(storage)

    with pytest.raises(QueueNotEmptyError) as caught:
        storage.queues.delete(QUEUE)

    # The finished one does not count.
    assert (caught.value.queue_name, caught.value.job_count) == (QUEUE, 2)
    assert storage.queues.get(QUEUE).name == QUEUE
    assert storage.job_reader.get(job_id).id == job_id


@pytest.mark.parametrize(
    "status", [JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.FAILED]
)
def test_delete_refuses_a_queue_for_one_job_that_has_not_ended(
    storage: Storage, status: JobStatus
) -> None:
    job_with(storage, status)

    with pytest.raises(QueueNotEmptyError) as caught:
        storage.queues.delete(QUEUE)

    assert caught.value.job_count == 1


def test_finished_jobs_stay_when_their_queue_goes(storage: Storage) -> None:
    job_id = enqueue(storage)
    run(storage, Done())

    storage.queues.delete(QUEUE)

    assert storage.queues.all() == []
    assert storage.job_reader.get(job_id).id == job_id


def test_delete_with_jobs_removes_what_waits_and_stops_what_runs(
    storage: Storage, sql: Sql
) -> None:
    """N-04 with force: rows of other queues are never touched"""
    for name in ("mail", "other"):
        storage.queues.ensure(name)
        for status in ("pending", "in_progress", "failed", "done", "dead"):
            sql.seed(2, queue_name=name, status=status, prefix=f"{name}-{status}")
        sql.seed(2, queue_name=name, due_in_s=900, prefix=f"{name}-later")
    other = sql.run("SELECT * FROM forge_job WHERE queue_name = 'other' ORDER BY id")

    report = storage.queues.delete_with_jobs("mail")

    assert report == QueueDeletion(deleted=6, cancel_requested=2)
    left = "SELECT id FROM forge_job WHERE queue_name = 'mail' ORDER BY id"
    assert [row[0].rpartition("-")[0] for row in sql.run(left)] == [
        "mail-dead", "mail-dead", "mail-done", "mail-done",
        "mail-in_progress", "mail-in_progress",
    ]  # fmt: skip
    asked = "SELECT id FROM forge_job WHERE cancel_requested_at IS NOT NULL"
    assert {row[0] for row in sql.run(asked)} == {
        "mail-in_progress-1", "mail-in_progress-2",
    }  # fmt: skip
    assert [queue.name for queue in storage.queues.all()] == ["other"]
    again = sql.run("SELECT * FROM forge_job WHERE queue_name = 'other' ORDER BY id")
    assert again == other


def test_delete_with_jobs_goes_in_batches(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure(QUEUE)
    sql.seed(1200, prefix="due")
    sql.seed(700, due_in_s=900, prefix="later")

    report = storage.queues.delete_with_jobs(QUEUE)

    assert report == QueueDeletion(deleted=1900)
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 0
    assert storage.queues.all() == []


def test_delete_with_jobs_that_is_cut_keeps_the_queue(
    storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure(QUEUE)
    sql.seed(900)
    sql.seed(3, status="in_progress", prefix="running")

    with pytest.raises(QueueNotEmptyError) as caught:
        storage.queues.delete_with_jobs(QUEUE, max_rows=500)

    assert caught.value.job_count == 400
    assert storage.queues.get(QUEUE).name == QUEUE
    # As many as it may: what then is left is the queue.
    assert storage.queues.delete_with_jobs(QUEUE, max_rows=400).deleted == 400
    assert storage.queues.all() == []


def test_delete_with_jobs_stops_when_its_time_is_over(
    storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure(QUEUE)
    sql.seed(500)
    answers = iter([False, False, True])

    with pytest.raises(QueueNotEmptyError) as caught:
        storage.queues.delete_with_jobs(QUEUE, is_over=lambda: next(answers))

    assert caught.value.job_count == 500 - 2 * BATCH


def test_delete_with_jobs_of_an_unknown_queue_is_an_error(storage: Storage) -> None:
    with pytest.raises(QueueNotFoundError):
        storage.queues.delete_with_jobs("unknown")


def test_no_job_survives_a_delete_unowned_while_workers_claim(
    storage: Storage, sql: Sql
) -> None:
    """Each job is either gone, or running and asked to stop."""
    storage.queues.ensure(QUEUE)
    sql.seed(300)

    def claim() -> None:
        while storage.jobs.claim(QUEUE, OWNER, 20):
            pass

    run_together([claim, lambda: storage.queues.delete_with_jobs(QUEUE)])

    unasked = "SELECT COUNT(*) FROM forge_job WHERE cancel_requested_at IS NULL"
    assert sql.value(unasked) == 0


CHOSEN = QueueSettings(
    "mail",
    max_workers=3,
    paused=True,
    retain_done_for_days=1,
    retain_dead_for_days=2,
    backoff_enabled=True,
    backoff_base_seconds=5,
    backoff_max_seconds=50,
    max_pending=1000,
)


def test_create_stores_every_setting(storage: Storage) -> None:
    storage.queues.create(CHOSEN)

    stored = storage.queues.get("mail")
    assert stored.paused_at == stored.updated_at
    assert stored == replace(
        CHOSEN, updated_at=stored.updated_at, paused_at=stored.paused_at
    )


def test_create_refuses_a_name_that_is_taken(storage: Storage) -> None:
    storage.queues.ensure("mail")
    before = storage.queues.get("mail")

    with pytest.raises(QueueExistsError):
        storage.queues.create(CHOSEN)

    assert storage.queues.get("mail") == before


def test_of_many_creators_at_once_one_wins(storage: Storage) -> None:
    def create() -> bool:
        try:
            storage.queues.create(CHOSEN)
        except QueueExistsError:
            return False
        return True

    assert sum(run_together([create] * 6)) == 1


OUTSIDE: list[tuple[str, QueueChanges]] = [
    ("max_workers", {"max_workers": 1025}),
    ("retain_done_days", {"retain_done_for_days": -1}),
    ("retain_dead_days", {"retain_dead_for_days": 36_501}),
    ("backoff_base_seconds", {"backoff_base_seconds": 0}),
    ("backoff_max_seconds", {"backoff_max_seconds": 86_401}),
    ("backoff_max_seconds", {"backoff_base_seconds": 1801}),
    ("max_pending", {"max_pending": 0}),
    ("max_pending", {"max_pending": 1_000_000_001}),
]


@pytest.mark.parametrize(("field", "changes"), OUTSIDE)
def test_create_and_change_refuse_what_is_outside_its_bounds(
    storage: Storage, field: str, changes: QueueChanges
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        storage.queues.create(QueueSettings("mail", **changes))
    assert (caught.value.field, storage.queues.all()) == (field, [])
    storage.queues.ensure("mail")
    before = storage.queues.get("mail")

    with pytest.raises(InvalidInputError) as caught:
        storage.queues.change("mail", {"paused": True, **changes})

    assert caught.value.field == field
    assert storage.queues.get("mail") == before


def test_change_changes_what_it_names(storage: Storage, sql: Sql) -> None:
    storage.queues.create(CHOSEN)
    sql.run("UPDATE forge_queue SET throttle_attempts = 7, throttled_until = 9")

    storage.queues.change("mail", {"max_workers": 9, "backoff_max_seconds": 99})

    stored = storage.queues.get("mail")
    assert (stored.max_workers, stored.backoff_max_seconds) == (9, 99)
    assert (stored.throttle_attempts, stored.backoff_base_seconds) == (7, 5)
    assert stored.throttled_until is not None
    assert stored.paused is True


def test_a_change_of_nothing_writes_nothing(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail", 3)
    sql.age(60)
    before = storage.queues.get("mail")

    after = storage.queues.change("mail", {"max_workers": 3})

    assert storage.queues.get("mail") == before == after


def test_a_change_that_expects_other_settings_is_refused(storage: Storage) -> None:
    storage.queues.ensure("mail", 3)

    with pytest.raises(StaleSettingsError):
        storage.queues.change("mail", {"max_workers": 1}, lambda _: False)

    assert storage.queues.get("mail").max_workers == 3
    with pytest.raises(QueueNotFoundError):
        storage.queues.change("unknown", {}, lambda _: False)


def test_of_two_changes_that_expect_the_same_one_wins(storage: Storage) -> None:
    """N-03: no update is lost"""
    storage.queues.ensure("mail", 0)

    def add_one(expected: int) -> bool:
        try:
            storage.queues.change(
                "mail",
                {"max_workers": expected + 1},
                lambda settings: settings.max_workers == expected,
            )
        except StaleSettingsError:
            return False
        return True

    for expected in range(5):
        assert sum(run_together([partial(add_one, expected)] * 4)) == 1
    assert storage.queues.get("mail").max_workers == 5


def test_many_queues_are_paused_together(storage: Storage) -> None:
    """N-28"""
    for name in ("a", "b", "c"):
        storage.queues.ensure(name)
    queues = storage.queues

    assert queues.set_paused_many(["a", "b", "a"], paused=True) == 2
    assert [queue.paused for queue in queues.all()] == [True, True, False]
    assert queues.set_paused_many(None, paused=True) == 1
    assert queues.set_paused_many([], paused=False) == 0
    assert queues.set_paused_many(["b"], paused=False) == 1
    assert [queue.paused for queue in queues.all()] == [True, False, True]


def test_an_unknown_queue_among_many_changes_none(storage: Storage) -> None:
    storage.queues.ensure("a")

    with pytest.raises(QueueNotFoundError) as caught:
        storage.queues.set_paused_many(["a", "x"], paused=True)

    assert caught.value.queue_name == "x"
    assert not storage.queues.get("a").paused


def test_a_deleted_queue_still_runs_what_is_enqueued(storage: Storage) -> None:
    storage.job_admin.delete(enqueue(storage))
    storage.queues.delete(QUEUE)

    job_id = enqueued(storage).id

    assert claim_one(storage).id == job_id
