"""Fires schedules from processes with wrong clocks whose leaders are stopped.

Eight workers whose clocks are up to two seconds wrong fire schedules that are due every
second. Whoever leads is stopped for longer than its lease and goes on when another one
leads (E2, E4 of the matrix). In the end each schedule must have one job for each second
of the run, no second left out and none twice (I10).

Run it with ``python -m tests.acceptance.firing --backend both``: 10,000 firings each.
``--handovers 50`` goes on until there were so many. The exit status is 1 when an
instant was left out or fired twice, or a program complained.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flask_forge_jobs import Storage, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US, to_micros
from flask_forge_jobs.runtime.duties.leader import LEADER_LEASE, LEADER_LEASE_S
from tests.acceptance.application import SKEW_VARIABLE
from tests.acceptance.driving import drive, numbers_of
from tests.acceptance.fleet import Fleet, Worker, started
from tests.support.sql import Sql
from tests.support.waiting import wait_until

# Nobody serves it: what is checked is which jobs there are.
QUEUE = "firings"
STOP_SLACK_S = 3.0
RUN_LIMIT_S = 3600.0
END_LIMIT_S = 60.0
# How far the schedules may be apart when they are ended: one look of a busy process.
MAX_APART = 90


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does.

    Args:
        firings: How many there must be at least, of all schedules together.
        schedules: How many schedules are due every second.
        processes: Worker processes.
        skew_s: The clocks are wrong by this much at most, evenly spread.
        handovers: How often the leader is stopped.
    """

    firings: int = 10_000
    schedules: int = 50
    processes: int = 8
    skew_s: float = 2.0
    handovers: int = 8

    def skews_s(self) -> list[float]:
        """Return how wrong each clock is."""
        steps = max(self.processes - 1, 1)
        return [
            self.skew_s * (2 * number / steps - 1) for number in range(self.processes)
        ]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it; ``faults`` is empty when all is well."""

    figures: Mapping[str, object]
    faults: list[str]

    def text(self) -> str:
        """Return figures and faults."""
        lines = [f"{name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(self.faults or ["every instant once"])])


def faults_of(
    first_us: Mapping[str, int], fired: Iterable[tuple[str, int]]
) -> Iterator[str]:
    """Check the firings of schedules that are due every second.

    Args:
        first_us: The first instant of each schedule.
        fired: Schedule and instant of each job.
    """
    instants: dict[str, Counter[int]] = {name: Counter() for name in first_us}
    for name, instant_us in fired:
        instants[name][instant_us] += 1
    for name, counted in instants.items():
        for instant_us, count in counted.items():
            if count > 1:
                yield f"{name} fired {count} times for {instant_us}"
        if not counted:
            yield f"{name} never fired"
            continue
        wanted = range(first_us[name], max(counted) + 1, SECOND_US)
        yield from (f"{name} left out {us}" for us in wanted if us not in counted)
        yield from (
            f"{name} fired for {us}, which is no instant of it"
            for us in counted
            if us not in wanted
        )
    lengths = [counted.total() for counted in instants.values()]
    if max(lengths) - min(lengths) > MAX_APART:
        yield f"some schedules fired {max(lengths)} times, some {min(lengths)}"


class Driver:
    """One run against one empty database."""

    def __init__(self, plan: Plan, database_url: str, folder: Path) -> None:
        self._plan = plan
        self._settings = DatabaseSettings.from_url(database_url)
        self._sql = Sql(self._settings)
        self._fleet = Fleet(database_url, folder, self._sql, threads=1, lease_s=60.0)
        self._leaders: list[str] = []

    def run(self) -> Report:
        """Do it."""
        began_at = time.monotonic()
        with (
            contextlib.closing(open_storage(self._settings)) as storage,
            started(self._fleet, 0),
        ):
            storage.open()
            for skew_s in self._plan.skews_s():
                self._fleet.start(**{SKEW_VARIABLE: str(skew_s)})
            self._wait_for_the_fleet()
            first_us = self._create(storage)
            for _ in range(self._plan.handovers):
                self._hand_over()
            wait_until(self._has_enough, "there are enough firings", RUN_LIMIT_S)
            self._end()
            complaints = self._fleet.stop()
        return self._report(first_us, complaints, time.monotonic() - began_at)

    def _wait_for_the_fleet(self) -> None:
        wait_until(
            lambda: (
                self._sql.value(
                    "SELECT COUNT(*) FROM forge_worker WHERE lost_at IS NULL"
                )
                == self._plan.processes
            ),
            "every worker is registered",
        )

    def _create(self, storage: Storage) -> dict[str, int]:
        first_us = {}
        for number in range(self._plan.schedules):
            definition = ScheduleDefinition(
                f"s{number:03}", "tick", "* * * * * *", queue_name=QUEUE,
                catch_up="all", catch_up_limit=1000,
            )  # fmt: skip
            next_fire_at = storage.cron.create(definition).next_fire_at
            assert next_fire_at is not None
            first_us[definition.name] = to_micros(next_fire_at)
        return first_us

    def _hand_over(self) -> None:
        """Stop the leader, wait for another one, let it go on."""
        worker_id, worker = self._leader()
        self._fleet.pause(worker)
        try:
            wait_until(
                lambda: self._holder() not in (None, worker_id),
                "another process leads",
                LEADER_LEASE_S + 30,
            )
            # The others have the lease now; the stopped one does not know it.
            threading.Event().wait(STOP_SLACK_S)
        finally:
            self._fleet.resume(worker)
        self._leaders.append(worker_id)

    def _leader(self) -> tuple[str, Worker]:
        found: list[tuple[str, Worker]] = []

        def is_there() -> bool:
            worker_id = self._holder()
            worker = self._fleet.find(worker_id) if worker_id else None
            if worker_id and worker:
                found.append((worker_id, worker))
            return bool(found)

        wait_until(is_there, "a process leads")
        return found[-1]

    def _holder(self) -> str | None:
        rows = self._sql.run(
            "SELECT holder FROM forge_lease WHERE name = ? AND expires_at > ?",
            LEADER_LEASE,
            # By the clock of a process that may be wrong, on SQLite.
            self._sql.now_us() - int(self._plan.skew_s * SECOND_US),
        )
        return rows[0][0] if rows else None

    def _has_enough(self) -> bool:
        counted = self._sql.value("SELECT COUNT(*) FROM forge_job")
        return int(counted) >= self._plan.firings

    def _end(self) -> None:
        self._sql.run("UPDATE forge_cron SET enabled = FALSE, next_fire_at = NULL")

    def _report(
        self, first_us: Mapping[str, int], complaints: list[str], elapsed_s: float
    ) -> Report:
        fired = [
            (str(name), int(instant_us))
            for name, instant_us in self._sql.run(
                "SELECT schedule_name, fire_at FROM forge_job"
            )
        ]
        figures = {
            "backend": self._settings.backend,
            **asdict(self._plan),
            "fired": len(fired),
            "leaders that were stopped": len(self._leaders),
            "of them different ones": len(set(self._leaders)),
            "latest firing": f"{self._latest_s():.1f} s late",
            "elapsed": f"{elapsed_s:.0f} s",
        }
        return Report(figures, [*complaints, *faults_of(first_us, fired)])

    def _latest_s(self) -> float:
        return (
            float(self._sql.value("SELECT MAX(enqueued_at - fire_at) FROM forge_job"))
            / SECOND_US
        )


def main() -> int:
    """Run the driver from the command line."""
    return drive("firing", __doc__, numbers_of(Plan), _run)


def _run(url: str, folder: Path, /, **options: Any) -> tuple[str, bool]:
    report = Driver(Plan(**options), url, folder).run()
    return report.text(), not report.faults


if __name__ == "__main__":
    sys.exit(main())
