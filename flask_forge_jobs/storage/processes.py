"""ProcessRegistry: which worker processes are alive and what their slots do."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.processes import Pod, Process, SlotReport
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.rows import pod_from_row, process_from_row


class ProcessRegistry:
    """Registers worker processes.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(
        self,
        host_id: str,
        worker_name: str | None,
        queues: Sequence[str],
        slots: Sequence[SlotReport],
    ) -> None:
        """Renew a worker process and all its slots with one transaction.

        Complete rows are written, so a process that was reaped by mistake comes back
        whole (D5).

        Args:
            host_id: The worker process.
            worker_name: Its label, or None.
            queues: Queues it declared, in order.
            slots: All its slots; rows of others are removed.
        """
        rows: list[dict[str, Parameter]] = [
            {
                "process_id": slot.process_id,
                "queue_name": slot.queue_name,
                "current_job": slot.current_job_id,
            }
            for slot in slots
        ]

        def work(transaction: Transaction) -> None:
            encoded = encode_rows(rows)
            transaction.later("drop_other_slots", host_id=host_id, rows=encoded)
            transaction.later("beat_slots", host_id=host_id, rows=encoded)
            transaction.run(
                "beat_pod",
                host_id=host_id,
                worker_name=worker_name,
                queues=",".join(queues) or None,
            )

        self._database.write(work, urgent=True)

    def remove(self, host_id: str) -> int:
        """Remove a worker process and its slots; return how many slots it had."""

        def work(transaction: Transaction) -> int:
            slots = transaction.run("drop_slots", host_id=host_id)
            transaction.run("drop_pod", host_id=host_id)
            return slots

        return self._database.write(work)

    def reap(self, host_ids: Sequence[str]) -> int:
        """Remove worker processes that fell silent, and slots without a process.

        Args:
            host_ids: Processes whose heartbeat has not moved for a lease.

        Returns:
            How many slots were removed, all in one transaction (D42).
        """

        def work(transaction: Transaction) -> int:
            slots = 0
            for host_id in sorted(host_ids):
                slots += transaction.run("drop_slots", host_id=host_id)
                transaction.run("drop_pod", host_id=host_id)
            return slots + transaction.run("drop_orphan_slots")

        return self._database.write(work)

    def all(self, queue_name: str | None = None) -> list[Process]:
        """Return slots, live or not.

        Args:
            queue_name: Only of this queue, by process id; None means all, by queue and
                process id.
        """
        name = "all_processes" if queue_name is None else "processes_of_queue"
        rows = self._database.read(lambda tx: tx.all(name, queue_name=queue_name))
        return [process_from_row(row) for row in rows]

    def pods(self) -> list[Pod]:
        """Return worker processes, live or not, by host id."""
        rows = self._database.read(lambda transaction: transaction.all("all_pods"))
        return [pod_from_row(row) for row in rows]

    def live_pods(self, within_s: float) -> list[Pod]:
        """Return worker processes whose heartbeat is recent, by host id.

        Args:
            within_s: Oldest heartbeat that counts, in seconds.
        """
        within_us = int(within_s * SECOND_US)
        rows = self._database.read(lambda tx: tx.all("live_pods", within_us=within_us))
        return [pod_from_row(row) for row in rows]
