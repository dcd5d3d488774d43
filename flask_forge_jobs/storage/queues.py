"""QueueConfig: the settings of each queue.

Setters name a queue that must exist and refuse values outside their bounds; nothing is
clamped in silence (D39).
"""

from __future__ import annotations

from flask_forge_jobs.errors import QueueNotEmptyError, QueueNotFoundError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_WORKERS,
    QueueSettings,
    check_backoff,
    check_max_workers,
    check_retention_days,
)
from flask_forge_jobs.storage.database import Database, Parameter, Transaction
from flask_forge_jobs.storage.rows import queue_from_row


class QueueConfig:
    """Reads and changes the settings of queues.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self, name: str, max_workers: int = DEFAULT_MAX_WORKERS) -> bool:
        """Register a queue if it is not; never overwrites.

        Args:
            name: 1 to 128 characters, none of ``, / ? # %`` or a control character.
            max_workers: Cluster-wide total, 0 to 1024; used only for a new queue.

        Returns:
            Whether the queue is new.

        Raises:
            InvalidInputError: The name or the total is outside its bounds.
        """
        check_queue_name(name)
        check_max_workers(max_workers, "max_workers")
        rows = self._database.single("ensure_queue", name=name, max_workers=max_workers)
        return bool(rows)

    def get(self, name: str) -> QueueSettings:
        """Return the settings of one queue.

        Raises:
            QueueNotFoundError: No queue has this name.
        """
        rows = self._database.read(lambda tx: tx.all("get_queue", name=name))
        if not rows:
            raise QueueNotFoundError(name)
        return queue_from_row(rows[0])

    def all(self) -> list[QueueSettings]:
        """Return the settings of every queue, by name."""
        rows = self._database.read(lambda transaction: transaction.all("all_queues"))
        return [queue_from_row(row) for row in rows]

    def set_max_workers(self, name: str, max_workers: int) -> None:
        """Set the cluster-wide total of a queue's workers.

        Args:
            name: The queue.
            max_workers: 0 to 1024; 0 stops the queue.

        Raises:
            QueueNotFoundError: No queue has this name.
            InvalidInputError: The total is outside its bounds.
        """
        check_max_workers(max_workers)
        self._update("set_max_workers", name, max_workers=max_workers)

    def set_paused(self, name: str, paused: bool) -> None:  # noqa: FBT001  # the value
        """Pause or resume a queue; running jobs finish.

        Raises:
            QueueNotFoundError: No queue has this name.
        """
        self._update("set_paused", name, paused=paused)

    def set_retention(self, name: str, done_days: int, dead_days: int) -> None:
        """Set for how many days finished jobs are kept.

        Args:
            name: The queue.
            done_days: 0 to 36500; 0 means until the next sweep.
            dead_days: Likewise for dead jobs.

        Raises:
            QueueNotFoundError: No queue has this name.
            InvalidInputError: A number is outside its bounds.
        """
        check_retention_days("done_days", done_days)
        check_retention_days("dead_days", dead_days)
        self._update("set_retention", name, done_days=done_days, dead_days=dead_days)

    def set_backoff(
        self, name: str, *, enabled: bool, base_seconds: int, max_seconds: int
    ) -> None:
        """Set the delay curve of failures and throttles.

        Args:
            name: The queue.
            enabled: Whether delays grow; flat otherwise.
            base_seconds: First delay, 1 to 86400.
            max_seconds: Longest delay, ``base_seconds`` to 86400.

        Raises:
            QueueNotFoundError: No queue has this name.
            InvalidInputError: A number is outside its bounds.
        """
        check_backoff(base_seconds, max_seconds)
        self._update(
            "set_backoff",
            name,
            enabled=enabled,
            base_seconds=base_seconds,
            max_seconds=max_seconds,
        )

    def clear_cooldown(self, name: str) -> None:
        """End a cool-down at once and forget its exponent.

        Raises:
            QueueNotFoundError: No queue has this name.
        """
        self._update("clear_cooldown", name)

    def delete(self, name: str) -> None:
        """Unregister a queue that holds no jobs.

        Raises:
            QueueNotFoundError: No queue has this name.
            QueueNotEmptyError: It still holds jobs.
        """

        def work(transaction: Transaction) -> None:
            jobs = int(transaction.all("jobs_of_queue", name=name)[0][0])
            if jobs:
                raise QueueNotEmptyError(name, jobs)
            if not transaction.run("delete_queue", name=name):
                raise QueueNotFoundError(name)

        self._database.write(work)

    def _update(self, statement: str, name: str, **values: Parameter) -> None:
        def work(transaction: Transaction) -> None:
            if not transaction.run(statement, name=name, **values):
                raise QueueNotFoundError(name)

        self._database.write(work)
