"""Workers, with the jobs of their slots."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import linked, truncated
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import workers as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import workers


def list_workers(api: Api) -> Response:
    """Return the workers, lost ones for an hour, with the jobs of their slots."""
    query = api.query()
    if query["queue"] is not None:
        api.scope.require(query["queue"])
    page = workers.list_workers(api.storage, api.scope.names(), **query)
    response = linked(api.answer(page), page.next_cursor)
    return truncated(response, is_whole=page.is_whole)


def get(api: Api, worker_id: str) -> Response:
    """Return one worker with the jobs of its slots."""
    return api.answer(workers.get_worker(api.storage, worker_id, api.scope.names()))


ROUTES = (
    Route(
        view=list_workers, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.WorkersQuerySchema(), answer=schemas.WorkerPageSchema(),
        gives=("Link", "X-Result-Truncated"),
    ),
    Route(
        view=get, permission=Permission.READ, reach=Reach.VIEW,
        answer=schemas.WorkerDetailSchema(), errors=(404,),
    ),
)  # fmt: skip
