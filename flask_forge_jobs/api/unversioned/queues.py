"""Queues: overview, slots, settings, cleanup."""

from __future__ import annotations

from typing import cast

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import (
    completed,
    counted,
    dumper,
    empty_response,
    encoded_response,
    truncated,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import queues as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import queues
from flask_forge_jobs.model.queues import ChangeNote, QueueChanges

_OVERVIEW = List(Nested(schemas.QueueOverviewSchema))
_DUMP_OVERVIEW = dumper(_OVERVIEW)


def overview(api: Api) -> Response:
    """Return every registered queue."""
    listed = queues.overview(api.storage, **api.query())
    scope = api.scope
    if scope.queues is None:
        body = api.last_overview.of(listed, _DUMP_OVERVIEW)
        return counted(encoded_response(body), len(listed))
    own = [queue for queue in listed if scope.allows(queue.settings.name)]
    return api.listing(own)


def list_slots(api: Api) -> Response:
    """Return the slots of the workers, of all queues or of one."""
    queue_name = api.scope.one(api.query()["queue_name"])
    listing = queues.list_slots(api.storage, queue_name)
    response = api.listing(listing.slots, listing.total)
    return truncated(response, is_whole=len(listing.slots) >= listing.total)


def list_workers(api: Api) -> Response:
    """Return the live workers and the queues that none of them serves."""
    return api.answer(api.storage.workers.overview())


def cleanup(api: Api) -> Response:
    """Delete the finished jobs whose retention is over."""
    arguments = api.body()
    arguments["queue_name"] = api.scope.one(arguments["queue_name"])
    report = queues.cleanup(api.storage, limits=api.bulk_limits, **arguments)
    return completed(api.answer(report), is_complete=report.is_complete)


def set_max_workers(api: Api, name: str) -> Response:
    """Set how many slots a queue has in the whole cluster."""
    return _change(api, name)


def set_paused(api: Api, name: str) -> Response:
    """Pause or resume a queue."""
    return _change(api, name)


def set_retention(api: Api, name: str) -> Response:
    """Set for how many days finished jobs are kept."""
    return _change(api, name)


def set_backoff(api: Api, name: str) -> Response:
    """Set the retry delays of a queue."""
    return _change(api, name)


def _change(api: Api, name: str) -> Response:
    changes = api.body()
    note = ChangeNote(api.principal.id, changes.pop("reason", None))
    queues.change(api.storage, name, cast("QueueChanges", changes), note=note)
    return empty_response()


ROUTES = (
    Route(
        view=overview, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.OverviewQuerySchema(), answer=_OVERVIEW,
    ),
    Route(
        view=list_slots, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.ProcessesQuerySchema(),
        answer=List(Nested(schemas.QueueProcessSchema)), gives=("X-Result-Truncated",),
    ),
    Route(
        view=list_workers, permission=Permission.READ,
        answer=schemas.WorkersOverviewSchema(),
    ),
    Route(
        view=cleanup, permission=Permission.JOBS_DELETE, reach=Reach.VIEW,
        body=schemas.CleanupRequestSchema(), is_body_optional=True,
        answer=schemas.CleanupReportSchema(), errors=(404, 409), is_bulk=True,
        in_batches=True, gives=("X-Bulk-Complete",),
    ),
    Route(
        view=set_max_workers, permission=Permission.QUEUES_EDIT, reach=Reach.QUEUE,
        body=schemas.MaxWorkersRequestSchema(), errors=(404,),
    ),
    Route(
        view=set_paused, permission=Permission.QUEUES_EDIT, reach=Reach.QUEUE,
        body=schemas.PausedRequestSchema(), v1_body=schemas.NotedPausedRequestSchema(),
        errors=(404,),
    ),
    Route(
        view=set_retention, permission=Permission.QUEUES_EDIT, reach=Reach.QUEUE,
        body=schemas.RetentionRequestSchema(), errors=(404,),
    ),
    Route(
        view=set_backoff, permission=Permission.QUEUES_EDIT, reach=Reach.QUEUE,
        body=schemas.BackoffRequestSchema(), errors=(404,),
    ),
)  # fmt: skip
