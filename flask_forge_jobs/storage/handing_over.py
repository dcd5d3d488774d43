"""Handing a new job straight to a worker in the producer's own process.

A worker with a free slot would claim the job at once anyway, with a second commit. So
the transaction that stores the job claims for that worker too, by the same rules as any
claim: what is first in the queue, and nothing while it is paused or cools down.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from flask_forge_jobs.model.jobs import ClaimedJob
from flask_forge_jobs.storage.database import Database, Parameter, Transaction
from flask_forge_jobs.storage.rows import claimed_from_row


class Offer(Protocol):
    """A slot that is kept for a moment for the next job of a queue."""

    @property
    def owner(self) -> str:
        """Who the claimed job belongs to."""

    def take(self, jobs: Sequence[ClaimedJob]) -> None:
        """Start what was claimed for the slot, or have it back; called once."""


class Taker(Protocol):
    """The slots of a worker, as a producer in the same process sees them."""

    def offer(self, queue_name: str) -> Offer | None:
        """Keep a slot for the next job of a queue, if one is free."""


class Takers:
    """The workers in this process that may be handed new jobs.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changing = threading.Lock()
        self._all: tuple[Taker, ...] = ()

    def add(self, taker: Taker) -> None:
        """Hand new jobs to a worker from now on."""
        with self._changing:
            self._all = (*self._all, taker)

    def discard(self, taker: Taker) -> None:
        """Hand no more to a worker."""
        with self._changing:
            self._all = tuple(each for each in self._all if each is not taker)

    def offer(self, queue_name: str) -> Offer | None:
        """Return what a worker offers for the next job of a queue, if one does."""
        for taker in self._all:
            offer = taker.offer(queue_name)
            if offer is not None:
                return offer
        return None

    def hand_over(
        self, offer: Offer, queue_name: str, parameters: dict[str, Parameter]
    ) -> int | None:
        """Store a job and claim the first of its queue for a worker.

        Args:
            offer: What the worker offers.
            queue_name: Where the job waits.
            parameters: Of the statement ``enqueue``. Without a dedupe key: whoever
                wants one waits for the transaction of somebody who holds it, and so
                long would the slot be kept.

        Returns:
            When the job was due if it is the one that was claimed; None when it waits.

        Raises:
            StorageError: It may be stored or not, as with any call.
        """
        claimed: list[ClaimedJob] = []

        def work(transaction: Transaction) -> list[ClaimedJob]:
            transaction.later("enqueue", **parameters)
            if transaction.attempt:
                # The try before may have stored and claimed it, its answer lost.
                rows = transaction.all(
                    "handed_over", id=parameters["id"], owner=offer.owner
                )
            else:
                rows = transaction.all(
                    "claim", queue_name=queue_name, owner=offer.owner, limit=1
                )
            return [claimed_from_row(row) for row in rows]

        try:
            claimed = self._database.at_once(work)
        finally:
            offer.take(claimed)
        for job in claimed:
            if job.id == parameters["id"]:
                return job.scheduled_at_us
        self._database.wake(queue_name)
        return None
