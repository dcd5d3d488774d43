"""Heartbeats that fail, that hang, or that a task keeps from beating."""

from __future__ import annotations

import subprocess
import time

from flask_forge_jobs.runtime.foreground import EXIT_TAINTED
from tests.acceptance.application import (
    FAILS,
    HANGS,
    HEARTBEAT_VARIABLE,
    HOG_APART_KIND,
    HOG_KIND,
    STARTED,
)
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.scene import Scene, staged
from tests.acceptance.fleet import Worker
from tests.support.waiting import wait_until

# Beats come every sixth of it; with fewer seconds the looks of a process at itself,
# one a second, would be what is measured.
LEASE_S = 24.0
SHORT_LEASE_S = 2.0
# Surely longer than that lease and all that a reaper needs besides.
HOLD_MS = 8_000


def broken_heartbeat(bench: Bench) -> str:
    """B5: the heartbeat hangs or fails, and the worker would go on without it."""
    count = bench.pick(1, 10, 10)
    with staged(bench, threads=1, lease_s=LEASE_S) as scene:
        seen = []
        for how in (HANGS, FAILS):
            switch = bench.folder / how
            workers = scene.start(
                count,
                **{HEARTBEAT_VARIABLE: str(switch), "FLASK_FORGE_JOBS_POOL_SIZE": "2"},
            )
            hosts = {scene.host_of(worker) for worker in workers}
            beats_at = time.monotonic()
            switch.write_text(how)
            slowest_s = max(_seconds_until_end(each, beats_at) for each in workers)
            scene.fleet.workers.clear()  # all have ended, and nobody replaces them
            assert slowest_s <= LEASE_S, f"{how}: one ended after {slowest_s:.1f} s"
            assert not hosts & _owners_since(scene), "it went on claiming"
            seen.append(f"{how}: {count} ended, the last after {slowest_s:.1f} s")
    return f"lease {LEASE_S:g} s; {'; '.join(seen)}"


def _seconds_until_end(worker: Worker, beats_at: float) -> float:
    """Return how long after its last beat, at the latest, a worker has ended."""
    try:
        status = worker.process.wait(5 * LEASE_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"worker {worker.name} goes on without beats") from None
    assert status == EXIT_TAINTED, f"worker {worker.name} ended with {status}"
    return time.monotonic() - beats_at


def _owners_since(scene: Scene) -> set[str]:
    """Enqueue some jobs after the end of the workers; return who claimed them."""
    ids = scene.enqueue({"number": n, "sleep_ms": 1} for n in range(5))
    (worker,) = scene.start(1)
    scene.wait_for_quiet()
    worker.process.terminate()
    assert worker.process.wait(60) == 0
    scene.fleet.workers.remove(worker)
    return {line.worker_id for line in scene.lines() if line.job_id in ids}


def interpreter_hog(bench: Bench) -> str:
    """B6: a task keeps the interpreter's lock for longer than the lease."""
    count = bench.pick(1, 3, 10)
    with staged(bench, threads=2, lease_s=SHORT_LEASE_S) as scene:
        scene.start(2)
        ids = []
        for _ in range(count):  # one by one, so that the other worker can tell
            ids += scene.enqueue([{"hold_ms": HOLD_MS}], HOG_KIND)
            scene.wait_for_quiet()
            _wait_for_two(scene)
        apart = scene.enqueue([{"hold_ms": HOLD_MS}] * count, HOG_APART_KIND)
        scene.wait_for_quiet()
        assert scene.fleet.stop() == []
        lost = _assert_fenced(scene, ids)
        assert lost == count, f"only {lost} of {count} leases were lost"
        assert _assert_fenced(scene, apart) == 0, "a lease was lost to a child's hog"
    return (
        f"thread: {lost} of {count} leases lost, 0 foreign finishes; process: 0 of "
        f"{count} lost"
    )


def _wait_for_two(scene: Scene) -> None:
    """Wait until both workers are well; one that was kept out may be a new one."""

    def are_there() -> bool:
        scene.fleet.replace_ended()
        return all(scene.host_of(worker) for worker in scene.fleet.workers)

    wait_until(are_there, "both workers are there")


def _assert_fenced(scene: Scene, ids: list[str]) -> int:
    """Check who finished the jobs; return how many leases were lost."""
    starts = {
        (line.job_id, line.attempt): line.worker_id
        for line in scene.lines()
        if line.event == STARTED
    }
    crashes = 0
    for job_id in ids:
        job = scene.storage.job_reader.get(job_id)
        finisher = starts[job_id, job.attempts]
        expected = f'{{"worker_id":"{finisher}","attempt":{job.attempts}}}'
        assert (job.status.value, job.result) == ("done", expected), job
        assert job.attempts == job.crashes + 1
        crashes += job.crashes
    return crashes
