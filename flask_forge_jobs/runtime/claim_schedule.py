"""ClaimSchedule: which queues may have work, and when to look without a wake-up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.model.outcomes import JobUpdate

# How often a busy worker looks for jobs whose time has come.
PROMOTE_PERIOD_S = 0.25
# A worker that has been idle for this long asks when the next job is due.
IDLE_AFTER_S = 0.02


class ClaimSchedule:
    """Which queues may have work; guarded by the lock of the worker's state.

    All times are monotonic seconds.
    """

    def __init__(self, queue_names: Sequence[str]) -> None:
        self._queue_names = frozenset(queue_names)
        self.maybe_ready = set(queue_names)
        # When the next scheduled job of the covered queues is due.
        self._due_at: float | None = None
        self._due_covers: set[str] = set()
        self._idle_at = 0.0
        self._promote_at = 0.0
        self._poll_at = 0.0

    def notify(self, names: Iterable[str]) -> None:
        """Record that jobs were enqueued."""
        self.maybe_ready.update(names)
        self._due_covers.difference_update(names)

    def note_exchange(
        self, now: float, written: Iterable[JobUpdate] = (), *, promoted: bool
    ) -> None:
        """Record that outcomes were written or jobs claimed."""
        if promoted:
            self._promote_at = now + PROMOTE_PERIOD_S
        self._idle_at = now + IDLE_AFTER_S
        for update in written:
            if update.delay_s:
                self._due_covers.discard(update.job.queue_name)

    def is_time_to_promote(self, now: float) -> bool:
        """Whether the next claim should look for scheduled jobs that are due."""
        return now >= self._promote_at

    def advance(self, now: float, pause_s: float) -> None:
        """Expect work everywhere once it is time to poll or a job is due.

        The next poll is ``pause_s`` seconds later.
        """
        is_due = self._due_at is not None and now >= self._due_at
        if now >= self._poll_at or is_due:
            self.maybe_ready.update(self._queue_names)
            self._due_at = None
            self._due_covers.clear()
            self._promote_at = now
            self._poll_at = now + pause_s

    def next_look(self) -> float:
        """Return when to look for work without a wake-up."""
        moment = self._poll_at
        if self._due_at is not None:
            moment = min(moment, self._due_at)
        if self._queue_names - self.maybe_ready - self._due_covers:
            moment = min(moment, self._idle_at)
        return moment

    def to_ask(self, now: float) -> set[str]:
        """Return the queues to ask when their next job is due; empty for not now.

        Queues that may have work are left out: they have no free slot here, so a job
        that is due would make us look again and again. A :meth:`notify` in the meantime
        invalidates the answer.
        """
        names = set(self._queue_names - self.maybe_ready)
        if now < self._idle_at or names <= self._due_covers:
            return set()
        self._due_covers = set(names)
        return names

    def learn_due(self, due_at: float | None) -> None:
        """Record when the next job of the queues from :meth:`to_ask` is due."""
        self._due_at = due_at
