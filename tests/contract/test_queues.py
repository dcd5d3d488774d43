"""The settings of queues: bounds, defaults, and names nobody knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_forge_jobs.errors import (
    InvalidInputError,
    QueueNotEmptyError,
    QueueNotFoundError,
)
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS, QueueSettings
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.queues import QueueConfig
from tests.support.jobs import QUEUE, claim_one, enqueue, enqueued, run
from tests.support.sql import Sql
from tests.support.threads import run_together

Setter = Callable[[QueueConfig, str], None]
SETTERS: list[Setter] = [
    lambda queues, name: queues.set_max_workers(name, 3),
    lambda queues, name: queues.set_paused(name, True),
    lambda queues, name: queues.set_retention(name, 1, 2),
    lambda queues, name: queues.set_backoff(
        name, enabled=True, base_seconds=5, max_seconds=50
    ),
    lambda queues, name: queues.clear_cooldown(name),
]


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
    storage.queues.set_max_workers("mail", 9)
    storage.queues.set_paused("mail", True)

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
    """D39"""
    with pytest.raises(InvalidInputError):
        storage.queues.ensure(name)

    assert storage.queues.all() == []


@pytest.mark.parametrize("max_workers", [-5, 1025, True])
def test_ensure_refuses_a_total_outside_its_bounds(
    storage: Storage, max_workers: int
) -> None:
    """D39"""
    with pytest.raises(InvalidInputError) as caught:
        storage.queues.ensure("mail", max_workers)

    assert caught.value.field == "max_workers"


def test_every_setting_is_stored(storage: Storage) -> None:
    storage.queues.ensure("mail")

    for setter in SETTERS:
        setter(storage.queues, "mail")

    stored = storage.queues.get("mail")
    assert stored == QueueSettings(
        "mail",
        max_workers=3,
        paused=True,
        retain_done_for_days=1,
        retain_dead_for_days=2,
        backoff_enabled=True,
        backoff_base_seconds=5,
        backoff_max_seconds=50,
        updated_at=stored.updated_at,
    )


def test_a_setter_touches_one_queue_and_its_time(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")
    storage.queues.ensure("other")
    other = storage.queues.get("other")
    sql.run("UPDATE forge_queue SET updated_at = 1000 WHERE name = 'mail'")

    storage.queues.set_max_workers("mail", 0)

    updated_at = storage.queues.get("mail").updated_at
    assert updated_at is not None
    assert updated_at.year >= 2024
    assert storage.queues.get("other") == other


@pytest.mark.parametrize("setter", SETTERS)
def test_a_setter_on_an_unknown_name_is_an_error(
    storage: Storage, setter: Setter
) -> None:
    """D39"""
    with pytest.raises(QueueNotFoundError) as caught:
        setter(storage.queues, "unknown")

    assert caught.value.queue_name == "unknown"
    assert storage.queues.all() == []


@pytest.mark.parametrize(
    ("field", "setter"),
    [
        ("n", lambda queues: queues.set_max_workers("mail", -1)),
        ("n", lambda queues: queues.set_max_workers("mail", 1025)),
        ("done_days", lambda queues: queues.set_retention("mail", -1, 1)),
        ("done_days", lambda queues: queues.set_retention("mail", 36_501, 1)),
        ("dead_days", lambda queues: queues.set_retention("mail", 1, -1)),
        ("dead_days", lambda queues: queues.set_retention("mail", 1, 10**18)),
        (
            "base_seconds",
            lambda queues: queues.set_backoff(
                "mail", enabled=True, base_seconds=0, max_seconds=9
            ),
        ),
        (
            "max_seconds",
            lambda queues: queues.set_backoff(
                "mail", enabled=True, base_seconds=1, max_seconds=86_401
            ),
        ),
        (
            "max_seconds",
            lambda queues: queues.set_backoff(
                "mail", enabled=False, base_seconds=10, max_seconds=9
            ),
        ),
    ],
)
def test_a_setter_refuses_what_is_outside_its_bounds(
    storage: Storage, field: str, setter: Callable[[QueueConfig], None]
) -> None:
    """D39, D19: nothing is clamped in silence, nothing is stored"""
    storage.queues.ensure("mail")
    before = storage.queues.get("mail")

    with pytest.raises(InvalidInputError) as caught:
        setter(storage.queues)

    assert caught.value.field == field
    assert storage.queues.get("mail") == before


def test_extreme_settings_within_the_bounds_are_stored(storage: Storage) -> None:
    storage.queues.ensure("mail", 0)
    storage.queues.set_max_workers("mail", 1024)
    storage.queues.set_retention("mail", 0, 36_500)

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
    """D39"""
    storage.queues.ensure("mail")

    storage.queues.delete("mail")

    with pytest.raises(QueueNotFoundError):
        storage.queues.get("mail")
    with pytest.raises(QueueNotFoundError):
        storage.queues.delete("mail")


def test_delete_refuses_a_queue_that_has_jobs(storage: Storage) -> None:
    """D39"""
    job_id = enqueue(storage)
    enqueue(storage)
    run(storage, Done())

    with pytest.raises(QueueNotEmptyError) as caught:
        storage.queues.delete(QUEUE)

    assert (caught.value.queue_name, caught.value.job_count) == (QUEUE, 2)
    assert storage.queues.get(QUEUE).name == QUEUE
    assert storage.job_reader.get(job_id).id == job_id


def test_a_deleted_queue_still_runs_what_is_enqueued(storage: Storage) -> None:
    storage.job_admin.delete(enqueue(storage))
    storage.queues.delete(QUEUE)

    job_id = enqueued(storage).id

    assert claim_one(storage).id == job_id
