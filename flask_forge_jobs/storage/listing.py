"""Listing: one page of jobs, newest first, and how many there are in all.

A listing asks the maintained counts which combinations of queue, kind and status exist,
reads the newest ids of each from one index, and merges them. Of very many combinations
only those with the newest jobs are read. Only a search in payloads or a very deep page
walks the jobs themselves: an index for these alone would cost every job three entries,
a tenth of the throughput. The total is the sum of the maintained counts; with a range
of time the jobs inside or outside of it are counted, whichever are fewer.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from flask_forge_jobs.model.instants import MAX_INSTANT_US, to_micros
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.database import (
    Parameter,
    Transaction,
    encode_names,
    encode_rows,
)

# Above this the combinations with the newest jobs are picked before they are read.
MAX_COMBINATIONS = 64
# Above these a walk over the jobs is cheaper than a look-up for each combination.
MAX_PICKED_ROWS = 256
MAX_MERGED_ROWS = 5000
# How many index entries a total may touch before the other side is tried.
MAX_COUNTED_ROWS = 20_000
Combination = tuple[str, str, str]


class Listing:
    """One filter against one snapshot.

    Args:
        transaction: An open read transaction.
        wanted: Which jobs.
    """

    def __init__(self, transaction: Transaction, wanted: JobFilter) -> None:
        self._transaction = transaction
        self._wanted = wanted
        self._range: dict[str, Parameter] = {
            "from_at": _micros_or(wanted.enqueued_from, 0),
            "to_at": _micros_or(wanted.enqueued_to, MAX_INSTANT_US),
        }
        self._has_range = bool(wanted.enqueued_from or wanted.enqueued_to)
        self._counts = self._matching_counts()

    def _matching_counts(self) -> dict[Combination, int]:
        wanted = self._wanted
        found: dict[Combination, int] = {}
        for name, kind, status, _, jobs in self._transaction.all("counts"):
            if (
                (not wanted.queues or name in wanted.queues)
                and (not wanted.kinds or kind in wanted.kinds)
                and (not wanted.statuses or status in wanted.statuses)
            ):
                key = (name, kind, status)
                found[key] = found.get(key, 0) + int(jobs)
        return found

    def ids(self, limit: int, offset: int) -> list[str]:
        """Return the ids of one page, newest first.

        Args:
            limit: Most ids.
            offset: Ids to skip.
        """
        if limit == 0 or not self._counts:
            return []
        depth = offset + limit
        if not self._can_merge(depth):
            rows = self._transaction.all(
                "page_by_scan", **self._scan(), limit=limit, offset=offset
            )
            return [job_id for _, job_id in rows]
        streams = [
            self._transaction.all(
                "page_of_combination", **self._combination(key), limit=depth
            )
            for key in self._combinations_of_newest(depth)
        ]
        merged = heapq.merge(*streams, reverse=True)
        return [job_id for _, job_id in islice(merged, offset, depth)]

    def _can_merge(self, depth: int) -> bool:
        most = (
            MAX_MERGED_ROWS
            if len(self._counts) <= MAX_COMBINATIONS
            else MAX_PICKED_ROWS
        )
        return self._wanted.payload_search is None and depth <= most

    def _combinations_of_newest(self, depth: int) -> Iterable[Combination]:
        """Return the combinations that the ``depth`` newest jobs can be of."""
        if len(self._counts) <= max(depth, MAX_COMBINATIONS):
            return self._counts
        found = self._transaction.all(
            "newest_of_combinations", rows=self._rows(), **self._range
        )
        ages = sorted((row[3] for row in found if row[3] is not None), reverse=True)
        # Each one picked has a job at least this new; of the same age all are picked.
        oldest = ages[depth - 1] if len(ages) >= depth else 0
        return [
            (queue_name, kind, status)
            for queue_name, kind, status, newest in found
            if newest is not None and newest >= oldest
        ]

    def total(self) -> int:
        """Return the true number of matching jobs."""
        if self._wanted.payload_search is not None:
            return int(self._transaction.all("count_by_scan", **self._scan())[0][0])
        if not self._has_range or not self._counts:
            return sum(self._counts.values())
        return self._total_in_range()

    def _total_in_range(self) -> int:
        """Count whichever is fewer: the jobs within the range, or those outside it."""
        most = max(MAX_COUNTED_ROWS // len(self._counts), 20)
        inside = self._count("count_inside", most)
        if inside is not None:
            return inside
        outside = self._count("count_outside", most)
        if outside is not None:
            return sum(self._counts.values()) - outside
        return self._count("count_inside", sum(self._counts.values()) + 1) or 0

    def _count(self, name: str, most: int) -> int | None:
        """Return a count, or None when a combination has ``most`` rows or more."""
        found = self._transaction.all(name, rows=self._rows(), most=most, **self._range)
        parts = [int(part) for row in found for part in row]
        return None if any(part >= most for part in parts) else sum(parts)

    def _rows(self) -> str:
        return encode_rows(
            {"queue_name": queue_name, "kind": kind, "status": status}
            for queue_name, kind, status in self._counts
        )

    def _combination(self, key: Combination) -> dict[str, Parameter]:
        queue_name, kind, status = key
        return {"queue_name": queue_name, "kind": kind, "status": status} | self._range

    def _scan(self) -> dict[str, Parameter]:
        wanted = self._wanted
        filters: dict[str, Parameter] = {
            "any_queue": not wanted.queues,
            "queues": encode_names("name", wanted.queues),
            "any_kind": not wanted.kinds,
            "kinds": encode_names("name", wanted.kinds),
            "any_status": not wanted.statuses,
            "statuses": encode_names("name", wanted.statuses),
            "any_payload": wanted.payload_search is None,
            "pattern": _pattern(wanted.payload_search or ""),
        }
        return filters | self._range


def _micros_or(instant: datetime | None, default: int) -> int:
    return default if instant is None else to_micros(instant)


def _pattern(text: str) -> str:
    """Return a LIKE pattern that finds text literally in a stored payload.

    The stored text is ASCII, so other characters are written as it writes them.
    """
    literal = "".join(
        character if character.isascii() else json.dumps(character)[1:-1]
        for character in text
    ).lower()
    for special in ("\\", "%", "_"):
        literal = literal.replace(special, f"\\{special}")
    return f"%{literal}%"
