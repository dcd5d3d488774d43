"""One job: delete, cancel, reschedule."""

from __future__ import annotations

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import refuse_bad_unread_body
from flask_forge_jobs.api.response import dumper, empty_response, json_response
from flask_forge_jobs.api.routes import JOB_PATH, Reach, Route
from flask_forge_jobs.api.schemas.jobs import (
    CancelOutcome,
    CancelRequest,
    DeleteOutcome,
    JobLine,
    RescheduleRequest,
)
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import job_actions
from flask_forge_jobs.model import jobs

_CANCEL = CancelRequest()
_CANCEL_OUTCOME = CancelOutcome()
_DELETE_OUTCOME = DeleteOutcome()
_RESCHEDULE = RescheduleRequest()
_ROW = JobLine()
_DUMP_ROW = dumper(_ROW)


def delete(api: Api, job_id: str) -> Response:
    """Delete one job; a running one is asked to stop (202)."""
    refuse_bad_unread_body(request, api.options.max_body_bytes)
    outcome = job_actions.delete(api.storage, job_id)
    if outcome is jobs.DeleteOutcome.DELETED:
        return empty_response(204)
    return json_response({"outcome": outcome}, 202)


def cancel(api: Api, job_id: str) -> Response:
    """Ask a running job to stop (202), or end a waiting one (200)."""
    arguments = api.optional_body(_CANCEL)
    outcome = job_actions.cancel(api.storage, job_id, **arguments)
    is_asked = outcome is jobs.CancelOutcome.CANCEL_REQUESTED
    return json_response({"id": job_id, "outcome": outcome}, 202 if is_asked else 200)


def reschedule(api: Api, job_id: str) -> Response:
    """Change start, priority or queue of a waiting job; return the job."""
    arguments = api.body(_RESCHEDULE)
    if arguments["queue_name"] is not None:
        api.scope.require(arguments["queue_name"])
    job = job_actions.reschedule(
        api.storage, job_id, redactor=api.redactor, **arguments
    )
    return json_response(_DUMP_ROW(job))


ROUTES = (
    Route(
        method="DELETE", path=JOB_PATH, endpoint="v1_job_delete", view=delete,
        permission=Permission.JOBS_DELETE, reach=Reach.JOB, status=204,
        other_answers={202: _DELETE_OUTCOME}, errors=(404,),
    ),
    Route(
        method="POST", path=f"{JOB_PATH}/cancel", endpoint="v1_job_cancel",
        view=cancel, permission=Permission.JOBS_DELETE, reach=Reach.JOB, body=_CANCEL,
        is_body_optional=True, answer=_CANCEL_OUTCOME, status=202,
        other_answers={200: _CANCEL_OUTCOME}, errors=(404, 409),
    ),
    Route(
        method="POST", path=f"{JOB_PATH}/reschedule", endpoint="v1_job_reschedule",
        view=reschedule, permission=Permission.JOBS_RETRY, reach=Reach.JOB,
        body=_RESCHEDULE, answer=_ROW, errors=(404, 409),
    ),
)  # fmt: skip
