"""Registration: the entry of this worker in the registry."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess, kinds_to_text
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.plan import WorkerOptions
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.workers import WorkerRegistry

# How often this process shows itself; the others divide the slots among those they see.
SHOW_PERIOD_S = 2.0
REPORT_PERIOD_S = 2.0  # at most this often, it writes the slots' jobs


@dataclass(slots=True)
class Period:
    """A period; the first time it is due at once."""

    length_s: float
    next_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether a period has passed since it was done."""
        return now >= self.next_at

    def done(self, now: float) -> None:
        """Begin the next period."""
        self.next_at = now + self.length_s


class _Process:
    """A worker's report about its process; of its kinds only if they have changed."""

    def __init__(
        self, threads: int, clock: Clock, kinds: Callable[[], list[str]]
    ) -> None:
        self._fixed = WorkerProcess(
            version("flask-forge-jobs"),
            socket.gethostname(),
            os.getpid(),
            threads=threads,
        )
        self._clock = clock
        self._began = clock.since_boot()
        self._kinds_now = kinds
        self._kinds: list[str] = []
        self._shown_kinds: list[str] | None = None

    def now(self) -> WorkerProcess:
        """Return the report of this moment."""
        self._kinds = self._kinds_now()
        has_changed = self._kinds != self._shown_kinds
        return replace(
            self._fixed,
            up_us=int((self._clock.since_boot() - self._began) * SECOND_US),
            kinds=kinds_to_text(self._kinds) if has_changed else None,
        )

    def shown(self) -> None:
        """Note that it is stored."""
        self._shown_kinds = self._kinds


class Registration:
    """Shows a worker, its slots and how long ago each of its duties was done."""

    def __init__(
        self,
        workers: WorkerRegistry,
        worker_id: str,
        options: WorkerOptions,
        handover: Handover,
        lease: Lease,
        *,
        duties: Iterable[Duty],
        longest_s: float,
        kinds: Callable[[], list[str]] = list,
    ) -> None:
        self._workers = workers
        self._worker = worker_id, options.name, options.queue_names
        self._process = _Process(options.threads, lease.clock, kinds)
        self._handover = handover
        self._lease = lease
        self._duties = duties
        self._show = Period(min(SHOW_PERIOD_S, longest_s))
        self._report = Period(REPORT_PERIOD_S)
        self._reported: list[SlotReport] = []

    def show(self, now: float, *, is_due: bool) -> bool:
        """Write changes, or everything if that is due; return whether it wrote."""
        who = self._worker
        report = self._handover.slot_reports(who[0])
        has_changed = report != self._reported
        ages = [duty.age for duty in self._duties]
        process = self._process.now()
        if is_due or (has_changed and self._report.is_due(now)):
            self._workers.beat(*who, report, ages, process=process)
            self._reported = report
            self._report.done(now)
        elif self._show.is_due(now):
            self._workers.show(*who, ages, process=process)
        else:
            return False
        self._process.shown()
        self._show.done(now)
        self._lease.shown_at = now
        return True
