"""The heartbeat tick by tick, on a clock that the test moves."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import SchemaTooNewError, StorageUnavailableError
from flask_forge_jobs.model.claims import ClaimedJob, HeartbeatReport
from flask_forge_jobs.model.instants import SECOND_US, format_instant, from_micros
from flask_forge_jobs.model.outcomes import Done, Released
from flask_forge_jobs.model.progress import report_of, shown_progress
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.model.run_logs import LogLine
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.runtime.duties import renewal
from flask_forge_jobs.runtime.duties.heartbeat import (
    BEATS_PER_LEASE,
    TICK_S,
    Heartbeat,
    beat_period_s,
)
from flask_forge_jobs.runtime.duties.registration import (
    REPORT_PERIOD_S,
    SHOW_PERIOD_S,
    Registration,
)
from flask_forge_jobs.runtime.duties.renewal import LONG_RUN_S, Renewal
from flask_forge_jobs.runtime.duties.strays import Strays
from flask_forge_jobs.runtime.loop.rounds import Claims
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.plan import WorkerOptions
from flask_forge_jobs.runtime.run.execution import Execution, keep_progress
from flask_forge_jobs.runtime.run.job_log import JobLog
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.runtime.run.run_log import LogSettings, log_of
from flask_forge_jobs.runtime.run.steps import keep_checkpoint
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import StorageMovedError
from flask_forge_jobs.storage.deadlines import left_s
from flask_forge_jobs.tasks.failures import mask_known
from tests.support.clocks import MovingClock
from tests.support.jobs import claim_one, enqueue, finish, rescue_all
from tests.support.later_steps import ADDITIVE, migrated
from tests.support.runtimes import Bench, claimed
from tests.support.sql import Sql

HOST = "host-1"
LEASE_S = 60.0
BEAT_S = LEASE_S / BEATS_PER_LEASE


class Resting(Duty):
    """Is shown by its age."""

    def tick(self) -> None:
        raise AssertionError


class Rig(Bench):
    def __init__(self, storage: Storage, lease_s: float = LEASE_S) -> None:
        self.moving = MovingClock()
        super().__init__(clock=self.moving, threads=1, lease_s=lease_s)
        self.storage = storage
        self.began_at = self.clock.monotonic()
        self.queues["default"].limit = 1
        self.notified = 0
        writer = OutcomeWriter(
            storage.jobs,
            HOST,
            self.handover,
            OutcomeMapper(QueueSettings, None),
            storage.recorder,
            job_log=JobLog(self.clock),
        )
        strays = Strays(storage.jobs, self.handover, writer, Claims(), self.clock)
        self.heartbeat = Heartbeat(
            self.lease,
            Renewal(storage.jobs, HOST, self.handover, strays, storage.recorder),
            Registration(
                storage.workers,
                HOST,
                WorkerOptions(
                    threads=1,
                    lease_s=lease_s,
                    cancel_grace_s=1.0,
                    queue_names=self.queue_names,
                    name="left",
                ),
                self.handover,
                self.lease,
                duties=[Resting("cron", 5.0, clock=self.clock)],
                longest_s=beat_period_s(lease_s),
            ),
            self.handover,
            database=storage.database,
            on_return=self.note_return,
        )

    def note_return(self) -> None:
        self.notified += 1

    def start_job(self) -> Execution:
        enqueue(self.storage)
        return self.started(claim_one(self.storage, owner=HOST))

    def end(self, execution: Execution) -> None:
        self.slots.leave(execution)

    def strays(self) -> list[ClaimedJob]:
        """Return what was given back."""
        return [
            execution.job for execution, outcome in self.ended if outcome == Released()
        ]

    def tick(self, seconds: float = 0.0) -> None:
        self.moving.move(seconds)
        self.heartbeat.tick()


@pytest.fixture
def rig(storage: Storage) -> Rig:
    return Rig(storage)


def test_a_tick_tells_whether_it_asked_the_database(rig: Rig) -> None:
    """Otherwise one that had nothing to ask would call it reachable."""
    rig.tick()
    rig.heartbeat._is_cut_off = True

    rig.moving.move(TICK_S)
    assert rig.heartbeat.tick() is False
    assert rig.notified == 0
    rig.start_job()
    assert rig.heartbeat.tick() is True
    assert rig.notified == 1


# -- what others see -----------------------------------------------------------------


def test_a_process_shows_itself_between_its_beats(rig: Rig, sql: Sql) -> None:
    """Others share out the workers by it; its jobs and slots are not written."""
    rig.tick()
    shown: list[float] = []
    for _ in range(int(BEAT_S) - 1):
        sql.run("UPDATE forge_worker SET heartbeat_at = 0")
        rig.tick(TICK_S)
        if sql.value("SELECT heartbeat_at FROM forge_worker"):
            shown.append(rig.clock.monotonic())
            assert rig.lease.shown_at == shown[-1]

    assert [later - earlier for earlier, later in pairwise(shown)] == [
        SHOW_PERIOD_S
    ] * 3
    ages = json.loads(sql.value("SELECT services FROM forge_worker"))
    assert ages == {"cron": [shown[-1] - rig.began_at, 5.0]}


def test_a_process_that_cannot_renew_its_jobs_does_not_show_itself(
    rig: Rig, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others take its share of the work, and rescue its jobs when both are silent."""
    rig.start_job()
    rig.tick()
    before = sql.value("SELECT heartbeat_at FROM forge_worker")

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("statement took longer than 10 s")

    monkeypatch.setattr(type(rig.storage.jobs), "heartbeat", refuse)
    for _ in range(3):
        with pytest.raises(StorageUnavailableError):
            rig.tick(BEAT_S)

    assert sql.value("SELECT heartbeat_at FROM forge_worker") == before


