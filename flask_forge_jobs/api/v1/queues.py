"""Queues: register, list, read, change, delete, pause many.

The ``ETag`` of a queue covers its settings only, because ``If-Match`` guards those;
counts change all the time. A read of a queue is therefore never a 304.
"""

from __future__ import annotations

from typing import cast

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.etags import expected, settings_etag
from flask_forge_jobs.api.response import empty_response, json_response, located
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import queues as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import queues
from flask_forge_jobs.model.queues import ChangeNote, QueueChanges, QueueOverview

_QUEUE = schemas.QueueDetailsSchema()


def create(api: Api) -> Response:
    """Register a queue."""
    settings = api.body()
    name = settings.pop("name")
    api.scope.require(name)
    note = ChangeNote(api.principal.id, settings.pop("reason", None))
    queue = queues.create(api.storage, name, cast("QueueChanges", settings), note)
    return located(_answer(api, queue), api.state.request, name)


def list_all(api: Api) -> Response:
    """Return every registered queue."""
    listed = queues.overview(api.storage)
    allows = api.scope.allows
    return api.listing([queue for queue in listed if allows(queue.settings.name)])


def get(api: Api, name: str) -> Response:
    """Return one queue."""
    return _answer(api, queues.get_queue(api.storage, name))


def change(api: Api, name: str) -> Response:
    """Change some settings of a queue; ``If-Match`` guards against lost updates."""
    changes = api.body()
    note = ChangeNote(api.principal.id, changes.pop("reason", None))
    settings = cast("QueueChanges", changes)
    queue = queues.changed(api.storage, name, settings, expected(settings_etag), note)
    return _answer(api, queue)


def delete(api: Api, name: str) -> Response:
    """Unregister a queue; ``force`` also deletes its unfinished jobs."""
    query = api.query()
    if query["force"]:
        api.principal.require(Permission.JOBS_DELETE)
    report = queues.delete(api.storage, name, limits=api.bulk_limits, **query)
    response = empty_response(204)
    response.headers["X-Jobs-Deleted"] = str(report.deleted)
    response.headers["X-Jobs-Cancel-Requested"] = str(report.cancel_requested)
    return response


def act(api: Api) -> Response:
    """Pause or resume some or all queues, or begin or end their cool-downs."""
    arguments = api.body()
    arguments["note"] = ChangeNote(api.principal.id, arguments.pop("reason"))
    for name in arguments["queues"] or ():
        api.scope.require(name)
    if arguments["queues"] is None and api.scope.queues is not None:
        known = [queue.name for queue in api.storage.queues.all()]
        arguments["queues"] = [name for name in known if api.scope.allows(name)]
    changed = queues.act(api.storage, **arguments, now=api.now)
    return json_response({"changed": changed})


def _answer(api: Api, queue: QueueOverview) -> Response:
    response = api.answer(queue)
    response.set_etag(settings_etag(queue.settings))
    return response


ROUTES = (
    Route(
        view=create, permission=Permission.QUEUES_EDIT, reach=Reach.VIEW,
        body=schemas.NewQueueRequestSchema(), answer=_QUEUE, status=201,
        gives=("ETag", "Location"),
    ),
    Route(
        view=list_all, permission=Permission.READ, reach=Reach.VIEW,
        answer=List(Nested(schemas.QueueDetailsSchema)),
    ),
    Route(
        view=get, permission=Permission.READ, reach=Reach.QUEUE, answer=_QUEUE,
        errors=(404,), gives=("ETag",), is_compared=False,
    ),
    Route(
        view=change, permission=Permission.QUEUES_EDIT, reach=Reach.QUEUE,
        body=schemas.ChangeQueueRequestSchema(), answer=_QUEUE, errors=(404, 412),
        takes=("If-Match",), gives=("ETag",),
    ),
    Route(
        view=delete, permission=Permission.QUEUES_EDIT, reach=Reach.QUEUE,
        query=schemas.DeleteQueueQuerySchema(), status=204, errors=(404,), is_bulk=True,
        in_batches=True, gives=("X-Jobs-Deleted", "X-Jobs-Cancel-Requested"),
    ),
    Route(
        view=act, permission=Permission.QUEUES_EDIT, reach=Reach.VIEW,
        body=schemas.QueueActionRequestSchema(),
        answer=schemas.QueueActionReportSchema(), errors=(404, 412), is_bulk=True,
    ),
)  # fmt: skip
