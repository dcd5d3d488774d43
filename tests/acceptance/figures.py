"""Measures that figures equal the rows when workers are killed on the way.

Real worker processes run jobs of known durations; some are killed with SIGKILL and the
others take over. What the metrics count as completed may then differ from the rows by
what the killed ones had counted in two seconds and not yet stored, and percentiles of
the merged histograms are compared with the exact ones.

Run it with ``python -m tests.acceptance.figures --backend both``. It prints its seed
and a table with verdicts; the exit status is 1 when a limit is missed.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.histograms import CHARTED, Histogram
from flask_forge_jobs.model.instants import DAY_US, SECOND_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import LEVELS, Tally, Window
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.flusher import PERIOD_S
from tests.acceptance.application import ENDED, KIND, STARTED
from tests.acceptance.driving import drive, numbers_of
from tests.acceptance.evidence import final_rows
from tests.acceptance.fleet import Fleet, started
from tests.acceptance.ledger import Kill, Run, read_ledger
from tests.support.sql import Sql
from tests.support.waiting import wait_until

BULK = 5000
DRAIN_LIMIT_S = 900.0
LARGEST_ERROR = 0.02
# Two seconds lie between two writes, so beside them a process that is killed within a
# write loses what came during this one and the one before.
WRITES_S = 0.5
# Maintained by the store, so that looking does not disturb.
_DONE = "SELECT COALESCE(SUM(jobs), 0) FROM forge_job_count WHERE status = 'done'"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run of the driver does.

    Args:
        jobs: Jobs to store and run.
        processes: Workers that run at once; a killed one is not replaced.
        kills: Workers that are killed, one after the other.
        threads: Threads of each.
        least_ms: Shortest job; the durations are evenly spread.
        most_ms: Longest job.
        seed: Of the victims.
        lease_s: ``FORGE_JOBS_LEASE_S`` of the workers, in seconds.
        slack_us: By how much a run may be longer than its task sees it, beside the 2 %:
            the worker's clock runs from just before the call until just after it.
    """

    jobs: int = 100_000
    processes: int = 4
    kills: int = 2
    threads: int = 16
    least_ms: int = 30
    most_ms: int = 70
    seed: int = 0
    lease_s: float = 3.0
    slack_us: int = 200

    def payloads(self) -> Iterator[str]:
        """Yield what each job carries."""
        durations = self.most_ms - self.least_ms + 1
        for number in range(self.jobs):
            sleep_ms = self.least_ms + number % durations
            yield dump({"number": number, "sleep_ms": sleep_ms})


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile, exact and merged, in microseconds.

    Args:
        name: Of what.
        exact_us: That of all jobs.
        least_us: The exact one if the longest of the missing jobs were not counted.
        most_us: The exact one if the shortest of the missing jobs were not counted.
        merged_us: That of the merged histograms.
        slack_us: As in the plan.
    """

    name: str
    exact_us: float
    least_us: float
    most_us: float
    merged_us: float
    slack_us: int

    @property
    def error(self) -> float:
        """By which part of itself the exact one is missed."""
        return self.merged_us / self.exact_us - 1

    @property
    def is_met(self) -> bool:
        """Whether it is within 2 % of what the counted jobs can have had."""
        least_us = (1 - LARGEST_ERROR) * self.least_us
        most_us = (1 + LARGEST_ERROR) * (self.most_us + self.slack_us)
        return least_us <= self.merged_us <= most_us

    def text(self) -> str:
        """Return it as a line of the table."""
        return (
            f"{self.name:<12}{self.exact_us / 1000:>14,.1f}"
            f"{self.merged_us / 1000:>14,.1f}{self.error:>+9.2%}  "
            f"{'met' if self.is_met else 'MISSED'}"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    Args:
        title: The backend, the plan and the state of the machine.
        rows: Completed jobs by the rows.
        enqueued: New jobs by the metrics.
        missing: Completed jobs that the metrics lack, by level of the buckets.
        held: Jobs that the killed processes completed in their last two seconds.
        held_writing: The same, with the time of two writes.
        percentiles: Of the run and the total times.
        complaints: What went wrong otherwise.
    """

    title: str
    rows: int
    enqueued: int
    missing: dict[int, int]
    held: int
    held_writing: int
    percentiles: list[Percentile]
    complaints: list[str]

    @property
    def is_counted(self) -> bool:
        """Whether nothing is missing but what killed processes held."""
        return self.enqueued == self.rows and all(
            0 <= missing <= self.held_writing for missing in self.missing.values()
        )

    @property
    def is_met(self) -> bool:
        """Whether all limits are met."""
        are_near = all(each.is_met for each in self.percentiles)
        return self.is_counted and are_near and not self.complaints

    def text(self) -> str:
        """Return the table."""
        missing = ", ".join(f"{level} s {n}" for level, n in self.missing.items())
        longer_s = PERIOD_S + WRITES_S
        held = f"in {PERIOD_S:g} s {self.held}, {longer_s:g} s {self.held_writing}"
        verdict = "met" if self.is_counted else "MISSED"
        return "\n".join(
            [
                self.title,
                f"completed {self.rows:,}, counted as enqueued {self.enqueued:,}",
                f"not counted as completed, by level: {missing}",
                f"completed by the killed at last, {held}  {verdict}",
                f"{'':<12}{'exact, ms':>14}{'merged, ms':>14}{'error':>9}",
                *[each.text() for each in self.percentiles],
                *self.complaints,
            ]
        )


