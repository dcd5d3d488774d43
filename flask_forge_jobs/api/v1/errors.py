"""Failures by signature."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import linked
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import errors as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import errors


def list_errors(api: Api) -> Response:
    """Return the failures of up to 30 days, grouped by signature."""
    query = api.query()
    query["queue_names"] = api.scope.names(query["queue_names"])
    page = errors.list_errors(api.storage, **query)
    return linked(api.listing(page.groups, page.total), page.next_cursor)


ROUTES = (
    Route(
        view=list_errors, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.ErrorsQuerySchema(),
        answer=List(Nested(schemas.ErrorGroupSchema)), gives=("Link",),
    ),
)  # fmt: skip
