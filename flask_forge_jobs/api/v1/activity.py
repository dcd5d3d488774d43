"""Events and totals."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import activity as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import activity


def list_events(api: Api) -> Response:
    """Return the events after a given event, or the latest ones."""
    query = api.query()
    job_filter = api.scope.limit(query.pop("job_filter"))
    with api.reading(job_filter, limit=query["limit"]):
        page = activity.list_events(api.storage, job_filter, **query)
    return api.answer(page)


def stats(api: Api) -> Response:
    """Return totals over all queues."""
    totals = activity.stats(api.storage, api.now, api.scope.names())
    return api.answer(totals)


ROUTES = (
    Route(
        view=list_events, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.EventsQuerySchema(), answer=schemas.EventsPageSchema(),
        is_current=True,
    ),
    Route(
        view=stats, permission=Permission.READ, reach=Reach.VIEW,
        answer=schemas.StatsSchema(),
    ),
)  # fmt: skip
