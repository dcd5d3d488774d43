"""Readiness, for load balancers and operators."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import UNAVAILABLE_RETRY_AFTER_S
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.system import ReadinessSchema
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers.readiness import ReadyStatus, readiness

_READINESS = ReadinessSchema()


def ready(api: Api) -> Response:
    """Return whether the database answers, is up to date and has live workers."""
    report = readiness(api.storage, api.scope.queues)
    if report.status is not ReadyStatus.UNAVAILABLE:
        return api.answer(report)
    response = api.answer(report, 503)
    response.headers["Retry-After"] = str(UNAVAILABLE_RETRY_AFTER_S)
    return response


ROUTES = (
    Route(
        view=ready, permission=Permission.READ, reach=Reach.VIEW, answer=_READINESS,
        other_answers={503: _READINESS}, gives=("Retry-After",), is_compared=False,
        is_current=True,
    ),
)  # fmt: skip
