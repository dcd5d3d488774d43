"""The worker processes, the jobs of their slots, and leases.

A lease is the exclusive right to some work for a while. It expires by the database's
clock unless renewed, so a holder that dies blocks others no longer than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.workers import (
    LIVE_WITHIN_S,
    LOST_KEPT_S,
    ServiceAge,
    Slot,
    SlotReport,
    Worker,
    WorkerProcess,
    WorkersOverview,
)
from flask_forge_jobs.storage.database import (
    Parameter,
    Query,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.reading import read_together
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

UNKNOWN_PROCESS = WorkerProcess()
# How often a worker that beats is noted at its queues.
_SERVED_PERIOD_S = 60


def overview_queries(within_s: float = LIVE_WITHIN_S) -> list[Query]:
    """Return what :meth:`WorkerRegistry.overview` reads."""
    within_us = int(within_s * SECOND_US)
    names = ("worker_ages", "slots_of_workers", "unassigned_queues")
    return [(name, {"within_us": within_us}) for name in names]


def live_query(within_s: float) -> Query:
    """Return what :meth:`WorkerRegistry.live` reads."""
    return "live_workers", {"within_us": int(within_s * SECOND_US)}


SERVICES_QUERY: Query = (
    "service_ages", {"within_us": int(LIVE_WITHIN_S * SECOND_US)},
)  # fmt: skip
"""What :meth:`WorkerRegistry.services` reads."""


class WorkerRegistry:
    """Registers workers and their slots."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def beat(
        self,
        worker_id: str,
        worker_name: str | None,
        queues: Sequence[str],
        slots: Sequence[SlotReport],
        services: Iterable[ServiceAge] = (),
        *,
        process: WorkerProcess = UNKNOWN_PROCESS,
    ) -> None:
        """Renew a worker and all its slots in one transaction.

        It writes complete rows, so a worker that was reaped by mistake comes back
        whole and is live again.

        Args:
            worker_id: The worker.
            worker_name: Its label, or None.
            queues: Queues that it serves, in order.
            slots: All its slots; other rows are removed.
            services: Age of the last tick of each of its services.
            process: Its process; only the first beat stores it.
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
            # First the worker: its lock also guards its slots.
            transaction.defer("beat_worker", **worker)
            transaction.defer("drop_other_slots", worker_id=worker_id, rows=encoded)
            transaction.defer("note_served", **serving)
            transaction.run("beat_slots", worker_id=worker_id, rows=encoded)

        worker = _worker_row(worker_id, worker_name, queues, services, process)
        serving: dict[str, Parameter] = {
            "label": worker_name or worker_id,
            "rows": encode_names("name", queues),
            "served_at": None,
            "fresh_us": _SERVED_PERIOD_S * SECOND_US,
        }
        self._database.write(work, urgent=True)

    def show(
        self,
        worker_id: str,
        worker_name: str | None,
        queues: Sequence[str],
        services: Iterable[ServiceAge] = (),
        *,
        process: WorkerProcess = UNKNOWN_PROCESS,
    ) -> None:
        """Renew a worker but not its slots; arguments as for :meth:`beat`."""
        worker = _worker_row(worker_id, worker_name, queues, services, process)
        self._database.write(lambda tx: tx.run("beat_worker", **worker), urgent=True)

    def remove(self, worker_id: str) -> int:
        """Remove a worker that stops, and its slots; return how many slots it had."""

        def work(transaction: Transaction) -> int:
            gone = transaction.all("drop_worker", worker_id=worker_id)
            _note_served(transaction, gone)
            return transaction.run("drop_slots", worker_id=worker_id)

        return self._database.write(work)

    def reap(self, worker_ids: Sequence[str]) -> int:
        """Mark silent workers as lost, and remove their slots and those of no worker.

        Workers that have been lost for an hour are removed. Returns how many slots were
        removed, all in one transaction.
        """

        def work(transaction: Transaction) -> int:
            slots = 0
            gone = []
            for worker_id in sorted(worker_ids):
                gone += transaction.all("lose_worker", worker_id=worker_id)
                slots += transaction.run("drop_slots", worker_id=worker_id)
            transaction.defer("drop_lost_workers", kept_us=int(LOST_KEPT_S * SECOND_US))
            _note_served(transaction, gone)
            return slots + transaction.run("drop_orphan_slots")

        return self._database.write(work)

    def slots(
        self,
        queue_name: str | None = None,
        *,
        within_s: float | None = None,
        limit: int = NO_LIMIT,
    ) -> list[Slot]:
        """Return slots, by queue and id.

        Args:
            queue_name: Only this queue's; None means all.
            within_s: Oldest heartbeat to include, in seconds; None includes silent
                slots.
            limit: Most slots to return.
        """
        name = "all_slots" if queue_name is None else "slots_of_queue"
        within_us = within_micros(within_s)
        rows = self._database.read_all(
            name, queue_name=queue_name, within_us=within_us, limit=limit
        )
        return [slot_from_row(row) for row in rows]

    def count_slots(self, queue_name: str | None = None) -> int:
        """Return the number of slots, live or not; a queue of None means all."""
        rows = self._database.read_all(
            "count_slots", any_queue=queue_name is None, queue_name=queue_name
        )
        return int(rows[0][0])

    def overview(self, within_s: float = LIVE_WITHIN_S) -> WorkersOverview:
        """Return the live workers, and the queues that they do not serve.

        Paused queues, and those with 0 workers, have no slots. ``within_s`` is the
        oldest heartbeat to include, in seconds.
        """
        queries = overview_queries(within_s)
        workers, rows, names = read_together(self._database, queries)
        slots: defaultdict[str, list[Row]] = defaultdict(list)
        for row in rows:
            slots[row[0]].append(row)
        return WorkersOverview(
            [worker_load_from_rows(worker, slots[worker[0]]) for worker in workers],
            [name for (name,) in names],
        )

    def services(self) -> list[ServiceAge]:
        """Return the oldest last tick of each service of the live workers, by name."""
        name, values = SERVICES_QUERY
        rows = self._database.read_all(name, **values)
        oldest: dict[str, ServiceAge] = {}
        for text, since_beat_us in rows:
            for each in service_ages_from_text(text, max(since_beat_us, 0) / SECOND_US):
                known = oldest.get(each.name)
                if known is None or each.age_s > known.age_s:
                    oldest[each.name] = each
        return [oldest[name] for name in sorted(oldest)]

    def heartbeat_ages(self) -> list[tuple[Worker, float]]:
        """Return the workers that are not lost, with the ages of their heartbeats.

        The ages are seconds by the database's clock.
        """
        rows = self._database.read_all("worker_ages", within_us=FOREVER_US)
        return [(worker_from_row(row[:-1]), row[-1] / SECOND_US) for row in rows]

    def all(self) -> list[Worker]:
        """Return the workers that are not lost, silent or not, by id."""
        rows = self._database.read_all("all_workers")
        return [worker_from_row(row) for row in rows]

    def live(self, within_s: float) -> list[Worker]:
        """Return the workers with a heartbeat in the last seconds, by id."""
        name, values = live_query(within_s)
        rows = self._database.read_all(name, **values)
        return [worker_from_row(row) for row in rows]


def _note_served(transaction: Transaction, workers: Iterable[Row]) -> None:
    """Keep at the queues when workers that are gone served them."""
    # Lock order: workers, then queues.
    for label, queues, served_at in workers:
        transaction.run(
            "note_served",
            label=label,
            rows=encode_names("name", (queues or "").split(",")),
            served_at=served_at,
            fresh_us=0,
        )


def _worker_row(
    worker_id: str,
    worker_name: str | None,
    queues: Sequence[str],
    services: Iterable[ServiceAge],
    process: WorkerProcess,
) -> dict[str, Parameter]:
    return {
        "worker_id": worker_id,
        "worker_name": worker_name,
        "queues": ",".join(queues) or None,
        "services": service_ages_to_text(services),
        **asdict(process),
    }


class Leases:
    """Takes and releases leases."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def take(self, name: str, holder: str, lease_s: float) -> bool:
        """Take a lease for some seconds, or renew the holder's own.

        Returns False while another holder has it. All holders take a lease for the
        same time.
        """
        return self._database.write(lambda tx: renewed(tx, name, holder, lease_s))

    def release(self, name: str, holder: str) -> bool:
        """Release a lease; False when the holder no longer had it."""
        return bool(self._database.execute("release_lease", name=name, holder=holder))


def renewed(transaction: Transaction, name: str, holder: str, lease_s: float) -> bool:
    """Take or renew a lease within a transaction; see :meth:`Leases.take`."""
    lease_us = int(lease_s * SECOND_US)
    rows = transaction.all("take_lease", name=name, holder=holder, lease_us=lease_us)
    return [(holder,)] == [tuple(row) for row in rows]
