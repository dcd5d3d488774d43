"""The state of one job, for a browser that has nothing but a link to it."""

from __future__ import annotations

from flask import Response, current_app
from werkzeug.exceptions import NotFound

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import dumper, json_response
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.jobs import JobState
from flask_forge_jobs.handlers import jobs

ENDPOINT = "v1_job_status"
_STATE = JobState()
_DUMP = dumper(_STATE)


def job_status(api: Api, token: str) -> Response:
    """Return state, progress and result of the job of a signed link."""
    job_id = api.status_links.job_id(current_app, token)
    if job_id is None:
        raise NotFound("this link is invalid or has expired")
    state = jobs.job_state(api.storage, job_id, redactor=api.redactor)
    return json_response(_DUMP(state))


ROUTES = (
    Route(
        method="GET", path="/v1/job-status/<token>", endpoint=ENDPOINT,
        view=job_status, permission=None, answer=_STATE, errors=(404,),
    ),
)  # fmt: skip
