"""The values of the overview, each computed when its block asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.charts import jobs
from flask_forge_jobs.dashboard.charts.small import Spark, spark_bars
from flask_forge_jobs.dashboard.job.progress_view import progress_view
from flask_forge_jobs.dashboard.nav_counts import ERRORS, errors_of_day
from flask_forge_jobs.dashboard.overview.grouping import grouped
from flask_forge_jobs.dashboard.overview.headline import headline, proof, stalled
from flask_forge_jobs.dashboard.overview.tiles import Gauged, Tile, gauged, pace, tiles
from flask_forge_jobs.dashboard.parameters import chosen
from flask_forge_jobs.dashboard.queue_rows import (
    QueueRow,
    QueueState,
    queue_rows,
    shared_slots,
)
from flask_forge_jobs.dashboard.reads import (
    Part,
    Reads,
    needed_by,
    read_beside_report,
    report_of,
)
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.handlers.errors import ErrorListing
from flask_forge_jobs.handlers.gauges import gauges
from flask_forge_jobs.handlers.queue_rates import QueueRates, queue_rates
from flask_forge_jobs.handlers.queues import overview
from flask_forge_jobs.handlers.series import MAX_NAMES
from flask_forge_jobs.model.error_groups import ErrorGroup
from flask_forge_jobs.model.queues import QueueOverview
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.worker_details import LongRun

MAX_NEEDS = 5
MAX_QUEUES = 15
MAX_RUNS = 10
_LEAST_S = 60
# Which reads each block shows; the attention report is the frame's.
BLOCKS: Mapping[str, Sequence[str]] = {
    "headline": ("queues", "rates", "timeline"),
    "attention": ("queues", "rates"),
    "tiles": ("timeline", "queues", "rates", "gauges"),
    "throughput": ("timeline",),
    "run_time": ("timeline",),
    "queues": ("queues", "rates"),
    "running": ("queues", "running"),
    "errors": ("errors",),
}
# The parameter of a queue, by the page that a tile leads to.
_WHOSE: Mapping[str, str] = {
    **dict.fromkeys(("errors", "jobs", "kinds", "workers"), "queue"), "queues": "q",
}  # fmt: skip


class Overview(jobs.TimelineFigures):
    """The overview of one caller."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        args = request.args
        self.queue = next(iter(chosen(args, "queue")), None)
        if self.queue is not None:
            api.scope.require(self.queue)
        self.shows_needs = args.get("needs") == "all"
        key = "overview", *self.range.key, self.queue, api.scope.queues
        needed = needed_by(BLOCKS)
        parts = self._parts()
        self._reads = Reads(api.snapshots, key, parts, needed)
        # Before the navigation, which counts the errors, too.
        names = parts if needed is None else needed
        read_beside_report(api, partial(self._reads.read, names))

    @property
    def report(self) -> Report:
        """The attention report of the caller's queues."""
        return report_of(self._api)

    @property
    def query(self) -> Mapping[str, object]:
        """The parameters that links back to the page keep."""
        return {
            **super().query,
            "queue": self.queue,
            "needs": "all" if self.shows_needs else None,
        }

    def _parts(self) -> Mapping[str, Part]:
        api, shown = self._api, self.range
        storage, now = api.storage, api.now
        names = api.scope.names([self.queue] if self.queue else ())
        timeline = self._timeline_part(names)

        def history() -> Gauged:
            chosen = [""] if names is None else names[:MAX_NAMES]
            if not chosen:
                return Gauged()
            answer = gauges(
                storage, names=chosen, start=shown.start, end=shown.end, now=now,
                bucket_secs=max(shown.width_s, _LEAST_S),
            )  # fmt: skip
            return gauged(answer.series)

        return {
            "timeline": timeline,
            "gauges": Part(history, timeline.kept_s),
            "queues": Part(lambda: overview(storage, only_live=True), 1.0),
            "rates": Part(lambda: queue_rates(storage, self._names, now=now), 5.0),
            "running": Part(self._read_running, 2.0),
            "errors": Part(lambda: errors_of_day(api, self.queue), 10.0),
        }

    def _read_running(self) -> Sequence[LongRun]:
        names = self._api.scope.names([self.queue] if self.queue else ())
        return self._api.storage.worker_reader.longest_runs(MAX_RUNS, names)

    # -- headline ------------------------------------------------------------------

    @property
    def headline(self) -> str:
        """Whether work flows."""
        lines, left_out = self._lines
        needs = len(lines) + left_out
        # The report is of all queues, so the pace of one says nothing about it.
        per_minute = self._pace if self.queue is None else None
        names = [row.name for row in self._stalled]
        return headline(self.report, needs, per_minute, names)

    @property
    def _stalled(self) -> Sequence[QueueRow]:
        # One that is behind needs the reader.
        return [row for row in self._rows if row.state is QueueState.STALLED]

    @property
    def stalled(self) -> Sentence | None:
        """The queues that complete no job, which no sentence of the report is about."""
        return stalled(self._stalled)

    @property
    def _pace(self) -> float:
        """The jobs completed per minute: 0 if either of the page's figures is."""
        of_late = sum(row.rates.per_minute for row in self._rows)
        if not self.range.span.is_open:
            return of_late  # the tile is about the past
        return min(of_late, pace(*self._timeline) or 0.0)

    @property
    def proof(self) -> str | None:
        """The numbers behind a quiet headline."""
        return proof(self.report)

    @cached_property
    def _lines(self) -> tuple[Sequence[Sentence], int]:
        report = self.report
        if self.shows_needs:
            return report.sentences, report.left_out
        return grouped(report)

    @property
    def needs(self) -> Sequence[Sentence]:
        """What needs the reader, the worst first, and alike things as one."""
        lines, _ = self._lines
        return lines if self.shows_needs else lines[:MAX_NEEDS]

    @property
    def more_needs(self) -> int:
        """How many things more there are."""
        lines, left_out = self._lines
        return len(lines) + left_out - len(self.needs)

    # -- charts --------------------------------------------------------------------

    @property
    def tiles(self) -> Sequence[Tile]:
        """The numbers at the top, which lead to the lists of the chosen queue."""
        history = cast("Gauged", self._reads["gauges"])
        capacity = self._capacity
        if self.queue is not None:
            capacity = min(capacity, sum(row.slots for row in self._rows))
        made = tiles(
            *self._timeline,
            self._rows,
            history,
            workers=self.workers,
            served=self.report.served,
            capacity=capacity,
            counts=None if self.queue else self._counts,
        )
        if self.queue is None:
            return made
        return [
            replace(each, query={**each.query, _WHOSE[each.path]: self.queue})
            for each in made
        ]

    @property
    def _capacity(self) -> int:
        """How many jobs the workers run at once."""
        return cast("int", self.report.summary.evidence["capacity"])

    @property
    def workers(self) -> int:
        """How many workers are live."""
        return cast("int", self.report.summary.evidence["workers"])

    # -- lists ---------------------------------------------------------------------

    @cached_property
    def _own(self) -> Mapping[str, QueueOverview]:
        """The queues of the caller, by name."""
        listed = cast("Sequence[QueueOverview]", self._reads["queues"])
        by_name = {queue.settings.name: queue for queue in listed}
        allows = self._api.scope.allows
        return {name: queue for name, queue in by_name.items() if allows(name)}

    @property
    def _queues(self) -> Sequence[QueueOverview]:
        chosen = self._own if self.queue is None else (self.queue,)
        return [self._own[name] for name in chosen if name in self._own]

    @property
    def queue_names(self) -> Sequence[str]:
        """The queues to choose from."""
        return list(self._own)

    @property
    def _names(self) -> Sequence[str]:
        return [queue.settings.name for queue in self._queues]

    @cached_property
    def _rows(self) -> Sequence[QueueRow]:
        rates = cast("Mapping[str, QueueRates]", self._reads["rates"])
        # One that was registered since the rates were read has none yet.
        known = [queue for queue in self._queues if queue.settings.name in rates]
        now, behind_s = self._api.now, self._api.options.behind_s
        return queue_rows(known, rates, now, behind_s, self.report)

    @cached_property
    def rows(self) -> Sequence[QueueRow]:
        """The first queues: those that wait longest, then those with most jobs."""

        def place(row: QueueRow) -> tuple[int, int, int, str]:
            return (
                -(row.oldest_s or 0),
                -row.counts.pending,
                -row.counts.in_progress,
                row.name,
            )

        return sorted(self._rows, key=place)[:MAX_QUEUES]

    @property
    def total_queues(self) -> int:
        """How many queues there are."""
        return len(self._rows)

    @property
    def order(self) -> str:
        """The order of the queues, and how many slots they share."""
        shared = shared_slots(self._rows, self._capacity)
        return f"oldest wait first; they {shared}" if shared else "oldest wait first"

    @property
    def longest(self) -> int:
        """The scale of all depth bars."""
        return max((row.backlog for row in self.rows), default=0)

    @property
    def runs(self) -> Sequence[tuple[LongRun, int | None]]:
        """The jobs that run longest, and the percentages that they report."""
        runs = cast("Sequence[LongRun]", self._reads["running"])
        return [(run, _percent(run.progress)) for run in runs]

    @property
    def _counts(self) -> Mapping[str, int] | None:
        """The jobs of all queues by state, as the bar at the top counts them.

        Those that are ``running`` in slots are of the same moment.
        """
        evidence = self.report.summary.evidence
        counts = cast("Mapping[str, int] | None", evidence.get("counts"))
        if counts is None:
            return None
        return {**counts, "running": cast("int", evidence["running"])}

    @property
    def total_claimed(self) -> int:
        """How many jobs run, or are claimed."""
        if self._counts is not None and self.queue is None:
            return self._counts["in_progress"]
        return sum(queue.counts.in_progress for queue in self._queues)

    @property
    def busy(self) -> int:
        """How many slots say that they run a job that is not done."""
        return sum(row.running for row in self._rows)

    @property
    def errors(self) -> Sequence[tuple[ErrorGroup, Spark]]:
        """The most frequent errors of a day, and their hours."""
        errors = cast("ErrorListing", self._reads["errors"])
        return [(group, spark_bars(group.trend)) for group in errors.groups]

    @property
    def total_errors(self) -> int:
        """How many different errors there are."""
        return cast("ErrorListing", self._reads["errors"]).total

    def counted(self) -> Mapping[str, int]:
        """Return the errors of a day for the navigation; none of one queue."""
        return {} if self.queue else {ERRORS: self.total_errors}


def _percent(progress: str | None) -> int | None:
    return None if progress is None else progress_view(progress).percent
