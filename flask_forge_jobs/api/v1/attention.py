"""The attention report."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.attention import AttentionSchema
from flask_forge_jobs.auth.permissions import Permission


def show(api: Api) -> Response:
    """Return the attention report, at most a second old."""
    return api.answer(api.attention.report(api.storage, api.scope.queues))


ROUTES = (
    Route(
        view=show, permission=Permission.READ, reach=Reach.VIEW,
        answer=AttentionSchema(),
    ),
)  # fmt: skip
