"""How the slots of a queue are shared out over the workers that serve it.

Every worker computes the shares itself. The same queues and workers give the same
shares, so they need no leader and no messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from zlib import crc32

from flask_forge_jobs.model.queues import MAX_SLOTS_PER_WORKER


def shares(
    totals: Mapping[str, int], workers: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], int]:
    """Return how many jobs of each queue each worker may run at once, at most 64.

    ``totals`` are the slots of each queue over all workers, its ``max_workers``.
    ``workers`` are the queues that each declares, by its id; none means all. Each
    worker gets the quotient. The remainder goes to those with the fewest slots so far;
    ties are broken in an order that differs per queue, so that small queues do not all
    end up in one worker.
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
