"""How many kinds of jobs requests may invent.

Kinds have counts, figures and a place in lists, so invented ones must not fill those.
A kind of a task that is known here is never refused, nor is one that has jobs or a
schedule.

For a caller that is limited to some queues, only the jobs of these count. Its answers
therefore say nothing of the kinds of other queues, and it cannot use up their room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import DEFAULT_MAX_KINDS
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.registry import TaskRegistry

# For this time, a kind that was looked up is not looked up again.
KNOWN_KIND_S = 10.0


class KindLimit:
    """Admits the kinds of new jobs, and remembers stored ones for a while.

    Requests at the same time do not see each other's kinds, so the limit may be
    exceeded by as many.
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
        # When to look a kind up again, for each set of queues that a caller may have.
        self._known: dict[tuple[frozenset[str] | None, str], float] = {}

    def check(
        self,
        storage: Storage,
        kinds: Sequence[str],
        queues: Collection[str] | None = None,
        fields: Sequence[str] = (),
    ) -> None:
        """Check that jobs of all kinds may be stored.

        Args:
            storage: Has the kinds so far.
            kinds: Those of the new jobs.
            queues: All that the caller may know; None means every queue.
            fields: Where the request has each of the jobs; by default in ``items``.

        Raises:
            InvalidInputError: One is new, and there are too many already.
        """
        now = self._clock.monotonic()
        known, scope = self._known, None if queues is None else frozenset(queues)
        asked = {
            kind
            for kind in kinds
            if known.get((scope, kind), now) <= now and self._registry.get(kind) is None
        }
        if not asked:
            return
        stored = storage.job_reader.named_kinds(scope)
        if len(asked | stored) > self._limit and not asked <= stored:
            index = next(n for n, kind in enumerate(kinds) if kind in asked - stored)
            prefix = f"items[{index}]." if len(kinds) > 1 else ""
            if fields:
                prefix = f"{fields[index]}."
            raise InvalidInputError(
                f"{prefix}kind",
                f"{kinds[index]!r} has no task here and no jobs, and jobs of too many "
                f"kinds are stored; FORGE_JOBS_MAX_KINDS allows {self._limit}",
            )
        # Only stored ones: the jobs of the new ones may still be refused, and then they
        # would come in later, beside as many others.
        fresh = {key: until for key, until in known.items() if until > now}
        seen = ((scope, kind) for kind in asked & stored)
        self._known = fresh | dict.fromkeys(seen, now + KNOWN_KIND_S)
