"""Batches: make, list and read them, add jobs, seal, cancel, retry and delete them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from flask import Response, request
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.response import (
    REPLAYED_HEADER,
    completed,
    empty_response,
    linked,
    located,
    replayed,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import batches as schemas
from flask_forge_jobs.api.schemas.jobs import ExactRevealQuerySchema
from flask_forge_jobs.api.schemas.new_jobs import EnqueuedJobsSchema
from flask_forge_jobs.api.scope import NO_QUEUE_MESSAGE
from flask_forge_jobs.api.v1.enqueue import new_jobs, require_queues
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import batches, new_batches
from flask_forge_jobs.model.batches import BatchEvent
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, RequestKey

_BATCH = schemas.BatchSchema()


def create(api: Api) -> Response:
    """Store a batch, its first jobs and the jobs of its events in one transaction."""
    arguments = api.body()
    requests, is_sealed = arguments.pop("jobs"), arguments.pop("is_sealed")
    follow_ups = {
        event: _follow_up(api, event.value, described)
        for event in BatchEvent
        if (described := arguments.pop(event.value)) is not None
    }
    jobs, ids = _jobs(api, requests)
    new = new_batches.new_batch(
        follow_ups=follow_ups, queues=_own_queues(api, jobs, follow_ups), **arguments
    )
    created = new_batches.create(
        api.storage,
        new,
        jobs,
        api.admission,
        ids=ids,
        is_sealed=is_sealed,
        key=_request_key(api, "v1_batch_create"),
    )
    api.tell_enqueued(created.results)
    response = replayed(api.answer(created), is_replayed=created.is_replayed)
    return located(response, request, created.id)


def list_all(api: Api) -> Response:
    """Return one page of batches, the newest first, and the cursor of the next one."""
    query = api.query()
    with api.reading(JobFilter(), limit=query["limit"]):
        page = batches.list_batches(
            api.storage, redactor=api.redactor, queues=api.scope.queues, **query
        )
        return linked(api.answer(page), page.next_cursor)


def read(api: Api, batch_id: str) -> Response:
    """Return one batch with its exact counts and its data."""
    api.query()
    return api.answer(
        batches.read_batch(
            api.storage, batch_id, redactor=api.redactor, queues=api.scope.queues
        )
    )


def read_jobs(api: Api, batch_id: str) -> Response:
    """Return one page of the jobs of a batch, in the order of their ids."""
    query = api.query()
    with api.reading(JobFilter(), limit=query["limit"]):
        page = batches.jobs_of_batch(
            api.storage,
            batch_id,
            redactor=api.redactor,
            queues=api.scope.queues,
            **query,
        )
        return linked(api.answer(page), page.next_cursor)


def add(api: Api, batch_id: str) -> Response:
    """Add up to 1,000 jobs to a batch that has not ended, in one transaction."""
    jobs, ids = _jobs(api, api.body()["jobs"])
    report = new_batches.add_jobs(
        api.storage,
        batch_id,
        jobs,
        api.admission,
        ids=ids,
        key=_request_key(api, f"v1_batch_add {batch_id}"),
    )
    api.tell_enqueued(report.results)
    return replayed(api.answer(report), is_replayed=report.is_replayed)


def seal(api: Api, batch_id: str) -> Response:
    """Say that a batch has all its jobs, so that it ends with the last; return it."""
    return _changed(api, batches.seal, batch_id)


def cancel(api: Api, batch_id: str) -> Response:
    """End the jobs of a batch that wait, ask those that run to stop; return it."""
    return _changed(api, partial(batches.cancel, limits=api.bulk_limits), batch_id)


def retry(api: Api, batch_id: str) -> Response:
    """Run the dead jobs of a batch again; return it, and how many there were."""
    report = batches.retry(
        api.storage,
        batch_id,
        redactor=api.redactor,
        queues=api.scope.queues,
        limits=api.bulk_limits,
    )
    return completed(api.answer(report), is_complete=report.is_complete)


def delete(api: Api, batch_id: str) -> Response:
    """Delete a batch that has ended, and its jobs."""
    batches.delete(
        api.storage, batch_id, queues=api.scope.queues, limits=api.bulk_limits
    )
    return empty_response(204)


def _changed(api: Api, change: Any, batch_id: str) -> Response:
    return api.answer(
        change(api.storage, batch_id, redactor=api.redactor, queues=api.scope.queues)
    )


def _jobs(
    api: Api, requests: Sequence[Mapping[str, Any]]
) -> tuple[list[NewJob], list[str]]:
    """Return the jobs of a request, and their ids."""
    require_queues(api, requests)
    placed, ids = new_batches.placed(api.storage, requests)
    return new_jobs(api, placed, set(ids), field="jobs", least=0), ids


def _follow_up(api: Api, field: str, described: Mapping[str, Any]) -> FollowUp:
    chosen = new_batches.follow_up(
        field,
        router=api.scope.router(api.options.router),
        registry=api.options.registry,
        **described,
    )
    api.scope.require(chosen.queue_name)
    return chosen


def _own_queues(
    api: Api, jobs: Sequence[NewJob], follow_ups: Mapping[BatchEvent, FollowUp]
) -> frozenset[str]:
    """Return the queues of a batch that does not have any yet, of a limited caller."""
    own = api.scope.queues
    if own is None or jobs or follow_ups:
        return frozenset()
    if not own:
        raise Forbidden(NO_QUEUE_MESSAGE)
    return own


def _request_key(api: Api, operation: str) -> RequestKey | None:
    """Return the request's idempotency key, for all that its body asks for."""
    if REQUEST_KEY_FIELD not in request.headers:
        return None
    body = dump(present_state().document, "json").encode("ascii")
    return api.request_key(f"{operation} {hashlib.sha256(body).hexdigest()}")


