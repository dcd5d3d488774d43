"""Charts of workers: resource use, and database performance."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import array_response, dumper
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.series import (
    DbHealthSeries,
    ResourceSeries,
    SamplesQuery,
)
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import samples
from flask_forge_jobs.handlers.samples import SampleRange

_DUMP_RESOURCES = dumper(ResourceSeries())
_DUMP_DB_HEALTH = dumper(DbHealthSeries())
_QUERY = SamplesQuery()


def resource_series(api: Api) -> Response:
    """Return CPU, memory and disk use of each worker over time."""
    asked = SampleRange(**api.query(_QUERY))
    found = samples.resource_series(api.storage, asked, now=api.now)
    return array_response([_DUMP_RESOURCES(each) for each in found])


def db_series(api: Api) -> Response:
    """Return latency, throughput and size of the database, per worker."""
    asked = SampleRange(**api.query(_QUERY))
    found = samples.db_series(api.storage, asked, now=api.now)
    return array_response([_DUMP_DB_HEALTH(each) for each in found])


ROUTES = (
    Route(
        method="GET", path="/queue/resource-series", endpoint="queue_resource_series",
        view=resource_series, permission=Permission.READ, query=_QUERY,
        answer=List(Nested(ResourceSeries)),
    ),
    Route(
        method="GET", path="/queue/db-series", endpoint="queue_db_series",
        view=db_series, permission=Permission.READ, query=_QUERY,
        answer=List(Nested(DbHealthSeries)),
    ),
)  # fmt: skip
