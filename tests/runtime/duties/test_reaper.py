"""The reaper with a clock that the test moves: nothing here waits for time to pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.claims import RunningJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.runtime.duties.reaper import SWEEPS_PER_LEASE, Reaper
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import rescue as job_rescue
from flask_forge_jobs.storage.jobs.rescue import rescue_jobs
from tests.support.clocks import MovingClock
from tests.support.jobs import OWNER, claim_one, enqueue, finish
from tests.support.sql import Sql
from tests.support.threads import run_together

LEASE_S = 60.0
SWEEP_S = LEASE_S / SWEEPS_PER_LEASE


class Rig:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.clock = MovingClock()
        self.blocked_since: float | None = None

    def reaper(self) -> Reaper:
        return Reaper(
            self.storage.jobs,
            self.storage.workers,
            lease_s=LEASE_S,
            written_until=self.written_until,
        )

    def written_until(self) -> float:
        if self.blocked_since is None:
            return self.clock.monotonic()
        return self.blocked_since

    def sweep(
        self,
        *reapers: Reaper,
        seconds: float = LEASE_S,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        """Let the reapers look at their usual period for so long."""
        for reaper in reapers:
            reaper.tick()
        for _ in range(round(seconds / SWEEP_S)):
            self.clock.move(SWEEP_S)
            between()
            for reaper in reapers:
                reaper.tick()


@pytest.fixture
def rig(storage: Storage) -> Rig:
    return Rig(storage)


def status_of(rig: Rig, job_id: str) -> JobStatus:
    return rig.storage.job_reader.get(job_id).status


def test_revives_in_progress_job_with_stale_heartbeat(rig: Rig) -> None:
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)

    rig.sweep(rig.reaper(), seconds=LEASE_S - SWEEP_S)
    early = status_of(rig, job_id)
    rig.sweep(rig.reaper())

    assert early is JobStatus.IN_PROGRESS
    assert status_of(rig, job_id) is JobStatus.FAILED


def test_leaves_fresh_in_progress_jobs_alone(rig: Rig) -> None:
    """B1: slower than the lease, but its process beats."""
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)

    rig.sweep(
        rig.reaper(),
        seconds=10 * LEASE_S,
        between=lambda: rig.storage.jobs.heartbeat(OWNER, {}),
    )

    assert status_of(rig, job_id) is JobStatus.IN_PROGRESS


def test_workers_may_have_different_leases(rig: Rig) -> None:
    """With a long one, jobs beat more rarely than a short one ends."""
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)

    def show() -> None:
        rig.storage.workers.show(OWNER, None, ["default"])

    slot = SlotReport(f"default-0-{OWNER}-0", "default", job_id)
    rig.storage.workers.beat(OWNER, None, ["default"], [slot])
    reaper = rig.reaper()
    rig.sweep(reaper, seconds=3 * LEASE_S, between=show)
    meanwhile = status_of(rig, job_id)
    rig.sweep(reaper, seconds=LEASE_S - SWEEP_S)
    early = status_of(rig, job_id)
    rig.sweep(reaper, seconds=SWEEP_S)

    assert (meanwhile, early) == (JobStatus.IN_PROGRESS, JobStatus.IN_PROGRESS)
    assert status_of(rig, job_id) is JobStatus.FAILED


def test_a_job_that_was_claimed_by_hand_is_rescued_too(rig: Rig, sql: Sql) -> None:
    """Its row has neither a worker nor a heartbeat."""
    by_hand, silent = enqueue(rig.storage), enqueue(rig.storage)
    sql.run("UPDATE forge_job SET status = 'in_progress' WHERE id = ?", by_hand)
    claim_one(rig.storage)

    rig.sweep(rig.reaper())

    assert status_of(rig, by_hand) is JobStatus.FAILED
    assert status_of(rig, silent) is JobStatus.FAILED


def test_a_job_that_cannot_be_rescued_holds_up_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """D40"""
    reaper = rig.reaper()
    bad, good = enqueue(rig.storage), enqueue(rig.storage)
    rig.storage.jobs.claim("default", OWNER, 2)

    def refuse(_: object, jobs: Sequence[RunningJob], *rest: Any) -> Any:
        if bad in {job.id for job in jobs}:
            raise ValueError("damaged")
        return rescue_jobs(_, jobs, *rest)  # type: ignore[arg-type]  # any transaction

    monkeypatch.setattr(job_rescue, "rescue_jobs", refuse)
    rig.sweep(reaper)
    rig.sweep(reaper)

    assert status_of(rig, bad) is JobStatus.IN_PROGRESS
    assert status_of(rig, good) is JobStatus.FAILED
    assert caplog.messages.count(f"cannot rescue jobs {bad}") == 1


def test_reap_stale_jobs_wrapper_runs_without_panicking(rig: Rig) -> None:
    """On an empty store nothing happens."""
    rig.sweep(rig.reaper())

    assert rig.storage.jobs.running() == []


def test_rescued_job_skips_delay_when_backoff_disabled(
    rig: Rig, database_settings: DatabaseSettings
) -> None:
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)

    rig.sweep(rig.reaper())

    assert due_in_s(rig, database_settings, job_id) <= 5


def test_rescued_job_uses_queue_backoff_when_enabled(
    rig: Rig, database_settings: DatabaseSettings
) -> None:
    job_id = enqueue(rig.storage)
    rig.storage.queues.change(
        "default",
        {
            "backoff_enabled": True,
            "backoff_base_seconds": 10,
            "backoff_max_seconds": 1800,
        },
    )
    claim_one(rig.storage)

    rig.sweep(rig.reaper())

    assert 15 <= due_in_s(rig, database_settings, job_id) <= 25


def due_in_s(rig: Rig, settings: DatabaseSettings, job_id: str) -> float:
    scheduled_at = rig.storage.job_reader.get(job_id).scheduled_at
    return scheduled_at.timestamp() - Sql(settings).now_us() / 1e6


def test_a_reaper_that_was_stopped_itself_proves_nothing(rig: Rig) -> None:
    """Its own pause of an hour is no silence of the others."""
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)
    reaper = rig.reaper()
    reaper.tick()

    rig.clock.move(3600.0)
    reaper.tick()

    assert status_of(rig, job_id) is JobStatus.IN_PROGRESS


def test_silence_proves_nothing_while_nobody_can_write(rig: Rig) -> None:
    """D1 of the fault matrix: a database that is locked for minutes."""
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)
    reaper = rig.reaper()

    rig.blocked_since = rig.clock.monotonic()
    rig.sweep(reaper, seconds=10 * LEASE_S)
    locked = status_of(rig, job_id)
    rig.blocked_since = None
    rig.sweep(reaper, seconds=LEASE_S)

    assert locked is JobStatus.IN_PROGRESS
    assert status_of(rig, job_id) is JobStatus.FAILED


def test_a_lock_that_keeps_all_out_makes_nobody_silent(rig: Rig) -> None:
    """Our own last beat is newer than the owner's when the lock comes.

    Without an end to the count the owner's silence would reach a lease while ours had
    not, and the rescue would be written the moment the lock is gone.
    """
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)
    reaper = rig.reaper()
    rig.sweep(reaper, seconds=LEASE_S / 2)

    rig.blocked_since = rig.clock.monotonic()
    rig.sweep(reaper, seconds=LEASE_S)
    rig.blocked_since = None
    reaper.tick()
    at_once = status_of(rig, job_id)
    rig.storage.jobs.heartbeat(OWNER, {})
    rig.sweep(reaper, seconds=LEASE_S - SWEEP_S)

    assert at_once is JobStatus.IN_PROGRESS
    assert status_of(rig, job_id) is JobStatus.IN_PROGRESS


def test_an_error_voids_the_interval_it_happened_in(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)
    reaper = rig.reaper()
    rig.sweep(reaper, seconds=LEASE_S - SWEEP_S)

    def refuse(_: object) -> list[object]:
        raise OSError("gone")

    rig.clock.move(SWEEP_S)
    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "running", refuse)
        with pytest.raises(OSError, match="gone"):
            reaper.tick()
    rig.clock.move(SWEEP_S)
    reaper.tick()
    early = status_of(rig, job_id)
    rig.clock.move(SWEEP_S)
    reaper.tick()

    assert early is JobStatus.IN_PROGRESS
    assert status_of(rig, job_id) is JobStatus.FAILED


def test_a_finish_between_look_and_write_wins(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B3: a reaper stalled before its update changes nothing."""
    job_id = enqueue(rig.storage)
    job = claim_one(rig.storage)
    reaper = rig.reaper()
    rig.sweep(reaper, seconds=LEASE_S - SWEEP_S)
    jobs = type(rig.storage.jobs)
    look = jobs.running

    def look_and_stall(_: object) -> list[object]:
        found = look(rig.storage.jobs)
        assert finish(rig.storage, job, Done())
        return list(found)

    monkeypatch.setattr(jobs, "running", look_and_stall)
    rig.clock.move(SWEEP_S)
    reaper.tick()

    assert status_of(rig, job_id) is JobStatus.DONE


