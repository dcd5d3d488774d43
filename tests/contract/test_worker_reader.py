"""What operators see of workers: their slots, the jobs in them, what lost ones left."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
    floor_to,
)
from flask_forge_jobs.model.outcomes import Dead, Done
from flask_forge_jobs.model.worker_details import (
    KnownWorker,
    QueueLoad,
    SlotRun,
    WorkerState,
)
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage import worker_reader
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, enqueue, finish
from tests.support.sql import Sql

PROCESS = WorkerProcess("0.1.0", "a1", 4121, up_us=3_000_000)


def beat(storage: Storage, worker_id: str, *slots: SlotReport) -> None:
    queues = sorted({slot.queue_name for slot in slots}) or ["mail"]
    storage.workers.beat(worker_id, "mailer", queues, slots, process=PROCESS)


def known(storage: Storage) -> dict[str, KnownWorker]:
    return {worker.worker_id: worker for worker in storage.worker_reader.known()}


def take(storage: Storage, worker_id: str, queue_name: str = "mail") -> str:
    """Let a worker claim a new job."""
    enqueue(storage, "send", queue_name=queue_name)
    return claim_one(storage, owner=worker_id, queue_name=queue_name).id


def lose(storage: Storage, worker_id: str) -> None:
    """Do as the reaper does with a silent worker."""
    running = storage.jobs.running()
    storage.jobs.rescue([job for job in running if job.worker_id == worker_id])
    storage.workers.reap([worker_id])


def test_a_worker_is_known_with_its_process(storage: Storage) -> None:
    beat(storage, "w1")

    (worker,) = storage.worker_reader.known()

    assert (worker.worker_name, worker.queues) == ("mailer", ("mail",))
    assert (worker.version, worker.host, worker.pid) == ("0.1.0", "a1", 4121)
    assert (worker.state, worker.lost_at) == ("live", None)
    assert (worker.heartbeat_at - worker.started_at).total_seconds() == 3
    assert worker.whole_heartbeat_age_s < 10


def test_the_state_follows_the_heartbeat(storage: Storage, sql: Sql) -> None:
    for seconds, name in ((31, "silent"), (31, "late"), (0, "live")):
        beat(storage, name)
        sql.age(seconds)
    beat(storage, "taken")
    lose(storage, "taken")

    found = {name: worker.state for name, worker in known(storage).items()}

    assert found == {"silent": "lost", "late": "late", "live": "live", "taken": "lost"}
    assert known(storage)["silent"].lost_at is None
    assert known(storage)["taken"].lost_at is not None


def test_the_last_started_worker_comes_first(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "c", "a"):
        beat(storage, name)

    assert list(known(storage)) == ["c", "b", "a"]
    monkeypatch.setattr(worker_reader, "MAX_WORKERS", 2)
    assert list(known(storage)) == ["c", "b"]


def test_a_lost_worker_is_known_for_an_hour(storage: Storage, sql: Sql) -> None:
    beat(storage, "gone")
    lose(storage, "gone")
    sql.age(3590)
    assert known(storage)["gone"].state is WorkerState.LOST

    sql.age(20)

    assert known(storage) == {}


def test_a_worker_that_stops_is_not_known(storage: Storage) -> None:
    beat(storage, "w1")
    storage.workers.remove("w1")

    assert known(storage) == {}


def test_slots_are_counted_and_runs_shown(storage: Storage) -> None:
    job_id = take(storage, "w1")
    slots = [SlotReport(f"mail-{number}-w1-0", "mail") for number in (0, 2)]
    beat(storage, "w1", *slots, SlotReport("mail-10-w1-0", "mail", job_id))
    beat(storage, "other", SlotReport("mail-0-other-0", "mail"))

    burden = storage.worker_reader.burden(["w1"])

    assert burden.loads == {"w1": [QueueLoad("mail", 3, 2, 1)]}
    (run,) = burden.running["w1"]
    started_at = storage.job_reader.get(job_id).started_at
    assert started_at is not None
    assert run == SlotRun(
        "mail-10-w1-0", "mail", job_id, "send", started_at, run.run_ms
    )
    assert 0 <= run.run_ms < 60_000
    assert (burden.rescued, burden.use, burden.is_whole) == ({}, {}, True)


def test_runs_stand_in_the_order_of_the_slots(storage: Storage) -> None:
    ids = [take(storage, "w1") for _ in range(3)]
    beat(
        storage,
        "w1",
        *(
            SlotReport(f"mail-{number}-w1-0", "mail", job_id)
            for number, job_id in zip((10, 9, 0), ids, strict=True)
        ),
    )

    runs = storage.worker_reader.burden(["w1"]).running["w1"]

    assert [run.job_id for run in runs] == [ids[2], ids[1], ids[0]]


def test_a_job_that_has_ended_since_the_report_leaves_its_slot_idle(
    storage: Storage,
) -> None:
    enqueue(storage, queue_name="mail")
    job = claim_one(storage, owner="w1", queue_name="mail")
    beat(storage, "w1", SlotReport("mail-0-w1-0", "mail", job.id))
    finish(storage, job, Done(), owner="w1")

    burden = storage.worker_reader.burden(["w1"])

    assert burden.loads == {"w1": [QueueLoad("mail", 1, 1, 1)]}
    assert burden.running == {}


def test_a_job_that_another_worker_took_is_not_shown(storage: Storage) -> None:
    job_id = take(storage, "w2")
    beat(storage, "w1", SlotReport("mail-0-w1-0", "mail", job_id))

    assert storage.worker_reader.burden(["w1"]).running == {}


def test_of_a_lost_worker_the_jobs_are_told_with_what_became_of_them(
    storage: Storage, sql: Sql
) -> None:
    retried, dead, done = (take(storage, "gone") for _ in range(3))
    before = take(storage, "gone")
    beat(storage, "gone", SlotReport("mail-0-gone-0", "mail", retried))
    lose(storage, "gone")
    sql.run("UPDATE forge_attempt SET ended_at = 0 WHERE job_id = ?", before)
    sql.age(100_000)
    sql.run("UPDATE forge_attempt SET ended_at = ? WHERE ended_at > 0", sql.now_us())
    for job_id, outcome in ((dead, Dead("no")), (done, Done())):
        sql.run("UPDATE forge_job SET priority = -1 WHERE id = ?", job_id)
        job = claim_one(storage, owner="next", queue_name="mail")
        finish(storage, job, outcome, owner="next")

    rescued = storage.worker_reader.burden(["gone"]).rescued["gone"]

    assert {(job.job_id, job.status, job.ending) for job in rescued} == {
        (retried, "failed", None),
        (dead, "dead", "dead"),
        (done, "done", None),
    }
    assert {(job.queue_name, job.kind) for job in rescued} == {("mail", "send")}


def test_only_some_queues_may_be_asked_for(storage: Storage) -> None:
    mail, bank = take(storage, "w1"), take(storage, "w1", "bank")
    lost = take(storage, "gone", "bank")
    slots = [
        SlotReport("mail-0-w1-0", "mail", mail),
        SlotReport("bank-0-w1-0", "bank", bank),
    ]
    beat(storage, "w1", *slots)
    beat(storage, "gone", SlotReport("bank-0-gone-0", "bank", lost))
    lose(storage, "gone")

    everything = storage.worker_reader.burden(["w1", "gone"])
    burden = storage.worker_reader.burden(["w1", "gone"], ["mail"])

    assert len(everything.running["w1"]) == 2
    assert len(everything.rescued["gone"]) == 1
    assert burden.loads == {"w1": [QueueLoad("mail", 1, 0, 1)]}
    assert [run.job_id for run in burden.running["w1"]] == [mail]
    assert burden.rescued == {}
    assert storage.worker_reader.burden(["w1", "gone"], []).loads == {}


def test_the_newest_sample_is_the_use(storage: Storage, sql: Sql) -> None:
    level = SAMPLE_LEVELS[0]
    now_us = floor_to(sql.now_us(), level)
    for minutes, cpu_pct in ((5, 90.0), (1, 10.0), (2, 50.0)):
        sums = SampleSums()
        for pct in (cpu_pct, cpu_pct + 2):
            measured = ResourceUse(pct, 4096, 0, 0, 0.0)
            sums.add(measured, DatabaseHealth(0, 0, 0, 0, 0))
        at_us = now_us - minutes * 60_000_000
        storage.samples.put("w1", {(level, at_us): sums})
    storage.samples.put("old", {(level, now_us - 300_000_000): sums})

    use = storage.worker_reader.burden(["w1", "old", "new"]).use

    assert list(use) == ["w1"]
    assert (use["w1"].cpu_pct, use["w1"].rss_bytes) == (11.0, 4096)
    assert use["w1"].sampled_at == from_micros(now_us - 60_000_000)


def test_too_many_runs_are_cut(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_reader, "MAX_RUNS", 2)
    ids = [take(storage, "w1") for _ in range(3)]
    slots = [SlotReport(f"mail-{n}-w1-0", "mail", each) for n, each in enumerate(ids)]
    beat(storage, "w1", *slots)

    burden = storage.worker_reader.burden(["w1"])

    assert [run.job_id for run in burden.running["w1"]] == ids[:2]
    assert burden.loads == {"w1": [QueueLoad("mail", 3, 0, 3)]}
    assert not burden.is_whole


def test_the_jobs_that_a_worker_has_claimed_are_counted_if_asked_for(
    storage: Storage,
) -> None:
    for queue in ("mail", "mail", "bank"):
        take(storage, "w1", queue)
    take(storage, "w2")
    claimed_ahead = ["w1", "w2", "idle"]
    burden = storage.worker_reader.burden

    assert burden(claimed_ahead, counts_claimed=True).claimed == {"w1": 3, "w2": 1}
    limited = burden(claimed_ahead, ["bank"], counts_claimed=True)
    assert limited.claimed == {"w1": 1}
    assert burden(claimed_ahead).claimed == {}


def test_the_longest_runs_are_those_in_slots_of_any_worker(
    storage: Storage, sql: Sql
) -> None:
    silent = take(storage, "silent", "bank")
    beat(storage, "silent", SlotReport("bank-0-silent-0", "bank", silent))
    sql.age(90)
    first, second = take(storage, "w1"), take(storage, "w1")
    take(storage, "w1")  # claimed ahead
    slots = [
        SlotReport("mail-0-w1-0", "mail", second),
        SlotReport("mail-1-w1-0", "mail", first),
        SlotReport("mail-2-w1-0", "mail", "01J0000000000000000000GONE"),
    ]
    beat(storage, "w1", *slots)
    longest = storage.worker_reader.longest_runs

    assert [run.job_id for run in longest(9)] == [silent, first, second]
    assert [run.job_id for run in longest(2)] == [silent, first]
    assert [run.job_id for run in longest(9, ["mail"])] == [first, second]
    assert longest(9, []) == []
    storage.jobs.heartbeat("w1", {first: '{"done":1}'})
    run, other, _ = longest(9)
    assert (run.worker_id, run.progress) == ("silent", None)
    assert (other.worker_id, other.worker_name) == ("w1", "mailer")
    assert other.progress == '{"done":1}'
    assert (run.slot_id, run.queue_name, run.kind) == (
        "bank-0-silent-0", "bank", "send",
    )  # fmt: skip
    assert run.run_ms >= 90_000
