"""Which worker processes are alive and what their slots do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.workers import (
    QueueSlots,
    ServiceAge,
    Slot,
    SlotReport,
    Worker,
    WorkerProcess,
)
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, enqueue, finish
from tests.support.sql import Sql

_PROCESS = "SELECT started_at, version, host, pid, lost_at FROM forge_worker"


def slot(
    number: int, queue_name: str = "mail", job_id: str | None = None
) -> SlotReport:
    return SlotReport(f"{queue_name}-{number}-host-1", queue_name, job_id)


def beat(storage: Storage, worker_id: str = "host", *slots: SlotReport) -> None:
    storage.workers.beat(worker_id, "worker", ["mail", "reports"], slots)


def test_a_beat_registers_a_process_with_its_slots(storage: Storage) -> None:
    """process_registry_register_then_list

    Also pod_presence_and_slot_assignment_roundtrip, without its assignments.
    """
    beat(storage, "host", slot(0), slot(1, job_id="job-1"), slot(0, "reports"))

    slots = storage.workers.slots()
    (worker,) = storage.workers.all()

    assert [each.slot_id for each in slots] == [
        "mail-0-host-1", "mail-1-host-1", "reports-0-host-1",
    ]  # fmt: skip
    assert slots[1] == Slot(
        "mail-1-host-1",
        "mail",
        "host",
        slots[1].started_at,
        slots[1].heartbeat_at,
        "job-1",
    )
    assert slots[1].started_at == slots[1].heartbeat_at
    assert len(storage.workers.slots("mail")) == 2
    assert storage.workers.slots("unknown") == []
    assert worker == Worker("host", "worker", ("mail", "reports"), worker.heartbeat_at)


def test_slots_are_ordered_by_queue_and_id(storage: Storage) -> None:
    storage.workers.beat(
        "host", None, [], [slot(1, "b"), slot(0, "b"), slot(0, "a"), slot(0, "B")]
    )

    assert [each.slot_id for each in storage.workers.slots()] == [
        "B-0-host-1", "a-0-host-1", "b-0-host-1", "b-1-host-1",
    ]  # fmt: skip
    (worker,) = storage.workers.all()
    assert (worker.worker_name, worker.queues) == (None, ())


def test_a_beat_renews_and_keeps_the_start(storage: Storage, sql: Sql) -> None:
    beat(storage, "host", slot(0))
    sql.age(30)
    (before,) = storage.workers.slots()

    beat(storage, "host", slot(0, job_id="job-7"))

    (after,) = storage.workers.slots()
    assert after.started_at == before.started_at
    assert after.heartbeat_at - before.heartbeat_at >= timedelta(seconds=30)
    assert after.current_job_id == "job-7"


def test_a_process_shows_itself_and_leaves_its_slots(
    storage: Storage, sql: Sql
) -> None:
    storage.workers.show("host", "worker", ["mail"])
    beat(storage, "host", slot(0))
    sql.age(30)
    ((before, age_s),) = storage.workers.heartbeat_ages()
    assert 30 <= age_s < 40

    storage.workers.show("host", "renamed", ["mail", "other"])

    ((after, age_s),) = storage.workers.heartbeat_ages()
    assert 0 <= age_s < 10
    assert after.heartbeat_at - before.heartbeat_at >= timedelta(seconds=30)
    assert (after.worker_name, after.queues) == ("renamed", ("mail", "other"))
    (kept,) = storage.workers.slots()
    assert after.heartbeat_at - kept.heartbeat_at >= timedelta(seconds=30)


def test_of_each_service_the_oldest_tick_is_told(storage: Storage, sql: Sql) -> None:
    assert storage.workers.services() == []
    storage.workers.show("a", None, [], [ServiceAge("cron", 50.0, 5.0)])
    sql.age(40)
    slow, quick = ServiceAge("cron", 7.25, 5.0), ServiceAge("reaper", 0.5, 15.0)
    storage.workers.beat("b", None, [], [], [quick, slow])
    storage.workers.beat("c", None, [], [])

    cron, reaper = storage.workers.services()

    assert (cron.name, cron.period_s, reaper.name) == ("cron", 5.0, "reaper")
    assert 90 <= cron.age_s < 100
    assert 0.5 <= reaper.age_s < 10

    sql.age(30)  # a is not live any more
    cron, _ = storage.workers.services()
    assert 37.25 <= cron.age_s < 47
    sql.age(-3600)  # a heartbeat of the future is of this moment
    assert storage.workers.services()[0].age_s == 50.0


def test_a_beat_drops_slots_it_no_longer_names(storage: Storage) -> None:
    """A replaced slot has a new id"""
    beat(storage, "host", slot(0), slot(1))
    storage.workers.beat("other", None, ["mail"], [SlotReport("theirs", "mail")])

    beat(storage, "host", slot(1))

    assert [each.slot_id for each in storage.workers.slots()] == [
        "mail-1-host-1", "theirs",
    ]  # fmt: skip
    beat(storage, "host")
    assert [each.slot_id for each in storage.workers.slots()] == ["theirs"]


def test_a_running_job_shows_the_slot_that_runs_it(storage: Storage) -> None:
    """slot_id of a row joins with /queue/processes"""
    told, untold = (enqueue(storage, queue_name="mail") for _ in range(2))
    taken = [claim_one(storage, owner="host", queue_name="mail") for _ in range(2)]
    # What another process still tells of an earlier run counts for nothing.
    beat(storage, "gone", SlotReport("mail-0-gone-1", "mail", told))
    beat(storage, "host", slot(0, job_id=told), slot(1))

    def owners() -> list[str | None]:
        page = storage.job_reader.page(JobFilter(), 5)
        single = [storage.job_reader.get(job.id) for job in page.rows]
        assert [job.slot_id for job in single] == [job.slot_id for job in page.rows]
        return [job.slot_id for job in page.rows]

    def run_by(slot_id: str) -> list[str]:
        wanted = JobFilter(slot_id=slot_id)
        page = storage.job_reader.page(wanted, 5)
        assert page.total == len(page.rows)
        return [job.id for job in page.rows]

    assert owners() == ["host", "mail-0-host-1"]
    assert run_by("mail-0-host-1") == [told]
    assert run_by("host") == [untold, told]
    assert run_by("mail-0-gone-1") == run_by("mail-1-host-1") == []

    finish(storage, taken[0], Done(), owner="host")

    assert owners() == ["host", None]
    assert run_by("mail-0-host-1") == []


def test_a_beat_after_a_reap_restores_complete_rows(storage: Storage) -> None:
    """process_registry_heartbeat_self_heals_missing_row, with a complete row"""
    beat(storage, "host", slot(0, job_id="job-1"))
    storage.workers.reap(["host"])
    assert storage.workers.all() == []

    beat(storage, "host", slot(0, job_id="job-1"))

    (restored,) = storage.workers.slots("mail")
    assert (restored.worker_id, restored.queue_name) == ("host", "mail")
    assert storage.workers.all()[0].queues == ("mail", "reports")
    assert storage.workers.remove("host") == 1


def test_a_long_silence_leaves_the_rows_complete(storage: Storage, sql: Sql) -> None:
    """A 120 s cool-down leaves process rows complete"""
    beat(storage, "host", slot(0))
    sql.age(120)

    beat(storage, "host", slot(0))

    (row,) = storage.workers.slots("mail")
    assert (row.queue_name, row.worker_id) == ("mail", "host")


def test_remove_takes_the_process_and_its_slots(storage: Storage) -> None:
    beat(storage, "host", slot(0), slot(1))
    storage.workers.beat("other", None, ["mail"], [SlotReport("theirs", "mail")])

    assert storage.workers.remove("host") == 2
    assert storage.workers.remove("host") == 0

    assert [each.slot_id for each in storage.workers.slots()] == ["theirs"]
    assert [worker.worker_id for worker in storage.workers.all()] == ["other"]


def test_reap_takes_the_silent_and_the_orphans(storage: Storage, sql: Sql) -> None:
    beat(storage, "alive", SlotReport("a", "mail"))
    beat(storage, "silent", SlotReport("s1", "mail"), SlotReport("s2", "mail"))
    beat(storage, "crashed", SlotReport("c", "mail"))
    sql.run("DELETE FROM forge_worker WHERE worker_id = 'crashed'")

    assert storage.workers.reap(["silent", "unknown"]) == 3
    assert storage.workers.reap([]) == 0

    assert [each.slot_id for each in storage.workers.slots()] == ["a"]
    assert [worker.worker_id for worker in storage.workers.all()] == ["alive"]


def test_a_lost_worker_counts_nowhere(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")
    ages = [ServiceAge("cron", 1.0, 5.0)]
    storage.workers.beat("gone", None, ["mail"], [slot(0)], ages)

    storage.workers.reap(["gone"])
    # As a worker that knows no better would leave them.
    sql.run(
        "INSERT INTO forge_slot (slot_id, queue_name, worker_id, started_at, "
        "heartbeat_at) SELECT 'late', 'mail', worker_id, heartbeat_at, heartbeat_at "
        "FROM forge_worker"
    )

    overview = storage.workers.overview()
    assert (overview.workers, overview.unassigned_queues) == ([], ["mail"])
    assert storage.workers.all() == storage.workers.live(3600) == []
    assert storage.workers.heartbeat_ages() == []
    assert storage.workers.services() == []
    assert storage.workers.reap([]) == 1
    assert storage.workers.slots() == []


def test_a_lost_worker_that_wakes_is_live_again(storage: Storage, sql: Sql) -> None:
    process = WorkerProcess("0.1.0", "a1", 4121, up_us=5_000_000)
    storage.workers.show("host", None, ["mail"], process=process)
    sql.age(10)
    before = sql.run(_PROCESS)

    storage.workers.reap(["host"])
    storage.workers.show("host", None, ["mail"], process=replace(process, up_us=9))

    assert [worker.worker_id for worker in storage.workers.live(60)] == ["host"]
    assert sql.run(_PROCESS) == before
    started_at, *rest = before[0]
    assert rest == ["0.1.0", "a1", 4121, None]
    heartbeat_at = sql.value("SELECT heartbeat_at FROM forge_worker")
    assert 15_000_000 <= heartbeat_at - started_at < 25_000_000


def test_a_lost_worker_is_kept_for_an_hour(storage: Storage, sql: Sql) -> None:
    beat(storage, "first")
    storage.workers.reap(["first"])
    lost_at = sql.value("SELECT lost_at FROM forge_worker")
    sql.age(3590)
    beat(storage, "second")
    storage.workers.reap(["first", "second"])

    kept = sql.run("SELECT worker_id, lost_at FROM forge_worker ORDER BY worker_id")
    assert kept[0] == ("first", lost_at - 3_590_000_000)
    sql.age(20)
    storage.workers.reap([])

    assert sql.run("SELECT worker_id FROM forge_worker") == [("second",)]


def test_live_workers_are_those_that_beat_recently(storage: Storage, sql: Sql) -> None:
    beat(storage, "b-old")
    sql.age(60)
    beat(storage, "c-new")
    beat(storage, "a-new")

    assert [worker.worker_id for worker in storage.workers.live(30)] == [
        "a-new",
        "c-new",
    ]
    assert [worker.worker_id for worker in storage.workers.live(3600)] == [
        "a-new", "b-old", "c-new",
    ]  # fmt: skip
    assert [worker.worker_id for worker in storage.workers.all()] == [
        "a-new", "b-old", "c-new",
    ]  # fmt: skip


def test_slots_may_be_asked_for_by_age_and_number(storage: Storage, sql: Sql) -> None:
    beat(storage, "old", slot(0))
    sql.age(61)
    storage.workers.beat(
        "new", None, ["mail"], [SlotReport(f"mail-{n}-new-1", "mail") for n in range(3)]
    )

    def ids(**wanted: float) -> list[str]:
        limit = int(wanted.get("limit", 99))
        within_s = wanted.get("within_s")
        found = storage.workers.slots("mail", within_s=within_s, limit=limit)
        assert found == storage.workers.slots(within_s=within_s, limit=limit)
        return [each.slot_id for each in found]

    live = ["mail-0-new-1", "mail-1-new-1", "mail-2-new-1"]
    assert ids() == ["mail-0-host-1", *live]
    assert ids(within_s=60) == live
    assert ids(within_s=60, limit=2) == live[:2]
    storage.workers.beat("third", None, ["b"], [SlotReport("b-0", "b")])
    assert (storage.workers.count_slots(), storage.workers.count_slots("mail")) == (
        5,
        4,
    )


def test_workers_are_the_live_ones_with_their_load(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("mail")
    storage.queues.ensure("idle")
    storage.queues.ensure("lost")
    storage.workers.beat("gone", None, ["lost"], [SlotReport("lost-0", "lost")])
    sql.age(30)
    sql.run("UPDATE forge_worker SET heartbeat_at = heartbeat_at - 31000000")
    storage.workers.beat("b", "two", ["mail"], [])
    sql.age(2.5)
    slots = [slot(0, job_id="job-1"), slot(1), slot(0, "extra")]
    storage.workers.beat("a", None, ["mail", "extra"], slots)

    found = storage.workers.overview()

    first, second = found.workers
    assert [each.worker.worker_id for each in found.workers] == ["a", "b"]
    assert first.worker.queues == ("mail", "extra")
    assert first.slots == [QueueSlots("extra", 1), QueueSlots("mail", 2)]
    assert (first.live_slot_count, first.in_flight_count) == (3, 1)
    assert first.heartbeat_age_s < second.heartbeat_age_s < 10
    assert (second.worker.worker_name, second.slots) == ("two", [])
    assert (second.live_slot_count, second.in_flight_count) == (0, 0)
    assert second.heartbeat_age_s >= 2
    assert found.unassigned_queues == ["idle", "lost"]


def test_a_silent_slot_of_a_live_worker_is_no_load(storage: Storage, sql: Sql) -> None:
    beat(storage, "host", slot(0, job_id="job-1"), slot(1))
    sql.run("UPDATE forge_slot SET heartbeat_at = heartbeat_at - 61000000")

    (worker,) = storage.workers.overview().workers

    assert worker.slots == [QueueSlots("mail", 2)]
    assert (worker.live_slot_count, worker.in_flight_count) == (0, 0)


def test_a_worker_whose_heartbeat_lies_ahead_is_of_age_zero(
    storage: Storage, sql: Sql
) -> None:
    beat(storage)
    sql.age(-100)

    (worker,) = storage.workers.overview().workers

    assert worker.heartbeat_age_s == 0
