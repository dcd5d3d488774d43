"""Rounds: the claims of a worker and the writes of its outcomes, one at a time.

No timer delays an outcome, but for the milliseconds that a busy worker leaves to other
writers of a SQLite file; see :class:`.ExchangePace`. While a transaction runs, the next
batch collects, so an idle worker writes within one round trip and a busy one fills its
batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from flask_forge_jobs.errors import SchemaTooNewError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.run_end import CancelReason, JobUpdate
from flask_forge_jobs.runtime.claim_schedule import POLL_WITH_PUSH_S, ClaimSchedule
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.loop.time_limits import TimeLimits
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.service import LONGEST_S, Backoff
from flask_forge_jobs.storage.database import NO_FAULT_OF_ROWS
from flask_forge_jobs.storage.jobs.queue import JobQueue

logger = get_logger(__name__)

# Once the oldest job that waits here is so old, all those of its queue go back.
GIVE_BACK_AFTER_S = 0.25


class Claims:
    """Counts the claims, of which one is in progress at a time.

    A claim in progress may own jobs that are still unknown here. The loop writes both
    numbers; other threads may read them.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0


class Rest:
    """How long to leave a failing storage alone."""

    def __init__(self) -> None:
        self._backoff = Backoff()
        self._failed_at = 0.0
        self.is_failing = False
        """Whether the storage has failed and not worked since."""
        self.is_resting = False
        """Whether it is too early to try again."""
        self.longest_s = LONGEST_S

    def begin(self, now: float) -> float:
        """Record a failure; return the pause in seconds."""
        self._failed_at, self.is_resting = now, True
        return self._backoff.fail()

    def end(self) -> None:
        """Record that the storage was reached."""
        self._backoff.reset()
        self.is_resting = False

    def until(self) -> float:
        """Return the monotonic time at which to try again."""
        return self._failed_at + min(self._backoff.pause_s, self.longest_s)


