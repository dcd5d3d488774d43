"""Schedules as they are stored, on both backends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import (
    ForgeJobsError,
    InvalidInputError,
    ScheduleExistsError,
    ScheduleNotFoundError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.cron import BAD_EXPRESSION, Schedule, ScheduleDefinition
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.cron import CronStorage
from flask_forge_jobs.storage.executor import StoreExecutor
from tests.support.lossy import LossyDatabase
from tests.support.sql import Sql
from tests.support.threads import run_together

NIGHTLY = ScheduleDefinition("nightly", "send_digest", "0 0 6 * * *")
FULL = ScheduleDefinition(
    "full", "k" * 128, "*/5 * * * *", payload='{"a":[1,"\\u00e9"]}', queue_name="mail",
    timezone="America/Argentina/Buenos_Aires", enabled=False, max_attempts=1000,
    dedupe_key="key", catch_up="all", catch_up_limit=7,
)  # fmt: skip


def lossy_cron(storage: Storage) -> CronStorage:
    """Return the schedules over a database whose answers get lost."""
    executor = StoreExecutor(LossyDatabase(storage.database))
    return CronStorage(executor, UlidGenerator(SystemClock()), storage.recorder)


def test_every_value_is_stored(storage: Storage, sql: Sql) -> None:
    before = from_micros(sql.now_us())
    created = storage.cron.create(FULL)
    # One backend is asked for whole milliseconds.
    after = from_micros(sql.now_us()) + timedelta(milliseconds=1)

    assert created == Schedule(FULL, created.created_at, created.updated_at)
    assert before <= created.created_at == created.updated_at <= after
    assert storage.cron.get("full") == created


def test_schedules_are_listed_by_name(storage: Storage) -> None:
    """cron_ensure_then_list"""
    for name in ("b", "A", "a", "nightly"):
        storage.cron.create(replace(NIGHTLY, name=name))

    names = [schedule.definition.name for schedule in storage.cron.all()]
    assert names == ["A", "a", "b", "nightly"]


def test_an_enabled_schedule_has_its_next_firing_at_once(
    storage: Storage, sql: Sql
) -> None:
    schedule = storage.cron.create(NIGHTLY)

    now = from_micros(sql.now_us())
    assert schedule.next_fire_at is not None
    assert timedelta() < schedule.next_fire_at - now <= timedelta(days=1)
    assert (schedule.next_fire_at.hour, schedule.next_fire_at.minute) == (6, 0)


def test_the_tables_know_of_no_enabled_schedule_without_a_next_firing(
    storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)

    with pytest.raises(Exception, match=r"(?i)check"):
        sql.run("UPDATE forge_cron SET next_fire_at = NULL")


def test_a_name_is_taken_once(storage: Storage) -> None:
    first = storage.cron.create(NIGHTLY)

    with pytest.raises(ScheduleExistsError):
        storage.cron.create(replace(NIGHTLY, kind="other"))

    assert storage.cron.all() == [first]


def test_a_bad_definition_is_not_stored(storage: Storage) -> None:
    for bad in (
        replace(NIGHTLY, cron_expr="whenever"),
        replace(NIGHTLY, cron_expr="0 0 31 2 *"),
        replace(NIGHTLY, timezone="Mars/Olympus"),
        replace(NIGHTLY, name="a/b"),
    ):
        with pytest.raises(InvalidInputError):
            storage.cron.create(bad)

    assert storage.cron.all() == []


def test_creation_after_an_unclear_commit_succeeds_once(storage: Storage) -> None:
    lossy = lossy_cron(storage)

    created = lossy.create(NIGHTLY)

    assert storage.cron.all() == [created]


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_creators_one_wins(storage: Storage, attempt: int) -> None:
    def create() -> bool:
        try:
            storage.cron.create(replace(NIGHTLY, kind=f"k{attempt}"))
        except ScheduleExistsError:
            return False
        return True

    assert sorted(run_together([create] * 6)) == [False] * 5 + [True]


def test_a_change_is_written(storage: Storage, sql: Sql) -> None:
    """cron_ensure_then_list: the key is set and cleared"""
    storage.cron.create(NIGHTLY)
    sql.run("UPDATE forge_cron SET last_fired_at = 5, last_error = 'boom'")

    changed = storage.cron.change(
        "nightly", lambda schedule: replace(FULL, name=schedule.definition.name)
    )

    assert changed == storage.cron.get("nightly")
    assert changed.definition == replace(FULL, name="nightly")
    assert (changed.next_fire_at, changed.last_error) == (None, None)
    assert changed.last_fired_at == from_micros(5)


def test_what_stays_the_same_is_not_written(storage: Storage, sql: Sql) -> None:
    storage.cron.create(NIGHTLY)
    sql.run("UPDATE forge_cron SET next_fire_at = 5, updated_at = 7")

    storage.cron.change("nightly", lambda schedule: schedule.definition)

    assert sql.run("SELECT next_fire_at, updated_at FROM forge_cron") == [(5, 7)]


def test_a_refused_change_leaves_everything(storage: Storage) -> None:
    created = storage.cron.create(NIGHTLY)

    with pytest.raises(InvalidInputError):
        storage.cron.change(
            "nightly",
            lambda schedule: replace(schedule.definition, cron_expr="0 0 31 2 *"),
        )

    assert storage.cron.get("nightly") == created


def test_a_schedule_that_its_expression_disabled_is_repaired(
    storage: Storage, sql: Sql
) -> None:
    storage.cron.create(NIGHTLY)
    sql.run(
        "UPDATE forge_cron SET cron_expr = 'whenever', enabled = FALSE, "
        "next_fire_at = NULL, last_error = ?",
        f"{BAD_EXPRESSION}hm",
    )

    repaired = storage.cron.change(
        "nightly", lambda schedule: schedule.with_expression("@daily")
    )

    assert repaired.definition.enabled
    assert repaired.next_fire_at is not None
    assert repaired.last_error is None


def test_changes_at_once_are_all_kept(storage: Storage) -> None:
    storage.cron.create(replace(NIGHTLY, payload="0"))

    def count() -> None:
        storage.cron.change(
            "nightly",
            lambda schedule: replace(
                schedule.definition, payload=str(int(schedule.definition.payload) + 1)
            ),
        )

    run_together([count] * 8)

    assert storage.cron.get("nightly").definition.payload == "8"


def test_deleting_touches_one_schedule(storage: Storage) -> None:
    storage.cron.create(NIGHTLY)
    other = storage.cron.create(replace(NIGHTLY, name="other"))

    storage.cron.delete("nightly")

    assert storage.cron.all() == [other]


def test_jobs_outlive_their_schedule(storage: Storage) -> None:
    storage.cron.create(NIGHTLY)
    job = storage.jobs.enqueue(NIGHTLY.job(lambda _kind: "mail"))

    storage.cron.delete("nightly")

    assert storage.job_reader.get(job.id).schedule_name == "nightly"


def test_an_unknown_name_is_an_error(storage: Storage) -> None:
    cron = storage.cron
    for verb in (
        lambda: cron.get("none"),
        lambda: cron.delete("none"),
        lambda: cron.change("none", lambda schedule: schedule.definition),
    ):
        with pytest.raises(ScheduleNotFoundError) as caught:
            verb()
        assert isinstance(caught.value, ForgeJobsError)
