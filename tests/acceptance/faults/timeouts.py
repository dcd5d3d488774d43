"""The server's own time limits end what takes long, in the middle of our SQL."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import psycopg2

from flask_forge_jobs import NewJob, Storage, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import InvalidInputError, StorageUnavailableError
from flask_forge_jobs.storage.database import Transaction
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.support.cluster import DATABASE, ROLE, Cluster, cluster
from tests.support.waiting import wait_until

LIMIT_MS = 50
# Ours is set by each transaction and comes before the role's; the least that it may be.
OUR_LIMIT_S = 0.1
# Locks and time-outs hold up the heartbeats too, and nobody may lose a job for it.
LEASE_S = 12.0
HITS_LIMIT_S = 600.0
# Between two locks, so that something gets done; and how long one is held: some longer
# than everything is tried again.
BETWEEN_S = (0.05, 0.3)
HELD_S = (0.1, 0.4)
LONG_S, LONG_SHARE = 2.5, 0.05
# A lock with the pause before it, on average. Jobs come for as long as it takes if each
# lock hits one statement: workers without jobs ask too seldom to be hit.
A_LOCK_S = 0.6
_LOCK = b"canceling statement due to lock timeout"
_STATEMENT = b"canceling statement due to statement timeout"
_IDLE = b"terminating connection due to idle-in-transaction timeout"
_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def limits_fire(bench: Bench) -> str:
    """C14."""
    hits = bench.pick(20, 200, 1_000)
    with cluster() as server:
        with contextlib.closing(_storage(server)) as storage:
            storage.open()  # before there are limits, which are not for a migration
        for name in _LIMITS:
            server.ask(f"ALTER ROLE {ROLE} SET {name} = {LIMIT_MS}")
        idle = _idle(server, hits // 5)
        locks = _under_locks(bench, server, _LOCK, hits // 2)
        # Else the lock's own limit, which is shorter, would always come first.
        server.ask(f"ALTER ROLE {ROLE} SET lock_timeout = 0")
        limit = {"FLASK_FORGE_JOBS_STATEMENT_TIMEOUT_S": str(OUR_LIMIT_S)}
        statements = _under_locks(
            bench, server, _STATEMENT, hits - hits // 2 - hits // 5, limit
        )
        found = [server.log.count(each) for each in (_LOCK, _STATEMENT, _IDLE)]
    assert sum(found) >= hits, found
    return f"lock {locks}; statement {statements}; idle in a transaction {idle}"


def _storage(server: Cluster, limit_s: float | None = None) -> Storage:
    settings = DatabaseSettings.from_url(server.url)
    if limit_s is not None:
        settings = dataclasses.replace(settings, statement_timeout_s=limit_s)
    return open_storage(settings)


# -- locks that are held too long, by way of two limits --------------------------------


def _under_locks(
    bench: Bench,
    server: Cluster,
    limit: bytes,
    hits: int,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run workers while somebody locks the table again and again."""
    folder = bench.folder / limit.split()[-2].decode()
    folder.mkdir()
    server.ask("DELETE FROM forge_job")
    before = server.log.count(limit)
    locks = 0

    def inject(_: Driver) -> None:
        nonlocal locks

        def go_on() -> bool:
            nonlocal locks
            _lock_once(bench, server)
            locks += 1
            return server.log.count(limit) - before >= hits

        wait_until(go_on, f"{hits} hits", HITS_LIMIT_S)

    with contextlib.closing(
        _storage(server, OUR_LIMIT_S if environ else None)
    ) as storage:
        driver = UnderFault(
            plan_of(bench, bench.pick(200, 1_000, 5_000), lease_s=LEASE_S),
            server.observer_url,
            folder,
            inject,
            duration_s=hits * A_LOCK_S,
            worker_url=server.url,
            storage=storage,
            environ=environ,
        )
        report = driver.run()
    require_sound(report)
    return (
        f"{server.log.count(limit) - before} hits of {locks} locks, "
        f"{report.figures['acknowledged']} jobs, 0 lost, 0 extra runs, "
        f"{driver.unclear} calls told so"
    )


def _lock_once(bench: Bench, server: Cluster) -> None:
    pause = threading.Event()
    pause.wait(bench.random.uniform(*BETWEEN_S))
    held_s = bench.random.uniform(*HELD_S)
    if bench.random.random() < LONG_SHARE:
        held_s = LONG_S
    with server.administrator(DATABASE) as cursor:
        cursor.execute("BEGIN; LOCK TABLE forge_job IN ACCESS EXCLUSIVE MODE")
        pause.wait(held_s)
        cursor.execute("ROLLBACK")


# -- callers that do nothing in their transaction for too long -------------------------


def _idle(server: Cluster, hits: int) -> str:
    """Join transactions that the server ends; ours, which idle as long, go on."""
    with contextlib.closing(_storage(server)) as storage:
        for _ in range(hits):
            _idle_once(server, storage)
        before = server.log.count(_IDLE)
        storage.database.write(_idle_inside)
        assert server.log.count(_IDLE) == before, "a transaction of ours was ended"
    stored = server.ask("SELECT COUNT(*) FROM forge_job WHERE kind = 'joined'")
    assert stored == [(0,)], stored
    return f"{hits} hits of callers that had joined, 0 jobs half stored"


def _idle_once(server: Cluster, storage: Storage) -> None:
    before = server.log.count(_IDLE)
    with contextlib.closing(psycopg2.connect(server.url)) as connection:
        # A busy machine may take longer than the limit within this call already.
        with contextlib.suppress(StorageUnavailableError):
            storage.jobs.enqueue(NewJob("joined"), connection=connection)
        wait_until(lambda: server.log.count(_IDLE) > before, "the session is ended")
        with _raises_unavailable():
            storage.jobs.enqueue(NewJob("joined"), connection=connection)


@contextlib.contextmanager
def _raises_unavailable() -> Iterator[None]:
    try:
        yield
    except (StorageUnavailableError, InvalidInputError):
        return  # the second if the driver knows already that it is closed
    raise AssertionError("a session that has ended took a job")


def _idle_inside(transaction: Transaction) -> None:
    transaction.all("now")
    threading.Event().wait(3 * LIMIT_MS / 1000)
    transaction.all("now")