class Rounds:
    """Each round writes the outcomes that are here and claims jobs for the free slots.

    Only the loop's thread uses it, except for :attr:`claims`.
    """

    def __init__(
        self,
        jobs: JobQueue,
        handover: Handover,
        writer: OutcomeWriter,
        *,
        lease: Lease,
        schedule: ClaimSchedule,
        time_limits: TimeLimits,
    ) -> None:
        self._jobs = jobs
        self._handover = handover
        self._writer = writer
        self._lease = lease
        self._schedule = schedule
        self._time_limits = time_limits
        self.claims = Claims()
        self.rest = Rest()
        self.is_shut_out = False
        """Whether the database stores no outcome of this version of the package."""
        self._stale_at: float | None = None

    @property
    def queue_names(self) -> AbstractSet[str]:
        """The queues that the worker serves."""
        return self._schedule.queue_names

    def hear(self, queue_name: str | None) -> None:
        """Take a wake-up for a queue, or for all after a call reached the database."""
        if queue_name is None:
            self.rest.end()
        self._schedule.notify(queue_name)

    def pause_s(self) -> float:
        """Return the seconds until the next round, unless something wakes the loop."""
        now = self._lease.clock.monotonic()
        moments = [now + POLL_WITH_PUSH_S]
        limit_at = self._time_limits.look()
        if limit_at is not None:
            moments.append(limit_at)
        if self.rest.is_resting:
            moments.append(self.rest.until())
        else:
            if self._lease.is_claiming:
                moments.append(self._schedule.next_look())
            if self._stale_at is not None:
                moments.append(self._stale_at)
            if self._writer.folds.due_at is not None:
                moments.append(self._writer.folds.due_at)
        return max(min(moments) - now, 0.0)

    def go(self) -> bool:
        """Do one round; return False while a failing storage is left alone."""
        now = self._lease.clock.monotonic()
        limit_at = self._time_limits.next_at
        if limit_at is not None and now >= limit_at:
            self._time_limits.enforce(now)  # even while the storage fails
        if self.rest.is_resting and now < self.rest.until():
            return False
        if self._lease.refused_since is None:
            self._lease.refused_since = now
        if self._stale_at is not None and now >= self._stale_at:
            self._give_back_stale(now)
        writing = self._writer.collect()
        demand: Mapping[str, int] = {}
        if self._lease.is_claiming:
            names = self._schedule.ready(now)
            if names and self._lease.is_in_force():
                demand = self._handover.demand(names)
        if writing or demand:
            self._exchange(writing, demand, now)
        else:
            self._learn_next_due(now)
        if self._writer.folds.due_at is not None:
            self._writer.folds.go(self._lease.clock.monotonic())
        self._lease.refused_since = None
        if self.rest.is_failing:
            logger.warning("storage works again")
            self.rest.is_failing = False
        if self.rest.is_resting:
            self.rest.end()
        return True

    def note_failure(self, error: StorageError) -> None:
        """Leave the storage alone for a while, longer each time."""
        if isinstance(error, SchemaTooNewError):
            self.is_shut_out = self._lease.is_outdated = True
        pause_s = self.rest.begin(self._lease.clock.monotonic())
        if not self.rest.is_failing:
            logger.warning("storage failed, retrying in %s s: %s", pause_s, error)
        self.rest.is_failing = True

    def _give_back_stale(self, now: float) -> None:
        oldest = self._handover.give_back_waiting(now - GIVE_BACK_AFTER_S)
        self._stale_at = None if oldest is None else oldest + GIVE_BACK_AFTER_S

    def _exchange(
        self, writing: Sequence[JobUpdate], demand: Mapping[str, int], now: float
    ) -> None:
        promote = bool(demand) and self._schedule.begin(demand, now)
        self.claims.begun += 1
        try:
            batch = self._jobs.exchange(
                self._writer.worker_id,
                writing,
                demand,
                promote=promote,
                places=self._schedule.places,
            )
        except BaseException as error:
            self.claims.ended = self.claims.begun
            self._schedule.fail(demand)
            for update in writing:  # it may have been stored nevertheless
                update.was_tried = True
            if not isinstance(error, NO_FAULT_OF_ROWS):
                self._writer.write_singly(writing)
            raise
        try:
            if batch.claimed:
                self._take_in(batch.claimed, now)
        except BaseException:
            self._schedule.fail(demand)
            raise
        finally:  # the outcomes are stored all the same
            if writing:
                self._writer.note_written(writing, batch.refused)
            if batch.noted:
                self._writer.folds.note(batch.noted)
            self.claims.ended = self.claims.begun
        ended_at = self._lease.clock.monotonic()
        if batch.look_in_s is not None:
            self._schedule.look_by(ended_at + batch.look_in_s)
        if self._schedule.end(
            demand, batch.claimed, writing, ended_at, began_at=now, promoted=promote
        ):
            self._handover.wake()

    def _take_in(self, jobs: Sequence[ClaimedJob], asked_at: float) -> None:
        # Stop earlier runs of these jobs that still go on here. The next heartbeat
        # would stop them; until then the job would run twice.
        if running := self._handover.running:
            ids = {job.id for job in jobs}
            for execution in running:
                if execution.job.id in ids:
                    execution.token.cancel(CancelReason.LOST)
        now = self._lease.clock.monotonic()
        if self._lease.is_in_force() and asked_at >= self._lease.returned_at:
            self._handover.feed(jobs)
            if self._stale_at is None:
                self._stale_at = now + GIVE_BACK_AFTER_S
        else:  # the lease ran out during the claim
            self._handover.give_back([Execution(job, now) for job in jobs])

    def _learn_next_due(self, now: float) -> None:
        names = self._schedule.to_ask(now) if self._lease.is_claiming else set()
        if not names and self.rest.is_failing:
            # Only a call shows that the storage works again.
            names = set(self._schedule.queue_names)
        if not names:
            return
        wait_s = self._jobs.next_due_in_s(sorted(names))
        now = self._lease.clock.monotonic()
        self._schedule.learn_due(None if wait_s is None else now + wait_s)