def test_with_a_short_lease_it_shows_itself_as_often_as_it_beats(
    storage: Storage,
) -> None:
    rig = Rig(storage, lease_s=3.0)

    assert rig.heartbeat._registration._show.length_s == 0.5


def test_pod_heartbeat_round_trips_name_and_queues(rig: Rig) -> None:
    rig.tick()

    (worker,) = rig.storage.workers.all()
    assert (worker.worker_id, worker.worker_name, worker.queues) == (
        HOST,
        "left",
        ("default",),
    )


def test_slots_are_registered_from_the_first_beat(rig: Rig) -> None:
    rig.tick()

    (slot,) = rig.storage.workers.slots()
    assert (slot.slot_id, slot.queue_name, slot.worker_id) == (
        "default-0-host-1-0",
        "default",
        HOST,
    )


def test_what_the_slots_do_is_reported_between_beats(rig: Rig) -> None:
    rig.tick()
    job_id = rig.start_job().job.id

    rig.tick(TICK_S)
    soon = rig.storage.workers.slots()[0].current_job_id
    rig.tick(REPORT_PERIOD_S)
    later = rig.storage.workers.slots()[0].current_job_id

    assert (soon, later) == (None, job_id)


def test_rows_that_were_reaped_by_mistake_come_back_whole(rig: Rig) -> None:
    """Queue, host and name included."""
    rig.tick()
    rig.storage.workers.reap([HOST])

    rig.tick(BEAT_S)

    (worker,), (slot,) = rig.storage.workers.all(), rig.storage.workers.slots()
    assert (worker.worker_name, worker.queues) == ("left", ("default",))
    assert (slot.queue_name, slot.worker_id) == ("default", HOST)


# -- running jobs --------------------------------------------------------------------


def test_a_beat_renews_every_running_job(
    rig: Rig, database_settings: DatabaseSettings
) -> None:
    execution = rig.start_job()
    Sql(database_settings).age(30.0)
    before = rig.storage.job_reader.get(execution.job.id).heartbeat_at
    rig.tick()

    after = rig.storage.job_reader.get(execution.job.id).heartbeat_at

    assert before is not None
    assert after is not None
    assert after - before > timedelta(seconds=25)


def test_progress_is_stored_within_a_tick(rig: Rig) -> None:
    execution = rig.start_job()
    rig.tick()
    keep_progress(execution, '{"done":1}', 0)

    rig.tick(TICK_S)

    stored = rig.storage.job_reader.get(execution.job.id)
    assert report_of(stored.progress or "") == {"done": 1}
    assert execution.progress is not None
    assert execution.progress.take() is None


def test_progress_has_its_time_and_the_rate_since_the_report_before(rig: Rig) -> None:
    execution = rig.start_job()
    for done in (10, 15):
        keep_progress(execution, f'{{"done":{done}}}', rig.clock.now_us())
        rig.tick(2.0)

    stored = rig.storage.job_reader.get(execution.job.id)

    reported_at = from_micros(rig.clock.now_us() - 2 * SECOND_US)
    assert shown_progress(stored.progress or "") == {
        "done": 15,
        "total": None,
        "message": None,
        "at": format_instant(reported_at),
        "rate": 2.5,
    }


