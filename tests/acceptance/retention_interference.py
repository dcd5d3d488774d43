"""Measures how long others wait while retention deletes very many jobs.

Run it with ``python -m tests.acceptance.retention_interference --backend both``. Of
1,000,000 finished jobs, 24 passes delete one part each, as hourly passes would of a
day's jobs. The worker process that sweeps drains a queue at the same time, into which
a thread and another process enqueue single jobs. Enqueue and pickup are compared with
the same time without a pass; the exit status is 1 when a 99th percentile is more than
twice as long.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flask_forge_jobs import open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import SECOND_US
from tests.acceptance.bulk_interference import CLOCK, LIVE, MS, Producers, percentile
from tests.acceptance.driving import drive
from tests.support.processes import start_python
from tests.support.sql import Sql

LIMIT = 2.0
DAY_S = 86_400
KEPT_DAYS, GONE_DAYS = 100, 7
BASELINE_S = 20.0
BETWEEN_PASSES_S = 0.5

_WORKER = f"""
from flask_forge_jobs import ForgeJobs, QueueRuntime

forge = ForgeJobs()

@forge.task
def noop():
    pass

handle = QueueRuntime(storage, forge.registry).with_queues([{LIVE!r}]).start()
print("ready", flush=True)
while sys.stdin.readline() == "sweep\\n":
    print(storage.retention.sweep(gently=True).done_deleted, flush=True)
handle.shutdown_graceful(10)
storage.close()
"""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long something took, in seconds, with and without a pass beside it."""

    name: str
    alone: Sequence[float]
    beside: Sequence[float]

    @property
    def ratio(self) -> float:
        """The 99th percentile beside a pass, as a multiple of that without one."""
        return percentile(self.beside, 0.99) / percentile(self.alone, 0.99)

    def text(self) -> str:
        """Return a line of the table."""
        p50s = (
            statistics.median(samples) * MS for samples in (self.alone, self.beside)
        )
        p99s = (percentile(each, 0.99) * MS for each in (self.alone, self.beside))
        figures = "".join(f"{figure:>8.2f}" for figure in (*p50s, *p99s))
        word = "met" if self.ratio <= LIMIT else "MISSED"
        return (
            f"{self.name:<28}{len(self.alone):>7}{len(self.beside):>7}{figures}"
            f"{self.ratio:>7.2f}  {word}"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it."""

    backend: str
    deleted: Sequence[int]
    took_s: Sequence[float]
    waits: Sequence[Waits]

    @property
    def is_met(self) -> bool:
        """Whether nobody waited too long."""
        return all(each.ratio <= LIMIT for each in self.waits)

    def text(self) -> str:
        """Return the table."""
        title = (
            f"{self.backend}: {len(self.deleted)} passes deleted {sum(self.deleted):,} "
            f"jobs in {sum(self.took_s):.1f} s, the longest in {max(self.took_s):.1f} s"
        )
        head = (
            f"{'in ms':<28}{'alone':>7}{'beside':>7}{'p50':>8}{'p50':>8}{'p99':>8}"
            f"{'p99':>8}{'ratio':>7}"
        )
        return "\n".join([title, head, *(each.text() for each in self.waits)])


class Worker:
    """A worker process that drains the live queue, and sweeps when it is told to."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._process = start_python(settings, _WORKER)
        assert self._ask("") == "ready"

    def sweep(self) -> int:
        """Return how many jobs were deleted."""
        return int(self._ask("sweep\n"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it."""
        output, errors = self._process.communicate("stop\n", timeout=60)
        assert self._process.returncode == 0, output + errors


@contextlib.contextmanager
def working(settings: DatabaseSettings) -> Iterator[Worker]:
    """Run the worker."""
    worker = Worker(settings)
    try:
        yield worker
    finally:
        worker.stop()


def measure(
    database_url: str, *, rows: int, passes: int, baseline_s: float = BASELINE_S
) -> Report:
    """Fill an empty database, and sweep it while others work.

    Args:
        database_url: The database.
        rows: How many finished jobs to fill in.
        passes: In how many passes to delete them.
        baseline_s: For how many seconds to measure without a pass.
    """
    settings, pause = DatabaseSettings.from_url(database_url), threading.Event()
    sql = Sql(settings)
    deleted: list[int] = []
    spans: list[tuple[int, int]] = []
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
        storage.queues.ensure(LIVE)
        for number in range(passes):
            name = f"hour-{number:02}"
            storage.queues.ensure(name)
            storage.queues.change(
                name,
                {"retain_done_for_days": KEPT_DAYS, "retain_dead_for_days": KEPT_DAYS},
            )
            sql.seed(rows // passes, status="done", queue_name=name, prefix=name)
        sql.age((GONE_DAYS + 1) * DAY_S)
        with working(settings) as worker:
            producers = Producers(settings, storage)
            try:
                begin = CLOCK.now_us()
                pause.wait(baseline_s)
                alone = (begin, CLOCK.now_us())
                for number in range(passes):
                    # Only now are the jobs of this queue too old.
                    storage.queues.change(
                        f"hour-{number:02}",
                        {
                            "retain_done_for_days": GONE_DAYS,
                            "retain_dead_for_days": GONE_DAYS,
                        },
                    )
                    begin = CLOCK.now_us()
                    deleted.append(worker.sweep())
                    spans.append((begin, CLOCK.now_us()))
                    pause.wait(BETWEEN_PASSES_S)
            finally:
                producers.stop()
    waits = [*_enqueues(producers, alone, spans), _pickups(sql, alone, spans)]
    for each in waits:
        if not each.alone or not each.beside:
            raise RuntimeError(f"{each.name}: nothing was measured")
    took_s = [(end - begin) / SECOND_US for begin, end in spans]
    return Report(settings.backend, deleted, took_s, waits)


def _enqueues(
    producers: Producers, alone: tuple[int, int], spans: Sequence[tuple[int, int]]
) -> Iterator[Waits]:
    for who, samples in producers.between(*alone).items():
        beside = [took for span in spans for took in producers.between(*span)[who]]
        yield Waits(f"enqueue, {who}", samples, beside)


def _pickups(
    sql: Sql, alone: tuple[int, int], spans: Sequence[tuple[int, int]]
) -> Waits:
    rows = sql.run(
        "SELECT enqueued_at, started_at - enqueued_at FROM forge_job "
        "WHERE queue_name = ? AND started_at IS NOT NULL",
        LIVE,
    )

    def within(*wanted: tuple[int, int]) -> list[float]:
        return [
            took_us / SECOND_US
            for at, took_us in rows
            if any(begin <= at < end for begin, end in wanted)
        ]

    return Waits("pickup", within(alone), within(*spans))


def main() -> int:
    """Run the driver from the command line."""
    numbers = {"rows": 1_000_000, "passes": 24}
    return drive("retention", __doc__, numbers, _run)


def _run(url: str, _folder: Path, /, *, rows: int, passes: int) -> tuple[str, bool]:
    report = measure(url, rows=rows, passes=passes)
    return report.text(), report.is_met


if __name__ == "__main__":
    sys.exit(main())
