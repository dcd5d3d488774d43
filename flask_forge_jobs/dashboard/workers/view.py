"""Workers with their slots as squares, lost ones, and queues that nobody serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.queue_rows import QueueState, ahead, state_of
from flask_forge_jobs.dashboard.reads import Part, Reads, is_refresh, kept_s, report_of
from flask_forge_jobs.dashboard.workers.rows import WorkerRow
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers import workers as handlers
from flask_forge_jobs.handlers.attention.queues import jobs_wait
from flask_forge_jobs.handlers.machines import Machines, machines
from flask_forge_jobs.handlers.queues import overview
from flask_forge_jobs.model.queues import QueueOverview
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.model.worker_details import WorkerState

PAGE_SIZE = 50
# Beyond, a worker is a line and no card.
MAX_CARDS = 24
# Of the table of workers and queues.
MAX_QUEUES = 30
# Workers sample their machine once a minute.
_USE_KEPT_S = 30.0
# Hours of the sparklines, and the buckets of each.
RANGES: Mapping[str, int] = {"1h": 1, "6h": 6, "24h": 24}
_SPARK_BUCKETS = 48
_LEAST_S = 60


def use_of(api: Api, hours: int) -> Machines:
    """Return the use of all machines in the last hours."""
    start = api.now - timedelta(hours=hours)
    width_s = max(hours * 3600 // _SPARK_BUCKETS, _LEAST_S)
    # A refresh that reads it, beside the workers and their jobs, has three statements.
    return machines(
        api.storage, start=start, end=api.now, bucket_secs=width_s, has_names=False
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for: a state, a queue, hosts, and a place in the list."""

    state: str | None = None
    queue: str | None = None
    hosts: tuple[str, ...] = ()
    cursor: str | None = None
    hours: int = 1

    @property
    def part(self) -> tuple[object, ...]:
        """Which workers are shown."""
        return self.state, self.queue, self.hosts, self.cursor

    @property
    def is_filtered(self) -> bool:
        """Whether the reader has chosen a part of the workers."""
        return any((self.state, self.queue, self.hosts))


