"""How the slots of the queues are shared out over the workers that serve them.

Every worker works the shares out for itself. The same queues and workers give the same
shares, so no message is needed and no worker waits for a leader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from zlib import crc32

from flask_forge_jobs.model.queues import MAX_SLOTS_PER_WORKER


def shares(
    totals: Mapping[str, int], workers: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], int]:
    """Return how many jobs of each queue each worker may run at once.

    Each gets the quotient. The remainder goes to the workers that have the fewest slots
    so far, and among equals in an order that differs from queue to queue, so that many
    small queues do not all end up in one worker.

    Args:
        totals: Slots of each queue over all workers, its ``max_workers``.
        workers: The queues that each worker declared, by its id; none means all.

    Returns:
        By queue and worker, for every worker that serves the queue; at most 64.
    """
    load: Counter[str] = Counter()
    found: dict[tuple[str, str], int] = {}
    for queue in sorted(totals):
        serving = [
            worker for worker, names in workers.items() if not names or queue in names
        ]
        if not serving:
            continue
        quotient, remainder = divmod(totals[queue], len(serving))
        serving.sort(key=lambda worker: (load[worker], _turn(queue, worker), worker))
        for place, worker in enumerate(serving):
            share = min(quotient + (place < remainder), MAX_SLOTS_PER_WORKER)
            found[queue, worker] = share
            load[worker] += share
    return found


def _turn(queue: str, worker: str) -> int:
    return crc32(f"{queue}\0{worker}".encode())
