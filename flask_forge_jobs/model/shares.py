"""How the workers of the queues are shared out over the processes that serve them.

Every process works the shares out for itself. The same queues and the same processes
give the same shares, so nobody has to tell them, and none waits for a leader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from zlib import crc32

from flask_forge_jobs.model.queues import MAX_WORKERS_PER_PROCESS


def shares(
    totals: Mapping[str, int], processes: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], int]:
    """Return how many jobs of each queue each process may run at once.

    Each gets the quotient. The remainder goes to the processes that have the fewest
    workers so far, and among equals in an order that each queue turns differently, so
    that many small queues do not all end up in one process.

    Args:
        totals: Workers of each queue over all processes.
        processes: The queues that each process declared; none means all.

    Returns:
        By queue and process, for every process that serves the queue; at most 64.
    """
    load: Counter[str] = Counter()
    found: dict[tuple[str, str], int] = {}
    for queue in sorted(totals):
        hosts = [
            host for host, names in processes.items() if not names or queue in names
        ]
        if not hosts:
            continue
        quotient, remainder = divmod(totals[queue], len(hosts))
        hosts.sort(key=lambda host: (load[host], _turn(queue, host), host))
        for place, host in enumerate(hosts):
            share = min(quotient + (place < remainder), MAX_WORKERS_PER_PROCESS)
            found[queue, host] = share
            load[host] += share
    return found


def _turn(queue: str, host: str) -> int:
    return crc32(f"{queue}\0{host}".encode())
