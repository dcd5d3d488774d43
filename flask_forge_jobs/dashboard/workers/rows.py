"""A worker as it is shown: its state, its slots as squares, its use of the machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from werkzeug.utils import cached_property

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.small import Spark, spark
from flask_forge_jobs.dashboard.queue_rows import ahead
from flask_forge_jobs.handlers.samples import ResourceBucket
from flask_forge_jobs.handlers.workers import WorkerDetail
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.model.worker_details import QueueLoad, SlotRun, WorkerState
from flask_forge_jobs.model.workers import LIVE_WITHIN_S

# Squares of a queue, and jobs that are named below them.
MAX_SQUARES = 24
MAX_NAMED = 3
# Queues on a card.
MAX_LINES = 12
_LONG_MS, _LONGER_MS = 10_000, 60_000
# Fewer samples would be dots, not a line.
_LEAST_SAMPLES = 3
_FULL_PCT = 100


@dataclass(frozen=True, slots=True)
class Square:
    """A busy slot: how long its job runs, and how dark that makes it."""

    run: SlotRun
    text: str
    shade: int


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a worker for one queue, or for all; ``more`` are left out.

    Of the ``running`` ones, ``brief`` ran a job that has ended since the report.
    """

    label: str
    running: int
    busy: Sequence[Square]
    brief: int
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
        """Its name, or else the end of its id."""
        return words.worker(self.id, self.worker.worker_name)

    @property
    def state(self) -> WorkerState:
        """How it is."""
        return self.worker.state

    @property
    def place(self) -> str:
        """Host and process, as far as they are known."""
        host, pid = self.worker.host, self.worker.pid
        parts = (host, None if pid is None else f"pid {pid}")
        return " · ".join(part for part in parts if part is not None)

    @property
    def up(self) -> str:
        """How long it runs, or ran."""
        end = self.worker.heartbeat_at
        return words.span((end - self.worker.started_at).total_seconds())

    @cached_property
    def slots(self) -> Sequence[Slots]:
        """Its slots by queue, of many those that run jobs first; none if it is lost.

        The slots of queues that share fewer threads are its threads.
        """
        if self.state is WorkerState.LOST:
            return ()
        if self.shares_threads:
            detail = self.detail
            label = count(len(self.shared), "queue")
            load = QueueLoad(label, detail.capacity, 0, detail.busy_slots)
            return [_slots(load, detail.running)]
        runs: defaultdict[str, list[SlotRun]] = defaultdict(list)
        for run in self.detail.running:
            runs[run.queue_name].append(run)
        groups = [
            _slots(load, runs[load.queue_name])
            for load in self.detail.by_queue
            if load.slots or runs[load.queue_name]
        ]
        is_long = len(groups) > MAX_LINES
        return sorted(groups, key=lambda each: is_long and not each.running)

    @property
    def shares_threads(self) -> bool:
        """Whether its queues have more slots together than it has threads."""
        return self.detail.capacity < self.detail.slots

    @property
    def shared(self) -> Sequence[str]:
        """The queues that share its threads; none if each has slots of its own."""
        if self.state is WorkerState.LOST or not self.shares_threads:
            return ()
        return [load.queue_name for load in self.detail.by_queue if load.slots]

    @property
    def without_slots(self) -> Sequence[str]:
        """Queues that it serves without a slot: they are paused, or have none.

        None of a lost worker, which has no slot at all.
        """
        if self.state is WorkerState.LOST:
            return ()
        busy = {run.queue_name for run in self.detail.running}
        loads = self.detail.by_queue
        return [
            load.queue_name
            for load in loads
            if not load.slots and load.queue_name not in busy
        ]

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
        """Its share of the machine over the range; None with few samples."""
        return self._spark([each.cpu_pct for each in self._history], _FULL_PCT)

    @property
    def memory_spark(self) -> Spark | None:
        """Its memory over the range; None with few samples."""
        return self._spark([each.rss_bytes for each in self._history])

    def _spark(self, values: Sequence[float | None], top: float = 0) -> Spark | None:
        known = len(values) - list(values).count(None)
        return spark(values, top) if known >= _LEAST_SAMPLES else None

    @property
    def ahead(self) -> str:
        """Its jobs that wait in it for a slot, in words; empty if none is known."""
        number = self.detail.claimed - self.detail.busy_slots
        return ahead(number, is_served=True)

    @property
    def sentence(self) -> str:
        """The rest of the sentence about a late or lost worker."""
        if self.state is WorkerState.LATE:
            left_s = max(LIVE_WITHIN_S - self.worker.heartbeat_age_s, 0)
            if not self.detail.running:
                return "No job is in its slots."
            jobs = count(len(self.detail.running), "job")
            return f"In {words.span(left_s)} others take its {jobs}."
        where = f" on {self.worker.host}" if self.worker.host else ""
        has_run = self.worker.heartbeat_at > self.worker.started_at
        long = f" for {self.up}" if has_run else ""
        ran = f"It ran{where}{long}. " if where or long else ""
        return f"{ran}{self.fates}"

    @property
    def fates(self) -> str:
        """What became of the jobs of a lost worker."""
        rescued = self.detail.rescued
        if not rescued:
            left = len(self.detail.running)
            jobs = count(left, "job that it ran is", "jobs that it ran are")
            return f"{jobs} not rescued yet." if left else "It ran no job."
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
    running = max(min(load.busy_slots, total), len(runs))
    busy = [_square(run) for run in runs[:MAX_SQUARES]]
    brief = min(running - len(runs), MAX_SQUARES - len(busy))
    idle = min(total - running, MAX_SQUARES - len(busy) - brief)
    more = total - len(busy) - brief - idle
    return Slots(load.queue_name, running, busy, brief, idle, more=more, total=total)


def _square(run: SlotRun) -> Square:
    shade = 1 + (run.run_ms >= _LONG_MS) + (run.run_ms >= _LONGER_MS)
    seconds = run.run_ms // 1000
    return Square(run, words.span(seconds, 1) if seconds else "<1s", shade)
