"""Handing a new job straight to a worker in the producer's own process.

A worker with a free slot would claim the job at once anyway, with a second commit. So
the transaction that stores the job claims for that worker too, by the same rules as any
claim: what is first in the queue, and nothing while it is paused or cools down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flask_forge_jobs.model.jobs import ClaimedJob
from flask_forge_jobs.storage.database import Database, Parameter, Transaction
from flask_forge_jobs.storage.rows import claimed_from_row


class Taker(Protocol):
    """The slots of a worker, as a producer in the same process sees them."""

    @property
    def owner(self) -> str:
        """Who the claimed jobs belong to."""

    def offer(self, queue_name: str) -> bool:
        """Keep a free slot for the next job of a queue, if there is one.

        Each True is followed by one :meth:`take`.
        """

    def take(self, queue_name: str, jobs: Sequence[ClaimedJob]) -> None:
        """Start the job that was claimed for the kept slot, or have the slot back."""


class Takers:
    """The workers in this process that may be handed new jobs.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._all: tuple[Taker, ...] = ()

    def add(self, taker: Taker) -> None:
        """Hand new jobs to a worker from now on."""
        self._all = (*self._all, taker)

    def discard(self, taker: Taker) -> None:
        """Hand no more to a worker."""
        self._all = tuple(each for each in self._all if each is not taker)

    def offering(self, queue_name: str) -> Taker | None:
        """Return a worker that keeps a slot for the next job of a queue, if any."""
        for taker in self._all:
            if taker.offer(queue_name):
                return taker
        return None

    def hand_over(
        self, taker: Taker, queue_name: str, parameters: dict[str, Parameter]
    ) -> int | None:
        """Store a job and claim the first of its queue for a worker that offered.

        Args:
            taker: It keeps a slot.
            queue_name: Where the job waits.
            parameters: Of the statement ``enqueue``.

        Returns:
            When the job was due, if it is the one that was claimed. None when another
            one was, or none: then it waits, or was not stored for its key is held.

        Raises:
            StorageError: It may be stored or not, as with any call.
        """
        claimed: list[ClaimedJob] = []

        def work(transaction: Transaction) -> list[ClaimedJob]:
            transaction.later("enqueue", **parameters)
            rows = transaction.all(
                "claim", queue_name=queue_name, owner=taker.owner, limit=1
            )
            return [claimed_from_row(row) for row in rows]

        try:
            claimed = self._database.at_once(work)
        finally:
            taker.take(queue_name, claimed)
        for job in claimed:
            if job.id == parameters["id"]:
                return job.scheduled_at_us
        self._database.wake(queue_name)
        return None
