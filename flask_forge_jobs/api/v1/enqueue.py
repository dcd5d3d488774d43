"""Enqueue one job or many."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import (
    ENQUEUE_HEADERS,
    REPLAYED_HEADER,
    add_enqueue_headers,
    located,
    replayed,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import new_jobs as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import job_actions
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD
from flask_forge_jobs.tracing import carried

_ENQUEUED = schemas.EnqueuedJobSchema()


def enqueue_one(api: Api, operation: str) -> EnqueueResult:
    """Enqueue the job in the body; ``operation`` is part of its request key."""
    arguments, scope = api.body(), api.scope
    require_queues(api, [arguments])
    job = job_actions.new_job(
        router=scope.router(api.options.router),
        is_key_of_queue=scope.has_own_keys,
        registry=api.options.registry,
        **arguments,
    )
    scope.require_parents(job.after)
    result = job_actions.enqueue(
        api.storage,
        job.with_carried(carried()),
        api.admission,
        key=api.request_key(operation),
    )
    api.tell_enqueued([result])
    return result


def require_queues(api: Api, requests: Iterable[Mapping[str, Any]]) -> None:
    """Check that the queues which requests for jobs name are the caller's."""
    for each in requests:
        if each["queue_name"] is not None:
            api.scope.require(each["queue_name"])


def new_jobs(
    api: Api,
    requests: Sequence[Mapping[str, Any]],
    own: Collection[str] = (),
    **bounds: Any,
) -> list[NewJob]:
    """Return the jobs of checked requests, which may wait for ``own`` other ids.

    ``bounds`` are those of :func:`.job_actions.new_jobs`.
    """
    jobs = job_actions.new_jobs(
        requests,
        router=api.scope.router(api.options.router),
        is_key_of_queue=api.scope.has_own_keys,
        registry=api.options.registry,
        **bounds,
    )
    parents = (each for job in jobs for each in job.after)
    api.scope.require_parents(each for each in parents if each not in own)
    taken_along = carried()
    return [job.with_carried(taken_along) for job in jobs]


def enqueue(api: Api) -> Response:
    """Enqueue one job, or return the unfinished one that holds its dedupe key."""
    result = enqueue_one(api, "v1_enqueue")
    response = api.answer(result, 200 if result.is_deduped else 201)
    located(response, api.state.request, result.id)
    add_enqueue_headers(response, result)
    return response


def enqueue_many(api: Api) -> Response:
    """Enqueue up to 1,000 jobs in one transaction."""
    items = api.body()["items"]
    require_queues(api, items)
    report = job_actions.enqueue_many(
        api.storage,
        new_jobs(api, items),
        api.admission,
        key=api.request_key("v1_enqueue_many"),
    )
    api.tell_enqueued(report.results)
    return replayed(api.answer(report), is_replayed=report.is_replayed)


ROUTES = (
    Route(
        view=enqueue, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=schemas.NewJobRequestSchema(), answer=_ENQUEUED, status=201,
        other_answers={200: _ENQUEUED}, errors=(404,), takes=(REQUEST_KEY_FIELD,),
        gives=("Location", *ENQUEUE_HEADERS),
    ),
    Route(
        view=enqueue_many, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=schemas.NewJobsRequestSchema(), answer=schemas.EnqueuedJobsSchema(),
        status=201, errors=(404,), is_bulk=True, takes=(REQUEST_KEY_FIELD,),
        gives=(REPLAYED_HEADER,),
    ),
)  # fmt: skip
