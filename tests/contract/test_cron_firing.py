"""Due schedules make their jobs: once for each instant, on both backends."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import cast

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.model.cron import BAD_EXPRESSION, FiringReport, ScheduleDefinition
from flask_forge_jobs.model.cron_times import MISSED_AFTER_S
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.jobs import Job, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage import cron
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.contract.test_cron import lossy_cron
from tests.support.jobs import run
from tests.support.sql import Sql
from tests.support.threads import run_together

YEARLY = ScheduleDefinition("yearly", "tick", "@yearly", queue_name="default")
NOTHING = FiringReport()


def router(kind: str) -> str:
    return f"of-{kind}"


def make_due(sql: Sql, name: str, late_s: float = 0.0) -> int:
    """Let a schedule have been due for so many seconds; return the instant."""
    instant_us = (sql.now_us() // SECOND_US - int(late_s)) * SECOND_US
    sql.run("UPDATE forge_cron SET next_fire_at = ? WHERE name = ?", instant_us, name)
    return instant_us


def jobs(storage: Storage, sql: Sql) -> list[Job]:
    rows = sql.run("SELECT id FROM forge_job ORDER BY id")
    return [storage.job_reader.get(job_id) for (job_id,) in rows]


def fired_at(sql: Sql, name: str = "yearly") -> list[int]:
    rows = sql.run(
        "SELECT fire_at FROM forge_job WHERE schedule_name = ? ORDER BY id", name
    )
    return [instant_us for (instant_us,) in rows]


def test_a_due_schedule_makes_one_job(storage: Storage, sql: Sql) -> None:
    """fires_one_job_when_schedule_is_due"""
    storage.cron.create(
        replace(YEARLY, queue_name=None, payload='{"a":1}', max_attempts=3)
    )
    instant_us = make_due(sql, "yearly")

    assert storage.cron.fire_due(router) == FiringReport(fired=1)
    assert storage.cron.fire_due(router) == NOTHING

    (job,) = jobs(storage, sql)
    assert (job.kind, job.payload, job.queue_name) == ("tick", '{"a":1}', "of-tick")
    assert (job.priority, job.max_attempts, job.status) == (0, 3, JobStatus.PENDING)
    assert job.schedule_name == "yearly"
    assert job.scheduled_at == job.enqueued_at >= from_micros(instant_us)
    assert fired_at(sql) == [instant_us]
    assert [queue.name for queue in storage.queues.all()] == ["of-tick"]
    run(storage, Done(), queue_name="of-tick")  # it can be claimed


def test_open_attempts_are_asked_at_each_firing(storage: Storage, sql: Sql) -> None:
    storage.cron.create(YEARLY)
    storage.cron.create(replace(YEARLY, name="pinned", max_attempts=3))
    attempts = {"tick": 7}

    for late_s, attempts["tick"] in ((9, 7), (6, 8)):
        for name in ("pinned", "yearly"):
            make_due(sql, name, late_s)
        storage.cron.fire_due(router, attempts.__getitem__)
    make_due(sql, "yearly")
    storage.cron.fire_due(router)

    found = [(job.schedule_name, job.max_attempts) for job in jobs(storage, sql)]
    assert found == [
        ("pinned", 3), ("yearly", 7), ("pinned", 3), ("yearly", 8), ("yearly", 5),
    ]  # fmt: skip
    assert storage.cron.get("yearly").definition.max_attempts is None


def test_a_firing_moves_the_schedule_on(storage: Storage, sql: Sql) -> None:
    before = storage.cron.create(YEARLY)
    make_due(sql, "yearly")
    sql.run("UPDATE forge_cron SET last_error = 'old'")

    storage.cron.fire_due(router)

    now = from_micros(sql.now_us())
    after = storage.cron.get("yearly")
    assert after.definition == before.definition
    assert after.next_fire_at is not None
    assert now < after.next_fire_at <= now + timedelta(days=366)
    assert after.last_fired_at == after.updated_at > before.updated_at
    assert after.last_error is None


def test_nothing_fires_before_its_time(storage: Storage, sql: Sql) -> None:
    """does_not_fire_when_not_due_yet"""
    yearly = storage.cron.create(YEARLY)

    assert storage.cron.fire_due(router) == NOTHING
    assert storage.cron.get("yearly") == yearly
    assert sql.run("SELECT 1 FROM forge_job") == []


def test_a_disabled_schedule_makes_nothing(storage: Storage, sql: Sql) -> None:
    storage.cron.create(replace(YEARLY, enabled=False))
    make_due(sql, "yearly")

    assert storage.cron.fire_due(router) == NOTHING


def test_a_schedule_with_a_key_waits_for_its_job(storage: Storage, sql: Sql) -> None:
    """dedupe_keyed_schedule_skips_while_a_run_is_in_flight"""
    storage.cron.create(replace(YEARLY, name="keyed", dedupe_key="keyed"))
    storage.cron.create(YEARLY)

    for expected in (FiringReport(fired=2), FiringReport(fired=1, skipped=1)):
        # Another instant each time.
        make_due(sql, "keyed", 5 * expected.fired)
        make_due(sql, "yearly", 5 * expected.fired)
        assert storage.cron.fire_due(router) == expected

    after = storage.cron.get("keyed")
    assert after.next_fire_at is not None
    assert after.next_fire_at > from_micros(sql.now_us())


def test_a_key_of_another_kind_leaves_the_firing_due(
    storage: Storage, sql: Sql
) -> None:
    storage.cron.create(replace(YEARLY, dedupe_key="key"))
    storage.cron.create(replace(YEARLY, name="other"))
    storage.jobs.enqueue(NewJob("another", dedupe_key="key"))
    instant_us = make_due(sql, "yearly", 5)
    make_due(sql, "other")

    assert storage.cron.fire_due(router) == FiringReport(fired=1, errors=1)

    held = storage.cron.get("yearly")
    assert held.next_fire_at == from_micros(instant_us)
    assert held.definition.enabled
    assert "is held by job" in (held.last_error or "")

    run(storage, Done())
    assert storage.cron.fire_due(router) == FiringReport(fired=1)
    assert storage.cron.get("yearly").last_error is None


def test_a_wrong_expression_disables_its_schedule_alone(
    storage: Storage, sql: Sql
) -> None:
    """records_parse_error_for_invalid_cron_expr"""
    storage.cron.create(replace(YEARLY, name="broken"))
    storage.cron.create(YEARLY)
    sql.run("UPDATE forge_cron SET cron_expr = 'whenever' WHERE name = 'broken'")
    make_due(sql, "broken")
    make_due(sql, "yearly")

    assert storage.cron.fire_due(router) == FiringReport(fired=1, errors=1)

    broken = storage.cron.get("broken")
    assert (broken.definition.enabled, broken.next_fire_at) == (False, None)
    assert (broken.last_error or "").startswith(BAD_EXPRESSION)
    assert broken.is_disabled_by_its_expression


@pytest.mark.parametrize("answer", [None, "", "a,b"])
def test_a_router_without_a_good_answer_leaves_the_firing_due(
    storage: Storage, sql: Sql, answer: str | None
) -> None:
    """Such as the ``get`` of a dict, which knows not every kind"""
    storage.cron.create(replace(YEARLY, queue_name=None))
    instant_us = make_due(sql, "yearly")

    report = storage.cron.fire_due(lambda _kind: cast("str", answer))

    assert report == FiringReport(errors=1)
    held = storage.cron.get("yearly")
    assert held.next_fire_at == from_micros(instant_us)
    assert (held.last_error or "").startswith("queue_name: ")
    assert storage.queues.all() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("timezone", "Mars/Olympus"), ("catch_up", "twice"), ("queue_name", "a,b")],
)
def test_what_cannot_fire_says_why_and_stays_due(
    storage: Storage, sql: Sql, column: str, value: str
) -> None:
    """Such as a zone that only other hosts know (B10)."""
    storage.cron.create(YEARLY)
    storage.cron.create(replace(YEARLY, name="other"))
    sql.run(f"UPDATE forge_cron SET {column} = ? WHERE name = 'yearly'", value)
    instant_us = make_due(sql, "yearly")
    make_due(sql, "other")

    assert storage.cron.fire_due(router) == FiringReport(fired=1, errors=1)
    assert storage.cron.fire_due(router) == FiringReport(errors=1)

    held = storage.cron.get("yearly")
    assert held.next_fire_at == from_micros(instant_us)
    assert held.definition.enabled
    assert (held.last_error or "").startswith(f"{column}: ")


def test_sec_S32_a_schedule_makes_no_queue_too_many(
    storage: Storage, sql: Sql, database_settings: DatabaseSettings
) -> None:
    storage.cron.create(YEARLY)
    storage.cron.create(replace(YEARLY, name="other", queue_name="other"))
    for name in ("yearly", "other"):
        make_due(sql, name)
    settings = replace(database_settings, max_queues=1)
    storage.queues.ensure("default")

    with contextlib.closing(open_storage(settings)) as full:
        assert full.cron.fire_due(router) == FiringReport(fired=1, errors=1)

    assert [job.queue_name for job in jobs(storage, sql)] == ["default"]
    assert "FORGE_JOBS_MAX_QUEUES" in (storage.cron.get("other").last_error or "")
    assert [queue.name for queue in storage.queues.all()] == ["default"]


@pytest.mark.parametrize(
    ("policy", "limit", "expected"),
    [("skip", 100, 0), ("once", 100, 1), ("all", 100, 10), ("all", 4, 4)],
)
def test_ten_minutes_without_a_scheduler(
    storage: Storage, sql: Sql, policy: str, limit: int, expected: int
) -> None:
    minute_us = 60 * SECOND_US
    latest_us = sql.now_us() // minute_us * minute_us
    missed = range(latest_us - 9 * minute_us, latest_us + 1, minute_us)
    # Only these ten minutes of each hour: no further one begins during the test.
    minutes = ",".join(str(from_micros(each).minute) for each in missed)
    storage.cron.create(
        replace(
            YEARLY,
            cron_expr=f"{minutes} * * * *",
            catch_up=policy,
            catch_up_limit=limit,
        )
    )
    sql.run("UPDATE forge_cron SET next_fire_at = ?", missed[0])

    assert storage.cron.fire_due(router) == FiringReport(fired=expected)
    assert fired_at(sql) == list(missed)[len(missed) - expected :]
    assert storage.cron.get("yearly").next_fire_at == from_micros(
        missed[0] + 60 * minute_us
    )


def test_each_instant_of_a_late_look_gets_its_job(storage: Storage, sql: Sql) -> None:
    storage.cron.create(replace(YEARLY, cron_expr="* * * * * *"))
    first_us = make_due(sql, "yearly", 5)

    storage.cron.fire_due(router)

    found = fired_at(sql)
    assert len(found) >= 6
    assert found == [first_us + n * SECOND_US for n in range(len(found))]


@pytest.mark.parametrize("schedules", [3, 100])
def test_more_firings_than_a_transaction_takes(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, schedules: int
) -> None:
    monkeypatch.setattr(cron, "SCHEDULES", schedules)
    monkeypatch.setattr(cron, "JOBS", 4)
    for number in range(8):
        name = f"s{number}"
        storage.cron.create(
            replace(
                YEARLY, name=name, cron_expr="@hourly", catch_up="all",
                catch_up_limit=2,
            )
        )  # fmt: skip
        make_due(sql, name, 600 * MISSED_AFTER_S)
    sql.run("UPDATE forge_cron SET timezone = 'Mars/Olympus' WHERE name < 's3'")

    assert storage.cron.fire_due(router) == FiringReport(fired=10, errors=3)
    assert storage.cron.fire_due(router) == FiringReport(errors=3)


def test_an_instant_that_comes_back_is_not_fired_again(
    storage: Storage, sql: Sql
) -> None:
    """A clock that stepped back, or an edit there and back."""
    storage.cron.create(YEARLY)
    instant_us = make_due(sql, "yearly", 5)
    storage.cron.fire_due(router)

    sql.run("UPDATE forge_cron SET next_fire_at = ?", instant_us)

    assert storage.cron.fire_due(router) == FiringReport(skipped=1)
    assert fired_at(sql) == [instant_us]


def test_a_clock_that_was_ahead_for_a_moment_keeps_nothing_from_firing(
    storage: Storage, sql: Sql
) -> None:
    """By a day for one tick: else the schedule would rest for that day."""
    storage.cron.create(replace(YEARLY, cron_expr="0 * * * *"))
    instant_us = make_due(sql, "yearly", 5)
    storage.cron.fire_due(router)
    for column in ("updated_at", "last_fired_at", "next_fire_at"):
        sql.run(f"UPDATE forge_cron SET {column} = {column} + ?", 86_400 * SECOND_US)

    overdue_s = storage.cron.ahead().overdue_s
    found = storage.cron.fire_due(router, overdue_s=30.0)
    after = storage.cron.ahead()

    assert overdue_s is not None
    assert overdue_s > 30.0
    assert found == NOTHING
    assert fired_at(sql) == [instant_us]
    assert after.overdue_s is None
    assert after.next_s is not None
    assert after.next_s <= 3600.0


def test_a_firing_by_hand_takes_no_instant(storage: Storage, sql: Sql) -> None:
    storage.cron.create(YEARLY)
    make_due(sql, "yearly")
    storage.jobs.enqueue(YEARLY.job(router))

    assert storage.cron.fire_due(router) == FiringReport(fired=1)
    assert len(jobs(storage, sql)) == 2


def test_an_unclear_commit_fires_once(storage: Storage, sql: Sql) -> None:
    storage.cron.create(YEARLY)
    make_due(sql, "yearly")

    lossy_cron(storage).fire_due(router)

    assert len(jobs(storage, sql)) == 1


def test_of_many_processes_one_fires(storage: Storage, sql: Sql) -> None:
    """try_advance_fire_is_a_compare_and_swap, E4"""
    names = [f"s{number}" for number in range(5)]
    for name in names:
        storage.cron.create(replace(YEARLY, name=name))
    for late_s in range(40, 0, -10):
        for name in names:
            make_due(sql, name, late_s)

        reports = run_together([partial(storage.cron.fire_due, router)] * 6)

        assert sum(report.fired for report in reports) == len(names)
    assert len(jobs(storage, sql)) == 4 * len(names)


def test_a_follower_leaves_what_is_hardly_due(storage: Storage, sql: Sql) -> None:
    storage.cron.create(YEARLY)
    make_due(sql, "yearly")

    assert storage.cron.fire_due(router, overdue_s=30.0) == NOTHING

    make_due(sql, "yearly", 40)
    assert storage.cron.fire_due(router, overdue_s=30.0) == FiringReport(fired=1)


def test_a_failed_transaction_leaves_the_firing_due(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advance and enqueue are one"""
    storage.cron.create(YEARLY)
    instant_us = make_due(sql, "yearly")

    def fail(*_: object) -> dict[str, object]:
        raise StorageError("no")

    with monkeypatch.context() as patched:
        patched.setattr(cron, "schedule_parameters", fail)
        with pytest.raises(StorageError):
            storage.cron.fire_due(router)

    assert jobs(storage, sql) == []
    after = storage.cron.get("yearly")
    assert (after.next_fire_at, after.definition.enabled) == (
        from_micros(instant_us), True,
    )  # fmt: skip
    assert storage.cron.fire_due(router) == FiringReport(fired=1)


def test_what_lies_ahead(storage: Storage, sql: Sql) -> None:
    assert storage.cron.ahead().overdue_s is None
    assert storage.cron.ahead().next_s is None
    storage.cron.create(replace(YEARLY, cron_expr="@hourly"))
    storage.cron.create(replace(YEARLY, name="off", enabled=False))

    ahead = storage.cron.ahead()
    assert ahead.overdue_s is None
    assert ahead.next_s is not None
    assert 0 < ahead.next_s <= 3600

    make_due(sql, "yearly", 30)
    ahead = storage.cron.ahead()
    assert ahead.overdue_s is not None
    assert 30 <= ahead.overdue_s < 60
    assert ahead.next_s is None


def test_firings_count_as_enqueued(storage: Storage, sql: Sql) -> None:
    storage.cron.create(YEARLY)
    make_due(sql, "yearly")
    storage.recorder.take()

    storage.cron.fire_due(router)

    counted = [
        (queue, kind, tally.enqueued)
        for (_, queue, kind), tally in storage.recorder.take().items()
    ]
    assert counted == [("default", "tick", 1)]
