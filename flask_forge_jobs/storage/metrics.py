"""MetricStore: figures over time, written by every process and merged when read.

A process adds to rows under its own source, in writes that are numbered: the row of the
source holds the number of the last one, so a repeated write changes nothing. Once a
bucket or its source is over, its rows are folded into one without a source; a row moves
in the transaction that deletes it, so it counts exactly once at any moment. A process
that adds to a folded row begins a new one. Figures older than every bucket stay in
level 0, because a counter must never go down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.ids import least_at
from flask_forge_jobs.model.charts import Figures, add_row, charts
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import (
    DAY,
    FINEST,
    FINEST_KEPT_US,
    KEPT_US,
    LEVELS,
    NOTHING,
    MetricKey,
    Tally,
    Window,
)
from flask_forge_jobs.storage.database import (
    Parameter,
    Query,
    Row,
    Transaction,
    encode_names,
    encode_rows,
    in_queues,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.metric_rows import (
    add_to_rows,
    merge_rows,
    row_of,
    total_of,
)
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.reading import read_together
from flask_forge_jobs.storage.series import NAMES_QUERY, Names, Series, filled_up

# An arbitrary lock key: two processes must not fold the same rows.
FOLD_LOCK = 7_022_013_337_003
# A process takes a new source after this time, so that its rows of a day can be folded
# before the day is over. Reading the counters means reading the rows of all sources.
SOURCE_US = 600 * SECOND_US
# A row is folded this long after its bucket or its source is over: reading today's
# figures means reading the rows of all sources that are not folded.
FOLD_AFTER_US = 120 * SECOND_US
# The number of a source's last write is kept this long: a write that has had no answer
# for longer counts as stored.
SOURCE_KEPT_US = 3600 * SECOND_US
# On SQLite, other writers wait for a batch.
FOLD_ROWS = 200
PUT_ROWS = 500
# The level of figures that are older than every bucket.
_ALL_TIME = 0
# The source of figures that are folded.
MERGED = ""


@dataclass(slots=True)
class QueueTimes:
    """How long the jobs of one queue waited and ran, in all."""

    wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class Counters:
    """All-time totals; the histograms of ``jobs`` (by queue and kind) are empty."""

    jobs: Mapping[tuple[str, str], Tally]
    times: Mapping[str, QueueTimes]
    names: Names


COUNTER_QUERIES: Sequence[Query] = (
    ("counter_totals", {"level": DAY}),
    ("counter_times", {"level": DAY}),
    NAMES_QUERY,
)
"""What :meth:`MetricStore.counters` reads."""


class MetricStore:
    """Writes and reads figures."""

    def __init__(self, database: StoreExecutor, clock: Clock) -> None:
        self._database = database
        self._series = Series(database)
        self._pace = Pace(database.backend, clock)

    # -- writing -------------------------------------------------------------------

    def register_names(self, keys: Iterable[MetricKey]) -> None:
        """Give names to new queues and kinds; :meth:`add` does it otherwise."""
        self._series.register_names(keys)

    def add(
        self,
        source: str,
        number: int,
        new: Mapping[MetricKey, Tally],
        known: Mapping[MetricKey, Tally],
    ) -> dict[MetricKey, Tally]:
        """Add figures to the rows of a source, and return these rows.

        A write that is stored already changes nothing, and returns no rows.

        Args:
            source: An id of this process, by the time of its creation; it is never
                reused, and no other process writes its rows.
            number: Of this write: 1 for the first of the source, and one more for each
                one that was stored.
            new: What to add, at most PUT_ROWS keys.
            known: Rows as the process stored them last; the rest is read.
        """
        self.register_names(new)
        full = {key: total_of(tally, new[key]) for key, tally in known.items()}
        rows = encode_rows(row_of(*each) for each in full.items())

        def work(transaction: Transaction) -> dict[MetricKey, Tally]:
            note = "begin_source" if number == 1 else "advance_source"
            if transaction.run(note, source=source, number=number) != 1:
                return {}  # it is stored already
            stored = {
                MetricKey(*each)
                for each in transaction.all(
                    "overwrite_metrics", source=source, rows=rows
                )
            }
            # A row that is gone was folded, and counts without a source.
            others = {key: each for key, each in new.items() if key not in stored}
            return {
                **{key: full[key] for key in stored},
                **add_to_rows(transaction, source, others),
            }

        return self._database.write(work)

    def append(self, rows: Iterable[Sequence[Parameter]]) -> None:
        """Store rows of buckets that have none, such as those of a made-up past.

        Their values are in the order of the columns.
        """
        made = tuple(rows)  # a transaction may be repeated
        self._database.write(lambda tx: tx.copy_rows("append_metrics", made))

    # -- reading -------------------------------------------------------------------

    def timelines(
        self, window: Window, level: int, queue_names: Sequence[str], kind: str = ""
    ) -> dict[str, list[Tally]]:
        """Return one tally per bucket of a window, by queue.

        ``level`` is the width in seconds of the stored buckets to read. An empty queue
        name stands for all queues, and has figures only for an empty ``kind``, which
        stands for all kinds.
        """
        rows = self._rows(window, level, queue_names, "timeline", kind=kind)
        return _tallies(rows, window, queue_names)

    def timelines_of_kinds(
        self,
        window: Window,
        level: int,
        kinds: Sequence[str],
        queue_names: Sequence[str] | None = None,
    ) -> dict[str, list[Tally]]:
        """Return one tally per bucket of a window, by kind, in some or all queues."""
        rows = self._rows_of_kinds(window, level, kinds, queue_names)
        return _tallies(rows, window, kinds)

    def charts(
        self,
        window: Window,
        level: int,
        names: Sequence[str],
        *,
        by_kind: bool = False,
        queue_names: Sequence[str] | None = None,
        are_active: bool = False,
    ) -> dict[str, list[Figures]]:
        """Return what a chart shows of each bucket of a window, by queue or kind.

        Cheaper than the tallies of :meth:`timelines` and :meth:`timelines_of_kinds`,
        whose arguments these are; ``queue_names`` is for kinds. They ``are_active`` if
        they are the first of all that have figures.
        """
        if are_active and by_kind:
            statement = "timeline_of_active_kinds"
            rows = self._rows_of_kinds(window, level, names, queue_names, statement)
        elif by_kind:
            rows = self._rows_of_kinds(window, level, names, queue_names)
        else:
            rows = self._rows(window, level, names, "timeline", kind="")
        return charts(rows, window, names)

    def _rows_of_kinds(
        self,
        window: Window,
        level: int,
        kinds: Sequence[str],
        queue_names: Sequence[str] | None,
        statement: str = "timeline_of_kinds",
    ) -> Sequence[Row]:
        return self._rows(
            window,
            level,
            kinds,
            statement,
            last_kind=max(kinds, default=""),
            **in_queues(queue_names),
        )

    def _rows(
        self,
        window: Window,
        level: int,
        names: Sequence[str],
        statement: str,
        **parameters: Parameter,
    ) -> Sequence[Row]:
        if not window.count or not names:
            return ()
        return self._database.read_all(
            statement,
            level=level,
            rows=encode_names("name", names),
            from_at=window.start_us,
            to_at=window.end_us,
            **parameters,
        )

    def counters(self) -> Counters:
        """Return the all-time totals."""
        totals, all_times, named = read_together(self._database, COUNTER_QUERIES)
        jobs = {
            (queue_name, kind): Tally(*counts) for queue_name, kind, *counts in totals
        }
        times: dict[str, QueueTimes] = {}
        for queue_name, wait, run in all_times:
            of_queue = times.setdefault(queue_name, QueueTimes())
            of_queue.wait.merge_text(wait)
            of_queue.run.merge_text(run)
        return Counters(jobs, times, filled_up(named, ()))

    # -- upkeep --------------------------------------------------------------------

    def now_us(self) -> int:
        """Return the present instant by the database's clock."""
        return int(self._database.read_one("now")[0][0])

    def fold(self, now_us: int) -> int:
        """Merge the rows of all processes for closed buckets; return how many.

        Any number of processes may call it; one works, the others do nothing.
        """
        over_us = now_us - FOLD_AFTER_US
        moved = 0
        for level in LEVELS:
            closed_us = over_us - level * SECOND_US
            moved += self._move_all(
                "take_unfolded",
                level,
                over_us if is_wide(level) else closed_us,
                lambda key: key,
                closed=closed_us,
                ended_before=least_at(over_us - SOURCE_US),
            )
        return moved

    def prune(self, now_us: int) -> int:
        """Drop old rows and return how many; days are added to the all-time totals."""
        before = least_at(now_us - SOURCE_KEPT_US)
        drop = methodcaller("run", "drop_old_sources", before=before)
        self._pace.write(self._database.write, drop)
        gone = 0
        for level in LEVELS:
            kept_us = FINEST_KEPT_US if level == FINEST else KEPT_US
            gone += self._move_all(
                "take_old",
                level,
                now_us - kept_us,
                _to_all_time if level == DAY else None,
            )
        return gone

    def _move_all(
        self,
        statement: str,
        level: int,
        cutoff_us: int,
        target: Callable[[MetricKey], MetricKey] | None,
        **parameters: Parameter,
    ) -> int:
        def move(transaction: Transaction) -> int:
            if not transaction.all("try_lock", lock_key=FOLD_LOCK)[0][0]:
                return 0  # another process is folding
            taken = transaction.all(
                statement, level=level, cutoff=cutoff_us, limit=FOLD_ROWS, **parameters
            )
            if taken and target is not None:
                merged: dict[MetricKey, Tally] = {}
                merge_rows(merged, taken, target)
                add_to_rows(transaction, MERGED, merged)
            return len(taken)

        moved = 0
        while True:
            count = self._pace.write(self._database.write, move)
            moved += count
            if count < FOLD_ROWS:
                return moved


def _tallies(
    rows: Iterable[Row], window: Window, names: Iterable[str]
) -> dict[str, list[Tally]]:
    timelines = {name: [NOTHING] * window.count for name in names}
    for name, bucket_us, *figures in rows:
        tallies, number = timelines[name], window.index_of(bucket_us)
        if tallies[number] is NOTHING:
            tallies[number] = Tally()
        add_row(tallies[number], figures)
    return timelines


def is_wide(level: int) -> bool:
    """Return whether the rows of a level are folded when their source is over.

    Those of narrow buckets are soon folded anyway, and they are many.
    """
    return level * SECOND_US > SOURCE_US


def _to_all_time(key: MetricKey) -> MetricKey:
    return key._replace(level=_ALL_TIME, bucket_us=0)
