"""Workers with their slots as squares, lost ones, and queues that nobody serves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import cast

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.small import Spark, spark
from flask_forge_jobs.dashboard.queue_rows import QueueState, state_of
from flask_forge_jobs.dashboard.reads import Part, Reads
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers import workers as handlers
from flask_forge_jobs.handlers.machines import Machines, machines
from flask_forge_jobs.handlers.queues import overview
from flask_forge_jobs.handlers.samples import ResourceBucket
from flask_forge_jobs.handlers.snapshots import KEPT_S
from flask_forge_jobs.handlers.workers import WorkerDetail
from flask_forge_jobs.model.queues import QueueOverview
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.model.worker_details import QueueLoad, SlotRun, WorkerState
from flask_forge_jobs.model.workers import LIVE_WITHIN_S

PAGE_SIZE = 50
# Beyond, a worker is a line and no card.
MAX_CARDS = 24
# Squares of a queue, and jobs that are named below them.
MAX_SQUARES = 24
MAX_NAMED = 3
# Queues on a card.
MAX_LINES = 12
# Of the table of workers and queues.
MAX_QUEUES = 12
_LONG_MS, _LONGER_MS = 10_000, 60_000
_FULL_PCT = 100
# Workers sample their machine once a minute.
_USE_KEPT_S = 30.0
# Hours of the sparklines, and the buckets of each.
RANGES: Mapping[str, int] = {"1h": 1, "6h": 6, "24h": 24}
_SPARK_BUCKETS = 48
_LEAST_S = 60


@dataclass(frozen=True, slots=True)
class Square:
    """A busy slot: how long its job runs, and how dark that makes it."""

    run: SlotRun
    text: str
    shade: int


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a worker for one queue; ``more`` are left out."""

    queue_name: str
    busy: Sequence[Square]
    idle: int
    total: int
    more: int


