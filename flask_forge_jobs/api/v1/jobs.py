"""Jobs: find and read."""

from __future__ import annotations

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import dumper, json_response, next_link
from flask_forge_jobs.api.routes import JOB_PATH, Reach, Route
from flask_forge_jobs.api.schemas.jobs import (
    JobQuery,
    JobRecord,
    JobsFound,
    JobsQuery,
)
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import job_search, jobs

_FOUND = JobsFound()
_RECORD = JobRecord()
_QUERY = JobsQuery()
_REVEAL = JobQuery()
_DUMP_FOUND = dumper(_FOUND)
_DUMP_RECORD = dumper(_RECORD)


def find_jobs(api: Api) -> Response:
    """Return one page of matching jobs and the cursor of the next page."""
    query = api.query(_QUERY)
    query["wanted"] = api.scope.limit(query["wanted"])
    with api.searching(query["wanted"]):
        found = job_search.find_jobs(api.storage, redactor=api.redactor, **query)
    response = json_response(_DUMP_FOUND(found))
    if found.total is not None:
        response.headers["X-Total-Count"] = str(found.total)
    if found.next_cursor is not None:
        response.headers["Link"] = next_link(request, found.next_cursor)
    return response


def read_job(api: Api, job_id: str) -> Response:
    """Return one job with payload, history, progress, result and timings."""
    api.query(_REVEAL)
    record = jobs.read_job(api.storage, job_id, redactor=api.redactor)
    return json_response(_DUMP_RECORD(record))


ROUTES = (
    Route(
        method="GET", path="/v1/jobs", endpoint="v1_jobs_find", view=find_jobs,
        permission=Permission.READ, reach=Reach.VIEW, query=_QUERY, answer=_FOUND,
        gives=("X-Total-Count", "Link"),
    ),
    Route(
        method="GET", path=JOB_PATH, endpoint="v1_job_read", view=read_job,
        permission=Permission.READ, reach=Reach.JOB, query=_REVEAL, answer=_RECORD,
        errors=(404,), can_reveal=True,
    ),
)  # fmt: skip
