"""Metrics: when it changed, and which kind did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts import jobs, machines, ranges
from flask_forge_jobs.dashboard.charts.figure import Figure
from flask_forge_jobs.dashboard.charts.spread import Spread, spread
from flask_forge_jobs.dashboard.kind_rows import (
    Rows,
    checked_sort,
    failures_of,
    kind_rows,
    runs_of,
)
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import Parameters, chosen
from flask_forge_jobs.dashboard.reads import Part, Reads, needed_by, read_beside_report
from flask_forge_jobs.handlers.machines import Machines
from flask_forge_jobs.handlers.machines import machines as read_machines
from flask_forge_jobs.handlers.series import KindRow, Totals, totals
from flask_forge_jobs.model.sentences import count

DEFAULT_RANGE = "24h"
# Kinds to choose from; an address may name any.
_MAX_NAMES = 50
# Which reads each block shows.
BLOCKS: Mapping[str, Sequence[str]] = {
    "headline": ("totals",),
    "throughput": ("timeline",),
    "run_time": ("timeline",),
    "wait_time": ("timeline",),
    "spread": ("totals",),
    "kinds": ("totals",),
    "machines": ("machines",),
}


class Shown(jobs.TimelineFigures):
    """The values of the page, each computed when its block asks for it."""

    def __init__(self, api: Api) -> None:
        super().__init__(api, DEFAULT_RANGE)
        args = request.args
        self.by = "queue" if args.get("by") == "queue" else "kind"
        self.sort = checked_sort(args.get("sort"))
        self.number = Parameters(request).number("page", range(1, 1_000), 1)
        self.workers = chosen(args, "worker")
        self.queue = next(iter(chosen(args, "queue")), None)
        self.kind = next(iter(chosen(args, "kind")), None)
        if self.queue is not None:
            api.scope.require(self.queue)
        # Machines run all kinds, so they say nothing about one.
        self.sees_machines = api.scope.queues is None and self.kind is None
        key = "kinds", *self.range.key, self.by, self.queue, self.kind, api.scope.queues
        needed = needed_by(BLOCKS)
        self._reads = Reads(api.snapshots, key, self._parts(), needed)
        names = ("timeline", "totals") if needed is None else needed
        read_beside_report(api, partial(self._reads.read, names))

    @property
    def query(self) -> Mapping[str, object]:
        """The parameters that links back to the page keep."""
        return {
            **super().query,
            "queue": self.queue,
            "kind": self.kind,
            "by": None if self.by == "kind" else self.by,
            "sort": None if self.sort == "-total" else self.sort,
            "page": None if self.number == 1 else self.number,
            "worker": self.workers,
        }

    def _parts(self) -> Mapping[str, Part]:
        api, shown, wide = self._api, self.range, self.range.of_samples
        storage, now = api.storage, api.now
        names = api.scope.names([self.queue] if self.queue else ())
        timeline = self._timeline_part(names, self.kind)
        return {
            "timeline": timeline,
            "totals": Part(
                lambda: totals(
                    storage,
                    by=self.by,
                    times_of=self.kind if self.by == "kind" else self.queue,
                    start=shown.start,
                    end=shown.end,
                    now=now,
                    queue_names=names,
                ),
                timeline.kept_s,
            ),
            "machines": Part(
                lambda: (
                    wide,
                    read_machines(
                        storage,
                        start=wide.start,
                        end=wide.end,
                        bucket_secs=wide.width_s,
                    ),
                ),
                15.0,
            ),
            "queues": Part(lambda: [each.name for each in storage.queues.all()], 10.0),
        }

    # -- headline ------------------------------------------------------------------

    @property
    def queue_names(self) -> Sequence[str]:
        """The queues to choose from."""
        allows = self._api.scope.allows
        names = cast("Sequence[str]", self._reads["queues"])
        return [name for name in names if allows(name)]

    @property
    def kind_names(self) -> Sequence[str]:
        """The kinds to choose from: those with figures in the range."""
        if self.by == "queue":
            return [self.kind] if self.kind else []
        names = [row.kind for row in self._totals.rows[:_MAX_NAMES]]
        return names if self.kind in {None, *names} else [*names, str(self.kind)]

    @property
    def headline(self) -> str:
        """The range in a sentence."""
        whole = self._whole
        what = ", ".join(filter(None, (self.range.words, self.kind, self.queue)))
        if whole is None or not runs_of(whole):
            return f"{what}: no job ended"
        parts = [
            f"{count(whole.completed, 'job')} done",
            f"{words.percent(failures_of(whole) / runs_of(whole))} of runs failed",
        ]
        if whole.completed:
            parts.append(f"p95 {words.span(whole.p95_ms / 1000)}")
        return f"{what}: {', '.join(parts)}"

    @property
    def _whole(self) -> KindRow | None:
        if self.kind is None or self.by == "queue":
            return self._totals.whole
        return next((row for row in self._totals.rows if row.kind == self.kind), None)

    # -- charts --------------------------------------------------------------------

    @property
    def _totals(self) -> Totals:
        return cast("Totals", self._reads["totals"])

    @property
    def spread(self) -> Spread | None:
        """How the run times of the chosen kind or queue spread."""
        return spread(self._totals.run_times)

    @cached_property
    def rows(self) -> Rows:
        """The table of kinds or queues."""
        totals = self._totals.rows
        if self.kind is not None and self.by == "kind":
            totals = [row for row in totals if row.kind == self.kind]
        return kind_rows(totals, self.sort, self.number)

    @cached_property
    def _machines(self) -> tuple[ranges.Range, Machines]:
        return cast("tuple[ranges.Range, Machines]", self._reads["machines"])

    @cached_property
    def drawn_workers(self) -> Sequence[str]:
        """The ids of the workers that are drawn."""
        return machines.busiest(self._machines[1], self.workers)

    @property
    def worker_names(self) -> Sequence[tuple[str, str]]:
        """Id and name of each worker with figures."""
        _, figures = self._machines
        named = ((each, machines.name_of(figures, each)) for each in figures.resources)
        return sorted(named, key=lambda pair: (pair[1], pair[0]))

    @property
    def resources(self) -> Sequence[Figure]:
        """The charts of the machines."""
        read, figures = self._machines
        return machines.resources(figures, read.span, self.drawn_workers, self.toggled)

    @property
    def database(self) -> Sequence[Figure]:
        """The charts of the database."""
        read, figures = self._machines
        return machines.database(
            figures.database,
            read.span,
            self.toggled,
            share=read.share,
            has_pool=self._api.storage.backend == "postgres",
        )


def kinds(api: Api) -> Mapping[str, object]:
    """Show throughput, times and failures by queue and kind, and the machines."""
    shown = Shown(api)
    return {"shown": shown, "query": shown.query}


ROUTES = (
    page(
        "/kinds", kinds, reach=Reach.VIEW, blocks=tuple(BLOCKS), nav="Metrics",
        icon="metrics", order=40, key="m",
    ),
)  # fmt: skip
