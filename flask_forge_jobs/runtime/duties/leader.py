"""Leader: one process for the work of which one process is enough.

Leadership saves work and guarantees nothing: a process that was suspended may still
believe that it leads. The rows that a leader changes guard against that.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.workers import Leases

LEADER_LEASE = "leader"
LEADER_LEASE_S = 15.0
RENEW_PERIOD_S = 5.0


class Leader(Duty):
    """Elects the process that does the work of which one process is enough.

    It takes the leader's lease when it is free, and renews it.
    """

    def __init__(self, leases: Leases, *, worker_id: str, clock: Clock) -> None:
        super().__init__("leader", RENEW_PERIOD_S, clock=clock)
        self._leases = leases
        self._worker_id = worker_id
        self._leads_until: float | None = None
        self.on_gained: Callable[[], object] = lambda: None
        """Called when this process becomes the leader."""

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, as of its last renewal."""
        until = self._leads_until
        return until is not None and self._clock.since_boot() < until

    def tick(self) -> None:
        """Take or renew the lease."""
        led_before = self.is_leader
        asked_at = self._clock.since_boot()  # first, so that our lease never ends late
        has_lease = self._leases.take(LEADER_LEASE, self._worker_id, LEADER_LEASE_S)
        self._leads_until = asked_at + LEADER_LEASE_S if has_lease else None
        if has_lease and not led_before:
            self.on_gained()

    def finish(self) -> None:
        """Release the lease, so that another process can lead at once."""
        self._leads_until = None
        self._leases.release(LEADER_LEASE, self._worker_id)
