"""Queues: overview, slots, and settings."""

from __future__ import annotations

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import single_query_value
from flask_forge_jobs.api.response import dumper, empty_response, json_response
from flask_forge_jobs.api.schemas.processes import QueueProcess
from flask_forge_jobs.api.schemas.queues import (
    BackoffRequest,
    MaxWorkersRequest,
    PausedRequest,
    QueueOverview,
)
from flask_forge_jobs.handlers import processes, queues

_DUMP_OVERVIEW = dumper(QueueOverview())
_DUMP_PROCESS = dumper(QueueProcess())
_MAX_WORKERS = MaxWorkersRequest()
_PAUSED = PausedRequest()
_BACKOFF = BackoffRequest()


def overview(api: Api) -> Response:
    """Return every registered queue."""
    return json_response(
        [_DUMP_OVERVIEW(queue) for queue in queues.overview(api.storage)]
    )


def list_processes(api: Api) -> Response:
    """Return the worker slots, all or of one queue."""
    queue_name = single_query_value(request, "queue_name")
    found = processes.list_processes(api.storage, queue_name)
    return json_response([_DUMP_PROCESS(process) for process in found])


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
