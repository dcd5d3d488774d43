"""Bulk actions: one route for every action."""

from __future__ import annotations

from dataclasses import replace

from flask import Response
from werkzeug.exceptions import Forbidden

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import completed
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.bulk import ActionReportSchema, ActionRequestSchema
from flask_forge_jobs.api.scope import CLUSTER_MESSAGE
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import bulk_actions
from flask_forge_jobs.handlers.bulk_actions import Instruction
from flask_forge_jobs.model.bulk import JobAction, Skip, SkipReason

# These also need the permission to delete.
_ENDING = frozenset({JobAction.DELETE, JobAction.CANCEL})


def instruction_of(api: Api) -> Instruction:
    """Return what the body asks for; raises Forbidden if the caller may not."""
    arguments = api.body()
    action = JobAction.parse(arguments.pop("action"), "action")
    instruction = Instruction(action=action, **arguments)
    require_action(api, action)
    return instruction


def require_action(api: Api, action: JobAction) -> None:
    """Raise Forbidden if the caller may not do this to many jobs."""
    if action in _ENDING:
        api.principal.require(Permission.JOBS_DELETE)


def act(api: Api) -> Response:
    """Retry, delete, cancel, reschedule or run jobs now, by id or by filter."""
    instruction = instruction_of(api)
    if instruction.dependents and api.scope.queues is not None:
        raise Forbidden(CLUSTER_MESSAGE)  # they may be in any queue
    foreign: list[Skip] = []
    within = api.scope.names()
    if instruction.job_ids is not None:
        own = api.scope.own(instruction.job_ids)
        foreign = [
            Skip(job_id, SkipReason.NOT_FOUND)
            for job_id in dict.fromkeys(instruction.job_ids)
            if job_id not in set(own)
        ]
        instruction = replace(instruction, job_ids=own)
    else:
        job_filter = instruction.job_filter
        within = api.scope.names(() if job_filter is None else job_filter.queues)
    with api.reading(instruction.job_filter):
        report = bulk_actions.act(
            api.storage, instruction, limits=api.bulk_limits, within=within
        )
    if foreign and not instruction.dry_run:
        skipped = (*report.skipped, *foreign)
        report = replace(report, skipped=skipped, skips=report.skips + len(foreign))
    response = api.answer(report)
    response.headers["X-Jobs-Skipped"] = str(report.skips)
    return completed(response, is_complete=report.is_complete)


ROUTES = (
    Route(
        view=act, permission=Permission.JOBS_RETRY, reach=Reach.VIEW,
        body=ActionRequestSchema(), answer=ActionReportSchema(), errors=(409,),
        is_bulk=True, in_batches=True, gives=("X-Jobs-Skipped", "X-Bulk-Complete"),
    ),
)  # fmt: skip
