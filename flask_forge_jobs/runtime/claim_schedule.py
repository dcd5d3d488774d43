"""When to look for work: which queues may have some, and how often is enough."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from flask_forge_jobs.model.claims import LONGEST_SLEEP_S, ClaimedJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.jobs.claim_places import ClaimPlaces

# Bounds the delay of a job whose wake-up was lost.
POLL_WITHOUT_PUSH_S = 0.5
POLL_WITH_PUSH_S = LONGEST_SLEEP_S
# How often a busy worker looks for jobs whose time has come.
PROMOTE_PERIOD_S = 0.25
# A worker that has been idle for this long reads when the next job is due.
IDLE_AFTER_S = 0.02
_QUEUE_NAME = attrgetter("queue_name")


class ExchangePace:
    """Leaves room to other writers, of whom a SQLite file has one at a time.

    A producer of one job after the other would take turns with a worker that claims
    each at once and stores its end: three commits a job. So small exchanges that follow
    each other closely get pauses, in which jobs collect for the next one.

    The schedule notes exchanges here, and the dispatcher waits. Where nobody notes any,
    as on PostgreSQL, no pause is made.

    Attributes:
        next_at: The monotonic time at which the next exchange may begin.
    """

    # Seconds of small exchanges for each second without: a third of the time.
    RATIO = 0.5
    # What an idle worker may do without a pause: about ten exchanges.
    CREDIT_S = 0.005
    LONGEST_PAUSE_S = 0.005
    # An exchange that ends and claims as many jobs is worth its commit.
    MANY = 16

    def __init__(self) -> None:
        self.next_at = 0.0
        self._credit_s = self.CREDIT_S
        self._ended_at = 0.0

    def note(self, count: int, began_at: float, ended_at: float) -> None:
        """Note an exchange with the database.

        Args:
            count: How many jobs it has ended and claimed.
            began_at: The monotonic time of its start.
            ended_at: And of its end.
        """
        rested_s = max(began_at - self._ended_at, 0.0)
        credit_s = min(self._credit_s + rested_s * self.RATIO, self.CREDIT_S)
        if count < self.MANY:
            credit_s -= ended_at - began_at
        # The rest of a longer pause is let off.
        self._credit_s = max(credit_s, -self.LONGEST_PAUSE_S * self.RATIO)
        self._ended_at = ended_at
        self.next_at = ended_at + max(-self._credit_s, 0.0) / self.RATIO


class ClaimSchedule:
    """When to look for work; only the loop's thread uses it.

    All times are monotonic seconds. ``pace`` notes the exchanges that empty a queue.
    """

    def __init__(
        self,
        queue_names: Sequence[str],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        pace: ExchangePace | None = None,
    ) -> None:
        self.queue_names = frozenset(queue_names)
        self.places = ClaimPlaces(monotonic)
        """Where claims begin."""
        self.maybe_ready = set(queue_names)
        """The queues that may have work."""
        self.is_pushing: Callable[[], bool] = lambda: False
        """Tells whether wake-ups arrive."""
        self._pace = pace
        # When the next scheduled job of the covered queues is due.
        self._due_at: float | None = None
        self._due_covers: set[str] = set()
        self._idle_at = 0.0
        # Of each queue: one claim may have no free slot for all that may have work.
        self._promote_at = dict.fromkeys(queue_names, 0.0)
        self._poll_at = 0.0

    def notify(self, name: str | None) -> None:
        """Record that jobs were enqueued in a queue, or maybe in any."""
        names = self.queue_names if name is None else self.queue_names & {name}
        self.maybe_ready.update(names)
        self._due_covers.difference_update(names)

    def ready(self, now: float) -> set[str]:
        """Return the queues that may have work.

        These are all of them once it is time to poll or a job is due, and now and then
        those of a busy worker, which has no time to ask when a job is due.
        """
        is_due = self._due_at is not None and now >= self._due_at
        if is_due or now >= self._poll_at:
            self.maybe_ready.update(self.queue_names)
            self._due_at = None
            self._due_covers.clear()
            self._promote_at = dict.fromkeys(self._promote_at, now)
            pause_s = POLL_WITH_PUSH_S if self.is_pushing() else POLL_WITHOUT_PUSH_S
            self._poll_at = now + pause_s
        if now < self._idle_at:
            for name in self.queue_names - self.maybe_ready - self._due_covers:
                if now >= self._promote_at[name]:
                    self.maybe_ready.add(name)
        return self.maybe_ready

    def begin(self, demand: Iterable[str], now: float) -> bool:
        """Record the start of a claim of one queue or more.

        Returns:
            Whether it should look for scheduled jobs of these queues that are due.
        """
        # A wake-up from here on announces jobs that this claim may not see.
        self.maybe_ready.difference_update(demand)
        # Without a function of our own, because every claim asks.
        return now >= min(map(self._promote_at.__getitem__, demand))

    def fail(self, demand: Iterable[str]) -> None:
        """Record that a claim failed."""
        self.maybe_ready.update(demand)

    def end(
        self,
        demand: Mapping[str, int],
        claimed: Sequence[ClaimedJob],
        written: Sequence[JobUpdate],
        now: float,
        *,
        began_at: float,
        promoted: bool,
    ) -> bool:
        """Record the end of an exchange with the database.

        Returns:
            Whether to look again at once.
        """
        if promoted:
            self._promote_at |= dict.fromkeys(demand, now + PROMOTE_PERIOD_S)
        self._idle_at = now + IDLE_AFTER_S
        for update in written:
            if update.delay_s:
                self._due_covers.discard(update.job.queue_name)
        has_more = bool(self.maybe_ready - demand.keys())
        counts = Counter(map(_QUEUE_NAME, claimed))
        for name, count in demand.items():
            if counts[name] >= count:  # it may have more
                self.maybe_ready.add(name)
                has_more = True
        if self._pace is not None and not has_more:
            self._pace.note(len(claimed) + len(written), began_at, now)
        return has_more

    def look_by(self, moment: float) -> None:
        """Poll at a time, or sooner."""
        self._poll_at = min(self._poll_at, moment)

    def next_look(self) -> float:
        """Return when to look for work without a wake-up."""
        moment = self._poll_at
        if self._due_at is not None:
            moment = min(moment, self._due_at)
        if self.queue_names - self.maybe_ready - self._due_covers:
            moment = min(moment, self._idle_at)
        return moment

    def to_ask(self, now: float) -> set[str]:
        """Return the queues to ask when their next job is due; empty for not now.

        Queues that may have work are left out: they have no free slot here, so a job
        that is due would make us look again and again.
        """
        names = set(self.queue_names - self.maybe_ready)
        if now < self._idle_at or names <= self._due_covers:
            return set()
        self._due_covers = set(names)
        return names

    def learn_due(self, due_at: float | None) -> None:
        """Record when the next job of the queues from :meth:`to_ask` is due."""
        self._due_at = due_at