class WorkerRow:
    """A worker as it is shown."""

    def __init__(
        self, detail: WorkerDetail, history: Sequence[ResourceBucket] = ()
    ) -> None:
        self.detail = detail
        self.worker = detail.worker
        # Of its machine, which concerns callers that see all its queues.
        self._history = history if detail.use else ()

    @property
    def id(self) -> str:
        """Its id."""
        return self.worker.worker_id

    @property
    def name(self) -> str:
        """Its name, or else its id."""
        return self.worker.worker_name or self.id

    @property
    def state(self) -> WorkerState:
        """How it is."""
        return self.worker.state

    @property
    def place(self) -> str:
        """Host and process, as far as they are known."""
        parts = (self.worker.host, self.worker.pid)
        return " · ".join(str(part) for part in parts if part is not None)

    @property
    def up(self) -> str:
        """How long it runs, or ran."""
        end = self.worker.heartbeat_at
        return words.span((end - self.worker.started_at).total_seconds())

    @cached_property
    def slots(self) -> Sequence[Slots]:
        """Its slots by queue, of many those that run jobs first; none if it is lost."""
        if self.state is WorkerState.LOST:
            return ()
        runs: defaultdict[str, list[SlotRun]] = defaultdict(list)
        for run in self.detail.running:
            runs[run.queue_name].append(run)
        found = [
            _slots(load, runs[load.queue_name])
            for load in self.detail.by_queue
            if load.slots or runs[load.queue_name]
        ]
        is_long = len(found) > MAX_LINES
        return sorted(found, key=lambda each: is_long and not each.busy)

    @property
    def without_slots(self) -> Sequence[str]:
        """Queues that it serves without a slot: they are paused, or have none.

        None of a lost worker, which has no slot at all.
        """
        if self.state is WorkerState.LOST:
            return ()
        shown = {each.queue_name for each in self.slots}
        names = [load.queue_name for load in self.detail.by_queue]
        return [name for name in names if name not in shown]

    @cached_property
    def longest(self) -> Sequence[SlotRun]:
        """The jobs that run the longest."""
        return sorted(self.detail.running, key=lambda run: -run.run_ms)[:MAX_NAMED]

    @property
    def cpu(self) -> str | None:
        """Its share of the machine; None if unknown."""
        use = self.detail.use
        return None if use is None else f"{use.cpu_pct:.0f}%"

    @property
    def cpu_spark(self) -> Spark | None:
        """Its share of the machine over the range; None without a sample."""
        return self._spark([each.cpu_pct for each in self._history], _FULL_PCT)

    @property
    def memory_spark(self) -> Spark | None:
        """Its memory over the range; None without a sample."""
        return self._spark([each.rss_bytes for each in self._history])

    def _spark(self, values: Sequence[float | None], top: float = 0) -> Spark | None:
        return spark(values, top) if any(values) else None

    @property
    def sentence(self) -> str:
        """The rest of the sentence about a late or lost worker."""
        if self.state is WorkerState.LATE:
            left_s = max(LIVE_WITHIN_S - self.worker.heartbeat_age_s, 0)
            if not self.detail.running:
                return "It runs no job."
            jobs = count(len(self.detail.running), "job")
            return f"In {words.span(left_s)} others take its {jobs}."
        where = f" on {self.worker.host}" if self.worker.host else ""
        fates = self.fates
        return f"It was last seen{where}, after {self.up}. {fates}"

    @property
    def fates(self) -> str:
        """What became of the jobs of a lost worker."""
        rescued = self.detail.rescued
        if not rescued:
            return "It ran no job."
        kinds: defaultdict[str, int] = defaultdict(int)
        for job in rescued:
            kinds[_FATES.get(job.ending or job.status, job.status)] += 1
        parts = ", ".join(f"{number:,} {word}" for word, number in kinds.items())
        jobs = count(len(rescued), "job that it ran was", "jobs that it ran were")
        return f"{jobs} rescued: {parts}."

    def slots_of(self, queue_name: str) -> int | None:
        """Return its slots for a queue; None if it does not serve it."""
        for load in self.detail.by_queue:
            if load.queue_name == queue_name:
                return load.slots
        return None


_FATES = {
    "pending": "waits again", "in_progress": "runs elsewhere", "done": "done",
    "failed": "waits for a retry", "dead": "dead", "cancelled": "cancelled",
}  # fmt: skip


def _slots(load: QueueLoad, runs: Sequence[SlotRun]) -> Slots:
    total = max(load.slots, len(runs))
    busy = [_square(run) for run in runs[:MAX_SQUARES]]
    idle = min(total - len(runs), MAX_SQUARES - len(busy))
    more = total - len(busy) - idle
    return Slots(load.queue_name, busy, idle, total, more)


def _square(run: SlotRun) -> Square:
    shade = 1 + (run.run_ms >= _LONG_MS) + (run.run_ms >= _LONGER_MS)
    seconds = run.run_ms // 1000
    return Square(run, words.span(seconds, 1) if seconds else "<1s", shade)


