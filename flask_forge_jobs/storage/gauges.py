"""GaugeStore: gauges of queues over time, of which the leader adds a row a minute.

Wider buckets are made anew of the minutes within them, so that repeating a write, or
two leaders in one minute, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import SAMPLE_LEVELS, Window, floor_to
from flask_forge_jobs.storage.database import (
    Parameter,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.pace import Pace

_MINUTE = SAMPLE_LEVELS[0]


class GaugeStore:
    """Writes and reads gauges."""

    def __init__(self, database: StoreExecutor, clock: Clock) -> None:
        self._database = database
        self._pace = Pace(database.backend, clock)

    def append(self, rows: Iterable[Sequence[Parameter]]) -> None:
        """Store rows of buckets that have none, such as those of a made-up past.

        Their values are in the order of the columns.
        """
        made = tuple(rows)  # a transaction may be repeated
        self._database.write(lambda tx: tx.copy_rows("append_gauges", made))

    def put(self, at_us: int, by_queue: Mapping[str, Gauges]) -> None:
        """Store one sample of each queue, replacing those of the same minute."""
        rows = encode_rows(
            {"queue_name": name, **asdict(gauges)} for name, gauges in by_queue.items()
        )
        names = encode_names("name", list(by_queue))

        def work(transaction: Transaction) -> None:
            start_us = floor_to(at_us, _MINUTE)
            transaction.run("put_gauges", level=_MINUTE, from_at=start_us, rows=rows)
            for level in SAMPLE_LEVELS[1:]:
                start_us = floor_to(at_us, level)
                transaction.run(
                    "sum_gauges",
                    level=level,
                    now_level=_MINUTE,
                    from_at=start_us,
                    to_at=start_us + level * SECOND_US,
                    rows=names,
                )

        self._database.write(work)

    def within(
        self, window: Window, level: int, names: Sequence[str]
    ) -> dict[str, dict[int, Gauges]]:
        """Return the gauges by queue and number of the bucket.

        A stored bucket counts in each one that it overlaps.
        """
        rows = self._database.read_all(
            "gauges_within",
            level=level,
            rows=encode_names("name", names),
            from_at=floor_to(window.start_us, level),
            to_at=window.end_us,
        )
        by_queue: dict[str, dict[int, Gauges]] = {}
        # Thousands of rows: the common case is short, and calls no function but one.
        origin_us, width_us, end = window.start_us, window.width_us, window.count
        last_us = level * SECOND_US - 1
        for row in rows:
            name, offset_us = row[0], row[1] - origin_us
            of_queue = by_queue.get(name)
            if of_queue is None:
                of_queue = by_queue[name] = {}
            first, last = offset_us // width_us, (offset_us + last_us) // width_us
            if first == last and first not in of_queue and 0 <= first < end:
                of_queue[first] = Gauges(*row[2:])
                continue
            for number in range(max(first, 0), min(last, end - 1) + 1):
                of_queue.setdefault(number, Gauges()).merge(Gauges(*row[2:]))
        return by_queue

    def prune(self, now_us: int) -> int:
        """Drop old rows; return how many went."""
        return self._pace.prune(self._database.write, "drop_old_gauges", now_us)
