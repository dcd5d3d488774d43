"""A worker goes on with bulk runs whose process has died."""

from __future__ import annotations

from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import BulkRunState, NewBulkRun, RunAuthor
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.runtime.duties.bulk_runs import PERIOD_S, BulkRunDuty
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from tests.support.clocks import MovingClock
from tests.support.sql import Sql

JOBS = BATCH + 10


class HastyClock(MovingClock):
    """Moves on by 1.5 s with each look."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return 1.5 * self.looks


def begun(storage: Storage) -> str:
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * JOBS)
    author = RunAuthor("ops", "127.0.0.1", "request-1", "{}")
    run = NewBulkRun(
        action=JobAction.DELETE, jobs={"queues": ["mail"]}, matched=JOBS, author=author
    )
    return storage.bulk_runs.add(run, "web-1")


def test_a_lapsed_run_is_worked_on_turn_by_turn(storage: Storage, sql: Sql) -> None:
    run_id = begun(storage)
    clock = HastyClock()  # two looks at the time are a turn
    duty = BulkRunDuty(storage, "worker-1", clock=clock)

    duty.tick()
    assert storage.bulk_runs.get(run_id).changed == 0  # another process has it
    assert duty.pause_s() == PERIOD_S

    sql.run("UPDATE forge_bulk_run SET expires_at = 0")
    duty.tick()
    assert storage.bulk_runs.get(run_id).changed == BATCH
    assert duty.pause_s() == 0.0
    duty.tick()
    duty.tick()

    run = storage.bulk_runs.get(run_id)
    assert (run.state, run.changed) == (BulkRunState.DONE, JOBS)
    assert duty.pause_s() == PERIOD_S
    duty.tick()  # nothing is left


def test_a_worker_that_stops_leaves_the_run(storage: Storage, sql: Sql) -> None:
    run_id = begun(storage)
    sql.run("UPDATE forge_bulk_run SET expires_at = 0")
    duty = BulkRunDuty(storage, "worker-1", clock=MovingClock())
    duty.is_stopping = True

    duty.tick()

    assert storage.bulk_runs.get(run_id).changed == 0
