"""KindFigures: the figures of each kind within a window, for the table of kinds.

Hundreds of kinds have thousands of rows a day. So the days of a window that are over
can be added up once every half hour and kept; then only the row of today is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import DAY_US, SECOND_US
from flask_forge_jobs.model.metrics import (
    DAY,
    FINEST,
    FINEST_KEPT_US,
    LEVELS,
    Tally,
    Window,
    cover,
    floor_to,
)
from flask_forge_jobs.storage.database import encode_names, encode_rows, in_queues
from flask_forge_jobs.storage.executor import StoreExecutor

# Where the last day begins, so that it has few rows and the sum is needed for a while.
_STEP_S = 1800
# Processes write the figures of a bucket until so long after its end.
_WRITTEN_AFTER_US = 1200 * SECOND_US
# Callers limited to different queues have sums of their own.
MAX_SUMS = 20

Part = tuple[int, int, int]
Tallies = dict[str, Tally]
# The half hour, the statement, the parts and the queues.
_Key = tuple[int, str, tuple[Part, ...], frozenset[str] | None]


class KindFigures:
    """Reads the figures of kinds; their waits and total times are left out."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database
        self._sums: dict[_Key, Tallies] = {}

    def within(
        self,
        start_us: int,
        end_us: int,
        now_us: int,
        queue_names: Sequence[str] | None = None,
        *,
        per_queue: bool = False,
        keeps: bool = False,
    ) -> Tallies:
        """Return the figures of each kind, or queue, by name, in some or all queues.

        The interval ends before ``end_us``; ``now_us`` decides which levels are still
        kept. Whole days are read as such, the rest in finer steps. With ``keeps``, what
        is written late may appear half an hour later.
        """
        if end_us > floor_to(now_us, FINEST):
            # All figures so far, so that of today the row of the day is read.
            end_us = max(end_us, _end_of_day(now_us))
        is_recent = start_us >= now_us - FINEST_KEPT_US
        levels = LEVELS if is_recent else LEVELS[1:]
        statement = "queues_within" if per_queue else "kinds_within"
        since_us = start_us
        if keeps:
            over_us = floor_to(now_us - _WRITTEN_AFTER_US, DAY)
            since_us = min(max(start_us, over_us), end_us)
        parts = cover(since_us, end_us, levels)
        tallies = self._read(parts, queue_names, statement)
        over = cover(start_us, since_us, levels)
        self._add(tallies, over, now_us, queue_names, statement)
        return dict(sorted(tallies.items()))

    def active(
        self, window: Window, level: int, queue_names: Sequence[str] | None = None
    ) -> list[str]:
        """Return the kinds with figures in a window, from the stored ones of a level.

        In some or all queues, by name.
        """
        rows = self._database.read_all(
            "active_kinds",
            level=level,
            from_at=window.start_us,
            to_at=window.end_us,
            **in_queues(queue_names),
        )
        return sorted(kind for (kind,) in rows)

    def pace(
        self, window: Window, level: int, queue_names: Sequence[str]
    ) -> dict[str, list[tuple[int, int, str]]]:
        """Return the stored figures of each queue within a window, from a level.

        Each has the number of its bucket, how many jobs completed, and their run times
        as a text.
        """
        figures: dict[str, list[tuple[int, int, str]]] = {
            name: [] for name in queue_names
        }
        if not queue_names:
            return figures
        rows = self._database.read_all(
            "pace",
            level=level,
            rows=encode_names("name", queue_names),
            from_at=window.start_us,
            to_at=window.end_us,
        )
        for name, bucket_us, completed, run_times in rows:
            figures[name].append((window.index_of(bucket_us), completed, run_times))
        return figures

    def of_last_day(
        self, now_us: int, queue_names: Sequence[str] | None = None
    ) -> Tallies:
        """Return the same for the last day, from the beginning of a half hour on.

        Figures of yesterday that were written more than twenty minutes late may appear
        half an hour later.
        """
        start_us = floor_to(now_us - DAY_US, _STEP_S)
        over_us = floor_to(now_us - _WRITTEN_AFTER_US, DAY)
        today = self._read([(DAY, over_us, _end_of_day(now_us))], queue_names)
        steps = tuple(level for level in LEVELS if level >= _STEP_S)
        self._add(today, cover(start_us, over_us, steps), now_us, queue_names)
        return dict(sorted(today.items()))

    def _add(
        self,
        tallies: Tallies,
        parts: Sequence[Part],
        now_us: int,
        queue_names: Sequence[str] | None,
        statement: str = "kinds_within",
    ) -> None:
        """Add the figures of parts that are over; read them once in a half hour."""
        if not parts:
            return
        queues = None if queue_names is None else frozenset(queue_names)
        key = floor_to(now_us, _STEP_S), statement, tuple(parts), queues
        known = self._sums.get(key)
        if known is None:
            known = {
                name: replace(tally, run=_packed(tally.run))
                for name, tally in self._read(parts, queue_names, statement).items()
            }
            others = [each for each in self._sums.items() if each[0][0] == key[0]]
            self._sums = dict([*others[1 - MAX_SUMS :], (key, known)])
        for name, tally in known.items():
            tallies.setdefault(name, Tally()).merge(tally)

    def _read(
        self,
        parts: Sequence[Part],
        queue_names: Sequence[str] | None,
        statement: str = "kinds_within",
    ) -> Tallies:
        if not parts:
            return {}
        steps = [
            {"step": level, "from_at": first, "to_at": last}
            for level, first, last in parts
        ]
        rows = self._database.read_all(
            statement,
            parts=encode_rows(steps),
            **in_queues(queue_names),
        )
        tallies: Tallies = {}
        for kind, started, retried, completed, dead, cancelled, run_times in rows:
            tally = tallies.get(kind)
            if tally is None:
                tally = tallies[kind] = Tally()
            tally.started += started
            tally.retried += retried
            tally.completed += completed
            tally.dead += dead
            tally.cancelled += cancelled
            tally.run.merge_text(run_times)
        return tallies


def _end_of_day(instant_us: int) -> int:
    return floor_to(instant_us, DAY) + DAY_US


def _packed(histogram: Histogram) -> Histogram:
    """Return the histogram as one text, which is small."""
    packed = Histogram()
    packed.merge_text(histogram.encode())
    return packed
