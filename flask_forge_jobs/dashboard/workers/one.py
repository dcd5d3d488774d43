"""One worker: its slots, the jobs that were rescued from it, and its machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.charts import machines as charts
from flask_forge_jobs.dashboard.charts import ranges
from flask_forge_jobs.dashboard.charts.figure import Figure
from flask_forge_jobs.dashboard.charts.jobs import ChartPage
from flask_forge_jobs.dashboard.reads import kept_s
from flask_forge_jobs.dashboard.workers.rows import WorkerRow
from flask_forge_jobs.handlers.machines import Machines, machines
from flask_forge_jobs.handlers.workers import WorkerDetail, get_worker

MAX_RESCUED = 20
_KEPT_S = 15.0
# Those of the database that a worker sees by itself: reads, writes and calls.
_OWN = 3


class WorkerView(ChartPage):
    """One worker; raises WorkerNotFoundError if the caller may not know of it."""

    def __init__(self, api: Api, worker_id: str) -> None:
        super().__init__(api)
        self._id = worker_id
        names = api.scope.names()

        def read() -> WorkerDetail:
            return get_worker(api.storage, worker_id, names)

        key = "worker", worker_id, names
        detail = api.snapshots.get(key, read, kept_s=kept_s())
        self.row = WorkerRow(detail)
        self.running = sorted(detail.running, key=lambda run: -run.run_ms)
        self.rescued = detail.rescued[:MAX_RESCUED]
        self.more_rescued = len(detail.rescued) - len(self.rescued)

    @property
    def sees_machine(self) -> bool:
        """Whether the caller sees all queues that the machine works for."""
        queues = self._api.scope.queues
        return queues is None or set(self.row.worker.queues) <= set(queues)

    @cached_property
    def _use(self) -> tuple[ranges.Range, Machines]:
        """The range of the read, which may be a moment older than the page."""
        api, shown = self._api, self.range.of_samples

        def read() -> tuple[ranges.Range, Machines]:
            history = machines(
                api.storage,
                start=shown.start,
                end=shown.end,
                bucket_secs=shown.width_s,
                worker_id=self._id,
            )
            # Its name is the heading, and may be long.
            return shown, replace(history, names={self._id: "this machine"})

        key = "use of worker", self._id, *shown.key
        return api.snapshots.get(key, read, kept_s=_KEPT_S)

    @cached_property
    def figures(self) -> Sequence[Figure]:
        """The charts of its machine, and of its calls to the database."""
        if not self.sees_machine:
            return ()
        read, history = self._use
        database = charts.database(
            history.database,
            read.span,
            self.toggled,
            share=read.share,
            has_pool=False,
        )
        own = charts.resources(history, read.span, [self._id], self.toggled)
        return [*own, *database[:_OWN]]