@pytest.mark.parametrize("newer", [None, '{"done":2}'])
def test_progress_outlives_a_tick_that_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, newer: str | None
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailableError("gone")

    execution = rig.start_job()
    rig.tick()
    keep_progress(execution, '{"done":1}', 0)
    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", fail)
        for _ in range(2):
            with pytest.raises(StorageUnavailableError):
                rig.tick(BEAT_S)
    if newer is not None:
        keep_progress(execution, newer, 0)

    rig.tick(TICK_S)
    rig.tick(TICK_S)

    stored = rig.storage.job_reader.get(execution.job.id).progress
    assert report_of(stored or "") == json.loads(newer or '{"done":1}')


def test_progress_that_breaks_a_tick_is_not_written_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would break every tick, and the lease would run out."""
    execution = rig.start_job()
    rig.tick()
    keep_progress(execution, '{"done":1}', 0)
    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rig.tick(TICK_S)

    rig.tick(TICK_S)

    assert rig.storage.job_reader.get(execution.job.id).progress is None


def test_a_saved_value_is_stored_within_a_tick(rig: Rig) -> None:
    execution = rig.start_job()
    rig.tick()
    for text in ("1", "2"):
        keep_checkpoint(execution, Checkpoint(execution.job.run_id, text))

    rig.tick(TICK_S)

    assert rig.storage.steps.kept(execution.job.id).checkpoint == "2"
    assert execution.reports is not None
    assert execution.reports.saved is None


@pytest.mark.parametrize("newer", [None, "2"])
def test_a_saved_value_outlives_a_tick_that_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, newer: str | None
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailableError("gone")

    execution = rig.start_job()
    rig.tick()
    keep_checkpoint(execution, Checkpoint(execution.job.run_id, "1"))
    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", fail)
        with pytest.raises(StorageUnavailableError):
            rig.tick(BEAT_S)
    if newer is not None:
        keep_checkpoint(execution, Checkpoint(execution.job.run_id, newer))

    rig.tick(TICK_S)

    assert rig.storage.steps.kept(execution.job.id).checkpoint == (newer or "1")


def log_line(rig: Rig, execution: Execution, text: str) -> None:
    settings = LogSettings(logging.INFO, False, mask_known, rig.clock)
    log_of((execution, settings)).add(LogLine(rig.clock.now_us(), "INFO", "a", text))


def lines_of(rig: Rig, execution: Execution) -> list[str]:
    lines, *_ = rig.storage.logs.page(execution.job.id, 0, -1, 100)
    return [line.text for line in lines]


def test_lines_are_stored_within_two_seconds(rig: Rig) -> None:
    """A beat is not due for so long; a tick is."""
    execution = rig.start_job()
    rig.tick()
    log_line(rig, execution, "first")

    rig.tick(rig.heartbeat.period_s)

    assert lines_of(rig, execution) == ["first"]
    assert rig.heartbeat.period_s < 2.0 < BEAT_S


def test_lines_outlive_a_tick_that_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailableError("gone")

    execution = rig.start_job()
    log_line(rig, execution, "first")
    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", fail)
        with pytest.raises(StorageUnavailableError):
            rig.tick(TICK_S)
    log_line(rig, execution, "second")

    rig.tick(TICK_S)
    rig.tick(TICK_S)

    assert lines_of(rig, execution) == ["first", "second"]


def test_lines_that_break_a_tick_are_not_written_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = rig.start_job()
    log_line(rig, execution, "first")
    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rig.tick(TICK_S)
    log_line(rig, execution, "second")

    rig.tick(TICK_S)

    assert lines_of(rig, execution) == ["second"]


def test_of_very_many_runs_the_oldest_lines_are_stored_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few that log all the time would keep the lines of others back."""
    monkeypatch.setattr(renewal, "MAX_LOGS_PER_BEAT", 1)
    busy, other = rig.start_job(), rig.start_job()
    log_line(rig, busy, "first")
    rig.moving.move(0.1)
    log_line(rig, other, "other")
    rig.tick(TICK_S)
    log_line(rig, busy, "second")

    rig.tick(TICK_S)

    assert (lines_of(rig, busy), lines_of(rig, other)) == (["first"], ["other"])


