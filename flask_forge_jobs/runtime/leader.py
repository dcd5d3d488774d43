"""Leader: in which process the work is done that one process is enough for.

Leading saves work and guarantees nothing: a process that was stopped may wake up and
still believe it leads. Whatever a leader does is fenced by the rows that it changes.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.workers import Leases

LEASE = "leader"
LEASE_S = 15.0
RENEW_PERIOD_S = 5.0


class Leader(Duty):
    """Takes the cluster's lease when it is free, and renews it."""

    def __init__(self, leases: Leases, *, worker_id: str, clock: Clock) -> None:
        super().__init__("leader", RENEW_PERIOD_S, clock=clock)
        self._leases = leases
        self._worker_id = worker_id
        self._leads_until: float | None = None
        self.on_gained: Callable[[], object] = lambda: None
        """Called when this process begins to lead."""

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, as far as it can know without asking."""
        until = self._leads_until
        return until is not None and self._clock.monotonic() < until

    def tick(self) -> None:
        """Take or renew the lease."""
        led_before = self.is_leader
        asked_at = self._clock.monotonic()  # before the lease begins: never too long
        has_lease = self._leases.take(LEASE, self._worker_id, LEASE_S)
        self._leads_until = asked_at + LEASE_S if has_lease else None
        if has_lease and not led_before:
            self.on_gained()

    def finish(self) -> None:
        """Give the lease back, so that another process leads at once."""
        self._leads_until = None
        self._leases.release(LEASE, self._worker_id)
