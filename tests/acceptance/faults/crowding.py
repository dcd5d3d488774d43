"""More threads than connections, and a server that takes no further one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psycopg2

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.application import KIND
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import LEASE_S, require_sound
from tests.acceptance.kill_workers import Driver, Plan
from tests.acceptance.ledger import Ack
from tests.acceptance.serving import serving
from tests.support.client import Answer, post_json, send
from tests.support.cluster import ROLE, Cluster, cluster
from tests.support.programs import Program
from tests.support.threads import run_together
from tests.support.waiting import wait_until

THREADS = 16
POOL_SIZE = 2
WORKERS = 2
# For the product; as many as two workers may need at most, and two more.
CONNECTIONS = 10
_SIZES = {"FLASK_FORGE_JOBS_POOL_SIZE": str(POOL_SIZE)}


def crowded(bench: Bench) -> str:
    """C10."""
    crowded_s = bench.pick(int(2 * LEASE_S), 20, 300)
    answers: Counter[int] = Counter()
    with cluster() as server:
        # As the server refuses when it has none left, but not whoever looks on.
        server.ask(f"ALTER ROLE {ROLE} CONNECTION LIMIT {CONNECTIONS}")
        # The tables belong to the ordinary role, not to whoever looks on.
        with contextlib.closing(
            open_storage(DatabaseSettings.from_url(server.url))
        ) as storage:
            storage.open()

        def inject(driver: Driver) -> None:
            assert isinstance(driver, UnderFault)
            # As long as the crowd stays, so that only heartbeats keep them.
            driver.store_plainly(2 * THREADS, 2, sleep_ms=int(crowded_s * 1000))
            with (
                _crowd(server) as size,
                serving(
                    server.url, bench.folder, f"--threads={THREADS}", **_SIZES
                ) as web,
            ):
                assert size > 0, "the workers left no connection"
                answers.update(_refused(web, crowded_s))
            with serving(
                server.url, bench.folder, f"--threads={THREADS}", **_SIZES
            ) as web:
                answers.update(_answered(web, driver))

        driver = UnderFault(
            Plan(
                jobs=bench.pick(200, 1_000, 5_000),
                kills=0,
                stalls=0,
                processes=WORKERS,
                threads=THREADS,
                seed=bench.random.randrange(1_000_000),
                lease_s=LEASE_S,
            ),
            server.observer_url,
            bench.folder,
            inject,
            duration_s=crowded_s,
            worker_url=server.url,
            environ=_SIZES,
        )
        report = driver.run()
    require_sound(report)
    assert report.figures["jobs given back"] == 0, report.text()
    return (
        f"no connection left for {crowded_s} s: {answers[503]} requests got 503 with "
        f"Retry-After, then all {answers[200]} of {THREADS} threads over {POOL_SIZE} "
        f"connections were stored; {report.figures['acknowledged']} jobs, 0 lost, "
        "0 given back"
    )


@contextlib.contextmanager
def _crowd(server: Cluster) -> Iterator[int]:
    """Take every connection that is left for ordinary roles; yield how many."""
    taken = []
    try:
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                taken.append(psycopg2.connect(server.url))
        yield len(taken)
    finally:
        for each in taken:
            each.close()


def _refused(web: Program, for_s: float) -> Counter[int]:
    """Ask a server that gets no connection for so long."""
    ends_at = time.monotonic() + for_s
    found: Counter[int] = Counter()
    while time.monotonic() < ends_at:
        answer = _enqueue(web)
        found[answer.status] += 1
        assert answer.status == 503, answer
        assert int(answer.headers["Retry-After"]) > 0, answer
        threading.Event().wait(0.1)
    return found


def _answered(web: Program, driver: UnderFault) -> Counter[int]:
    """Ask with more clients at once than there are connections."""
    wait_until(lambda: _enqueue_and_note(web, driver) == 200, "there is one again")

    def ask() -> list[int]:
        return [_enqueue_and_note(web, driver) for _ in range(10)]

    found = Counter(status for each in run_together([ask] * THREADS) for status in each)
    assert set(found) == {200}, found
    return found


def _enqueue_and_note(web: Program, driver: UnderFault) -> int:
    answer = _enqueue(web)
    if answer.status == 200:
        driver.note(Ack(str(answer.json())))
    return answer.status


def _enqueue(web: Program) -> Answer:
    job = {"kind": KIND, "payload": {"number": 0, "sleep_ms": 1}}
    return send(web.port(), post_json("/jobs/enqueue", job))
