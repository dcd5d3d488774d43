"""Nobody can be told any more: PostgreSQL's queue of notifications is full."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2

from flask_forge_jobs import NewJob, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.postgres.process import QUIET_S
from tests.acceptance.application import KIND
from tests.acceptance.faults.cluster import DATABASE, Cluster, cluster
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.acceptance.producer import as_ack
from tests.acceptance.programs import wait_until

# The least that the server takes, in pages of 8 KiB; only since version 17 can it be
# set, before that the queue has 8 GiB.
PAGES = "64"
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
            plan_of(bench, jobs),
            server.url,
            bench.folder,
            inject,
            duration_s=5.0,
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


@contextlib.contextmanager
def full_queue(server: Cluster) -> Iterator[None]:
    """Let somebody listen who never hears, and tell him things until it is full."""
    with contextlib.closing(_connect(server)) as deaf:
        cursor = deaf.cursor()
        cursor.execute("LISTEN forge_jobs_wake")
        # What earlier ones have left goes with the question.
        cursor.execute("SELECT pg_notification_queue_usage()")
        cursor.execute("BEGIN; SELECT 1")
        with contextlib.closing(_connect(server)) as teller:
            while _could_tell(teller):
                pass
        yield
        pid = deaf.info.backend_pid
    wait_until(lambda: pid not in server.backends(), "whoever did not hear is gone")


def is_full(server: Cluster) -> bool:
    """Tell somebody something; return whether that is refused."""
    with contextlib.closing(_connect(server)) as teller:
        return not _could_tell(teller)


def _could_tell(teller: psycopg2.extensions.connection) -> bool:
    try:
        teller.cursor().execute("SELECT pg_notify('nobody', repeat('x', 7000))")
    except psycopg2.errors.ProgramLimitExceeded:
        return False
    return True


def _connect(server: Cluster) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(host=server.host, user="postgres", dbname=DATABASE)
    connection.autocommit = True
    return connection