def test_a_user_s_cancel_is_heard_within_a_tick(rig: Rig) -> None:
    execution, other = rig.start_job(), rig.start_job()
    rig.tick()
    rig.storage.job_admin.delete(execution.job.id)

    rig.tick(TICK_S)

    assert execution.token.reason is CancelReason.USER
    assert not other.token.is_cancelled


def test_a_lost_job_is_told_to_stop(rig: Rig) -> None:
    """Its row is somebody else's by now."""
    execution = rig.start_job()
    rig.tick()
    rescue_all(rig.storage)

    rig.tick(BEAT_S)

    assert execution.token.reason is CancelReason.LOST


def test_a_run_that_ends_while_the_beat_is_asked_is_not_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ours no more because its outcome is stored."""
    execution = rig.start_job()
    rig.tick()
    jobs = type(rig.storage.jobs)
    ask = jobs.heartbeat

    def end_and_ask(*arguments: Any) -> HeartbeatReport:
        assert finish(rig.storage, execution.job, Done(), owner=HOST)
        rig.end(execution)
        return ask(*arguments)

    monkeypatch.setattr(jobs, "heartbeat", end_and_ask)
    rig.tick(BEAT_S)

    assert not execution.token.is_cancelled


def test_a_job_that_was_claimed_again_by_us_is_lost_for_its_first_run(
    rig: Rig, database_settings: DatabaseSettings
) -> None:
    """B4: the owner is the same, the attempt is not."""
    first = rig.start_job()
    rig.tick()
    rescue_all(rig.storage)
    Sql(database_settings).age(60.0)
    second = rig.started(claim_one(rig.storage, owner=HOST))

    rig.tick(BEAT_S)

    assert first.token.reason is CancelReason.LOST
    assert not second.token.is_cancelled


# -- strays --------------------------------------------------------------------------


def test_a_job_that_nobody_here_knows_of_goes_back_as_it_was_claimed(rig: Rig) -> None:
    """Its claim was stored although the answer was lost."""
    enqueue(rig.storage)
    job = claim_one(rig.storage, owner=HOST)

    for _ in range(3):
        rig.tick(BEAT_S)

    assert rig.strays() == [job]


@pytest.mark.parametrize("known", ["runs", "unwritten"])
def test_a_job_whose_outcome_is_not_stored_yet_is_no_stray(
    rig: Rig, known: str
) -> None:
    execution = rig.start_job()
    if known == "unwritten":
        rig.end(execution)
        rig.put(execution, Done())

    for _ in range(3):
        rig.tick(BEAT_S)

    assert rig.strays() == []


# -- being believed ------------------------------------------------------------------


def test_freshness_ends_a_lease_after_the_last_beat(rig: Rig) -> None:
    rig.tick()
    rig.moving.move(LEASE_S - 0.1)
    before = rig.lease.is_fresh
    rig.moving.move(0.2)

    assert before
    assert not rig.lease.is_fresh


def test_a_beat_counts_from_its_begin(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was renewed ages from then on, however long the answer takes."""
    jobs = type(rig.storage.jobs)
    ask = jobs.heartbeat

    def ask_slowly(*arguments: Any) -> HeartbeatReport:
        report = ask(*arguments)
        rig.moving.move(5.0)
        return report

    monkeypatch.setattr(jobs, "heartbeat", ask_slowly)
    began_at = rig.clock.monotonic()
    leased_from = rig.clock.since_boot()
    rig.tick()

    assert rig.lease.last_beat_at == began_at
    assert rig.lease._ends_at == leased_from + LEASE_S
    assert rig.lease.shown_at == began_at


