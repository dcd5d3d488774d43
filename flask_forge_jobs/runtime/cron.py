"""Scheduler: fires due schedules.

The leader looks when the next firing is due. The other processes look too, less often,
and fire only what the leader has left lying, so a leader that hangs delays a firing by
seconds. That each instant is fired once is the storage's doing, not the leader's.
"""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.runtime.leader import Leader
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.cron import CronStorage

logger = get_logger(__name__)

LONGEST_PAUSE_S = 5.0
SHORTEST_PAUSE_S = 0.5
# What has been due for so long is fired by whoever sees it.
LEADERS_TURN_S = 2.0


def pause_until(next_s: float | None) -> float:
    """Return for how long to sleep before the next look.

    Args:
        next_s: Seconds to the next firing; None when there is none.
    """
    if next_s is None:
        return LONGEST_PAUSE_S
    return min(max(next_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def without_failures(router: Callable[[str], str]) -> Callable[[str], str]:
    """Return a router whose failure is a fault of the schedule that asks it.

    It must not keep other schedules from firing.
    """

    def route(kind: str) -> str:
        try:
            return router(kind)
        except Exception as error:
            raise InvalidInputError(
                "queue_name", f"the router failed for {shown(kind)}: {error!r}"
            ) from error

    return route


class Scheduler(Duty):
    """Fires what is due.

    Args:
        cron: The schedules.
        leader: Tells whether it is this process's turn.
        router: Names the queue of a kind for schedules that name none.
        clock: Ages the last look; firing goes by the database's clock.
    """

    def __init__(
        self,
        cron: CronStorage,
        leader: Leader,
        *,
        router: Callable[[str], str],
        clock: Clock,
    ) -> None:
        super().__init__("cron", LONGEST_PAUSE_S, clock=clock)
        self._cron = cron
        self._leader = leader
        self._route = without_failures(router)
        self._next_pause_s = LONGEST_PAUSE_S

    def tick(self) -> None:
        """Fire what is due, or what the leader has left."""
        is_leader = self._leader.is_leader
        patience_s = 0.0 if is_leader else LEADERS_TURN_S
        ahead = self._cron.ahead()
        if ahead.overdue_s is not None and ahead.overdue_s >= patience_s:
            report = self._cron.fire_due(self._route, overdue_s=patience_s)
            logger.debug("cron: %s", report)
            ahead = self._cron.ahead()
        self._next_pause_s = pause_until(ahead.next_s if is_leader else None)

    def pause_s(self) -> float:
        """Sleep until the next firing."""
        return self._next_pause_s
