"""Scheduler: fires due schedules.

The leader wakes for each firing. The other processes look less often and fire what is
overdue, so a leader that hangs delays a firing by seconds. The storage, not the leader,
guarantees that each time is fired once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.cron import CronStorage
from flask_forge_jobs.tasks.registry import TaskRegistry, TaskRouter, attempts_of_kind

logger = get_logger(__name__)

LONGEST_PAUSE_S = 5.0
SHORTEST_PAUSE_S = 0.5
# Any process fires schedules that have been due for this long.
LEADERS_TURN_S = 2.0


def pause_until(next_s: float | None) -> float:
    """Return the seconds to sleep; ``next_s`` is None if no firing is ahead."""
    if next_s is None:
        return LONGEST_PAUSE_S
    return min(max(next_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def without_failures(router: Callable[[str], str]) -> Callable[[str], str]:
    """Wrap a router so that its failure skips one schedule, not all of them."""

    def route(kind: str) -> str:
        try:
            return router(kind)
        except Exception as error:
            raise InvalidInputError(
                "queue_name", f"the router failed for {shown(kind)}: {error!r}"
            ) from error

    return route


class Scheduler(Duty):
    """Fires due schedules, by the clock of the database."""

    def __init__(
        self,
        cron: CronStorage,
        leader: Leader,
        *,
        router: Callable[[str], str],
        registry: TaskRegistry,
        clock: Clock,
    ) -> None:
        super().__init__("cron", LONGEST_PAUSE_S, clock=clock)
        self._cron = cron
        self._leader = leader
        self._route = without_failures(TaskRouter(registry, router))
        self._attempts_of = partial(attempts_of_kind, registry)
        self._next_pause_s = LONGEST_PAUSE_S

    def tick(self) -> None:
        """Fire due schedules or, if another process leads, overdue ones."""
        is_leader = self._leader.is_leader
        patience_s = 0.0 if is_leader else LEADERS_TURN_S
        ahead = self._cron.ahead()
        if ahead.overdue_s is not None and ahead.overdue_s >= patience_s:
            report = self._cron.fire_due(
                self._route, self._attempts_of, overdue_s=patience_s
            )
            logger.debug("cron: %s", report)
            ahead = self._cron.ahead()
        self._next_pause_s = pause_until(ahead.next_s if is_leader else None)

    def pause_s(self) -> float:
        """Sleep until the next firing."""
        return self._next_pause_s