def test_only_a_beat_that_was_stored_counts(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.tick()

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", refuse)
        with pytest.raises(StorageUnavailableError):
            rig.tick(LEASE_S)
    stale = rig.lease.is_fresh
    rig.tick(TICK_S)

    assert not stale
    assert rig.lease.is_fresh


def test_it_beats_at_once_after_a_sleep_of_the_host(rig: Rig) -> None:
    rig.tick()
    rig.moving.sleep(LEASE_S)
    woken = rig.lease.is_fresh
    rig.tick()

    assert not woken
    assert rig.lease.is_fresh


def test_the_beat_that_ends_a_silence_gives_back_what_waits(rig: Rig) -> None:
    """Others have taken these jobs by then; what waits within a lease stays."""
    rig.tick()
    queue = rig.queues["default"]
    waiting = rig.waits(claimed())

    rig.tick(LEASE_S - 0.1)
    kept = list(queue.buffer)
    rig.tick(LEASE_S)

    assert kept == [waiting]
    assert list(queue.buffer) == []
    assert rig.ended == [(waiting, Released())]
    assert rig.lease.is_fresh


def test_a_beat_that_gets_through_again_wakes_the_dispatcher(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may rest for half a minute after its own failures."""
    rig.tick()

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", refuse)
        for _ in range(2):
            with pytest.raises(StorageUnavailableError):
                rig.tick(BEAT_S)
    before = bool(rig.notified)
    rig.tick(BEAT_S)
    after = bool(rig.notified)
    rig.notified = 0
    rig.tick(BEAT_S)

    assert (before, after, bool(rig.notified)) == (False, True, False)


def test_a_tick_has_half_a_lease_for_all_it_asks(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs makes no tick hang for so long that it counts as stuck."""
    left: list[float] = []

    def ask(*_: object) -> HeartbeatReport:
        left.append(left_s(1000.0))
        return HeartbeatReport(frozenset(), frozenset())

    monkeypatch.setattr(type(rig.storage.jobs), "heartbeat", ask)
    rig.tick()

    assert 0.0 < left[0] <= LEASE_S / 2
    assert left_s(1000.0) == 1000.0


def test_a_tick_that_hangs_is_stuck_before_the_lease_ends(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: the process should end; nobody else will tell it."""
    seen: list[bool] = []

    def hang(*_: object) -> None:
        seen.append(rig.heartbeat.is_stuck)
        # So long before the end that it is not over when the process has ended.
        rig.moving.move(LEASE_S - 1.5 * BEAT_S)
        seen.append(rig.heartbeat.is_stuck)
        raise StorageUnavailableError("after all")

    monkeypatch.setattr(type(rig.storage.jobs), "heartbeat", hang)
    with pytest.raises(StorageUnavailableError):
        rig.tick()

    assert seen == [False, True]
    assert not rig.heartbeat.is_stuck


@pytest.mark.parametrize(
    ("error", "is_stuck"),
    [
        (TypeError("a bug"), True),
        (StorageUnavailableError("gone"), False),
        (StorageMovedError("a new process finds it"), True),
    ],
)
def test_ticks_that_fail_are_stuck_unless_it_is_the_storage(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception, *, is_stuck: bool
) -> None:
    """B5: others take its jobs, and a process that claims none is of no use."""
    rig.tick()

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(type(rig.storage.jobs), "heartbeat", fail)
        seen = []
        for wait_s in (BEAT_S, LEASE_S - 2.5 * BEAT_S):
            with pytest.raises(type(error)):
                rig.tick(wait_s)
            seen.append(rig.heartbeat.is_stuck)
    rig.tick(TICK_S)

    assert seen == [False, is_stuck]
    assert not rig.heartbeat.is_stuck


def test_runs_that_go_on_are_counted_as_started(storage: Storage) -> None:
    rig = Rig(storage)
    storage.recorder.take()
    execution = rig.start_job()
    storage.recorder.take()

    rig.tick(LONG_RUN_S - 0.1)
    early = storage.recorder.take()
    rig.tick(0.1)
    rig.tick(1.0)

    assert early == {}
    assert execution.is_start_counted
    [tally] = storage.recorder.take().values()
    assert (tally.started, tally.wait.count) == (1, 1)


# -- a schema that goes on -----------------------------------------------------------


def test_a_schema_that_this_code_knows_is_no_reason_to_stop(rig: Rig) -> None:
    rig.tick()

    assert not rig.lease.is_outdated


def test_a_newer_step_that_older_code_can_read_is_none_either(
    rig: Rig, database_settings: DatabaseSettings
) -> None:
    """Additive steps keep the number of the oldest reader."""
    with migrated(database_settings, ADDITIVE):
        rig.tick()

    assert not rig.lease.is_outdated


def test_a_newer_schema_is_told_once_with_both_versions(
    rig: Rig, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    with sql.newer_schema():
        for _ in range(2):
            with pytest.raises(SchemaTooNewError):
                rig.tick(BEAT_S)

    assert rig.lease.is_outdated
    assert not rig.lease.is_in_force()
    assert caplog.text.count("claiming no more jobs: schema version 99: ") == 1
    assert "this package knows" in caplog.text
