"""The table of all routes."""

from __future__ import annotations

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.unversioned import (
    bulk,
    cron,
    jobs,
    queues,
    samples,
    series,
    system,
)
from flask_forge_jobs.api.v1 import (
    activity,
    audit,
    description,
    enqueue,
    health,
    job_actions,
    rate_limits,
    status,
)
from flask_forge_jobs.api.v1 import bulk as v1_bulk
from flask_forge_jobs.api.v1 import cron as v1_cron
from flask_forge_jobs.api.v1 import jobs as v1_jobs
from flask_forge_jobs.api.v1 import queues as v1_queues
from flask_forge_jobs.api.v1 import series as v1_series

# The reference's routes, at its paths.
UNVERSIONED: tuple[Route, ...] = (
    *system.ROUTES,
    *queues.ROUTES,
    *series.ROUTES,
    *samples.ROUTES,
    *jobs.ROUTES,
    *bulk.ROUTES,
    *cron.ROUTES,
)
# Ours, below /v1.
V1: tuple[Route, ...] = (
    *activity.ROUTES,
    *audit.ROUTES,
    *description.ROUTES,
    *v1_jobs.ROUTES,
    *status.ROUTES,
    *job_actions.ROUTES,
    *v1_bulk.ROUTES,
    *v1_series.ROUTES,
    *v1_cron.ROUTES,
    *v1_queues.ROUTES,
    *enqueue.ROUTES,
    *health.ROUTES,
    *rate_limits.ROUTES,
)


def all_routes(*, enable_demo: bool) -> tuple[Route, ...]:
    """Return every route: the reference's, the same below ``/v1``, and ours."""
    known = (*UNVERSIONED, jobs.DEMO_ROUTE) if enable_demo else UNVERSIONED
    return (*known, *(route.under_v1() for route in known), *V1)