class WorkersView:
    """The workers that the caller may see."""

    def __init__(self, api: Api, choice: Choice) -> None:
        self._api = api
        self.choice = choice
        needed = ("queues", "machines") if is_refresh() else None
        # With the workers and the report of the frame, a refresh asks three times.
        self._reads = Reads(
            api.snapshots,
            ("workers", choice.hours),
            self._parts(),
            needed,
            max_renewed=1,
        )

    def _parts(self) -> Mapping[str, Part]:
        api, hours = self._api, self.choice.hours
        return {
            "queues": Part(lambda: overview(api.storage, only_live=True), kept_s()),
            "machines": Part(lambda: use_of(api, hours), _USE_KEPT_S),
        }

    @cached_property
    def page(self) -> handlers.WorkerPage:
        """The page of the list that the address asks for."""
        names = self._api.scope.names()
        choice = self.choice

        def read() -> handlers.WorkerPage:
            return handlers.list_workers(
                self._api.storage,
                names,
                queue=choice.queue,
                state=choice.state,
                hosts=choice.hosts,
                limit=PAGE_SIZE,
                cursor=choice.cursor,
            )

        key = "workers", *choice.part, names
        try:
            return self._api.snapshots.get(key, read, kept_s=kept_s())
        except InvalidInputError:
            # Such as a cursor of another filter.
            self.choice = Choice(hours=choice.hours)
            return handlers.list_workers(self._api.storage, names, limit=PAGE_SIZE)

    @cached_property
    def queues(self) -> Sequence[QueueOverview]:
        """The queues of the caller, with the slots of live workers."""
        every = cast("Sequence[QueueOverview]", self._reads["queues"])
        allows = self._api.scope.allows
        return [queue for queue in every if allows(queue.settings.name)]

    @cached_property
    def rows(self) -> Sequence[WorkerRow]:
        """The workers of the page that are live or late."""
        return [row for row in self._all if row.state is not WorkerState.LOST]

    @cached_property
    def lost(self) -> Sequence[WorkerRow]:
        """The lost workers of the page."""
        return [row for row in self._all if row.state is WorkerState.LOST]

    @property
    def late(self) -> Sequence[WorkerRow]:
        """The late workers of the page."""
        return [row for row in self.rows if row.state is WorkerState.LATE]

    @cached_property
    def _all(self) -> Sequence[WorkerRow]:
        rows = self.page.rows
        # A line in the place of a card has no sparkline.
        is_drawn = len(rows) <= MAX_CARDS and any(row.use for row in rows)
        machines = cast("Machines", self._reads["machines"]) if is_drawn else None
        history = machines.resources if machines else {}
        return [WorkerRow(row, history.get(row.worker.worker_id, ())) for row in rows]

    @property
    def draws_use(self) -> bool:
        """Whether a card has a sparkline, or had one in a shorter range."""
        has_one = self.choice.hours > 1 or any(row.cpu_spark for row in self.rows)
        return self.is_narrow and has_one

    @property
    def other_hosts(self) -> Sequence[str]:
        """The hosts of all workers, those that are chosen left out; none if alone."""
        hosts = self.page.hosts
        chosen = self.choice.hosts
        return [host for host in hosts if host not in chosen and len(hosts) > 1]

    @property
    def is_narrow(self) -> bool:
        """Whether there are few enough workers for cards."""
        return len(self.rows) <= MAX_CARDS and not self.page.next_cursor

    @property
    def headline(self) -> str:
        """The answer to: is capacity there?"""
        if not self.running:
            return "No worker is running"
        if self.choice.is_filtered and not self._all:
            return "No worker matches"
        busy, slots = self._busy
        claimed = self._evidence.get("counts", {}).get("in_progress", 0)
        more = ahead(claimed - busy, is_served=True)
        return ", ".join(
            filter(None, (self.running, f"{busy:,} of {slots:,} slots busy", more))
        )

    @property
    def running(self) -> str:
        """How many workers run, whatever the filter; empty for none."""
        number = self.page.counts.live + self.page.counts.late
        return count(number, "worker runs", "workers run") if number else ""

    @property
    def _busy(self) -> tuple[int, int]:
        """Running jobs and slots: those that are drawn, if that is all of them."""
        if not (self.choice.is_filtered or self.choice.cursor or self.page.next_cursor):
            details = [row.detail for row in self.rows]
            return (
                sum(each.busy_slots for each in details),
                sum(each.capacity for each in details),
            )
        busy, slots = (self._evidence.get(name, 0) for name in ("running", "capacity"))
        return cast("int", busy), cast("int", slots)

    @property
    def _evidence(self) -> Mapping[str, Any]:
        """The numbers of the bar at the top; none before the schema fits."""
        return report_of(self._api).summary.evidence

    @staticmethod
    def waits(queue: QueueOverview) -> str:
        """Return how many jobs of a queue wait."""
        return jobs_wait(queue.counts.pending, queue.counts.failed)

    @property
    def note(self) -> str:
        """How many workers need a look."""
        known = self.page.counts
        parts = [(known.lost, "lost"), (known.late, "late")]
        return ", ".join(f"{number:,} {word}" for number, word in parts if number)

    @cached_property
    def unserved(self) -> Sequence[QueueOverview]:
        """Queues with waiting jobs that no live worker serves, the most jobs first."""
        waiting = [queue for queue in self.without_worker if queue.counts.waiting]
        return sorted(waiting, key=lambda queue: -queue.counts.waiting)

    @property
    def idle(self) -> Sequence[str]:
        """Queues that no live worker serves, and that have nothing to run now."""
        idle = [each for each in self.without_worker if not each.counts.waiting]
        served = report_of(self._api).served
        paused = [each for each in self.queues if each.settings.paused]
        names = [each.settings.name for each in (*idle, *paused)]
        return [name for name in names if name not in served]

    @cached_property
    def without_worker(self) -> Sequence[QueueOverview]:
        """Queues that run jobs once a worker serves them, and that none serves."""
        now = self._api.now
        return [
            queue
            for queue in self.queues
            if state_of(queue, now) is QueueState.WITHOUT_WORKER
        ]

    @property
    def matrix(self) -> Sequence[QueueOverview]:
        """The queues of the table of who serves what; none if they are too many.

        There are mostly more queues than workers, so a queue is a row.
        """
        is_small = self.is_narrow and len(self.queues) <= MAX_QUEUES
        return self.queues if is_small and self.rows else ()
