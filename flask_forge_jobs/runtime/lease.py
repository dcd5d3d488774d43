"""Lease: for how long other workers leave the jobs of this one alone.

It has no lock. The loop's thread sets ``refused_since``, the one that stops the worker
``is_claiming``, both the loop's and the heartbeat's ``is_outdated``, which is never
unset, and the heartbeat's the others.
"""

from __future__ import annotations

import os

from flask_forge_jobs.clock import Clock


class Lease:
    """The lease of one worker; times are monotonic seconds.

    Args:
        length_s: Seconds without a heartbeat after which others take its jobs.
        clock: Source of time.
        parent_pid: The process without which this worker claims no job; None for none.
    """

    def __init__(
        self, length_s: float, clock: Clock, *, parent_pid: int | None = None
    ) -> None:
        self.length_s = length_s
        self.clock = clock
        self._parent_pid = parent_pid
        # Since the boot, which also counts while the host sleeps.
        self._ends_at = clock.since_boot() + length_s
        self.last_beat_at = self.shown_at = clock.monotonic()
        self.returned_at = self.last_beat_at
        """When a heartbeat came after the end of a lease; earlier claims are void."""
        self.refused_since: float | None = None
        """When the loop's round began, or the first of those that failed in a row; None
        between rounds. What was written since then may have been refused.
        """
        self.is_outdated = False
        """Whether a newer package has migrated the database."""
        self.is_claiming = True
        """Whether the worker has not begun to stop."""

    @property
    def is_fresh(self) -> bool:
        """Whether it has not run out."""
        return self.clock.since_boot() < self._ends_at

    @property
    def written_until(self) -> float:
        """The time until which nothing that this worker wrote was refused.

        A full disk may refuse the outcomes and still have room for a heartbeat.
        """
        since = self.refused_since
        return self.last_beat_at if since is None else min(since, self.last_beat_at)

    def is_in_force(self) -> bool:
        """Whether the worker would keep the jobs that it claims now.

        It also ends with :attr:`is_outdated` and with the parent process. A stop leaves
        it in force and ends :attr:`is_claiming`.
        """
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            return False
        return not self.is_outdated and self.clock.since_boot() < self._ends_at

    def note_return(self) -> None:
        """Record that the worker is back after its lease had run out."""
        self.returned_at = self.clock.monotonic()

    def renew(self, beat_at: float, began: float) -> None:
        """Start a new lease at a time, and as many seconds after the boot."""
        self.last_beat_at = beat_at
        self._ends_at = began + self.length_s