ROUTES = (
    Route(
        view=create, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=schemas.NewBatchRequestSchema(), answer=schemas.CreatedBatchSchema(),
        status=201, errors=(404, 409), is_bulk=True, takes=(REQUEST_KEY_FIELD,),
        gives=("Location", REPLAYED_HEADER),
    ),
    Route(
        view=list_all, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.BatchesQuerySchema(), answer=schemas.BatchesFoundSchema(),
        gives=("Link",),
    ),
    Route(
        view=read, permission=Permission.READ, reach=Reach.VIEW,
        query=ExactRevealQuerySchema(), answer=_BATCH, errors=(404,), can_reveal=True,
    ),
    Route(
        view=read_jobs, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.BatchJobsQuerySchema(), answer=schemas.BatchJobsSchema(),
        errors=(404,), gives=("Link",),
    ),
    Route(
        view=add, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW,
        body=schemas.MembersRequestSchema(), answer=EnqueuedJobsSchema(), status=201,
        errors=(404, 409), is_bulk=True, takes=(REQUEST_KEY_FIELD,),
        gives=(REPLAYED_HEADER,),
    ),
    Route(
        view=seal, permission=Permission.JOBS_ENQUEUE, reach=Reach.VIEW, answer=_BATCH,
        errors=(404,),
    ),
    Route(
        view=cancel, permission=Permission.JOBS_DELETE, reach=Reach.VIEW, answer=_BATCH,
        errors=(404, 409), is_bulk=True, in_batches=True,
    ),
    Route(
        view=retry, permission=Permission.JOBS_RETRY, reach=Reach.VIEW,
        answer=schemas.BatchRetriedSchema(), errors=(404,), is_bulk=True,
        in_batches=True, gives=("X-Bulk-Complete",),
    ),
    Route(
        view=delete, permission=Permission.JOBS_DELETE, reach=Reach.VIEW, status=204,
        errors=(404, 409), is_bulk=True, in_batches=True,
    ),
)  # fmt: skip
