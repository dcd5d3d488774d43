"""One backend's soak: a fleet, a server, a load, and what came of them."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from flask import Flask

from flask_forge_jobs import ForgeJobs, Storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.runtime.plan import DEFAULT_LEASE_S
from tests.acceptance.application import LEDGER_VARIABLE
from tests.acceptance.fleet import Fleet, Worker
from tests.acceptance.ledger import Kill
from tests.acceptance.serving import serving
from tests.acceptance.soak.load import REQUESTS_A_S as REQUESTS
from tests.acceptance.soak.load import TICK_S, Acks, Clients, Loop, Producer
from tests.acceptance.soak.pace import Pace
from tests.acceptance.soak.probes import Drift, MachineTime, Sample, look_at
from tests.acceptance.soak.watch import STUCK_S, Watch
from tests.acceptance.soak.windows import Window, complaints_of, text_of, windows_of
from tests.support.programs import Program
from tests.support.sql import UNDER_TEST, Sql
from tests.support.waiting import wait_until

MINUTE_S = 60.0
SAMPLE_EVERY_S = 10.0
# Often, because a look deletes what has ended: the jobs of a minute hold SQLite up for
# so long that p99 tells of little else.
LOOK_EVERY_S = 1.0
# Two workers that live long and two small ones that die. The mix keeps a sixth of the
# slots busy: what a job waits for is the queue, not a slot.
LASTING, LASTING_THREADS = 2, 24
MORTAL, MORTAL_THREADS = 2, 8
MAX_MIB_AN_HOUR = 1.0
SERVER = ("--workers=1", "--worker-class=gthread", "--threads=4")
# As docs/howto/deploy.rst asks: with a heap for each thread memory settles late.
AS_DEPLOYED = {"MALLOC_ARENA_MAX": "2"}
_IDLE_IN_TRANSACTION = (
    f"SELECT COUNT(*) FROM pg_stat_activity WHERE {UNDER_TEST} AND "
    "state LIKE 'idle in transaction%' AND state_change < now() - interval '5 s'"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one soak does.

    Args:
        minutes: How long the load lasts.
        warm_up: Minutes after which processes are measured and times compared.
        window: Minutes whose percentile is one number; each has as many kills.
        rate: Jobs a second to begin with, on each backend.
        load: Share of all processors to keep busy, by everything on the machine; the
            rate follows it. With 0 the rate stays.
        kill_every_s: Seconds between two kills.
        seed: Of everything random here.
    """

    minutes: float = 90.0
    warm_up: float = 10.0
    window: float = 1.0
    rate: float = 300.0
    load: float = 0.7
    kill_every_s: float = MINUTE_S
    seed: int = 0


