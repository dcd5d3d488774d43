"""Reads of queues, which all open pages share for a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.queue_rows import QueueRow, queue_rows
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.handlers.queue_rates import QueueRates, queue_rates
from flask_forge_jobs.handlers.queues import overview
from flask_forge_jobs.model.queues import QueueOverview

# The pace is of an hour.
PACE_KEPT_S = 5.0


def all_queues(api: Api) -> Sequence[QueueOverview]:
    """Return every queue, with the slots of live workers, of all callers."""
    return api.snapshots.get("queues", lambda: overview(api.storage, only_live=True))


def rows_of(
    api: Api, queues: Sequence[QueueOverview], report: Report | None = None
) -> Sequence[QueueRow]:
    """Return a row for each of some queues, with the figures of a report."""
    names = tuple(queue.settings.name for queue in queues)
    rates = api.snapshots.get(
        ("pace", names),
        lambda: rates_of(api, names),
        kept_s=PACE_KEPT_S,
    )
    return queue_rows(queues, rates, api.now, api.options.behind_s, report)


def rates_of(api: Api, names: Sequence[str]) -> Mapping[str, QueueRates]:
    """Read the pace of each of some queues."""
    return queue_rates(api.storage, names, now=api.now)
