"""Offers: slots that are kept for a moment for jobs that producers here are storing.

See :mod:`flask_forge_jobs.storage.handing_over` for the other side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.jobs import ClaimedJob
from flask_forge_jobs.runtime.slots import SlotPool

# How long a slot is kept. Longer than a commit takes, and no longer: a statement may
# wait, or its thread be interrupted, while others want the slot.
KEPT_FOR_S = 0.25
# How long no slot is offered once nothing could be claimed for one: the queue is paused
# or cools down.
NO_OFFER_S = 1.0


@dataclass(eq=False)
class SlotOffer:
    """A slot that is kept for the next job of a queue.

    Args:
        owner: Who the claimed job belongs to.
        queue_name: The queue.
        accept: Gets the offer and what was claimed for it.
    """

    owner: str
    queue_name: str
    accept: Callable[[SlotOffer, Sequence[ClaimedJob]], None] = field(repr=False)

    def take(self, jobs: Sequence[ClaimedJob]) -> None:
        """Start what was claimed for the slot, or have it back; called once."""
        self.accept(self, jobs)


class Offers:
    """The offers of one worker; whoever uses it holds the dispatcher's lock.

    Args:
        queue_names: The declared queues.
        pool: The slots.
        clock: For how long slots are kept.
    """

    def __init__(
        self, queue_names: Iterable[str], pool: SlotPool, clock: Clock
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._not_before = dict.fromkeys(queue_names, 0.0)
        self._pid = 0

    def start(self) -> None:
        """Offer slots in this process from now on."""
        self._pid = os.getpid()

    def is_for(self, queue_name: str) -> bool:
        """Whether a queue is one of ours, in our process; needs no lock.

        After a fork in between nobody here runs anything, nor frees the lock.
        """
        return queue_name in self._not_before and self._pid == os.getpid()

    def keep(self, offer: SlotOffer) -> bool:
        """Keep a slot for an offer, if one is free and a job may come for it."""
        now = self._clock.monotonic()
        return now >= self._not_before[offer.queue_name] and self._pool.keep_slot(
            offer.queue_name, offer, now + KEPT_FOR_S
        )

    def settle(self, offer: SlotOffer, jobs: Sequence[ClaimedJob]) -> bool:
        """End an offer; return whether a job would start in its slot at once."""
        starts = self._pool.release_slot(offer.queue_name, offer)
        if not jobs:
            self._not_before[offer.queue_name] = self._clock.monotonic() + NO_OFFER_S
        return starts
