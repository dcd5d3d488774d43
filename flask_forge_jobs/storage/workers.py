"""Worker processes: which are alive, what their slots do, and who does a work alone.

A lease is the right to do some work alone, for a while. One that is not renewed expires
by the database's clock, so a holder that dies keeps nobody out for longer than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.workers import (
    LIVE_WITHIN_S,
    ServiceAge,
    Slot,
    SlotReport,
    Worker,
    WorkersOverview,
)
from flask_forge_jobs.storage.database import (
    Executor,
    Parameter,
    Row,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.rows import (
    FOREVER_US,
    NO_LIMIT,
    service_ages_from_text,
    service_ages_to_text,
    slot_from_row,
    within_micros,
    worker_from_row,
    worker_load_from_rows,
)


class WorkerRegistry:
    """Registers workers and their slots.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Executor) -> None:
        self._database = database

    def beat(
        self,
        worker_id: str,
        worker_name: str | None,
        queues: Sequence[str],
        slots: Sequence[SlotReport],
        services: Iterable[ServiceAge] = (),
    ) -> None:
        """Renew a worker and all its slots with one transaction.

        Complete rows are written, so a worker that was reaped by mistake comes back
        whole.

        Args:
            worker_id: The worker.
            worker_name: Its label, or None.
            queues: Queues it declared, in order.
            slots: All its slots; rows of others are removed.
            services: How old the last ticks of its services are now.
        """
        rows: list[dict[str, Parameter]] = [
            {
                "slot_id": slot.slot_id,
                "queue_name": slot.queue_name,
                "current_job": slot.current_job_id,
            }
            for slot in slots
        ]

        def work(transaction: Transaction) -> None:
            encoded = encode_rows(rows)
            # The worker comes first, for its lock is the one to its slots as well.
            transaction.defer("beat_worker", **worker)
            transaction.defer("drop_other_slots", worker_id=worker_id, rows=encoded)
            transaction.run("beat_slots", worker_id=worker_id, rows=encoded)

        worker = _worker_row(worker_id, worker_name, queues, services)
        self._database.write(work, urgent=True)

    def show(
        self,
        worker_id: str,
        worker_name: str | None,
        queues: Sequence[str],
        services: Iterable[ServiceAge] = (),
    ) -> None:
        """Renew a worker and leave its slots; arguments as for :meth:`beat`."""
        worker = _worker_row(worker_id, worker_name, queues, services)
        self._database.write(lambda tx: tx.run("beat_worker", **worker), urgent=True)

    def remove(self, worker_id: str) -> int:
        """Remove a worker and its slots; return how many slots it had."""

        def work(transaction: Transaction) -> int:
            transaction.defer("drop_worker", worker_id=worker_id)
            return transaction.run("drop_slots", worker_id=worker_id)

        return self._database.write(work)

    def reap(self, worker_ids: Sequence[str]) -> int:
        """Remove workers that fell silent, and slots without a worker.

        Args:
            worker_ids: Workers whose heartbeat has not moved for a lease.

        Returns:
            How many slots were removed, all in one transaction.
        """

        def work(transaction: Transaction) -> int:
            slots = 0
            for worker_id in sorted(worker_ids):
                transaction.defer("drop_worker", worker_id=worker_id)
                slots += transaction.run("drop_slots", worker_id=worker_id)
            return slots + transaction.run("drop_orphan_slots")

        return self._database.write(work)

    def slots(
        self,
        queue_name: str | None = None,
        *,
        within_s: float | None = None,
        limit: int = NO_LIMIT,
    ) -> list[Slot]:
        """Return slots.

        Args:
            queue_name: Only of this queue, by id; None means all, by queue and id.
            within_s: Oldest heartbeat that counts, in seconds; None takes slots that
                fell silent too.
            limit: At most this many.
        """
        name = "all_slots" if queue_name is None else "slots_of_queue"
        within_us = within_micros(within_s)
        rows = self._database.read(
            lambda tx: tx.all(
                name, queue_name=queue_name, within_us=within_us, limit=limit
            )
        )
        return [slot_from_row(row) for row in rows]

    def count_slots(self, queue_name: str | None = None) -> int:
        """Return how many slots there are, live or not.

        Args:
            queue_name: Only of this queue; None means all.
        """
        rows = self._database.read(
            lambda tx: tx.all(
                "count_slots", any_queue=queue_name is None, queue_name=queue_name
            )
        )
        return int(rows[0][0])

    def overview(self, within_s: float = LIVE_WITHIN_S) -> WorkersOverview:
        """Return the live workers and the queues without one.

        A queue that is paused or has no workers has no slots either.

        Args:
            within_s: Oldest heartbeat that counts, in seconds.
        """
        within_us = int(within_s * SECOND_US)

        def work(transaction: Transaction) -> WorkersOverview:
            workers = transaction.all("worker_ages", within_us=within_us)
            slots: defaultdict[str, list[Row]] = defaultdict(list)
            for row in transaction.all("slots_of_workers", within_us=within_us):
                slots[row[0]].append(row)
            names = transaction.all("unassigned_queues", within_us=within_us)
            return WorkersOverview(
                [worker_load_from_rows(worker, slots[worker[0]]) for worker in workers],
                [name for (name,) in names],
            )

        return self._database.read(work)

    def services(self, within_s: float = LIVE_WITHIN_S) -> list[ServiceAge]:
        """Return the oldest last tick of each service over the live workers, by name.

        Args:
            within_s: Oldest heartbeat that counts, in seconds.
        """
        within_us = int(within_s * SECOND_US)
        rows = self._database.read(
            lambda tx: tx.all("service_ages", within_us=within_us)
        )
        oldest: dict[str, ServiceAge] = {}
        for text, since_beat_us in rows:
            for each in service_ages_from_text(text, max(since_beat_us, 0) / SECOND_US):
                found = oldest.get(each.name)
                if found is None or each.age_s > found.age_s:
                    oldest[each.name] = each
        return [oldest[name] for name in sorted(oldest)]

    def heartbeat_ages(self) -> list[tuple[Worker, float]]:
        """Return the workers, live or not, and the ages of their heartbeats.

        The ages are seconds by the database's clock.
        """
        rows = self._database.read(
            lambda tx: tx.all("worker_ages", within_us=FOREVER_US)
        )
        return [(worker_from_row(row[:-1]), row[-1] / SECOND_US) for row in rows]

    def all(self) -> list[Worker]:
        """Return the workers, live or not, by id."""
        rows = self._database.read(lambda transaction: transaction.all("all_workers"))
        return [worker_from_row(row) for row in rows]

    def live(self, within_s: float) -> list[Worker]:
        """Return the workers whose heartbeat is recent, by id.

        Args:
            within_s: Oldest heartbeat that counts, in seconds.
        """
        within_us = int(within_s * SECOND_US)
        rows = self._database.read(
            lambda tx: tx.all("live_workers", within_us=within_us)
        )
        return [worker_from_row(row) for row in rows]


def _worker_row(
    worker_id: str,
    worker_name: str | None,
    queues: Sequence[str],
    services: Iterable[ServiceAge],
) -> dict[str, Parameter]:
    return {
        "worker_id": worker_id,
        "worker_name": worker_name,
        "queues": ",".join(queues) or None,
        "services": service_ages_to_text(services),
    }


class Leases:
    """Takes and releases leases.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Executor) -> None:
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
        return bool(self._database.execute("release_lease", name=name, holder=holder))


def renewed(transaction: Transaction, name: str, holder: str, lease_s: float) -> bool:
    """Take or renew a lease within a transaction; see :meth:`Leases.take`."""
    lease_us = int(lease_s * SECOND_US)
    return bool(
        transaction.all("take_lease", name=name, holder=holder, lease_us=lease_us)
    )
