from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.duties.retention import RETENTION_PERIOD_S, Sweeper
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage import retention
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.retention import GENTLE_BATCH
from tests.support.clocks import MovingClock
from tests.support.jobs import job_with
from tests.support.sql import Sql

DAY_S = 86_400


class Rank:
    """Stands for the leader's service; leads for so many questions."""

    def __init__(self, questions: int = 1_000_000) -> None:
        self._left = questions

    @property
    def is_leader(self) -> bool:
        self._left -= 1
        return self._left >= 0


class Other(Duty):
    """A duty of the same thread; it is due when the test says so."""

    def __init__(self) -> None:
        super().__init__("other", RETENTION_PERIOD_S)
        self.begin()
        self.attempt()

    def tick(self) -> None:
        """Do nothing."""


def sweeper(storage: Storage, rank: Rank, *others: Duty) -> Sweeper:
    return Sweeper(
        storage.retention,
        storage.errors,
        cast("Leader", rank),
        others=others,
        clock=MovingClock(),
    )


def test_the_first_sweep_comes_after_a_period(storage: Storage) -> None:
    service = sweeper(storage, Rank())

    assert (service.period_s, service._begins_late) == (RETENTION_PERIOD_S, True)


def test_the_leader_applies_each_window(storage: Storage, sql: Sql) -> None:
    """deletes_done_rows_past_threshold, keeps_…_within_threshold, deletes_dead_…"""
    for status in (JobStatus.DONE, JobStatus.DEAD):
        job_with(storage, status)
    sql.age(8 * DAY_S)
    kept = job_with(storage, JobStatus.DONE)

    sweeper(storage, Rank()).tick()
    left = {job_id for (job_id,) in sql.run("SELECT id FROM forge_job")}
    assert len(left) == 2  # the dead one stays for 30 days
    assert kept in left

    sql.age(23 * DAY_S)
    sweeper(storage, Rank()).tick()
    assert sql.run("SELECT id FROM forge_job") == []


def test_who_does_not_lead_deletes_nothing(storage: Storage, sql: Sql) -> None:
    job_with(storage, JobStatus.DONE)
    sql.age(8 * DAY_S)

    sweeper(storage, Rank(0)).tick()

    assert len(sql.run("SELECT id FROM forge_job")) == 1


def test_a_sweep_ends_with_the_leadership(storage: Storage, sql: Sql) -> None:
    sql.seed(GENTLE_BATCH + 1, status="done")
    sql.age(8 * DAY_S)

    sweeper(storage, Rank(3)).tick()  # one question before, two for the first batch

    assert len(sql.run("SELECT id FROM forge_job")) == 1


def test_a_long_sweep_gives_way_and_goes_on(
    storage: Storage,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cron is due meanwhile, and comes first."""
    caplog.set_level(logging.INFO)
    sql.seed(GENTLE_BATCH + 1, status="done")
    sql.age(8 * DAY_S)
    other = Other()
    service = sweeper(storage, Rank(), other)
    delete = type(storage.retention)._delete

    def delete_and_wake(*arguments: Any) -> int | None:
        found: int | None = delete(*arguments)
        other.wake()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(type(storage.retention), "_delete", delete_and_wake)
        first = service.attempt()
    left = len(sql.run("SELECT id FROM forge_job"))
    other.attempt()
    second = service.attempt()

    assert (first, left) == (0.0, 1)
    assert second == RETENTION_PERIOD_S
    assert sql.run("SELECT id FROM forge_job") == []
    told = f"retention: deleted {GENTLE_BATCH + 1} finished jobs"
    assert [record.message for record in caplog.records] == [told]


def test_a_sweep_by_hand_is_left_alone(
    storage: Storage, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    job_with(storage, JobStatus.DONE)
    sql.age(8 * DAY_S)
    storage.leases.take(retention.LEASE, "operator", 60)

    sweeper(storage, Rank()).tick()

    assert len(sql.run("SELECT id FROM forge_job")) == 1
    assert caplog.records == []
