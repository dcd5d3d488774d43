"""How many kinds of jobs requests may invent.

Kinds have counts, figures and a place in lists, so invented ones must not fill those.
A kind of a task that is known here is never refused, nor is one that has jobs.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import DEFAULT_MAX_KINDS
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.registry import TaskRegistry

# For this time, a kind that was looked up is not looked up again.
KNOWN_KIND_S = 10.0


class KindLimit:
    """Admits the kinds of new jobs, and remembers them for a while.

    Requests at the same time do not see each other's kinds, so the limit may be
    exceeded by as many.

    Args:
        limit: Most kinds that stored jobs may have.
        registry: The known tasks; None knows none.
        clock: Says when to look again.
    """

    def __init__(
        self,
        limit: int = DEFAULT_MAX_KINDS,
        registry: TaskRegistry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._limit = limit
        self._registry = registry or TaskRegistry()
        self._clock = clock or SystemClock()
        self._known: dict[str, float] = {}

    def check(self, storage: Storage, kinds: Sequence[str]) -> None:
        """Check that jobs of all kinds may be stored.

        Raises:
            InvalidInputError: One is new, and there are too many already.
        """
        now = self._clock.monotonic()
        asked = {
            kind
            for kind in kinds
            if self._known.get(kind, now) <= now and self._registry.get(kind) is None
        }
        if not asked:
            return
        stored = set(storage.job_reader.kinds())
        if len(asked | stored) > self._limit and not asked <= stored:
            index = next(n for n, kind in enumerate(kinds) if kind in asked - stored)
            prefix = f"items[{index}]." if len(kinds) > 1 else ""
            raise InvalidInputError(
                f"{prefix}kind",
                # No count: it would tell of queues that the caller may not see.
                f"{kinds[index]!r} has no task here and no jobs, and jobs of too many "
                f"kinds are stored; FORGE_JOBS_MAX_KINDS allows {self._limit}",
            )
        fresh = {kind: until for kind, until in self._known.items() if until > now}
        self._known = fresh | dict.fromkeys(asked, now + KNOWN_KIND_S)