def test_any_number_of_reapers_do_the_work_once(rig: Rig) -> None:
    """B7."""
    count, reaper_count = 60, 8
    ids = [enqueue(rig.storage) for _ in range(count)]
    rig.storage.jobs.claim("default", OWNER, count)
    reapers = [rig.reaper() for _ in range(reaper_count)]
    rig.sweep(*reapers, seconds=LEASE_S - SWEEP_S)
    rig.clock.move(SWEEP_S)

    run_together([reaper.tick for reaper in reapers])

    jobs = [rig.storage.job_reader.get(job_id) for job_id in ids]
    assert {job.status for job in jobs} == {JobStatus.FAILED}
    assert [job.crashes for job in jobs] == [1] * count
    assert [len(job.error_history) for job in jobs] == [1] * count


def test_a_job_that_kills_its_process_three_times_is_dead(rig: Rig) -> None:
    """A10: the poison pill."""
    job_id = enqueue(rig.storage, max_attempts=10)
    reaper = rig.reaper()
    seen = []

    for _ in range(3):
        rig.storage.job_admin.run_now(job_id)
        claim_one(rig.storage)
        rig.sweep(reaper)
        seen.append(status_of(rig, job_id))

    assert seen == [JobStatus.FAILED, JobStatus.FAILED, JobStatus.DEAD]
    job = rig.storage.job_reader.get(job_id)
    assert job.last_error is not None
    assert "its worker process died 3 times" in job.last_error


