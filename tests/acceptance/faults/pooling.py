"""Everything through PgBouncer in transaction mode."""

from __future__ import annotations

import contextlib

import psycopg2

from flask_forge_jobs import NewJob
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.log_texts import UNHEARD
from tests.acceptance.faults.outages import LEASE_S, Outages, plan_of, require_sound
from tests.acceptance.faults.pooler import Pooler, pooled
from tests.acceptance.kill_workers import Driver, Plan
from tests.support.cluster import Cluster, cluster

POOL_SIZE = 8
# How often workers look that are not woken, and some for a busy machine.
POLL_S = 0.5 + 1.0
# Half of that between two looks: a worker that hears nothing is seldom this quick.
WOKEN_S = 0.25
_SESSION = (
    "SELECT pg_backend_pid(), (SELECT COUNT(*) FROM pg_listening_channels()), "
    "(SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' "
    "AND pid = pg_backend_pid()), "
    "(SELECT COALESCE(string_agg(name, ' '), '') FROM pg_settings "
    "WHERE source = 'session' AND name <> 'application_name' "
    "AND setting IS DISTINCT FROM reset_val)"
)


def through_a_pooler(bench: Bench) -> str:
    """C11."""
    with cluster() as server, pooled(server, size=POOL_SIZE) as pooler:
        seen = [
            _joins(pooler, bench.pick(5, 50, 500)),
            _kills(bench, pooler),
            _outages(bench, server, pooler),
        ]
        sessions = _inspect(pooler)
        log = pooler.log
    for trouble in ("unsupported startup parameter", "got packet 'A'"):
        assert trouble not in log, f"PgBouncer says {trouble!r}"
    return (
        f"{'; '.join(seen)}; {sessions} sessions of the server listen to nothing, hold "
        "no lock and have no setting left"
    )


def _joins(pooler: Pooler, rounds: int) -> str:
    """Enqueue in a caller's transaction."""
    settings = DatabaseSettings.from_url(pooler.url)
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
        with contextlib.closing(psycopg2.connect(pooler.url)) as connection:
            kept = []
            for _ in range(rounds):
                storage.jobs.enqueue(NewJob("lost"), connection=connection)
                connection.rollback()
                with connection:
                    kept.append(
                        storage.jobs.enqueue(NewJob("kept"), connection=connection).id
                    )
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT kind, id FROM forge_job ORDER BY id")
                assert cursor.fetchall() == [("kept", each) for each in sorted(kept)]
                cursor.execute("DELETE FROM forge_job")
    return f"{rounds} jobs joined a transaction each, as many were rolled back"


def _kills(bench: Bench, pooler: Pooler) -> str:
    """A1, and workers that have nothing to be woken by."""
    folder = bench.folder / "kills"
    folder.mkdir()
    plan = Plan(
        jobs=bench.pick(300, 2_000, 20_000),
        kills=bench.pick(1, 5, 50),
        stalls=0,
        seed=bench.random.randrange(1_000_000),
        lease_s=LEASE_S,
    )
    report = Driver(plan, pooler.url, folder).run()
    assert report.is_sound, "an invariant is broken\n" + report.text()
    return f"{plan.jobs} jobs and {plan.kills} kills: 0 lost"


def _outages(bench: Bench, server: Cluster, pooler: Pooler) -> str:
    """C1, and workers that listen beside the pooler or not at all."""
    reports = []
    for name, environ in (
        ("polling", {}),
        ("listening", {"FLASK_FORGE_JOBS_LISTEN_URL": server.url}),
    ):
        outages = Outages(
            bench, bench.pick(1, 1, 10), server.stop_at_once, server.start
        )
        waits: list[float] = []

        def inject(
            driver: Driver, outages: Outages = outages, waits: list[float] = waits
        ) -> None:
            assert isinstance(driver, UnderFault)
            outages.inject(driver)
            driver.wait_for_quiet()
            waits.extend(driver.probe() for _ in range(5))

        folder = bench.folder / name
        folder.mkdir()
        driver = UnderFault(
            plan_of(bench, bench.pick(200, 1_000, 10_000)),
            pooler.url,
            folder,
            inject,
            duration_s=5.0,
            environ=environ,
        )
        server.ask("DELETE FROM forge_job")
        require_sound(driver.run())
        assert max(waits) <= POLL_S, f"{name}: a job waited {max(waits):.1f} s"
        middle_s = sorted(waits)[len(waits) // 2]
        if name == "listening":
            assert middle_s <= WOKEN_S, f"nobody was woken in {middle_s:.2f} s"
        is_told = UNHEARD.encode() in driver.fleet.log.read_bytes()
        assert is_told == (name == "polling"), name
        reports.append(f"{name} a job waits {middle_s:.3f} s")
    return f"server stopped at once under load: 0 lost; {', '.join(reports)}"


def _inspect(pooler: Pooler) -> int:
    """Look at every session that the pooler keeps; return how many there are."""
    with contextlib.ExitStack() as stack:
        found = set()
        for _ in range(POOL_SIZE):
            connection = psycopg2.connect(pooler.url)
            stack.callback(connection.close)
            cursor = connection.cursor()
            cursor.execute(_SESSION)  # stays in its transaction, so the next is another
            pid, listens, locks, settings = cursor.fetchone() or ()
            assert (listens, locks, settings) == (0, 0, ""), (listens, locks, settings)
            found.add(pid)
    assert len(found) == POOL_SIZE
    return len(found)
