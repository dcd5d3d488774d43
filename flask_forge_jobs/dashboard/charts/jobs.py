"""Charts of jobs: how many there are a minute, and how long they run and wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from flask import request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.charts.figure import Figure, Line, percentiles
from flask_forge_jobs.dashboard.charts.ranges import DEFAULT, Range
from flask_forge_jobs.dashboard.charts.ranges import chosen as chosen_range
from flask_forge_jobs.dashboard.charts.ticks import Unit
from flask_forge_jobs.dashboard.parameters import chosen
from flask_forge_jobs.dashboard.reads import Part, Reads
from flask_forge_jobs.handlers.series import Bucket, timeline

# Seconds that figures are good for, at most; of narrow buckets fewer.
KEPT_S = 30.0


class ChartPage:
    """What every page with charts takes from its address."""

    def __init__(self, api: Api, default: str = DEFAULT) -> None:
        self._api = api
        self.range = chosen_range(request.args, api.now, default)
        self.toggled = chosen(request.args, "toggle")
        self.tables = chosen(request.args, "table")

    @property
    def query(self) -> Mapping[str, object]:
        """The parameters of its charts, which links back to the page keep."""
        return {**self.range.query, "toggle": self.toggled, "table": self.tables}


class TimelineFigures(ChartPage):
    """The charts of a page with a read named ``timeline``."""

    _reads: Reads

    def _timeline_part(
        self, queue_names: Sequence[str] | None, kind: str | None = None
    ) -> Part:
        """Return that read, of some queues or all, of one kind or all."""
        storage, shown, now = self._api.storage, self.range, self._api.now

        def read() -> tuple[Range, Sequence[Bucket]]:
            return shown, timeline(
                storage, start=shown.start, end=shown.end, now=now,
                bucket_secs=shown.width_s, queue_names=queue_names, kind=kind,
            )  # fmt: skip

        return Part(read, min(shown.width_s / 4, KEPT_S))

    @property
    def _timeline(self) -> tuple[Range, Sequence[Bucket]]:
        # The range is that of the read, which may be a moment older than the page.
        return cast("tuple[Range, Sequence[Bucket]]", self._reads["timeline"])

    @property
    def throughput(self) -> Figure:
        """Jobs a minute."""
        return throughput(*self._timeline, self.toggled)

    @property
    def run_time(self) -> Figure:
        """How long jobs run."""
        return run_time(*self._timeline, self.toggled)

    @property
    def wait_time(self) -> Figure:
        """How long jobs wait for a slot."""
        return wait_time(*self._timeline, self.toggled)


def throughput(
    shown: Range, buckets: Sequence[Bucket], toggled: Sequence[str] = ()
) -> Figure:
    """Return the jobs a minute, and those that failed on a scale of their own."""

    def rates(count_of: Callable[[Bucket], int]) -> list[float | None]:
        minutes = map(shown.minutes, range(len(buckets)))
        return [
            None if passed is None else count_of(bucket) / passed
            for bucket, passed in zip(buckets, minutes, strict=True)
        ]

    return Figure(
        "throughput",
        "Jobs per minute",
        Unit.COUNT,
        shown.span,
        [
            Line("Completed", "green", rates(lambda each: each.completed), ["area"]),
            Line(
                "Enqueued", "ink", rates(lambda each: each.enqueued), ["thin", "dashed"]
            ),
            Line(
                "Started",
                "blue",
                rates(lambda each: each.started),
                ["thin"],
                is_off=True,
            ),
        ],
        bars=[
            Line("Dead", "red", rates(lambda each: each.dead)),
            Line("Retried", "amber", rates(lambda each: each.retried)),
        ],
        toggled=toggled,
        no_rates="No jobs in this range",
    )


def run_time(
    shown: Range, buckets: Sequence[Bucket], toggled: Sequence[str] = ()
) -> Figure:
    """Return the percentiles of run times; a bucket without a run is a gap."""
    times = [
        (each.run_p50_ms, each.run_p95_ms, each.run_p99_ms) if each.completed else None
        for each in buckets
    ]
    return Figure(
        "run_time", "Run time", Unit.MILLISECONDS, shown.span, percentiles(times),
        toggled=toggled, is_band=True,
    )  # fmt: skip


def wait_time(
    shown: Range, buckets: Sequence[Bucket], toggled: Sequence[str] = ()
) -> Figure:
    """Return the percentiles of waits for a slot; a bucket without a start is a gap."""
    times = [
        (each.wait_p50_ms, each.wait_p95_ms, each.wait_p99_ms) if each.started else None
        for each in buckets
    ]
    return Figure(
        "wait_time", "Wait for a slot", Unit.MILLISECONDS, shown.span,
        percentiles(times), toggled=toggled, is_band=True,
    )  # fmt: skip
