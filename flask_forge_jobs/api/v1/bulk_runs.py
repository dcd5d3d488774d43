"""Bulk runs: bulk actions that go on after their request."""

from __future__ import annotations

from flask import Response, request
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.bulk_runs import go_on_with, visible_run, visible_runs
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import present_state
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.bulk import BulkRunRequestSchema, BulkRunSchema
from flask_forge_jobs.api.v1.bulk import instruction_of, require_action
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import audit, bulk_runs
from flask_forge_jobs.model.bulk_runs import RunAuthor
from flask_forge_jobs.model.log_lines import one_line

MAX_LISTED = 100
_RUN = BulkRunSchema()
_LONGEST = 256


def begin(api: Api) -> Response:
    """Begin to act on all jobs that match a filter, in the background."""
    instruction = instruction_of(api)
    job_filter = instruction.job_filter
    within = api.scope.names(() if job_filter is None else job_filter.queues)
    with api.reading(job_filter):
        run = bulk_runs.begin(
            api.storage,
            instruction,
            _author(api),
            api.bulk_runner.holder,
            within=within,
        )
    api.storage.when_stored(go_on_with, api, run.id)
    return api.answer(run)


def _author(api: Api) -> RunAuthor:
    state = present_state()
    sent = {"body": state.document}
    return RunAuthor(
        actor=one_line(api.principal.id, _LONGEST),
        address=one_line(request.environ.get("REMOTE_ADDR", ""), _LONGEST),
        request_id=state.id,
        arguments=audit.arguments_text(sent, api.masking_redactor),
    )


def list_all(api: Api) -> Response:
    """Return the newest bulk runs of the caller's queues."""
    return api.listing(visible_runs(api, MAX_LISTED))


def get(api: Api, run_id: str) -> Response:
    """Return one bulk run; one whose process has died goes on."""
    return api.answer(visible_run(api, run_id))


def stop(api: Api, run_id: str) -> Response:
    """Stop a bulk run before its next batch; what it has changed stays."""
    run = visible_run(api, run_id)
    require_action(api, run.action)
    bulk_runs.stop(api.storage, run.id)
    return api.answer(visible_run(api, run.id))


ROUTES = (
    Route(
        view=begin, permission=Permission.JOBS_RETRY, reach=Reach.VIEW,
        body=BulkRunRequestSchema(), answer=_RUN, status=202, errors=(409,),
        is_bulk=True,
    ),
    Route(
        view=list_all, permission=Permission.READ, reach=Reach.VIEW,
        answer=List(Nested(BulkRunSchema)),
    ),
    Route(
        view=get, permission=Permission.READ, reach=Reach.VIEW, answer=_RUN,
        errors=(404,),
    ),
    Route(
        view=stop, permission=Permission.JOBS_RETRY, reach=Reach.VIEW, answer=_RUN,
        errors=(404,),
    ),
)  # fmt: skip
