"""Row E3: whoever leads is killed at once, for a while."""

from __future__ import annotations

import threading
import time

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US, to_micros
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.runtime.duties.leader import LEADER_LEASE, LEADER_LEASE_S
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.scene import Scene, staged
from tests.acceptance.firing import faults_of
from tests.acceptance.ledger import Kill
from tests.support.runtimes import wait_for_status
from tests.support.waiting import wait_until

WORKERS = 3
JOB_LEASE_S = 3.0
LOOK_PERIOD_S = 0.05
# A job that no death hit starts and ends within this, leader or not.
LONGEST_WAIT_S = 5.0
# Nobody serves it: what is checked is which jobs there are.
NAME, QUEUE = "every-second", "firings"
_FIRED = "SELECT schedule_name, fire_at FROM forge_job WHERE queue_name = 'firings'"


def none_for_long(bench: Bench) -> str:
    """E3: jobs run all the same, and what was not fired is made up for."""
    seconds = bench.pick(5, 30, 60)
    with staged(bench, threads=4, lease_s=JOB_LEASE_S) as scene:
        scene.start(WORKERS)
        first_us = _create_schedule(scene)
        kills: list[Kill] = []
        waits_s: list[float] = []
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            kills += _kill_who_leads(scene)
            waits_s += _run_one(scene)
            threading.Event().wait(LOOK_PERIOD_S)
        _wait_until_caught_up(scene)
        _end_schedule(scene)
        assert scene.fleet.stop() == []
        fired = [(str(name), int(us)) for name, us in scene.sql.run(_FIRED)]
    faults = list(faults_of({NAME: first_us}, fired))
    assert not faults, faults
    assert kills, "nobody rose to lead"
    assert max(waits_s) <= LONGEST_WAIT_S, f"a job waited {max(waits_s):.1f} s"
    return (
        f"{len(kills)} leaders killed; {len(waits_s)} jobs done, the slowest in "
        f"{max(waits_s):.1f} s; {len(fired)} firings, none left out"
    )


def _create_schedule(scene: Scene) -> int:
    """Create a schedule that is due every second; return its first instant."""
    definition = ScheduleDefinition(
        NAME, "tick", "* * * * * *", queue_name=QUEUE, catch_up="all",
        catch_up_limit=1_000,
    )  # fmt: skip
    next_fire_at = scene.storage.cron.create(definition).next_fire_at
    assert next_fire_at is not None
    return to_micros(next_fire_at)


def _end_schedule(scene: Scene) -> None:
    scene.sql.run("UPDATE forge_cron SET enabled = FALSE, next_fire_at = NULL")


def _kill_who_leads(scene: Scene) -> list[Kill]:
    rows = scene.sql.run(
        "SELECT holder FROM forge_lease WHERE name = ? AND expires_at > ?",
        LEADER_LEASE,
        scene.sql.now_us(),
    )
    leader = scene.fleet.find(rows[0][0]) if rows else None
    if leader is None:
        return []
    kill = scene.fleet.kill_one(leader)
    scene.start(1)
    return [kill]


def _run_one(scene: Scene) -> list[float]:
    """Run a job; return how long it took, unless its process was killed."""
    began_at = time.monotonic()
    (job_id,) = scene.enqueue([{"number": 1, "sleep_ms": 1}])
    wait_for_status(scene.storage, job_id, JobStatus.DONE)
    if scene.storage.job_reader.get(job_id).crashes:
        return []
    return [time.monotonic() - began_at]


def _wait_until_caught_up(scene: Scene) -> None:
    wait_until(
        lambda: (
            scene.sql.now_us()
            - int(scene.sql.value("SELECT MIN(next_fire_at) FROM forge_cron"))
            < 2 * SECOND_US
        ),
        "the schedule has caught up",
        LEADER_LEASE_S + 60,
    )
