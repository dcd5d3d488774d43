"""One pass of each service, for programs that run no worker."""

from __future__ import annotations

import pytest

from flask_forge_jobs import (
    ForgeJobs,
    InvalidInputError,
    KindPrefixRouter,
    cron_tick_once,
    fold_metrics_once,
    reap_once,
    rebalance_once,
)
from flask_forge_jobs.model.claims import REAPED_MESSAGE
from flask_forge_jobs.model.cron import FiringReport, ScheduleDefinition
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.runtime.passes import FoldReport, ReapReport, RebalanceReport
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import START_US, MovingClock
from tests.support.figures import PastProcess
from tests.support.jobs import claim_one, enqueue
from tests.support.sql import Sql


def test_due_schedules_fire_once(storage: Storage, sql: Sql) -> None:
    for name, kind in (("sync", "gh_sync"), ("scan", "scan")):
        storage.cron.create(ScheduleDefinition(name, kind, "@yearly"))
    assert cron_tick_once(storage) == FiringReport()
    sql.run("UPDATE forge_cron SET next_fire_at = ?", sql.now_us())

    first = cron_tick_once(storage, KindPrefixRouter())
    second = cron_tick_once(storage)

    assert (first, second) == (FiringReport(fired=2), FiringReport())
    rows = sql.run("SELECT queue_name, kind FROM forge_job ORDER BY kind")
    assert rows == [("gh", "gh_sync"), ("default", "scan")]


def test_a_pass_that_knows_the_tasks_fires_with_their_options(
    storage: Storage, sql: Sql
) -> None:
    forge = ForgeJobs()
    forge.task(kind="scan", queue="night", max_attempts=2)(lambda: None)
    storage.cron.create(ScheduleDefinition("scan", "scan", "@yearly"))
    sql.run("UPDATE forge_cron SET next_fire_at = ?", sql.now_us())

    cron_tick_once(storage, KindPrefixRouter(), registry=forge.registry)

    rows = sql.run("SELECT queue_name, max_attempts FROM forge_job")
    assert rows == [("night", 2)]


def test_a_router_that_fails_is_a_fault_of_its_schedule(
    storage: Storage, sql: Sql
) -> None:
    storage.cron.create(ScheduleDefinition("scan", "scan", "@yearly"))
    sql.run("UPDATE forge_cron SET next_fire_at = ?", sql.now_us())

    queues: dict[str, str] = {}

    report = cron_tick_once(storage, queues.__getitem__)

    assert report == FiringReport(errors=1)
    assert "the router failed for 'scan'" in str(storage.cron.get("scan").last_error)


def test_the_jobs_of_silent_processes_are_given_back(
    storage: Storage, sql: Sql
) -> None:
    lost = enqueue(storage)
    claim_one(storage, owner="gone")
    storage.workers.beat("gone", None, ["default"], [SlotReport("s", "default")])
    sql.age(61)
    kept = enqueue(storage)
    claim_one(storage, owner="here")
    storage.workers.beat("here", None, ["default"], [])

    assert reap_once(storage, lease_s=3600) == ReapReport(jobs=0, workers=0)
    assert reap_once(storage) == ReapReport(jobs=1, workers=1)
    assert reap_once(storage) == ReapReport(jobs=0, workers=0)

    given_back = storage.job_reader.get(lost)
    assert (given_back.status, given_back.last_error) == (
        JobStatus.PENDING,  # no slot has shown it
        REAPED_MESSAGE,
    )
    assert storage.job_reader.get(kept).status is JobStatus.IN_PROGRESS
    assert [worker.worker_id for worker in storage.workers.all()] == ["here"]
    assert storage.workers.slots() == []


def test_a_worker_that_shows_itself_keeps_its_jobs(storage: Storage, sql: Sql) -> None:
    """As with a longer lease than this one, whose jobs beat more rarely."""
    enqueue(storage)
    claim_one(storage, owner="here")
    sql.age(61)
    storage.workers.show("here", None, ["default"])

    assert reap_once(storage) == ReapReport(jobs=0, workers=0)


@pytest.mark.parametrize("lease_s", [0, -1.0, float("nan")])
def test_a_lease_is_more_than_nothing(storage: Storage, lease_s: float) -> None:
    with pytest.raises(InvalidInputError) as caught:
        reap_once(storage, lease_s=lease_s)
    assert caught.value.field == "lease_s"


def test_the_shares_are_those_of_the_processes_that_are_there(
    storage: Storage, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    for name, workers in (("mail", 10), ("idle", 0), ("gh", 2)):
        storage.queues.ensure(name, workers)
    storage.workers.show("gone", None, ["mail", "gh"])
    sql.age(60)
    for host in ("a", "b", "c"):
        storage.workers.show(host, None, ["mail"])

    found = rebalance_once(storage)

    assert isinstance(found, RebalanceReport)
    assert sorted(found.shares.values()) == [3, 3, 4]
    assert set(found.shares) == {("mail", host) for host in "abc"}
    assert found.unserved == ("gh",)
    assert "no worker serves queue gh" in caplog.text


def test_figures_are_stored_merged_and_dropped(storage: Storage, sql: Sql) -> None:
    for _ in range(2):
        PastProcess(storage).runs("mail", "send", [1])
    enqueue(storage)
    hours_later = MovingClock(START_US + DAY_US // 6)

    first = fold_metrics_once(storage, hours_later)
    second = fold_metrics_once(storage, hours_later)

    assert first.written > 0
    assert first.merged > 0
    assert first.dropped == 0
    assert second == FoldReport(0, 0, 0)
    assert storage.metrics.counters().jobs["default", "noop"].enqueued == 1
    assert storage.metrics.counters().jobs["mail", "send"].completed == 2
    month_later = MovingClock(START_US + 40 * DAY_US)
    assert fold_metrics_once(storage, month_later).dropped > 0
    assert sql.value("SELECT COUNT(*) FROM forge_metric WHERE level = 0") == 3
    assert storage.metrics.counters().jobs["mail", "send"].completed == 2