def test_a_job_that_no_slot_has_shown_loses_no_attempt(rig: Rig) -> None:
    """Its worker may have died before it started; it has been claimed ahead."""
    ids = [enqueue(rig.storage, max_attempts=3) for _ in range(3)]
    last = enqueue(rig.storage, max_attempts=1)
    rig.storage.jobs.claim("default", OWNER, 4)
    rig.storage.workers.beat(
        OWNER,
        None,
        ["default"],
        [SlotReport(f"default-0-{OWNER}-0", "default", ids[0])],
    )

    rig.sweep(rig.reaper())

    jobs = [rig.storage.job_reader.get(job_id) for job_id in (*ids, last)]
    waiting = (JobStatus.PENDING, 1, 4, 1)
    assert [
        (job.status, job.attempts, job.max_attempts, job.crashes) for job in jobs
    ] == [(JobStatus.FAILED, 1, 3, 1), waiting, waiting, (JobStatus.DEAD, 1, 1, 1)]
    assert rig.storage.workers.slots() == []
    again = claim_one(rig.storage)
    assert (again.id, again.attempts) == (ids[1], 2)


def test_a_job_of_a_worker_without_slots_at_its_first_beat_loses_no_attempt(
    rig: Rig,
) -> None:
    """Others had all of them then, and its next report was to come."""
    job_id = enqueue(rig.storage, max_attempts=3)
    rig.storage.workers.beat(OWNER, None, ["default"], [])
    rig.storage.jobs.claim("default", OWNER, 1)

    rig.sweep(rig.reaper())

    job = rig.storage.job_reader.get(job_id)
    assert (job.status, job.attempts, job.max_attempts) == (JobStatus.PENDING, 1, 4)


def test_slots_stay_until_the_jobs_of_their_worker_are_rescued(rig: Rig) -> None:
    """It claimed these after it had shown itself for the last time."""
    shown, other = [enqueue(rig.storage, max_attempts=3) for _ in range(2)]
    rig.storage.workers.beat(
        OWNER, None, ["default"], [SlotReport(f"default-0-{OWNER}-0", "default", shown)]
    )
    reaper = rig.reaper()
    rig.sweep(reaper, seconds=LEASE_S / 2)
    rig.storage.jobs.claim("default", OWNER, 2)

    rig.sweep(reaper, seconds=2 * LEASE_S)

    assert status_of(rig, shown) is JobStatus.FAILED
    assert status_of(rig, other) is JobStatus.PENDING
    assert rig.storage.workers.slots() == []