def use_of(api: Api, hours: int) -> Machines:
    """Return the use of all machines in the last hours."""
    start = api.now - timedelta(hours=hours)
    width_s = max(hours * 3600 // _SPARK_BUCKETS, _LEAST_S)
    return machines(api.storage, start=start, end=api.now, bucket_secs=width_s)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for: a state, a queue, hosts, and a place in the list."""

    state: str | None = None
    queue: str | None = None
    hosts: tuple[str, ...] = ()
    cursor: str | None = None
    is_refresh: bool = False
    hours: int = 1

    @property
    def part(self) -> tuple[object, ...]:
        """Which workers are shown."""
        return self.state, self.queue, self.hosts, self.cursor

    @property
    def is_filtered(self) -> bool:
        """Whether the reader has chosen a part of the workers."""
        return any((self.state, self.queue, self.hosts))

    @property
    def kept_s(self) -> float:
        """How old the numbers may be: a page that is opened has the newest."""
        return KEPT_S if self.is_refresh else 0.0


class WorkersView:
    """The workers that the caller may see."""

    def __init__(self, api: Api, choice: Choice) -> None:
        self._api = api
        self.choice = choice
        needed = ("queues", "machines") if choice.is_refresh else None
        # With the workers and the report of the frame, a refresh asks three times.
        self._reads = Reads(
            api.snapshots, ("workers", choice.hours), self._parts(), needed, most=1
        )

    def _parts(self) -> Mapping[str, Part]:
        api, hours = self._api, self.choice.hours
        kept_s = KEPT_S if self.choice.is_refresh else 0.0
        return {
            "queues": Part(lambda: overview(api.storage, only_live=True), kept_s),
            "machines": Part(lambda: use_of(api, hours), _USE_KEPT_S),
        }

    @cached_property
    def _page(self) -> handlers.WorkerPage:
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
            return self._api.snapshots.get(key, read, kept_s=choice.kept_s)
        except InvalidInputError:
            # Such as a cursor of another filter.
            self.choice = Choice(is_refresh=choice.is_refresh, hours=choice.hours)
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
        rows = self._page.rows
        # A line in the place of a card has no sparkline.
        is_drawn = len(rows) <= MAX_CARDS and any(row.use for row in rows)
        found = cast("Machines", self._reads["machines"]) if is_drawn else None
        history = found.resources if found else {}
        return [WorkerRow(row, history.get(row.worker.worker_id, ())) for row in rows]

    @property
    def draws_use(self) -> bool:
        """Whether a card has a sparkline."""
        return self.is_narrow and any(row.cpu_spark for row in self.rows)

    @property
    def counts(self) -> handlers.StateCounts:
        """How many workers are in each state."""
        return self._page.counts

    @property
    def other_hosts(self) -> Sequence[str]:
        """The hosts of all workers, those that are chosen left out; none if alone."""
        hosts = self._page.hosts
        chosen = self.choice.hosts
        return [host for host in hosts if host not in chosen and len(hosts) > 1]

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page."""
        return self._page.next_cursor

    @property
    def is_narrow(self) -> bool:
        """Whether there are few enough workers for cards."""
        return len(self.rows) <= MAX_CARDS and not self.next_cursor

    @property
    def headline(self) -> str:
        """The answer to: is capacity there?"""
        known = self.counts
        running = known.live + known.late
        if not running:
            return "No worker is running"
        slots = sum(len(queue.slots) for queue in self.queues)
        busy = sum(
            slot.current_job_id is not None
            for queue in self.queues
            for slot in queue.slots
        )
        workers = count(running, "worker runs", "workers run")
        return f"{workers}, {busy:,} of {slots:,} slots busy"

    @property
    def note(self) -> str:
        """How many workers need a look."""
        known = self.counts
        parts = [(known.lost, "lost"), (known.late, "late")]
        return ", ".join(f"{number:,} {word}" for number, word in parts if number)

    @cached_property
    def unserved(self) -> Sequence[QueueOverview]:
        """Queues with waiting jobs that no live worker serves, the most jobs first."""
        waiting = [queue for queue in self._without_worker if queue.counts.waiting]
        return sorted(waiting, key=lambda queue: -queue.counts.waiting)

    @property
    def idle(self) -> Sequence[str]:
        """Queues that no live worker serves, and that have nothing to run."""
        return [q.settings.name for q in self._without_worker if not q.counts.waiting]

    @cached_property
    def _without_worker(self) -> Sequence[QueueOverview]:
        now = self._api.now
        return [
            queue
            for queue in self.queues
            if state_of(queue, now) is QueueState.WITHOUT_WORKER
        ]

    @property
    def columns(self) -> Sequence[QueueOverview]:
        """The queues of the table of who serves what; none if they are too many."""
        is_small = self.is_narrow and len(self.queues) <= MAX_QUEUES
        return self.queues if is_small and self.rows else ()
