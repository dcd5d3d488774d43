"""Queues: overview, slots, and settings."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import array_response, dumper, empty_response
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.processes import ProcessesQuery, QueueProcess
from flask_forge_jobs.api.schemas.queues import (
    BackoffRequest,
    MaxWorkersRequest,
    PausedRequest,
    QueueOverview,
)
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import processes, queues

_DUMP_OVERVIEW = dumper(QueueOverview())
_DUMP_PROCESS = dumper(QueueProcess())
_PROCESSES_QUERY = ProcessesQuery()
_MAX_WORKERS = MaxWorkersRequest()
_PAUSED = PausedRequest()
_BACKOFF = BackoffRequest()


def overview(api: Api) -> Response:
    """Return every registered queue."""
    return array_response(
        [_DUMP_OVERVIEW(queue) for queue in queues.overview(api.storage)]
    )


def list_processes(api: Api) -> Response:
    """Return the worker slots, all or of one queue."""
    found = processes.list_processes(api.storage, **api.query(_PROCESSES_QUERY))
    return array_response([_DUMP_PROCESS(process) for process in found])


def set_max_workers(api: Api, name: str) -> Response:
    """Set the cluster-wide worker total."""
    queues.set_max_workers(api.storage, name, **api.body(_MAX_WORKERS))
    return empty_response()


def set_paused(api: Api, name: str) -> Response:
    """Pause or resume."""
    queues.set_paused(api.storage, name, **api.body(_PAUSED))
    return empty_response()


def set_backoff(api: Api, name: str) -> Response:
    """Set the curve of failures and throttles."""
    queues.set_backoff(api.storage, name, **api.body(_BACKOFF))
    return empty_response()


ROUTES = (
    Route(
        method="GET", path="/queue/overview", endpoint="queue_overview", view=overview,
        permission=Permission.READ, answer=List(Nested(QueueOverview)),
    ),
    Route(
        method="GET", path="/queue/processes", endpoint="queue_processes",
        view=list_processes, permission=Permission.READ, query=_PROCESSES_QUERY,
        answer=List(Nested(QueueProcess)),
    ),
    Route(
        method="POST", path="/queue/<name>/max-workers",
        endpoint="queue_set_max_workers", view=set_max_workers,
        permission=Permission.QUEUES_EDIT, body=_MAX_WORKERS, errors=(404,),
    ),
    Route(
        method="POST", path="/queue/<name>/paused", endpoint="queue_set_paused",
        view=set_paused, permission=Permission.QUEUES_EDIT, body=_PAUSED, errors=(404,),
    ),
    Route(
        method="POST", path="/queue/<name>/backoff", endpoint="queue_set_backoff",
        view=set_backoff, permission=Permission.QUEUES_EDIT, body=_BACKOFF,
        errors=(404,),
    ),
)  # fmt: skip