def test_slots_stay_if_a_job_of_their_worker_is_not_rescued_yet(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session has it locked. It had started, so it pays with an attempt."""
    job_id = enqueue(rig.storage, max_attempts=3)
    claim_one(rig.storage)
    slot = SlotReport(f"default-0-{OWNER}-0", "default", job_id)
    rig.storage.workers.beat(OWNER, None, ["default"], [slot])
    rescue, locked = rig.storage.jobs.rescue, iter([True])

    def late(jobs: Sequence[RunningJob]) -> int:
        return 0 if next(locked, False) else rescue(jobs)

    monkeypatch.setattr(rig.storage.jobs, "rescue", late)
    rig.sweep(rig.reaper(), seconds=2 * LEASE_S)

    job = rig.storage.job_reader.get(job_id)
    assert (job.status, job.attempts, job.max_attempts) == (JobStatus.FAILED, 1, 3)
    assert rig.storage.workers.slots() == []


def test_a_worker_whose_job_is_never_rescued_is_logged_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another session has it locked for good."""
    enqueue(rig.storage)
    claim_one(rig.storage)
    rig.storage.workers.beat(OWNER, None, ["default"], [])
    reaper = rig.reaper()

    with monkeypatch.context() as patched:
        patched.setattr(rig.storage.jobs, "rescue", lambda _: 0)
        rig.sweep(reaper, seconds=2 * LEASE_S - SWEEP_S)
        assert caplog.messages == []
        rig.sweep(reaper, seconds=9 * LEASE_S)
        assert [OWNER in each for each in caplog.messages] == [True]
    rig.sweep(reaper)

    assert caplog.messages[-1] == f"workers without a heartbeat are lost: {OWNER}"


def test_a_claim_that_is_stored_after_its_worker_was_lost_costs_no_attempt(
    rig: Rig,
) -> None:
    """A busy server stores it when the worker that has sent it is long dead."""
    job_id = enqueue(rig.storage, max_attempts=3)
    slot = SlotReport(f"default-0-{OWNER}-0", "default")
    rig.storage.workers.beat(OWNER, None, ["default"], [slot])
    reaper = rig.reaper()
    rig.sweep(reaper, seconds=2 * LEASE_S)
    left = rig.storage.workers.all()
    rig.storage.jobs.claim("default", OWNER, 1)

    rig.sweep(reaper, seconds=2 * LEASE_S)

    job = rig.storage.job_reader.get(job_id)
    assert left == []
    assert (job.status, job.attempts, job.max_attempts) == (JobStatus.PENDING, 1, 4)


def test_a_running_job_of_an_owner_that_beats_does_not_hide_a_silent_one(
    rig: Rig,
) -> None:
    """B11: full batches of live jobs ahead of dead ones."""
    living = [enqueue(rig.storage) for _ in range(250)]
    rig.storage.jobs.claim("default", OWNER, 250)
    dead = enqueue(rig.storage)
    claim_one(rig.storage, owner="silent")

    rig.sweep(rig.reaper(), between=lambda: rig.storage.jobs.heartbeat(OWNER, {}))

    assert status_of(rig, dead) is JobStatus.FAILED
    assert status_of(rig, living[0]) is JobStatus.IN_PROGRESS


def test_reap_stale_evicts_dead_pods_and_orphan_assignments(rig: Rig) -> None:
    """*adapt:* no assignments yet; the slots of the process go with it."""
    rig.storage.workers.beat(
        "silent", None, ["default"], [SlotReport("default-0-silent-0", "default")]
    )

    def live() -> None:
        rig.storage.workers.beat("live", None, ["default"], [])

    live()
    rig.sweep(rig.reaper(), between=live)

    assert [worker.worker_id for worker in rig.storage.workers.all()] == ["live"]
    assert rig.storage.workers.slots() == []


def test_a_process_has_a_lease_to_beat_again(rig: Rig) -> None:
    rig.storage.workers.beat("slow", None, ["default"], [])
    reaper = rig.reaper()

    rig.sweep(reaper, seconds=LEASE_S - SWEEP_S)
    early = [worker.worker_id for worker in rig.storage.workers.all()]
    rig.sweep(reaper, seconds=SWEEP_S)

    assert early == ["slow"]
    assert rig.storage.workers.all() == []


def test_no_reaper_need_live_for_a_lease(rig: Rig, sql: Sql) -> None:
    """A fleet whose workers live for two thirds of one recovers all the same."""
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)
    rig.storage.workers.beat("silent", None, ["default"], [])
    short_s = LEASE_S / 2

    seen = []
    for _ in range(5):
        rig.sweep(rig.reaper(), seconds=short_s)
        seen.append(status_of(rig, job_id))
        sql.age(short_s + 20)

    assert seen[:3] == [JobStatus.IN_PROGRESS] * 3
    assert seen[4] is JobStatus.FAILED
    assert rig.storage.workers.all() == []


def test_a_jump_of_the_databases_clock_ends_no_living_job(rig: Rig, sql: Sql) -> None:
    """E1: all that lives looks an hour old, to a reaper that has just begun too."""
    job_id = enqueue(rig.storage)
    claim_one(rig.storage)
    rig.storage.workers.beat("live", None, ["default"], [])
    sql.age(3600)
    beats = iter(range(1_000))

    def beat() -> None:
        if next(beats) % 2:  # every other sweep: half of the beats are lost
            return
        rig.storage.jobs.heartbeat(OWNER, {})
        rig.storage.workers.beat("live", None, ["default"], [])

    rig.sweep(rig.reaper(), seconds=4 * LEASE_S, between=beat)

    assert status_of(rig, job_id) is JobStatus.IN_PROGRESS
    assert [worker.worker_id for worker in rig.storage.workers.all()] == ["live"]