class Driver:
    """One run against one empty database."""

    def __init__(self, plan: Plan, database_url: str, folder: Path) -> None:
        self._plan = plan
        self._settings = DatabaseSettings.from_url(database_url)
        self._sql = Sql(self._settings)
        self._random = random.Random(plan.seed)
        self._fleet = Fleet(
            database_url, folder, self._sql, threads=plan.threads, lease_s=plan.lease_s
        )

    def run(self) -> Report:
        """Do it."""
        began_at = time.monotonic()
        with contextlib.closing(open_storage(self._settings)) as storage:
            self._fill(storage)
            with started(self._fleet, self._plan.processes):
                kills = self._kill_on_the_way()
                self._wait_for(self._plan.jobs)
                complaints = self._fleet.stop()
            storage.flusher.flush()
            tallies = {level: _counted(storage, level) for level in LEVELS}
        return self._report(tallies, kills, complaints, time.monotonic() - began_at)

    def _fill(self, storage: Storage) -> None:
        payloads = list(self._plan.payloads())
        for first in range(0, len(payloads), BULK):
            part = payloads[first : first + BULK]
            storage.jobs.enqueue_many([NewJob(KIND, payload) for payload in part])

    def _kill_on_the_way(self) -> list[Kill]:
        kills: list[Kill] = []
        for number in range(1, self._plan.kills + 1):
            self._wait_for(self._plan.jobs * number // (self._plan.kills + 1))
            kills += self._fleet.kill(self._random)
        return kills

    def _wait_for(self, done: int) -> None:
        wait_until(
            lambda: int(self._sql.value(_DONE)) >= done, f"{done} done", DRAIN_LIMIT_S
        )

    def _report(
        self,
        tallies: dict[int, Tally],
        kills: Sequence[Kill],
        complaints: list[str],
        elapsed_s: float,
    ) -> Report:
        rows = final_rows(self._sql, monotonic_offset_ns=_offset_ns())
        done = {(row.job_id, row.result_attempt or 0) for row in rows}
        tally = tallies[LEVELS[0]]
        times = _times(self._fleet.ledger, done)
        enqueued = dict(self._sql.run("SELECT id, enqueued_at FROM forge_job"))
        totals = [
            (ended_ns - _offset_ns()) / 1000 - enqueued[job_id]
            for (job_id, _), (_, ended_ns) in times.items()
        ]
        runs = [(ended_ns - began_ns) / 1000 for began_ns, ended_ns in times.values()]
        missing = {level: len(rows) - each.completed for level, each in tallies.items()}
        if tally.dead or any(row.status != "done" for row in rows):
            complaints.append("jobs have failed")
        return Report(
            title=self._title(elapsed_s, len(kills)),
            rows=len(rows),
            enqueued=tally.enqueued,
            missing=missing,
            held=self._held(kills, PERIOD_S),
            held_writing=self._held(kills, PERIOD_S + WRITES_S),
            percentiles=[
                *self._percentiles("run", runs, tally.run),
                *self._percentiles("total", totals, tally.total),
            ],
            complaints=complaints,
        )

    def _title(self, elapsed_s: float, kills: int) -> str:
        plan = self._plan
        return (
            f"{self._settings.backend}: {plan.jobs:,} jobs of {plan.least_ms} to "
            f"{plan.most_ms} ms, {plan.processes} processes of {plan.threads} threads, "
            f"{kills} killed, seed {plan.seed}; {elapsed_s:.0f} s, "
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )

    def _held(self, kills: Iterable[Kill], seconds: float) -> int:
        """Return how many jobs killed processes completed in their last seconds."""
        found = 0
        for kill in kills:
            killed_us = (kill.at_ns - _offset_ns()) // 1000
            rows = self._sql.run(
                "SELECT result FROM forge_job WHERE completed_at BETWEEN ? AND ?",
                killed_us - int(seconds * SECOND_US),
                killed_us,
            )
            found += sum(f'"{kill.worker_id}"' in result for (result,) in rows)
        return found

    def _percentiles(
        self, word: str, values_us: Iterable[float], merged: Histogram
    ) -> list[Percentile]:
        ordered = sorted(values_us)
        counted = merged.count
        missing = max(len(ordered) - counted, 0)

        def at_rank(rank: int) -> float:
            return ordered[min(max(rank, 1), len(ordered)) - 1]

        def one(percent: float, merged_us: float) -> Percentile:
            rank = math.ceil(percent * counted / 100)
            return Percentile(
                f"{word} p{percent:g}",
                exact_us=at_rank(math.ceil(percent * len(ordered) / 100)),
                least_us=at_rank(rank),
                most_us=at_rank(rank + missing),
                merged_us=merged_us,
                slack_us=self._plan.slack_us,
            )

        return list(map(one, CHARTED, merged.percentiles(*CHARTED)))


def _offset_ns() -> int:
    """Return monotonic minus wall-clock time of this machine."""
    return time.monotonic_ns() - time.time_ns()


def _counted(storage: Storage, level: int) -> Tally:
    now_us = time.time_ns() // 1000
    days = Window(now_us - 2 * DAY_US, 4 * DAY_US, 1)
    return storage.metrics.timelines(days, level, [""])[""][0]


def _times(ledger: Path, done: set[Run]) -> dict[Run, tuple[int, int]]:
    """Return when the runs that count began and ended, in monotonic nanoseconds."""
    began: dict[Run, int] = {}
    times: dict[Run, tuple[int, int]] = {}
    for line in read_ledger(ledger):
        if line.event == STARTED:
            began[line.run] = line.at_ns
        elif line.event == ENDED and line.run in done:
            times[line.run] = began[line.run], line.at_ns
    return times


def main() -> int:
    """Run the driver from the command line."""
    return drive("figures", __doc__, numbers_of(Plan), _run)


def _run(url: str, folder: Path, /, **options: Any) -> tuple[str, bool]:
    report = Driver(Plan(**options), url, folder).run()
    return report.text(), report.is_met


if __name__ == "__main__":
    sys.exit(main())
