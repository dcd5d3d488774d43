"""The table of all routes."""

from __future__ import annotations

from functools import cache

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.unversioned import bulk, cron, jobs, queues, series, system
from flask_forge_jobs.api.v1 import (
    activity,
    attention,
    audit,
    batches,
    concurrency,
    description,
    enqueue,
    errors,
    explain,
    gauges,
    health,
    me,
    rate_limits,
    workers,
)
from flask_forge_jobs.api.v1 import bulk as v1_bulk
from flask_forge_jobs.api.v1 import bulk_runs as v1_bulk_runs
from flask_forge_jobs.api.v1 import cron as v1_cron
from flask_forge_jobs.api.v1 import jobs as v1_jobs
from flask_forge_jobs.api.v1 import queues as v1_queues
from flask_forge_jobs.api.v1 import series as v1_series

_UNVERSIONED_MODULES = (system, queues, series, jobs, bulk, cron)
_V1_MODULES = (
    activity, attention, audit, description, v1_jobs, v1_bulk, v1_bulk_runs, batches,
    v1_series, v1_cron, v1_queues, enqueue, errors, explain, gauges, health, me,
    rate_limits, concurrency, workers,
)  # fmt: skip
# The reference's routes, at its paths.
UNVERSIONED: tuple[Route, ...] = tuple(
    route for each in _UNVERSIONED_MODULES for route in each.ROUTES
)
# Ours, below /v1.
V1: tuple[Route, ...] = tuple(route for each in _V1_MODULES for route in each.ROUTES)


@cache
def all_routes(*, enable_demo: bool) -> tuple[Route, ...]:
    """Return every route: the reference's, the same below ``/v1``, and ours.

    A route of ours replaces the same one below ``/v1`` if it shows more.
    """
    known = (*UNVERSIONED, jobs.DEMO_ROUTE) if enable_demo else UNVERSIONED
    ours = {(route.method, route.path) for route in V1}
    same = [route.under_v1() for route in known]
    same = [route for route in same if (route.method, route.path) not in ours]
    return (*known, *same, *V1)
