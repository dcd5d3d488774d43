"""Leases: the right to do some work alone, for a while.

A lease that is not renewed expires by the database's clock, so a holder that dies keeps
nobody out for longer than that.
"""

from __future__ import annotations

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.storage.database import Database, Transaction


class Leases:
    """Takes and releases leases.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, holder: str, lease_s: float) -> bool:
        """Take a lease, or renew one that the holder has.

        Args:
            name: What the lease is for.
            holder: Who takes it; an id that nobody else uses.
            lease_s: Seconds until it expires.

        Returns:
            Whether the holder has it now; False while another one has.
        """
        return self._database.write(lambda tx: renewed(tx, name, holder, lease_s))

    def release(self, name: str, holder: str) -> bool:
        """Give a lease back.

        Returns:
            False when the holder no longer had it; nothing is changed then.
        """
        return bool(self._database.single("release_lease", name=name, holder=holder))


def renewed(transaction: Transaction, name: str, holder: str, lease_s: float) -> bool:
    """Take or renew a lease within a transaction; see :meth:`Leases.take`."""
    lease_us = int(lease_s * SECOND_US)
    return bool(
        transaction.all("take_lease", name=name, holder=holder, lease_us=lease_us)
    )