class Soak:
    """One soak of one empty database."""

    def __init__(
        self, plan: Plan, url: str, folder: Path, pace: Pace | None = None
    ) -> None:
        self._plan = plan
        self._pace = pace or Pace(plan.rate)
        self._url = url
        self._folder = folder
        self._settings = DatabaseSettings.from_url(url)
        self._sql = Sql(self._settings)
        self._random = random.Random(plan.seed)
        self._acks = Acks()
        self._kills: list[Kill] = []
        self._samples: dict[str, tuple[int, list[Sample]]] = {}
        self._largest: Counter[str] = Counter()
        self._complaints: Counter[str] = Counter()
        self._busy_share = 0.0
        self._app = Flask("soak")
        self._app.config["FORGE_JOBS_DATABASE_URL"] = url
        self._app.testing = True
        self._forge = ForgeJobs(self._app)
        self._fleet = Fleet(
            url,
            folder,
            self._sql,
            threads=MORTAL_THREADS,
            lease_s=DEFAULT_LEASE_S,
            environ=AS_DEPLOYED,
        )

    def run(self) -> tuple[str, bool]:
        """Do it; return a report, and whether every promise was kept."""
        with self._app.app_context():
            storage = self._forge.storage
        storage.open()
        watch = Watch(storage, self._sql, self._acks, self._kills)
        with (
            contextlib.closing(storage),
            contextlib.ExitStack() as stack,
            serving(self._url, self._folder, *SERVER, **AS_DEPLOYED) as server,
        ):
            stack.callback(self._fleet.destroy)
            stack.callback(self._keep_text, server)
            lasting = [self._start(LASTING_THREADS) for _ in range(LASTING)]
            for _ in range(MORTAL):
                self._start(MORTAL_THREADS)
            clients = Clients(server.port(), self._acks)
            self._samples = {
                worker.name: (worker.process.pid, []) for worker in lasting
            }
            self._samples["server"] = (_only_child(server.process.pid), [])
            machine = MachineTime()
            with self._loaded(storage, clients):
                self._wait(watch, lasting)
            self._busy_share = machine.busy_share()
            wait_until(lambda: self._all_ended(watch), "every job has ended", STUCK_S)
            self._complaints.update(self._fleet.stop())
        return self._report(watch, clients)

    def _keep_text(self, server: Program) -> None:
        """Write down what the server has said, such as the cause of a 500."""
        (self._folder / "server.log").write_text(server.text, "utf-8")

    def _start(self, threads: int) -> Worker:
        """Start a worker; its ledger, a line for each run, is not kept."""
        return self._fleet.start(
            f"--threads={threads}", **{LEDGER_VARIABLE: os.devnull}
        )

    @contextlib.contextmanager
    def _loaded(self, storage: Storage, clients: Clients) -> Iterator[None]:
        source = random.Random(self._plan.seed + 1)
        producer = Producer(storage, self._pace, self._acks, source)
        loops = [
            Loop("producer", TICK_S, producer.turn),
            Loop("clients", 1 / REQUESTS, clients.turn),
        ]
        for loop in loops:
            loop.start()
        try:
            yield
        finally:
            for loop in loops:
                loop.stop()
                self._complaints.update(loop.errors)

    def _wait(self, watch: Watch, lasting: list[Worker]) -> None:
        """Kill, look and measure until the time is over."""
        began_at = time.monotonic()
        ends_at = began_at + self._plan.minutes * MINUTE_S
        turns = {
            self._kill: self._plan.kill_every_s,
            watch.look: min(LOOK_EVERY_S, self._plan.window * MINUTE_S / 2),
            self._sample: SAMPLE_EVERY_S,
        }
        due_at = {turn: began_at + period_s for turn, period_s in turns.items()}
        due_at[self._sample] += self._plan.warm_up * MINUTE_S
        pause = threading.Event()
        while (now := min(due_at.values())) < ends_at:
            pause.wait(max(now - time.monotonic(), 0.0))
            turn = min(due_at, key=lambda each: due_at[each])
            due_at[turn] += turns[turn]
            turn()
        pause.wait(max(ends_at - time.monotonic(), 0.0))
        for worker in lasting:
            if worker.process.poll() is not None:
                self._complaints[f"worker {worker.name} ended by itself"] += 1

    def _kill(self) -> None:
        lasting = {pid for pid, _ in self._samples.values()}
        mortal = [
            worker
            for worker in self._fleet.workers
            if worker.process.pid not in lasting
        ]
        victim = self._random.choice(mortal)
        if victim.process.poll() is not None:
            self._complaints[f"worker {victim.name} ended by itself"] += 1
        self._kills.append(self._fleet.kill_one(victim))
        self._start(MORTAL_THREADS)

    def _sample(self) -> None:
        now = time.monotonic()
        for pid, samples in self._samples.values():
            with contextlib.suppress(FileNotFoundError):
                samples.append(look_at(pid, now))
        for name, number in self._sizes().items():
            self._largest[name] = max(self._largest[name], number)

    def _sizes(self) -> dict[str, int]:
        if self._settings.path is None:
            return {
                "idle in transaction for 5 s": self._sql.value(_IDLE_IN_TRANSACTION),
                "sessions": self._sql.value(
                    f"SELECT COUNT(*) FROM pg_stat_activity WHERE {UNDER_TEST}"
                ),
                "database KiB": self._sql.value(
                    "SELECT pg_database_size(current_database()) / 1024"
                ),
            }
        log = Path(f"{self._settings.path}-wal")
        return {
            "database KiB": self._settings.path.stat().st_size // 1024,
            "log KiB": log.stat().st_size // 1024 if log.exists() else 0,
        }

    def _all_ended(self, watch: Watch) -> bool:
        watch.look(settled_s=0.0)
        return not self._acks.waiting

    def _report(self, watch: Watch, clients: Clients) -> tuple[str, bool]:
        windows = self._windows(watch)
        drifts = [Drift(name, some) for name, (_, some) in self._samples.items()]
        broken = self._complaints + watch.complaints
        for drift in drifts:
            broken.update(drift.complaints(MAX_MIB_AN_HOUR))
        if self._largest["idle in transaction for 5 s"]:
            broken["a session was idle in a transaction for 5 s"] += 1
        warm_up = round(self._plan.warm_up / self._plan.window)
        broken.update(complaints_of(windows, warm_up))
        sizes = ", ".join(f"{name} {most:,}" for name, most in self._largest.items())
        lines = [
            f"{self._settings.backend}: {asdict(self._plan)}",
            self._sum(watch),
            f"answers: {dict(clients.answers)}; at most: {sizes}",
            text_of(windows, warm_up),
            *(drift.text() for drift in drifts),
            *(f"BROKEN: {what} ({times} x)" for what, times in (+broken).items()),
        ]
        return "\n".join(lines), not +broken

    def _sum(self, watch: Watch) -> str:
        return (
            f"{self._acks.count:,} jobs acknowledged, "
            f"{watch.ended:,} done as they should, {len(self._kills)} kills, "
            f"{watch.crashed:,} jobs given back; the machine was "
            f"{self._busy_share:.0%} busy"
        )

    def _windows(self, watch: Watch) -> list[Window]:
        """Return each window that is whole."""
        plan = self._plan
        # Without a look in it a window has no numbers, which is complained of.
        whole = max(int(plan.minutes / plan.window), 1)
        pulses = self._pace.pulses
        return windows_of(watch.timed, pulses, plan.window * MINUTE_S, whole)


def _only_child(pid: int) -> int:
    """Return the worker process of a gunicorn that has one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: bool(children.read_text().split()), "gunicorn has a worker")
    return int(children.read_text().split()[0])
