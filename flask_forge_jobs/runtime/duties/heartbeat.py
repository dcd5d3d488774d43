"""Heartbeat: shows that this worker lives, and renews its lease and its jobs.

Between beats it looks for cancelled jobs every second. Each beat also checks the
schema, so that an idle worker notices when a newer package has migrated the database.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flask_forge_jobs.errors import SchemaTooNewError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.duties.registration import Period, Registration
from flask_forge_jobs.runtime.duties.renewal import Renewal
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.database import Database, StorageMovedError
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.migrate import look_at_schema

logger = get_logger(__name__)

TICK_S = 1.0
BEATS_PER_LEASE = 6  # five may get lost
# A tick gives up after this part of a lease, well before it would count as stuck.
TICK_PART = 0.5


def beat_period_s(lease_s: float) -> float:
    """Return the seconds between two beats."""
    return lease_s / BEATS_PER_LEASE


class Heartbeat(Duty):
    """Renews this process, its slots and its jobs.

    ``on_return`` is called when an unavailable database answers again.
    """

    def __init__(
        self,
        lease: Lease,
        renewal: Renewal,
        registration: Registration,
        handover: Handover,
        *,
        database: Database,
        on_return: Callable[[], object],
    ) -> None:
        beat_s = beat_period_s(lease.length_s)
        super().__init__(
            "heartbeat",
            min(TICK_S, beat_s),
            longest_backoff_s=0.0,  # the lease does not wait
            clock=lease.clock,
        )
        self._lease = lease
        self._renewal = renewal
        self._registration = registration
        self._database = database
        self._handover = handover
        self._on_return = on_return
        self._beat = Period(beat_s)
        self._ticks_since: float | None = None
        self._is_broken = False
        self._is_cut_off = False

    @property
    def is_stuck(self) -> bool:
        """Whether this process can no longer beat, so that its lease runs out.

        A tick hangs, or ticks fail for another reason than the storage. An unreachable
        database does not count, unless a new process could reach it.
        """
        now, since = self._clock.monotonic(), self._ticks_since
        # Leaves time to stop, but does not end a process on a machine that is busy.
        longest_s = self._lease.length_s - 1.5 * self._beat.length_s
        if since is not None and now - since >= longest_s:
            return True
        return self._is_broken and now - self._lease.last_beat_at >= longest_s

    def show(self) -> None:
        """Beat for the first time, however long the database takes for a call.

        The worker has no job that it could lose meanwhile.
        """
        self._tick_within(math.inf)

    def tick(self) -> bool:
        """Beat when it is due; otherwise only look for cancelled jobs."""
        return self._tick_within(TICK_PART * self._lease.length_s)

    def _tick_within(self, limit_s: float) -> bool:
        began = self._clock.since_boot()  # before all that it renews
        self._ticks_since = self._clock.monotonic()
        is_broken = True
        try:
            with within(limit_s):
                has_reached = self._tick(self._ticks_since, began)
            is_broken = False
        except StorageError as error:
            is_broken = isinstance(error, StorageMovedError)
            self._is_cut_off = True
            if isinstance(error, SchemaTooNewError):
                self._note_outdated(error)
            raise
        finally:
            self._is_broken = is_broken
            self._ticks_since = None
        if self._is_cut_off and has_reached:
            self._is_cut_off = False
            self._on_return()
        return has_reached

    def _note_outdated(self, error: SchemaTooNewError) -> None:
        if not self._lease.is_outdated:
            logger.error("claiming no more jobs: %s", error)
        self._lease.is_outdated = True

    def _tick(self, now: float, began: float) -> bool:
        """Do the due work; return whether it called the database."""
        is_due = self._beat.is_due(now) or not self._lease.is_fresh
        has_asked = self._renewal.renew(now, is_due=is_due)
        # Renew jobs before reporting the worker alive.
        is_shown = self._registration.show(now, is_due=is_due)
        if is_due:
            self._beat.done(now)
            self._renew_lease(now, began)
            look_at_schema(self._database).require_readable()
        return has_asked or is_shown

    def _renew_lease(self, now: float, began: float) -> None:
        """Start a new lease.

        If the last one has run out, other workers may have taken the jobs that wait
        here. They go back first, so that no slot starts one.
        """
        if not self._lease.is_fresh:
            self._lease.note_return()
            self._handover.give_back_waiting()
        self._lease.renew(now, began)
