"""Charts of what waits and runs in queues, and of their free slots and workers."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import encoded_array_response, encoder
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import gauges as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers.gauges import gauges

_WRITE = encoder(schemas.GaugeSeriesSchema())


def list_gauges(api: Api) -> Response:
    """Return waiting and running jobs, free slots and live workers of queues."""
    query = api.query()
    api.scope.names(query["names"])
    query["queue_names"] = api.scope.names()
    listing = gauges(api.storage, now=api.now, **query)
    parts = api.composer.compose(listing.series, _WRITE)
    return encoded_array_response(parts, listing.total)


ROUTES = (
    Route(
        view=list_gauges, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.GaugesQuerySchema(),
        answer=List(Nested(schemas.GaugeSeriesSchema)), gives=("X-Result-Truncated",),
    ),
)  # fmt: skip
