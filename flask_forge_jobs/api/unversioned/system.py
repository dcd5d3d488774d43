"""Liveness, metrics, storage facts."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.fields import Text
from flask_forge_jobs.api.schemas.system import StorageInfoSchema
from flask_forge_jobs.auth.permissions import Permission

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health(_api: Api) -> Response:
    """Return ``ok``; the storage is not used."""
    return Response("ok", content_type="text/plain; charset=utf-8")


def metrics(api: Api) -> Response:
    """Return the metrics in the Prometheus text format."""
    return Response(api.render_metrics(), content_type=METRICS_CONTENT_TYPE)


def storage_info(api: Api) -> Response:
    """Return the backend and its facts."""
    return api.answer(api.storage.describe())


ROUTES = (
    Route(
        view=health, permission=None, answer=Text(metadata={"examples": ["ok"]}),
        content_type="text/plain", is_compared=False,
    ),
    Route(
        view=metrics, permission=Permission.METRICS_READ, answer=Text(),
        content_type="text/plain", is_compared=False,
    ),
    Route(
        view=storage_info, permission=Permission.READ, reach=Reach.VIEW,
        answer=StorageInfoSchema(), is_current=True,
    ),
)  # fmt: skip
