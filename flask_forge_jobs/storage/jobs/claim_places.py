"""Where claims begin: behind the index entries of jobs that were claimed before.

On PostgreSQL such entries stay until the next vacuum, and each claim walks past them
again: a page, about a hundred, takes 1 µs. So once they are many, further claims of the
queue begin near the last claimed job. Jobs that come in front of that place are the few
that were given back, or whose transaction took long, since more urgent jobs are always
looked for. A claim from the front comes for them soon, the sooner the less it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import SECOND_US

# Transactions that store jobs at the same time commit in any order.
SLACK_US = SECOND_US // 4
LONGEST_S = 1.0
# For each page that a claim from the front has walked past, the next one is later: then
# these claims take one part in a hundred of the time.
_S_PER_PAGE = 0.0001


@dataclass(slots=True)
class _Place:
    """A priority and a due time, and when to claim from the front again."""

    until: float
    priority: int | None = None
    at_us: int = 0


class ClaimPlaces:
    """The place of each queue that has one, for the claims of one worker."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._places: dict[str, _Place] = {}

    def known(self, names: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return the priority and the due time of the queues that have a place."""
        places: dict[str, tuple[int, int]] = {}
        if self._places:
            now = self._monotonic()
            for name in names:
                place = self._places.get(name)
                if place is None or place.priority is None:
                    continue
                if now < place.until:
                    places[name] = place.priority, place.at_us
                else:
                    del self._places[name]
        return places

    def learn(self, pages: Mapping[str, int], claimed: Sequence[ClaimedJob]) -> None:
        """Take in a claim, in its order, and the pages that it has read, if many."""
        for name, count in pages.items():
            part_s = min(count * _S_PER_PAGE, LONGEST_S)
            self._places[name] = _Place(self._monotonic() + part_s)
        if not self._places:
            return
        for name, last in {job.queue_name: job for job in claimed}.items():
            place = self._places.get(name)
            if place is None:
                continue
            reached = last.priority, last.scheduled_at_us - SLACK_US
            if place.priority is None or reached > (place.priority, place.at_us):
                place.priority, place.at_us = reached

    def look_in_s(
        self,
        begun: Iterable[str],
        demand: Mapping[str, int],
        claimed: Sequence[ClaimedJob],
    ) -> float | None:
        """Return in how many seconds to look at the front; None if at no set time.

        That is after a claim from a place that has found fewer jobs than it asked for.
        """
        moments = [
            self._places[name].until
            for name in begun
            if sum(job.queue_name == name for job in claimed) < demand[name]
        ]
        return max(min(moments) - self._monotonic(), 0.0) if moments else None
