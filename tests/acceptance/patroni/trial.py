"""One event, seen by all ways at once: each has its own database, API and workers."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.acceptance.application import LEDGER_VARIABLE
from tests.acceptance.checker import SECOND_NS, table
from tests.acceptance.failover.caller import Caller
from tests.acceptance.failover.clients import HttpClient
from tests.acceptance.failover.trial import (
    CLIENTS,
    SERVER,
    SERVER_PROCESSES,
    FailoverDriver,
    children_of,
)
from tests.acceptance.kill_workers import Driver, Plan
from tests.acceptance.ledger import Ack
from tests.acceptance.patroni.callers import (
    FIRST_ORDER,
    ORDERS,
    OrderCaller,
    SingleCaller,
)
from tests.acceptance.patroni.cluster import WAYS, PatroniCluster
from tests.acceptance.patroni.events import Event
from tests.acceptance.patroni.outcome import Outcome
from tests.acceptance.patroni.settings import PASSWORD
from tests.acceptance.patroni.watching import (
    BEATS,
    HEALTH,
    READY,
    Call,
    NodeWatch,
    WayWatch,
)
from tests.acceptance.serving import serving
from tests.support.programs import Program
from tests.support.waiting import wait_until

PROCESSES = 2
JOBS_A_SECOND = 5
PRODUCE_S = 40.0
# The lease of Patroni's time to live and more.
LEASE_S = 60.0
BEFORE_S, AFTER_S = 6.0, 8.0
BACK_LIMIT_S = 90.0
READY_LIMIT_S = 300.0
WATCH_LIMIT_S = 60.0


class Scene:
    """What uses the cluster by one way."""

    def __init__(
        self, cluster: PatroniCluster, way: str, event: Event, folder: Path, seed: int
    ) -> None:
        self.way = way
        self.is_ready = threading.Event()
        self.may_end = threading.Event()
        self.outcome = Outcome(event.name, way)
        self._cluster = cluster
        self._folder = folder
        self._random = random.Random(seed)
        self._database = f"t_{way}_{self._random.getrandbits(40):x}"
        # libpq tries the hosts in order, so the one that will be lost comes first.
        leader = cluster.leader()
        self.url = cluster.url(way, self._database, leader)
        # Of whoever looks on; a standby does not know the new database at once.
        self._direct_url = cluster.url("hosts", self._database, leader)
        self._thread = threading.Thread(target=self._run, name=way, daemon=True)

    def start(self) -> None:
        """Begin; ``is_ready`` is set when everything runs."""
        self._folder.mkdir(parents=True)
        self._cluster.create_database(self._database)
        with _connected(self._direct_url) as connection:
            connection.cursor().execute(f"{ORDERS}; {BEATS}")
            connection.commit()
        self._thread.start()

    def join(self) -> None:
        """Let it end and wait for that."""
        self.may_end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._use()
        except Exception as error:  # noqa: BLE001  # told with the outcome
            self.outcome.complaints.append(f"{type(error).__name__}: {error}")
        finally:
            self.is_ready.set()

    def _use(self) -> None:
        environ: dict[str, str] = {}
        ledger = {LEDGER_VARIABLE: str(self._folder / "ledger")}
        if self.way == "pgbouncer":
            past = self._cluster.url("haproxy", self._database)
            environ["FLASK_FORGE_JOBS_LISTEN_URL"] = past
        plan = Plan(
            jobs=int(JOBS_A_SECOND * PRODUCE_S), kills=0, stalls=0,
            processes=PROCESSES, seed=self._random.getrandbits(30), lease_s=LEASE_S,
        )  # fmt: skip
        settings = DatabaseSettings.from_url(self.url)
        with (
            contextlib.closing(open_storage(settings)) as storage,
            serving(self.url, self._folder, *SERVER, **environ, **ledger) as api,
        ):
            driver = FailoverDriver(
                plan, self._direct_url, self._folder,
                lambda found: self._inject(found, storage, api),
                duration_s=PRODUCE_S, worker_url=self.url, storage=storage,
                environ=environ,
            )  # fmt: skip
            report = driver.run()
            if not report.is_sound:
                self.outcome.complaints.append(table(report.verdicts))
            self._count(driver)
            (self._folder / "api.log").write_text(api.text)
        self._look_for_the_password()

    def _inject(self, driver: Driver, storage: Storage, api: Program) -> None:
        """Let everybody store and ask until the event is over."""
        assert isinstance(driver, FailoverDriver)
        port = api.port()
        wait_until(
            lambda: len(children_of(api)) == SERVER_PROCESSES, "the API is there"
        )
        source = random.Random(self._random.random())
        self.singles = SingleCaller("singles", storage, source)
        self.orders = OrderCaller("orders", storage, source, self.url)
        self.clients = [
            HttpClient(number, port, storage, random.Random(number))
            for number in range(1, CLIENTS + 1)
        ]
        self.watch = WayWatch(self.url, port)
        storing: list[SingleCaller | HttpClient] = [self.singles, *self.clients]
        everybody: list[Caller] = [*storing, self.orders]
        for each in everybody:
            each.start()
        wait_until(
            lambda: self.orders.orders > 0 and all(each.acks for each in storing),
            "everybody stores jobs",
        )
        self.watch.start()
        before = children_of(api)
        self.is_ready.set()
        self.may_end.wait()
        lives = [each.process.poll() is None for each in driver.fleet.workers]
        self.outcome.ended = lives.count(False) + len(before - children_of(api))
        self.watch.stop(WATCH_LIMIT_S)
        for each in everybody:
            each.finish()
            self.outcome.complaints += each.complaints
        driver.sql.end_session()
        for ack in self._acks(driver):
            driver.note(ack)

    def _acks(self, driver: Driver) -> Iterator[Ack]:
        yield from self.singles.acks
        for client in self.clients:
            yield from client.acks
        for (job_id,) in driver.sql.run("SELECT job_id FROM orders"):
            yield Ack(job_id)

    def _count(self, driver: FailoverDriver) -> None:
        outcome = self.outcome
        stored = outcome.count(driver.evidence, driver.sql)
        numbers = stored.values()
        outcome.untrue = len(self.singles.refused.intersection(numbers))
        orders = dict(driver.sql.run("SELECT number, job_id FROM orders"))
        of_orders = {number for number in numbers if number >= FIRST_ORDER}
        outcome.orders = len(orders)
        outcome.halves = len(of_orders ^ orders.keys())
        outcome.halves += sum(each not in stored for each in orders.values())
        outcome.unknown = self.singles.unknown + sum(
            client.statuses["unknown"] for client in self.clients
        )

    def _look_for_the_password(self) -> None:
        for path in self._folder.glob("*.log"):
            if PASSWORD in path.read_text("utf-8", "replace"):
                self.outcome.complaints.append(f"the password is in {path.name}")

    def time(self, failed_ns: int, promoted_ns: int | None) -> None:
        """Add how long everything took."""
        outcome, calls = self.outcome, self.singles.answers.calls
        way_ns = self.watch.back_ns(failed_ns)
        if promoted_ns is not None:
            outcome.promoted_s = (promoted_ns - failed_ns) / SECOND_NS
        if way_ns is not None:
            outcome.way_s = (way_ns - failed_ns) / SECOND_NS
            # HAProxy needs its checks; that is not our time.
            since_ns = max(way_ns, promoted_ns or 0)
            good = [
                ended for _, ended, is_good in calls if is_good and ended > since_ns
            ]
            outcome.first_s = (min(good) - since_ns) / SECOND_NS
        self.watch.save(self._folder / "watch.json", failed_ns)
        longest_ns = max(ended - began for began, ended, _ in calls)
        outcome.longest_s = longest_ns / SECOND_NS
        outcome.health_s = self.watch.longest_s(HEALTH, failed_ns)
        outcome.ready_s = self.watch.longest_s(READY, failed_ns)
        stored = [Call(*each) for each in calls]
        outcome.lies = len(self.watch.lies(stored))


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        yield connection


def run(
    cluster: PatroniCluster,
    event: Event,
    folder: Path,
    seed: int,
    ways: Sequence[str] = WAYS,
) -> list[Outcome]:
    """Let an event happen; return what was seen by each way."""
    cluster.wait_until_healthy()
    leader = cluster.leader()
    scenes = [Scene(cluster, way, event, folder / way, seed) for way in ways]
    nodes = NodeWatch(cluster)
    for scene in scenes:
        scene.start()
    for scene in scenes:
        scene.is_ready.wait(READY_LIMIT_S)
    if any(scene.outcome.complaints for scene in scenes):
        for scene in scenes:
            scene.join()
        return [scene.outcome for scene in scenes]
    nodes.start()
    pause = threading.Event()
    pause.wait(BEFORE_S)
    failed_ns = time.monotonic_ns()
    undo = event.act(cluster)
    with contextlib.suppress(TimeoutError):
        wait_until(
            lambda: all(scene.watch.is_back(failed_ns) for scene in scenes),
            "all ways are back",
            BACK_LIMIT_S,
        )
    pause.wait(AFTER_S)
    undo()
    cluster.wait_until_healthy()
    nodes.stop()
    for scene in scenes:
        scene.join()
    promoted_ns = nodes.promotion_ns(failed_ns, leader) if event.promotes else None
    for scene in scenes:
        if event.promotes and promoted_ns is None:
            scene.outcome.complaints.append("no other node took over")
        scene.time(failed_ns, promoted_ns)
    return [scene.outcome for scene in scenes]
