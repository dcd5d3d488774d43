"""Nobody can be told any more: PostgreSQL's queue of notifications is full."""

from __future__ import annotations

import contextlib

import psycopg2

from flask_forge_jobs import NewJob, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.postgres.process import QUIET_S
from tests.acceptance.application import KIND
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.acceptance.producer import as_ack
from tests.support.cluster import Cluster, cluster
from tests.support.notify_queue import PAGES, full_queue, is_full
from tests.support.waiting import wait_until

# How often a worker that waits for wake-ups looks all the same, and some for a machine
# that is busy.
POLL_S = 5.0 + 1.0
WOKEN_S = 1.0
# For as long as nobody is told once it was in vain, and some.
TOLD_S = QUIET_S + 10.0
THREADS = 4


def nobody_is_told(bench: Bench) -> str:
    """C18."""
    looks = bench.pick(1, 5, 20)
    jobs = bench.pick(100, 1_000, 10_000)
    waits: list[float] = []
    with cluster(max_notify_queue_pages=PAGES) as server:

        def inject(driver: Driver) -> None:
            assert isinstance(driver, UnderFault)
            with full_queue(server):
                driver.store_plainly(jobs, THREADS)
                _store_in_every_way(server, driver)
                driver.wait_for_quiet()
                waits.extend(driver.probe() for _ in range(looks))
                assert is_full(server), "the queue of notifications was not full"
            assert max(waits) <= POLL_S, f"a job waited {max(waits):.1f} s"
            wait_until(
                lambda: driver.probe() < WOKEN_S, "workers are told again", TOLD_S
            )

        driver = UnderFault(
            plan_of(bench, jobs), server.url, bench.folder, inject, duration_s=5.0
        )
        report = driver.run()
    require_sound(report)
    assert driver.unclear == 0, f"{driver.unclear} calls failed"
    return (
        f"{report.figures['acknowledged']} jobs stored while the queue was full, no "
        f"call failed, 0 lost; a job waits {max(waits):.1f} s at most"
    )


def _store_in_every_way(server: Cluster, driver: UnderFault) -> None:
    """Store jobs at once, with a key, later, and in a caller's transaction."""
    jobs = [
        NewJob(KIND, dump({"number": 0, "sleep_ms": 1}), dedupe_key=key)
        for key in ("unheard", None)
    ]
    with contextlib.closing(
        open_storage(DatabaseSettings.from_url(server.url))
    ) as storage:
        found = storage.jobs.enqueue_many(jobs)
        found += [storage.jobs.enqueue(job) for job in jobs]
        with contextlib.closing(psycopg2.connect(server.url)) as connection, connection:
            found += storage.jobs.enqueue_many(jobs, connection=connection)
    for job, each in zip(3 * jobs, found, strict=True):
        driver.note(as_ack(job, each))
