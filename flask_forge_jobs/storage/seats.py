"""Seats: how many jobs of one name may run at once, over all processes.

There is no counter to be kept and given back. A seat is a running job that took it in
this very run, so whatever ends the run frees the seat, and a process that dies keeps
its seats until its jobs are rescued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.storage.database import Database, Transaction


class Seats:
    """Gives seats to running jobs.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, job: ClaimedJob, owner: str, seat: str, most: int) -> bool:
        """Take a seat for the run of a job; one statement.

        Args:
            job: The claimed job.
            owner: Who claimed it.
            seat: Name of the seats.
            most: How many there are.

        Returns:
            False when all of them are taken, or the job is no longer the owner's.
        """
        rows = self._database.single(
            "take_seat",
            job_id=job.id,
            owner=owner,
            run=job.claim,
            seat=seat,
            most=most,
        )
        return bool(rows and rows[0][0])


def let_in(transaction: Transaction, freed: Iterable[str]) -> None:
    """Call in those who wait for seats that runs have freed in this transaction.

    Args:
        transaction: The open transaction in which the runs ended.
        freed: Name of each seat, once for each run.
    """
    for seat, seats in sorted(Counter(freed).items()):
        for (queue_name,) in transaction.all("let_in", seat=seat, seats=seats):
            transaction.wake(queue_name)
